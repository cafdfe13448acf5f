"""Checkpoints come back exactly, or not at all."""

import errno
import json
import os
import resource
import signal
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minattn import __version__
from minattn.errors import CheckpointError, MissingDependencyError
from minattn.training import arrays_under, load_checkpoint, restore_rng, rng_state, save_checkpoint

names = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
dtypes = st.sampled_from(
    ["bool", "uint8", "int8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", "complex64"]
)
orders = st.sampled_from("<>")


@st.composite
def any_layout(draw):
    """An array of any kind, 0-d, empty, transposed, with negative or broad strides, of either byte order."""
    dtype = np.dtype(draw(dtypes)).newbyteorder(draw(orders))
    array = draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    if array.ndim:
        array = array[:: draw(st.sampled_from([1, -1, 2]))]
    return array.transpose(draw(st.permutations(range(array.ndim))))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_saved_comes_back_exactly(tmp_path, data):
    arrays = data.draw(st.dictionaries(names, any_layout(), max_size=4))
    meta = data.draw(st.dictionaries(st.text(), json_values, max_size=4))
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, arrays, meta)
    loaded, loaded_meta = load_checkpoint(path)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()
    assert json.dumps(loaded_meta) == json.dumps(meta)  # as text, because NaN differs from itself
    assert os.listdir(tmp_path) == ["c.safetensors"]


def test_other_programs_can_read_the_arrays(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", {"w": np.arange(3.0)}, {"model": "g2p"})
    assert safetensors.numpy.load_file(tmp_path / "c.safetensors")["w"].tolist() == [0, 1, 2]


def test_loaded_arrays_can_be_written_to(tmp_path):
    save_checkpoint(tmp_path / "c", {"w": np.zeros(3)}, {})
    loaded, _ = load_checkpoint(tmp_path / "c")
    loaded["w"] += 1


def test_a_file_cut_at_any_length_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"w": np.arange(4, dtype=np.float32), "b": np.array(1.5)}, {"step": 3})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"c\.safetensors.*cut off.*hint"):
            load_checkpoint(path)


@given(junk=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_foreign_bytes_are_refused(tmp_path, junk):
    path = tmp_path / "junk"
    path.write_bytes(junk)
    with pytest.raises(CheckpointError, match="junk"):
        load_checkpoint(path)


def test_a_missing_file_a_folder_and_a_bare_safetensors_file_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*absent"):
        load_checkpoint(tmp_path / "absent")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_checkpoint(tmp_path)
    safetensors.numpy.save_file({"w": np.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="foreign is a safetensors file, but no minattn checkpoint"):
        load_checkpoint(tmp_path / "foreign")


def test_another_format_version_is_refused(tmp_path):
    header = {"kind": "minattn checkpoint", "format": "2", "minattn": "9.1", "meta": "{}"}
    safetensors.numpy.save_file({"w": np.zeros(2)}, tmp_path / "future", header)
    with pytest.raises(
        CheckpointError,
        match=rf"future has format 2, of minattn 9\.1; this is minattn {__version__}, which reads format 1; hint",
    ):
        load_checkpoint(tmp_path / "future")


@pytest.mark.parametrize(
    ("arrays", "meta"),
    [
        ({"w": np.array(["text"])}, {}),
        ({"w": np.array([None])}, {}),
        ({"w": np.zeros(2, np.complex128)}, {}),
        ({}, {"step": np.int64(3)}),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(tmp_path, arrays, meta):
    with pytest.raises(CheckpointError, match="cannot be stored"):
        save_checkpoint(tmp_path / "c", arrays, meta)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def small_files():
    """No file may grow beyond 4 kB, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_the_old_checkpoint_and_leaves_nothing_else(tmp_path, small_files):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"w": np.ones(3)}, {"step": 1})
    with pytest.raises(CheckpointError, match=r"c\.safetensors could not be written.*untouched.*free space"):
        save_checkpoint(path, {"w": np.ones(3000)}, {"step": 2})
    assert os.listdir(tmp_path) == ["c.safetensors"]
    assert load_checkpoint(path)[1] == {"step": 1}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_at_any_call_keeps_the_old_checkpoint(tmp_path, monkeypatch, call):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"w": np.ones(3)}, {"step": 1})

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CheckpointError, match="No space left"):
            save_checkpoint(path, {"w": np.zeros(3)}, {"step": 2})
    assert os.listdir(tmp_path) == ["c.safetensors"]
    assert load_checkpoint(path)[1] == {"step": 1}


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="No such file or directory"):
        save_checkpoint(tmp_path / "absent" / "c", {}, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="Permission denied"):
            save_checkpoint(tmp_path / "c", {}, {})
    finally:
        tmp_path.chmod(0o700)


def test_without_safetensors_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        save_checkpoint(tmp_path / "c", {}, {})


def test_arrays_under_a_prefix():
    arrays = {"model/a/b": np.array(1), "model2/a": np.array(2), "optimizer/model/a": np.array(3)}
    assert arrays_under("model", arrays) == {"a/b": np.array(1)}


kinds = st.sampled_from([np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.MT19937, np.random.SFC64])


@given(kinds, st.integers(0, 2**64), st.integers(0, 700))
def test_a_random_generator_goes_on_where_it_was(kind, seed, drawn):
    original, copy = np.random.Generator(kind(seed)), np.random.Generator(kind(0))
    original.integers(0, 10, drawn, dtype=np.int32)  # an odd number of 32-bit draws leaves half a word waiting
    restore_rng(copy, json.loads(json.dumps(rng_state(original))))
    assert (
        original.integers(0, 2**32, 5, dtype=np.uint32).tolist() == copy.integers(0, 2**32, 5, dtype=np.uint32).tolist()
    )
    assert (original.normal(size=5) == copy.normal(size=5)).all()


def test_a_state_of_another_generator_is_refused():
    state = rng_state(np.random.Generator(np.random.Philox(0)))
    with pytest.raises(CheckpointError, match="Philox generator, this one is PCG64"):
        restore_rng(np.random.default_rng(0), state)


def test_a_file_that_may_not_be_read_is_not_called_missing(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "locked", {}, {})

    def refuse(path, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CheckpointError, match=r"checkpoint .*locked cannot be read: Permission denied; hint"):
        load_checkpoint(tmp_path / "locked")
