"""States in safetensors files: half precision in and out, what other programs read, and damaged files."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minattn import nn
from minattn.errors import CheckpointError, ConfigError
from minattn.nn import load_state, save_state
from minattn.nn.state_files import from_bfloat16, to_bfloat16


def model(seed=0):
    rng = np.random.default_rng(seed)
    return nn.BidirectionalGRU(3, 4, rng)


# ---------------------------------------------------------------------------------------------- half precision
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, min_side=0)))
def test_rounding_to_bfloat16_is_that_of_ml_dtypes(x):
    expected = x.astype(pytest.importorskip("ml_dtypes").bfloat16)
    rounded = to_bfloat16(x)
    nan = np.isnan(x)
    np.testing.assert_array_equal(rounded[~nan], expected.view(np.uint16)[~nan])
    np.testing.assert_array_equal(from_bfloat16(rounded), expected.astype(np.float32))
    assert np.isnan(from_bfloat16(rounded)[nan]).all()


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, min_side=0), elements=st.floats(-3e38, 3e38)))
def test_numbers_in_float64_are_rounded_once(x):
    step = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(x), 2.0**-126))) - 7)  # of eight digits; below 2^-126 of fewer
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(x)), np.round(x / step) * step)  # NumPy's, to the even one


def test_a_little_more_than_the_middle_is_rounded_up():
    """Rounded to float32 first, it would be the middle, and then the even one below."""
    step = 2.0**-7
    x = np.array([1 + step / 2 + 2.0**-40, 1 + 1.5 * step - 2.0**-40, -1 - step / 2 - 2.0**-40, 1e300, -1e-300, np.inf])
    expected = [1 + step, 1 + step, -1 - step, np.inf, -0.0, np.inf]
    with np.errstate(over="ignore"):
        found = from_bfloat16(to_bfloat16(x))
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_rounding_is_to_the_nearest_and_in_the_middle_to_the_even_one():
    step = 2.0**-7  # between neighbors from 1 to 2
    x = np.array([1 + 0.4 * step, 1 + 0.6 * step, 1 + 0.5 * step, 1 + 1.5 * step, -1 - 1.5 * step, 3.4e38], np.float32)
    expected = [1, 1 + step, 1, 1 + 2 * step, -1 - 2 * step, np.inf]
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(x)), np.array(expected, np.float32))


@given(st.integers(0, 2**16 - 1))
def test_every_bfloat16_comes_back(bits):
    one = np.array([bits], np.uint16)
    back = to_bfloat16(from_bfloat16(one))
    assert back == one or np.isnan(from_bfloat16(one)).all()


def test_a_nan_does_not_become_infinite():
    signaling = np.array([0x7F800001, 0xFF800001], np.uint32).view(np.float32)
    assert np.isnan(from_bfloat16(to_bfloat16(signaling))).all()


# ---------------------------------------------------------------------------------------------- in and out
@pytest.mark.parametrize(("dtype", "digits"), [("float64", 0), ("float32", 0), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_a_model_comes_back_in_float32_up_to_the_digits_of_the_file(tmp_path, dtype, digits):
    before, after = model(0), model(1)
    save_state(tmp_path / "model.safetensors", before.state_dict(), dtype)
    after.load_state_dict(load_state(tmp_path / "model.safetensors"))
    for name, array in after.state_dict().items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, before.state_dict()[name], rtol=digits)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_other_programs_read_what_is_written(tmp_path, dtype):
    pytest.importorskip("ml_dtypes")
    path = tmp_path / "model.safetensors"
    state = {"a": np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3).T, "ids": np.arange(3), "flag": np.array(True)}
    save_state(path, state | {"none": np.zeros((0, 2), np.float32)}, dtype)
    found = pytest.importorskip("safetensors.numpy").load_file(path)
    assert str(found["a"].dtype) == dtype
    np.testing.assert_array_equal(found["a"].astype(np.float32), load_state(path)["a"])
    np.testing.assert_array_equal(found["ids"], [0, 1, 2])
    assert found["flag"].shape == ()
    assert found["none"].shape == (0, 2)


def test_what_other_programs_write_is_read(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    path = tmp_path / "other.safetensors"
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    arrays = {str(np.dtype(d)): x.astype(d) for d in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int8)}
    pytest.importorskip("safetensors.numpy").save_file(arrays, path, {"made by": "another"})
    for name, array in load_state(path).items():
        np.testing.assert_array_equal(array, arrays[name].astype(array.dtype))
        assert str(array.dtype) == {"float16": "float32", "bfloat16": "float32"}.get(name, name)


# ---------------------------------------------------------------------------------------------- refusals
def test_what_cannot_be_stored(tmp_path):
    path = tmp_path / "model.safetensors"
    save_state(path, {"a": np.ones(1)})
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"unknown dtype 'int8'; hint: one of float64, float32, float16, bfloat16"):
        save_state(path, {"a": np.ones(1)}, "int8")
    with pytest.raises(ConfigError, match=r"w has numbers up to 1e\+05, which float16 does not reach; hint: bf"):
        save_state(path, {"w": np.array([1e5, np.inf], np.float32)}, "float16")
    with pytest.raises(ConfigError, match=r"w has numbers up to 3.4e\+38, which bfloat16 does not reach; hint"):
        save_state(path, {"w": np.array([3.4e38], np.float32)}, "bfloat16")
    with pytest.raises(CheckpointError, match=r"c is complex128, which safetensors does not store; hint"):
        save_state(path, {"c": np.ones(1, complex)})
    with pytest.raises(CheckpointError, match=r"no array can have the name __metadata__"):
        save_state(path, {"__metadata__": np.ones(1)})
    assert path.read_bytes() == before
    with pytest.raises(CheckpointError, match=r"could not be written: .*; hint"):
        save_state(tmp_path / "nowhere" / "model.safetensors", {})
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def damaged(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no whole header"),
        (b"\xff" * 20, "no whole header"),
        (damaged(b"{nonsense"), "no JSON"),
        (damaged(b"[" * 100_000), "no JSON"),
        (damaged([1]), "names no arrays"),
        (damaged({"a": {"dtype": "F32"}}), "the entry of a is not whole"),
        (damaged({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"), "a is cut off"),
        (damaged({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"12345678"), "a is cut off"),
        (damaged({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, b"1234"), "a is cut off"),
        (damaged({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]}}, b"1234"), "a are no whole numbers"),
        (damaged({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0.0, 4.0]}}, b"1234"), "a are no whole numbers"),
        (damaged({"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}}, b"1234"), "a are no whole numbers"),
        (damaged({"a": {"dtype": "F32", "shape": [2**70, 0], "data_offsets": [0, 0]}}), "no array has the shape of a"),
        (damaged({"a": {"dtype": "F32", "shape": [1] * 70, "data_offsets": [0, 4]}}, b"1234"), "has the 70 axes of a"),
        (damaged({"a": {"dtype": "F32", "shape": [2**60] * 10**5, "data_offsets": [0, 4]}}), "has the 100,000 axes"),
        (
            damaged({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
            "is of dtype .'F32'.; hint",
        ),
        (
            damaged(
                {
                    "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
                    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                    "none": {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]},
                },
                b"123456789012",
            ),
            "a and b have bytes in common",
        ),
        (damaged({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"1"), "is of dtype F8_E4M3; hint"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, why):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=why):
        load_state(path)


def test_a_device_or_a_pipe_is_not_read(tmp_path):
    (tmp_path / "model.safetensors").symlink_to("/dev/null")
    with pytest.raises(CheckpointError, match="cannot be read: It is a pipe or a device, not a file; hint"):
        load_state(tmp_path / "model.safetensors")


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_stops_a_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, stop):
    path = tmp_path / "model.safetensors"
    save_state(path, {"a": np.ones(2, np.float32)})

    def stopped(*args):
        raise stop

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(CheckpointError if isinstance(stop, OSError) else KeyboardInterrupt):
        save_state(path, {"a": np.zeros(2, np.float32)})
    np.testing.assert_array_equal(load_state(path)["a"], 1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot be read: .*; hint: check the path"):
        load_state(tmp_path / "none.safetensors")
