"""One engine doing one workload as its standard input says: the process that the harness times.

    python worker.py ENGINE WORKLOAD --threads N

It runs by its path in the engine's own interpreter: it needs the standard library, NumPy and the engine.  First it
writes {"ready": true, ..} or {"cannot": reason}; then it answers every line of JSON:

    {"run": n}          {"seconds": [..], "losses": [..]}, one of each for every step
    {"memory": true}    {"peak_mib": ..}, the most memory that this process has had at a time, null where unknown
    {"stop": true}      nothing, and ends; the end of the input does so too

The harness of another clone may run this file, to compare that clone with this one; so these lines stay as they are.
The number of threads of BLAS and OpenMP is set by environment variables before this process starts.  The engine
"limits" does what no library can beat on this machine: the workloads "gemm" and "copy".
"""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

Step = Callable[[], float]
FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Set up the workload, say so, and obey until told to stop."""
    parser = argparse.ArgumentParser(description="Do one engine's workload as standard input says.")
    parser.add_argument("engine")
    parser.add_argument("workload")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not come between the answers
    try:
        greeting, step = set_up(given.engine, given.workload, given.threads)
    except CannotError as reason:
        say(answers, {"cannot": str(reason)})
        return
    say(answers, greeting)
    for answer in obey(sys.stdin, step):
        say(answers, answer)


class CannotError(Exception):
    """This engine cannot do this workload; the message says why."""


def import_benchmarks() -> None:
    """Make this folder the package `benchmarks` without the root of the clone on sys.path, where the links `autograd`
    and `models` would come before libraries of these names.
    """
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != FOLDER]
    places = {"submodule_search_locations": [str(FOLDER)]}
    spec = importlib.util.spec_from_file_location("benchmarks", FOLDER / "__init__.py", **places)
    sys.modules["benchmarks"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["benchmarks"])


def set_up(engine: str, workload: str, threads: int) -> tuple[dict[str, Any], Step]:
    """The greeting and the step.  Raises CannotError with the reason where there is none."""
    import_benchmarks()
    start = find_step(engine, workload)
    try:
        module = importlib.import_module(f"benchmarks.engines.{engine.partition('-')[0]}")
    except ImportError as error:
        raise CannotError(f"{engine} does not import: {error}") from error
    if hasattr(module, "use"):
        module.use(threads)
    versions = {"version": version(module.__name__.rpartition(".")[2]), "numpy": version("numpy")}
    greeting = {"ready": True, "engine": engine, **versions, "python": platform.python_version()}
    return greeting, start(module)


def version(library: str) -> str:
    """The version that the imported library has, or else that it was installed with; the limits have none."""
    try:
        return str(getattr(sys.modules.get(library), "__version__", "") or importlib.metadata.version(library))
    except importlib.metadata.PackageNotFoundError:
        return ""


def find_step(engine: str, workload: str) -> Callable[[Any], Step]:
    """The function of the engine's module that sets the workload up.  Raises CannotError."""
    if engine == "limits":
        return lambda module: getattr(module, workload)()
    wanted = importlib.import_module("benchmarks.workloads").WORKLOADS.get(workload)
    if wanted is None or engine not in wanted.steps:
        reason = wanted and wanted.cannot.get(engine)
        raise CannotError(reason or f"{engine} has no workload {workload!r}")
    return wanted.steps[engine]


def obey(orders: TextIO, step: Step) -> Iterator[dict[str, Any]]:
    """Yield an answer to each line, until one says stop."""
    for line in orders:
        order = json.loads(line)
        if "run" in order:
            yield timed(step, order["run"])
        elif "memory" in order:
            yield {"peak_mib": peak_mib()}
        elif "stop" in order:
            return
        else:
            yield {"error": f"unknown order {order}"}


def timed(step: Step, times: int) -> dict[str, list[float]]:
    """The time and the loss of each of so many steps."""
    seconds, losses = [], []
    for _ in range(times):
        started = perf_counter()
        loss = step()
        seconds.append(perf_counter() - started)
        losses.append(loss)
    return {"seconds": seconds, "losses": losses}


def peak_mib() -> float | None:
    """The most resident memory so far, on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    kib = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(kib) / 1024


def say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
