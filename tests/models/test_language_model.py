"""The language model against its equations written out, one symbol after another, and what it generates."""

import itertools

import numpy as np
import pytest
import transformer_by_hand as by_hand
from hypothesis import given
from hypothesis import strategies as st
from small_models import SEEDS, SIZES, random_language_model

import minattn as ma
from minattn.errors import ConfigError, ShapeError, TrainingError
from minattn.models import LanguageModel, LanguageModelConfig
from minattn.testing import check_gradients

WORDS = SIZES["target_vocab_size"]
CHOICES = {
    "norm": ["post", "pre"],
    "positions": ["sinusoidal", "learned", "rotary"],
    "activation": ["relu", "gelu", "gelu_tanh"],
}


@st.composite
def settings_of_models(draw):
    heads = draw(st.integers(1, 2))
    sizes = {"layers": draw(st.integers(1, 2)), "heads": heads, "d_model": 2 * heads * draw(st.integers(1, 2))}
    return sizes | {name: draw(st.sampled_from(of)) for name, of in CHOICES.items()} | {"biases": draw(st.booleans())}


def some_text(seed=0, batch=2, n=6):
    return np.random.default_rng(seed).integers(0, WORDS, (batch, n))


def next_logits(model, text):
    """Of the symbol after a text, from a pass over it all."""
    return model(np.array([text])).data[0, -1]


# ---------------------------------------------------------------------------------------------- the equations
@given(settings=settings_of_models(), seed=SEEDS, n=st.integers(1, 5))
def test_the_model_is_its_equations(settings, seed, n):
    model, text = random_language_model(seed, np.float64, **settings), some_text(seed, n=n)
    logits, attention = model(text, return_attention=True)
    assert list(attention) == [f"layers.{i}.self_attention" for i in range(model.config.layers)]
    for b in range(len(text)):
        expected, alignments = by_hand.language_model(model, text[b].tolist())
        np.testing.assert_allclose(logits.data[b], expected, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(
            [weights.data[b] for weights in attention.values()], alignments, rtol=1e-7, atol=1e-9
        )
    np.testing.assert_allclose(model(text).data, logits.data, rtol=1e-9, atol=1e-11)


@given(settings=settings_of_models(), seed=SEEDS, i=st.integers(0, 5))
def test_a_symbol_changes_nothing_before_it(settings, seed, i):
    model, text = random_language_model(seed, np.float64, **settings), some_text(seed)
    other = text.copy()
    other[:, i] = (other[:, i] + 1) % WORDS
    logits, again = (model(t).data for t in (text, other))
    np.testing.assert_allclose(logits[:, :i], again[:, :i], rtol=1e-7, atol=1e-9)


def test_no_gradient_comes_from_the_future():
    model, text = random_language_model(dtype=np.float64), some_text(batch=1, n=7)
    model.positions.weight.grad = None
    ma.sum(model(text)[:, 3] ** 2).backward()
    gradient = model.positions.weight.grad
    assert (gradient[4:] == 0).all()
    assert (np.abs(gradient[:4]) > 1e-9).any(1).all()


@given(settings=settings_of_models(), seed=SEEDS, cuts=st.sets(st.integers(1, 5)))
def test_reading_in_pieces_is_reading_at_once(settings, seed, cuts):
    model, text = random_language_model(seed, np.float64, **settings), some_text(seed)
    state, pieces = None, []
    for start, stop in itertools.pairwise([0, *sorted(cuts), text.shape[1]]):
        state, logits = model.step(state, text[:, start:stop])
        assert state.length == stop
        pieces.append(logits.data)
    np.testing.assert_allclose(np.concatenate(pieces, 1), model(text).data, rtol=1e-7, atol=1e-9)


def test_rows_of_the_state_may_be_picked():
    model, text = random_language_model(dtype=np.float64), some_text(batch=3)
    rows = np.array([2, 0, 2, 1])
    state, _ = model.step(None, text[:, :4])
    _, logits = model.step(state[rows], text[rows, 4:])
    np.testing.assert_allclose(logits.data, model(text[rows]).data[:, 4:], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "settings", [{}, {"positions": "rotary"}, {"norm": "post", "positions": "sinusoidal", "activation": "relu"}]
)
def test_gradients_of_the_loss(settings):
    model, text = random_language_model(1, np.float64, layers=1, **settings), some_text(n=4)
    parameters = model.named_parameters()
    check_gradients(lambda: ma.cross_entropy(model(text[:, :-1]), text[:, 1:]), parameters=parameters)
    ma.cross_entropy(model(text[:, :-1]), text[:, 1:]).backward()
    idle = [name for name, p in parameters.items() if np.abs(p.grad).max() < 1e-9]
    turned = settings.get("positions") == "rotary"
    assert idle == ([] if turned else ["layers.0.self_attention.b_K"])  # adds the same to all scores of a query


def test_it_learns_a_rhythm():
    """0 1 2 3 4 0 1 ..: after some steps of gradient descent every next symbol is known."""
    model = LanguageModel(LanguageModelConfig(WORDS, 1, 16, 32, 2, max_length=10), np.random.default_rng(0))
    text = (np.arange(11) + np.arange(WORDS)[:, None]) % WORDS
    for _ in range(40):
        model.zero_grad()
        loss = ma.cross_entropy(model(text[:, :-1]), text[:, 1:])
        loss.backward()
        for parameter in model.parameters():
            parameter.data = parameter.data - np.float32(0.3) * parameter.grad
    assert float(loss) < 0.1
    made = model.generate(np.array([3]), 9, np.random.default_rng(0), temperature=0.0)
    assert made.tolist() == [4, 0, 1, 2, 3, 4, 0, 1, 2]


# ---------------------------------------------------------------------------------------------- generating
@given(settings=settings_of_models(), seed=SEEDS, n=st.integers(1, 3), length=st.integers(0, 4))
def test_with_temperature_zero_it_takes_the_likeliest(settings, seed, n, length):
    model = random_language_model(seed, np.float64, **settings)
    prompt = some_text(seed, 1, n)[0]
    text = prompt.tolist()
    for _ in range(length):
        text.append(int(next_logits(model, text).argmax()))
    assert model.generate(prompt, length, np.random.default_rng(0), temperature=0.0).tolist() == text[n:]


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (2.0, None), (0.5, 3), (1.0, 9)])
def test_symbols_are_drawn_as_often_as_they_are_likely(temperature, top_k):
    model, count = random_language_model(), 2000
    logits = np.array([0.5, -1.0, 1.5, 0.0, 1.0], np.float32)
    model.step = lambda state, ids: (state, ma.tensor(logits[None, None]))
    p = np.exp(logits / temperature)
    p[np.argsort(-p)[top_k or WORDS :]] = 0
    p /= p.sum()
    drawn = model.generate(np.array([1]), count, np.random.default_rng(0), temperature, top_k)
    found = np.bincount(drawn, minlength=WORDS) / count
    assert (np.abs(found - p) <= 4.5 * np.sqrt(p * (1 - p) / count)).all()


def test_one_generator_gives_one_text_and_symbols_come_one_by_one():
    model, prompt = random_language_model(), np.array([1, 2])
    texts = [model.generate(prompt, 6, np.random.default_rng(seed)).tolist() for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]
    assert list(itertools.islice(model.symbols(prompt, np.random.default_rng(5)), 6)) == texts[0]


def test_it_stops_after_eos():
    model, prompt = random_language_model(), np.array([1, 2])
    whole = model.generate(prompt, 20, np.random.default_rng(5)).tolist()
    eos = whole[3]
    stopped = model.generate(prompt, 20, np.random.default_rng(5), eos=eos).tolist()
    assert stopped == whole[: whole.index(eos) + 1]


def reads_and_text(model, prompt, length):
    """What the model is given to read, piece by piece, and the whole text."""
    reads, step = [], model.step
    model.step = lambda state, ids: reads.append(ids[0].tolist()) or step(state, ids)
    made = model.generate(np.array(prompt), length, np.random.default_rng(2))
    return reads, [*prompt, *made.tolist()]


def test_beyond_the_learned_positions_it_goes_on_from_the_last_half():
    """7 positions: when the 8th symbol would be read, the last 4 are read again, as a text of their own."""
    reads, text = reads_and_text(random_language_model(), [1, 2, 3], 13)
    assert len(set(text[3:])) > 2
    ends = range(3, 16)  # of the text, when a symbol is drawn
    assert reads == [text[end - n : end] for end, n in zip(ends, [3, 1, 1, 1, 1, 4, 1, 1, 1, 4, 1, 1, 1], strict=True)]


def test_what_is_read_again_is_a_text_of_its_own():
    model, prompt = random_language_model(3, np.float64), some_text(n=7)[0]
    first, second = model.generate(prompt, 2, np.random.default_rng(0), temperature=0.0).tolist()
    text = [*prompt.tolist(), first]
    assert [first, second] == [next_logits(model, text[:7]).argmax(), next_logits(model, text[4:]).argmax()]


def test_a_prompt_beyond_the_learned_positions_is_read_from_its_last_half():
    prompt = some_text(n=30)[0].tolist()
    assert reads_and_text(random_language_model(), prompt, 1)[0] == [prompt[-4:]]
    assert reads_and_text(random_language_model(), prompt[:7], 1)[0] == [prompt[:7]]


def test_sinusoidal_positions_have_no_end():
    model, prompt = random_language_model(3, np.float64, positions="sinusoidal"), np.array([1])
    text = [1]
    for _ in range(12):
        text.append(int(next_logits(model, text).argmax()))
    assert model.generate(prompt, 12, np.random.default_rng(0), temperature=0.0).tolist() == text[1:]


def test_nothing_is_recorded_but_outside_it_is():
    model, weight = random_language_model(), ma.tensor([1.0], requires_grad=True)
    for _ in itertools.islice(model.symbols(np.array([1]), np.random.default_rng(0)), 2):
        assert (weight * 2).requires_grad
    seen, step = [], model.step
    model.step = lambda *args: seen.append(step(*args)) or seen[-1]
    model.generate(np.array([1]), 2, np.random.default_rng(0))
    assert [logits.requires_grad for _, logits in seen] == [False, False]


# ---------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("prompt", "length", "temperature", "top_k", "message"),
    [
        ([], 3, 1.0, None, "a prompt needs at least one symbol, got none; hint"),
        ([1], -1, 1.0, None, "length must be at least 0, got -1"),
        ([1], 3, -0.5, None, "temperature must be a finite number of at least 0.*got -0.5"),
        ([1], 3, float("nan"), None, "temperature must be a finite number of at least 0.*got nan"),
        ([1], 3, 1.0, 0, "top_k, if given, at least 1; got 1.0 and 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(prompt, length, temperature, top_k, message):
    prompt, rng = np.array(prompt, dtype=int), np.random.default_rng(0)
    with pytest.raises(ConfigError, match=message):
        random_language_model().generate(prompt, length, rng, temperature, top_k)
    if length >= 0:
        with pytest.raises(ConfigError, match=message):
            random_language_model().symbols(prompt, rng, temperature, top_k)


def test_a_symbol_that_does_not_exist_and_a_text_that_is_too_long_are_refused():
    model = random_language_model()
    with pytest.raises(IndexError, match="embedding: id 5 is out of range for 5"):
        model(np.array([[1, 5]]))
    with pytest.raises(ShapeError, match="8 positions are needed, and 7 were learned; hint"):
        model(some_text(n=8))
    state, _ = model.step(None, some_text(n=7))
    with pytest.raises(ShapeError, match="8 positions are needed, and 7 were learned; hint"):
        model.step(state, some_text(n=1))


def test_a_model_that_gives_no_numbers_is_refused():
    model = random_language_model()
    model.norm.bias.data = np.full_like(model.norm.bias.data, np.nan)
    with pytest.raises(TrainingError, match="not numbers"):
        model.generate(np.array([1]), 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be a whole number of at least 1, got 0"),
        ({"activation": "tanh"}, 'activation must be one of "relu", "gelu", "gelu_tanh"; got \'tanh\''),
        ({"norm": "none"}, 'norm must be one of "post", "pre"; got \'none\''),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"positions": "sinusoidal", "d_model": 3}, "sinusoidal positions need an even d_model, got 3"),
        (
            {"positions": "rotary", "d_model": 6, "heads": 2},
            "rotary positions need heads of an even size, .* = 3; hint",
        ),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong, message):
    config = LanguageModelConfig()
    for name, value in wrong.items():
        object.__setattr__(config, name, value)  # the tests' type checks would be first to refuse it
    with pytest.raises(ConfigError, match=message):
        config.__post_init__()
