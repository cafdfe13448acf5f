"""Convolutions against seven loops, against SciPy, against one another, and by each way that they may take.

Their gradients and their equations are tested in test_every_op.py, on the cases of opcases/convolution.py.
"""

import contextlib
import itertools
import os
import platform
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from opcases import CASES
from opcases.convolution import both
from scipy import signal

import minattn as ma
from minattn.autograd import OPS, blas, blocks
from minattn.autograd.ops import implicit_gemm
from minattn.errors import ConfigError, ShapeError
from minattn.testing import assert_equation, check_gradients, strategies

NAMES = ("conv2d", "conv_transpose2d")
ON_X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="kernels of x86")
SMALLEST = {"HOST_BLOCK": 1, "FEWEST_PIXELS": 1}
GATHER = {"has_small_products": lambda: False}
SMALL_PRODUCTS = {"has_small_products": lambda: True}
IN_PIECES = SMALL_PRODUCTS | {"_slides": lambda *a: False}
WAYS = {
    "a block for all": {"HOST_BLOCK": 1 << 40} | GATHER,
    "blocks of images": {"HOST_BLOCK": 300, "FEWEST_PIXELS": 1} | GATHER,
    "blocks of rows": SMALLEST | GATHER,
    "parts for threads": {"SHARED": 1} | SMALLEST | GATHER,
    "products in pieces": {"SMALL": 60, "FEWEST_ROWS": 2} | IN_PIECES,
    "pieces of blocks": {"HOST_BLOCK": 300, "FEWEST_PIXELS": 1, "SMALL": 30, "FEWEST_ROWS": 1} | IN_PIECES,
    "rows of pixels first": {"PAGE": 1, "ROOM": 0} | GATHER,
    "slide": SMALL_PRODUCTS,
    "slide over images": {"HOST_BLOCK": 600, "FEWEST_PIXELS": 1, "SMALL": 100, "FEWEST_ROWS": 1} | SMALL_PRODUCTS,
    "slide over rows": {"SMALL": 50, "FEWEST_ROWS": 1} | SMALLEST | SMALL_PRODUCTS,
}


@contextlib.contextmanager
def taking(way):
    """Within the block convolutions take that way, however small they are."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WAYS[way].items():
            patch.setattr(implicit_gemm, name, value)
        yield


def tolerance(x):
    return {"rtol": 1e-4, "atol": 1e-4} if x.dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}


def places(n, k, stride, padding, dilation):
    return (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1


def by_loops(x, weight, bias, stride, padding, dilation, groups):
    """Every number of the result by itself, as the definition has it."""
    (s_h, s_w), (p_h, p_w), (d_h, d_w) = map(both, (stride, padding, dilation))
    batch, _, rows, columns = x.shape
    outputs, per_group, k_h, k_w = weight.shape
    height, width = places(rows, k_h, s_h, p_h, d_h), places(columns, k_w, s_w, p_w, d_w)
    y = np.zeros((batch, outputs, height, width))
    for n, o, h, w in np.ndindex(y.shape):
        group = o // (outputs // groups)
        for c, i, j in np.ndindex(per_group, k_h, k_w):
            row, column = s_h * h + d_h * i - p_h, s_w * w + d_w * j - p_w
            if 0 <= row < rows and 0 <= column < columns:
                y[n, o, h, w] += float(weight[o, c, i, j]) * float(x[n, group * per_group + c, row, column])
        y[n, o, h, w] += 0 if bias is None else bias[o]
    return y


@pytest.mark.parametrize("way", WAYS)
@given(call=CASES["conv2d"].calls)
@settings(max_examples=30)
def test_conv2d_is_seven_loops(way, call):
    x, weight, *bias = call.inputs
    with taking(way):
        y = ma.conv2d(*call.inputs, **call.parameters)
    expected = by_loops(x, weight, bias[0] if bias else None, **call.parameters)
    assert y.shape == expected.shape
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y.data, expected, **tolerance(x))


def by_scipy(x, weight, stride, padding, dilation, groups):
    """With a stride and a dilation of 2, every second number of the correlation with a kernel with zeros in between."""
    (s_h, s_w), (p_h, p_w), (d_h, d_w) = map(both, (stride, padding, dilation))
    outputs, per_group, k_h, k_w = weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (p_h, p_h), (p_w, p_w)))
    spread = np.zeros((outputs, per_group, d_h * (k_h - 1) + 1, d_w * (k_w - 1) + 1))
    spread[:, :, ::d_h, ::d_w] = weight

    def at(n, o):
        first = o // (outputs // groups) * per_group
        seen = padded[n, first : first + per_group]
        return sum(signal.correlate(*pair, mode="valid") for pair in zip(seen, spread[o], strict=True))[::s_h, ::s_w]

    return np.array([[at(n, o) for o in range(outputs)] for n in range(len(x))])


@pytest.mark.parametrize("way", WAYS)
@given(call=CASES["conv2d"].calls)
@settings(max_examples=30)
def test_conv2d_is_the_correlation_of_scipy(way, call):
    x, weight = (a.astype(np.float64) for a in call.inputs[:2])
    with taking(way):
        y = ma.conv2d(x, weight, **call.parameters)
    assume(len(x))
    np.testing.assert_allclose(y.data, by_scipy(x, weight, **call.parameters), rtol=1e-11, atol=1e-11)


@given(call=CASES["conv_transpose2d"].calls)
def test_conv_transpose2d_is_the_adjoint(call):
    """<conv2d(x), y> = <x, conv_transpose2d(y)>, and conv2d leads back to the same size, or to a larger one where
    output_padding is the stride or more."""
    y, weight = (a.astype(np.float64) for a in call.inputs[:2])
    parameters = dict(call.parameters)
    back = ma.conv_transpose2d(y, weight, **parameters)
    more, (height, width) = parameters.pop("output_padding"), y.shape[2:]
    x = np.random.default_rng(0).standard_normal(back.shape)
    there = ma.conv2d(x, weight, **parameters)
    stride = np.broadcast_to(parameters["stride"], 2)
    assert there.shape[2:] == tuple(n + m // s for n, m, s in zip((height, width), more, stride, strict=True))
    same = there.data[:, :, :height, :width] * y
    np.testing.assert_allclose(same.sum(), (x * back.data).sum(), rtol=1e-11, atol=1e-11)


def test_the_size_of_a_transposed_convolution():
    x, weight = np.ones((1, 2, 5, 4)), np.ones((2, 3, 3, 4))
    y = ma.conv_transpose2d(x, weight, stride=(3, 2), padding=1, output_padding=(2, 1), dilation=(1, 2))
    assert y.shape == (1, 3, 3 * 4 + 2 + 1 - 2 + 2, 2 * 3 + 6 + 1 - 2 + 1)


def test_output_padding_below_the_dilation_adds_what_the_kernel_puts_there():
    """With stride 1 there is nothing to put: zeros."""
    x, weight = np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 2))
    y = ma.conv_transpose2d(x, weight, stride=1, output_padding=(0, 2), dilation=(1, 3))
    assert y.tolist() == [[[[1, 2, 0, 1, 2, 0, 0]]]]


# ---------------------------------------------------------------------------------------------- one axis
@given(st.data(), st.sampled_from([np.float32, np.float64]))
def test_conv1d_is_a_sum_for_each_place(data, dtype):
    groups, inputs, outputs, k, stride, padding, dilation = (data.draw(st.integers(1, 3)) for _ in range(7))
    length = dilation * (k - 1) + data.draw(st.integers(0, 4))
    x, weight, bias = (
        data.draw(strategies.arrays(shape, dtype))
        for shape in ((2, groups * inputs, length), (groups * outputs, inputs, k), (groups * outputs,))
    )
    y = ma.conv1d(ma.tensor(x), weight, bias, stride, padding, dilation, groups)
    seen = np.pad(x, [(0, 0), (0, 0), (padding, padding)])
    assert y.shape == (2, groups * outputs, (length + 2 * padding - dilation * (k - 1) - 1) // stride + 1)
    assert y.dtype == dtype
    for n, o, place in np.ndindex(y.shape):
        expected = bias[o]
        for c in range(inputs):
            for i in range(k):
                channel = o // outputs * inputs + c
                expected = expected + weight[o, c, i] * seen[n, channel, stride * place + dilation * i]
        np.testing.assert_allclose(y.data[n, o, place], expected, rtol=1e-4, atol=1e-5)
    check_gradients(lambda *given: ma.conv1d(*given, stride, padding, dilation, groups), x, weight, bias)


def test_conv1d_refuses_what_is_no_sequence():
    with pytest.raises(ShapeError, match=r"conv1d: x \(N, C_in, L\) .* got \(2, 5\) and \(3, 2, 1\); hint: x\[None\]"):
        ma.conv1d(np.ones((2, 5)), np.ones((3, 2, 1)))


# ---------------------------------------------------------------------------------------------- blocks
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=40)
def test_every_way_has_the_gradients_of_the_equation(name, way, data):
    call = data.draw(CASES[name].calls)
    with taking(way):
        assert_equation(
            CASES[name].on_tensors(name, call.parameters),
            lambda *tensors: OPS[name].equation(*tensors, **call.parameters),
            *call.inputs,
        )


def test_all_the_ways_are_taken(monkeypatch):
    """Otherwise the tests above would prove nothing."""
    found = {}
    blocks_of, pieces_of, slide = implicit_gemm._blocks, implicit_gemm._pieces, implicit_gemm._slide

    def noted_blocks(*given):
        result = blocks_of(*given)
        found["blocks"], found["shared"] = len(result[0]), result[1]
        return result

    def noted_pieces(patches, outputs):
        whole, piece = pieces_of(patches, outputs)
        found["pieces"] = whole // piece
        return whole, piece

    def noted_slide(*given):
        found["pieces"] = "slides"
        slide(*given)

    for noted in (noted_blocks, noted_pieces, noted_slide):
        monkeypatch.setattr(implicit_gemm, noted.__name__.replace("noted", ""), noted)
    x, weight = np.ones((9, 2, 6, 5)), np.ones((3, 2, 2, 2))
    counts = {}
    for way in WAYS:
        with taking(way):
            ma.conv2d(x, weight)
        counts[way] = tuple(found[name] for name in ("blocks", "pieces", "shared"))
    assert counts == {
        "a block for all": (1, 1, False),
        "blocks of images": (9, 1, False),
        "blocks of rows": (45, 1, False),
        "parts for threads": (45, 1, True),
        "products in pieces": (1, 90, False),
        "pieces of blocks": (9, 20, False),
        "rows of pixels first": (1, 1, False),
        "slide": (1, "slides", False),
        "slide over images": (5, "slides", False),
        "slide over rows": (45, "slides", False),
    }


def test_which_kernels_slide(monkeypatch):
    def slides(weight, width, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1):
        geometry = implicit_gemm.Geometry(weight[2:], stride, padding, dilation, groups)
        return implicit_gemm._slides(np.zeros((2, 16, 8, 8), np.float32), weight, geometry, width)

    few, many = (16, 16, 3, 3), (1024, 16, 3, 3)
    monkeypatch.setattr(implicit_gemm, "has_small_products", lambda: True)
    assert slides(few, 8)
    assert slides(few, 8, dilation=(2, 1))
    assert slides(few, 6, padding=(0, 0))
    for how in ({"stride": (2, 1)}, {"stride": (1, 2)}, {"dilation": (1, 2)}, {"groups": 2}, {"padding": (1, 0)}):
        assert not slides(few, 8, **how)
    assert not slides(many, 8)
    assert not slides(few, 4, padding=(0, 0))
    monkeypatch.setattr(implicit_gemm, "has_small_products", lambda: False)
    assert not slides(few, 8)


@pytest.mark.parametrize("how", [{}, {"stride": 2}, {"groups": 4}, {"groups": 2}], ids=str)
def test_threads_share_a_convolution_and_change_no_bit(monkeypatch, how):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, np.float32) for s in ((9, 4, 8, 7), (4, 4 // how.get("groups", 1), 3, 3), (4,))]
    monkeypatch.setattr(implicit_gemm, "HOST_BLOCK", 300)
    monkeypatch.setattr(implicit_gemm, "FEWEST_PIXELS", 1)
    monkeypatch.setattr(implicit_gemm, "SHARED", 1)
    at_work, fill = set(), implicit_gemm._fill
    noted = lambda *a: (at_work.add(threading.get_ident()), fill(*a))[1]  # noqa: E731
    monkeypatch.setattr(implicit_gemm, "_fill", noted)

    def run(threads):
        monkeypatch.setattr(blocks, "threads", lambda: threads)
        tensors = [ma.tensor(a, requires_grad=True) for a in arrays]
        y = ma.conv2d(*tensors, padding=1, **how)
        y.backward(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
        return [y.data, *(t.grad for t in tensors)]

    with ThreadPoolExecutor(2) as helpers:
        monkeypatch.setattr(blocks, "_helpers", lambda: helpers)
        alone, together = run(1), run(3)
        for _ in range(20):  # one thread may have done everything before the others woke
            if len(at_work) > 1:
                break
            run(3)
    assert len(at_work) > 1
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kernels", [None, pytest.param("Haswell", marks=ON_X86)])
def test_no_number_of_threads_changes_a_bit(kernels):
    """Those of BLAS neither: its kernels for AVX2 sum in another order where threads share a product."""
    code = """
import hashlib
import numpy as np
import minattn as ma
rng, seen = np.random.default_rng(0), hashlib.sha256()
for outputs, groups, stride in ((32, 1, 1), (64, 1, 2), (64, 8, 1), (64, 64, 1)):
    arrays = (rng.standard_normal(s, np.float32) for s in ((4, 64, 32, 32), (outputs, 64 // groups, 3, 3)))
    x, weight = (ma.tensor(a, requires_grad=True) for a in arrays)
    y = ma.conv2d(x, weight, padding=1, groups=groups, stride=stride)
    y.backward(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
    for a in (y.data, x.grad, weight.grad):
        seen.update(np.ascontiguousarray(a).tobytes())
print(seen.hexdigest())
"""
    found = set()
    for ours, of_blas in ((1, 1), (1, 2), (3, 2)):
        environment = os.environ | {"MINATTN_THREADS": str(ours), "OPENBLAS_NUM_THREADS": str(of_blas)}
        environment |= {"OPENBLAS_CORETYPE": kernels} if kernels else {}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1 or blas._openblas() is None


@pytest.mark.parametrize("shape", [(3, 4, 1, 1), (3, 4, 9, 7), (0, 4, 9, 7), (5, 4, 40, 3)])
@pytest.mark.parametrize("limit", [1, 17, 500, 10**6])
@pytest.mark.parametrize("shared", [1, 1 << 40])
def test_blocks_are_all_rows_of_all_images_once(monkeypatch, shape, limit, shared):
    monkeypatch.setattr(implicit_gemm, "HOST_BLOCK", limit)
    monkeypatch.setattr(implicit_gemm, "FEWEST_PIXELS", 1)
    monkeypatch.setattr(implicit_gemm, "SHARED", shared)
    y, weight = np.zeros(shape), (4, 2, 1, 1)
    seen = np.zeros((shape[0], shape[2]), int)
    found, share = implicit_gemm._blocks(y, weight, 2)
    assert share == (shared == 1 and y.size > 0)
    for images, rows in found:
        pixels = (images.stop - images.start) * (rows.stop - rows.start) * shape[3]
        assert pixels * 2 <= max(limit, 2 * shape[3])
        seen[images, rows] += 1
    assert (seen == 1).all()


# ---------------------------------------------------------------------------------------------- not finite
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_what_is_not_finite_stays_where_it_is_seen(way, bad, stride, groups):
    """A pixel of x reaches the pixels of y whose patch has it and the elements of dW that looked at it; a pixel of the
    gradient g reaches what its patch holds of x."""
    parameters = {"stride": stride, "padding": 1, "groups": groups}
    places = CASES["conv2d"].on_tensors("conv2d", parameters)

    def results(x, g):
        tensors = ma.tensor(x, requires_grad=True), ma.tensor(np.ones((4, 4 // groups, 3, 3)), requires_grad=True)
        y = places(*tensors)
        y.backward(g)
        return [y.data, *(t.grad for t in tensors)]

    x, zeros = np.zeros((3, 4, 6, 5)), np.zeros((3, 4, *((6, 5) if stride == 1 else (3, 3))))
    marked, upstream = x.copy(), zeros.copy()
    marked[1, 1, 0, 3] = upstream[2, 2, 1, 0] = 1
    y, _, d_weight = results(marked, zeros + 1)
    _, d_x, _ = results(x, upstream)
    marked[marked == 1], upstream[upstream == 1] = bad, bad
    with taking(way), np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isfinite(results(marked, zeros + 1)[0]), y == 0)
        np.testing.assert_array_equal(np.isfinite(results(marked, zeros + 1)[2]), d_weight == 0)
        np.testing.assert_array_equal(np.isfinite(results(x, upstream)[1]), d_x == 0)


def test_no_copy_of_the_whole_batch_is_made():
    """im2col of it would be 25 times x."""
    rng = np.random.default_rng(0)
    x = ma.tensor(rng.standard_normal((64, 4, 64, 64), np.float32), requires_grad=True)
    weight = ma.tensor(rng.standard_normal((4, 4, 5, 5), np.float32), requires_grad=True)
    tracemalloc.start()
    try:
        ma.conv2d(x, weight, padding=2).sum().backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * x.data.nbytes


# ---------------------------------------------------------------------------------------------- memory layouts
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_nothing_depends_on_strides(name, data):
    call = data.draw(CASES[name].calls)
    results = []
    for lay in (lambda a: a, lambda a: np.array(a, order="C"), lambda a: np.array(a, order="F")):
        tensors = [ma.tensor(lay(a), requires_grad=True) for a in call.inputs]
        y = OPS[name].apply(*tensors, **call.parameters)
        y.backward(lay(np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape)))
        results.append([y.data, *(t.grad for t in tensors)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, **tolerance(a))


def test_channels_are_last_in_the_memory_of_results():
    """So that the next convolution finds them so."""
    x, weight = np.ones((2, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    assert ma.conv2d(x, weight).data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert ma.conv2d(x, weight[..., :1, :1]).data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert ma.conv_transpose2d(ma.conv2d(x, weight), weight).data.transpose(0, 2, 3, 1).flags.c_contiguous


# ---------------------------------------------------------------------------------------------- particular ones
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_is_a_convolution_for_each_channel(stride):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 5, 8, 7)), rng.standard_normal((5, 1, 3, 3))
    y = ma.conv2d(x, weight, stride=stride, padding=1, groups=5)
    for c in range(5):
        one = ma.conv2d(x[:, c : c + 1], weight[c : c + 1], stride=stride, padding=1)
        np.testing.assert_allclose(y.data[:, c], one.data[:, 0], rtol=1e-12, atol=1e-12)


def test_padding_wider_than_the_kernel():
    rng = np.random.default_rng(0)
    check_gradients(
        lambda x, w, b: ma.conv2d(x, w, b, padding=(4, 5)),
        *(rng.standard_normal(s) for s in ((2, 2, 3, 3), (2, 2, 2, 3), (2,))),
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3)])
def test_larger_ones_have_the_gradients_of_the_oracle(stride, groups):
    """Four groups make it depthwise; with strides of 1 the gradient of x is itself a convolution."""
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.standard_normal(s) for s in ((3, 4, 9, 8), (4, 4 // groups, 3, 2), (4,)))
    parameters = {"stride": stride, "padding": (1, 2), "dilation": (1, 2), "groups": groups}
    check_gradients(lambda *t: ma.conv2d(*t, **parameters), x, weight, bias)
    check_gradients(lambda *t: ma.conv_transpose2d(*t, **parameters), x, weight, bias)


def test_real_images_under_complex_kernels():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((2, 2, 3, 3))
    for op in (ma.conv2d, ma.conv_transpose2d):
        np.testing.assert_allclose(op(x, 1j * weight).data, 1j * op(x, weight).data, rtol=1e-12)


@pytest.mark.parametrize("op", [ma.conv2d, ma.conv_transpose2d])
def test_a_bias_of_more_digits_is_added_with_them(op):
    x, weight, bias = np.ones((1, 2, 4, 4), np.float32), np.ones((2, 2, 1, 1), np.float32), np.full(2, 1e-9)
    y = op(x, weight, bias)
    assert y.dtype == np.float64
    assert (y.data == 2 + 1e-9).all()


@pytest.mark.parametrize("op", [ma.conv2d, ma.conv_transpose2d])
def test_an_empty_batch(op):
    tensors = [ma.tensor(np.ones(s, np.float32), requires_grad=True) for s in ((0, 2, 5, 5), (2, 2, 3, 3), (2,))]
    y = op(*tensors, stride=2, padding=1)
    assert y.shape[:2] == (0, 2)
    y.sum().backward()
    assert tensors[0].grad.shape == (0, 2, 5, 5)
    assert not tensors[1].grad.any()
    assert not tensors[2].grad.any()


@given(x=strategies.arrays((2, 3, 4, 5)))
def test_integers_and_pairs_are_one(x):
    weight = np.ones((2, 3, 2, 2), x.dtype)
    a = ma.conv2d(x, weight, stride=2, padding=1, dilation=2)
    b = ma.conv2d(x, weight, None, (2, 2), [1, 1], (np.int64(2), 2))
    np.testing.assert_array_equal(a.data, b.data)


# ---------------------------------------------------------------------------------------------- errors
X, W, B = np.ones((1, 4, 5, 6)), np.ones((6, 4, 3, 3)), np.ones(6)
REFUSED = {
    "images of three axes": ((X[0], W), {}, ShapeError, r"got \(4, 5, 6\); hint: x\[None\]"),
    "a weight of three axes": ((X, W[0]), {}, ShapeError, r"four axes .* got \(4, 3, 3\)"),
    "a kernel of no pixels": ((X, W[..., :0]), {}, ShapeError, r"got \(6, 4, 3, 0\); hint"),
    "no channels": ((X[:, :0], W[:, :0]), {}, ShapeError, r"one number at least .* got \(6, 0, 3, 3\)"),
    "no outputs": ((X, W[:0]), {}, ShapeError, r"one number at least .* got \(0, 4, 3, 3\)"),
    "other channels": ((X, W[:, :3]), {}, ShapeError, r"\(1, 4, 5, 6\) has 4 channels.* groups=1 is for 3; hint"),
    "groups of channels": ((X, W[:, :2]), {"groups": 3}, ShapeError, "groups=3 must divide the 4 channels .* hint"),
    "groups of outputs": ((X, W[:, :1]), {"groups": 4}, ShapeError, "groups=4 must divide .* the 6 of the weight"),
    "a large kernel": ((X, W), {"dilation": 3}, ShapeError, r"covers \(7, 7\) pixels, .*size \(5, 6\) .* hint"),
    "a bias too long": ((X, W, np.ones(7)), {}, ShapeError, r"each of the 6 channels .* got \(7,\)"),
    "a number for a bias": ((X, W, 2.0), {}, ShapeError, "got 2.0"),
    "stride 0": ((X, W), {"stride": 0}, ConfigError, "stride must be 1 or more, got 0; hint"),
    "dilation 0": ((X, W), {"dilation": (1, 0)}, ConfigError, r"dilation must be 1 or more, got \(1, 0\); hint"),
    "negative padding": ((X, W), {"padding": -1}, ConfigError, "padding must be 0 or more, got -1; hint"),
    "no groups": ((X, W), {"groups": 0}, ConfigError, "groups must be an int of 1 or more, got 0; hint"),
    "half a stride": ((X, W), {"stride": 1.5}, ConfigError, "stride must be an int or a pair .*, got 1.5; hint"),
    "half a group": ((X, W), {"groups": 0.5}, ConfigError, "groups must be an int of 1 or more, got 0.5"),
    "three strides": ((X, W), {"stride": (1, 2, 3)}, ConfigError, r"a pair \(height, width\), got \(1, 2, 3\)"),
}
REFUSED_TRANSPOSED = {
    "other channels": ((X, W), {}, ShapeError, "has 4 channels, .* is for 6; hint"),
    "output padding": (
        (X, W[:4]),
        {"output_padding": 1},
        ConfigError,
        r"\(1, 1\) must be less .*stride \(1, 1\) or the dilation \(1, 1\); hint",
    ),
    "nothing left": ((X, W[:4]), {"padding": 4}, ShapeError, r"size \(5, 6\) would become .* \(-1, 0\).* hint"),
    "no pixels": ((X[:, :, :0], W[:4]), {}, ShapeError, r"images of size \(0, 6\) would become .* hint"),
    "a bias too long": ((X, W[:4], B), {}, ShapeError, r"each of the 4 channels .* got \(6,\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_conv2d_refuses(case):
    arguments, parameters, error, message = REFUSED[case]
    with pytest.raises(error, match=f"conv2d: .*{message}"):
        ma.conv2d(*arguments, **parameters)


@pytest.mark.parametrize("case", REFUSED_TRANSPOSED)
def test_conv_transpose2d_refuses(case):
    arguments, parameters, error, message = REFUSED_TRANSPOSED[case]
    with pytest.raises(error, match=f"conv_transpose2d: .*{message}"):
        ma.conv_transpose2d(*arguments, **parameters)


@pytest.mark.parametrize(("stride", "padding", "dilation"), list(itertools.product((1, 2, 3), (0, 1, 4), (1, 2))))
def test_the_size_of_the_result(stride, padding, dilation):
    parameters = {"stride": stride, "padding": padding, "dilation": dilation}
    y = ma.conv2d(np.ones((1, 1, 7, 10)), np.ones((1, 1, 3, 4)), **parameters)
    assert y.shape[2:] == (places(7, 3, **parameters), places(10, 4, **parameters))
