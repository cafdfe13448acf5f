"""W6, the residual network, and W7, one convolution, in JAX: each step is one jitted function."""

import os
from functools import partial
from itertools import cycle

import inputs
import jax
import jax.numpy as jnp
from jax import lax


def use(threads) -> None:
    """To be called before the first array is made: then XLA makes its threads."""
    os.environ["NPROC"] = str(threads)


def convolved(x, weight, stride=1):
    return lax.conv_general_dilated(x, weight, (stride, stride), [(1, 1), (1, 1)])


def network(p, running, images, se, training):
    """(the logits, the running statistics after this batch)."""
    after = {}

    def unit(name, x, stride=1):
        x = convolved(x, p[f"{name}_W"], stride)
        mean, variance = running[name]
        if training:
            mean, variance = jnp.mean(x, (0, 2, 3)), jnp.var(x, (0, 2, 3))
            unbiased = variance * (x.size / (x.size - x.shape[1]))
            after[name] = [0.9 * old + 0.1 * new for old, new in zip(running[name], (mean, unbiased), strict=True)]
        slope = p[f"{name}_norm_weight"] / jnp.sqrt(variance + inputs.EPSILON)
        return (x - along(mean)) * along(slope) + along(p[f"{name}_norm_bias"])

    def block(name, x, stride):
        y = unit(f"{name}_conv2", jax.nn.relu(unit(f"{name}_conv1", x, stride)))
        if se:
            hidden = jax.nn.relu(jnp.mean(y, (2, 3)) @ p[f"{name}_se_W_1"] + p[f"{name}_se_b_1"])
            y = y * jax.nn.sigmoid(hidden @ p[f"{name}_se_W_2"] + p[f"{name}_se_b_2"])[:, :, None, None]
        if stride > 1:
            x = x[:, :, ::stride, ::stride]
            x = jnp.pad(x, ((0, 0), (0, y.shape[1] - x.shape[1]), (0, 0), (0, 0)))
        return jax.nn.relu(y + x)

    x = jax.nn.relu(unit("conv", images))
    for stage in (1, 2, 3):
        for number in range(1, inputs.BLOCKS + 1):
            x = block(f"stage{stage}_block{number}", x, 2 if stage > 1 and number == 1 else 1)
    return jnp.mean(x, (2, 3)) @ p["classifier_W"] + p["classifier_b"], after


def along(vector):
    return vector[:, None, None]


def set_up(threads, se):
    use(threads)
    weights, batches = inputs.resnet(se)
    p = {name: jnp.asarray(weight) for name, weight in weights.items()}
    running = {
        name.removesuffix("_norm_weight"): [jnp.zeros_like(weight), jnp.ones_like(weight)]
        for name, weight in p.items()
        if name.endswith("_norm_weight")
    }
    return p, running, cycle([[jnp.asarray(array) for array in batch] for batch in batches])


def training(threads, se=False):
    p, running, coming = set_up(threads, se)
    velocity = {name: jnp.zeros_like(weight) for name, weight in p.items()}

    @partial(jax.value_and_grad, has_aux=True)
    def loss_of(p, running, images, labels):
        logits, after = network(p, running, images, se, training=True)
        of_label = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
        return -jnp.mean(of_label), after

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def advanced(p, running, velocity, images, labels):
        (loss, running), gradients = loss_of(p, running, images, labels)
        gradients = jax.tree.map(lambda g, w: g + inputs.DECAY * w, gradients, p)
        velocity = jax.tree.map(lambda v, g: inputs.MOMENTUM * v + g, velocity, gradients)
        return loss, jax.tree.map(lambda w, v: w - inputs.RATE * v, p, velocity), running, velocity

    def step():
        nonlocal p, running, velocity
        loss, p, running, velocity = advanced(p, running, velocity, *next(coming))
        return float(loss)

    return step


def training_se(threads):
    return training(threads, se=True)


def inference(threads, se=False):
    p, running, coming = set_up(threads, se)

    @jax.jit
    def largest(p, running, images):
        return jnp.max(network(p, running, images, se, training=False)[0])

    def step():
        return float(largest(p, running, next(coming)[0]))

    return step


def inference_se(threads):
    return inference(threads, se=True)


def forward(threads):
    use(threads)
    arrays = {name: jnp.asarray(array) for name, array in inputs.convolution().items()}
    convolution = jax.jit(convolved)

    def step():
        y = convolution(arrays["x"], arrays["weight"]).block_until_ready()
        return float(y[inputs.PIXEL])

    return step


def forward_and_backward(threads):
    use(threads)
    arrays = {name: jnp.asarray(array) for name, array in inputs.convolution().items()}

    @jax.jit
    def gradients(x, weight, g):
        y, pullback = jax.vjp(convolved, x, weight)
        return y, *pullback(g)

    def step():
        _, dx, dw = jax.block_until_ready(gradients(arrays["x"], arrays["weight"], arrays["g"]))
        return float(dw[inputs.TAP]) + float(dx[inputs.PIXEL])

    return step
