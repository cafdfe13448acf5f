"""W3: RNNsearch, the recurrent network with additive attention, trained with Adam."""

from functools import partial

import numpy as np

from benchmarks.inputs import Arrays, Sentences, matrix, normal, sentences
from benchmarks.workload import NEEDS_IMAGES, Limit, Workload, product

WORDS, EMBEDDING, STATE, ALIGNMENT = 100, 64, 128, 128
LENGTH, PAIRS = 20, 64
SIDES = ("source", "target")


def data() -> tuple[Arrays, list[Sentences]]:
    """Parameters and batches.

    The products are x W, so a matrix is (inputs, outputs).  A gated unit NAME has NAME_W (inputs, 3n), NAME_b (3n),
    NAME_U (n, 3n), NAME_c (3n), its three blocks in the order reset, update, candidate; an engine whose unit resets
    the state before the product has no use for NAME_c, which is 0 at first.  The last rows of decoder_W belong to the
    context, as those of W_o do.
    """
    rng = np.random.RandomState(3)
    annotation = 2 * STATE
    p = {f"{side}_embedding": normal(rng, WORDS, EMBEDDING) for side in SIDES}
    for unit, inputs in ("forwards", EMBEDDING), ("backwards", EMBEDDING), ("decoder", EMBEDDING + annotation):
        p |= {f"{unit}_W": matrix(rng, inputs, 3 * STATE), f"{unit}_U": matrix(rng, STATE, 3 * STATE)}
        p |= {f"{unit}_{bias}": np.zeros(3 * STATE, np.float32) for bias in "bc"}
    p |= {"W_s": matrix(rng, STATE, STATE), "b_s": np.zeros(STATE, np.float32)}
    p |= {"W_a": matrix(rng, STATE, ALIGNMENT), "U_a": matrix(rng, annotation, ALIGNMENT)}
    p |= {"v": matrix(rng, ALIGNMENT, 1)}
    p |= {"W_o": matrix(rng, STATE + annotation, WORDS), "b_o": np.zeros(WORDS, np.float32)}
    return p, sentences(rng, WORDS, PAIRS, LENGTH)


def work() -> float:
    """Three times the products forward, as in the MLP; scores and contexts, products with vectors, do not count."""
    words, annotation = LENGTH * PAIRS, 2 * STATE
    encoder = 2 * (product(words, EMBEDDING, 3 * STATE) + product(words, STATE, 3 * STATE))
    start = product(PAIRS, STATE, STATE)
    attention = product(words, annotation, ALIGNMENT) + product(words, STATE, ALIGNMENT)
    decoder = product(words, EMBEDDING + annotation, 3 * STATE) + product(words, STATE, 3 * STATE)
    logits = product(words, STATE + annotation, WORDS)
    return 3 * (encoder + start + attention + decoder + logits)


def in_minattn(e):
    import minattn as ma
    from minattn import nn
    from minattn.attention.sequence import AdditiveAttention, attentive_gru

    class RNNsearch(nn.Module):
        def __init__(self, rng) -> None:
            self.source_embedding = nn.Embedding(WORDS, EMBEDDING, rng)
            self.target_embedding = nn.Embedding(WORDS, EMBEDDING, rng)
            self.encoder = nn.BidirectionalGRU(EMBEDDING, STATE, rng)
            self.first_state = nn.Linear(STATE, STATE, rng)
            self.attention = AdditiveAttention(STATE, 2 * STATE, ALIGNMENT, rng)
            self.decoder = nn.GRU(EMBEDDING, STATE, rng)
            self.C = nn.initializers.glorot_uniform((2 * STATE, 3 * STATE), rng)
            self.readout = nn.Linear(3 * STATE, WORDS, rng)

        def forward(self, source, previous):
            annotations = self.encoder(self.source_embedding(source))
            state = ma.tanh(self.first_state(annotations[:, 0, STATE:]))
            projected = self.decoder.project(self.target_embedding(previous))
            keys, W_a, v_a = self.attention.keys(annotations), self.attention.W_a, self.attention.v_a
            states, contexts, _ = attentive_gru(projected, state, keys, annotations, W_a, v_a, self.C, self.decoder.U)
            return self.readout(ma.concat([states, contexts], axis=-1))

    parameters, batches = data()
    model = RNNsearch(np.random.default_rng(0))
    model.load_state_dict(state_dict(parameters))

    def loss_of(source, previous, target):
        return ma.cross_entropy(model(source, previous), target)

    return e.trained(model, loss_of, batches)


def state_dict(p):
    """The parameters under minattn's names, the blocks of a gated unit in the order update, reset, candidate."""
    state = {f"{side}_embedding.weight": p[f"{side}_embedding"] for side in SIDES}
    state |= {"first_state.weight": p["W_s"], "first_state.bias": p["b_s"]}
    state |= {f"attention.{name}": p[name] for name in ("W_a", "U_a")}
    state |= {"attention.v_a": p["v"][:, 0], "readout.weight": p["W_o"], "readout.bias": p["b_o"]}
    units = {"encoder.forwards": "forwards", "encoder.backwards": "backwards", "decoder": "decoder"}
    for path, name in units.items():
        for own, given in ("W", "W"), ("U", "U"), ("bias", "b"):
            reset, update, candidate = np.split(p[f"{name}_{given}"], 3, axis=-1)
            # minattn's update gate is the share that is renewed, the others' that is kept: sigma(-a) = 1 - sigma(a)
            state[f"{path}.{own}"] = np.concatenate([-update, reset, candidate], axis=-1)
    state["decoder.W"], state["C"] = np.split(state["decoder.W"], [EMBEDDING])  # the word, the context
    return state


def in_torch(e, fused=False):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class RNNsearch(nn.Module):
        def __init__(self, p) -> None:
            super().__init__()
            self.source_embedding, self.target_embedding = (e.embedding(p[f"{s}_embedding"]) for s in SIDES)
            self.encoder = nn.GRU(EMBEDDING, STATE, batch_first=True, bidirectional=True)
            load_unit(self.encoder, p, "forwards", "_l0")
            load_unit(self.encoder, p, "backwards", "_l0_reverse")
            self.first_state = e.linear(p["W_s"], p["b_s"])
            self.query, self.key, self.energy = (e.linear(p[name]) for name in ("W_a", "U_a", "v"))
            self.decoder = nn.GRUCell(EMBEDDING + 2 * STATE, STATE)
            load_unit(self.decoder, p, "decoder", "")
            self.readout = e.linear(p["W_o"], p["b_o"])

        def forward(self, source, previous):
            annotations, _ = self.encoder(self.source_embedding(source))
            keys = self.key(annotations)
            state = torch.tanh(self.first_state(annotations[:, 0, STATE:]))
            outputs = []
            for word in self.target_embedding(previous).unbind(1):
                energies = self.energy(torch.tanh(self.query(state)[:, None] + keys))
                context = (F.softmax(energies, dim=1).transpose(1, 2) @ annotations)[:, 0]
                state = self.decoder(torch.cat([word, context], 1), state)
                outputs.append(torch.cat([state, context], 1))
            return self.readout(torch.stack(outputs, 1))

    @torch.no_grad()
    def load_unit(unit, p, name, suffix):
        for own, given in ("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b"), ("bias_hh", "c"):
            getattr(unit, f"{own}{suffix}").copy_(torch.from_numpy(p[f"{name}_{given}"].T))

    parameters, batches = data()
    return e.trained(RNNsearch(parameters), batches, fused)


def in_others(e):
    """One word after another; the encoder's inputs are one product."""

    def gru_cell(p, name, x, state):
        """One step of the reset-after GRU; x: the input's part, W x + b."""
        r_x, z_x, n_x = e.split(x, 3, 1)
        r_h, z_h, n_h = e.split(e.linear(state, p[f"{name}_U"], p[f"{name}_c"]), 3, 1)
        z = e.sigmoid(z_x + z_h)
        n = e.tanh(n_x + e.sigmoid(r_x + r_h) * n_h)
        return n + z * (state - n)

    def read(p, name, words, order):
        """The states after each of the words (length * pairs, embedding), read in this order: 1 or -1."""
        state, states = e.constant(np.zeros((PAIRS, STATE), np.float32)), []
        for x in e.split(e.linear(words, p[f"{name}_W"], p[f"{name}_b"]), LENGTH, 0)[::order]:
            state = gru_cell(p, name, x, state)
            states.append(state)
        return states[::order]

    def loss_of(p, source, previous, target):
        words = e.embed(p["source_embedding"], source.T.ravel())
        forwards, backwards = read(p, "forwards", words, 1), read(p, "backwards", words, -1)
        annotations = e.stack([e.concat(both, 1) for both in zip(forwards, backwards, strict=True)])
        keys = e.linear(annotations, p["U_a"])
        state = e.tanh(e.linear(backwards[0], p["W_s"], p["b_s"]))
        outputs = []
        for word in e.split(e.embed(p["target_embedding"], previous.T.ravel()), LENGTH, 0):
            hidden = e.tanh(e.reshape(e.linear(state, p["W_a"]), (PAIRS, 1, ALIGNMENT)) + keys)
            alignment = e.softmax(e.reshape(e.linear(hidden, p["v"]), (PAIRS, LENGTH)))
            context = e.reshape(e.matmul(e.reshape(alignment, (PAIRS, 1, LENGTH)), annotations), (PAIRS, 2 * STATE))
            x = e.linear(e.concat([word, context], 1), p["decoder_W"], p["decoder_b"])
            state = gru_cell(p, "decoder", x, state)
            outputs.append(e.concat([state, context], 1))
        logits = e.linear(e.concat(outputs, 0), p["W_o"], p["b_o"])
        return e.cross_entropy(logits, target.T.ravel())

    return e.trained(loss_of, *data())


WORKLOADS = [
    Workload(
        "W3",
        "RNNsearch",
        f"bidirectional GRU {STATE}, additive attention {ALIGNMENT}, GRU decoder {STATE}, embedding {EMBEDDING}, "
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
        other_forms={"minattn": "its gated unit resets the state before the product, as the paper's"},
    )
]
