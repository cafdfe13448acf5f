"""Squeeze-and-excitation against the paper's loops, the complex step and the identities it must have."""

import contextlib
import inspect
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.channel import SqueezeExcitation, scale, squeeze
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Parameter
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
GATES = st.sampled_from(["sigmoid", "hard_sigmoid"])


# ---------------------------------------------------------------------------------------------- what is drawn
def random_block(channels, reduction, seed=0, dtype=np.float64, gate="sigmoid", biases=True):
    block = SqueezeExcitation(channels, np.random.default_rng(seed), reduction, gate, biases)
    rng = np.random.default_rng(seed)
    for name, old in block.named_parameters().items():
        setattr(block, name, Parameter(rng.normal(scale=2, size=old.shape).astype(dtype)))
    return block


@st.composite
def problems(draw, dtype=None, gates=GATES, biases=None):
    """(block with every weight random, maps in any memory)."""
    batch, channels, height, width = (draw(st.integers(1, n)) for n in (2, 5, 3, 3))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    biases = draw(st.booleans()) if biases is None else biases
    block = random_block(channels, draw(st.integers(1, 6)), draw(SEEDS), dtype, draw(gates), biases)
    return block, draw(strategies.arrays((batch, channels, height, width), dtype))


def run(block, u):
    scaled, s = block(ma.tensor(u))
    return scaled.numpy(), s.numpy()


def logits(s):
    return np.log(s / (1 - s))


def close(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# ---------------------------------------------------------------------------------------------- the paper's loops
def by_hand(block, u):
    """(2), (3) and (4), one number at a time."""
    batch, channels, height, width = u.shape
    W_1, W_2 = block.W_1.data.tolist(), block.W_2.data.tolist()
    hidden = len(W_2)
    b_1 = [0.0] * hidden if block.b_1 is None else block.b_1.data.tolist()
    b_2 = [0.0] * channels if block.b_2 is None else block.b_2.data.tolist()
    scaled, gates = np.zeros(u.shape), np.zeros((batch, channels))
    for n in range(batch):
        z = []
        for c in range(channels):
            total = 0.0
            for i in range(height):
                for j in range(width):
                    total += float(u[n, c, i, j])
            z.append(total / (height * width))
        delta = [max(0.0, b_1[h] + sum(W_1[c][h] * z[c] for c in range(channels))) for h in range(hidden)]
        for c in range(channels):
            x = b_2[c] + sum(W_2[h][c] * delta[h] for h in range(hidden))
            s = 1 / (1 + math.exp(-x)) if block.gate == "sigmoid" else min(max(x + 3, 0), 6) / 6
            gates[n, c] = s
            for i in range(height):
                for j in range(width):
                    scaled[n, c, i, j] = s * float(u[n, c, i, j])
    return scaled, gates


@given(problems())
def test_outputs_are_those_of_the_papers_loops(problem):
    block, u = problem
    for result, expected in zip(run(block, u), by_hand(block, u), strict=True):
        assert result.dtype == u.dtype
        np.testing.assert_allclose(result, expected, **close(u.dtype))


@given(problems(), st.sampled_from([(0, 1), (0,), (1,)]), SEEDS)
def test_gradients_through_the_maps_and_the_gates(problem, judged, seed):
    block, u = problem
    check_gradients(lambda u: tuple(block(u)[i] for i in judged), u, seed=seed, method="complex")


# ---------------------------------------------------------------------------------------------- identities
@given(problems(gates=st.just("sigmoid"), biases=False))
def test_with_both_matrices_zero_every_map_is_halved(problem):
    block, u = problem
    for matrix in (block.W_1, block.W_2):
        matrix.data = np.zeros_like(matrix.data)
    scaled, s = run(block, u)
    assert (s == 0.5).all()
    np.testing.assert_array_equal(scaled, u * u.dtype.type(0.5))


@given(problems(biases=True))
def test_a_large_bias_opens_the_gates_and_a_low_one_closes_them(problem):
    block, u = problem
    for bias, gate in ((1e4, 1), (-1e4, 0)):
        block.b_2.data = np.full_like(block.b_2.data, bias)
        scaled, s = run(block, u)
        assert (s == gate).all()
        np.testing.assert_array_equal(scaled, gate * u)
    x = ma.tensor(np.abs(u))
    np.testing.assert_array_equal(ma.ops.relu(block(ma.tensor(u))[0] + x).data, x.data)  # a residual block


@given(problems(dtype=np.float64), SEEDS)
def test_places_may_change_their_order(problem, seed):
    block, u = problem
    order = np.random.default_rng(seed).permutation(u.shape[2] * u.shape[3])

    def shuffled(x):
        return x.reshape(*x.shape[:2], -1)[:, :, order].reshape(x.shape)

    (scaled, s), (moved, again) = run(block, u), run(block, shuffled(u))
    np.testing.assert_allclose(again, s, **close(u.dtype))
    np.testing.assert_allclose(moved, shuffled(scaled), **close(u.dtype))


@given(problems(dtype=np.float64), SEEDS)
def test_channels_may_change_their_order_with_their_weights(problem, seed):
    block, u = problem
    order = np.random.default_rng(seed).permutation(u.shape[1])
    scaled, s = run(block, u)
    block.W_1.data, block.W_2.data = block.W_1.data[order], block.W_2.data[:, order]
    if block.b_2 is not None:
        block.b_2.data = block.b_2.data[order]
    moved, again = run(block, u[:, order])
    np.testing.assert_allclose(again, s[:, order], **close(u.dtype))
    np.testing.assert_allclose(moved, scaled[:, order], **close(u.dtype))


@given(problems())
def test_no_value_grows(problem):
    block, u = problem
    scaled, s = run(block, u)
    assert (s >= 0).all()
    assert (s <= 1).all()
    assert (np.abs(scaled) <= np.abs(u)).all()


@given(problems(dtype=np.float64), SEEDS)
def test_every_place_has_the_same_share_of_the_squeeze(problem, seed):
    _, u = problem
    batch, channels, height, width = u.shape
    upstream = np.random.default_rng(seed).normal(size=(batch, channels))
    gradient = ma.grad(lambda u: ma.ops.sum(squeeze(u) * upstream))(u)
    expected = np.broadcast_to(upstream[:, :, None, None] / (height * width), u.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    single = np.zeros_like(u)
    single[0, 0, -1, -1] = 3.0
    z = squeeze(ma.tensor(single)).numpy()
    assert z[0, 0] == pytest.approx(3 / (height * width))
    assert np.count_nonzero(z) == 1


@given(SEEDS)
def test_with_one_hidden_unit_the_gates_follow_one_number_that_is_never_negative(seed):
    channels = 6
    block = random_block(channels, channels, seed, biases=False)
    assert block.W_1.shape == (channels, 1)
    u = np.random.default_rng(seed).normal(size=(8, channels, 2, 3)) / 8
    amounts = logits(run(block, u)[1]) / block.W_2.data  # (batch, channels): the hidden unit, seen from every channel
    np.testing.assert_allclose(amounts, np.broadcast_to(amounts[:, :1], amounts.shape), rtol=1e-5, atol=1e-9)
    assert (amounts >= -1e-9).all()
    np.testing.assert_allclose(
        amounts[:, 0], np.maximum(u.mean((2, 3)) @ block.W_1.data, 0)[:, 0], rtol=1e-5, atol=1e-9
    )


@given(problems(dtype=np.float64, gates=st.just("sigmoid"), biases=False), st.floats(0.1, 3))
def test_without_biases_the_logits_of_the_gates_grow_with_the_maps(problem, k):
    block, u = problem
    u = u / 20  # far from gates that are 1 to the last digit
    np.testing.assert_allclose(logits(run(block, k * u)[1]), k * logits(run(block, u)[1]), rtol=1e-4, atol=1e-9)
    assert (run(block, 0 * u)[1] == 0.5).all()


# ---------------------------------------------------------------------------------------------- sizes and starts
@pytest.mark.parametrize(
    ("channels", "reduction", "hidden"), [(64, 16, 4), (16, 16, 1), (8, 16, 1), (100, 16, 6), (7, 1, 7)]
)
@pytest.mark.parametrize("biases", [True, False])
def test_the_hidden_layer_has_channels_over_reduction_units_and_at_least_one(channels, reduction, hidden, biases):
    block = SqueezeExcitation(channels, np.random.default_rng(0), reduction, biases=biases)
    assert block.count_parameters() == 2 * channels * hidden + (channels + hidden if biases else 0)
    assert block.W_1.shape == (channels, hidden)
    assert {p.dtype for p in block.parameters()} == {np.dtype(np.float32)}


def test_the_published_cost_of_a_block():
    counts = [SqueezeExcitation(c, np.random.default_rng(0)).count_parameters() for c in (256, 512, 1024, 2048)]
    assert counts == [8192 + 272, 32768 + 544, 131072 + 1088, 524288 + 2176]


def test_the_matrices_start_he_normal_and_glorot_uniform():
    block = SqueezeExcitation(256, np.random.default_rng(0), 4)
    assert block.W_1.data.std() == pytest.approx(math.sqrt(2 / 256), rel=0.03)
    bound = math.sqrt(6 / (256 + 64))
    assert 0.99 * bound < np.abs(block.W_2.data).max() <= bound
    assert np.abs(block.W_1.data).max() > 3 * math.sqrt(2 / 256)  # no bound
    assert not block.b_1.data.any()
    assert not block.b_2.data.any()


def test_gates_start_near_one_half():
    rng = np.random.default_rng(0)
    _, s = run(SqueezeExcitation(64, rng), np.abs(rng.normal(size=(16, 64, 4, 4))).astype(np.float32))
    assert abs(s.mean() - 0.5) < 0.1
    assert s.std() < 0.25


def test_no_images_give_no_gates():
    scaled, s = run(SqueezeExcitation(4, np.random.default_rng(0)), np.zeros((0, 4, 5, 6), np.float32))
    assert (scaled.shape, s.shape) == ((0, 4, 5, 6), (0, 4))


def test_the_gates_alone_are_those_of_the_whole():
    block, u = random_block(4, 2), ma.tensor(np.random.default_rng(0).normal(size=(2, 4, 3, 3)))
    np.testing.assert_array_equal(block.gates(u).data, block(u)[1].data)
    np.testing.assert_array_equal(block.excitation(squeeze(u)).data, block(u)[1].data)


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    "sizes", [{"channels": 0}, {"reduction": 0}, {"reduction": -16}, {"reduction": None}, {"reduction": 2.0}]
)
def test_sizes_that_are_no_whole_numbers_from_one_on_are_refused(sizes):
    given_ = {"channels": 8, "reduction": 16} | sizes
    block = object.__new__(SqueezeExcitation)
    with pytest.raises(ConfigError, match=r"at least one channel .* hint: the reduction 16") as error:
        inspect.unwrap(SqueezeExcitation.__init__)(block, given_["channels"], None, given_["reduction"])
    assert f"got {given_['channels']} channels and the reduction {given_['reduction']}" in str(error.value)


def test_a_gate_that_does_not_exist_is_refused():
    block = object.__new__(SqueezeExcitation)
    with pytest.raises(ConfigError, match="gate 'tanh' does not exist; hint: one of sigmoid, hard_sigmoid"):
        inspect.unwrap(SqueezeExcitation.__init__)(block, 8, np.random.default_rng(0), gate="tanh")


@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 4, 5), (4,), (2, 1, 5, 5)])
def test_maps_that_do_not_fit_are_refused_by_their_shape(shape):
    block = SqueezeExcitation(4, np.random.default_rng(0))
    with pytest.raises(ShapeError, match=r"expected \(batch, 4, height, width\)") as error:
        inspect.unwrap(SqueezeExcitation.gates)(block, ma.tensor(np.zeros(shape)))
    assert f"got maps of shape {shape}" in str(error.value)


@pytest.mark.parametrize("shape", [(2, 1), (1, 4), (2, 5), (4,)])  # the first two would stretch
def test_gates_that_do_not_fit_are_refused_by_their_shape(shape):
    with pytest.raises(ShapeError, match=r"\(2, 4, 3, 3\).*hint: one number for each image and channel") as error:
        inspect.unwrap(scale)(ma.tensor(np.zeros((2, 4, 3, 3))), ma.tensor(np.zeros(shape)))
    assert str(shape) in str(error.value)


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, gate, scrambled):
    u = np.random.default_rng(0).normal(size=(2, 8, 3, 3)).astype(np.float32)

    def results(make, block):
        x = make(u, requires_grad=True)
        scaled, s = block(x)
        ((scaled * scaled).sum() + (s * s).sum()).backward()
        return [scaled.data, s.data, x.grad, *(p.grad for p in block.parameters())]

    expected = results(ma.tensor, random_block(8, 2, dtype=np.float32, gate=gate))
    block = random_block(8, 2, dtype=np.float32, gate=gate).to(backend.device)
    with fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext(), fakecupy.no_sync():
        there = results(backend.tensor, block)
    for result, value in zip(there, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-4, atol=1e-5)
