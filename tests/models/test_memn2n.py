"""The memory networks against the paper's equations by hand, their counts, and what must hold of them."""

import math
from dataclasses import replace
from itertools import islice

import fakecupy
import memory_by_hand
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, randomised

import minattn as ma
from minattn.autograd import asnumpy
from minattn.errors import ConfigError
from minattn.models import MemN2N, MemN2NConfig, MemoryLanguageModel, MemoryLanguageModelConfig
from minattn.models.memory.memn2n import CONFIGURATIONS
from minattn.models.memory.memn2n_language_model import CONFIGURATIONS as LANGUAGE_MODELS
from minattn.nn import initializers
from minattn.testing import check_gradients
from minattn.training import SGD, clip_grad_norm

SMALL = MemN2NConfig(vocab_size=7, longest=3, size=4, hops=2, memory=5)
SMALL_LANGUAGE = MemoryLanguageModelConfig(vocab_size=7, size=5, hops=2, memory=4)
TYING = pytest.mark.parametrize("tying", ["adjacent", "layer-wise"])


def random_network(seed=0, dtype=np.float32, **settings):
    return randomised(MemN2N(replace(SMALL, **settings), np.random.default_rng(seed)), seed, dtype)


def random_language_model(seed=0, dtype=np.float32):
    return randomised(MemoryLanguageModel(SMALL_LANGUAGE, np.random.default_rng(seed)), seed, dtype)


def a_batch(seed=0, batch=3, n=4):
    """Stories, questions, a mask, answers."""
    rng = np.random.default_rng(seed)
    story, question = rng.integers(0, SMALL.vocab_size, (batch, n, 3)), rng.integers(0, SMALL.vocab_size, (batch, 2))
    mask = np.arange(n) < np.array([n, *rng.integers(1, n + 1, batch - 1)])[:, None]
    return story, question, mask, rng.integers(1, SMALL.vocab_size, batch)


def product(W, u):
    return [sum(row[k] * u[k] for k in range(len(u))) for row in W]


# ---------------------------------------------------------------------------------------------- the equations
@given(
    st.sampled_from(["adjacent", "layer-wise"]),
    st.sampled_from(["bag", "position"]),
    st.booleans(),
    st.booleans(),
    SEEDS,
)
def test_the_network_is_the_papers_equations(tying, encoding, temporal, linear, seed):
    model = random_network(seed, np.float64, tying=tying, encoding=encoding, temporal=temporal)
    story, question, mask, _ = a_batch(seed)
    logits, attention = model(story, question, mask, linear, return_attention=True)
    tables = [table.data.tolist() for table in model.memory.embedding.words]
    B = tables[0] if model.B is None else model.B.words[0].data.tolist()
    W = tables[-1] if model.W is None else model.W.data.tolist()
    for b, n in enumerate(mask.sum(1)):
        u = memory_by_hand.sentence(B, question[b], encoding, SMALL.longest)
        u, ps = memory_by_hand.end_to_end(model.memory, u, story[b, :n].tolist(), encoding, SMALL.longest, linear)
        np.testing.assert_allclose(logits.data[b], product(W, u), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(attention["memory"].data[b, :, :n], ps, rtol=1e-9, atol=1e-9)


@given(SEEDS, st.integers(1, 7))
def test_the_language_model_is_the_papers_equations(seed, n):
    """In the memory of a word are those up to it, the last first, four at most."""
    model = random_language_model(seed, np.float64)
    words = np.random.default_rng(seed).integers(0, 7, (2, n))
    logits, attention = model(words, return_attention=True)
    assert model.memory.rectified == 2
    A, C = (table.data.tolist() for table in model.memory.embedding.words)
    T_A, T_C = (table.data.tolist() for table in model.memory.embedding.times)
    H, W = model.memory.H.data.tolist(), model.W.data.tolist()
    for b, t in np.ndindex(2, n):
        recent = words[b, : t + 1].tolist()[::-1][:4]
        m = [[A[word][k] + T_A[i][k] for k in range(5)] for i, word in enumerate(recent)]
        c = [[C[word][k] + T_C[i][k] for k in range(5)] for i, word in enumerate(recent)]
        u = [0.1] * 5
        for hop in range(2):
            scores = [math.exp(sum(u[k] * m_i[k] for k in range(5))) for m_i in m]
            p = [score / sum(scores) for score in scores]
            o = [sum(p[i] * c[i][k] for i in range(len(c))) for k in range(5)]
            u = [sum(u[j] * H[j][k] for j in range(5)) + o[k] for k in range(5)]
            u = u[:3] + [max(0.0, x) for x in u[3:]]
            np.testing.assert_allclose(attention["memory"].data[b, t, hop, : len(p)], p, rtol=1e-9, atol=1e-9)
            assert not attention["memory"].data[b, t, hop, len(p) :].any()
        np.testing.assert_allclose(logits.data[b, t], product(W, u), rtol=1e-9, atol=1e-9)


def test_gradients_of_the_language_model():
    model = random_language_model(1, np.float64)
    words = np.random.default_rng(1).integers(0, 7, (2, 6))
    check_gradients(
        lambda: ma.cross_entropy(model(words[:, :-1]), words[:, 1:]),
        parameters=model.named_parameters(),
        method="complex",
    )


def test_the_language_model_writes_by_its_own_probabilities_and_looks_no_further_back_than_its_memory():
    model, prompt = random_language_model(2), np.array([1, 0, 3])
    written = [*prompt, *islice(model.symbols(prompt, np.random.default_rng(0), temperature=0.0), 6)]
    for end in range(3, 9):
        logits = model(np.array([written[max(0, end - 4) : end]])).data[0, -1]
        assert written[end] == logits.argmax()
    for longest in (None, 9, 4, 2):
        drawn = [
            list(
                islice(
                    model.symbols(np.array([*before, 2, 0, 5, 1][-6:]), np.random.default_rng(3), 1.0, 3, longest), 8
                )
            )
            for before in ([3, 3], [6, 1], [])
        ]
        assert drawn[0] == drawn[1] == drawn[2]
    for text, message in (([], "at least one symbol"), ([1], "temperature must be")):
        with pytest.raises(ConfigError, match=message):
            model.symbols(np.array(text, int), np.random.default_rng(0), temperature=-1.0)
    with pytest.raises(ConfigError, match="longest, if given, must be at least 1"):
        model.symbols(prompt, np.random.default_rng(0), longest=0)


@TYING
@pytest.mark.parametrize("linear", [False, True])
def test_gradients_of_every_parameter(tying, linear):
    model = random_network(1, np.float64, tying=tying)
    story, question, mask, answers = a_batch(1)
    check_gradients(
        lambda: ma.cross_entropy(model(story, question, mask, linear), answers),
        parameters=model.named_parameters(),
        method="complex",
    )


def test_output_memories_of_zeros_leave_an_answer_to_the_question_alone():
    model = random_network(2, tying="layer-wise")
    model.memory.H.data = np.eye(4, dtype=np.float32)
    for parameter in (model.memory.embedding.words[1], model.memory.embedding.times[1]):
        parameter.data = np.zeros_like(parameter.data)
    story, question, mask, _ = a_batch(2)
    u = model.B(question)[:, 0].data
    np.testing.assert_allclose(model(story, question, mask).data, u @ model.W.data.T, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------------------------- counts and starts
def unallocated(network, config):
    with initializers.unallocated():
        return network(config, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("one task, bag of words", 18_160),
        ("one task", 18_160),
        ("all tasks, 1 hop", 2 * 227 * 50),
        ("all tasks, 2 hops", 3 * 227 * 50),
        ("all tasks", 45_400),
        ("all tasks, layer-wise", 42_900),
    ],
)
def test_published_sizes_of_question_answering(name, count):
    """(K + 1) (V + 50) d; layer-wise 2 (V + 50) d, 2 V d of the question and the answer, and d^2."""
    assert unallocated(MemN2N, CONFIGURATIONS[name]).count_parameters() == count


def test_the_size_of_one_task_with_layer_wise_tying():
    config = replace(CONFIGURATIONS["one task"], tying="layer-wise")
    assert unallocated(MemN2N, config).count_parameters() == 16_560


@pytest.mark.parametrize(
    ("name", "count"), [("Penn Treebank", 4_552_500), ("Penn Treebank, 7 hops, memory 200", 4_582_500)]
)
def test_published_sizes_of_the_language_model_do_not_depend_on_the_hops(name, count):
    for hops in (1, LANGUAGE_MODELS[name].hops):
        assert unallocated(MemoryLanguageModel, replace(LANGUAGE_MODELS[name], hops=hops)).count_parameters() == count


def test_tables_of_published_sizes_are_complete():
    assert len(CONFIGURATIONS) == 6
    assert len(LANGUAGE_MODELS) == 2


@pytest.mark.parametrize(
    ("network", "config"), [(MemN2N, MemN2NConfig(tying="layer-wise")), (MemoryLanguageModel, SMALL_LANGUAGE)]
)
def test_parameters_start_normal(network, config):
    model = network(config, np.random.default_rng(0))
    values = np.concatenate([parameter.data.ravel() for parameter in model.parameters()])
    assert values.std() == pytest.approx(config.std, rel=0.1)
    assert abs(values.mean()) < 4 * config.std / math.sqrt(len(values))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hops": 0}, "hops must be a whole number of at least 1, got 0; hint"),
        ({"std": 0.0}, "std must be a number above 0, 1e30 at most, got 0.0; hint"),
        ({"std": float("inf")}, "std must be a number above 0, 1e30 at most, got inf; hint"),
        ({"std": 1e308}, r"std must be a number above 0, 1e30 at most, got 1e\+308; hint"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(SMALL, **settings)
    if "std" in settings:
        with pytest.raises(ConfigError, match=message):
            replace(SMALL_LANGUAGE, **settings)


# ---------------------------------------------------------------------------------------------- devices
def training_step(model, loss):
    optimizer = SGD(model.named_parameters(), 0.1)
    value = loss(model)
    value.backward()
    norm = clip_grad_norm(model.parameters(), 0.5)
    optimizer.step()
    return value, norm


def answering(model):
    story, question, mask, answers = a_batch(3)
    return ma.cross_entropy(model(story, question, mask), answers)


def speaking(model):
    words = a_batch(3, n=6)[0][:, :, 0]
    return ma.cross_entropy(model(words[:, :-1]), words[:, 1:])


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        pytest.param(lambda: random_network(3), answering, id="adjacent"),
        pytest.param(lambda: random_network(3, tying="layer-wise", encoding="bag"), answering, id="layer-wise"),
        pytest.param(lambda: random_language_model(3), speaking, id="language model"),
    ],
)
def test_a_training_step_is_the_same_everywhere_and_waits_for_nothing(backend, make, loss):
    expected, model = make(), make().to(backend.device)
    value, norm = training_step(expected, loss)
    with fakecupy.no_sync():  # concerns the fake alone
        found, found_norm = training_step(model, loss)
    assert found.dtype == np.float32
    assert float(norm) > 0.5, "the gradient is to be clipped"
    assert float(found) == pytest.approx(float(value), rel=1e-5)
    assert float(found_norm) == pytest.approx(float(norm), rel=1e-5)
    for name, parameter in model.named_parameters().items():
        reference = expected.named_parameters()[name]
        np.testing.assert_allclose(asnumpy(parameter.data), reference.data, rtol=1e-5, atol=1e-6, err_msg=name)
