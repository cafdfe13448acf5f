"""Multi30k's files, of which these tests make small ones."""

import gzip

import pytest

from minattn.data.text.multi30k import load_multi30k
from minattn.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for n, part in enumerate(("train", "val", "test_2016_flickr"), start=1):
        for language in ("en", "de"):
            content = f"A {language} .\n" * n
            (tmp_path / f"{part}.{language}").write_text(content)
            (tmp_path / f"{part}.lc.norm.tok.{language}.gz").write_bytes(gzip.compress(content.lower().encode()))
    return tmp_path


def test_its_parts(folder):
    splits = load_multi30k(folder)
    assert [len(part) for part in splits] == [1, 2, 3]
    assert splits.train[0] == ("a en .", "a de .")
    assert load_multi30k(folder, "de", "en", tokenized=False).test[2] == ("A de .", "A en .")


def test_a_missing_file_is_named(folder):
    with pytest.raises(DataError, match=r"train.lc.norm.tok.fr is not in .*; hint: the files of data/task1 of https"):
        load_multi30k(folder, target="fr")
