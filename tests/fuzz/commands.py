"""`minattn` in this process, and what must hold of everything that it says."""

import contextlib
import io
import os
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minattn.cli import run
from minattn.errors import ESCAPES

SECONDS = 10  # that a command may take without a word
STATUSES = {0, 1, 2, 130}
LONGEST = 1000  # characters of an error; paths and hints among them


class Told(NamedTuple):
    """How a command ended; crash: the traceback where it did not end by itself."""

    status: int
    out: str
    err: str
    crash: str = ""

    def problems(self, longest: int = LONGEST) -> list[str]:
        """What is wrong with how it ended and with what it said."""
        found = [self.crash] if self.crash else []
        if "Traceback" in self.err + self.out:
            found.append(f"a traceback: {self.err[-1000:]}")
        elif not self.crash and self.status not in STATUSES:
            found.append(f"the status {self.status}")
        elif self.status in (1, 2) and (not self.err.startswith("error: ") or self.err.count("\n") != 1):
            found.append(f"refused in more than a line: {self.err[:600]!r}")
        elif self.status in (1, 2) and len(self.err) > longest:
            found.append(f"refused in {len(self.err)} characters: {self.err[:300]!r}")
        if "Warning" in self.err:
            found.append(f"a warning: {self.err[:600]!r}")
        if wild := {c for c in self.out + self.err if ord(c) in ESCAPES}:
            found.append(f"characters that steer a terminal: {wild!r}")
        return found


class Hang(BaseException):
    """A command took too long."""


class Enough(BaseException):
    """A command goes on and on, but tells how far it is."""


@contextlib.contextmanager
def within(seconds: int, out: io.StringIO) -> Iterator[None]:
    """Raises Hang, at a line of Python, where nothing is written to `out` for so long, Enough where it goes on and on.

    On a machine that does other work too, a second is one of this process's own; a wait ends after six times as long.
    """
    told, then, waits = -1, time.process_time(), 0

    def look(*_: object) -> None:
        nonlocal told, then, waits
        waits += 1
        if out.tell() != told:
            told, then = out.tell(), time.process_time()
        elif time.process_time() - then > seconds / 2 or waits == 6:
            raise Hang(f"nothing told for {seconds} seconds")
        if waits > 6:
            raise Enough
        signal.alarm(seconds)

    before = signal.signal(signal.SIGALRM, look)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def minattn(*arguments: object, folder: Path | None = None, seconds: int = SECONDS) -> Told:
    """The command line with these arguments, in this folder."""
    out, err = io.StringIO(), io.StringIO()
    home = os.getcwd()
    status, crash = -1, ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        try:
            if folder:
                os.chdir(folder)
            with within(seconds, out):
                run([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        except Enough:
            status = 0
        except BaseException:
            crash = traceback.format_exc()
        finally:
            os.chdir(home)
    return Told(status, out.getvalue(), err.getvalue(), crash)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every path below `folder` with its bytes, its link's target, or its kind."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        else:
            found[name] = path.read_bytes() if path.is_file() else "another kind"
    return found


def changed(before: dict[str, bytes | str], after: dict[str, bytes | str]) -> list[str]:
    """The paths that are not what they were."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
