"""A whole training step runs on the fake as on NumPy, and never waits for the device."""

import numpy as np

import fakecupy
from fakecupy.samples import cp


def train(xp, to_device, steps):
    """The unread losses of a two-layer perceptron with layer norm, trained by Adam in plain array code."""
    rng = np.random.default_rng(2)

    def draw(*shape):
        return (0.1 * rng.standard_normal(shape)).astype("float32")

    host = [draw(20, 32), draw(32), 1 + draw(32), draw(32), draw(32, 10), draw(10)]
    parameters = [to_device(array) for array in host]
    means = [xp.zeros_like(p) for p in parameters]
    squares = [xp.zeros_like(p) for p in parameters]
    x, target, rows = to_device(draw(64, 20)), to_device(rng.integers(0, 10, 64)), xp.arange(64)
    fakecupy.stats.reset()
    losses = []
    with fakecupy.no_sync():
        for step in range(1, steps + 1):
            loss, gradients = loss_and_gradients(xp, parameters, x, target, rows)
            losses.append(loss)
            for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
                m *= 0.9
                m += 0.1 * g
                v *= 0.999
                v += 0.001 * g * g
                p -= 0.01 * (m / (1 - 0.9**step)) / (xp.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return losses


def loss_and_gradients(xp, parameters, x, target, rows):
    w1, b1, gain, shift, w2, b2 = parameters
    h = x @ w1 + b1
    centered = h - h.mean(-1, keepdims=True)
    scale = 1 / xp.sqrt((centered * centered).mean(-1, keepdims=True) + 1e-5)
    normed = centered * scale
    a = normed * gain + shift
    z = xp.maximum(a, 0)
    logits = z @ w2 + b2
    e = xp.exp(logits - logits.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    loss = -xp.log(p[rows, target]).mean()

    d_logits = p.copy()
    xp.add.at(d_logits, (rows, target), -1.0)
    d_logits /= len(rows)
    d_a = (d_logits @ w2.T) * (a > 0)
    d_normed = d_a * gain
    projected = normed * (d_normed * normed).mean(-1, keepdims=True)
    d_h = (d_normed - d_normed.mean(-1, keepdims=True) - projected) * scale
    d_gain, d_shift = (d_a * normed).sum(0), d_a.sum(0)
    return loss, [x.T @ d_h, d_h.sum(0), d_gain, d_shift, z.T @ d_logits, d_logits.sum(0)]


def test_a_training_step_agrees_with_numpy_and_never_waits():
    expected = train(np, np.array, 8)
    losses = train(cp, cp.asarray, 8)
    stats = fakecupy.stats
    assert (stats.syncs, stats.h2d) == (0, 0)
    assert 100 < stats.launches / 8 < 140
    assert all(loss.dtype == np.float32 for loss in losses)
    np.testing.assert_allclose([loss.item() for loss in losses], expected, rtol=1e-5)
    assert expected[-1] < 0.9 * expected[0]
    assert stats.syncs == 8
