"""Numbers and letters of equations: those beside the code stand in the docstring of its file, and none is a key of
another numbering than the papers'."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

NUMBERED = sorted(path for part in ("attention", "models", "nn") for path in (ROOT / "minattn" / part).rglob("*.py"))

WRITTEN = sorted(
    path
    for folder in ("minattn", "tests", "experiments", "examples", "benchmarks", "docs")
    for pattern in ("*.py", "*.md")
    for path in (ROOT / folder).rglob(pattern)
) + sorted(ROOT.glob("*.md"))

BESIDE = re.compile(r"(?<![\w)\]])\((\d+|[a-z])\)")  # (5), (a); not f(x)
KEY = re.compile(r"(?<![\w)\]])\((1[0-5]|[1-9])\.\d{1,2}\)")  # (1.5); not float(1.5)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def margin_comments(source: str) -> list[tuple[int, str]]:
    """(line, comment) of every comment that stands behind code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    return [(token.start[0], token.string) for token in comments if token.line[: token.start[1]].strip()]


def docstrings(path: Path) -> str:
    """The docstring of the file; of a kernel, that of the mechanism of the same name too."""
    files = [path]
    if path.parent.name == "kernels":
        files += [other for other in NUMBERED if other.name == path.name and other != path]
    return "\n".join(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "" for file in files)


@pytest.mark.parametrize("path", NUMBERED, ids=name)
def test_the_numbers_beside_code_stand_in_the_docstring_of_the_file(path):
    listed = set(BESIDE.findall(docstrings(path)))
    for line, comment in margin_comments(path.read_text(encoding="utf-8")):
        missing = [f"({number})" for number in BESIDE.findall(comment) if number not in listed]
        assert not missing, f"{name(path)}:{line}: the docstring of the file does not list {', '.join(missing)}"


def test_some_numbers_stand_beside_code():
    commented = [comment for path in NUMBERED for _, comment in margin_comments(path.read_text(encoding="utf-8"))]
    assert sum(len(BESIDE.findall(comment)) for comment in commented) > 20


@pytest.mark.parametrize("path", WRITTEN, ids=name)
def test_no_number_of_an_equation_has_a_point(path):
    """What a paper numbers within sections is cited as "section 3.1", what it does not number has a letter."""
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert path == Path(__file__) or not KEY.search(text), f"{name(path)}:{line}: {text.strip()}"


@pytest.mark.parametrize("path", [path for path in WRITTEN if path.name.startswith("test_")], ids=name)
def test_names_of_tests_are_words(path):
    names = re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    assert not [name for name in names if re.match(r"test_\d+[a-z]\d*_", name)]
