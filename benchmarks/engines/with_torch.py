"""The workloads in PyTorch, eager, with its optimizer as it comes; `with_torch_fused` asks for the fused one."""

from itertools import cycle

import inputs
import numpy as np
import torch
import torch.nn.functional as F
from engines import resnet_in_torch
from torch import Tensor, nn


def version() -> str:
    return str(torch.__version__)


def w1(threads):
    torch.set_num_threads(threads)
    arrays = inputs.chain()
    x0 = torch.from_numpy(arrays["x"])
    w = torch.from_numpy(arrays["w"]).requires_grad_()
    b = torch.from_numpy(arrays["b"]).requires_grad_()

    def step():
        w.grad = b.grad = None
        x = x0
        for _ in range(inputs.LINKS):
            x = torch.tanh(x * w + b)
        loss = x.sum()
        loss.backward()
        return loss.item()

    return step


def w2(threads, fused=False):
    torch.set_num_threads(threads)
    weights, batches = inputs.mlp()
    layers = [linear(weights[f"W{i}"], weights[f"b{i}"]) for i in (1, 2, 3)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    coming = cycle([(torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in batches])

    def step():
        images, labels = next(coming)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


class RNNsearch(nn.Module):
    def __init__(self, weights) -> None:
        super().__init__()
        n, annotation = inputs.STATE, 2 * inputs.STATE
        self.source_embedding = embedding(weights["source_embedding"])
        self.target_embedding = embedding(weights["target_embedding"])
        self.encoder = nn.GRU(inputs.EMBEDDING, n, batch_first=True, bidirectional=True)
        load_unit(self.encoder, weights, "forwards", "_l0")
        load_unit(self.encoder, weights, "backwards", "_l0_reverse")
        self.first_state = linear(weights["W_s"], weights["b_s"])
        self.query = linear(weights["W_a"])
        self.key = linear(weights["U_a"])
        self.energy = linear(weights["v"][:, None])
        self.decoder = nn.GRUCell(inputs.EMBEDDING + annotation, n)
        load_unit(self.decoder, weights, "decoder", "")
        self.readout = linear(weights["W_o"], weights["b_o"])

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        annotations, _ = self.encoder(self.source_embedding(source))
        keys = self.key(annotations)
        state = torch.tanh(self.first_state(annotations[:, 0, inputs.STATE :]))
        outputs = []
        for word in self.target_embedding(previous).unbind(1):
            energies = self.energy(torch.tanh(self.query(state)[:, None] + keys))
            context = (F.softmax(energies, dim=1).transpose(1, 2) @ annotations)[:, 0]
            state = self.decoder(torch.cat([word, context], 1), state)
            outputs.append(torch.cat([state, context], 1))
        return self.readout(torch.stack(outputs, 1))


def w3(threads, fused=False):
    torch.set_num_threads(threads)
    weights, batches = inputs.rnnsearch()
    return trained(RNNsearch(weights), batches, fused)


def trained(model: nn.Module, batches, fused: bool):
    """A step of Adam on the next batch, whose last part is the words that the model(*all others) is to predict."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    coming = cycle([tuple(map(torch.from_numpy, batch)) for batch in batches])

    def step():
        *given, target = next(coming)
        loss = F.cross_entropy(model(*given).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def linear(weight, bias=None) -> nn.Linear:
    """A layer that starts from weight (inputs, outputs)."""
    layer = nn.Linear(*weight.shape, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.T))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))
    return layer


def embedding(weight) -> nn.Embedding:
    return nn.Embedding.from_pretrained(torch.from_numpy(weight), freeze=False)


@torch.no_grad()
def load_unit(unit: nn.Module, weights, name: str, suffix: str) -> None:
    getattr(unit, f"weight_ih{suffix}").copy_(torch.from_numpy(weights[f"{name}_W"].T))
    getattr(unit, f"weight_hh{suffix}").copy_(torch.from_numpy(weights[f"{name}_U"].T))
    getattr(unit, f"bias_ih{suffix}").copy_(torch.from_numpy(weights[f"{name}_b"]))
    getattr(unit, f"bias_hh{suffix}").copy_(torch.from_numpy(weights[f"{name}_c"]))


class SelfAttention(nn.Module):
    """Queries, keys and values are one product, as in nn.MultiheadAttention."""

    def __init__(self, weights, name: str, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.queries_keys_values = linear(np.concatenate([weights[f"{name}_W_{part}"] for part in "QKV"], axis=1))
        self.output = linear(weights[f"{name}_W_O"])

    def forward(self, x: Tensor) -> Tensor:
        parts = self.queries_keys_values(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        context = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.output(context.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    def __init__(self, weights, name: str, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = linear(weights[f"{name}_W_Q"])
        self.keys_values = linear(np.concatenate([weights[f"{name}_W_{part}"] for part in "KV"], axis=1))
        self.output = linear(weights[f"{name}_W_O"])

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        parts = (self.queries(x), *self.keys_values(memory).chunk(2, dim=-1))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def feed_forward(weights, name: str, activation: nn.Module) -> nn.Module:
    first, second = (linear(weights[f"{name}_W_{i}"], weights[f"{name}_b_{i}"]) for i in (1, 2))
    return nn.Sequential(first, activation, second)


def norm(weights, name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(weights[f"{name}_weight"].size, eps=inputs.EPSILON)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights[f"{name}_weight"]))
        layer.bias.copy_(torch.from_numpy(weights[f"{name}_bias"]))
    return layer


class EncoderLayer(nn.Module):
    """Post-norm."""

    def __init__(self, weights, name: str) -> None:
        super().__init__()
        self.attention = SelfAttention(weights, f"{name}_self", inputs.TRANSFORMER.heads, causal=False)
        self.feed_forward = feed_forward(weights, f"{name}_forward", nn.ReLU())
        self.norm_1, self.norm_2 = (norm(weights, f"{name}_norm{i}") for i in (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_1(x + self.attention(x))
        return self.norm_2(x + self.feed_forward(x))


class DecoderLayer(nn.Module):
    """Post-norm."""

    def __init__(self, weights, name: str) -> None:
        super().__init__()
        self.self_attention = SelfAttention(weights, f"{name}_self", inputs.TRANSFORMER.heads, causal=True)
        self.attention = CrossAttention(weights, f"{name}_across", inputs.TRANSFORMER.heads)
        self.feed_forward = feed_forward(weights, f"{name}_forward", nn.ReLU())
        self.norm_1, self.norm_2, self.norm_3 = (norm(weights, f"{name}_norm{i}") for i in (1, 2, 3))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = self.norm_1(x + self.self_attention(x))
        x = self.norm_2(x + self.attention(x, memory))
        return self.norm_3(x + self.feed_forward(x))


class Transformer(nn.Module):
    def __init__(self, weights) -> None:
        super().__init__()
        self.source_embedding = embedding(weights["source_embedding"])
        self.target_embedding = embedding(weights["target_embedding"])
        self.register_buffer("positions", torch.from_numpy(inputs.sinusoids()))
        self.scale = inputs.TRANSFORMER.d_model**0.5
        numbers = range(1, inputs.TRANSFORMER.layers + 1)
        self.encoder = nn.Sequential(*(EncoderLayer(weights, f"encoder{i}") for i in numbers))
        self.decoder = nn.ModuleList(DecoderLayer(weights, f"decoder{i}") for i in numbers)

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        memory = self.encoder(self.source_embedding(source) * self.scale + self.positions)
        x = self.target_embedding(previous) * self.scale + self.positions
        for layer in self.decoder:
            x = layer(x, memory)
        return F.linear(x, self.target_embedding.weight)


def w4(threads, fused=False):
    torch.set_num_threads(threads)
    weights, batches = inputs.transformer()
    return trained(Transformer(weights), batches, fused)


class Block(nn.Module):
    """Pre-norm, causal."""

    def __init__(self, weights, name: str) -> None:
        super().__init__()
        self.attention = SelfAttention(weights, f"{name}_self", inputs.LANGUAGE_MODEL.heads, causal=True)
        self.feed_forward = feed_forward(weights, f"{name}_forward", nn.GELU("tanh"))
        self.norm_1, self.norm_2 = (norm(weights, f"{name}_norm{i}") for i in (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.feed_forward(self.norm_2(x))


class LanguageModel(nn.Module):
    def __init__(self, weights) -> None:
        super().__init__()
        self.embedding = embedding(weights["embedding"])
        self.positions = nn.Parameter(torch.from_numpy(weights["positions"]))
        self.scale = inputs.LANGUAGE_MODEL.d_model**0.5
        numbers = range(1, inputs.LANGUAGE_MODEL.layers + 1)
        self.layers = nn.Sequential(*(Block(weights, f"layer{i}") for i in numbers), norm(weights, "norm"))

    def forward(self, source: Tensor) -> Tensor:
        x = self.layers(self.embedding(source) * self.scale + self.positions)
        return F.linear(x, self.embedding.weight)


def w5(threads, fused=False):
    torch.set_num_threads(threads)
    weights, batches = inputs.language_model()
    return trained(LanguageModel(weights), batches, fused)


def w8(threads, function, *names):
    """A step of function(x, *the arrays with these names), forward and backward."""
    torch.set_num_threads(threads)
    arrays = {name: torch.from_numpy(array) for name, array in inputs.rows().items()}
    x, g = arrays["x"].requires_grad_(), arrays["g"]
    parameters = [arrays[name].requires_grad_() for name in names]

    def step():
        for tensor in (x, *parameters):
            tensor.grad = None
        function(x, *parameters).backward(g)
        return x.grad[inputs.ELEMENT].item()

    return step


def softmax(threads):
    return w8(threads, lambda x: F.softmax(x, dim=-1))


def layer_norm(threads):
    return w8(threads, lambda x, weight, bias: F.layer_norm(x, weight.shape, weight, bias), "weight", "bias")


def gelu(threads):
    return w8(threads, lambda x: F.gelu(x, approximate="tanh"))


WORKLOADS = {
    "W1": w1,
    "W2": w2,
    "W3": w3,
    "W4": w4,
    "W5": w5,
    "W6": resnet_in_torch.training,
    "W6se": resnet_in_torch.training_se,
    "W6i": resnet_in_torch.inference,
    "W6sei": resnet_in_torch.inference_se,
    "W7-forward": resnet_in_torch.forward,
    "W7-backward": resnet_in_torch.forward_and_backward,
    "W8-softmax": softmax,
    "W8-layernorm": layer_norm,
    "W8-gelu": gelu,
}
CANNOT: dict[str, str] = {}
