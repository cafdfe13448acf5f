"""The strategies give what they promise, and reach the corners that they are there for."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from minattn.errors import ConfigError
from minattn.testing import strategies


def reaches(strategy, condition):
    """Whether hypothesis finds an example of `strategy` for which `condition` holds."""
    try:
        find(strategy, condition, settings=settings(max_examples=2000, database=None, derandomize=True))
    except NoSuchExample:
        return False
    return True


@pytest.mark.parametrize(
    "corner", [lambda s: s == (), lambda s: 0 in s, lambda s: 1 in s and 3 in s, lambda s: len(s) == 3]
)
def test_shapes_have_all_corners(corner):
    assert reaches(strategies.shapes(), corner)


@given(strategies.broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(shapes):
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


def test_broadcastable_shapes_differ_in_length():
    assert reaches(strategies.broadcastable_shapes(2), lambda shapes: abs(len(shapes[0]) - len(shapes[1])) == 2)


@given(st.data(), strategies.shapes())
def test_axes_are_taken_by_numpy(data, shape):
    axis = data.draw(strategies.axes(len(shape)))
    np.zeros(shape).sum(axis)


@pytest.mark.parametrize("corner", [lambda a: a is None, lambda a: a == (), lambda a: a == (0, -1), lambda a: a == -2])
def test_axes_have_all_corners(corner):
    assert reaches(strategies.axes(2), corner)


@given(strategies.arrays(strategies.shapes(), low=-1.0, high=3.0, away_from=(0.0, 2.0), margin=0.25))
def test_arrays_keep_their_distance(x):
    assert x.dtype in (np.float32, np.float64)
    assert ((x >= -1) & (x <= 3)).all()
    assert (np.abs(x) > 0.2499).all()
    assert (np.abs(x - 2) > 0.2499).all()


def test_every_interval_between_kinks_is_used():
    arrays = strategies.arrays((), low=-1.0, high=3.0, away_from=(0.0, 2.0), plain=True)
    for low, high in ((-1, 0), (0, 2), (2, 3)):
        assert reaches(arrays, lambda x, low=low, high=high: low < x < high)


def test_no_room_between_kinks_is_an_error():
    with pytest.raises(ValueError, match=r"nothing is left of \[-1.0, 1.0\] at a distance of 2.0 from \(0.0,\)"):
        find(strategies.arrays((), low=-1.0, high=1.0, away_from=(0.0,), margin=2.0), lambda x: True)


@given(strategies.arrays(strategies.shapes(min_side=1), distinct=True))
def test_distinct_elements_are_apart(x):
    gaps = np.diff(np.sort(x, None))
    assert (gaps > 0.3 * 4 / x.size).all()


@given(st.data(), strategies.shapes())
def test_layouts_change_memory_alone(data, shape):
    values = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    array = data.draw(strategies.layouts(values))
    assert np.array_equal(array, values)
    assert array.dtype == values.dtype


@pytest.mark.parametrize(
    "corner",
    [
        lambda x: x.strides[0] < 0,
        lambda x: abs(x.strides[1]) > abs(x.strides[0]) + 8,
        lambda x: min(abs(s) for s in x.strides) == 16,
        lambda x: not x.flags.writeable,
        lambda x: x.flags.c_contiguous and x.flags.writeable,
    ],
    ids=["reversed", "permuted", "with gaps", "read-only", "plain"],
)
def test_layouts_have_all_corners(corner):
    assert reaches(strategies.layouts(np.zeros((3, 4))), corner)


@given(st.data(), strategies.shapes(min_dims=1))
def test_masks_without_empty_rows(data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    mask = data.draw(strategies.masks(shape, axis, full_rows=False))
    assert mask.dtype == bool
    assert mask.shape == shape
    assume(mask.size)
    assert mask.any(axis).all()


def test_masks_may_have_empty_rows():
    assert reaches(strategies.masks((2, 3)), lambda mask: mask.any() and not mask.any(-1).all())


@given(strategies.ids(strategies.shapes(), 3))
def test_ids_are_in_range(ids):
    assert ids.dtype.kind == "i"
    assert ((ids >= 0) & (ids < 3)).all()


@pytest.mark.parametrize("corner", [lambda i: (i < 0).any(), lambda i: len(set(i.tolist())) < len(i)])
def test_ids_have_all_corners(corner):
    assert reaches(strategies.ids((4,), 5, negative=True), corner)


def test_ids_of_nothing():
    assert reaches(strategies.ids((3, 2), 0), lambda ids: ids.shape == (0, 2))


@given(st.data(), strategies.shapes())
def test_index_expressions_are_taken_by_numpy(data, shape):
    index = data.draw(strategies.index_expressions(shape))
    np.zeros(shape)[index]


def parts(index):
    return index if isinstance(index, tuple) else (index,)


@pytest.mark.parametrize(
    "corner",
    [
        lambda i: any(part is None for part in parts(i)),
        lambda i: any(part is Ellipsis for part in parts(i)),
        lambda i: any(isinstance(part, slice) and (part.step or 1) < 0 for part in parts(i)),
        lambda i: any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts(i)),
        lambda i: len(parts(i)) == 2 and all(isinstance(part, np.ndarray) for part in parts(i)),
        lambda i: {type(part) for part in parts(i)} == {slice, np.ndarray},
    ],
    ids=["newaxis", "ellipsis", "backward", "boolean", "integer arrays", "mixed"],
)
def test_index_expressions_have_all_kinds(corner):
    assert reaches(strategies.index_expressions((3, 4)), corner)


def run_in_a_fresh_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_minattn_does_not_import_the_testing_tools():
    code = "import sys, minattn; print([m for m in sys.modules if m.startswith(('minattn.testing', 'hypothesis'))])"
    assert run_in_a_fresh_python(code).strip() == "[]"


def test_the_oracle_needs_no_hypothesis_and_the_strategies_say_what_they_need():
    code = """
import sys
sys.modules["hypothesis"] = None
from minattn.errors import MissingDependencyError
from minattn.testing import check_gradients
try:
    from minattn.testing import strategies
except MissingDependencyError as error:
    print(error)
"""
    assert "pip install 'minattn[testing]'" in run_in_a_fresh_python(code)


# ---------------------------------------------------------------------------------------------- bad requests
@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (lambda: strategies.arrays((), low=2.0, high=1.0), "low must be below high, got 2.0 and 1.0"),
        (
            lambda: strategies.arrays((), np.int64),
            "arrays are of floating-point numbers, got int64; hint: strategies.ids",
        ),
        (lambda: strategies.axes(0, none=False, several=False), "there is no axis of 0 to draw; hint: none=True"),
        (
            lambda: strategies.masks((), full_rows=False),
            "masks of shape () have no rows along axis -1; hint: full_rows",
        ),
        (lambda: strategies.masks((2, 3), axis=2, full_rows=False), "masks of shape (2, 3) have no rows along axis 2"),
        (lambda: strategies.ids((3,), -1), "ids are counted from 0, got a count of -1; hint: negative=True"),
    ],
)
def test_what_cannot_be_drawn(strategy, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        find(strategy(), lambda x: True)
