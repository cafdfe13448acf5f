"""What all tests share: hypothesis profiles, shape annotations that are checked, and the backends."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakecupy
import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

# ---------------------------------------------------------------------------------------------- shapes
# The shapes in the signatures of these modules are checked at every call that a test makes.  Two have none and are left
# out: module.py, as beartype takes `Self` only in classes that it decorates as a whole; initializers.py, as beartype
# picks elements of tuples at random, which hypothesis forbids where it draws a model.
LAYERS = Path(__file__).parents[1] / "minattn" / "nn"
SHAPELESS = ("__init__", "initializers", "module")
CHECKED = [f"minattn.nn.{file.stem}" for file in LAYERS.glob("*.py") if file.stem not in SHAPELESS]
CHECKED += ["minattn.nn.recurrent", "minattn.attention", "minattn.models"]
if early := [name for name in CHECKED if name in sys.modules]:
    raise RuntimeError(f"{early} were imported before tests/conftest.py, so their annotations would not be checked")
jaxtyping.install_import_hook(CHECKED, "shape_checks.checked")

import minattn as ma  # noqa: E402
from minattn.autograd import check_device, to_device  # noqa: E402
from minattn.errors import DeviceError  # noqa: E402

# ---------------------------------------------------------------------------------------------- threads
# Several test processes with several BLAS threads each would fight for the cores, and each wait for the others.
threadpool_limits(limits=1, user_api="blas")  # this process, whose BLAS is loaded by now
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # those that tests start

# ---------------------------------------------------------------------------------------------- hypothesis
# Locally every run draws new examples; in CI a run is the same every time, so that a failure is the change's.
# `pytest --hypothesis-profile=thorough` looks harder.
common: dict[str, Any] = {
    "deadline": None,
    # no fixture here has state that one example could leave to the next
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("local", max_examples=20, **common)
settings.register_profile("repeatable", max_examples=20, derandomize=True, database=None, **common)
settings.register_profile("thorough", max_examples=500, **common)
settings.load_profile("repeatable" if os.environ.get("CI") else "local")


# ---------------------------------------------------------------------------------------------- backends
BACKENDS = ("numpy", "fake", "cupy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=BACKENDS,
        help="run the tests that take a backend on this one alone: numpy, fake (a strict CuPy without a GPU), or cupy "
        "(a real GPU).  Default: numpy and fake",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = metafunc.config.getoption("--backend")
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", [chosen] if chosen else ["numpy", "fake"], indirect=True)
    if "gpu" in metafunc.fixturenames:
        metafunc.parametrize("gpu", [chosen or "fake"], indirect=True)


@dataclass(frozen=True)
class Backend:
    """Where a test body runs: `backend.array` and `backend.tensor` bring host values there."""

    name: str
    device: str

    def array(self, values: Any) -> Any:
        """`values` as a raw array of the backend."""
        return to_device(np.asarray(values), self.device)

    def tensor(self, values: Any, requires_grad: bool = False) -> ma.Tensor:
        """`values` as a leaf tensor of the backend."""
        return ma.Tensor(self.array(values), requires_grad)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The array backends, one after the other: the same test body must give the same numbers on all of them."""
    yield from _provided(request.param)


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A GPU, the fake one or a real one, for tests that compare it with NumPy themselves."""
    if request.param == "numpy":
        pytest.skip("needs a device backend: --backend=fake or --backend=cupy")
    yield from _provided(request.param)


def _provided(name: str) -> Iterator[Backend]:
    if name == "numpy":
        yield Backend("numpy", "cpu")
    elif name == "fake":
        with fakecupy.installed():
            yield Backend("fake", "cuda")
    else:
        try:
            check_device("cuda")
        except DeviceError as error:
            pytest.skip(str(error))
        yield Backend("cupy", "cuda")
