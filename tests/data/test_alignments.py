"""Word alignments marked by hand, and the files that have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.text.alignments import (
    AlignedText,
    Alignment,
    read_alignment_folder,
    read_numbered_links,
    read_pharaoh,
)
from minattn.data.text.parallel import ParallelText
from minattn.errors import DataError

links = st.frozensets(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6)
alignments = st.builds(Alignment, links, links)


def test_sure_links_are_possible_ones():
    alignment = Alignment.of([(0, 0)], [(1, 2)])
    assert alignment.sure == {(0, 0)}
    assert alignment.possible == {(0, 0), (1, 2)}


# ---------------------------------------------------------------------------------------------- with text
def test_a_part_of_an_aligned_text_has_its_alignments():
    marks = [Alignment.of([(0, 0)]), Alignment.of([(1, 0)])]
    text = AlignedText.of_text(ParallelText.of([("a", "b"), ("c d", "e")]), marks)
    assert text.only([1]).alignments == (marks[1],)
    assert text.only([1])[0] == ("c d", "e")
    assert repr(text) == "AlignedText of 2 pairs"
    assert text.fingerprint() == ParallelText(text.sources, text.targets).fingerprint()


def test_each_pair_needs_an_alignment_within_it():
    text = ParallelText.of([("a b", "c")])
    with pytest.raises(DataError, match="there are 1 sentence pairs and 0 alignments; hint"):
        AlignedText.of_text(text, [])
    for link in ((2, 0), (0, 1), (-1, 0)):
        with pytest.raises(
            DataError, match=r"alignment of pair 1 links words .* with 2 and 1 words; hint: .*0 or from 1"
        ):
            AlignedText.of_text(text, [Alignment.of([], [link])])


def test_characters_are_counted_where_the_alignment_is_of_characters():
    marks = (Alignment.of([(2, 0)]),)
    assert AlignedText(("a b",), ("c",), marks, "character").only([0]).unit == "character"
    with pytest.raises(DataError, match="links characters 2 and 0, from 0, of sentences with 2 and 1 characters"):
        AlignedText(("ab",), ("c",), marks, "character")


# ---------------------------------------------------------------------------------------------- files
@given(st.lists(alignments, max_size=5), st.integers(0, 1), st.sampled_from("p?"))
def test_pharaoh_links_that_were_written_are_read(tmp_path_factory, marks, first, possible):
    path = tmp_path_factory.getbasetemp() / "gold"
    lines = []
    for mark in marks:
        texts = [f"{i + first}{'-' if (i, j) in mark.sure else possible}{j + first}" for i, j in mark.possible]
        lines.append(" ".join(texts) + "\n")
    path.write_text("".join(lines))
    assert read_pharaoh(path, first) == marks


@given(st.lists(alignments, max_size=5), st.integers(0, 1))
def test_numbered_links_that_were_written_are_read(tmp_path_factory, marks, first):
    path = tmp_path_factory.getbasetemp() / "key"
    with path.open("w") as file:
        for n, mark in enumerate(marks, start=1):
            for i, j in mark.possible:
                kind = "S" if (i, j) in mark.sure else "P"
                file.write(f"{n} {i + first} {j + first} {kind}\n")
    assert read_numbered_links(path, len(marks), first) == marks


def test_a_numbered_link_without_a_kind_is_sure_and_may_have_a_confidence(tmp_path):
    (tmp_path / "key").write_text("1 1 2\n1 2 1 P 0.5\n")
    assert read_numbered_links(tmp_path / "key", 1) == [Alignment.of([(0, 1)], [(1, 0)])]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2-2 1:1", "has '1:1', expected links; hint: 3-4"),
        ("1-2-3", "has '1-2-3', expected links"),
        (f"{'9' * 5000}-1", "has '9{60}'.., expected links"),
        ("0-1", "has word 0, where the first is 1; hint: .*0 or from 1"),
    ],
)
def test_pharaoh_lines_that_cannot_be_read(tmp_path, line, says):
    (tmp_path / "gold").write_text(f"1-1\n{line}\n")
    with pytest.raises(DataError, match=f"gold, line 2, {says}"):
        read_pharaoh(tmp_path / "gold", first=1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 2", "reads '1 2', expected a link; hint: SENTENCE SOURCE TARGET"),
        ("a 1 2", "reads 'a 1 2', expected a link"),
        (f"1 {'9' * 5000} 2", "reads '1 9{58}'.., expected a link"),
        ("", "reads '', expected a link"),
        ("3 1 1", "is about sentence 3 of 2; hint: count from 1"),
        ("0 1 1", "is about sentence 0 of 2"),
        ("1 1 1 Q", "has 'Q', expected S or P; hint"),
        ("1 0 1", "has word 0, where the first is 1"),
    ],
)
def test_numbered_lines_that_cannot_be_read(tmp_path, line, says):
    (tmp_path / "key").write_text(f"1 1 1\n{line}\n")
    with pytest.raises(DataError, match=f"key, line 2, {says}"):
        read_numbered_links(tmp_path / "key", 2)


# ---------------------------------------------------------------------------------------------- folders
def test_a_folder_of_pairs_and_gold(tmp_path):
    (tmp_path / "src-tgt").write_text("a b ||| c\nd ||| e\n")
    (tmp_path / "gold").write_text("2-1 1p1\n\n")
    data = read_alignment_folder(tmp_path)
    assert data.train is None
    assert list(data.gold) == [("a b", "c"), ("d", "e")]
    assert data.gold.alignments == (Alignment.of([(1, 0)], [(0, 0)]), Alignment.of([]))


def test_a_folder_of_a_key_with_its_sides_and_pairs_to_train_on(tmp_path):
    for name, content in {"dev.en": "a b\n", "dev.es": "c\n", "dev.key": "1 2 1\n"}.items():
        (tmp_path / name).write_text(content)
    assert read_alignment_folder(tmp_path).train is None
    (tmp_path / "train.full.en").write_text("f\n")
    (tmp_path / "train.full.es").write_text("g\n")
    data = read_alignment_folder(tmp_path)
    assert data.gold.alignments == (Alignment.of([(1, 0)]),)
    assert list(data.gold) == [("a b", "c")]
    assert list(data.train) == [("f", "g")]


def test_a_folder_of_neither(tmp_path):
    (tmp_path / "dev.key").write_text("1 1 1\n")
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="has no sentences aligned by hand; hint: src-tgt and gold"):
            read_alignment_folder(folder)
