"""The engines that are compared, and the environment that each runs in.

minattn runs in the interpreter that runs the benchmark.  Every other engine gets a virtual environment of its own, as
some need a NumPy that minattn does not run on; it is made when it is first wanted, and kept.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FOLDER = Path("~/.cache/minattn/engines")
RECIPE = "minattn-engine.txt"  # in an environment: the requirements that it was made of, written when it is complete
SECONDS_TO_MAKE = 1800.0
CLONE = Path(__file__).parents[1]
WORKERS = ("benchmarks/worker.py", "minattn/benchmarks/worker.py")  # in a clone of today, and in one of earlier


class UnavailableError(Exception):
    """An engine that cannot be measured here; its message is the reason that the results give."""


@dataclass(frozen=True)
class Engine:
    """A library that can be measured."""

    name: str  # what the command and the results call it
    title: str  # how it calls itself
    module: str  # what is imported
    requirements: tuple[str, ...] = ()  # what pip installs; none: it is in the environment of the benchmark already
    newest_python: tuple[int, int] | None = None  # the last Python that it has wheels for, where that is an old one
    lives_with: str = ""  # the engine whose environment it runs in, where it is that one used in another way
    build: tuple[str, ...] = ()  # what building it needs, where no wheel and no isolated build works
    clone: Path = CLONE  # of minattn; whose worker runs the engine

    @property
    def worker(self) -> Path:
        """The program that runs it."""
        return next((self.clone / each for each in WORKERS if (self.clone / each).exists()), self.clone / WORKERS[0])


OLD = (3, 11)  # the last Python of NumPy 1.23
NUMPY, OLD_NUMPY = "numpy==2.4.6", "numpy==1.23.5"
TORCH = ("torch==2.13.0", NUMPY)

MINATTN = "minattn"
EARLIER = "minattn at "  # and the folder of another clone
_engines = (
    Engine(MINATTN, "minattn", "minattn"),
    Engine("torch", "PyTorch", "torch", TORCH),
    Engine("torch-fused", "PyTorch, fused step", "torch", TORCH, lives_with="torch"),
    Engine("torch-channels-last", "PyTorch, NHWC", "torch", TORCH, lives_with="torch"),
    Engine("jax", "JAX", "jax", ("jax==0.10.2", "jaxlib==0.10.2", NUMPY)),
    Engine("autograd", "autograd", "autograd", ("autograd==1.9.1", NUMPY)),
    Engine("mygrad", "MyGrad", "mygrad", ("mygrad==2.5.0", NUMPY)),
    Engine("chainer", "Chainer", "chainer", ("chainer==7.8.1", OLD_NUMPY), OLD, build=("setuptools<81", "wheel")),
    Engine("dezero", "DeZero", "dezero", ("dezero==0.0.13", OLD_NUMPY, "matplotlib<3.9", "pillow<11"), OLD),
    Engine("pydynet", "PyDyNet", "pydynet", ("pydynet==1.1", NUMPY)),
    Engine("smallpebble", "SmallPebble", "smallpebble", ("smallpebble==3.0.5", NUMPY)),
)
ENGINES = {engine.name: engine for engine in _engines}
BASELINES = {"numpy": Engine("numpy", "NumPy alone", "numpy"), "python": Engine("python", "Python alone", "")}


def engine_of(name: str) -> Engine:
    """The engine of this name; "minattn at FOLDER" is another clone of minattn.  Raises KeyError."""
    if name.startswith(EARLIER):
        return Engine(name, name, "minattn", clone=Path(name.removeprefix(EARLIER)).expanduser().absolute())
    return ENGINES[name]


def interpreter_of(engine: Engine, folder: Path, note: Callable[[str], None]) -> Path:
    """The Python that `engine` runs in; its environment is `folder`/NAME, made where it is not there or out of date.

    `note` is called with a line about what takes long.  Raises UnavailableError, with the reason, where the environment
    cannot be made: no network, no wheel for this machine, something else in its place.
    """
    if not engine.requirements:
        return Path(sys.executable)
    place = folder.expanduser() / (engine.lives_with or engine.name)
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if _recipe_in(place) != _recipe(engine):
        _make(engine, place, python, note)
    return python


AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""Environment variables that hold OpenBLAS, NumPy, PyTorch, oneDNN and MKL to AVX2."""


def variables_of(engine: Engine, avx2: bool = False) -> dict[str, str]:
    """The environment variables that `engine` runs with: packages of this environment do not leak into another, and
    minattn is that of the engine's clone, installed or not.

    avx2: it takes no wider vector instructions, though the processor may have them.
    """
    variables = {**os.environ, **(AVX2 if avx2 else {})}
    if engine.requirements:
        return {name: value for name, value in variables.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    path = os.pathsep.join(filter(None, [str(engine.clone), os.environ.get("PYTHONPATH")]))
    return {**variables, "PYTHONPATH": path}


def _recipe(engine: Engine) -> str:
    return "".join(f"{requirement}\n" for requirement in engine.requirements)


def _recipe_in(place: Path) -> str | None:
    try:
        return (place / RECIPE).read_text(encoding="utf-8")
    except OSError:
        return None


def _make(engine: Engine, place: Path, python: Path, note: Callable[[str], None]) -> None:
    base = _base_python(engine)
    if place.exists() and not (place / "pyvenv.cfg").exists():
        raise UnavailableError(f"{place} is in the way: it is not an environment")
    note(f"making the environment of {engine.name}, once: pip install {' '.join(engine.requirements)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"no environment can be made in {place.parent}: {error.strerror}") from error
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2"]
    _run(engine, "python -m venv", [base, "-m", "venv", "--clear", place])
    if engine.build:
        _run(engine, "pip install", [*pip, *engine.build])
        pip.append("--no-build-isolation")
    _run(engine, "pip install", [*pip, *engine.requirements])
    _run(engine, f"import {engine.module}", [python, "-c", f"import {engine.module}"])
    (place / RECIPE).write_text(_recipe(engine), encoding="utf-8")


def _base_python(engine: Engine) -> str | Path:
    """The Python to make the environment with: this one, or one that is old enough."""
    newest = engine.newest_python
    if newest is None or sys.version_info[:2] <= newest:
        return sys.executable
    name = "python{}.{}".format(*newest)
    found = shutil.which(name)
    if found is None:
        this = "{}.{}".format(*sys.version_info)
        raise UnavailableError(f"it has no packages for Python {this}, and there is no {name}")
    return found


def _run(engine: Engine, what: str, command: list[str | Path]) -> None:
    try:
        result = subprocess.run(
            command,
            env=variables_of(engine),
            cwd=Path(command[0]).parent,  # not a folder whose files could be imported by mistake
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS_TO_MAKE,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{what} did not end within {SECONDS_TO_MAKE:.0f} s") from error
    except OSError as error:
        raise UnavailableError(f"{what} could not be started: {error.strerror}") from error
    if result.returncode:
        raise UnavailableError(f"{what} failed: {last_error(result.stdout)}")


def last_error(output: str) -> str:
    """The last line of a program's output that is about an error, or simply the last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no output"])[-1]
