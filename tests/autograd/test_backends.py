"""The same forward and backward bodies on every backend: the same numbers, and nothing that CuPy would refuse.

On the strict fake of CuPy these run everywhere; `pytest --backend=cupy` runs them on a GPU.
"""

import contextlib
import sys

import fakecupy
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opcases import CASES

import minattn as ma
from minattn.autograd import asnumpy, device_of
from minattn.autograd.observers import memory_report
from minattn.errors import DeviceError
from minattn.testing import check_gradients

SYNCHRONISE = {"getitem", "put", "scatter_add"}  # a boolean mask in an index: its number of elements is not known


def as_tuple(values):
    return values if isinstance(values, tuple) else (values,)


def run(case, name, call, place):
    """Values and gradients of a call whose tensor arguments `place` puts somewhere."""
    inputs = [ma.Tensor(place(x), requires_grad=x.dtype.kind == "f" and bool(case.method)) for x in call.inputs]
    results = as_tuple(case.on_tensors(name, call.parameters)(*inputs))
    recorded = [y for y in results if y.requires_grad]
    upstream = [place(np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape)) for y in recorded]
    if recorded:
        total = (recorded[0] * upstream[0]).sum()
        for y, g in zip(recorded[1:], upstream[1:], strict=True):
            total = total + (y * g).sum()
        total.backward()
    return [y.data for y in results] + [x.grad for x in inputs if x.grad is not None]


@pytest.mark.parametrize("name", sorted(set(CASES) - {"to_device"}))
@given(data=st.data())
def test_every_op_gives_the_numbers_of_numpy_and_never_makes_the_host_wait(name, data, gpu):
    call = data.draw(CASES[name].calls)
    assume(call.inputs[0].ndim > 0 or name not in SYNCHRONISE)  # CuPy takes no array as the index of a 0-d array
    expected = run(CASES[name], name, call, np.array)
    waiting_is_refused = gpu.name == "fake" and name not in SYNCHRONISE
    with fakecupy.no_sync() if waiting_is_refused else contextlib.nullcontext():
        found = run(CASES[name], name, call, gpu.array)
    assert {device_of(a) for a in found} == {"cuda:0"}
    for a, b in zip(map(asnumpy, found), expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        tolerance = 1e-5 if b.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_gradients_on_the_backend(backend):
    rng = np.random.default_rng(0)
    x, w = (backend.array(rng.standard_normal(s)) for s in ((3, 4), (4, 2)))
    check_gradients(lambda x, w: ma.softmax(ma.tanh(x @ w), mask=backend.array(np.ones((3, 2), bool))), x, w)


# ---------------------------------------------------------------------------------------------- devices
@pytest.fixture
def fake():
    with fakecupy.installed() as cupy:
        yield cupy


@pytest.mark.usefixtures("fake")
class TestDevices:
    def test_tensors_travel_and_so_do_their_gradients(self):
        x = ma.tensor(np.array([1.0, 2.0]), requires_grad=True)
        y = x.to("cuda")
        assert (x.device, y.device) == ("cpu", "cuda:0")
        assert y.to("cuda:0") is y
        (y * y).sum().backward()
        assert isinstance(x.grad, np.ndarray)
        assert x.grad.tolist() == [2, 4]
        back = y.to("cpu")
        assert back.device == "cpu"
        assert back.tolist() == [1, 2]

    def test_gradients_lie_where_their_tensors_lie(self):
        x = ma.tensor([1.0, 2.0], requires_grad=True, device="cuda")
        (x * 3.0).sum().backward()
        assert device_of(x.grad) == "cuda:0"
        assert x.numpy().tolist() == [1, 2]
        assert x.tolist() == [1, 2]
        assert "cuda:0" in repr(x)

    @pytest.mark.parametrize(
        "fn",
        [
            lambda a, b: a + b,
            lambda a, b: a @ b,
            ma.maximum,
            lambda a, b: ma.concat([a, b]),
            lambda a, b: ma.where([True, False], a, b),
            lambda a, b: ma.put(a, b, slice(None)),
        ],
        ids=["add", "matmul", "maximum", "concat", "where", "put"],
    )
    def test_mixing_devices_is_an_error_that_names_both(self, fn):
        host, device = ma.tensor([1.0, 2.0]), ma.tensor([1.0, 2.0], device="cuda")
        for a, b in ((host, device), (device, host)):
            with pytest.raises(DeviceError, match=r"arguments are on cpu and cuda:0 \(given: .*\); hint: move them"):
                fn(a, b)

    def test_a_plain_array_of_the_other_device_is_an_error_too(self):
        with pytest.raises(DeviceError, match="add: its arguments are on cpu and cuda:0"):
            ma.tensor([1.0], device="cuda") + np.ones(1, np.float32)

    def test_lists_and_numbers_go_where_the_tensor_is(self):
        x = ma.tensor([1.0, 2.0], device="cuda")
        assert (x + [1.0, 2.0]).device == "cuda:0"
        assert (x * 2).device == "cuda:0"
        assert (x + [1.0, 2.0]).tolist() == [2, 4]

    def test_the_upstream_gradient_and_new_data_must_be_on_the_device(self):
        x = ma.tensor([1.0, 2.0], requires_grad=True, device="cuda")
        with pytest.raises(DeviceError, match="upstream gradient is on cpu, the tensor on cuda:0"):
            (x * 2.0).backward(np.ones(2, np.float32))
        with pytest.raises(DeviceError, match="data is on cuda:0, the new array on cpu"):
            x.data = np.ones(2, np.float32)
        (x * 2.0).backward([1.0, 2.0])
        assert asnumpy(x.grad).tolist() == [2, 4]

    def test_nothing_is_copied_to_the_host_silently(self):
        x = ma.tensor([1.0, 2.0], device="cuda")
        with pytest.raises(DeviceError, match=r"on cuda:0 is not converted silently; hint: tensor.numpy\(\)"):
            np.asarray(x)

    def test_ids_from_the_host_are_checked_before_they_travel(self):
        """CuPy would wrap them around without a word."""
        weight = ma.tensor(np.ones((3, 2)), device="cuda")
        for ids in ([3], [-1], np.array([0, 7])):
            with pytest.raises(IndexError, match="embedding: id"):
                ma.embedding(weight, np.asarray(ids))
        with pytest.raises(IndexError, match="take: id 3 is out of range for 3 entries"):
            ma.take(weight, [3])
        with pytest.raises(IndexError, match="getitem: index 5 is out of range"):
            weight[[0, 5]]

    def test_devices_that_do_not_exist(self):
        with pytest.raises(DeviceError, match=r"device 'cuda:7' does not exist: this machine has 1 GPU"):
            ma.tensor([1.0], device="cuda:7")
        with pytest.raises(
            DeviceError, match="unknown device 'gpu'; expected 'cpu', 'cuda' or 'cuda:N'; hint: 'cuda' is"
        ):
            ma.tensor([1.0]).to("gpu")

    def test_the_memory_report_names_the_device(self):
        x = ma.tensor([1.0, 2.0], requires_grad=True, device="cuda")
        assert str(memory_report(x * 2.0)).splitlines()[0].endswith("on cuda:0")


def test_without_cupy_the_device_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"needs CuPy, which is not installed; hint: pip install 'minattn\[cuda13\]'"):
        ma.tensor([1.0]).to("cuda")
