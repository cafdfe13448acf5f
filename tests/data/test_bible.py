"""Verses of SWORD's Bibles: the files' format, the markup, and which verses belong together."""

import os
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.splits import place_of
from minattn.data.text import bible
from minattn.data.text.bible import DEBIAN, PACKAGES, load_bible, plain_verse, read_bible, read_ztext
from minattn.data.text.parallel import split_parallel
from minattn.errors import DataError

HEAD = ["", '<milestone type="x-importer"/>']
ENGLISH, SPANISH = PACKAGES


def write_ztext(testament, texts, block_size=3):
    """The three files of a testament with these slots, so many to a block."""
    slots, index, packed = b"", b"", b""
    for first in range(0, len(texts), block_size):
        block = b""
        for text in texts[first : first + block_size]:
            slots += struct.pack("<IIH", first // block_size, len(block), len(text.encode()))
            block += text.encode()
        content = zlib.compress(block)
        index += struct.pack("<III", len(packed), len(content), len(block))
        packed += content
    testament.parent.mkdir(parents=True, exist_ok=True)
    for suffix, content in ((".bzv", slots), (".bzs", index), (".bzz", packed)):
        testament.with_suffix(suffix).write_bytes(content)


def book(name, *chapters):
    """The slots of a book: its own, and for each chapter one of its own and its verses; the last one ends the book."""
    slots = [f'<div canonical="true" osisID="{name}" sID="g" type="book"/> <title type="main">{name}</title>']
    for number, verses in enumerate(chapters, start=1):
        slots += [f'<chapter n="{number}" osisID="{name}.{number}" sID="{name}.{number}"/> ', *verses]
    slots[-1] += f' <div canonical="true" eID="g" osisID="{name}" type="book"/>'
    return slots


@pytest.fixture
def folder(tmp_path):
    """Two Bibles of four verses."""
    for module, one, two in ((ENGLISH, "one", "two"), (SPANISH, "uno", "dos")):
        write_ztext(tmp_path / module / "ot", HEAD + book("Gen", [f"{one}.", f"{two}."], [f"{one} {two}"]))
        write_ztext(tmp_path / module / "nt", HEAD + book("Matt", [f"{two}, {two}"]))
    return tmp_path


# ---------------------------------------------------------------------------------------------- the files
@given(st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=10), max_size=12), st.integers(1, 4))
def test_slots_that_were_written_are_read(tmp_path_factory, texts, block_size):
    testament = tmp_path_factory.getbasetemp() / "module" / "ot"
    write_ztext(testament, texts, block_size)
    assert read_ztext(testament) == texts


@pytest.mark.parametrize(
    ("suffix", "damaged"),
    [
        (".bzv", lambda content: content[:-1]),
        (".bzs", lambda content: content[:-12]),
        (".bzz", lambda content: content[:-5]),
        (".bzz", lambda content: b"\0" * len(content)),
        (".bzv", lambda content: content[:-10] + struct.pack("<IIH", 0, 10_000, 5)),
    ],
)
def test_a_damaged_file_is_told(folder, suffix, damaged):
    path = (folder / ENGLISH / "ot").with_suffix(suffix)
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(DataError, match=r"engKJV2006eb/ot.bz\? are damaged or cut off: .*; hint: .*sword-text-kjv"):
        load_bible(folder)


def test_a_missing_module_is_named_with_its_package(folder, monkeypatch):
    (folder / SPANISH / "nt.bzs").unlink()
    with pytest.raises(
        DataError, match=r"nt.bzs cannot be read: No such.*; hint: apt install sword-text-sparv, or .*SWORD"
    ):
        load_bible(folder)
    monkeypatch.setattr(bible, "DEBIAN", folder / "none")
    with pytest.raises(DataError, match=r"ot.bzv cannot be read: .*; hint: apt install sword-text-kjv"):
        load_bible()


def test_the_modules_are_found_by_the_variable(folder, monkeypatch):
    monkeypatch.setenv("MINATTN_SWORD", str(folder))
    assert len(read_bible()[1]) == 4


# ---------------------------------------------------------------------------------------------- verses
def test_verses_are_named_by_book_chapter_and_number(folder):
    names, text = read_bible(folder)
    assert names == ["Gen.1.1", "Gen.1.2", "Gen.2.1", "Matt.1.1"]
    assert list(text) == [("one.", "uno."), ("two.", "dos."), ("one two", "uno dos"), ("two, two", "dos, dos")]


def test_verses_that_one_of_them_has_not_are_left_out(folder):
    write_ztext(folder / SPANISH / "ot", HEAD + book("Gen", ["uno.", "  <note>nada</note>"], ["uno dos"]))
    assert read_bible(folder)[0] == ["Gen.1.1", "Gen.2.1", "Matt.1.1"]


def test_verses_with_other_strongs_numbers_are_left_out(folder):
    def verse(word, *numbers):
        return " ".join(f'<w lemma="strong:{number}">{word}</w>' for number in numbers)

    write_ztext(
        folder / ENGLISH / "nt",
        HEAD + book("Matt", [verse("a", "G0001", "G0002"), verse("b", "G0003"), "c", verse("d", "G0005", "G0006")]),
    )
    write_ztext(
        folder / SPANISH / "nt",
        HEAD
        + book(
            "Matt", [verse("a", "G0001 G0003"), verse("b", "G0004"), verse("c", "G0001"), verse("d", "G0006", "G0005")]
        ),
    )
    assert read_bible(folder)[0][-3:] == ["Matt.1.1", "Matt.1.3", "Matt.1.4"]


def test_bibles_with_nothing_in_common(folder):
    for testament in bible.TESTAMENTS:
        write_ztext(folder / SPANISH / testament, HEAD)
    with pytest.raises(DataError, match="have no verse in common; hint: apt install sword-text-kjv sword-text-sparv"):
        read_bible(folder)


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ('In the <w lemma="strong:H7225">beginning</w> <w lemma="strong:H0430">God</w>. ', "In the beginning God."),
        ('upon the <divineName><w lemma="strong:H3068">LORD</w></divineName>.', "upon the LORD."),
        ('light<note placement="foot"><reference>1.4 </reference>the <w>light</w></note>, and', "light, and"),
        ("one <note>a</note>two <note>b</note>three", "one two three"),
        ('<note type="x"/>one two<note>c</note>', "one two"),
        ("<title><foreign>א ALEPH.</foreign></title> Blessed", "Blessed"),
        ('<title canonical="true" type="psalm">A <w lemma="strong:H4210">Psalm</w>.</title> <l/>LORD', "A Psalm. LORD"),
        ('first line;<l eID="1"/><l sID="2"/>second', "first line; second"),
        ('<q marker="" who="Jesus">Teaching</q><lb/>them', "Teaching them"),
        ("the \\nd <w>LORD</w>\\+nd* said", "the LORD said"),
        ("¶ And &amp; he", "And & he"),
        ('es<transChange type="added">Ramat</transChange> del', "es Ramat del"),
        ('di<transChange type="added">les</transChange>, y', "diles, y"),
        ("<WH7225>In the beginning<RF>or, at first<Rf> God<WTH8804> <FI>was<Fi>", "In the beginning God was"),
        (
            'heaven<sync type="Strongs" value="H8064" /> and <i>the</i> <font color="red">earth</font>',
            "heaven and the earth",
        ),
    ],
)
def test_markup_goes_and_words_stay(markup, words):
    assert plain_verse(markup) == words


def test_the_name_of_a_verse_decides_its_part(folder):
    verses = [[f"v{n}" for n in range(100)]]
    for module in PACKAGES:
        write_ztext(folder / module / "ot", HEAD + book("Gen", *verses))
    splits = load_bible(folder)
    names, text = read_bible(folder)
    assert splits.test.sources == tuple(p.source for n, p in zip(names, text, strict=True) if place_of(n) < 100)


@pytest.mark.skipif(
    not os.path.isdir(DEBIAN / ENGLISH), reason="needs the packages sword-text-kjv and sword-text-sparv"
)
@pytest.mark.skipif(
    not os.path.isdir(DEBIAN / SPANISH), reason="needs the packages sword-text-kjv and sword-text-sparv"
)
def test_the_packages_verses():
    names, text = read_bible(DEBIAN)
    verses = dict(zip(names, text, strict=True))
    assert len(verses) == 30_890
    assert verses["Gen.1.1"].source == "In the beginning God created the heaven and the earth."
    assert verses["Gen.1.1"].target == "EN el principio crió Dios los cielos y la tierra."
    assert verses["Rev.22.21"].source == "The grace of our Lord Jesus Christ be with you all. Amen."
    assert not {"Job.39.1", "Hos.12.1", "Jonah.2.2"} & verses.keys(), "they are numbered otherwise in Spanish"
    assert not set("".join(text.sources + text.targets)) & set("<>&\\{}_\0¶")
    assert [len(part) for part in split_parallel(text, names)] == [26_117, 1_579, 3_194]
