"""Arrays for the tests of the fake."""

import numpy as np

import fakecupy

cp = fakecupy.cupy
special = fakecupy.cupyx.scipy.special


def numbers(*shape, dtype="float32"):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def on_device(values):
    """The values on the device, with the counters at zero afterwards."""
    array = cp.asarray(values)
    fakecupy.stats.reset()
    return array


def device(*shape, dtype="float32"):
    """Random numbers on the device."""
    return on_device(numbers(*shape, dtype=dtype))


def indices(*values):
    return on_device(np.array(values))


X, Y, HOST = device(4, 5), device(4, 5) + 1, numbers(4, 5)
BATCH = device(2, 4, 5)
MASK = X > 0
FIVE = cp.asarray(5)
