"""A naive engine of thirty lines, to hold the real one to: scalars, recursion over every path, nothing ever freed."""

import math


class Number:
    """A number that knows its parents and the derivative by each of them."""

    def __init__(self, value, parents=(), requires_grad=False):
        self.value = value
        self.parents = [(parent, slope) for parent, slope in parents if parent.requires_grad]
        self.paths = max(1, sum(parent.paths for parent, _ in self.parents))
        self.requires_grad = requires_grad or bool(self.parents)
        self.grad = 0.0

    def backward(self, upstream):
        if not self.parents:
            self.grad += upstream
        for parent, slope in self.parents:
            parent.backward(upstream * slope)

    def detach(self):
        return Number(self.value)


UNARY = {
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "sin": (math.sin, math.cos),
    "negative": (lambda x: -x, lambda x: -1.0),
}
BINARY = {
    "add": (lambda a, b: a + b, lambda a, b: (1.0, 1.0)),
    "subtract": (lambda a, b: a - b, lambda a, b: (1.0, -1.0)),
    "multiply": (lambda a, b: a * b, lambda a, b: (b, a)),
}


def unary(name, x, record=True):
    value, slope = UNARY[name]
    return Number(value(x.value), [(x, slope(x.value))] if record else [])


def binary(name, a, b, record=True):
    value, slopes = BINARY[name]
    return Number(value(a.value, b.value), zip((a, b), slopes(a.value, b.value), strict=True) if record else [])
