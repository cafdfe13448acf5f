"""Environments that nobody tidied up: variables, streams, terminals, limits; each case is a process of its own."""

import os
import pty
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from small_g2p import SMALL, SMALL_TRANSFORMER, train_arguments

from minattn.training import LAST

from .commands import STATUSES, Told, changed, contents
from .damage import Rng, pick
from .runs import Workshop

SECONDS = 60
LONG = "9" * 41
VARIABLES = {
    "COLUMNS": ("0", "1", "2", "20", "100000", "-1", "x", ""),
    "LINES": ("0", "1"),
    "TERM": ("dumb", "", "unknown", "xterm-256color"),
    "NO_COLOR": ("1",),
    "FORCE_COLOR": ("1",),
    "MPLBACKEND": ("nonsense", "TkAgg", "module://nowhere", ""),
    "MPLCONFIGDIR": ("/dev/null", "/nowhere"),
    "MINATTN_BLAS_THREADS": (LONG, "0", "-1", "x", "", "2", "٣"),
    "MINATTN_THREADS": (LONG, "0", "-1", "x", "", "1.5"),
    "MINATTN_ALLOCATOR": ("system", "x", ""),
    "OPENBLAS_NUM_THREADS": ("0", "x", "64"),
    "LC_ALL": ("C", "POSIX", "nowhere", "tr_TR.UTF-8"),
    "LANG": ("C", ""),
    "PYTHONUTF8": ("0", "1"),
    "PYTHONCOERCECLOCALE": ("0",),
    "PYTHONIOENCODING": ("ascii", "latin-1", "utf-16"),
    "HOME": (None, "/nowhere", "/dev/null", ""),
    "TMPDIR": ("/nowhere", "/dev/null", ""),
    "XDG_CACHE_HOME": ("/nowhere",),
    "PATH": (None, ""),
    "TZ": ("nowhere",),
}
"""The values of each; None: the variable is not there."""

LIMITS = {resource.RLIMIT_FSIZE: (0, 1000, 20_000), resource.RLIMIT_NOFILE: (8, 12, 20), resource.RLIMIT_NPROC: (0, 1)}
WORDS = ("bad", "bäd", "", "\udcff", "語", "\x1b[31m", "b" * 5000, "-x")


def arguments_of(rng: Rng, run: Path, folder: Path) -> list[str]:
    """A command that takes a moment."""
    small = SMALL if rng.random() < 0.5 else SMALL_TRANSFORMER
    return pick(
        rng,
        [
            ["list"],
            ["summary"],
            ["summary", "resnet20"],
            ["--help"],
            ["train", "g2p", "--help"],
            ["train", "speech"],
            ["evaluate", str(run)],
            ["predict", str(run), pick(rng, WORDS)],
            ["predict", str(run), "bad", "--plot", str(folder / "plot.png")],
            ["train", "g2p", "--resume", str(run)],
            train_arguments(folder / "run", "epochs=1", small=small),
        ],
    )


def case(rng: Rng, workshop: Workshop) -> tuple[str, list[str]]:
    """(what was done, what was wrong with what came of it)."""
    finished = workshop.run("g2p")
    folder = workshop.scratch()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    changes = {
        name: pick(rng, VARIABLES[name]) for name in rng.permutation(list(VARIABLES)).tolist()[: int(rng.integers(4))]
    }
    for name, value in changes.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    arguments = arguments_of(rng, finished, folder)
    stdout = pick(rng, ["pipe", "pipe", "closed", "unread", "a line", "full", "terminal"])
    limit = (
        pick(rng, [(kind, value) for kind, values in LIMITS.items() for value in values])
        if rng.random() < 0.2
        else None
    )
    before = contents(finished)
    told = process(arguments, environment, stdout, limit, workshop.folder / "g2p")
    found = problems(told, lenient=limit is not None)
    if after := changed(before, contents(finished)):
        found.append(f"{after} changed")
    if left := list(workshop.folder.rglob("*.tmp")):
        found.append(f"left {left}")
    if (folder / "run" / LAST).exists() and not found and told.status:
        again = process(["train", "g2p", "--resume", str(folder / "run")], dict(os.environ), "pipe", None, folder)
        if again.status:
            found.append(f"cannot be resumed: {again.err}")
    done = f"{' '.join(arguments)[:150]!r} {changes} output {stdout}, limit {limit}: status {told.status}"
    return f"{done}; {told.err.strip()}", found


def problems(told: Told, lenient: bool) -> list[str]:
    """What is wrong; lenient: Python itself may not get far, so that it is not known what it says."""
    if told.crash:
        return [told.crash]
    if lenient and ("minattn" not in told.err or told.status < 0):
        return []
    found = []
    if "Warning" in told.err:
        found.append(f"a warning: {told.err[-500:]}")
    if "Traceback" in told.err + told.out or "Exception ignored" in told.err:
        found.append(f"a traceback: {told.err[-1500:]}")
    elif told.status not in (*STATUSES, 141):
        found.append(f"the status {told.status}: {told.err[-500:]}")
    elif told.status == 141 and "error: " in told.err:
        found.append(f"it did not end quietly: {told.err[-500:]}")
    elif told.status in (1, 2) and "error: " not in told.err:
        found.append(f"no error is told: {told.err[-500:]!r}")
    return found


def process(arguments: list[str], environment: dict[str, str], stdout: str, limit: Any, folder: Path) -> Told:
    """`minattn` as a process whose output goes nowhere, to a terminal, to somebody who reads one line, .."""

    def prepare() -> None:
        if stdout == "closed":
            os.close(1)
        if limit:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    reading, writing = pty.openpty() if stdout == "terminal" else os.pipe()
    if stdout == "full":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    command = [sys.executable, "-m", "minattn", *arguments]
    options: dict[str, Any] = {"cwd": folder, "env": environment, "stderr": subprocess.PIPE, "preexec_fn": prepare}
    try:
        started = subprocess.Popen(command, stdout=writing, stdin=subprocess.DEVNULL, **options)
    except (OSError, subprocess.SubprocessError, ValueError) as error:  # before there is a process
        os.close(reading)
        os.close(writing)
        return Told(-1, "", f"not started: {error}", "" if limit or isinstance(error, ValueError) else str(error))
    os.close(writing)
    late = threading.Timer(SECONDS, started.kill)
    late.start()
    out = b""
    if stdout == "unread":
        os.close(reading)
    elif stdout == "a line":
        while b"\n" not in out and (part := os.read(reading, 1)):
            out += part
        os.close(reading)
    if stdout in ("pipe", "terminal"):
        out = read_all(reading)
    err = started.communicate()[1]
    if stdout in ("pipe", "terminal", "full", "closed"):
        os.close(reading)
    crash = "" if late.is_alive() else f"it took more than {SECONDS} s"
    late.cancel()
    return Told(started.returncode, out.decode(errors="replace"), err.decode(errors="replace"), crash)


def read_all(reading: int) -> bytes:
    """All that is written to the other end."""
    out = b""
    while True:
        try:
            part = os.read(reading, 1 << 16)
        except OSError:  # a terminal whose other end is closed
            return out
        if not part:
            return out
        out += part
