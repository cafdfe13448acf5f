"""Cases of reductions, indexing, shaping, sorting and matrix products."""

import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minattn as ma
from minattn.testing import strategies

from .case import Call, Case, along_axes, dtypes, lengths, with_parameters

DISTINCT = {"distinct": True}


# ---------------------------------------------------------------------------------------------- shape
def other_shapes(shape):
    size = math.prod(shape)
    flat = [(size,), shape[::-1], (*shape, 1), (1, *shape)] + [(-1,), (-1, 1)] * (size > 0)
    return st.fixed_dictionaries({"shape": st.sampled_from(flat)})


def orders(shape):
    order = st.permutations(range(len(shape))).map(lambda axes: tuple(a - len(shape) * (a % 2) for a in axes))
    return st.fixed_dictionaries({"axes": st.none() | order})


def one_axis(shape, name="axis"):
    return st.integers(-len(shape), len(shape) - 1)


def two_axes(first, second):
    return lambda shape: st.fixed_dictionaries({first: one_axis(shape), second: one_axis(shape)})


@st.composite
def squeezable(draw):
    shape = draw(st.lists(st.sampled_from([1, 1, 2, 0]), max_size=4).map(tuple))
    single = [i - len(shape) * draw(st.booleans()) for i, n in enumerate(shape) if n == 1]
    axis = draw(st.sampled_from([None, tuple(single), *single]))
    return Call((draw(strategies.arrays(shape)),), {"axis": axis})


def new_axes(shape):
    n = len(shape)
    return st.fixed_dictionaries({"axis": st.sampled_from([0, -1, n, (0, n + 1), (-1, 0)])})


@st.composite
def stretched(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3, max_dims=3))
    return Call((draw(strategies.arrays(shapes.input_shapes[0])),), {"shape": shapes.result_shape})


@st.composite
def concatenated(draw, stacked):
    """One to three arguments that differ in the length of the axis of concatenation, or not at all."""
    dtype = draw(dtypes())
    shape = draw(strategies.shapes(min_dims=0 if stacked else 1))
    axes = len(shape) + stacked
    axis = draw(st.integers(-axes, axes - 1))
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        length = shape[axis % axes] if stacked and axis % axes < len(shape) else draw(st.integers(0, 3))
        own = shape if stacked else (*shape[: axis % axes], length, *shape[axis % axes + 1 :])
        inputs.append(draw(strategies.arrays(own, dtype)))
    return Call(tuple(inputs), {"axis": axis})


@st.composite
def sections(draw):
    x = draw(strategies.arrays(strategies.shapes(min_dims=1)))
    axis = draw(one_axis(x.shape))
    n = x.shape[axis]
    equal = st.sampled_from([k for k in range(1, n + 2) if n % k == 0])
    return Call((x,), {"sections": draw(equal | lengths(n)), "axis": axis})


def numpy_split(x, sections, axis):
    if isinstance(sections, int):
        return tuple(np.split(x, sections, axis))
    return tuple(np.split(x, np.cumsum(sections)[:-1], axis))


def paddings(shape):
    """Widths for each axis or for all, and a mode; what is repeated must be there."""
    pair = st.tuples(st.integers(0, 3), st.integers(0, 3))
    widths = st.tuples(*[pair for _ in shape]) | pair | st.integers(0, 2) if shape else st.just(())
    constant = st.fixed_dictionaries({"widths": widths, "value": st.sampled_from([0.0, -1.5])})
    if 0 in shape:
        return constant
    return constant | st.fixed_dictionaries({"widths": widths, "mode": st.sampled_from(sorted(NUMPY_MODES))})


NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def numpy_pad(x, widths, value=0.0, mode="constant"):
    if not x.ndim:
        return x
    return np.pad(x, widths, NUMPY_MODES[mode], **({"constant_values": value} if mode == "constant" else {}))


def rolls(shape):
    one = st.fixed_dictionaries({"shift": st.integers(-5, 5), "axis": st.none() | one_axis(shape)})
    two = st.just({"shift": (1, -2), "axis": (0, -1)})
    return one | two


def repetitions(shape):
    return st.fixed_dictionaries({"repeats": st.integers(0, 3), "axis": st.none() | one_axis(shape)})


def tilings(shape):
    counts = st.lists(st.integers(0, 2), max_size=4).map(tuple)
    return st.fixed_dictionaries({"repeats": st.integers(0, 2) | counts})


# ---------------------------------------------------------------------------------------------- reductions
@st.composite
def with_zeros(draw):
    """An argument with zeros among its elements, by which no slope may divide, and an `axis`."""
    call = draw(along_axes(empty=True, keepdims=st.booleans()))
    (x,) = call.inputs
    kept = draw(hnp.arrays(bool, x.shape))
    return Call((draw(strategies.layouts(np.where(kept, x, 0).astype(x.dtype))),), call.parameters)


@st.composite
def normed(draw):
    """An argument without a zero, an order, and an `axis`, which holds an element at least for order=inf."""
    order = draw(st.sampled_from([2.0, 1.0, np.inf, 3.0, 0.5]))
    domain = {"away_from": (0.0,), "distinct": True} if order < np.inf else {"low": 0.1, "distinct": True}
    call = draw(along_axes(domain, empty=order < np.inf, keepdims=st.booleans()))
    (x,) = call.inputs
    return Call((-x if draw(st.booleans()) else x,), call.parameters | {"order": order})


def numpy_norm(x, axis, keepdims, order):
    if order == np.inf:
        return np.max(np.abs(x), axis, keepdims=keepdims)
    return np.sum(np.abs(x) ** order, axis, keepdims=keepdims) ** (1 / order)


# ---------------------------------------------------------------------------------------------- indexing
@st.composite
def indexed(draw):
    x = draw(strategies.arrays(strategies.shapes()))
    return Call((x,), {"index": draw(strategies.index_expressions(x.shape))})


@st.composite
def taken(draw):
    x = draw(strategies.arrays(strategies.shapes(min_dims=1)))
    axis = draw(one_axis(x.shape))
    ids = draw(strategies.ids(strategies.shapes(max_dims=2, min_side=1), x.shape[axis], negative=True))
    return Call((x,), {"ids": ids, "axis": axis})


@st.composite
def gathered(draw):
    x = draw(strategies.arrays(strategies.shapes(min_dims=1, min_side=1)))
    axis = draw(one_axis(x.shape))
    shape = list(x.shape)
    shape[axis] = draw(st.integers(0, 4))
    return Call((x,), {"ids": draw(strategies.ids(tuple(shape), x.shape[axis], negative=True)), "axis": axis})


@st.composite
def written(draw, repeated):
    """x, the values to write, and where; `repeated`: whether a place may be named twice."""
    dtype = draw(dtypes())
    x = draw(strategies.arrays(strategies.shapes(), dtype))
    index = draw(strategies.index_expressions(x.shape))
    places = np.arange(x.size).reshape(x.shape)[index]
    assume(repeated or np.unique(places).size == np.size(places))
    shape = np.shape(places)
    return Call((x, draw(strategies.arrays(st.sampled_from([shape, (), shape[1:]]), dtype))), {"index": index})


def numpy_put(x, values, index):
    y = x.copy()
    y[index] = values
    return y


def numpy_scatter_add(x, values, index):
    y = x.copy()
    np.add.at(y, index, np.broadcast_to(values, np.shape(y[index])))  # NumPy 2.4 forgets some that it would repeat
    return y


# ---------------------------------------------------------------------------------------------- products
@st.composite
def multiplied(draw):
    dtype = draw(dtypes())
    signature = "(n?,k),(k,m?)->(n?,m?)"
    shapes = draw(hnp.mutually_broadcastable_shapes(signature=signature, max_dims=2, min_side=0, max_side=3))
    return Call(tuple(draw(strategies.arrays(shape, dtype)) for shape in shapes.input_shapes), {})


SUBSCRIPTS = [
    *("i->", "i->i", "ij->ji", "abc->b", "ij->i", "ba"),
    *(
        "i,i->",
        "i,j->ij",
        "ij,j->i",
        "ij,jk->ik",
        "bij,bjk->bik",
        "bqd,bkd->bqk",
        "ij,ij->",
        ",i->i",
        "ij,kl->jl",
        "ij,jk",
    ),
    *("i,i,i->i", "ij,jk,kl->il", "bq,bqd,bd->b"),
    *("ii", "ii->i", "bii->bi", "iji->ij", "iii->i", "ii,ij->ij", "ii,i->", "ijij,j"),
]


UNNAMED = [
    *("...", "...->...", "...i->...", "i...->i...", "...ij->...ji", "...ii->...i", "i..."),
    *("...i,...i->...", "...ij,...jk->...ik", "i...,...->...i", "i...j,j->i...", "...,...", "...i,...i"),
]


@st.composite
def summed_products(draw):
    """Operands for subscripts, which may name an axis twice; axes under '...' broadcast."""
    dtype = draw(dtypes())
    subscripts = draw(st.sampled_from(SUBSCRIPTS + UNNAMED))
    length = {letter: draw(st.integers(0, 3)) for letter in sorted(set(subscripts) - set(",->."))}
    inputs = subscripts.partition("->")[0].split(",")
    unnamed = draw(strategies.broadcastable_shapes(len(inputs), max_dims=2, max_side=3))
    shapes = []
    for names, dots in zip(inputs, unnamed, strict=True):
        before, _, after = names.partition("...")
        middle = dots if "..." in names else ()
        shapes.append((*(length[letter] for letter in before), *middle, *(length[letter] for letter in after)))
    return Call(tuple(draw(strategies.arrays(shape, dtype)) for shape in shapes), {"subscripts": subscripts})


CASES = {
    # reductions
    "sum": Case(along_axes(empty=True, keepdims=st.booleans()), np.sum),
    "mean": Case(along_axes(keepdims=st.booleans()), np.mean),
    "var": Case(along_axes(keepdims=st.booleans(), ddof=0), np.var),
    "prod": Case(with_zeros(), np.prod),
    "max": Case(along_axes(DISTINCT, keepdims=st.booleans()), np.max),
    "min": Case(along_axes(DISTINCT, keepdims=st.booleans()), np.min),
    "logsumexp": Case(
        along_axes(keepdims=st.booleans()), lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis, keepdims=keepdims))
    ),
    "norm": Case(normed(), numpy_norm),
    "argmax": Case(along_axes(DISTINCT, several=False, keepdims=st.booleans()), np.argmax, ""),
    "argmin": Case(along_axes(DISTINCT, several=False, keepdims=st.booleans()), np.argmin, ""),
    "cumsum": Case(along_axes(empty=True, none=False, several=False), np.cumsum),
    "sort": Case(
        along_axes(DISTINCT, empty=True, none=False, several=False, descending=st.booleans()),
        lambda x, axis, descending: (
            (-np.sort(-x, axis), np.argsort(-x, axis)) if descending else (np.sort(x, axis), np.argsort(x, axis))
        ),
    ),
    # shape
    "reshape": Case(with_parameters(other_shapes), np.reshape),
    "transpose": Case(with_parameters(orders), np.transpose),
    "swapaxes": Case(
        with_parameters(two_axes("first", "second"), min_dims=1), lambda x, first, second: np.swapaxes(x, first, second)
    ),
    "moveaxis": Case(with_parameters(two_axes("source", "destination"), min_dims=1), np.moveaxis),
    "squeeze": Case(squeezable(), np.squeeze),
    "expand_dims": Case(with_parameters(new_axes), np.expand_dims),
    "broadcast_to": Case(stretched(), np.broadcast_to),
    "concat": Case(concatenated(stacked=False), lambda *xs, axis: np.concatenate(xs, axis)),
    "stack": Case(concatenated(stacked=True), lambda *xs, axis: np.stack(xs, axis)),
    "split": Case(sections(), numpy_split),
    "unstack": Case(
        along_axes(none=False, several=False),
        lambda x, axis: tuple(np.moveaxis(x, axis, 0)),
    ),
    "pad": Case(with_parameters(paddings), numpy_pad),
    "flip": Case(along_axes(empty=True), np.flip),
    "roll": Case(with_parameters(rolls, min_dims=2), np.roll),
    "repeat": Case(with_parameters(repetitions, min_dims=1), np.repeat),
    "tile": Case(with_parameters(tilings), lambda x, repeats: np.tile(x, repeats)),
    # No complex number fits into a float64; the conversions that change numbers are in test_dtypes.py.
    "astype": Case(
        st.builds(lambda x: Call((x,), {"dtype": np.float64}), strategies.arrays(strategies.shapes(), np.float64)),
        lambda x, dtype: x.astype(dtype),
        "difference",
    ),
    "to_device": Case(with_parameters(lambda shape: st.just({"device": "cpu"})), lambda x, device: x),
    # indexing
    "getitem": Case(indexed(), lambda x, index: x[index]),
    "take": Case(taken(), lambda x, ids, axis: np.take(x, ids, axis)),
    "gather": Case(gathered(), lambda x, ids, axis: np.take_along_axis(x, ids % x.shape[axis], axis)),
    "put": Case(written(repeated=False), numpy_put),
    "scatter_add": Case(written(repeated=True), numpy_scatter_add),
    # products
    "matmul": Case(multiplied(), np.matmul),
    "einsum": Case(
        summed_products(),
        lambda *xs, subscripts: np.einsum(subscripts, *xs),
        apply=lambda *xs, subscripts: ma.einsum(subscripts, *xs),
    ),
}
