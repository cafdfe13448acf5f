"""What the report says of results made by hand: tables, remarks, figure, and files that are whole or not there."""

import json
import re
from pathlib import Path

import pytest
from made_results import comparison, results, timing
from rich.console import Console

from benchmarks.figure import OURS, draw_ratios
from benchmarks.report import (
    MARKDOWN,
    check_folder,
    markdown,
    number,
    percent,
    remarks,
    write_report,
)
from benchmarks.results import JSON, read_results
from benchmarks.terminal import print_comparison, print_summary
from benchmarks.workloads import WORKLOADS
from minattn.errors import ConfigError, MinattnError

FIGURE = "performance.png"
MLP = comparison(
    "W2",
    limit=timing(0.01, 0.01, 0.01, others=0.1, attempts=3),
    minattn=timing(0.002, 0.003, 0.004, peak_mib=66.4, processors=1.96, others=0.01),
    torch=timing(0.004, 0.004, 0.004, peak_mib=321.0),
    skipped={"jax": "pip install failed: no network | at all"},
)
OPS = comparison("W1", minattn=timing(0.002), torch=timing(0.004), jax=timing(0.00001))
ALONE = comparison("W1", reference=None, minattn=timing(0.002))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.004567, "0.00457"),
        (0.4, "0.400"),
        (1.0, "1.00"),
        (9.87654, "9.88"),
        (9.998, "10.0"),
        (99.96, "100"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_have_three_digits(value, said):
    assert number(value) == said


def test_numbers_that_are_none():
    assert (number(0.0), number(float("nan")), number(float("inf"))) == ("0", "nan", "inf")


@pytest.mark.parametrize(("value", "said"), [(0.04, "4 %"), (0.0312, "3.1 %"), (0.354, "35 %"), (0.0, "0 %")])
def test_percents_have_two_digits(value, said):
    assert percent(value) == said


# ---------------------------------------------------------------------------------------------- words and tables
def test_remarks_tell_the_limit_who_was_left_out_and_the_noise():
    limit, losses, left_out, noise = remarks(MLP)
    assert "matrix products 215 GFLOP/s (quartiles 215–215)" in limit
    assert losses == "Losses of the first steps differ by 0 at most between any two engines."
    assert left_out == "Left out: JAX: pip install failed: no network | at all."
    assert "others used 5.5 % of the machine (median); of 9 rounds 3 were repeated, and 3 stayed disturbed" in noise


def test_an_engine_that_computes_something_else_is_told():
    wrong = comparison(minattn=timing(1.0, losses=[3.0]), torch=timing(1.0, losses=[1.0]))
    assert any(line.startswith("ATTENTION: the losses of minattn") for line in remarks(wrong))


def test_another_form_of_the_same_network_is_told_where_it_was_measured():
    other = comparison("W3", minattn=timing(1.0, losses=[3.0]), torch=timing(1.0, losses=[1.0]))
    assert any(line.startswith("minattn has other losses: its gated unit") for line in remarks(other))
    assert not any("other losses" in line for line in remarks(comparison("W3", minattn=timing(1.0))))


def test_a_limit_that_could_not_be_measured_is_told():
    assert "Left out: the machine's limit: it died." in remarks(comparison(skipped={"limits": "it died"}))


def table_rows(text):
    """All rows of Markdown tables, as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_has_the_ratios_first_and_then_every_workload():
    text = markdown([results(OPS, MLP)])
    table = table_rows(text)
    assert ["W1 tiny ops", "**0.500**", "1.00", "0.00250"] in table
    assert ["W2 MLP", "**0.750**", "1.00", "–"] in table
    row = next(row for row in table if row[:2] == ["minattn", "3.00"])
    assert row == ["minattn", "3.00", "2.50–3.50", "0.750", "0.625–0.875", "64 %", "66", "2.0", "0"]
    assert text.index("**0.500**") < text.index("### W1 tiny ops") < text.index("### W2 MLP") < text.index("## On what")
    for said in (
        FIGURE,
        "    python -m benchmarks W1  # 2026-01-02\n    python -m benchmarks W2  # 2026-01-02\n",
        "A Processor",
        "Linux 6.1",
        "2.4.6",
        "0:00:20",
    ):
        assert said in text


def test_markdown_tables_are_tables():
    """As many cells in every row as its heading has, whatever a reason or a name may hold."""
    for block in re.findall(r"(?:^\|.*\n)+", markdown([results(OPS, MLP)]), re.MULTILINE):
        assert len({len(row) for row in table_rows(block)}) == 1


def test_markdown_of_minattn_alone_has_no_ratios():
    text = markdown([results(ALONE, reference=None, engines=["minattn"])])
    assert "How many times" not in text
    assert FIGURE not in text
    assert "| minattn | 2.00 | 2.00–2.00 |" in text


def test_markdown_when_nothing_could_be_measured():
    text = markdown([results(comparison(skipped={"minattn": "it died", "torch": "it died"}))])
    assert "Left out: PyTorch: it died." in text


def test_the_terminal_shows_the_same(capsys):
    console = Console(width=100, highlight=False, markup=False)
    print_comparison(MLP, console)
    print_summary([OPS, MLP], console)
    out = capsys.readouterr().out
    for said in ("W2 MLP, 1 thread", "3.00", "0.625–0.875", "64 %", "Left out: JAX", "W1", "0.00250"):
        assert said in out


def test_a_table_fits_a_terminal_of_80_columns(capsys):
    wide = timing(0.1234, 0.2345, peak_mib=1234.0, processors=2.0, losses=[1.0])
    far = timing(12.34, 12.34, peak_mib=12345.0, processors=2.0, losses=[1.1])
    timings = {"smallpebble": far, "torch-fused": far, "torch": wide, "minattn": wide}
    print_comparison(comparison("W2", limit=wide, **timings), Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_the_summary_of_all_workloads_fits_a_terminal_of_80_columns(capsys):
    one = timing(0.001234, 0.001234)
    timings = {"smallpebble": one, "torch-fused": timing(0.00001234, 0.00001234), "torch": one, "minattn": one}
    everything = [comparison(name, **timings) for name in WORKLOADS]
    print_summary(everything, Console(width=80))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    for name in WORKLOADS:
        assert set(name.split("-")) <= set(out.split())


# ---------------------------------------------------------------------------------------------- the figure
def bars(axes):
    """Left and right end of each bar."""
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]


def test_a_bar_goes_from_one_to_the_ratio():
    _, axes = draw_ratios([MLP], ["minattn", "torch"]).axes
    (bar,) = axes.patches
    assert bars(axes) == [(1.0, pytest.approx(0.75))]
    assert bar.get_facecolor()[:3] == pytest.approx([int(OURS[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    assert [text.get_text() for text in axes.texts] == ["0.75", "4.00 ms", "minattn", "PyTorch"]
    (quartiles,) = [line for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert list(quartiles.get_xdata()) == pytest.approx([0.625, 0.875])


def test_a_panel_for_each_workload_and_a_bar_for_each_number_of_threads():
    again = comparison("W2", threads=2, minattn=timing(0.008), torch=timing(0.004))
    _, first, second = draw_ratios([MLP, OPS, again], ["minattn", "torch", "jax"]).axes
    assert first.get_title("left") == "W2 MLP"
    assert bars(first) == [(1.0, pytest.approx(2.0)), (1.0, pytest.approx(0.75))], "two threads above one"
    assert len(bars(second)) == 2
    assert "–" in [text.get_text() for text in first.texts], "JAX was not measured"


def test_no_word_leaves_the_page():
    figure = draw_ratios([MLP, OPS], ["minattn", "torch", "jax"])
    figure.canvas.draw()
    page = figure.bbox
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.x0 >= page.x0
            assert box.x1 <= page.x1


# ---------------------------------------------------------------------------------------------- files
def test_files_of_a_report(tmp_path):
    folder = tmp_path / "deep" / "down"
    written = write_report([results(OPS, MLP)], folder)
    assert sorted(path.name for path in written) == sorted(path.name for path in folder.iterdir())
    assert {path.name for path in written} == {JSON, MARKDOWN, FIGURE}
    (machine,) = json.loads((folder / JSON).read_text(encoding="utf-8"))
    assert machine["comparisons"][1]["timings"]["minattn"]["rounds"]["seconds"] == [0.002, 0.003, 0.004]
    assert machine["comparisons"][1]["skipped"] == {"jax": "pip install failed: no network | at all"}


def test_a_second_machine_has_its_own_tables_and_figure(tmp_path):
    slower = comparison("W2", minattn=timing(0.008), torch=timing(0.004))
    machines = [results(MLP), results(slower, processor="Another")]
    written = {path.name for path in write_report(machines, tmp_path)}
    assert written == {JSON, MARKDOWN, FIGURE, "performance-2.png"}
    text = (tmp_path / MARKDOWN).read_text(encoding="utf-8")
    assert text.count("### W2 MLP") == 1
    for said in (
        "## A Processor (AVX2)\n",
        "**A Processor (AVX2), 1 thread**",
        "**Another (AVX2), 1 thread**",
        "**2.00**",
    ):
        assert said in text


def test_the_published_page_is_made_of_the_published_results():
    folder = Path(__file__).parents[2] / "docs"
    assert markdown(read_results(folder)) == (folder / MARKDOWN).read_text(encoding="utf-8")


def test_without_a_reference_there_is_no_figure(tmp_path):
    written = write_report([results(ALONE, reference=None)], tmp_path)
    assert {path.name for path in written} == {JSON, MARKDOWN}


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_report([results(MLP)], tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(MinattnError, match="No space left"):
        write_report([results(OPS)], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_told_before(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file, not a folder"):
        check_folder(tmp_path / "file" / "below")
    check_folder(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()
