"""One engine doing one workload, told by its standard input when: the process that the harness times.

    python worker.py ENGINE WORKLOAD --threads N

It runs by its path in the engine's own interpreter, where minattn is not installed: it needs the standard library,
NumPy and the engine.  First it writes {"ready": true, ..} or {"cannot": reason}; then it answers every line of JSON:

    {"run": n}          {"seconds": [..], "losses": [..]}, one of each for every step
    {"memory": true}    {"peak_mib": ..}, the most memory that this process has had at a time, null where not told
    {"stop": true}      nothing, and ends; the end of the input does so too

The number of threads of BLAS and OpenMP is set by environment variables before this process starts; the engine sets
those it has a call for.  The engine "limits" does what no library can beat on this machine: the workloads "gemm" and
"copy".
"""

import argparse
import importlib
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

ENGINES = (
    *("minattn", "torch", "torch-fused", "torch-channels-last", "jax", "autograd", "mygrad", "chainer", "dezero"),
    *("pydynet", "smallpebble"),
    "limits",
)

Step = Callable[[], float]


def main() -> None:
    """Set up the workload, say so, and obey until told to stop."""
    parser = argparse.ArgumentParser(description="Do one engine's workload as standard input says.")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("workload")
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not come between the answers
    try:
        greeting, step = set_up(wanted.engine, wanted.workload, wanted.threads)
    except CannotError as reason:
        say(answers, {"cannot": str(reason)})
        return
    say(answers, greeting)
    for answer in obey(sys.stdin, step):
        say(answers, answer)


class CannotError(Exception):
    """This engine cannot do this workload; the message says why."""


def set_up(engine: str, workload: str, threads: int) -> tuple[dict[str, Any], Step]:
    """The greeting and the step.  Raises CannotError with the reason where there is none."""
    try:
        file = f"with_{engine.replace('-', '_')}"
        module = importlib.import_module(f"engines.{file}")  # this file's folder is first on sys.path
    except ImportError as error:
        raise CannotError(f"{engine} does not import: {error}") from error
    if workload not in module.WORKLOADS:
        raise CannotError(module.CANNOT.get(workload, f"{engine} has no workload {workload!r}"))
    step = module.WORKLOADS[workload](threads)
    greeting = {
        "ready": True,
        "engine": engine,
        "version": module.version(),
        "numpy": importlib.import_module("numpy").__version__,
        "python": platform.python_version(),
    }
    return greeting, step


def obey(orders: TextIO, step: Step) -> Iterator[dict[str, Any]]:
    """An answer to each line, until one says stop."""
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
    """How long each of so many steps took, and its loss."""
    seconds, losses = [], []
    for _ in range(times):
        started = perf_counter()
        loss = step()
        seconds.append(perf_counter() - started)
        losses.append(loss)
    return {"seconds": seconds, "losses": losses}


def peak_mib() -> float | None:
    """The most resident memory so far (Linux tells)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    kib = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(kib) / 1024


def say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
