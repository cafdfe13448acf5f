"""The strict fake CuPy gives NumPy's results. What it refuses and counts: tests/fakecupy/test_*.py."""

import copy
import importlib
import inspect
import math
import pickle
import sys
import types
import weakref

import fakecupy
import numpy as np
import pytest
from fakecupy import api, functions
from fakecupy.samples import HOST, X, cp, device, indices, numbers, special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

# What CuPy accepts


def test_repeated_indices_are_fine_where_one_number_is_stored():
    x = device(4, 5)
    x[indices(1, 1)] = 7.0
    assert x.get()[1].tolist() == [7.0] * 5
    x[indices(1, 1)] = cp.asarray(8.0)
    assert x.get()[1].tolist() == [8.0] * 5


def test_in_place_change_of_a_slice_is_no_overlap():
    x = device(4, 5)
    expected = x.get()
    expected[1:] *= 2
    x[1:] *= 2
    np.testing.assert_array_equal(x.get(), expected)


def test_python_numbers_are_weak_and_numpy_numbers_are_not():
    x = device(3)
    assert (x * 2.0).dtype == (2.0 * x).dtype == (x + 1).dtype == np.float32
    assert (x * np.float64(2)).dtype == (np.float64(2) * x).dtype == np.float64
    assert (x * 1j).dtype == np.complex64
    assert (cp.arange(3) + 1).dtype == np.int64
    assert (cp.arange(3) * 2.0).dtype == np.float64
    assert (cp.arange(3, dtype="i1") / 2).dtype == np.float64
    assert (cp.arange(3, dtype="u1") + 0.5).dtype == np.float64  # CuPy's first loop that fits is float16's


def test_reductions_and_elements_stay_on_the_device():
    x = device(4, 5)
    for result in (x.sum(), cp.max(x), x.mean(), x[0, 0], x.argmax(), cp.count_nonzero(x), cp.allclose(x, x)):
        assert type(result) is cp.ndarray
        assert result.shape == ()
    assert fakecupy.stats.syncs == 0


def test_numpy_functions_lead_to_cupys():
    x = device(4, 5)
    for result in (
        np.exp(x),
        np.sum(x, axis=0),
        np.linalg.norm(x),
        np.concatenate([x, x]),
        np.matmul(x, x.T),
    ):
        assert type(result) is cp.ndarray


def test_out_is_written_and_returned():
    x, y = device(4, 5), cp.empty((4, 5), "f4")
    assert cp.exp(x, out=y) is y
    np.testing.assert_array_equal(y.get(), np.exp(x.get()))
    assert cp.exp(x, y) is y
    product = cp.empty((4, 4), "f4")
    assert cp.matmul(x, x.T, product) is cp.matmul(x, x.T, out=product) is product
    np.testing.assert_allclose(product.get(), x.get() @ x.get().T, rtol=1e-6)
    assert fakecupy.stats.by_name["matmul"] == 2
    total = cp.empty((5,), "f4")
    assert x.sum(0, out=total) is total
    np.testing.assert_array_equal(total.get(), x.get().sum(0))
    same = x
    x += 1.0
    assert x is same


def test_empty_holds_nan_or_the_largest_integer():
    assert np.isnan(cp.empty((2, 3), "f4").get()).all()
    assert np.isnan(cp.empty_like(device(3)).get()).all()
    assert np.isnan(cp.ndarray((3,), "c16").get().imag).all()
    assert cp.empty(3, "i4").get().tolist() == [2**31 - 1] * 3
    assert cp.empty_like(device(3, 2).T).shape == (2, 3)


def test_scatter_adds_up_repeated_indices():
    for add_at in (cp.add.at, fakecupy.cupyx.scatter_add):
        x = cp.zeros((3, 2), "f4")
        add_at(x, indices(0, 0, 2), cp.asarray([[1, 1], [2, 2], [3, 3]], dtype="f4"))
        assert x.get().tolist() == [[3, 3], [0, 0], [3, 3]]
    x = cp.zeros((2, 3), "f4")
    cp.add.at(x.T, (indices(0, 0), indices(1, 1)), 1.0)
    assert x.get().tolist() == [[0, 0, 0], [2, 0, 0]]
    x = cp.zeros(2, "c16")
    cp.add.at(x, slice(None), 1j)  # no index arrays: an ordinary addition, of any dtype
    assert x.get().tolist() == [1j, 1j]
    x = cp.zeros(2, "i4")
    cp.maximum.at(x, indices(1, 1), cp.asarray([5, 3], dtype="i4"))
    assert x.get().tolist() == [0, 5]


def test_scatter_has_no_order():
    """1e8 + 1 - 1e8 in float32 depends on the order, so equal results every time would mean a fixed one."""
    sums = set()
    values = cp.asarray([1e8, 1.0, -1e8, 1.0, 3.0], dtype="f4")
    for _ in range(50):
        x = cp.zeros(1, "f4")
        cp.add.at(x, cp.zeros(5, int), values)
        sums.add(x.item())
    assert len(sums) > 1


def test_assignments():
    x = device(4, 5)
    host = x.get()
    x[1] = host[1] = 2
    x[:, 0] = x[:, 1]
    host[:, 0] = host[:, 1]
    x[indices(0, 3), 2] = cp.asarray([8.0, 9.0])
    host[[0, 3], 2] = [8.0, 9.0]
    x[x < 0] = 0
    host[host < 0] = 0
    x[...] += 1
    host += 1
    np.testing.assert_array_equal(x.get(), host)


def test_copies_and_pickles():
    x = device(4, 5)
    for twin in (copy.copy(x), copy.deepcopy(x), x.copy(), pickle.loads(pickle.dumps(x)), cp.array(x)):
        assert not cp.may_share_memory(twin, x)
        np.testing.assert_array_equal(twin.get(), x.get())


def test_host_and_device_never_share_memory():
    host = numbers(3)
    x = cp.asarray(host)
    host[0] = 5
    assert x.get()[0] != 5
    x.get()[1] = 6
    assert x.get()[1] != 6
    x.set(host)
    assert x.get()[0] == 5
    with pytest.raises(ValueError, match="float32 NumPy array"):
        x.set(host.astype("f8"))
    target = np.empty(3, "f4")
    assert x.get(out=target) is target
    np.testing.assert_array_equal(target, host)
    assert cp.asnumpy(x).tolist() == host.tolist()
    assert cp.asnumpy([1.0]).tolist() == [1.0]


# Views


def test_base_is_none_for_owners_and_the_owner_for_views():
    x = device(4, 5)
    assert x.base is None
    views = (
        x.T,
        x[1],
        x[1][2:],
        x[0, 0],
        x.reshape(20),
        x.T.reshape(5, 2, 2).swapaxes(0, 1),
        x.view(),
        x[None],
    )
    for view in views[:5] + views[6:]:
        assert view.base is x
        assert not view.flags.owndata
    for owner in (
        x + 1,
        x.T.reshape(20),
        x[indices(0)],
        x[x > 0],
        x.copy(),
        cp.concatenate([x, x]),
        x.sum(0),
    ):
        assert owner.base is None
    assert cp.lib.stride_tricks.as_strided(x, (2, 2), (4, 4)).base is None


def test_views_write_through_and_index_copies_do_not():
    x = device(4, 5)
    view, element, taken = x[1:].T, x[0, 0], x[cp.asarray(2)]
    x[...] = 1.0
    assert view.get().tolist() == [[1.0] * 3] * 5
    assert element.item() == 1.0
    assert taken.get().tolist() != [1.0] * 5
    vector = device(3)
    assert vector.T is vector
    assert vector.real is vector.conj() is vector  # NumPy's conj() copies
    assert cp.asarray(x) is x
    assert x.astype("f4", copy=False) is x
    assert cp.ascontiguousarray(x) is x


def test_memory_questions():
    x = device(4, 5)
    even, odd = x[:, ::2], x[:, 1::2]
    assert cp.may_share_memory(even, odd)  # bounds only
    assert fakecupy.stats.syncs == 0
    assert cp.shares_memory(x, x)
    assert fakecupy.stats.syncs == 0
    assert not cp.shares_memory(even, odd)
    assert cp.shares_memory(x, even)
    assert fakecupy.stats.syncs == 2
    assert not cp.may_share_memory(x, x.copy())


def test_results_are_c_contiguous_whatever_the_operands_are():
    x = device(4, 5).T
    host = x.get(order="F")
    assert x.flags.f_contiguous
    assert (host + host).flags.f_contiguous
    assert (x + x).flags.c_contiguous


def test_scrambled_layouts_find_code_that_relies_on_strides():
    def halves_in_place(x):
        y = x * 1.0
        y.reshape(-1)[::2] = 0.0  # right only if reshape gives a view
        return y

    x = device(6, 5, 4)
    expected = (x + x).get()
    with fakecupy.scrambled_layouts():
        wrong = halves_in_place(x)
        y = x + x
    assert not y.flags.c_contiguous
    np.testing.assert_array_equal(y.get(), expected)
    assert (wrong.get() != halves_in_place(x).get()).any()
    assert (x + x).flags.c_contiguous


# Dtypes and numbers as CuPy has them


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers(dtype):
    z = device(4, 5).astype(dtype) + 2 + 1j * device(4, 5)
    host = z.get()
    tolerance = 1e-5 if dtype == "complex64" else 1e-12
    for xp_function in (
        lambda xp, z: xp.exp(z) / xp.sqrt(z) - xp.tanh(z) ** 2,
        lambda xp, z: xp.log(z).sum(0),
        lambda xp, z: z @ z.T,
        lambda xp, z: z.mean(-1, keepdims=True) * z.real + z.imag,
        lambda xp, z: xp.where(z.real > 2, z, 0.0),
        lambda xp, z: xp.abs(z.conj()),
    ):
        result, expected = xp_function(cp, z), xp_function(np, host)
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result.get(), expected, rtol=tolerance)


def test_the_complex_step_gives_a_derivative():
    x = cp.asarray([0.3, -0.7]) + 0j
    x.imag = 1e-20
    derivative = cp.tanh(x).imag / 1e-20
    np.testing.assert_allclose(derivative.get(), 1 - np.tanh([0.3, -0.7]) ** 2, rtol=1e-12)
    x.real = 0.0
    assert x.get().real.tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="imaginary"):
        device(3).imag = 1.0


def test_dtypes_come_from_cupys_loops_not_from_numpys():
    assert special.ellipk(cp.zeros(3, "f2")).dtype == np.float32  # SciPy: float64
    assert special.erf(device(3)).dtype == np.float32
    assert cp.exp(cp.ones(3, "i4")).dtype == np.float64
    assert cp.sum(cp.ones(3, bool)).dtype == np.int64


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.floats(-4, 4, width=32)),
    st.sampled_from(["exp", "tanh", "sign", "sqrt", "log", "floor", "isnan", "negative", "square", "logical_not"]),
)
def test_unary_ufuncs_agree_with_numpy(host, name):
    result = getattr(cp, name)(cp.asarray(host))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(host)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.get(), expected)


AGREE = {
    "add.reduce": lambda xp, x: xp.add.reduce(x),
    "multiply.accumulate": lambda xp, x: xp.multiply.accumulate(x, 1),
    "subtract.outer": lambda xp, x: xp.subtract.outer(x[0], x[1]),
    "argmax": lambda xp, x: xp.argmax(x, 1, keepdims=True),
    "argsort": lambda xp, x: x.argsort(-1),
    "broadcast_arrays": lambda xp, x: xp.broadcast_arrays(x, x[0])[1],
    "clip": lambda xp, x: x.clip(-0.5, 0.5) + xp.clip(x, None, x[0]),
    "concatenate": lambda xp, x: xp.concatenate((x, x[:1]), 0),
    "cumsum": lambda xp, x: x.cumsum(0),
    "diagonal": lambda xp, x: x.diagonal() + x.trace(),
    "divmod": lambda xp, x: divmod(x, 0.3)[0],
    "einsum": lambda xp, x: xp.einsum("ij,kj->ik", x, x),
    "flip": lambda xp, x: xp.flip(x, 1) + x[::-1],
    "full": lambda xp, x: xp.full((2, 2), 3.0, x.dtype) + xp.full_like(x[:2, :2], x[0, 0]),
    "linspace": lambda xp, x: xp.linspace(0, 1, 5, dtype=x.dtype) + x,
    "meshgrid": lambda xp, x: xp.meshgrid(x[0], x[1], indexing="ij")[1],
    "modf": lambda xp, x: xp.modf(x)[0],
    "pad": lambda xp, x: xp.pad(x, ((0, 1), (2, 0)), "constant", constant_values=1.0),
    "partition": lambda xp, x: xp.partition(x, 2, 1)[:, 2],
    "ptp": lambda xp, x: xp.ptp(x, 0),
    "put_along_axis": lambda xp, x: put_along_axis(xp, x),
    "repeat, tile": lambda xp, x: x.repeat(2, 1) + xp.tile(x, 2),
    "reshape, ravel": lambda xp, x: x.T.reshape(2, -1) + x.ravel().reshape((2, 10)),
    "roll": lambda xp, x: xp.roll(x, 1, 0),
    "rounding": lambda xp, x: x.round(1) + xp.around(x, 2),
    "searchsorted": lambda xp, x: xp.searchsorted(xp.sort(x[0]), x[1]),
    "split": lambda xp, x: xp.split(x, (2,), 1)[1] + xp.array_split(x, 2, 1)[0],
    "stack": lambda xp, x: xp.stack([x, x], 1) + xp.vstack([x[:1], x[1:]])[:, None],
    "std": lambda xp, x: x.std(0, ddof=1, keepdims=True) + x.var() + xp.std(x, 0),
    "take": lambda xp, x: x.take(xp.arange(2), 1) + xp.take_along_axis(x, xp.argsort(x, 1)[:, :2], 1),
    "tensordot": lambda xp, x: xp.tensordot(x, x, ((1,), (1,))),
    "transpose": lambda xp, x: x[None].transpose(0, 2, 1) + x.T + xp.transpose(x) + xp.moveaxis(x, 0, 1),
    "tril": lambda xp, x: xp.tril(x) + xp.triu(x, 1) * xp.tri(4, 5),
    "squeeze": lambda xp, x: xp.expand_dims(x, 1).squeeze(1) + x[:, None].squeeze(),
    "operators": lambda xp, x: -x + abs(x) - 2 * x / (1 + x**2) + (x > 0) * (x >= 0) + x // 1 + x % 1,
    "bits": lambda xp, x: (x > 0) & ~(x < 1) | (x != 0) ^ (x == 0),
    "shifts": lambda xp, x: (xp.arange(5) << 2) >> 1,
    "logic": lambda xp, x: xp.any(x > 0, 0) & (x < 9).all(0),
    "norm": lambda xp, x: xp.linalg.norm(x, axis=1),
    "iteration": lambda xp, x: sum(row for row in x) + len(x),
    "host functions": lambda xp, x: xp.zeros(xp.broadcast_shapes(x.shape, (1, 5)), xp.result_type(x, 1.0)),
}


def put_along_axis(xp, x):
    y = xp.zeros_like(x)
    xp.put_along_axis(y, xp.argmax(x, 1)[:, None], 1.0, 1)
    xp.copyto(y[:1], x[:1])
    return y


@pytest.mark.parametrize("case", AGREE)
def test_agrees_with_numpy(case):
    host = numbers(4, 5)
    result, expected = AGREE[case](cp, cp.asarray(host)), AGREE[case](np, host)
    assert type(result) is cp.ndarray
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result.get(), expected, rtol=1e-6)


def test_nothing_warns():
    zero = cp.zeros(3, "f4")
    assert np.isnan((zero / zero).get()).all()
    assert np.isinf(cp.exp(zero + 1000).get()).all()
    zero[...] = cp.full(3, 1e300)
    assert np.isinf(zero.get()).all()


# The modules


def test_installed_replaces_cupy_and_gives_back_what_was_there():
    there = {"cupy": types.ModuleType("cupy"), "cupy.random": types.ModuleType("cupy.random")}
    before = {name: sys.modules[name] for name in there if name in sys.modules}
    sys.modules.update(there)
    try:
        with fakecupy.installed() as fake:
            import cupy
            import cupyx.scipy.special
            from cupy.cuda import runtime
            from cupyx.scipy.special import erf

            assert cupy is fake is cp
            assert importlib.util.find_spec("cupy") is not None
            assert runtime.getDeviceCount() == 1
            assert cupy.cuda.is_available()
            assert cupyx.scipy.special.erf is erf
            assert float(erf(cupy.asarray(0.5))) == pytest.approx(math.erf(0.5))
            with pytest.raises(ImportError):
                importlib.import_module("cupy.random")
        assert {name: sys.modules[name] for name in there} == there
        assert cp not in sys.modules.values()
    finally:
        for name in there:
            del sys.modules[name]
        sys.modules.update(before)


def test_install_stays():
    with fakecupy.installed():  # only to clean up after install()
        del sys.modules["cupy"]
        sys.modules["cupy.random"] = types.ModuleType("cupy.random")
        assert fakecupy.install() is cp
        assert "cupy.random" not in sys.modules
        assert importlib.import_module("cupy") is cp


def test_other_classes_can_take_over_the_operators():
    class Tensor:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "mine"

    assert X + Tensor() == "mine"


def test_get_array_module_and_identity():
    assert cp.get_array_module(X, HOST) is cp
    assert cp.get_array_module(HOST, 1.0) is np
    assert type(X).__module__ == "cupy"
    assert weakref.ref(X)() is X
    assert isinstance(X, cp.ndarray)
    assert not isinstance(X, np.ndarray)
    assert X.device.id == 0
    with X.device:
        assert X.device == cp.cuda.Device(0)


def test_only_names_that_cupy_has():
    assert {name for name in api.CUPY if name != "__version__"} <= api.known_names()
    assert set(api.LINALG) <= api.known_names("linalg")
    assert set(api.SPECIAL) <= api.known_names("special")
    assert set(api.STRIDE_TRICKS) <= api.known_names("stride_tricks")
    public = {name for name in dir(cp.ndarray) if not name.startswith("_")}
    assert public <= set(api.TABLE["ndarray"])


def test_methods_have_the_parameters_of_cupys():
    for name, parameters in api.TABLE["ndarray"].items():
        method = getattr(cp.ndarray, name, None)
        if inspect.isfunction(method):
            ours = [
                str(parameter.replace(default=inspect.Parameter.empty))
                for parameter in inspect.signature(method).parameters.values()
            ]
            assert ", ".join(ours[1:]) == parameters, name


def test_the_first_parameter_of_every_function_takes_arrays():
    for name, function in api.CUPY.items():
        if isinstance(function, functions.Function) and not isinstance(function, functions.Creator):
            first = (function.signature.positional or [function.signature.rest])[0]
            assert first in functions.ARRAYS | functions.SEQUENCES, name


def test_the_table_is_that_of_the_installed_cupy():
    """Where CuPy is installed, with or without a GPU: the names that the fake stands in for are there."""
    real = pytest.importorskip("cupy")
    assert not [name for name in api.CUPY if not hasattr(real, name)]
    for name, loops in api.TABLE["cupy"]["ufuncs"].items():
        assert set(loops.split()) <= set(getattr(real, name).types), name
