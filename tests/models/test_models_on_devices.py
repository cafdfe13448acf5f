"""A whole training step and a whole search on every backend: the same numbers, nothing refused, nothing waited for."""

import fakecupy
import numpy as np
import pytest
from small_models import SIZES, random_language_model, random_luong, random_model, random_transformer

import minattn as ma
from minattn.autograd import asnumpy, device_of
from minattn.models import beam_search
from minattn.training import Adam, clip_grad_norm

BOS, EOS, PAD = 1, 2, 0
LARGER = {"embedding": 16, "hidden": 24}  # whose gradient is large enough to be clipped
CASES = pytest.mark.parametrize(
    ("build", "settings"),
    [
        pytest.param(random_model, {"biases": True}, id="RNNsearch"),
        pytest.param(random_model, {"readout": "current", "dropout": 0.3}, id="RNNsearch, current, dropout"),
        pytest.param(random_model, {"attention": False, "biases": True}, id="RNNencdec"),
        pytest.param(random_model, {"attention": False, "readout": "current"}, id="RNNencdec, current"),
        pytest.param(
            random_luong,
            LARGER | {"attention": "global", "score": "concat", "dropout": 0.3},
            id="Luong, global, dropout",
        ),
        pytest.param(random_luong, LARGER | {"score": "location", "biases": True, "window": 2}, id="Luong, local-p"),
        pytest.param(
            random_luong, LARGER | {"attention": "local-m", "feeding": False}, id="Luong, local-m, no feeding"
        ),
        pytest.param(random_luong, LARGER | {"attention": "none", "feeding": False}, id="Luong, no attention"),
        pytest.param(random_transformer, {"d_model": 16, "tied": "all"}, id="Transformer"),
        pytest.param(
            random_transformer,
            {"d_model": 16, "norm": "pre", "positions": "learned", "tied": "none", "biases": True, "dropout": 0.3},
            id="Transformer, pre-norm, learned positions, dropout",
        ),
    ],
)


def a_batch():
    """Source ids, previous ids, target ids with padding, and the source's mask."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, SIZES["source_vocab_size"], (3, 5))
    previous, targets = rng.integers(0, SIZES["target_vocab_size"], (2, 3, 4))
    targets[1, 2:] = PAD
    return source, previous, targets, np.arange(5) < np.array([[5], [3], [1]])


def training_step(model, batch):
    """(loss, gradient norm before clipping), both unread, of one step of Adam."""
    source, previous, targets, mask = batch
    optimizer = Adam(model.named_parameters(), 0.01, eps=1e-4)
    logits = model(source, previous, mask)
    loss = ma.cross_entropy(logits, targets, ignore_index=PAD, reduction="sum") / len(source)
    loss.backward()
    norm = clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    return loss, norm, optimizer


def assert_the_step_is_as_on_numpy(model, batch, expected, step=training_step):
    """expected: the same model on the host."""
    before = model.state_dict()
    loss, norm, _ = step(expected, a_batch())
    assert float(norm) > 1, "the gradient is to be clipped"
    with fakecupy.no_sync():  # concerns the fake alone
        found_loss, found_norm, _ = step(model, batch)
    assert float(found_loss) == pytest.approx(float(loss), rel=1e-5)
    assert float(found_norm) == pytest.approx(float(norm), rel=1e-5)
    after = model.named_parameters()
    for name, parameter in expected.named_parameters().items():
        weight, gradient = asnumpy(after[name].data), asnumpy(after[name].grad)
        np.testing.assert_allclose(weight, parameter.data, rtol=1e-5, atol=5e-5, err_msg=name)
        np.testing.assert_allclose(gradient, parameter.grad, rtol=1e-4, atol=1e-6, err_msg=name)
        assert (weight != before[name]).any() or name.endswith("b_K"), name  # that one has no gradient but rounding


@CASES
@pytest.mark.parametrize("there", [False, True], ids=["ids on the host", "ids there"])
def test_a_training_step_is_the_same_everywhere_and_waits_for_nothing(backend, build, settings, there):
    model = build(3, **settings).to(backend.device)
    batch = tuple(map(backend.array, a_batch())) if there else a_batch()
    assert_the_step_is_as_on_numpy(model, batch, build(3, **settings))


@CASES
def test_a_training_step_relies_on_no_memory_layout(build, settings):
    with fakecupy.installed(), fakecupy.scrambled_layouts():
        assert_the_step_is_as_on_numpy(build(3, **settings).to("cuda"), a_batch(), build(3, **settings))


@CASES
def test_float32_stays_float32(backend, build, settings):
    model, batch = build(4, **settings).to(backend.device), a_batch()
    logits, attention = model(batch[0], batch[1], batch[3], return_attention=True)
    found = [logits, *attention.values()]
    found += model.step(model.encode(batch[0]).state, batch[1][:, 0], model.encode(batch[0], batch[3]))[1:]
    loss, norm, optimizer = training_step(model, batch)
    assert_float32(backend, [*found, loss], norm, model, optimizer)


def assert_float32(backend, found, norm, model, optimizer):
    for tensor in (*found, *model.parameters()):
        assert tensor.dtype == np.float32
        assert device_of(tensor.data) == device_of(backend.array(0))
    for array in (norm, *(p.grad for p in model.parameters())):
        assert array.dtype == np.float32
    for state in optimizer.states.values():
        assert all(state[slot].dtype == np.float32 for slot in optimizer.slots)


@CASES
@pytest.mark.parametrize("beam", [1, 3])
def test_beam_search_is_the_same_everywhere(backend, build, settings, beam):
    source, _, _, mask = a_batch()
    expected, model = (build(5, **settings).eval() for _ in range(2))
    model.to(backend.device)
    found = beam_search(model, model.encode(source, mask), beam, BOS, EOS, 5)
    for here, there in zip(beam_search(expected, expected.encode(source, mask), beam, BOS, EOS, 5), found, strict=True):
        assert [(h.ids, h.finished) for h in there] == [(h.ids, h.finished) for h in here]
        for h, wanted in zip(there, here, strict=True):
            assert type(h.alignment) is np.ndarray
            assert h.log_probability == pytest.approx(wanted.log_probability, rel=1e-5)
            np.testing.assert_allclose(h.alignment, wanted.alignment, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------- the language model
LANGUAGE_MODELS = pytest.mark.parametrize(
    "settings",
    [{"d_model": 16}, {"d_model": 16, "norm": "post", "positions": "sinusoidal", "dropout": 0.3, "activation": "relu"}],
    ids=["as GPT-2", "as the Transformer, dropout"],
)


def language_step(model, batch):
    """As `training_step`, of the target's words one after another."""
    optimizer = Adam(model.named_parameters(), 0.01, eps=1e-4)
    loss = ma.cross_entropy(model(batch[1]), batch[2], ignore_index=PAD, reduction="sum")
    loss.backward()
    norm = clip_grad_norm(model.parameters(), 1.0)
    optimizer.step()
    return loss, norm, optimizer


@LANGUAGE_MODELS
@pytest.mark.parametrize("there", [False, True], ids=["ids on the host", "ids there"])
def test_a_language_models_step_is_the_same_everywhere_and_waits_for_nothing(backend, settings, there):
    model = random_language_model(3, **settings).to(backend.device)
    batch = tuple(map(backend.array, a_batch())) if there else a_batch()
    assert_the_step_is_as_on_numpy(model, batch, random_language_model(3, **settings), language_step)


@LANGUAGE_MODELS
def test_a_language_models_step_relies_on_no_memory_layout(settings):
    with fakecupy.installed(), fakecupy.scrambled_layouts():
        model = random_language_model(3, **settings).to("cuda")
        assert_the_step_is_as_on_numpy(model, a_batch(), random_language_model(3, **settings), language_step)


@LANGUAGE_MODELS
def test_a_language_model_stays_float32(backend, settings):
    model, batch = random_language_model(3, **settings).to(backend.device), a_batch()
    logits, attention = model(batch[1], return_attention=True)
    state, first = model.step(None, batch[1][:, :2])
    _, second = model.step(state, batch[1][:, 2:])
    loss, norm, optimizer = language_step(model, batch)
    assert_float32(backend, [logits, *attention.values(), first, second, loss], norm, model, optimizer)


@LANGUAGE_MODELS
def test_texts_are_the_same_everywhere(backend, settings):
    expected, model = (random_language_model(5, **settings).eval() for _ in range(2))
    model.to(backend.device)
    texts = [m.generate(np.array([1, 2]), 12, np.random.default_rng(0), top_k=3) for m in (expected, model)]
    assert type(texts[1]) is np.ndarray
    np.testing.assert_array_equal(*texts)
