"""A pytest plugin for property-tested gradients.  In conftest.py:

    pytest_plugins = ["minattn.testing.plugin"]

A test with hypothesis that is marked, or that takes the fixture `gradcheck` (which is `check_gradients`), leaves its
failing example behind:

    @pytest.mark.gradcheck
    @given(strategies.arrays(strategies.shapes()))
    def test_cube(x):
        check_gradients(cube, x)

    $ pytest -m gradcheck
    ...
    the failing example is in .gradcheck/test_cubes.test_cube.npz; to run the test on it alone:
      pytest 'test_cubes.py::test_cube' --gradcheck-replay=.gradcheck/test_cubes.test_cube.npz

The file holds what hypothesis drew, shrunk, with the memory layout of every array: it goes into a bug report, or to
another machine.  Profiles of hypothesis, for `--hypothesis-profile=`: gradcheck-quick (10 examples of each test),
gradcheck-ci (50, the same every time) and gradcheck-nightly (1000).
"""

import functools
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.strategies import DataObject

from minattn.errors import DataError
from minattn.testing import GradientMismatch, check_gradients
from minattn.testing.examples import Drawn, load, store

FOLDER = Path(".gradcheck")

settings.register_profile("gradcheck-quick", max_examples=10, deadline=None)
settings.register_profile("gradcheck-ci", max_examples=50, deadline=None, derandomize=True, database=None)
settings.register_profile("gradcheck-nightly", max_examples=1000, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--gradcheck-replay",
        metavar="FILE.npz",
        help="run the one test that is named on the example in this file alone",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(), "minattn-gradcheck-recorder")
    config.addinivalue_line(
        "markers", "gradcheck: checks gradients; a failing example is stored, see minattn.testing.plugin"
    )


@pytest.fixture(scope="session")
def gradcheck() -> Any:
    """`minattn.testing.check_gradients`; the failing example of a test that takes it is stored."""
    return check_gradients


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test on a stored example in place of what hypothesis would draw."""
    path = pyfuncitem.config.getoption("--gradcheck-replay")
    handle = getattr(pyfuncitem.obj, "hypothesis", None)
    if path is None or handle is None:
        return None
    test, drawn = load(Path(path))
    if test != pyfuncitem.nodeid:
        raise DataError(f"the example in {path} is of {test}; hint: pytest {test!r} --gradcheck-replay={path}")
    fixtures = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    itself = () if pyfuncitem.instance is None else (pyfuncitem.instance,)
    handle.inner_test(*itself, **(fixtures | drawn))
    return True


class Recorder:
    """Runs tests as pytest does, and keeps the arguments of the last gradient that was wrong."""

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
        handle = getattr(pyfuncitem.obj, "hypothesis", None)
        marked = pyfuncitem.get_closest_marker("gradcheck") or "gradcheck" in pyfuncitem.fixturenames
        if not marked or handle is None:
            return (yield)
        inner, failed = handle.inner_test, {}

        @functools.wraps(inner)
        def recording(*args: Any, **kwargs: Any) -> Any:
            given = {
                name: Recording(value) if isinstance(value, DataObject) else value for name, value in kwargs.items()
            }
            try:
                return inner(*args, **given)
            except GradientMismatch:
                failed.clear()
                failed.update(given)
                raise

        handle.inner_test = recording
        try:
            return (yield)
        except BaseException:
            if failed:
                pyfuncitem.add_report_section("call", "gradcheck", _stored(pyfuncitem, failed))
            raise
        finally:
            handle.inner_test = inner


class Recording:
    """In place of hypothesis' `data`: draws from it, and keeps what was drawn."""

    def __init__(self, data: Any) -> None:
        self._data, self.values = data, []

    def draw(self, strategy: Any, label: Any = None) -> Any:
        """What the test draws; a test that changes an array after drawing it changes what is stored, too."""
        value = self._data.draw(strategy, label)
        self.values.append(value)
        return value


def _stored(item: pytest.Function, failed: dict[str, Any]) -> str:
    """Store a failing example; returns what the report says of it."""
    given = {"self", *item._fixtureinfo.argnames}  # what pytest gives again
    drawn = {name: value for name, value in failed.items() if name not in given}
    drawn = {name: Drawn(value.values) if isinstance(value, Recording) else value for name, value in drawn.items()}
    path = FOLDER / (re.sub(r"[^\w.-]+", "_", re.sub(r"\.py::|::|/", ".", item.nodeid)).strip("_") + ".npz")
    try:
        store(path, item.nodeid, drawn)
    except (TypeError, OSError) as error:
        return f"the failing example could not be stored: {error}"
    return (
        f"the failing example is in {path}; to run the test on it alone:\n"
        f"  pytest {item.nodeid!r} --gradcheck-replay={path}"
    )
