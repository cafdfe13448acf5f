"""Cases of the convolutions: every stride, padding, dilation and number of groups that fits, in odd memory."""

from hypothesis import strategies as st

from minattn.testing import strategies

from .case import Call, Case, dtypes


def either(numbers):
    """An int, or a pair of ints."""
    return numbers | st.tuples(numbers, numbers)


def both(value):
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def kernels(draw):
    """How a kernel is laid, its size, and the channels of a group on both of its sides; depthwise ones among them."""
    parameters = {
        "stride": draw(either(st.integers(1, 3))),
        "padding": draw(either(st.integers(0, 3))),
        "dilation": draw(either(st.integers(1, 2))),
        "groups": draw(st.integers(1, 3)),
    }
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    if draw(st.integers(0, 4)) == 0:  # one that looks at every pixel by itself
        kernel, parameters = (1, 1), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return parameters, kernel, (draw(st.integers(1, 2)), draw(st.integers(1, 2)))


@st.composite
def arrays(draw, x, weight, outputs):
    dtype = draw(dtypes())
    shapes = [x, weight] + [(outputs,)] * draw(st.integers(0, 1))
    return tuple(draw(strategies.arrays(shape, dtype)) for shape in shapes)


@st.composite
def convolved(draw):
    parameters, kernel, (inputs, outputs) = draw(kernels())
    groups = parameters["groups"]
    size = []
    for k, p, d in zip(kernel, both(parameters["padding"]), both(parameters["dilation"]), strict=True):
        least = max(0, d * (k - 1) + 1 - 2 * p)
        size.append(least + draw(st.integers(0, 4)))
    x = (draw(st.integers(0, 3)), groups * inputs, *size)
    return Call(draw(arrays(x, (groups * outputs, inputs, *kernel), groups * outputs)), parameters)


@st.composite
def transposed(draw):
    parameters, kernel, (inputs, outputs) = draw(kernels())
    groups, stride = parameters["groups"], both(parameters["stride"])
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, both(parameters["dilation"]), strict=True))
    size = []
    each = zip(kernel, stride, both(parameters["padding"]), both(parameters["dilation"]), more, strict=True)
    for k, s, p, d, m in each:  # s (n - 1) + d (k - 1) + 1 - 2p + m must be 1 or more
        least = max(1, 1 - (d * (k - 1) - 2 * p + m) // s)
        size.append(least + draw(st.integers(0, 2)))
    x = (draw(st.integers(0, 2)), groups * inputs, *size)
    inputs_of = draw(arrays(x, (groups * inputs, outputs, *kernel), groups * outputs))
    return Call(inputs_of, parameters | {"output_padding": more})


CASES = {
    "conv2d": Case(convolved()),
    "conv_transpose2d": Case(transposed()),
}
