"""Arguments that do not fit: one class of error for one kind of fault, and a message in the caller's words."""

import re

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import OPS, op
from minattn.errors import AxisError, ConfigError, GradientError, ShapeError

X = ma.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True)
SCALAR = ma.tensor(np.float32(2), requires_grad=True)

ALONG_AN_AXIS = {
    "sum": lambda x, axis: ma.sum(x, axis),
    "mean": lambda x, axis: ma.mean(x, axis),
    "var": lambda x, axis: ma.var(x, axis),
    "max": lambda x, axis: ma.max(x, axis),
    "min": lambda x, axis: ma.min(x, axis),
    "norm": lambda x, axis: ma.norm(x, axis),
    "logsumexp": lambda x, axis: ma.logsumexp(x, axis),
    "argmax": lambda x, axis: ma.argmax(x, axis),
    "argmin": lambda x, axis: ma.argmin(x, axis),
    "softmax": lambda x, axis: ma.softmax(x, axis),
    "log_softmax": lambda x, axis: ma.log_softmax(x, axis),
    "cumsum": lambda x, axis: ma.cumsum(x, axis),
    "sort": lambda x, axis: ma.sort(x, axis),
    "topk": lambda x, axis: ma.topk(x, 1, axis),
    "take": lambda x, axis: ma.take(x, [0], axis),
    "gather": lambda x, axis: ma.gather(x, np.zeros(x.shape, int), axis),
    "repeat": lambda x, axis: ma.repeat(x, 2, axis),
    "flip": lambda x, axis: ma.flip(x, axis),
    "roll": lambda x, axis: ma.roll(x, 1, axis),
    "split": lambda x, axis: ma.split(x, 1, axis),
    "unstack": lambda x, axis: ma.unstack(x, axis),
    "concat": lambda x, axis: ma.concat([x, x], axis),
    "squeeze": lambda x, axis: ma.squeeze(x, axis),
    "swapaxes": lambda x, axis: ma.swapaxes(x, 0, axis),
    "moveaxis": lambda x, axis: ma.moveaxis(x, 0, axis),
    "transpose": lambda x, axis: ma.transpose(x, (0, axis)),
}
every_op = pytest.mark.parametrize("name", ALONG_AN_AXIS)


# ---------------------------------------------------------------------------------------------- axes
@every_op
@pytest.mark.parametrize("axis", [2, -3, 7])
def test_an_axis_that_is_not_there_is_an_axis_error(name, axis):
    """Modulo the number of axes it would be another one, and the result wrong without a word."""
    with pytest.raises(AxisError, match=rf"^(sort|{name}): axis {axis} does not exist in an array with 2") as error:
        ALONG_AN_AXIS[name](X, axis)
    assert isinstance(error.value, (ValueError, IndexError))  # as NumPy's own is


@every_op
@pytest.mark.parametrize("axis", [0, -1])
def test_a_0d_tensor_has_no_axis(name, axis):
    with pytest.raises(AxisError, match=rf"^(sort|{name}): axis .* with 0 axes; hint: reshape a 0-d array to \(1,\)"):
        ALONG_AN_AXIS[name](SCALAR, axis)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min", "norm", "logsumexp", "argmax", "argmin"])
def test_a_0d_tensor_is_reduced_over_all_of_its_axes(name):
    getattr(ma, name)(SCALAR)


@pytest.mark.parametrize("name", ["cumsum", "sort", "softmax", "log_softmax", "take", "gather"])
def test_none_is_refused_where_one_axis_is_wanted(name):
    with pytest.raises(TypeError, match=f"{name}: axis must be an int, got None"):
        ALONG_AN_AXIS[name](X, None)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min", "norm", "logsumexp"])
def test_axes_may_be_a_list_and_are_named_once(name):
    over = ALONG_AN_AXIS[name]
    np.testing.assert_array_equal(over(X, [0, 1]).data, over(X, (0, 1)).data)
    with pytest.raises(AxisError, match=f"{name}: axis .* names an axis twice"):
        over(X, (0, -2))
    with pytest.raises(TypeError, match=f"{name}: axis must be an int.*, got 0.5"):
        over(X, 0.5)


def test_a_stack_has_one_axis_more():
    assert ma.stack([X, X], -1).shape == (2, 3, 2)
    with pytest.raises(AxisError, match="stack: axis 3 does not exist in an array with 3 axes; hint: -3 to 2"):
        ma.stack([X, X], 3)


@pytest.mark.parametrize("order", [(0,), (0, 1, 1), (0, 0), (3, 4)])
def test_transpose_wants_each_axis_once(order):
    with pytest.raises(ShapeError, match="transpose: "):
        ma.transpose(X, order)


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("lengths", [[-1, 4], [2, -1, 2], [1, 1], [4]])
def test_parts_that_do_not_make_up_the_axis_are_refused(lengths):
    with pytest.raises(ShapeError, match=r"split: parts of lengths .* do not make up axis 0 of length 3"):
        ma.split(ma.tensor(np.arange(3.0)), lengths)


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (5, 0, 0)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_softmax_of_nothing_is_empty(name, shape):
    x = ma.tensor(np.zeros(shape), requires_grad=True)
    y = getattr(ma, name)(x)
    y.sum().backward()
    assert (y.shape, x.grad.shape) == (shape, shape)


def test_logsumexp_of_nothing_is_minus_infinity():
    x = ma.tensor(np.zeros((3, 0)), requires_grad=True)
    y = ma.logsumexp(x, 1)
    assert y.tolist() == [-np.inf] * 3
    y.sum().backward()
    assert x.grad.shape == (3, 0)


@pytest.mark.parametrize("name", ["max", "min"])
def test_nothing_has_no_extreme(name):
    with pytest.raises(ShapeError, match=f"{name}: "):
        getattr(ma, name)(np.zeros((3, 0)), 1)


SIZES = {
    "linear, bias": (lambda: ma.linear(X, np.ones((3, 2)), np.ones((2, 1))), r"linear: a bias \(2, 1\)"),
    "layer_norm, weight": (lambda: ma.layer_norm(X, np.ones((2, 3)), np.ones(3)), r"layer_norm: bias of shape \(3,\)"),
    "layer_norm, bias": (lambda: ma.layer_norm(X, np.ones(3), np.ones(1)), r"layer_norm: bias of shape \(1,\)"),
    "layer_norm, 0-d": (
        lambda: ma.layer_norm(SCALAR, np.ones(1), np.ones(1)),
        r"layer_norm: weight of shape \(1,\) does not go with x of shape \(\)",
    ),
    "embedding": (lambda: ma.embedding(np.ones(3), [0]), r"embedding: a weight \(3,\) has no rows"),
    "gather": (lambda: ma.gather(X, [0]), r"gather: ids need 2 axes as x \(2, 3\) has, got \(1,\)"),
    "add": (lambda: X + np.ones(4), r"add: .*\(2,3\) \(4,\)"),
    "matmul": (
        lambda: X @ X,
        r"matmul: rows of 3 numbers do not fit columns of 2; hint.* \(2, 3\) on cpu, float32 \(2",
    ),
    "matmul, vector": (
        lambda: X @ np.ones(2),
        r"matmul: rows of 3 numbers do not fit columns of 2; hint: \(.., n, k\)",
    ),
    "0-d logits": (lambda: ma.cross_entropy(SCALAR, 0), "cross_entropy: an argument has more or fewer axes than are"),
    "0-d among others": (lambda: ma.concat([X, SCALAR]), "concat: an argument has more or fewer axes than are"),
    "no parts": (lambda: ma.concat([]), "concat: there are no tensors to join; hint: one or more"),
    "no slices": (lambda: ma.stack([]), "stack: there are no tensors to join; hint: one or more"),
    "a scalar in matmul": (lambda: X @ SCALAR, "matmul: a scalar has no rows and no columns"),
    "reshape": (lambda: X.reshape(4, 2), r"reshape: .*\(given: float32 \(2, 3\) on cpu\)"),
    "concat": (lambda: ma.concat([X, X[:, :2]]), "concat: .*dimensions"),
    "stack": (lambda: ma.stack([X, X[0]]), "stack: .*same shape"),
    "cross_entropy": (lambda: ma.cross_entropy(X, [0]), r"cross_entropy: targets of shape \(1,\)"),
    "softmax, mask": (lambda: ma.softmax(X, mask=np.ones(2, bool)), r"softmax: a mask of shape \(2,\) does not"),
    "one_hot": (lambda: ma.topk(X, 4), "topk: k=4 is out of range for an axis of length 3"),
}


@pytest.mark.parametrize("case", SIZES)
def test_shapes_that_do_not_fit_are_a_shape_error(case):
    call, message = SIZES[case]
    with pytest.raises(ShapeError, match=f"^{message}"):
        call()


SETTINGS = {
    "clip": (lambda: ma.clip(X), "clip: no bound is given"),
    "dropout": (lambda: ma.dropout(X, 1.5, np.random.default_rng(0)), "dropout: the dropout rate"),
    "cross_entropy": (lambda: ma.cross_entropy(X, [0, 1], reduction="most"), "cross_entropy: reduction must be"),
    "einsum": (lambda: ma.einsum("i1->i", X), "einsum: 'i1->i' must name axes by letters"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_be_are_a_config_error(case):
    call, message = SETTINGS[case]
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        call()


# ---------------------------------------------------------------------------------------------- kinds
KINDS = {
    "a number in matmul": (lambda: X @ 3, "matmul: expected tensors or arrays, got"),
    "a number in concat": (lambda: ma.concat([1.0]), "concat: expected tensors or arrays, got 1.0"),
    "a word": (lambda: X < "a", "less: expected a tensor, an array or a number, got str"),
    "words in a list": (lambda: ma.add(X, ["a", "b", "c"]), "add: expected numbers in the list, got <U1"),
    "None": (
        lambda: ma.where([True, False, True], X, None),
        "where: expected a tensor, an array or a number, got None",
    ),
    "tensors in a list": (lambda: ma.sum([X, X]), "sum: a list of tensors is no tensor; hint: stack"),
    "no generator": (lambda: ma.dropout(X, 0.5, None), "dropout: rng must be a numpy.random.Generator, got NoneType"),
    "subscripts last": (lambda: ma.einsum(X, "ij->i"), "einsum: the subscripts come first, got Tensor"),
    "an unknown keyword": (lambda: ma.softmax(X, axes=1), "softmax: got an unexpected keyword argument 'axes'"),
    "ids of floats": (lambda: ma.take(X, [0.5]), "take: an id must be an integer, got float64"),
    "no tensor": (lambda: ma.linear(None, X), "linear: x must be a tensor, an array or a number, got None"),
    "no weight": (lambda: ma.conv2d(X, None), "conv2d: weight must be a tensor, an array or a number, got None"),
    "a word as a number": (lambda: ma.elu(X, "a"), "elu: alpha must be a number, got 'a'"),
    "None as an int": (lambda: ma.swapaxes(X, 0, None), "swapaxes: second must be an int, got None"),
    "a fraction as an axis": (lambda: ma.flip(X, 0.5), "flip: axis must be an int or a tuple of ints or None, got 0.5"),
    "fractions as axes": (
        lambda: ma.transpose(X, (0.5, 1)),
        "transpose: axes must be a tuple of ints or None, got (0.5",
    ),
    "a word as a shape": (lambda: ma.broadcast_to(X, "x"), "broadcast_to: shape must be a tuple of ints, got 'x'"),
    "an array as a yes": (
        lambda: ma.argmax(X, 0, np.ones(2)),
        "argmax: keepdims must be True or False, got float64 (2,)",
    ),
    "fractions of sections": (lambda: ma.split(X, 1.5), "split: sections must be an int or a tuple of ints, got 1.5"),
    "a fraction for k": (lambda: ma.topk(X, 1.5), "topk: k must be an int, got 1.5"),
    "None for a count": (lambda: ma.one_hot([1], None), "one_hot: count must be an int, got None"),
    "nothing to join": (lambda: ma.concat(None), "concat: expected a list of tensors, got NoneType"),
    "integers dropped": (
        lambda: ma.dropout(np.arange(3), 0.5, np.random.default_rng(0)),
        "dropout: dropout is for float",
    ),
    "an axis given twice": (
        lambda: ma.sum(X, 0, axis=0),
        "sum: multiple values for argument 'axis'; hint: its arguments",
    ),
    "too many arguments": (lambda: ma.softmax(X, 1, None, 3), "softmax: too many positional arguments; hint: its"),
}


@pytest.mark.parametrize("case", KINDS)
def test_arguments_of_another_kind_are_a_type_error_in_the_callers_words(case):
    call, message = KINDS[case]
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        call()


def test_a_parameter_that_gets_no_gradient_may_not_need_one():
    with pytest.raises(GradientError, match=r"^elu: alpha gets no gradient; hint: alpha.detach\(\)"):
        ma.elu(X, ma.tensor(0.5, requires_grad=True))
    with pytest.raises(GradientError, match="dropout: rate gets no gradient"):
        ma.dropout(X, rate=ma.tensor(0.5, requires_grad=True), rng=np.random.default_rng(0))


def test_no_op_is_called_by_a_private_name():
    assert not [name for name in OPS if name.startswith("_")]


# ---------------------------------------------------------------------------------------------- values
def test_the_power_of_a_negative_number_has_no_slope_in_its_exponent():
    x = ma.tensor([2.0, 3.0], requires_grad=True)
    y = ma.power(-2.0, x)
    assert y.tolist() == [4.0, -8.0]
    y.sum().backward()
    assert np.isnan(x.grad).all()


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        ([0.0, 1.5, 3.0], 2, 1),
        ([0.0, 1.5, 3.0], 1, None),
        ([0.0, 1.5, 3.0], None, np.int64(1)),
        ([0, 1, 2], 0.5, 1.5),
        ([0, 1, 2], 1, 1),
        ([True, False], 0, 1),
    ],
)
def test_clip_is_numpys(x, low, high):
    bounds = [bound.item() if isinstance(bound, np.generic) else bound for bound in (low, high)]
    found, expected = ma.clip(np.array(x), low, high).data, np.clip(np.array(x), *bounds)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_clip_to_one_bound_passes_no_gradient_on():
    x = ma.tensor([0.0, 1.5, 3.0], requires_grad=True)
    ma.clip(x, 2, 1).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


# ---------------------------------------------------------------------------------------------- ops of one's own
@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda a, b: a * b, "expected (value, pullback) from its function; hint: (value, None) for no gradient"),
        (lambda a, b: None, "expected (value, pullback) from its function"),
    ],
)
def test_an_op_without_a_pullback(result, said):
    own = op(lambda a, b, /: result(a, b), listed=False)
    with pytest.raises(TypeError, match=re.escape(said)):
        own(ma.tensor(np.ones(3), requires_grad=True), np.ones(3))


@pytest.mark.parametrize(
    ("pullback", "said"),
    [
        (lambda g: g, "gives not as many gradients as product has tensor arguments, 2; hint: a tuple, with None where"),
        (lambda g: (g, g, g), "gives not as many gradients as product has tensor arguments, 2"),
        ((lambda g: g,), "gives not as many gradients as product has tensor arguments, 2"),
        (lambda g: ([1.0], g), "gave a list; hint: a tuple of arrays"),
        (lambda g: ("a", g), "gives a str; expected an array"),
        (np.ones(2), "is a ndarray; hint: an op's function returns (value, pullback)"),
    ],
)
def test_a_pullback_that_gives_something_else(pullback, said):
    def product(a, b, /):
        return a * b, pullback

    y = op(product, listed=False)(ma.tensor(np.ones(3), requires_grad=True), ma.tensor(np.ones(3), requires_grad=True))
    with pytest.raises(GradientError, match=re.escape(f"the pullback of product {said}")):
        y.sum().backward()


def test_a_pullbacks_own_errors_are_left_as_they_are():
    def pullback(g):
        return list(zip([1], [], strict=True))

    y = op(lambda x, /: (x * 2, pullback), listed=False)(ma.tensor(np.ones(3), requires_grad=True))
    with pytest.raises(ValueError, match=r"^zip\(\)"):
        y.sum().backward()
