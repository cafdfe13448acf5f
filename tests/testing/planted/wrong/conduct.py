"""What is not a wrong formula: caches, writing into arguments, shared memory, dtypes, None and NaN, chance, shapes."""

import numpy as np

from .plant import OTHER, POSITIVE, VECTOR, X, plant


def stale():
    saved = {}

    def f(x):
        saved["y"] = np.exp(x)
        return saved["y"] * 1

    return f, lambda g, x: g * saved["y"]


def accumulating():
    total = {}

    def vjp(g, x):
        total["g"] = total.get("g", 0) + g * np.cos(x)
        return total["g"].copy()

    return np.sin, vjp


def cached():
    """The slope is computed once for each shape."""
    cache = {}
    return np.sin, lambda g, x: g * cache.setdefault(x.shape, np.cos(x))


def remembered():
    """The gradient of the first call, again and again."""
    cache = {}
    return np.sin, lambda g, x: cache.setdefault("gradient", g * np.cos(x)).copy()


plant("stale", "the last value", *stale(), X, says="another forward pass replaces")
plant("stale", "a gradient that adds up", *accumulating(), X, says="something kept from the first call")
plant("stale", "remembered", *remembered(), X, says="kept from the first call: a cache of its gradient")
plant("stale", "a slope for each shape", *cached(), X, says="a cache that does not look at the inputs")


def writing(f, into):
    def vjp(g, x):
        (g if into == "g" else x)[...] *= 2
        return g * np.cos(x)

    return f, vjp


def normalizes_in_place(x):
    x -= x.mean()
    return x * 2


plant("writes", "upstream", *writing(np.sin, "g"), X)
plant("writes", "input", *writing(np.sin, "x"), X.copy())
plant("writes", "input in the forward pass", normalizes_in_place, lambda g, x: 2 * (g - g.mean()), X.copy())
BUFFER = np.zeros((3, 4))


def in_one_buffer(g, a, b):
    np.multiply(g, 2, out=BUFFER)
    return BUFFER, BUFFER


plant("memory", "the upstream itself", lambda x: x * 1, lambda g, x: g, X)
plant("memory", "a view of the upstream", lambda x: x.reshape(-1) * 1, lambda g, x: g.reshape(x.shape), X)
plant("memory", "one array for two", lambda a, b: 2 * a + 2 * b, in_one_buffer, X, OTHER)
plant("memory", "the input itself", lambda x: x * x / 2, lambda g, x: x if (g == 1).all() else g * x, np.array(1.0))
plant(
    "memory",
    "strides of the input",
    np.sin,
    lambda g, x: g * np.cos(x.ravel("K")).reshape(x.shape),
    X,
    says="takes memory to be contiguous",
)
SINGLE = X.astype(np.float32)
plant("dtype", "float64 gradient of float32", np.sin, lambda g, x: np.cos(x.astype(np.float64)) * g, SINGLE)
plant("dtype", "float64 result of float32", lambda x: np.sin(x) * np.float64(2), lambda g, x: 2 * g * np.cos(x), SINGLE)
plant(
    "dtype",
    "float32 inside",
    np.sin,
    lambda g, x: (g * np.cos(x)).astype(np.float32).astype(np.float64),
    X,
    says="float32 inside",
)
plant("dtype", "float32 slope", np.sin, lambda g, x: g * np.cos(x.astype(np.float32)), X)
plant(
    "dtype",
    "wrong in float32 alone",
    np.sin,
    lambda g, x: g * np.cos(x) * (1.01 if g.dtype == np.float32 else 1),
    X,
    says="fits float64 alone",
)
plant("dtype", "integer inside", lambda x: 2.5 * x, lambda g, x: g * int(2.5), X, says="a factor 0.8 too many")
plant("nothing", "None", np.add, lambda g, a, b: (g.copy(), None), X, OTHER, says="a gradient that is None")
plant("nothing", "zeros", lambda x: np.sin(x), lambda g, x: np.zeros_like(x), X, says="a gradient that is lost")
plant(
    "nothing",
    "NaN at 0",
    lambda x: x**3,
    lambda g, x: 3 * g * x**3 / x,
    np.array([1.0, 0.0, -1.0, 2.0]),
    says="gradients that are not finite only where input 0 is 0",
)
plant("nothing", "NaN for a zero upstream", np.sin, lambda g, x: g * g / g * np.cos(x), X, says="0 / 0 or 0 * inf")
plant("nothing", "infinite", lambda x: 1 / x, lambda g, x: -g / (x - x), POSITIVE)
GENERATOR = np.random.default_rng(0)
plant("not deterministic", "forward", lambda x: x + GENERATOR.normal(), lambda g, x: g.copy(), X)
plant(
    "not deterministic",
    "backward",
    np.sin,
    lambda g, x: g * np.cos(x) * GENERATOR.choice([0.999, 1.001], x.shape),
    X,
    says="another gradient every time",
)
plant("shape", "one element too many", lambda x: x[:-1] * 1, lambda g, x: g.copy(), VECTOR)
plant("shape", "flattened", np.sin, lambda g, x: (g * np.cos(x)).reshape(-1), X)
plant(
    "shape", "too few gradients", lambda a, b, c: a * b * c, lambda g, a, b, c: (g * b * c, g * a * c), X, OTHER, X + 1
)
