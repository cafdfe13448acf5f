"""The workloads in PyTorch, eager, with its optimiser as it comes; `with_torch_fused` asks for the fused one."""

from itertools import cycle

import inputs
import torch
import torch.nn.functional as F
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
        self.source_embedding = nn.Embedding.from_pretrained(
            torch.from_numpy(weights["source_embedding"]), freeze=False
        )
        self.target_embedding = nn.Embedding.from_pretrained(
            torch.from_numpy(weights["target_embedding"]), freeze=False
        )
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
    model = RNNsearch(weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
    coming = cycle([tuple(map(torch.from_numpy, batch)) for batch in batches])

    def step():
        source, previous, target = next(coming)
        loss = F.cross_entropy(model(source, previous).flatten(0, 1), target.flatten())
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


@torch.no_grad()
def load_unit(unit: nn.Module, weights, name: str, suffix: str) -> None:
    getattr(unit, f"weight_ih{suffix}").copy_(torch.from_numpy(weights[f"{name}_W"].T))
    getattr(unit, f"weight_hh{suffix}").copy_(torch.from_numpy(weights[f"{name}_U"].T))
    getattr(unit, f"bias_ih{suffix}").copy_(torch.from_numpy(weights[f"{name}_b"]))
    getattr(unit, f"bias_hh{suffix}").copy_(torch.from_numpy(weights[f"{name}_c"]))


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


WORKLOADS = {"W1": w1, "W2": w2, "W3": w3, "W8-softmax": softmax, "W8-layernorm": layer_norm, "W8-gelu": gelu}
CANNOT: dict[str, str] = {}
