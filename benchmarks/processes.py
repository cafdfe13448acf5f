"""The processes that are timed, and what else the machine does meanwhile.

A `Contender` does steps when it is told to and says how long each took.  Whatever goes wrong with one of them (it dies,
hangs, talks nonsense) is an `UnavailableError` with the reason, and its process is ended.
"""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.environments import Engine, UnavailableError, last_error

SECONDS_TO_STOP = 2.0
SHORTEST_JUDGED = 0.1  # s; the kernel counts processor time in hundredths of a second, too coarse for less


@dataclass(frozen=True)
class Place:
    """The environment of a contender's processes."""

    interpreter: Path
    variables: dict[str, str]  # of its environment
    threads: int
    folder: Path  # an empty one, so that nothing in it is imported by mistake
    time_limit: float  # seconds for each answer


@dataclass(frozen=True)
class Steps:
    """The seconds of some steps, and their losses."""

    seconds: list[float]
    losses: list[float]


class Contender:
    """One engine doing one workload.  Use it in a `with` block, which ends its process."""

    first_steps = 4  # whose losses are compared; they also warm it up
    version: dict[str, str]  # of the engine, its NumPy and its Python

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.stop(at_once=kind is not None)

    def stop(self, at_once: bool = False) -> None:
        """End the process, or first let it end by itself; once it has ended, nothing."""

    def run(self, steps: int) -> Steps:
        """Do so many steps.  Raises UnavailableError."""
        raise NotImplementedError

    def peak_mib(self) -> float | None:
        """The most memory it has had; None where the system does not tell.  Raises UnavailableError."""
        raise NotImplementedError

    def cpu_seconds(self) -> float | None:
        """The processor time it has used; None where the system does not tell."""
        raise NotImplementedError


class Worker(Contender):
    """A process of worker.py, set up and ready.  Raises UnavailableError where the engine cannot do the workload."""

    def __init__(self, engine: str, workload: str, place: Place, program: Path) -> None:
        self._limit = place.time_limit
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        self._answers: queue.Queue[str | None] = queue.Queue()
        command = [place.interpreter, program, engine, workload, "--threads", str(place.threads)]
        self._process = _start(command, place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            greeting = self._answer("getting ready")
        except BaseException:
            self.stop(at_once=True)
            raise
        if "cannot" in greeting:
            self.stop()
            raise UnavailableError(str(greeting["cannot"]))
        self.version = {key: str(greeting.get(key, "?")) for key in ("version", "numpy", "python")}

    def run(self, steps: int) -> Steps:
        answer = self._ask({"run": steps}, f"{steps} steps")
        return Steps(answer["seconds"], answer["losses"])

    def peak_mib(self) -> float | None:
        peak: float | None = self._ask({"memory": True}, "telling its memory")["peak_mib"]
        return peak

    def cpu_seconds(self) -> float | None:
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]  # behind the program's name, which may have blanks
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self, at_once: bool = False) -> None:
        if self._errors.closed:
            return
        if not at_once:
            self._tell({"stop": True})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if at_once else SECONDS_TO_STOP)
        if self._process.poll() is None:
            _kill(self._process)
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):  # of what was never read
                stream.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        """Hand on all that the process says; at its end, None."""
        for line in self._process.stdout:  # type: ignore[union-attr]
            self._answers.put(line.decode(errors="replace"))
        self._answers.put(None)

    def _ask(self, order: dict[str, Any], doing: str) -> dict[str, Any]:
        self._tell(order)
        return self._answer(doing)

    def _tell(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is dead, which its answer, or rather its silence, will tell
            self._process.stdin.write(json.dumps(order).encode() + b"\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _answer(self, doing: str) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._limit)
        except queue.Empty:
            raise UnavailableError(f"no answer within {self._limit:g} s ({doing})") from None
        if line is None:
            raise UnavailableError(f"it {self._end()} ({doing})")
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict) or "error" in answer:
            raise UnavailableError(f"it answered {line.strip()!r} ({doing})")
        return answer

    def _end(self) -> str:
        """The end of the process, in words."""
        try:
            status = self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            return "closed its output"
        self._errors.seek(0)
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        said = self._errors.read().decode(errors="replace")
        return f"{how}: {last_error(said)}" if said.strip() else how


class Importer(Contender):
    """A step is a new process that imports the library and ends."""

    first_steps = 1  # each process begins anew

    def __init__(self, engine: Engine, place: Place) -> None:
        self._engine, self._place = engine, place
        self._statement = f"import {engine.module}" if engine.module else "pass"
        known = json.loads(self._finish(f"{self._statement}\n{_DESCRIBE.format(name=engine.module or engine.name)}"))
        self._peak_mib: float | None = known.pop("peak_mib")
        self.version: dict[str, str] = known

    def run(self, steps: int) -> Steps:
        seconds = []
        for _ in range(steps):
            started = time.perf_counter()
            self._finish(self._statement)
            seconds.append(time.perf_counter() - started)
        return Steps(seconds, [])

    def peak_mib(self) -> float | None:
        return self._peak_mib

    def cpu_seconds(self) -> float | None:
        return sum(os.times()[:4])  # of this process too, which starts the others

    def _finish(self, program: str) -> str:
        """Run the program to its end; returns what it wrote."""
        command = [self._place.interpreter, "-c", program]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with _start(command, self._place, **pipes) as process:
            try:
                out, errors = process.communicate(timeout=self._place.time_limit)
            except subprocess.TimeoutExpired:
                raise UnavailableError(f"no end within {self._place.time_limit:g} s ({self._statement})") from None
            finally:
                if process.poll() is None:
                    _kill(process)
        if process.returncode:
            raise UnavailableError(f"{self._statement} failed: {last_error(errors.decode(errors='replace'))}")
        return out.decode()


# What the first process of an importer prints: its versions, and the most memory that importing took (on Linux).
_DESCRIBE = """
import importlib.metadata, json, pathlib, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(name), "__version__", "")
def peak_mib(status=pathlib.Path("/proc/self/status")):
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
versions = {{"version": version("{name}"), "numpy": version("numpy"), "python": platform.python_version()}}
print(json.dumps({{**versions, "peak_mib": peak_mib()}}))
"""


def _start(command: list[Any], place: Place, **pipes: Any) -> "subprocess.Popen[bytes]":
    """Start a process, with so many threads and processors, that Ctrl-C does not reach: it is for us to end it."""
    environment = {**place.variables, **thread_variables(place.threads)}
    try:
        with _on_processors(place.threads):
            return subprocess.Popen(command, env=environment, cwd=place.folder, start_new_session=True, **pipes)
    except OSError as error:
        raise UnavailableError(f"{place.interpreter} could not be started: {error.strerror}") from error


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the process and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# ---------------------------------------------------------------------------------------------- threads, processors
def thread_variables(threads: int) -> dict[str, str]:
    """The environment variables that hold BLAS, OpenMP and XLA to so many threads."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    eigen = "true" if threads > 1 else "false"
    return dict.fromkeys(names, str(threads)) | {"XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}"}


def processors() -> list[int]:
    """The processors that this process may use, those first that have a core for themselves."""
    if not hasattr(os, "sched_getaffinity"):  # only Linux has it
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0), key=lambda number: (_is_second_of_core(number), -number))


def _is_second_of_core(number: int) -> bool:
    siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
    return siblings.exists() and int(re.split("[,-]", siblings.read_text())[0]) != number


@contextlib.contextmanager
def _on_processors(threads: int) -> Iterator[None]:
    """Within the block, processes are started on so many processors."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors()[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy_seconds() -> float | None:
    """The time that all processors together have been busy since the machine was started; None where nobody tells.

    What a host machine has taken away from a virtual one counts as busy too.
    """
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


class Meter:
    """Reads, from its making on, how busy a contender and everybody else have been."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._start = self._readings()

    def read(self) -> tuple[float | None, float | None]:
        """Processors that the contender has kept busy, and the share of the machine that others have used; None where
        the system does not tell or the time was too short to say.
        """
        start, now = self._start, self._readings()
        elapsed = now[0] - start[0]
        if elapsed < SHORTEST_JUDGED or None in (*start, *now):
            return None, None
        own, all_of_it = now[1] - start[1], now[2] - start[2]  # type: ignore[operator]
        return own / elapsed, max(all_of_it - own, 0.0) / (elapsed * (os.cpu_count() or 1))

    def _readings(self) -> tuple[float, float | None, float | None]:
        return time.perf_counter(), self._contender.cpu_seconds(), busy_seconds()
