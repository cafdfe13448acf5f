"""The losses against loops over their equations, at extreme arguments, and by their gradients."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn import nn
from minattn.autograd.ops.cross_entropy import cross_entropy_equation
from minattn.errors import ConfigError, GradientError, ShapeError
from minattn.testing import check_gradients, strategies

SEEDS = st.integers(0, 2**32 - 1)
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# ---------------------------------------------------------------------------------------------- elementwise losses
def huber_by_hand(y, t):
    r = abs(y - t)
    return r * r / 2 if r <= 1 else r - 0.5


ELEMENTWISE = {
    nn.mean_squared_error: lambda y, t: (y - t) ** 2,
    nn.mean_absolute_error: lambda y, t: abs(y - t),
    nn.huber: huber_by_hand,
    nn.binary_cross_entropy_with_logits: lambda x, t: -t * math.log(sigmoid(x)) - (1 - t) * math.log(1 - sigmoid(x)),
}
elementwise = pytest.mark.parametrize("loss", ELEMENTWISE, ids=lambda loss: loss.__name__)


@st.composite
def pairs(draw, **shape):
    """Predictions and targets of one shape, never equal, and targets between 0 and 1."""
    shape, dtype = draw(strategies.shapes(**shape)), draw(st.sampled_from(strategies.DTYPES))
    predictions = draw(strategies.arrays(shape, dtype))
    targets = draw(strategies.arrays(shape, dtype, low=0.0, high=1.0))
    return np.where(np.abs(predictions - targets) < 0.01, predictions + np.float32(0.1), predictions), targets


def reduced(losses, reduction):
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


@elementwise
@given(drawn=pairs(min_side=1), reduction=REDUCTIONS)
def test_values_are_the_equations(loss, drawn, reduction):
    y, t = drawn
    result = loss(ma.tensor(y), t, reduction=reduction)
    losses = np.zeros(y.shape)
    for place in np.ndindex(y.shape):
        losses[place] = ELEMENTWISE[loss](float(y[place]), float(t[place]))
    assert result.dtype == y.dtype
    tolerance = 1e-5 if y.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(result.data, reduced(losses, reduction), rtol=tolerance, atol=tolerance)


@elementwise
@given(drawn=pairs(min_side=1), reduction=REDUCTIONS, seed=SEEDS)
def test_gradients_by_predictions_and_targets(loss, drawn, reduction, seed):
    check_gradients(lambda y, t: loss(y, t, reduction=reduction), *drawn, seed=seed, method="complex")


@elementwise
@pytest.mark.parametrize("dtype", [np.float64, np.int64, bool])
def test_targets_in_an_array_take_the_dtype_of_the_predictions(loss, dtype):
    y = ma.tensor(np.array([0.2, -0.7], np.float32), requires_grad=True)
    result = loss(y, np.array([0, 1]).astype(dtype))
    result.backward()
    assert result.dtype == y.grad.dtype == np.float32


@elementwise
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ShapeError, match=rf"{loss.__name__}: predictions of shape \(4,\), targets of shape \(4, 1\)"):
        loss(ma.tensor(np.zeros(4)), np.zeros((4, 1)))


# ---------------------------------------------------------------------------------------------- one by one
@given(pairs())
def test_huber_is_half_the_square_near_and_the_distance_far(drawn):
    y, t = ma.tensor(drawn[0]), drawn[1]
    square, distance = (loss(y, t, reduction="none").data for loss in (nn.mean_squared_error, nn.mean_absolute_error))
    near, far = (nn.huber(y, t, delta=delta, reduction="none").data for delta in (100.0, 1e-4))
    np.testing.assert_allclose(near, square / 2, rtol=1e-5)
    np.testing.assert_allclose(far / 1e-4, distance, rtol=0.01)


def test_huber_has_no_kink_at_delta_and_none_at_zero():
    y = ma.tensor([2.5, 2.5 - 1e-6, 2.5 + 1e-6, 0.0], requires_grad=True, dtype=np.float64)
    nn.huber(y, np.zeros(4), delta=2.5, reduction="sum").backward()
    np.testing.assert_allclose(y.grad, [2.5, 2.5, 2.5, 0], atol=2e-6)


@pytest.mark.parametrize("delta", [0.0, -1.0])
def test_huber_needs_a_positive_delta(delta):
    with pytest.raises(ConfigError, match=f"delta must be positive, got {delta}"):
        nn.huber(ma.tensor([1.0]), np.zeros(1), delta=delta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_at_extreme_logits(dtype):
    x = ma.tensor(np.array([1e4, -1e4, 1e4, -1e4, 0, 50], dtype), requires_grad=True)
    t = np.array([1, 0, 0, 1, 1, 1], dtype)
    losses = nn.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_allclose(losses.data, [0, 0, 1e4, 1e4, math.log(2), math.exp(-50)], rtol=1e-6)
    losses.sum().backward()
    np.testing.assert_allclose(x.grad, [0, 0, 1, -1, -0.5, 0], atol=1e-6)


@st.composite
def distributions(draw, count):
    """Log-probabilities (.., K) of that many distributions."""
    shape = (*draw(strategies.shapes(max_dims=2, min_side=1, max_side=3)), draw(st.integers(1, 4)))
    dtype = draw(st.sampled_from(strategies.DTYPES))
    return [log_softmax(draw(strategies.arrays(shape, dtype))).astype(dtype) for _ in range(count)]


@given(distributions(2), REDUCTIONS, SEEDS)
def test_kl_divergence(drawn, reduction, seed):
    log_p, log_q = drawn
    result = nn.kl_divergence(ma.tensor(log_p), ma.tensor(log_q), reduction)
    losses = np.zeros(log_p.shape[:-1])
    for place in np.ndindex(losses.shape):
        for k in range(log_p.shape[-1]):
            p, q = math.exp(log_p[place][k]), math.exp(log_q[place][k])
            losses[place] += p * math.log(p / q)
    assert (losses > -1e-6).all()
    np.testing.assert_allclose(result.data, reduced(losses, reduction), rtol=1e-4, atol=1e-5)
    assert np.abs(nn.kl_divergence(ma.tensor(log_p), log_p, "none").data).max() == 0
    check_gradients(lambda p, q: nn.kl_divergence(p, q, reduction), log_p, log_q, seed=seed, method="complex")


def test_kl_divergence_of_impossible_classes_is_that_of_the_others():
    log_p = ma.tensor(np.array([[math.log(0.25), -np.inf, math.log(0.75)]]), requires_grad=True)
    log_q = ma.tensor(np.array([[math.log(0.5), math.log(0.25), math.log(0.25)]]), requires_grad=True)
    loss = nn.kl_divergence(log_p, log_q)
    np.testing.assert_allclose(loss.item(), 0.25 * math.log(0.5) + 0.75 * math.log(3))
    loss.backward()
    np.testing.assert_allclose(log_q.grad, [[-0.25, 0, -0.75]])
    assert log_p.grad[0, 1] == 0
    assert nn.kl_divergence(log_p, log_p.data).item() == 0  # impossible in both
    assert nn.kl_divergence(log_q, log_p.data).item() == np.inf  # impossible in q alone


@given(distributions(1), REDUCTIONS, SEEDS, st.data())
def test_negative_log_likelihood_picks_the_class_of_the_target(drawn, reduction, seed, data):
    (log_p,) = drawn
    ids = data.draw(strategies.ids(log_p.shape[:-1], log_p.shape[-1]))
    losses = np.zeros(ids.shape)
    for place in np.ndindex(ids.shape):
        losses[place] = -log_p[place][ids[place]]
    result = nn.negative_log_likelihood(ma.tensor(log_p), ids, reduction)
    np.testing.assert_allclose(result.data, reduced(losses, reduction), rtol=1e-5, atol=1e-6)
    by_cross_entropy = nn.cross_entropy(ma.tensor(log_p), ids, reduction=reduction)
    np.testing.assert_allclose(by_cross_entropy.data, result.data, rtol=1e-4, atol=1e-6)
    check_gradients(lambda p: nn.negative_log_likelihood(p, ids, reduction), log_p, seed=seed, method="complex")


@given(distributions(1), REDUCTIONS, st.sampled_from([None, -100, 0]), st.booleans(), SEEDS, st.data())
def test_negative_log_likelihood_with_ignored_targets_and_class_weights(
    drawn, reduction, ignored, weighted, seed, data
):
    (log_p,) = drawn
    classes = log_p.shape[-1]
    ids = data.draw(strategies.ids(log_p.shape[:-1], classes))
    if ignored == -100:
        ids = np.where(data.draw(strategies.masks(ids.shape)), ids, -100)
    weight = np.linspace(0.5, 2, classes) if weighted else None
    losses, total = np.zeros(ids.shape), 0.0
    for place in np.ndindex(ids.shape):
        if ignored is None or ids[place] != ignored:
            w = 1.0 if weight is None else weight[ids[place]]
            losses[place] = -w * log_p[place][ids[place]]
            total += w
    expected = losses.sum() / (total or 1) if reduction == "mean" else reduced(losses, reduction)
    parameters = {"reduction": reduction, "ignore_index": ignored, "weight": weight}
    result = nn.negative_log_likelihood(ma.tensor(log_p), ids, **parameters)
    assert result.dtype == log_p.dtype
    np.testing.assert_allclose(result.data, expected, rtol=1e-5, atol=1e-6)
    by_cross_entropy = nn.cross_entropy(ma.tensor(log_p), ids, **parameters)
    np.testing.assert_allclose(by_cross_entropy.data, result.data, rtol=1e-4, atol=1e-6)
    check_gradients(lambda p: nn.negative_log_likelihood(p, ids, **parameters), log_p, seed=seed, method="complex")


def test_what_is_ignored_may_hold_anything():
    log_p = ma.tensor(np.array([[-1.0, -0.5], [np.nan, -np.inf]]), requires_grad=True)
    loss = nn.negative_log_likelihood(log_p, np.array([0, -1]), ignore_index=-1)
    loss.backward()
    assert loss.item() == 1
    assert log_p.grad.tolist() == [[-1, 0], [0, 0]]
    nothing = nn.negative_log_likelihood(log_p, np.array([-1, -1]), ignore_index=-1)
    assert nothing.item() == 0


# ---------------------------------------------------------------------------------------------- cross-entropy
def test_cross_entropy_of_distributions_is_that_of_their_ids():
    x, ids = np.random.default_rng(0).normal(size=(3, 4)), np.array([1, 3, 0])
    of_ids, one_hot = nn.cross_entropy(ma.tensor(x), ids), nn.cross_entropy(ma.tensor(x), np.eye(4)[ids])
    assert one_hot.item() == pytest.approx(of_ids.item(), rel=1e-12)
    uniform = nn.cross_entropy(ma.tensor(x), np.full((3, 4), 0.25))
    assert uniform.item() == pytest.approx(nn.cross_entropy(ma.tensor(x), ids, label_smoothing=1.0).item(), rel=1e-12)
    half = nn.cross_entropy(ma.tensor(x), 0.5 * np.eye(4)[ids])  # they need not add up to 1
    assert half.item() == pytest.approx(of_ids.item() / 2, rel=1e-12)


def test_the_mean_of_weighted_targets_is_over_their_weights():
    """Weights whose sum is below 1 are not taken for one target."""
    x, weight = ma.tensor(np.zeros((3, 2))), np.array([0.1, 0.3])
    loss = nn.cross_entropy(x, np.array([0, 1, -1]), ignore_index=-1, weight=weight)
    assert loss.item() == pytest.approx(math.log(2))
    assert nn.cross_entropy(x, np.array([0, 0, 0]), weight=[0.0, 1.0]).item() == 0


def test_a_class_that_cannot_be_and_is_no_target_counts_nothing():
    x = ma.tensor(np.array([[0.0, -np.inf, 0.0]]), requires_grad=True)
    loss = nn.cross_entropy(x, np.array([[0.5, 0.0, 0.5]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert x.grad.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("loss", [nn.cross_entropy, cross_entropy_equation])
def test_an_ignored_target_counts_nothing_where_a_class_cannot_be(loss):
    x = ma.tensor(np.array([[-np.inf, 0.0, 0.0], [-np.inf, 1.0, 2.0]]), requires_grad=True)
    mean = loss(x, np.array([1, 0]), ignore_index=0)
    mean.backward()
    assert mean.item() == pytest.approx(math.log(2))
    np.testing.assert_allclose(x.grad, [[0, -0.5, 0.5], [0, 0, 0]], atol=1e-12)


@pytest.mark.parametrize("loss", [nn.cross_entropy, cross_entropy_equation])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 0.5]])
@pytest.mark.parametrize("anything", [np.nan, np.inf, -np.inf])
def test_the_logits_of_an_ignored_target_may_hold_anything(loss, smoothing, weight, anything):
    logits, ids = np.random.default_rng(0).normal(size=(4, 3)), np.array([2, -1, 0, -1])
    spoilt = logits.copy()
    spoilt[1, 0] = anything
    spoilt[3] = anything
    found = []
    for each in (logits, spoilt):
        x = ma.tensor(each, requires_grad=True)
        mean = loss(x, ids, ignore_index=-1, label_smoothing=smoothing, weight=weight)
        mean.backward()
        found.append((mean.item(), x.grad))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert (found[1][1][[1, 3]] == 0).all()


def test_what_cross_entropy_refuses():
    x, ids = ma.tensor(np.zeros((2, 3))), np.array([0, 1])
    with pytest.raises(ShapeError, match=r"targets of shape \(2, 4\) do not fit logits of shape \(2, 3\).*; hint"):
        nn.cross_entropy(x, np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"weights of shape \(2,\) do not fit logits of shape \(2, 3\).*; hint"):
        nn.cross_entropy(x, ids, weight=np.ones(2))
    with pytest.raises(ShapeError, match=r"weights of shape \(2,\) do not fit log-probabilities of .*; hint"):
        nn.negative_log_likelihood(x, ids, weight=np.ones(2))
    with pytest.raises(ConfigError, match=r"ignore_index is for class ids, not for distributions; hint"):
        nn.cross_entropy(x, np.zeros((2, 3)), ignore_index=0)
    with pytest.raises(GradientError, match=r"cross_entropy: targets gets no gradient; hint: targets.detach\(\)"):
        nn.cross_entropy(x, ma.tensor(np.zeros((2, 3)), requires_grad=True))
    with pytest.raises(TypeError, match="an id must be an integer"):
        nn.cross_entropy(x, np.zeros(2))


# ---------------------------------------------------------------------------------------------- positive weights
@given(pairs(min_side=1, min_dims=1), st.sampled_from(["number", "classes", "tensor"]), REDUCTIONS, SEEDS)
def test_binary_cross_entropy_weighs_positive_targets(drawn, kind, reduction, seed):
    x, t = drawn
    weights = np.linspace(0.5, 3, x.shape[-1])
    w = {"number": 2.5, "classes": weights, "tensor": ma.tensor(weights.astype(x.dtype))}[kind]
    result = nn.binary_cross_entropy_with_logits(ma.tensor(x), t, reduction, pos_weight=w)
    each, losses = np.broadcast_to(2.5 if kind == "number" else weights, x.shape), np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        s = sigmoid(float(x[place]))
        losses[place] = -each[place] * t[place] * math.log(s) - (1 - t[place]) * math.log(1 - s)
    assert result.dtype == x.dtype
    np.testing.assert_allclose(result.data, reduced(losses, reduction), rtol=1e-4, atol=1e-5)
    check_gradients(
        lambda x, t: nn.binary_cross_entropy_with_logits(x, t, reduction, pos_weight=w),
        x,
        t,
        seed=seed,
        method="complex",
    )


def test_a_pos_weight_that_would_broadcast_the_logits_is_refused():
    with pytest.raises(
        ShapeError, match=r"a pos_weight of shape \(3, 1\) does not broadcast to logits of shape \(3,\)"
    ):
        nn.binary_cross_entropy_with_logits(ma.tensor(np.zeros(3)), np.zeros(3), pos_weight=np.ones((3, 1)))


# ---------------------------------------------------------------------------------------------- what is refused
def test_ids_that_do_not_fit_are_refused():
    log_p = ma.tensor(np.zeros((2, 3, 4)))
    with pytest.raises(ShapeError, match=r"of shape \(2, 3, 4\) need ids of shape \(2, 3\), got \(2, 4\)"):
        nn.negative_log_likelihood(log_p, np.zeros((2, 4), int))
    with pytest.raises(IndexError, match="id 4 is out of range for 4"):
        nn.negative_log_likelihood(log_p, np.full((2, 3), 4))


@pytest.mark.parametrize(
    "loss", [*ELEMENTWISE, nn.kl_divergence, nn.negative_log_likelihood], ids=lambda loss: loss.__name__
)
def test_an_unknown_reduction_is_refused(loss):
    targets = np.zeros((2,), int) if loss is nn.negative_log_likelihood else np.zeros((2, 2))
    with pytest.raises(ConfigError, match='reduction must be "mean", "sum" or "none", got \'avg\''):
        loss(ma.tensor(np.zeros((2, 2))), targets, reduction="avg")


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_label_smoothing_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=f"label_smoothing must be in .0, 1., got {share}"):
        ma.cross_entropy(ma.tensor(np.zeros((1, 2))), np.zeros(1, int), label_smoothing=share)
