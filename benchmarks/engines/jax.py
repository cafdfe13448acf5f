"""JAX: each step is one jitted function."""

import os
from functools import partial
from itertools import count, cycle

import jax
import jax.numpy as jnp
from jax import lax
from jax.example_libraries import optimizers

from benchmarks.inputs import EPSILON

constant, concat, matmul, reshape, swapaxes = jnp.asarray, jnp.concatenate, jnp.matmul, jnp.reshape, jnp.swapaxes
split, stack, sum, tanh = jnp.split, partial(jnp.stack, axis=1), jnp.sum, jnp.tanh
gelu, relu, sigmoid, softmax = jax.nn.gelu, jax.nn.relu, jax.nn.sigmoid, jax.nn.softmax  # gelu: the tanh form


def use(threads) -> None:
    """Set the threads that XLA makes with the first array."""
    os.environ["NPROC"] = str(threads)


def linear(x, weight, bias=None):
    return x @ weight if bias is None else x @ weight + bias


def tied(x, embedding):
    return x @ embedding.T


def embed(table, ids):
    return table[ids]


def attend(q, k, v, causal):
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal)


def layer_norm(x, weight, bias):
    return jax.nn.standardize(x, epsilon=EPSILON) * weight + bias


def cross_entropy(logits, labels):
    of_label = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)
    return -jnp.mean(of_label)


def conv(x, weight, stride):
    return lax.conv_general_dilated(x, weight, (stride, stride), [(1, 1), (1, 1)])


def batch_norm(x, weight, bias, running, training):
    """The normalized x, and the running statistics after it."""
    mean, variance = running
    if training:
        mean, variance = jnp.mean(x, (0, 2, 3)), jnp.var(x, (0, 2, 3))
        unbiased = variance * (x.size / (x.size - x.shape[1]))
        running = [0.9 * old + 0.1 * new for old, new in zip(running, (mean, unbiased), strict=True)]
    mean, slope, bias = (each[:, None, None] for each in (mean, weight / jnp.sqrt(variance + EPSILON), bias))
    return (x - mean) * slope + bias, running


def mean_of_pixels(x):
    return jnp.mean(x, (2, 3))


def scaled(x, gates):
    return x * gates[:, :, None, None]


def pad_channels(x, new):
    return jnp.pad(x, ((0, 0), (0, new), (0, 0), (0, 0)))


# ---------------------------------------------------------------------------------------------- steps
def arrays(batches):
    return cycle([[jnp.asarray(array) for array in batch] for batch in batches])


def differentiated(loss_of, parameters):
    parameters = jax.tree.map(jnp.asarray, parameters)
    gradient = jax.jit(jax.value_and_grad(loss_of))

    def step():
        loss, _ = gradient(parameters)
        return float(loss)

    return step


def pulled_back(function, inputs, g, elements):
    inputs, g = jax.tree.map(jnp.asarray, (inputs, g))

    @jax.jit
    def both(inputs, g):
        y, pull_back = jax.vjp(function, inputs)
        (gradients,) = pull_back(g)
        element = jnp.sum(jnp.stack([gradients[name][index] for name, index in elements.items()]))
        return y, gradients, element  # y and the gradients, or they would not be computed

    def step():
        *_, element = jax.block_until_ready(both(inputs, g))
        return float(element)

    return step


def applied(function, inputs, element):
    inputs = jax.tree.map(jnp.asarray, inputs)
    function = jax.jit(function)

    def step():
        return float(function(inputs).block_until_ready()[element])

    return step


def trained(loss_of, parameters, batches):
    initial, updated, parameters_of = optimizers.adam(1e-3)

    @partial(jax.jit, donate_argnums=1)
    def advanced(number, state, *batch):
        loss, gradients = jax.value_and_grad(loss_of)(parameters_of(state), *batch)
        return loss, updated(number, gradients, state)

    state = initial(parameters)
    numbers, coming = count(), arrays(batches)

    def step():
        nonlocal state
        loss, state = advanced(next(numbers), state, *next(coming))
        return float(loss)

    return step


def trained_with_momentum(loss_of, p, running, batches, rate, momentum, decay):
    p, running = jax.tree.map(jnp.asarray, (p, running))
    velocity = jax.tree.map(jnp.zeros_like, p)
    coming = arrays(batches)

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def advanced(p, running, velocity, *batch):
        (loss, running), gradients = jax.value_and_grad(loss_of, has_aux=True)(p, running, *batch)
        velocity = jax.tree.map(lambda v, g, w: momentum * v + g + decay * w, velocity, gradients, p)
        return loss, jax.tree.map(lambda w, v: w - rate * v, p, velocity), running, velocity

    def step():
        nonlocal p, running, velocity
        loss, p, running, velocity = advanced(p, running, velocity, *next(coming))
        return float(loss)

    return step


def inferred(logits_of, p, batches):
    p, coming = jax.tree.map(jnp.asarray, p), arrays(batches)

    @jax.jit
    def largest(p, images):
        return jnp.max(logits_of(p, images))

    def step():
        return float(largest(p, next(coming)[0]))

    return step
