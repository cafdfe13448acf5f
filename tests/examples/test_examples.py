"""The pages of examples/: each runs from data to figure, reads as a notebook, and stays a page."""

import re
import runpy
from pathlib import Path

import pytest
from matplotlib import pyplot

PAGES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
LINES = {"additive_attention": 80}  # the first page that a reader opens


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def page(request) -> Path:
    return request.param


@pytest.mark.filterwarnings("ignore:Attempting to set identical")  # an untrained model may say nothing
def test_a_page_leaves_its_figure(page, tmp_path, monkeypatch, capsys):
    """Two steps in place of all of them; nothing else is changed."""
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    source, changes = re.subn(r"^(STEPS, .*= )[\d_]+", r"\g<1>2", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert changes == 1
    short = tmp_path / page.name
    short.write_text(source, encoding="utf-8")
    runpy.run_path(str(short), run_name="__main__")
    pyplot.close("all")
    assert (tmp_path / f"{page.stem}.png").stat().st_size > 10_000
    assert "loss" in capsys.readouterr().out


def test_a_page_is_a_notebook_too(page):
    """Cells begin at `# %%`; those of Markdown are comments and nothing else, and the first is the title."""
    cells = re.split(r"^# %%", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert cells[0] == ""
    assert re.match(r" \[markdown\]\n# # [A-Z]", cells[1])
    for cell in cells[1:]:
        marker, *lines = cell.splitlines()
        if marker == " [markdown]":
            assert all(line.startswith("#") for line in lines if line), cell
        else:
            assert any(line and not line.startswith("#") for line in lines), cell


def test_a_page_is_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LINES.get(page.stem, 120)
