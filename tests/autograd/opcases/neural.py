"""Cases of the fused ops.  Their equations are the reference that matters; SciPy's values are a second opinion."""

import math

import numpy as np
from hypothesis import strategies as st
from scipy import special

import minattn as ma
from minattn.testing import strategies

from .case import Call, Case, dtypes, with_parameters


@st.composite
def masked_rows(draw):
    """Scores of any shape, an axis, and a mask or none; rows without a single True among them."""
    shape = draw(strategies.shapes(min_dims=1, min_side=1) | strategies.shapes(min_dims=1))
    axis = draw(st.sampled_from([a for a in range(-len(shape), len(shape)) if shape[a]] or [None]))
    if axis is None:
        shape, axis = (*shape, 2), -1
    mask_shape = tuple(draw(st.sampled_from([1, n])) for n in shape)[draw(st.integers(0, 1)) :]
    mask = draw(st.none() | strategies.masks(mask_shape))
    return Call((draw(strategies.arrays(shape)),), {"axis": axis, "mask": mask})


def scipy_softmax(x, axis, mask):
    if mask is None:
        return special.softmax(x, axis)
    mask = np.broadcast_to(mask, x.shape)
    some = mask.any(axis, keepdims=True)
    return np.where(mask, special.softmax(np.where(mask | ~some, x, -np.inf), axis), 0)


def scipy_log_softmax(x, axis, mask):
    p = scipy_softmax(x, axis, mask)
    return np.log(np.where(p > 0, p, 1))


@st.composite
def classified(draw):
    classes = draw(st.integers(1, 4))
    shape = draw(strategies.shapes(max_dims=2))
    targets = draw(strategies.ids(shape, classes))
    ignored = draw(st.sampled_from([None, -100, 0]))
    if ignored == -100:
        targets = np.where(draw(strategies.masks(shape)), targets, -100)
    if draw(st.booleans()):  # distributions in place of ids
        targets, ignored = draw(strategies.arrays((*shape, classes), np.float64, low=0.0, high=1.0)), None
        targets = np.where(draw(strategies.masks(targets.shape)), targets, 0)
    parameters = {
        "targets": targets,
        "ignore_index": ignored,
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
        "reduction": draw(st.sampled_from(["mean", "sum", "none"])),
        "weight": draw(st.none() | strategies.arrays((classes,), np.float64, low=0.1, high=2.0)),
    }
    return Call((draw(strategies.arrays((*shape, classes))),), parameters)


def numpy_cross_entropy(logits, targets, ignore_index, label_smoothing, reduction, weight):
    *shape, classes = logits.shape
    losses, counted, weight = np.zeros(shape), 0, np.ones(classes) if weight is None else weight
    for place in np.ndindex(*shape):
        target = targets[place]
        if ignore_index is not None and target == ignore_index:
            continue
        counted += 1 if np.ndim(target) else weight[target]
        log_p = special.log_softmax(logits[place])
        for k in range(classes):
            q = target[k] if np.ndim(target) else float(k == target)
            losses[place] -= weight[k] * ((1 - label_smoothing) * q + label_smoothing / classes) * log_p[k]
    if reduction == "none":
        return losses
    return losses.sum() / ((counted or 1) if reduction == "mean" else 1)


@st.composite
def rows_and_weights(draw, *weights, **parameters):
    """x of shape (.., d) and further arguments, whose shapes are named by 'd' and 'n'."""
    dtype = draw(dtypes())
    size = {"d": draw(st.integers(1, 4)), "n": draw(st.integers(1, 4))}
    lead = draw(strategies.shapes(max_dims=2))
    shapes = [(*lead, size["d"])] + [tuple(size[letter] for letter in names) for names in weights]
    return Call(tuple(draw(strategies.arrays(shape, dtype)) for shape in shapes), parameters)


@st.composite
def rows_apart(draw):
    """x (.., d) or (.., n, d) with a weight and a bias of its last axes.

    No row is nearly constant: there float32 has no digits left for its gradient.
    """
    shape = draw(st.sampled_from(["d", "nd"]))
    call = draw(rows_and_weights(shape, shape, eps=1e-5))
    _, *weights = call.inputs
    size, lead = weights[0].shape, draw(strategies.shapes(max_dims=2))
    x = draw(strategies.arrays((*lead, *size), weights[0].dtype))
    spread = 0.2 * x + np.arange(math.prod(size), dtype=x.dtype).reshape(size) ** 2
    return Call((draw(strategies.layouts(spread)), *weights), call.parameters)


def without_bias(call):
    return Call(call.inputs[:-1], call.parameters)


def numpy_layer_norm(x, weight, bias, eps):
    axes = tuple(range(-weight.ndim, 0))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps) * weight + bias


def numpy_rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, tuple(range(-weight.ndim, 0)), keepdims=True) + eps) * weight


@st.composite
def looked_up(draw):
    weight = draw(strategies.arrays(strategies.shapes(min_dims=2, max_dims=2, min_side=1)))
    return Call((weight,), {"ids": draw(strategies.ids(strategies.shapes(), len(weight)))})


def drop(x, rate, seed):
    return ma.dropout(x, rate, np.random.default_rng(seed))


def numpy_drop(x, rate, seed):
    kept = np.random.default_rng(seed).random(x.shape, np.float32) >= rate
    return np.where(kept, x / (1 - rate), 0)


CASES = {
    "softmax": Case(masked_rows(), scipy_softmax),
    "log_softmax": Case(masked_rows(), scipy_log_softmax),
    "cross_entropy": Case(classified(), numpy_cross_entropy),
    "layer_norm": Case(rows_apart(), numpy_layer_norm),
    "rms_norm": Case(rows_apart().map(without_bias), numpy_rms_norm),
    "linear": Case(rows_and_weights("dn", "n") | rows_and_weights("dn"), lambda x, weight, bias=0: x @ weight + bias),
    "embedding": Case(looked_up(), lambda weight, ids: weight[ids]),
    "dropout": Case(
        with_parameters(lambda shape: st.fixed_dictionaries({"rate": st.sampled_from([0.0, 0.5]), "seed": st.just(3)})),
        numpy_drop,
        apply=drop,
    ),
}
