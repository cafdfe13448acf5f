import pytest

from minattn.data import load_docstrings
from minattn.data.splits import place_of
from minattn.data.text.docstrings import docstrings, source_files
from minattn.errors import DataError

SOURCE = '''
"""The module.

    First
        indented.   """

import os

raise SystemExit("nothing of this is run")


class Thing:
    "A class."

    def method(self):
        """A method."""

        def inner():
            """Something inside."""

    async def later(self):
        """Later."""


if os.name == "nt":
    def only_there():
        """Only there."""
else:
    try:
        def elsewhere():
            """Elsewhere."""
    except OSError:
        def fallback():
            """Fallback."""


def bare():
    return "no documentation"


def empty():
    """   """


def accents():
    """Café."""


def bell():
    """Ring \\a."""
'''


def write(folder, **modules):
    for name, source in modules.items():
        path = folder.joinpath(*name.split("__IN__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


def test_every_documented_thing_comes_once_under_its_name_in_the_order_of_the_source():
    assert list(docstrings(SOURCE.encode(), "m")) == [
        ("m", "The module.\n\nFirst\n    indented."),
        ("m.Thing", "A class."),
        ("m.Thing.method", "A method."),
        ("m.Thing.method.inner", "Something inside."),
        ("m.Thing.later", "Later."),
        ("m.only_there", "Only there."),
        ("m.elsewhere", "Elsewhere."),
        ("m.fallback", "Fallback."),
    ]


@pytest.mark.parametrize("source", [b"def (", b'"""a\x00"""', b'# coding: latin-9\n"""caf\xe9"""', b'"""\xff"""'])
def test_what_is_no_plain_python_has_none(source):
    assert list(docstrings(source, "m")) == []


def test_an_escape_that_python_will_refuse_one_day_is_no_warning():
    assert list(docstrings(rb'"""a \d b"""', "m")) == [("m", r"a \d b")]


def test_modules_are_named_and_sorted_and_tests_and_installed_packages_left_out(tmp_path):
    inside = ["b", "a__IN____init__", "a__IN__c", "site-packages__IN__x", "a__IN__test__IN__t", "idlelib__IN__i"]
    write(tmp_path, **dict.fromkeys(inside, ""))
    assert [name for name, _ in source_files(tmp_path)] == ["a", "a.c", "b"]


def test_a_module_is_never_divided_and_its_name_decides(tmp_path):
    names = [f"m{i}" for i in range(60)]
    write(tmp_path, **{name: f'"""About {name}."""\ndef f():\n    """f of {name}."""\n' for name in names})
    texts = load_docstrings(tmp_path)
    for name in names:
        place = place_of(name)
        part = texts.test if place < 100 else texts.dev if place < 150 else texts.train
        assert part.count(f"# {name}\n\nAbout {name}.\n\n\n# {name}.f\n\nf of {name}.\n\n\n") == 1
    assert sum(map(len, texts)) == sum(len(f"# {n}\n\nAbout {n}.\n\n\n# {n}.f\n\nf of {n}.\n\n\n") for n in names)
    assert all(texts)


def test_a_string_that_stands_in_two_modules_counts_where_it_comes_first(tmp_path):
    write(tmp_path, a='"""The same."""', b='"""The same."""\ndef f():\n    """Another."""\n')
    assert sorted("".join(load_docstrings(tmp_path)).split("\n\n\n")) == ["", "# a\n\nThe same.", "# b.f\n\nAnother."]


@pytest.mark.parametrize("modules", [{}, {"a": "x = 1"}])
def test_a_python_without_sources_is_told_with_the_cure(tmp_path, modules):
    write(tmp_path, **modules)
    with pytest.raises(DataError, match=r"no sources of its standard library in .*hint: .*--train FILE"):
        load_docstrings(tmp_path)


@pytest.fixture(scope="module")
def library():
    return load_docstrings()


def test_this_pythons_library_is_a_real_text(library):
    assert sum(map(len, library)) > 1_000_000
    assert len(library.train) > 5 * len(library.dev)
    characters = set("".join(library))
    assert characters <= {"\n", *map(chr, range(32, 127))}
    assert "# argparse.ArgumentParser\n" in "".join(library)
