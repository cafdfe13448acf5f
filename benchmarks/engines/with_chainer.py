"""The workloads in Chainer, with its type checks off, as its manual advises where speed counts."""

from itertools import cycle

import chainer
import chainer.functions as F
import chainer.links as L
import inputs
import numpy as np
from chainer import Chain, ChainList, Parameter, Variable
from engines import resnet_in_chainer

chainer.config.type_check = False


def version() -> str:
    return chainer.__version__


def w1(threads):
    arrays = inputs.chain()
    w, b = Parameter(arrays["w"]), Parameter(arrays["b"])

    def step():
        w.cleargrad()
        b.cleargrad()
        x = Variable(arrays["x"])
        for _ in range(inputs.LINKS):
            x = F.tanh(x * w + b)
        loss = F.sum(x)
        loss.backward()
        return loss.item()

    return step


def trained(model, batches):
    """A step of Adam on the next batch; model(*batch) is the loss."""
    optimizer = chainer.optimizers.Adam(alpha=1e-3)
    optimizer.setup(model)
    coming = cycle(batches)

    def step():
        loss = model(*next(coming))
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss.item()

    return step


def linear(weight, bias=None):
    """A layer that starts from weight (inputs, outputs)."""
    return L.Linear(*weight.shape, nobias=bias is None, initialW=weight.T.copy(), initial_bias=bias)


class MLP(Chain):
    def __init__(self, weights) -> None:
        super().__init__()
        with self.init_scope():
            self.first = linear(weights["W1"], weights["b1"])
            self.second = linear(weights["W2"], weights["b2"])
            self.third = linear(weights["W3"], weights["b3"])

    def forward(self, images, labels):
        x = F.relu(self.second(F.relu(self.first(images))))
        return F.softmax_cross_entropy(self.third(x), labels)


def w2(threads):
    weights, batches = inputs.mlp()
    return trained(MLP(weights), [(images, labels.astype(np.int32)) for images, labels in batches])


class GatedUnit(Chain):
    """The reset-after GRU, which Chainer has for whole sequences only, and slower."""

    def __init__(self, weights, name) -> None:
        super().__init__()
        with self.init_scope():
            self.input = linear(weights[f"{name}_W"], weights[f"{name}_b"])
            self.recurrent = linear(weights[f"{name}_U"], weights[f"{name}_c"])

    def forward(self, x, state):
        """One step; x: self.input of what is read."""
        r_x, z_x, n_x = F.split_axis(x, 3, axis=1)
        r_h, z_h, n_h = F.split_axis(self.recurrent(state), 3, axis=1)
        z = F.sigmoid(z_x + z_h)
        n = F.tanh(n_x + F.sigmoid(r_x + r_h) * n_h)
        return n + z * (state - n)


def read(unit, words, order):
    """The states of the unit after each of the words (length * pairs, embedding), read in this order: 1 or -1."""
    state, states = Variable(np.zeros((inputs.PAIRS, inputs.STATE), np.float32)), []
    for x in F.split_axis(unit.input(words), inputs.LENGTH, axis=0)[::order]:
        state = unit(x, state)
        states.append(state)
    return states[::order]


class RNNsearch(Chain):
    def __init__(self, weights) -> None:
        super().__init__()
        with self.init_scope():
            self.source_embedding = L.EmbedID(inputs.WORDS, inputs.EMBEDDING, weights["source_embedding"])
            self.target_embedding = L.EmbedID(inputs.WORDS, inputs.EMBEDDING, weights["target_embedding"])
            self.forwards = GatedUnit(weights, "forwards")
            self.backwards = GatedUnit(weights, "backwards")
            self.first_state = linear(weights["W_s"], weights["b_s"])
            self.query = linear(weights["W_a"])
            self.key = linear(weights["U_a"])
            self.energy = linear(weights["v"][:, None])
            self.decoder = GatedUnit(weights, "decoder")
            self.readout = linear(weights["W_o"], weights["b_o"])

    def forward(self, source, previous, target):
        words = self.source_embedding(source.T.ravel())
        forwards, backwards = read(self.forwards, words, 1), read(self.backwards, words, -1)
        annotations = F.concat([F.stack(forwards, axis=1), F.stack(backwards, axis=1)], axis=2)
        keys = self.key(annotations, n_batch_axes=2)
        state = F.tanh(self.first_state(backwards[0]))
        outputs = []
        for word in F.separate(self.target_embedding(previous.T)):
            hidden = F.tanh(F.expand_dims(self.query(state), 1) + keys)
            weights = F.softmax(self.energy(hidden, n_batch_axes=2), axis=1)
            context = F.squeeze(F.matmul(weights, annotations, transa=True), 1)
            state = self.decoder(self.decoder.input(F.concat([word, context])), state)
            outputs.append(F.concat([state, context]))
        return F.softmax_cross_entropy(self.readout(F.concat(outputs, axis=0)), target.T.ravel())


def w3(threads):
    weights, batches = inputs.rnnsearch()
    return trained(RNNsearch(weights), [tuple(ids.astype(np.int32) for ids in batch) for batch in batches])


class Attention(Chain):
    """Multi-head."""

    def __init__(self, weights, name, length, heads, causal=False) -> None:
        super().__init__()
        self.length, self.heads = length, heads
        self.mask = np.triu(np.full((length, length), -1e9, np.float32), 1) if causal else None
        with self.init_scope():
            self.queries = linear(weights[f"{name}_W_Q"])
            self.keys = linear(weights[f"{name}_W_K"])
            self.values = linear(weights[f"{name}_W_V"])
            self.output = linear(weights[f"{name}_W_O"])

    def forward(self, x, memory):
        """x (batch * length, d) attends to memory."""
        q, k, v = map(self.heads_of, (self.queries(x), self.keys(memory), self.values(memory)))
        scores = F.matmul(q * q.shape[-1] ** -0.5, k, transb=True)
        scores = scores if self.mask is None else scores + self.mask
        context = F.matmul(F.softmax(scores, axis=3), v)
        return self.output(F.reshape(F.swapaxes(context, 1, 2), x.shape))

    def heads_of(self, projected):
        d_k = projected.shape[1] // self.heads
        return F.swapaxes(F.reshape(projected, (-1, self.length, self.heads, d_k)), 1, 2)


class FeedForward(Chain):
    def __init__(self, weights, name, activation) -> None:
        super().__init__()
        self.activation = activation
        with self.init_scope():
            self.first = linear(weights[f"{name}_W_1"], weights[f"{name}_b_1"])
            self.second = linear(weights[f"{name}_W_2"], weights[f"{name}_b_2"])

    def forward(self, x):
        return self.second(self.activation(self.first(x)))


def norm(weights, name):
    """Starts from weights of 1 and biases of 0, as the inputs do."""
    return L.LayerNormalization(weights[f"{name}_weight"].size, eps=inputs.EPSILON)


class EncoderLayer(Chain):
    """Post-norm."""

    def __init__(self, weights, name) -> None:
        super().__init__()
        with self.init_scope():
            self.attention = Attention(weights, f"{name}_self", inputs.LENGTH, inputs.TRANSFORMER.heads)
            self.feed_forward = FeedForward(weights, f"{name}_forward", F.relu)
            self.norm_1, self.norm_2 = (norm(weights, f"{name}_norm{i}") for i in (1, 2))

    def forward(self, x):
        x = self.norm_1(x + self.attention(x, x))
        return self.norm_2(x + self.feed_forward(x))


class DecoderLayer(Chain):
    """Post-norm."""

    def __init__(self, weights, name) -> None:
        super().__init__()
        length, heads = inputs.LENGTH, inputs.TRANSFORMER.heads
        with self.init_scope():
            self.self_attention = Attention(weights, f"{name}_self", length, heads, causal=True)
            self.attention = Attention(weights, f"{name}_across", length, heads)
            self.feed_forward = FeedForward(weights, f"{name}_forward", F.relu)
            self.norm_1, self.norm_2, self.norm_3 = (norm(weights, f"{name}_norm{i}") for i in (1, 2, 3))

    def forward(self, x, memory):
        x = self.norm_1(x + self.self_attention(x, x))
        x = self.norm_2(x + self.attention(x, memory))
        return self.norm_3(x + self.feed_forward(x))


class Transformer(Chain):
    def __init__(self, weights) -> None:
        super().__init__()
        layers, d_model, _, _ = inputs.TRANSFORMER
        self.positions, self.scale = np.tile(inputs.sinusoids(), (inputs.PAIRS, 1)), d_model**0.5
        with self.init_scope():
            self.source_embedding = L.EmbedID(inputs.WORDS, d_model, weights["source_embedding"])
            self.target_embedding = L.EmbedID(inputs.WORDS, d_model, weights["target_embedding"])
            self.encoder = ChainList(*(EncoderLayer(weights, f"encoder{i}") for i in range(1, layers + 1)))
            self.decoder = ChainList(*(DecoderLayer(weights, f"decoder{i}") for i in range(1, layers + 1)))

    def forward(self, source, previous, target):
        memory = self.source_embedding(source.ravel()) * self.scale + self.positions
        for layer in self.encoder:
            memory = layer(memory)
        x = self.target_embedding(previous.ravel()) * self.scale + self.positions
        for layer in self.decoder:
            x = layer(x, memory)
        return F.softmax_cross_entropy(F.linear(x, self.target_embedding.W), target.ravel())


def w4(threads):
    weights, batches = inputs.transformer()
    return trained(Transformer(weights), [tuple(ids.astype(np.int32) for ids in batch) for batch in batches])


class Block(Chain):
    """Pre-norm, causal."""

    def __init__(self, weights, name) -> None:
        super().__init__()
        heads = inputs.LANGUAGE_MODEL.heads
        with self.init_scope():
            self.attention = Attention(weights, f"{name}_self", inputs.CONTEXT, heads, causal=True)
            self.feed_forward = FeedForward(weights, f"{name}_forward", gelu)
            self.norm_1, self.norm_2 = (norm(weights, f"{name}_norm{i}") for i in (1, 2))

    def forward(self, x):
        y = self.norm_1(x)
        x = x + self.attention(y, y)
        return x + self.feed_forward(self.norm_2(x))


class LanguageModel(Chain):
    def __init__(self, weights) -> None:
        super().__init__()
        layers, d_model, _, _ = inputs.LANGUAGE_MODEL
        self.scale = d_model**0.5
        with self.init_scope():
            self.embedding = L.EmbedID(inputs.BYTES, d_model, weights["embedding"])
            self.positions = Parameter(weights["positions"])
            self.layers = ChainList(*(Block(weights, f"layer{i}") for i in range(1, layers + 1)))
            self.norm = norm(weights, "norm")

    def forward(self, source, target):
        x = self.embedding(source) * self.scale + self.positions
        x = F.reshape(x, (-1, x.shape[2]))
        for layer in self.layers:
            x = layer(x)
        return F.softmax_cross_entropy(F.linear(self.norm(x), self.embedding.W), target.ravel())


def w5(threads):
    weights, batches = inputs.language_model()
    return trained(LanguageModel(weights), [tuple(ids.astype(np.int32) for ids in batch) for batch in batches])


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    arrays = inputs.rows()
    x, *parameters = (Parameter(arrays[name]) for name in ("x", *names))

    def step():
        for parameter in (x, *parameters):
            parameter.cleargrad()
        y = function(x, *parameters)
        y.grad = arrays["g"]
        y.backward()
        return x.grad[inputs.ELEMENT].item()

    return step


def softmax(x):
    return F.softmax(x, axis=1)


def layer_norm(x, weight, bias):
    return F.layer_normalization(x, weight, bias, eps=inputs.EPSILON)


def gelu(x):
    """0.5 x (1 + tanh u) = x sigma(2 u) for u = sqrt(2 / pi) (x + 0.044715 x^3).  (F.gelu is the exact form.)"""
    return x * F.sigmoid(x * (1.5957691216 + 0.0713548163 * F.square(x)))


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W6": resnet_in_chainer.training,
    "W6se": resnet_in_chainer.training_se,
    "W6i": resnet_in_chainer.inference,
    "W6sei": resnet_in_chainer.inference_se,
    "W7-forward": resnet_in_chainer.forward,
    "W7-backward": resnet_in_chainer.forward_and_backward,
    "W8-softmax": lambda threads: w8(softmax),
    "W8-layernorm": lambda threads: w8(layer_norm, "weight", "bias"),
    "W8-gelu": lambda threads: w8(gelu),
}
CANNOT: dict[str, str] = {}
