"""W10: Luong's network, stacked LSTMs with global attention and input feeding, trained with Adam."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, Sentences, matrix, normal, sentences
from benchmarks.workload import NEEDS_IMAGES, Limit, Workload, product

WORDS, EMBEDDING, STATE, LAYERS = 100, 64, 128, 2
LENGTH, PAIRS = 20, 64
SIDES = ("encoder", "decoder")


def data() -> tuple[Arrays, list[Sentences]]:
    """Parameters and batches.

    The products are x W, so a matrix is (inputs, outputs).  Layer i of a side has SIDE_W_i (inputs, 4n) and SIDE_U_i
    (n, 4n), its blocks in the order input, forget, candidate, output, and no biases.  The last rows of decoder_W_0
    belong to the attentional vector, those of W_c to the state.
    """
    rng = np.random.RandomState(10)
    p = {f"{side}_embedding": normal(rng, WORDS, EMBEDDING) for side in SIDES}
    for side, first in ("encoder", EMBEDDING), ("decoder", EMBEDDING + STATE):
        for i in range(LAYERS):
            p[f"{side}_W_{i}"] = matrix(rng, STATE if i else first, 4 * STATE)
            p[f"{side}_U_{i}"] = matrix(rng, STATE, 4 * STATE)
    p |= {"W_a": matrix(rng, STATE, STATE), "W_c": matrix(rng, 2 * STATE, STATE), "W_s": matrix(rng, STATE, WORDS)}
    return p, sentences(rng, WORDS, PAIRS, LENGTH)


def work() -> float:
    """Three times the products forward, as in the MLP; scores and contexts, products with vectors, do not count."""
    words = LENGTH * PAIRS
    above = (LAYERS - 1) * product(words, 2 * STATE, 4 * STATE)
    encoder = product(words, EMBEDDING + STATE, 4 * STATE) + above
    decoder = product(words, EMBEDDING + 2 * STATE, 4 * STATE) + above
    attention = product(words, STATE, STATE) + product(words, 2 * STATE, STATE)
    return 3 * (encoder + decoder + attention + product(words, STATE, WORDS))


def in_minattn(e):
    import minattn as ma
    from minattn.models import Luong, LuongConfig

    sizes = {"embedding": EMBEDDING, "hidden": STATE, "layers": LAYERS}
    config = LuongConfig(WORDS, WORDS, **sizes, attention="global", score="general", dropout=0.0)
    model = Luong(config, np.random.default_rng(0))
    parameters, batches = data()
    model.load_state_dict(state_dict(parameters))

    def loss_of(source, previous, target):
        return ma.cross_entropy(model(source, previous), target)

    return e.trained(model, loss_of, batches)


def state_dict(p):
    """The parameters under minattn's names, the blocks of a layer in the order input, forget, output, candidate."""
    state = {"attention.W_a": p["W_a"].T, "decoder.W_c": p["W_c"], "decoder.W_s": p["W_s"]}
    for side in SIDES:
        state[f"{side}.embedding.weight"] = p[f"{side}_embedding"]
        for own in "WU":
            for i in range(LAYERS):
                gates = np.split(p[f"{side}_{own}_{i}"], 4, axis=1)
                state[f"{side}.layers.{i}.{own}"] = np.concatenate([gates[block] for block in (0, 1, 3, 2)], axis=1)
    return state


def in_torch(e, fused=False):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Luong(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.source_embedding, self.target_embedding = (e.embedding(p[f"{side}_embedding"]) for side in SIDES)
            self.encoder = nn.LSTM(EMBEDDING, STATE, LAYERS, bias=False, batch_first=True)
            first = nn.LSTMCell(EMBEDDING + STATE, STATE, bias=False)
            self.cells = nn.ModuleList([first, *(nn.LSTMCell(STATE, STATE, bias=False) for _ in range(LAYERS - 1))])
            for i, cell in enumerate(self.cells):
                for own, given in ("weight_ih", "W"), ("weight_hh", "U"):
                    e.copy(getattr(self.encoder, f"{own}_l{i}"), p[f"encoder_{given}_{i}"].T)
                    e.copy(getattr(cell, own), p[f"decoder_{given}_{i}"].T)
            self.key, self.combine, self.readout = (e.linear(p[name]) for name in ("W_a", "W_c", "W_s"))

        def forward(self, source, previous):
            states, (hidden, cells) = self.encoder(self.source_embedding(source.flip(1)))
            keys = self.key(states)
            hidden, cells, vector, vectors = list(hidden), list(cells), torch.zeros_like(hidden[0]), []
            for word in self.target_embedding(previous).unbind(1):
                x = torch.cat([word, vector], 1)
                for i, cell in enumerate(self.cells):
                    x, cells[i] = cell(x, (hidden[i], cells[i]))
                    hidden[i] = x
                weights = F.softmax((keys @ x[:, :, None])[:, :, 0], dim=1)
                context = (weights[:, None] @ states)[:, 0]
                vector = torch.tanh(self.combine(torch.cat([context, x], 1)))
                vectors.append(vector)
            return self.readout(torch.stack(vectors, 1))

    parameters, batches = data()
    return e.trained(Luong(parameters), batches, fused)


def in_others(e):
    """One word after another; the inputs of the encoder's layers are one product each."""

    def lstm_cell(x, state, cell, U):
        """One step; x: the input's part, x W."""
        i, f, g, o = e.split(x + e.linear(state, U), 4, 1)
        cell = e.sigmoid(f) * cell + e.sigmoid(i) * e.tanh(g)
        return e.sigmoid(o) * e.tanh(cell), cell

    def read(p, words):
        """The states of the last layer, and the last state and cell of each, of words (length * pairs, embedding)."""
        last = []
        for layer in range(LAYERS):
            state = cell = e.constant(np.zeros((PAIRS, STATE), np.float32))
            states = []
            for x in e.split(e.linear(words, p[f"encoder_W_{layer}"]), LENGTH, 0):
                state, cell = lstm_cell(x, state, cell, p[f"encoder_U_{layer}"])
                states.append(state)
            last.append((state, cell))
            words = e.concat(states, 0)
        return states, last

    def loss_of(p, source, previous, target):
        states, last = read(p, e.embed(p["encoder_embedding"], source[:, ::-1].T.ravel()))
        states = e.stack(states)
        keys = e.linear(states, p["W_a"])
        vector, vectors = e.constant(np.zeros((PAIRS, STATE), np.float32)), []
        for word in e.split(e.embed(p["decoder_embedding"], previous.T.ravel()), LENGTH, 0):
            x = e.concat([word, vector], 1)
            for layer in range(LAYERS):
                state, cell = last[layer]
                last[layer] = lstm_cell(e.linear(x, p[f"decoder_W_{layer}"]), state, cell, p[f"decoder_U_{layer}"])
                x = last[layer][0]
            scores = e.reshape(e.matmul(keys, e.reshape(x, (PAIRS, STATE, 1))), (PAIRS, LENGTH))
            context = e.matmul(e.reshape(e.softmax(scores), (PAIRS, 1, LENGTH)), states)
            vector = e.tanh(e.linear(e.concat([e.reshape(context, (PAIRS, STATE)), x], 1), p["W_c"]))
            vectors.append(vector)
        return e.cross_entropy(e.linear(e.concat(vectors, 0), p["W_s"]), target.T.ravel())

    return e.trained(loss_of, *data())


WORKLOADS = [
    Workload(
        "W10",
        "Luong's network",
        f"{LAYERS}-layer LSTM {STATE}, global attention (general), input feeding, embedding {EMBEDDING}, "
        f"{WORDS} words, lengths {LENGTH} and {LENGTH}, batch {PAIRS}, Adam",
        {"minattn": in_minattn, "torch": in_torch, "torch-fused": partial(in_torch, fused=True)}
        | dict.fromkeys(("jax", "autograd", "mygrad", "chainer", "dezero", "pydynet"), in_others),
        {
            "torch-channels-last": NEEDS_IMAGES,
            "smallpebble": "its backward pass takes every path through the graph by itself, and the paths multiply at "
            "every step of a recurrent network",
        },
        Limit.GEMM,
        work(),
    )
]
