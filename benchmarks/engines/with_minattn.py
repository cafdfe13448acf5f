"""The workloads in minattn."""

from itertools import cycle, pairwise

import inputs
import numpy as np
from engines import resnet_in_minattn
from threadpoolctl import threadpool_limits

import minattn as ma
from minattn import nn
from minattn.attention.sequence import AdditiveAttention, attentive_gru
from minattn.data.batching import deal_rows
from minattn.models.sequence.language_model import LanguageModel, LanguageModelConfig
from minattn.models.sequence.transformer import Transformer, TransformerConfig
from minattn.training import Adam, DataParallel

ma.keep_freed_memory()  # as its training loop does


def version() -> str:
    return ma.__version__


def w1(threads):
    arrays = inputs.chain()
    x0 = ma.tensor(arrays["x"])
    w, b = ma.tensor(arrays["w"], requires_grad=True), ma.tensor(arrays["b"], requires_grad=True)

    def step():
        w.grad = b.grad = None
        x = x0
        for _ in range(inputs.LINKS):
            x = ma.tanh(x * w + b)
        loss = x.sum()
        loss.backward()
        return loss.item()

    return step


class MLP(nn.Module):
    def __init__(self, rng) -> None:
        self.layers = [nn.Linear(i, o, rng) for i, o in pairwise(inputs.LAYERS)]

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = ma.relu(layer(x))
        return self.layers[-1](x)


def w2(threads):
    weights, batches = inputs.mlp()
    model = MLP(np.random.default_rng(0))
    model.load_state_dict(
        {f"layers.{i}.weight": weights[f"W{i + 1}"] for i in range(3)}
        | {f"layers.{i}.bias": weights[f"b{i + 1}"] for i in range(3)}
    )
    optimizer = Adam(model.named_parameters(), lr=1e-3)
    coming = cycle(batches)

    def step():
        images, labels = next(coming)
        loss = ma.cross_entropy(model(ma.tensor(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class RNNsearch(nn.Module):
    def __init__(self, rng) -> None:
        n, annotation = inputs.STATE, 2 * inputs.STATE
        self.source_embedding = nn.Embedding(inputs.WORDS, inputs.EMBEDDING, rng)
        self.target_embedding = nn.Embedding(inputs.WORDS, inputs.EMBEDDING, rng)
        self.encoder = nn.BidirectionalGRU(inputs.EMBEDDING, n, rng)
        self.first_state = nn.Linear(n, n, rng)
        self.attention = AdditiveAttention(n, annotation, inputs.ALIGNMENT, rng)
        self.decoder = nn.GRU(inputs.EMBEDDING, n, rng)
        self.C = nn.initializers.glorot_uniform((annotation, 3 * n), rng)
        self.readout = nn.Linear(n + annotation, inputs.WORDS, rng)

    def forward(self, source, previous):
        annotations = self.encoder(self.source_embedding(source))
        state = ma.tanh(self.first_state(annotations[:, 0, inputs.STATE :]))
        projected = self.decoder.project(self.target_embedding(previous))
        keys, W_a, v_a = self.attention.keys(annotations), self.attention.W_a, self.attention.v_a
        states, contexts, _ = attentive_gru(projected, state, keys, annotations, W_a, v_a, self.C, self.decoder.U)
        return self.readout(ma.concat([states, contexts], axis=-1))


def w3(threads):
    weights, batches = inputs.rnnsearch()
    model = RNNsearch(np.random.default_rng(0))
    model.load_state_dict(rnnsearch_state(weights))
    optimizer = Adam(model.named_parameters(), lr=1e-3)
    coming = cycle(batches)

    def step():
        source, previous, target = next(coming)
        loss = ma.cross_entropy(model(source, previous), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def rnnsearch_state(weights):
    """The weights under the model's names, the blocks of a gated unit in the order update, reset, candidate."""
    state = {
        "source_embedding.weight": weights["source_embedding"],
        "target_embedding.weight": weights["target_embedding"],
        "first_state.weight": weights["W_s"],
        "first_state.bias": weights["b_s"],
        "attention.W_a": weights["W_a"],
        "attention.U_a": weights["U_a"],
        "attention.v_a": weights["v"],
        "readout.weight": weights["W_o"],
        "readout.bias": weights["b_o"],
    }
    units = {"encoder.forwards": "forwards", "encoder.backwards": "backwards", "decoder": "decoder"}
    for path, name in units.items():
        for own, given in ("W", "W"), ("U", "U"), ("bias", "b"):
            reset, update, candidate = np.split(weights[f"{name}_{given}"], 3, axis=-1)
            # minattn's update gate says how much is renewed, the others' how much is kept: sigma(-a) = 1 - sigma(a)
            state[f"{path}.{own}"] = np.concatenate([-update, reset, candidate], axis=-1)
    state["decoder.W"], state["C"] = np.split(state["decoder.W"], [inputs.EMBEDDING])  # the word, the context
    return state


def w4(threads):
    weights, batches = inputs.transformer()
    layers, d_model, d_ff, heads = inputs.TRANSFORMER
    config = TransformerConfig(
        source_vocab_size=inputs.WORDS,
        target_vocab_size=inputs.WORDS,
        layers=layers,
        d_model=d_model,
        d_ff=d_ff,
        heads=heads,
        dropout=0.0,
        tied="target",
        layer_norm_eps=inputs.EPSILON,
    )
    model = Transformer(config, np.random.default_rng(0))
    model.load_state_dict(transformer_state(weights))
    return trained(model, batches, threads)


def w5(threads):
    weights, batches = inputs.language_model()
    layers, d_model, d_ff, heads = inputs.LANGUAGE_MODEL
    config = LanguageModelConfig(
        vocab_size=inputs.BYTES,
        layers=layers,
        d_model=d_model,
        d_ff=d_ff,
        heads=heads,
        max_length=inputs.CONTEXT,
        biases=False,
        layer_norm_eps=inputs.EPSILON,
    )
    model = LanguageModel(config, np.random.default_rng(0))
    model.load_state_dict(language_model_state(weights))
    return trained(model, batches, threads)


class Batch(tuple):
    """Arrays with a row for each sentence; the last has the words that a Transformer of all others is to predict."""

    def split(self, parts):
        return [(Batch(array[rows] for array in self), share) for rows, share in deal_rows(len(self[0]), parts)]


def mean_loss(model, batch):
    *given, target = batch
    return ma.cross_entropy(model(*given), target)


def trained(model, batches, threads):
    """A step of Adam on the next batch, which the threads share; BLAS has one thread in each of them."""
    threadpool_limits(1, user_api="blas")
    parallel = DataParallel(model, mean_loss, threads)
    optimizer = Adam(model.named_parameters(), lr=1e-3)
    coming = cycle(map(Batch, batches))

    def step():
        optimizer.zero_grad()
        loss = parallel.backward(next(coming))
        optimizer.step()
        return float(loss)

    return step


def transformer_state(weights):
    """The weights under the model's names."""
    state = {f"{side}_embedding.weight": weights[f"{side}_embedding"] for side in ("source", "target")}
    for i in range(inputs.TRANSFORMER.layers):
        state |= layer_state(weights, f"encoder{i + 1}", f"encoder.{i}", {"self": "self_attention"})
        state |= layer_state(
            weights, f"decoder{i + 1}", f"decoder.{i}", {"self": "self_attention", "across": "cross_attention"}
        )
    return state


def language_model_state(weights):
    """The weights under the model's names."""
    state = {"embedding.weight": weights["embedding"], "positions.weight": weights["positions"]}
    state |= {"norm.weight": weights["norm_weight"], "norm.bias": weights["norm_bias"]}
    for i in range(inputs.LANGUAGE_MODEL.layers):
        state |= layer_state(weights, f"layer{i + 1}", f"layers.{i}", {"self": "self_attention"})
    return state


def layer_state(weights, name, path, attentions):
    """The weights of the layer `name` under the names of that at `path`; attentions: given name -> own name."""
    own_names = {f"{name}_forward_{part}": f"{path}.feed_forward.{part}" for part in ("W_1", "b_1", "W_2", "b_2")}
    for given, own in attentions.items():
        own_names |= {f"{name}_{given}_W_{part}": f"{path}.{own}.W_{part}" for part in "QKVO"}
    for i in range(1, len(attentions) + 2):
        own_names |= {f"{name}_norm{i}_{part}": f"{path}.norm_{i}.{part}" for part in ("weight", "bias")}
    return {own: weights[given] for given, own in own_names.items()}


def w8(function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    arrays = inputs.rows()
    x, *parameters = (ma.tensor(arrays[name], requires_grad=True) for name in ("x", *names))

    def step():
        for tensor in (x, *parameters):
            tensor.grad = None
        function(x, *parameters).backward(arrays["g"])
        return x.grad[inputs.ELEMENT].item()

    return step


def softmax(threads):
    return w8(ma.softmax)


def layer_norm(threads):
    return w8(ma.layer_norm, "weight", "bias")


def gelu(threads):
    return w8(ma.gelu_tanh)


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W6": resnet_in_minattn.training,
    "W6se": resnet_in_minattn.training_se,
    "W6i": resnet_in_minattn.inference,
    "W6sei": resnet_in_minattn.inference_se,
    "W7-forward": resnet_in_minattn.forward,
    "W7-backward": resnet_in_minattn.forward_and_backward,
    "W8-softmax": softmax,
    "W8-layernorm": layer_norm,
    "W8-gelu": gelu,
}
CANNOT: dict[str, str] = {}
