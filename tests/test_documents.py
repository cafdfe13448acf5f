"""README, CONTRIBUTING and docs/: every link leads somewhere, and every file they name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`|^ {4}.+$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"(?<![\w./<-])[\w-]+(?:/[\w.-]+)*(?:\.py|\.md|/)(?![\w/*])")
PACKAGES = sorted(path.name for path in (ROOT / "minattn").iterdir() if path.is_dir())
FOLDERS = ("minattn", "tests", "docs", "examples", "experiments", "benchmarks", *PACKAGES)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def document(request) -> Path:
    return request.param


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_headings(document):
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_files_named_in_code_exist(document):
    """Such as `experiments/abn_noise.py`; a path may begin at the root or, like `nn/masks.py`, at the package."""
    for code in CODE.findall(document.read_text(encoding="utf-8")):
        for name in FILE.findall(code):
            if "/" in name.rstrip("/") and (name.partition("/")[0] in FOLDERS or not name.endswith("/")):
                assert (ROOT / name).exists() or (ROOT / "minattn" / name).exists(), name
