"""The workloads as minattn does them, the worker that runs them, and what all workloads have in common.

No other engine is needed: of their files only the text is looked at.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmarks
import minattn as ma
from benchmarks import inputs
from benchmarks.engines import minattn as engine
from benchmarks.environments import ENGINES
from benchmarks.workload import Limit
from benchmarks.workloads import (
    IMPORT,
    WORKLOADS,
    highway,
    hourglass,
    image_transformer,
    language_model,
    luong,
    memory_network,
    mlp,
    non_local,
    rnnsearch,
    rows,
    show_attend_tell,
    tiny_ops,
    transformer,
)
from benchmarks.workloads.transformer_layers import Stack
from minattn.models.pose.hourglass import HourglassConfig, StackedHourglass

FOLDER = Path(benchmarks.__file__).parent
STEPPED = [name for name in WORKLOADS if name != IMPORT.name]


# ---------------------------------------------------------------------------------------------- minattn's steps
@pytest.fixture
def small(monkeypatch):
    """Small inputs, and the same batch at every step."""
    sizes = {
        inputs: {"BATCHES": 1},
        highway: {"DEPTH": 5, "WIDTH": 4, "BATCH": 6},
        non_local: {"BATCHES": 1, "SHAPE": (2, 4, 3, 2), "INNER": 3},
        image_transformer: {"BATCHES": 1, "SIZE": Stack(1, 8, 8, 2), "SIDE": 4, "LEVELS": 5, "QUERY": 4, "IMAGES": 2},
        hourglass: {"BATCHES": 1, "ORDER": 1, "FEATURES": 8, "JOINTS": 2, "IMAGES": (2, 3, 16, 16)},
        language_model: {"BATCHES": 1, "SIZE": Stack(2, 8, 12, 2), "WORDS": 11, "LENGTH": 5, "TEXTS": 3},
        luong: {"WORDS": 9, "EMBEDDING": 4, "STATE": 6, "LENGTH": 3, "PAIRS": 4},
        memory_network: {"BATCHES": 1, "WORDS": 9, "SIZE": 4, "MEMORY": 5, "LENGTH": 3, "ASKED": 2, "QUESTIONS": 4},
        mlp: {"LAYERS": (12, 9, 8, 5), "BATCH": 6},
        rnnsearch: {"WORDS": 9, "EMBEDDING": 4, "STATE": 6, "ALIGNMENT": 5, "LENGTH": 3, "PAIRS": 4},
        rows: {"ROWS": 7, "COLUMNS": 16, "ELEMENT": (3, 11)},
        show_attend_tell: {"BATCHES": 1, "LENGTH": 4, "IMAGES": 3},
        transformer: {"SIZE": Stack(2, 8, 12, 2), "WORDS": 9, "LENGTH": 3, "PAIRS": 4},
    }
    for module, values in sizes.items():
        for name, size in values.items():
            monkeypatch.setattr(module, name, size)


def losses_of(workload, steps=2):
    engine.use(1)
    step = WORKLOADS[workload].steps["minattn"](engine)
    losses = [step() for _ in range(steps)]
    assert all(isinstance(loss, float) and math.isfinite(loss) for loss in losses)
    return losses


def test_tiny_ops():
    x, w, b = (array.astype(np.float64) for array in tiny_ops.arrays().values())
    for _ in range(tiny_ops.LINKS):
        x = np.tanh(x * w + b)
    assert losses_of("W1") == pytest.approx([x.sum()] * 2, rel=1e-5)


def test_the_mlp_learns(small):
    p, [(images, labels)] = mlp.data()
    x = images
    for i in (1, 2):
        x = np.maximum(x @ p[f"W{i}"] + p[f"b{i}"], 0)
    first, second = losses_of("W2")
    assert first == pytest.approx(cross_entropy(x @ p["W3"] + p["b3"], labels), rel=1e-5)
    assert second < first


def test_rnnsearch_learns(small):
    p, [batch] = rnnsearch.data()
    first, second = losses_of("W3")
    assert first == pytest.approx(rnnsearch_loss(p, *batch), rel=1e-5)
    assert second < first


def test_luongs_network_learns(small):
    p, [batch] = luong.data()
    first, second = losses_of("W10")
    assert first == pytest.approx(luong_loss(p, *batch), rel=1e-5)
    assert second < first


def test_the_memory_network_learns(small):
    p, [batch] = memory_network.data()
    first, second = losses_of("W11")
    assert first == pytest.approx(memory_network_loss(p, *batch), rel=1e-5)
    assert second < first


def test_the_highway_network_learns(small):
    p, [(images, labels)] = highway.data()
    x = np.maximum(images.reshape(len(images), -1) @ p["W"] + p["b"], 0)
    for i in range(highway.DEPTH - 1):
        t = 1 / (1 + np.exp(-(x @ p[f"W_T{i}"] + p[f"b_T{i}"])))
        x = np.maximum(x @ p[f"W_H{i}"] + p[f"b_H{i}"], 0) * t + x * (1 - t)
    first, second = losses_of("W12")
    assert first == pytest.approx(cross_entropy(x @ p["V"] + p["c"], labels), rel=1e-4)
    assert second < first


def test_the_hourglass_learns(small):
    """From the parameters that are given, whose paths are all that the network has."""
    p, [(images, targets)] = hourglass.data()
    model = StackedHourglass(HourglassConfig(1, 2, 8, 1), np.random.default_rng(0))
    assert p.keys() == dict(model.named_parameters()).keys()
    model.load_state_dict(model.state_dict() | {name: array.astype(np.float64) for name, array in p.items()})
    maps = model(ma.tensor(images.astype(np.float64))).data
    first, second = losses_of("W13")
    assert first == pytest.approx(((maps[:, 0] - targets) ** 2).mean(), rel=1e-5)
    assert second < first


def test_the_non_local_block_learns(small):
    p, [(x, target)] = non_local.data()
    p = {name: array.astype(np.float64) for name, array in p.items()}
    places = x.astype(np.float64).transpose(0, 2, 3, 1).reshape(len(x), -1, x.shape[1])
    theta, phi, g = (places @ p[f"W_{name}"] + p[f"b_{name}"] for name in ("theta", "phi", "g"))
    scores = theta @ phi.swapaxes(1, 2)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = weights / weights.sum(-1, keepdims=True) @ g @ p["W_z"] + p["b_z"]
    z = (y - y.mean((0, 1))) / np.sqrt(y.var((0, 1)) + 1e-5) + places
    first, second = losses_of("W14")
    assert first == pytest.approx(((z - target.transpose(0, 2, 3, 1).reshape(z.shape)) ** 2).mean(), rel=1e-5)
    assert second < first


def test_the_image_transformer_learns(small):
    """From the likelihood of uniform pixels, nearly; what it computes is compared with PyTorch's when it is timed."""
    first, second = losses_of("W15")
    assert first == pytest.approx(np.log(image_transformer.LEVELS), rel=0.3)
    assert second < first


def test_show_attend_and_tell_learns(small):
    p, [batch] = show_attend_tell.data()
    first, second = losses_of("W16")
    assert first == pytest.approx(show_attend_tell_loss(p, *batch), rel=1e-5)
    assert second < first


def show_attend_tell_loss(p, annotations, previous, target):
    """Step by step, in float64, the blocks of the LSTM in the order input, forget, candidate, output."""
    p, annotations = {name: array.astype(np.float64) for name, array in p.items()}, annotations.astype(np.float64)

    def layer(name, x):
        return x @ p[f"{name}_W"] + p[f"{name}_b"]

    mean = annotations.mean(1)
    hidden, cell, logits = np.tanh(layer("init_h", mean)), np.tanh(layer("init_c", mean)), []
    for words in previous.T:
        scores = (np.tanh(layer("keys", annotations) + (hidden @ p["W_d"])[:, None]) @ p["U_att"])[:, :, 0]
        weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        context = sigmoid(layer("beta", hidden)) * (weights[:, :, None] * annotations).sum(1)
        x = np.concatenate([p["embedding"][words], context], 1)
        i, f, g, o = np.split(x @ p["W"] + p["b"] + hidden @ p["U"], 4, 1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        logits.append(layer("L_o", np.tanh(p["embedding"][words] + layer("L_h", hidden) + layer("L_z", context))))
    return cross_entropy(np.concatenate(logits), target.T.ravel())


def test_the_transformer_learns(small):
    p, [batch] = transformer.data()
    first, second = losses_of("W4")
    assert first == pytest.approx(transformer_loss(p, transformer.SIZE, *batch), rel=1e-5)
    assert second < first


def test_the_language_model_learns(small):
    p, [batch] = language_model.data()
    first, second = losses_of("W5")
    assert first == pytest.approx(language_model_loss(p, language_model.SIZE, *batch), rel=1e-5)
    assert second < first


@pytest.mark.parametrize("name", ["softmax", "layer_norm", "gelu"])
def test_row_workloads_return_an_element_of_the_gradient(small, name):
    arrays, g = rows.arrays(name)
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    row, column = rows.ELEMENT
    x, g = arrays["x"][row], g[row].astype(np.float64)
    d = 1e-5 * np.eye(len(x))[column]
    function = ROW_FUNCTIONS[name]
    slope = ((function(x + d, arrays) - function(x - d, arrays)) @ g) / 2e-5
    assert losses_of(f"W8-{name.replace('_', '')}") == pytest.approx([slope] * 2, rel=1e-4)


def softmax(x, _=None):
    e = np.exp(x - x.max())
    return e / e.sum()


def normalized(x, weight, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def gelu(x, _=None):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ROW_FUNCTIONS = {
    "softmax": softmax,
    "layer_norm": lambda x, arrays: normalized(x, arrays["weight"], arrays["bias"]),
    "gelu": gelu,
}


# ---------------------------------------------------------------------------------------------- W3 by hand
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cross_entropy(logits, labels):
    """The mean, one row after another."""
    return np.mean([-np.log(softmax(row)[label]) for row, label in zip(logits, labels, strict=True)])


def rnnsearch_loss(weights, source, previous, target):
    """RNNsearch sentence by sentence, in minattn's form: the state is reset before the product."""
    p = {name: weight.astype(np.float64) for name, weight in weights.items()}
    losses = []
    for words, before, after in zip(source, previous, target, strict=True):
        read = p["source_embedding"][words]
        forwards, backwards = states(p, "forwards", read), states(p, "backwards", read[::-1])[::-1]
        annotations = np.concatenate([forwards, backwards], axis=1)
        state, logits = np.tanh(backwards[0] @ p["W_s"] + p["b_s"]), []
        for word in before:
            context = softmax(np.tanh(state @ p["W_a"] + annotations @ p["U_a"]) @ p["v"][:, 0]) @ annotations
            state = gru_cell(p, "decoder", np.concatenate([p["target_embedding"][word], context]), state)
            logits.append(np.concatenate([state, context]) @ p["W_o"] + p["b_o"])
        losses.append(cross_entropy(logits, after))
    return np.mean(losses)


def states(p, unit, read):
    found = [np.zeros(len(p[f"{unit}_U"]))]
    for x in read:
        found.append(gru_cell(p, unit, x, found[-1]))
    return np.array(found[1:])


def gru_cell(p, unit, x, state):
    """z: how much is kept."""
    W_r, W_z, W_n = np.split(x @ p[f"{unit}_W"] + p[f"{unit}_b"], 3)
    U_r, U_z, U_n = np.split(p[f"{unit}_U"], 3, axis=1)
    r, z = (1 / (1 + np.exp(-(W + state @ U))) for W, U in ((W_r, U_r), (W_z, U_z)))
    return z * state + (1 - z) * np.tanh(W_n + (r * state) @ U_n)


# ---------------------------------------------------------------------------------------------- W11 by hand
def memory_network_loss(p, stories, questions, answers):
    """The memory network question by question, in float64."""
    p = {name: array.astype(np.float64) for name, array in p.items()}
    weights, losses = memory_network.weights().astype(np.float64), []
    for story, question, answer in zip(stories, questions, answers, strict=True):
        u = sum(weights[j] * p["words_0"][word] for j, word in enumerate(question))
        for k in range(memory_network.HOPS):
            m, c = (
                np.array([sum(weights[j] * p[f"words_{i}"][word] for j, word in enumerate(words)) for words in story])
                + p[f"times_{i}"]
                for i in (k, k + 1)
            )
            e = np.exp(m @ u)
            u = u + e @ c / e.sum()
        logits = p[f"words_{memory_network.HOPS}"] @ u
        losses.append(np.log(np.exp(logits).sum()) - logits[answer])
    return np.mean(losses)


# ---------------------------------------------------------------------------------------------- W10 by hand
def luong_loss(weights, source, previous, target):
    """Luong's network sentence by sentence, in float64."""
    p = {name: weight.astype(np.float64) for name, weight in weights.items()}
    losses = []
    for words, before, after in zip(source, previous, target, strict=True):
        read, last = p["encoder_embedding"][words[::-1]], []
        for i in range(luong.LAYERS):
            hidden, cell, states = np.zeros(luong.STATE), np.zeros(luong.STATE), []
            for x in read:
                hidden, cell = lstm_cell(p, f"encoder_{{}}_{i}", x, hidden, cell)
                states.append(hidden)
            read = np.array(states)
            last.append((hidden, cell))
        vector, logits = np.zeros(luong.STATE), []
        for word in before:
            x = np.concatenate([p["decoder_embedding"][word], vector])
            for i in range(luong.LAYERS):
                last[i] = lstm_cell(p, f"decoder_{{}}_{i}", x, *last[i])
                x = last[i][0]
            context = softmax(read @ p["W_a"] @ x) @ read
            vector = np.tanh(np.concatenate([context, x]) @ p["W_c"])
            logits.append(vector @ p["W_s"])
        losses.append(cross_entropy(logits, after))
    return np.mean(losses)


def lstm_cell(p, name, x, hidden, cell):
    i, f, g, o = np.split(x @ p[name.format("W")] + hidden @ p[name.format("U")], 4)
    i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
    cell = f * cell + i * np.tanh(g)
    return o * np.tanh(cell), cell


# ---------------------------------------------------------------------------------------------- W4 and W5 by hand
def transformer_loss(weights, stack, source, previous, target):
    """Sentence by sentence, in float64."""
    p = {name: weight.astype(np.float64) for name, weight in weights.items()}
    scale, losses = stack.d_model**0.5, []
    for words, before, after in zip(source, previous, target, strict=True):
        x = p["source_embedding"][words] * scale + sinusoids(len(words), stack.d_model)
        for layer in range(1, stack.layers + 1):
            name = f"encoder{layer}"
            x = layer_norm(p, f"{name}_norm1", x + multi_head(p, f"{name}_self", x, x, stack.heads))
            x = layer_norm(p, f"{name}_norm2", x + feed_forward(p, f"{name}_forward", x, relu))
        y = p["target_embedding"][before] * scale + sinusoids(len(before), stack.d_model)
        for layer in range(1, stack.layers + 1):
            name = f"decoder{layer}"
            y = layer_norm(p, f"{name}_norm1", y + multi_head(p, f"{name}_self", y, y, stack.heads, causal=True))
            y = layer_norm(p, f"{name}_norm2", y + multi_head(p, f"{name}_across", y, x, stack.heads))
            y = layer_norm(p, f"{name}_norm3", y + feed_forward(p, f"{name}_forward", y, relu))
        losses.append(cross_entropy(y @ p["target_embedding"].T, after))
    return np.mean(losses)


def language_model_loss(weights, stack, source, target):
    """Text by text, in float64."""
    p = {name: weight.astype(np.float64) for name, weight in weights.items()}
    losses = []
    for words, after in zip(source, target, strict=True):
        x = p["embedding"][words] * stack.d_model**0.5 + p["positions"]
        for layer in range(1, stack.layers + 1):
            name = f"layer{layer}"
            y = layer_norm(p, f"{name}_norm1", x)
            x = x + multi_head(p, f"{name}_self", y, y, stack.heads, causal=True)
            x = x + feed_forward(p, f"{name}_forward", layer_norm(p, f"{name}_norm2", x), gelu)
        losses.append(cross_entropy(layer_norm(p, "norm", x) @ p["embedding"].T, after))
    return np.mean(losses)


def multi_head(p, name, x, memory, heads, causal=False):
    """Head by head and query by query; a causal query sees the positions up to its own."""
    contexts = []
    for head in range(heads):
        W_Q, W_K, W_V = (np.split(p[f"{name}_W_{part}"], heads, axis=1)[head] for part in "QKV")
        keys, values = memory @ W_K, memory @ W_V
        ends = [i + 1 if causal else len(memory) for i in range(len(x))]
        contexts.append(
            [
                softmax(keys[:end] @ (W_Q.T @ row) / W_Q.shape[1] ** 0.5) @ values[:end]
                for row, end in zip(x, ends, strict=True)
            ]
        )
    return np.concatenate(contexts, axis=1) @ p[f"{name}_W_O"]


def feed_forward(p, name, x, activation):
    return activation(x @ p[f"{name}_W_1"] + p[f"{name}_b_1"]) @ p[f"{name}_W_2"] + p[f"{name}_b_2"]


def layer_norm(p, name, x):
    return np.array([normalized(row, p[f"{name}_weight"], p[f"{name}_bias"]) for row in x])


def sinusoids(length, d):
    """Position by position, as printed."""
    angles = [[pos / 10000 ** (2 * i / d) for i in range(d // 2)] for pos in range(length)]
    return np.array([[f(angle) for angle in row for f in (math.sin, math.cos)] for row in angles])


def relu(x):
    return np.maximum(x, 0)


# ---------------------------------------------------------------------------------------------- inputs
@pytest.mark.parametrize("workload", [mlp, rnnsearch, transformer, language_model])
def test_inputs_are_the_same_every_time_and_of_32_bits(workload):
    p, batches = workload.data()
    again, batches_again = workload.data()
    assert all(np.array_equal(p[name], again[name]) for name in p)
    for batch, other in zip(batches, batches_again, strict=True):
        assert all(map(np.array_equal, batch, other))
        assert {array.dtype for array in batch} <= {np.dtype(np.float32), np.dtype(np.int64)}
    assert {array.dtype for array in p.values()} == {np.dtype(np.float32)}


def test_inputs_are_the_same_in_every_numpy():
    assert tiny_ops.arrays()["x"][:3] == pytest.approx([1.62434536, -0.61175641, -0.52817175])


def test_the_symbol_after_each_symbol():
    _, batches = language_model.data()
    for batch in batches:
        assert np.array_equal(batch.source[:, 1:], batch.target[:, :-1])


@pytest.mark.parametrize("workload", [rnnsearch, transformer])
def test_the_word_before_each_word(workload):
    _, batches = workload.data()
    for batch in batches:
        assert np.array_equal(batch.previous[:, 1:], batch.target[:, :-1])
        assert not batch.previous[:, 0].any()


# ---------------------------------------------------------------------------------------------- all engines
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_a_file(engine):
    assert (FOLDER / "engines" / f"{engine.partition('-')[0]}.py").exists()


@pytest.mark.parametrize("workload", STEPPED)
def test_every_engine_does_every_workload_or_says_why_not(workload):
    done, cannot = WORKLOADS[workload].steps, WORKLOADS[workload].cannot
    assert sorted([*done, *cannot]) == sorted(ENGINES)


# ---------------------------------------------------------------------------------------------- the worker
def work(*arguments, orders=(), stub=None, folder=None, cwd=None):
    """What a worker answers to the orders, and its exit status; stub: (name, code) of what to import for a library."""
    environment = dict(os.environ)
    if stub is not None:
        name, code = stub
        (folder / f"{name}.py").write_text(code)
        environment["PYTHONPATH"] = str(folder)
    told = "".join(json.dumps(order) + "\n" for order in orders)
    command = [sys.executable, FOLDER / "worker.py", *arguments]
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=120, env=environment, cwd=cwd)
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def test_a_worker_does_what_it_is_told():
    orders = [{"run": 2}, {"run": 1}, {"memory": True}, {"stop": True}, {"run": 1}]
    (greeting, two, one, memory), status = work("minattn", "W1", "--threads", "1", orders=orders)
    assert greeting["ready"] is True
    assert greeting["engine"] == "minattn"
    assert greeting["numpy"] == np.__version__
    assert set(greeting) == {"ready", "engine", "version", "numpy", "python"}
    assert len(two["seconds"]) == len(two["losses"]) == 2
    assert all(0 < seconds < 60 for seconds in two["seconds"])
    assert one["losses"] == two["losses"][:1]
    assert memory["peak_mib"] is None or memory["peak_mib"] > 1
    assert status == 0


def test_a_worker_ends_with_its_input():
    (_, answer), status = work("minattn", "W1", orders=[{"run": 1}])
    assert len(answer["seconds"]) == 1
    assert status == 0


@pytest.mark.parametrize("limit", Limit)
def test_the_limits(limit):
    (greeting, answer), status = work("limits", limit, orders=[{"run": 2}])
    assert greeting["engine"] == "limits"
    assert len(answer["seconds"]) == 2
    assert status == 0


def test_a_workload_that_there_is_none_of():
    answers, status = work("minattn", "W0")
    assert answers == [{"cannot": "minattn has no workload 'W0'"}]
    assert status == 0


def test_a_workload_that_an_engine_cannot_do(tmp_path):
    [answer], _ = work("smallpebble", "W3", stub=("smallpebble", ""), folder=tmp_path)
    assert "every path through the graph" in answer["cannot"]


def test_an_engine_that_is_not_there(tmp_path):
    [answer], _ = work("mygrad", "W2", stub=("mygrad", "raise ImportError('not here')"), folder=tmp_path)
    assert answer == {"cannot": "mygrad does not import: not here"}


def test_the_links_of_the_clone_do_not_come_before_libraries_of_their_names(tmp_path):
    """At the root of a clone lie links named `autograd` and `models`; the engine autograd is the library."""
    stub = ("autograd", "raise ImportError('the library')")
    for folder in (FOLDER.parent, tmp_path):
        [answer], _ = work("autograd", "W1", stub=stub, folder=tmp_path, cwd=folder)
        assert answer == {"cannot": "autograd does not import: the library"}


def test_what_a_library_prints_does_not_come_between_the_answers(tmp_path):
    answers, _ = work("mygrad", "W2", stub=("mygrad", "print('welcome')\nraise ImportError"), folder=tmp_path)
    assert len(answers) == 1
