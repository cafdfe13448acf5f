"""Cases of the ops on images (N, C, H, W): pooling, resizing, normalization.  NumPy's side is loops with indices."""

import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minattn.testing import strategies

from .case import Call, Case, drawn, dtypes


@st.composite
def images(draw, distinct=False):
    """Few small images of any layout, with any number of leading axes."""
    lead = draw(strategies.shapes(min_dims=0, max_dims=2, max_side=2))
    shape = (*lead, draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    return draw(strategies.arrays(shape, distinct=distinct))


def pairs(low, high):
    """A number for both axes, or one for each."""
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


def both(value):
    return (value, value) if isinstance(value, int) else value


# ---------------------------------------------------------------------------------------------- pooling
@st.composite
def pooled(draw, distinct=False, **parameters):
    """An image and windows of it, with everything from no padding to as much as there may be."""
    x = draw(images(distinct))
    kernel, stride = draw(pairs(1, 4)), draw(st.none() | pairs(1, 3))
    least = min(both(kernel)) - 1
    padding = draw(st.integers(0, least) | st.tuples(*[st.integers(0, k - 1) for k in both(kernel)]))
    sides = zip(x.shape[-2:], both(kernel), both(padding), strict=True)
    assume(all(k <= n + 2 * p for n, k, p in sides))
    given = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": draw(st.booleans())}
    return Call((x,), given | drawn(draw, parameters))


def windows_along(n, k, s, p, ceil):
    """(start, end) of each window, in places of the image; found by sliding, not by a formula for their number."""
    found, start = [], -p
    while start + k <= n + p or (ceil and start < n and start - s + k < n + p):
        found.append((start, start + k))
        start += s
    return found


def loop_pool(x, function, kernel, stride=None, padding=0, ceil=False):
    """function(the pixels of a window that are in the image, how many are in the image or its padding) for each."""
    steps = kernel if stride is None else stride
    sides = zip(x.shape[-2:], both(kernel), both(steps), both(padding), strict=True)
    rows, columns = (windows_along(*side, ceil) for side in sides)
    (height, width), (above, left) = x.shape[-2:], both(padding)
    y = np.zeros((*x.shape[:-2], len(rows), len(columns)))
    for *lead, i, j in np.ndindex(y.shape):
        (top, bottom), (first, last) = rows[i], columns[j]
        inside = [
            x[(*lead, a, b)]
            for a in range(top, bottom)
            for b in range(first, last)
            if 0 <= a < height and 0 <= b < width
        ]
        padded = sum(
            -above <= a < height + above and -left <= b < width + left
            for a in range(top, bottom)
            for b in range(first, last)
        )
        y[(*lead, i, j)] = function(inside, padded)
    return y


def loop_max_pool(x, **windows):
    return loop_pool(x, lambda inside, padded: max(inside), **windows)


def loop_average_pool(x, count_padding, **windows):
    return loop_pool(x, lambda inside, padded: sum(inside) / (padded if count_padding else len(inside)), **windows)


@st.composite
def sized(draw, distinct=False, **parameters):
    return Call((draw(images(distinct)),), {"size": draw(pairs(1, 6))} | drawn(draw, parameters))


def loop_adaptive(function):
    def pool(x, size):
        (h, w), (height, width) = both(size), x.shape[-2:]
        y = np.zeros((*x.shape[:-2], h, w))
        for *lead, i, j in np.ndindex(y.shape):
            rows = range(math.floor(i * height / h), math.ceil((i + 1) * height / h))
            columns = range(math.floor(j * width / w), math.ceil((j + 1) * width / w))
            y[(*lead, i, j)] = function([x[(*lead, a, b)] for a in rows for b in columns])
        return y

    return pool


# ---------------------------------------------------------------------------------------------- resizing
def loop_nearest(x, size):
    (h, w), (height, width) = both(size), x.shape[-2:]
    y = np.zeros((*x.shape[:-2], h, w))
    for *lead, i, j in np.ndindex(y.shape):
        y[(*lead, i, j)] = x[(*lead, i * height // h, j * width // w)]
    return y


def loop_bilinear(x, size, align_corners):
    def between(i, n, m):
        """The two places of n that place i of m is between, and the share of the second."""
        if align_corners:
            u = i * (n - 1) / (m - 1) if m > 1 else 0.0
        else:
            u = min(max((i + 0.5) * n / m - 0.5, 0.0), n - 1.0)
        low = min(math.floor(u), n - 1)
        return low, min(low + 1, n - 1), u - low

    (h, w), (height, width) = both(size), x.shape[-2:]
    y = np.zeros((*x.shape[:-2], h, w))
    for *lead, i, j in np.ndindex(y.shape):
        top, bottom, f = between(i, height, h)
        left, right, e = between(j, width, w)
        above = (1 - e) * x[(*lead, top, left)] + e * x[(*lead, top, right)]
        below = (1 - e) * x[(*lead, bottom, left)] + e * x[(*lead, bottom, right)]
        y[(*lead, i, j)] = (1 - f) * above + f * below
    return y


# ---------------------------------------------------------------------------------------------- normalization
@st.composite
def normalized(draw, vectors=2, min_batch=0, **parameters):
    """x (N, C, ..) whose sets are not nearly constant: there float32 has no digits left; and vectors (C)."""
    dtype = draw(dtypes())
    channels = draw(st.sampled_from([1, 2, 3, 4, 6]))
    shape = (draw(st.integers(min_batch, 3)), channels, *draw(strategies.shapes(max_dims=2, min_side=1, max_side=3)))
    x = draw(strategies.arrays(shape, dtype, plain=True))
    spread = 0.2 * x + 2 * (np.indices(shape).sum(0) % 2)  # like a chessboard: a set of several numbers has both fields
    weights = [draw(strategies.arrays((channels,), dtype)) for _ in range(vectors)]
    call = Call((draw(strategies.layouts(spread.astype(dtype))), *weights), drawn(draw, parameters))
    if "groups" in parameters:
        divisors = [groups for groups in range(1, channels + 1) if channels % groups == 0]
        call.parameters["groups"] = draw(st.sampled_from(divisors))
    return call


def several_of_a_channel(call):
    """One number alone has no variance: then 1 / sqrt(eps) takes float32 its last digits."""
    x, weight, *_ = call.inputs
    return x.size > weight.size


@st.composite
def with_statistics(draw):
    """x, weight, bias, and a mean and a variance that are given."""
    call = draw(normalized(vectors=3, eps=st.sampled_from([1e-5, 0.1])))
    variance = draw(strategies.arrays(call.inputs[1].shape, call.inputs[0].dtype, low=0.1, high=3.0))
    return Call((*call.inputs, variance), call.parameters)


def loop_standardise(x, weight, bias, eps, of):
    """Each number less the mean of its set, over the set's deviation; `of` names the set of an index."""
    sets = {}
    for index in np.ndindex(x.shape):
        sets.setdefault(of(index), []).append(x[index])
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        members = sets[of(index)]
        mean = sum(members) / len(members)
        variance = sum((value - mean) ** 2 for value in members) / len(members)
        y[index] = (x[index] - mean) / math.sqrt(variance + eps) * weight[index[1]] + bias[index[1]]
    return y


def loop_batch_norm(x, weight, bias, eps, relu=False):
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    y = loop_standardise(x, weight, bias, eps, of=lambda index: index[1])
    return y * (y > 0) if relu else y, x.mean(axes), x.var(axes)


def loop_batch_norm_fixed(x, weight, bias, mean, variance, eps, relu=False):
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        c = index[1]
        y[index] = (x[index] - mean[c]) / math.sqrt(variance[c] + eps) * weight[c] + bias[c]
    return y * (y > 0) if relu else y


def off_kink(calls, loop):
    """The calls, with relu=True in some of those where no y is near zero."""

    def rectified(call, relu):
        parameters = {name: value for name, value in call.parameters.items() if name != "relu"}
        y = loop(*(x.astype(np.float64) for x in call.inputs), **parameters)
        y = y[0] if isinstance(y, tuple) else y
        return Call(call.inputs, {**parameters, "relu": relu and bool((np.abs(y) > 1e-2).all())})

    return st.builds(rectified, calls, st.booleans())


def loop_group_norm(x, weight, bias, groups, eps):
    size = x.shape[1] // groups
    return loop_standardise(x, weight, bias, eps, of=lambda index: (index[0], index[1] // size))


def loop_local_response_norm(x, n, k, alpha, beta):
    y, channels = np.zeros(x.shape), x.shape[1]
    for image, i, *place in np.ndindex(x.shape):
        neighbors = range(max(0, i - n // 2), min(channels - 1, i + n // 2) + 1)
        total = sum(x[(image, j, *place)] ** 2 for j in neighbors)
        y[(image, i, *place)] = x[(image, i, *place)] / (k + alpha * total) ** beta
    return y


EPS = st.sampled_from([1e-5, 0.1])


# ---------------------------------------------------------------------------------------------- scaling
@st.composite
def with_gates(draw):
    """x (N, C, H, W) and a number for each map."""
    dtype = draw(dtypes())
    shape = tuple(draw(st.integers(0 if axis == 0 else 1, 4)) for axis in range(4))
    x, s = (draw(strategies.layouts(draw(strategies.arrays(of, dtype)))) for of in (shape, shape[:2]))
    return Call((x, s), {})


def loop_scale_channels(x, s):
    y = np.zeros(x.shape)
    for n, c in np.ndindex(s.shape):
        y[n, c] = s[n, c] * x[n, c]
    return y


CASES = {
    "max_pool2d": Case(pooled(distinct=True), loop_max_pool),
    "average_pool2d": Case(pooled(count_padding=st.booleans()), loop_average_pool),
    "adaptive_max_pool2d": Case(sized(distinct=True), loop_adaptive(max)),
    "adaptive_average_pool2d": Case(sized(), loop_adaptive(np.mean)),
    "resize_nearest": Case(sized(), loop_nearest),
    "resize_bilinear": Case(sized(align_corners=st.booleans()), loop_bilinear),
    "batch_norm": Case(
        off_kink(normalized(min_batch=1, eps=EPS).filter(several_of_a_channel), loop_batch_norm), loop_batch_norm
    ),
    "batch_norm_inference": Case(off_kink(with_statistics(), loop_batch_norm_fixed), loop_batch_norm_fixed),
    "scale_channels": Case(with_gates(), loop_scale_channels),
    "group_norm": Case(normalized(groups=None, eps=EPS), loop_group_norm),
    "local_response_norm": Case(
        normalized(
            vectors=0,
            n=st.sampled_from([1, 3, 5]),
            k=st.sampled_from([1.0, 2.0]),
            alpha=st.sampled_from([1e-4, 0.5]),
            beta=st.sampled_from([0.75, 0.5]),
        ),
        loop_local_response_norm,
    ),
}
