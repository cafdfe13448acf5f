"""The workloads in JAX: each step is one jitted function."""

import os
from functools import partial
from itertools import count, cycle

import inputs
import jax
import jax.numpy as jnp
from engines import resnet_in_jax
from jax import lax
from jax.example_libraries import optimizers


def version() -> str:
    return jax.__version__


def use(threads) -> None:
    """To be called before the first array is made: then XLA makes its threads."""
    os.environ["NPROC"] = str(threads)


def w1(threads):
    use(threads)
    arrays = {name: jnp.asarray(array) for name, array in inputs.chain().items()}

    @jax.jit
    @partial(jax.value_and_grad, argnums=(1, 2))
    def chain(x, w, b):
        return jnp.sum(lax.fori_loop(0, inputs.LINKS, lambda _, x: jnp.tanh(x * w + b), x))

    def step():
        loss, _ = chain(arrays["x"], arrays["w"], arrays["b"])
        return float(loss)

    return step


def trained(loss_of, weights, batches):
    """A step of Adam on the next batch; loss_of(parameters, *batch)."""
    initial, updated, parameters_of = optimizers.adam(1e-3)

    @partial(jax.jit, donate_argnums=1)
    def advanced(number, state, *batch):
        loss, gradients = jax.value_and_grad(loss_of)(parameters_of(state), *batch)
        return loss, updated(number, gradients, state)

    state = initial(weights)
    numbers, coming = count(), cycle([[jnp.asarray(array) for array in batch] for batch in batches])

    def step():
        nonlocal state
        loss, state = advanced(next(numbers), state, *next(coming))
        return float(loss)

    return step


def cross_entropy(logits, labels):
    of_label = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)
    return -jnp.mean(of_label)


def w2(threads):
    use(threads)

    def loss_of(p, images, labels):
        x = jax.nn.relu(images @ p["W1"] + p["b1"])
        x = jax.nn.relu(x @ p["W2"] + p["b2"])
        return cross_entropy(x @ p["W3"] + p["b3"], labels)

    return trained(loss_of, *inputs.mlp())


def gru_cell(x, state, U, c):
    """One step of the reset-after GRU; x: the input's part, W x + b."""
    r_x, z_x, n_x = jnp.split(x, 3, axis=1)
    r_h, z_h, n_h = jnp.split(state @ U + c, 3, axis=1)
    z = jax.nn.sigmoid(z_x + z_h)
    n = jnp.tanh(n_x + jax.nn.sigmoid(r_x + r_h) * n_h)
    return n + z * (state - n)


def read(words, p, name, reverse=False):
    """The states (length, pairs, n) of a gated unit after each of the words (length, pairs, embedding)."""

    def advance(state, x):
        state = gru_cell(x, state, p[f"{name}_U"], p[f"{name}_c"])
        return state, state

    before = jnp.zeros((inputs.PAIRS, inputs.STATE))
    _, states = lax.scan(advance, before, words @ p[f"{name}_W"] + p[f"{name}_b"], reverse=reverse, unroll=True)
    return states


def rnnsearch(p, source, previous):
    """Logits (length, pairs, words)."""
    words = p["source_embedding"][source.T]
    backwards = read(words, p, "backwards", reverse=True)
    annotations = jnp.concatenate([read(words, p, "forwards"), backwards], axis=2).swapaxes(0, 1)
    keys = annotations @ p["U_a"]

    def advance(state, word):
        energies = jnp.tanh((state @ p["W_a"])[:, None] + keys) @ p["v"]
        context = jnp.einsum("bt,btd->bd", jax.nn.softmax(energies), annotations)
        x = jnp.concatenate([word, context], axis=1) @ p["decoder_W"] + p["decoder_b"]
        state = gru_cell(x, state, p["decoder_U"], p["decoder_c"])
        return state, jnp.concatenate([state, context], axis=1)

    first = jnp.tanh(backwards[0] @ p["W_s"] + p["b_s"])
    _, outputs = lax.scan(advance, first, p["target_embedding"][previous.T], unroll=True)
    return outputs @ p["W_o"] + p["b_o"]


def w3(threads):
    use(threads)

    def loss_of(p, source, previous, target):
        return cross_entropy(rnnsearch(p, source, previous), target.T)

    return trained(loss_of, *inputs.rnnsearch())


def attention(p, name, x, memory, heads, causal=False):
    """Multi-head attention of x (batch, length, d) over memory."""
    pairs = zip("QKV", (x, memory, memory), strict=True)
    q, k, v = ((y @ p[f"{name}_W_{part}"]).reshape(*y.shape[:2], heads, -1) for part, y in pairs)
    context = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
    return context.reshape(x.shape) @ p[f"{name}_W_O"]


def feed_forward(p, name, x, activation):
    hidden = activation(x @ p[f"{name}_W_1"] + p[f"{name}_b_1"])
    return hidden @ p[f"{name}_W_2"] + p[f"{name}_b_2"]


def norm(p, name, x):
    return layer_norm(x, p[f"{name}_weight"], p[f"{name}_bias"])


def transformer(p, source, previous):
    """Post-norm; logits (pairs, length, words)."""
    layers, d_model, _, heads = inputs.TRANSFORMER
    positions = jnp.asarray(inputs.sinusoids())
    x = p["source_embedding"][source] * d_model**0.5 + positions
    for layer in (f"encoder{i}" for i in range(1, layers + 1)):
        x = norm(p, f"{layer}_norm1", x + attention(p, f"{layer}_self", x, x, heads))
        x = norm(p, f"{layer}_norm2", x + feed_forward(p, f"{layer}_forward", x, jax.nn.relu))
    y = p["target_embedding"][previous] * d_model**0.5 + positions
    for layer in (f"decoder{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", y + attention(p, f"{layer}_self", y, y, heads, causal=True))
        y = norm(p, f"{layer}_norm2", y + attention(p, f"{layer}_across", y, x, heads))
        y = norm(p, f"{layer}_norm3", y + feed_forward(p, f"{layer}_forward", y, jax.nn.relu))
    return y @ p["target_embedding"].T


def w4(threads):
    use(threads)

    def loss_of(p, source, previous, target):
        return cross_entropy(transformer(p, source, previous), target)

    return trained(loss_of, *inputs.transformer())


def language_model(p, source):
    """Pre-norm; logits (texts, length, words)."""
    layers, d_model, _, heads = inputs.LANGUAGE_MODEL
    x = p["embedding"][source] * d_model**0.5 + p["positions"]
    for layer in (f"layer{i}" for i in range(1, layers + 1)):
        y = norm(p, f"{layer}_norm1", x)
        x = x + attention(p, f"{layer}_self", y, y, heads, causal=True)
        x = x + feed_forward(p, f"{layer}_forward", norm(p, f"{layer}_norm2", x), jax.nn.gelu)  # the tanh form
    return norm(p, "norm", x) @ p["embedding"].T


def w5(threads):
    use(threads)

    def loss_of(p, source, target):
        return cross_entropy(language_model(p, source), target)

    return trained(loss_of, *inputs.language_model())


def w8(threads, function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    use(threads)
    arrays = {name: jnp.asarray(array) for name, array in inputs.rows().items()}
    given = [arrays[name] for name in ("x", *names)]

    @jax.jit
    def both(g, *given):
        y, pull_back = jax.vjp(function, *given)
        gradients = pull_back(g)
        return y, gradients, gradients[0][inputs.ELEMENT]  # y, or it would not be computed

    def step():
        *_, element = both(arrays["g"], *given)
        return float(element)

    return step


def layer_norm(x, weight, bias):
    return jax.nn.standardize(x, epsilon=inputs.EPSILON) * weight + bias


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W6": resnet_in_jax.training,
    "W6se": resnet_in_jax.training_se,
    "W6i": resnet_in_jax.inference,
    "W6sei": resnet_in_jax.inference_se,
    "W7-forward": resnet_in_jax.forward,
    "W7-backward": resnet_in_jax.forward_and_backward,
    "W8-softmax": lambda threads: w8(threads, jax.nn.softmax),
    "W8-layernorm": lambda threads: w8(threads, layer_norm, "weight", "bias"),
    "W8-gelu": lambda threads: w8(threads, jax.nn.gelu),  # the tanh form
}
CANNOT: dict[str, str] = {}
