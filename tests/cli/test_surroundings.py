"""The command line where its surroundings are not as they should be: streams, terminals, variables."""

import io
import os
import subprocess
import sys
import threading

import pytest
from rich.console import Console
from rich.table import Table
from small_g2p import train_arguments

from minattn.autograd.memory import keep_freed_memory
from minattn.cli import LONGEST_OF_SETTINGS
from minattn.cli.app import NARROWEST, UNREAD, SafeConsole
from minattn.training import LAST, PlainProgress
from minattn.training.progress import PatientProgress

MINATTN = [sys.executable, "-m", "minattn"]


def environment(**changes):
    """The variables of this process with changes; None: without it."""
    variables = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **changes}
    return {name: value for name, value in variables.items() if value is not None}


def finished(*arguments, variables=None, **options):
    """A process of the command line that has ended, with what it said."""
    return subprocess.run(
        [*MINATTN, *arguments],
        env=variables or environment(),
        capture_output=not options,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


# ---------------------------------------------------------------------------------------------- streams
@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["summary", "resnet20"], ["train", "g2p", "--help"]])
def test_where_nobody_reads_the_output_a_command_ends_quietly(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    process = finished(*arguments, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (process.returncode, process.stderr) == (UNREAD, "")


def test_training_that_nobody_reads_ends_quietly_and_can_be_resumed(minattn, words, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*MINATTN, *train_arguments("run")], **pipes, text=True, env=environment()) as process:
        while not process.stdout.readline().startswith("rnnsearch with "):
            pass
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == UNREAD
    if (tmp_path / "run" / LAST).exists():
        assert minattn("train", "g2p", "--resume", "run").status == 0
    assert not list(tmp_path.rglob("*.tmp"))


# ---------------------------------------------------------------------------------------------- variables
STRANGE = {
    **{"COLUMNS": "0", "LINES": "0", "TERM": "dumb", "MPLBACKEND": "module://nowhere", "HOME": None},
    **{"TMPDIR": "/nowhere", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
}


def test_strange_variables_do_not_hinder_work(finished_run, tmp_path):
    plot = tmp_path / "plot.png"
    process = finished("predict", finished_run, "bad", "--plot", plot, variables=environment(**STRANGE))
    assert (process.returncode, process.stderr) == (0, "")
    assert "probability" in process.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_words_that_the_locale_cannot_show_are_told_by_their_codes(finished_run):
    process = finished("predict", finished_run, "bäd", variables=environment(**STRANGE))
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert process.stderr.isascii()


@pytest.mark.parametrize("name", ["MINATTN_BLAS_THREADS", "MINATTN_THREADS"])
@pytest.mark.parametrize("value", ["9" * 41, "-1", "many", ""])
def test_numbers_of_threads_that_are_none_are_refused(refused, finished_run, monkeypatch, name, value):
    from minattn.autograd import blocks

    monkeypatch.setenv(name, value)
    if name == "MINATTN_THREADS":
        with pytest.raises(ValueError, match=f"{name} must be a number of threads"):
            blocks.threads.__wrapped__()
    else:
        says = [f"{name} must be a number of threads"]
        refused("evaluate", finished_run, says=says, folder=finished_run)


def test_a_slip_in_a_variable_is_a_note(minattn, monkeypatch):
    monkeypatch.setenv("MINATTN_ALLOCATOR", "x")
    result = minattn("--version")
    assert result.status == 0
    assert result.err.startswith("note: MINATTN_ALLOCATOR must be one of keep, system; got 'x'")
    assert result.err.count("\n") == 1
    keep_freed_memory()  # as training does: it is told once


# ---------------------------------------------------------------------------------------------- the terminal
@pytest.mark.parametrize("columns", ["0", "1", "2"])
def test_a_terminal_is_never_too_narrow(columns):
    console = SafeConsole(_environ={"COLUMNS": columns}, file=io.StringIO())
    assert console.width == NARROWEST
    table = Table("word", "number")
    table.add_row("x" * 50, "1")
    console.print(table)
    assert SafeConsole(_environ={"COLUMNS": "70"}).width == Console(_environ={"COLUMNS": "70"}).width == 70


def test_no_text_steers_the_terminal(capsys):
    SafeConsole(markup=False).print("a\x1b[31mb\rc\u202ed")
    table = Table(show_header=False, box=None)
    table.add_row("e\x1b]0;title\x07")
    SafeConsole(markup=False).print(table)
    PlainProgress().note("f\x1b[2J")
    out = capsys.readouterr().out
    assert r"a\x1b[31mb\rc\u202ed" in out
    assert r"e\x1b]0;title\x07" in out
    assert r"f\x1b[2J" in out
    assert "\x1b" not in out


# ---------------------------------------------------------------------------------------------- settings
@pytest.mark.parametrize(
    "setting", ["hidden=" + "9" * 5000, "x" * 50_000 + "=1", "y" * 50_000, "lr=" + "é" * 9000, "model=" + "z" * 9000]
)
def test_a_refused_setting_is_told_in_a_short_line(refused, words, tmp_path, setting):
    result = refused(*train_arguments("run"), f"--set={setting}", says=["hint: "], folder=tmp_path)
    assert len(result.err) <= 300
    assert LONGEST_OF_SETTINGS < 300


@pytest.mark.parametrize("setting", ["hidden=300000", "embedding=900000000", "alignment=1000000000"])
def test_a_size_beyond_the_memory_is_refused_with_what_it_takes(refused, words, tmp_path, setting):
    result = refused(*train_arguments("run", setting), says=["GiB or more, this machine has "], folder=tmp_path)
    assert len(result.err) <= 300


def test_a_long_wait_is_told_of_where_no_line_comes(monkeypatch):
    told = threading.Event()
    progress = PlainProgress(0.01)
    monkeypatch.setattr(progress, "note", lambda line: told.set())
    with progress:
        assert told.wait(60)


def test_an_output_that_is_gone_while_a_step_takes_long_is_no_traceback(monkeypatch):
    tried, crashed = threading.Event(), []
    progress = PlainProgress(0.01)

    def gone(line):
        tried.set()
        raise BrokenPipeError

    monkeypatch.setattr(progress, "note", gone)
    monkeypatch.setattr(threading, "excepthook", crashed.append)
    with progress:
        assert tried.wait(60)
        for watch in (thread for thread in threading.enumerate() if thread.name == "minattn-progress"):
            watch.join(60)
    assert not crashed


def test_a_time_that_no_calendar_has_is_told_too(capsys, monkeypatch):
    clock = iter([0.0, 1e9])
    monkeypatch.setattr("minattn.training.progress.time.monotonic", lambda: next(clock))
    progress = PlainProgress(10)
    progress.advance(0.0)
    progress.advance(1e-12)
    progress.report("")
    assert " days, " in capsys.readouterr().out


def test_a_report_that_says_nothing_tells_the_share_and_the_time_that_is_left(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 11.0])
    monkeypatch.setattr("minattn.training.progress.time.monotonic", lambda: next(clock))
    progress = PlainProgress(10)
    progress.report("")
    progress.advance(0.1)
    progress.report("too soon")
    progress.advance(0.2)
    progress.report("")
    assert capsys.readouterr().out == "still at work\n 20%  0:01:20 left\n"


def test_a_command_whose_output_is_its_answer_tells_apart_from_it_how_far_it_is(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 11.0])
    monkeypatch.setattr("minattn.training.progress.time.monotonic", lambda: next(clock))
    progress = PatientProgress(10)
    progress.advance(0.1)
    progress.report("1 of 10")
    progress.advance(0.2)
    progress.report("2 of 10")
    assert capsys.readouterr() == ("", " 20%  0:01:20 left  2 of 10\n")
