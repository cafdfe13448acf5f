"""The attention branch against the paper's loops, the complex step and the identities of its mechanism."""

import inspect
import math

import fakecupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.spatial import AttentionBranch, attend
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import BatchNorm2d, Conv2d, Module, Parameter
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------------------------------------- what is drawn
def random_branch(inputs, channels, classes, kernel=3, seed=0, dtype=np.float64):
    """A branch with every weight random, in training; its stage is a 3x3 convolution."""
    rng = np.random.default_rng(seed)
    stage = Conv2d(inputs, channels, 3, rng, padding=1)
    branch = AttentionBranch(channels, classes, stage, rng, kernel)
    for module in branch.named_modules().values():
        for name, old in vars(module).items():
            if isinstance(old, Parameter):
                setattr(module, name, Parameter(rng.normal(size=old.shape).astype(dtype)))
    return branch


@st.composite
def problems(draw, dtype=None):
    """(branch, features g of at least eight places, so that batch norm has something to compare)."""
    batch, inputs, channels, classes = (draw(st.integers(1, 3)) for _ in range(4))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    branch = random_branch(inputs, channels, classes, draw(st.sampled_from([1, 3])), draw(SEEDS), dtype)
    frame = draw(st.sampled_from([(2, 4), (3, 3), (4, 2)]))
    return branch, draw(strategies.arrays((batch, inputs, *frame), dtype))


def close(dtype):
    return {"rtol": 1e-3, "atol": 1e-3} if dtype == np.float32 else {"rtol": 1e-8, "atol": 1e-9}


# ---------------------------------------------------------------------------------------------- the paper's loops
def convolved(x, weight, bias=None):
    """Convolution with padding that keeps the size, one number at a time."""
    batch, channels, height, width = x.shape
    outputs, _, kernel, _ = weight.shape
    y, pad = np.zeros((batch, outputs, height, width)), kernel // 2
    for n, o, i, j in np.ndindex(y.shape):
        total = 0.0 if bias is None else float(bias[o])
        for c in range(channels):
            for di in range(kernel):
                for dj in range(kernel):
                    row, column = i + di - pad, j + dj - pad
                    if 0 <= row < height and 0 <= column < width:
                        total += float(weight[o, c, di, dj]) * float(x[n, c, row, column])
        y[n, o, i, j] = total
    return y


def normed(x, norm):
    """Batch norm in training, one channel at a time."""
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        values = [float(v) for v in x[:, c].ravel()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        for n, i, j in np.ndindex(x[:, 0].shape):
            normal = (x[n, c, i, j] - mean) / math.sqrt(variance + norm.eps)
            y[n, c, i, j] = float(norm.weight.data[c]) * normal + float(norm.bias.data[c])
    return y


def by_hand(branch, g):
    """(S_att, M) of (a), (b) and (c)."""
    deeper = normed(convolved(g, branch.stage.weight.data, branch.stage.bias.data), branch.norm)
    a = normed(convolved(deeper, branch.class_maps.conv.weight.data), branch.class_maps.norm)
    a = np.where(a > 0, a, 0)  # (a)
    scores = convolved(a, branch.scores.weight.data)
    logits = np.zeros(scores.shape[:2])
    for n, k in np.ndindex(logits.shape):
        logits[n, k] = sum(scores[n, k].ravel().tolist()) / scores[n, k].size  # (b)
    z = normed(convolved(a, branch.map.conv.weight.data), branch.map.norm)
    m = np.zeros(z.shape)
    for place in np.ndindex(z.shape):
        m[place] = 1 / (1 + math.exp(-z[place]))  # (c)
    return logits, m


@given(problems())
def test_outputs_are_those_of_the_papers_loops(problem):
    branch, g = problem
    for result, expected in zip(branch(ma.tensor(g)), by_hand(branch, g), strict=True):
        assert result.dtype == g.dtype
        np.testing.assert_allclose(result.data, expected, **close(g.dtype))


@given(problems(dtype=np.float64), SEEDS)
@settings(max_examples=4)
def test_gradients_through_the_map_and_the_scores(problem, seed):
    branch, g = problem

    def mechanism(g):
        logits, m = branch(g)
        return attend(g, m)[0], m, logits

    check_gradients(mechanism, g, seed=seed, method="complex")


@given(problems(dtype=np.float32))
def test_float32_stays_float32_through_the_gradients(problem):
    branch, g = problem
    x = ma.tensor(g, requires_grad=True)
    logits, m = branch(x)
    ((attend(x, m)[0] ** 2).sum() + (logits**2).sum()).backward()
    assert {t.grad.dtype for t in (x, *branch.parameters())} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------------------------------- the mechanism
@st.composite
def maps(draw, dtype=None):
    """(g, M)."""
    batch, channels, height, width = (draw(st.integers(1, 3)) for _ in range(4))
    dtype = draw(st.sampled_from(strategies.DTYPES)) if dtype is None else dtype
    g = draw(strategies.arrays((batch, channels, height, width), dtype))
    return g, draw(strategies.arrays((batch, 1, height, width), dtype, low=0, high=1))


@given(maps(), st.booleans())
def test_the_mechanism_by_loops(problem, residual):
    g, m = problem
    context, weights = attend(ma.tensor(g), ma.tensor(m), residual)
    expected = np.zeros(g.shape)
    for n, c, i, j in np.ndindex(g.shape):
        seen = float(m[n, 0, i, j]) * float(g[n, c, i, j])
        expected[n, c, i, j] = seen + float(g[n, c, i, j]) if residual else seen  # (d)
    assert context.dtype == g.dtype
    np.testing.assert_allclose(context.data, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(weights.data, m)


@given(maps(), st.booleans(), SEEDS)
def test_gradients_of_the_mechanism(problem, residual, seed):
    check_gradients(lambda g, m: attend(g, m, residual)[0], *problem, seed=seed, method="complex")


@given(maps())
def test_a_map_of_zeros_changes_nothing_and_one_of_halves_adds_a_half(problem):
    g = ma.tensor(problem[0])
    zeros = ma.tensor(np.zeros_like(problem[1]))
    np.testing.assert_array_equal(attend(g, zeros)[0].data, g.data)
    np.testing.assert_array_equal(attend(g, zeros, residual=False)[0].data, 0 * g.data)
    half = ops.sigmoid(zeros)  # what zero logits give
    np.testing.assert_array_equal(attend(g, half)[0].data, g.data * g.dtype.type(1.5))
    np.testing.assert_array_equal(attend(g, half, residual=False)[0].data, g.data * g.dtype.type(0.5))


def test_with_the_last_batch_norm_zero_every_place_has_one_half():
    branch, g = random_branch(2, 3, 4), np.random.default_rng(0).normal(size=(2, 2, 3, 3))
    for p in (branch.map.norm.weight, branch.map.norm.bias):
        p.data = np.zeros_like(p.data)
    assert (branch(ma.tensor(g))[1].data == 0.5).all()


@given(problems(dtype=np.float64))
def test_pooling_comes_before_or_after_the_last_1x1_convolution(problem):
    branch, g = problem
    logits, _ = branch(ma.tensor(g))
    a = branch.class_maps(branch.norm(branch.stage(ma.tensor(g)))).data
    folded = a.mean((2, 3)) @ branch.scores.weight.data[:, :, 0, 0].T
    np.testing.assert_allclose(logits.data, folded, **close(np.float64))


@given(problems())
def test_every_map_is_between_0_and_1_and_one_an_image(problem):
    branch, g = problem
    logits, m = branch(ma.tensor(g))
    assert m.shape == (len(g), 1, *g.shape[2:])
    assert logits.shape == (len(g), branch.scores.weight.shape[0])
    assert (m.data >= 0).all()
    assert (m.data <= 1).all()


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("kernel", [1, 3])
def test_the_parameters_are_those_of_the_equations(kernel):
    channels, classes = 7, 5
    branch = AttentionBranch(channels, classes, BatchNorm2d(channels), np.random.default_rng(0), kernel)
    of_the_stage = 2 * channels
    matrices = channels * classes + classes * classes + classes * kernel**2  # no biases
    norms = 2 * channels + 2 * classes + 2
    assert branch.count_parameters() == of_the_stage + matrices + norms


# ---------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize("kernel", [0, 2, 5])
def test_a_kernel_that_nobody_published_is_refused(kernel):
    with pytest.raises(ConfigError, match=rf"kernel is {kernel}; hint: 3, as in the authors' code, or 1"):
        AttentionBranch(2, 3, Module(), np.random.default_rng(0), kernel)


def test_a_stage_that_loses_places_is_refused():
    rng = np.random.default_rng(0)
    branch = AttentionBranch(3, 4, Conv2d(2, 3, 3, rng, padding=1, stride=2), rng)
    with pytest.raises(ShapeError, match=r"made \(2, 3\) positions of \(4, 6\); hint: .* stride 1"):
        branch(ma.tensor(np.zeros((1, 2, 4, 6), np.float32)))


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (2, 3, 4, 4), (1, 1, 4, 4), (2, 4, 4), (2, 1, 1, 1)])
def test_a_map_that_does_not_fit_is_refused_with_both_shapes(shape):
    g, m = ma.tensor(np.zeros((2, 3, 4, 4))), ma.tensor(np.zeros(shape))
    with pytest.raises(ShapeError, match=r"does not fit features of shape \(2, 3, 4, 4\); hint") as error:
        inspect.unwrap(attend)(g, m)
    assert f"map of shape {shape}" in str(error.value)


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("residual", [True, False])
def test_the_same_numbers_everywhere_and_no_waiting(backend, residual):
    g = np.random.default_rng(0).normal(size=(2, 2, 4, 4)).astype(np.float32)

    def results(make, branch):
        x = make(g, requires_grad=True)
        logits, m = branch(x)
        ((attend(x, m, residual)[0] ** 2).sum() + (logits**2).sum()).backward()
        return [m.data, logits.data, x.grad, *(p.grad for p in branch.parameters())]

    expected = results(ma.tensor, random_branch(2, 3, 4, dtype=np.float32))
    branch = random_branch(2, 3, 4, dtype=np.float32).to(backend.device)
    with fakecupy.no_sync():
        there = results(backend.tensor, branch)
    for result, value in zip(there, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-3, atol=1e-4)
