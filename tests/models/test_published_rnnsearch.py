"""The published RNNsearch and RNNencdec: every block of weights counted, and where the weights start.

The counts are those of the printed equations with 30,000 words a language; the paper gives none itself.
"""

import tracemalloc

import numpy as np
import pytest

from minattn.models import RNNsearch, RNNsearchConfig
from minattn.models.sequence.rnnsearch import CONFIGURATIONS
from minattn.nn import initializers

BLOCKS = {
    "E_src": ["encoder.embedding.weight"],
    "forward encoder": ["encoder.unit.forwards.W", "encoder.unit.forwards.U", "encoder.unit.W", "encoder.unit.U"],
    "backward encoder": ["encoder.unit.backwards.W", "encoder.unit.backwards.U"],
    "E_tgt": ["decoder.embedding.weight"],
    "decoder W, U": ["decoder.W", "decoder.U"],
    "decoder C": ["decoder.C"],
    "W_s": ["decoder.W_s"],
    "W_a, U_a, v_a": ["attention.W_a", "attention.U_a", "attention.v_a"],
    "U_o, V_o, C_o": ["decoder.U_o", "decoder.V_o", "decoder.C_o"],
    "W_o": ["decoder.W_o"],
}
"""The rows of the table, and the parameters that each may be made of (RNNencdec's encoder is one unit)."""

COUNTS = {
    "rnnsearch": {
        "E_src": 18_600_000,
        "forward encoder": 4_860_000,
        "backward encoder": 4_860_000,
        "E_tgt": 18_600_000,
        "decoder W, U": 4_860_000,
        "decoder C": 6_000_000,
        "W_s": 1_000_000,
        "W_a, U_a, v_a": 3_001_000,
        "U_o, V_o, C_o": 3_620_000,
        "W_o": 15_000_000,
    },
    "rnnencdec": {
        "E_src": 18_600_000,
        "forward encoder": 4_860_000,
        "backward encoder": 0,
        "E_tgt": 18_600_000,
        "decoder W, U": 4_860_000,
        "decoder C": 3_000_000,
        "W_s": 1_000_000,
        "W_a, U_a, v_a": 0,
        "U_o, V_o, C_o": 2_620_000,
        "W_o": 15_000_000,
    },
}
TOTALS = {"rnnsearch": 80_401_000, "rnnencdec": 68_540_000}
TOTALS_WITH_UNK = {"rnnsearch": 80_402_740, "rnnencdec": 68_541_740}


def unallocated(config):
    with initializers.unallocated():
        return RNNsearch(config, np.random.default_rng(0))


def counted(model):
    sizes = {name: parameter.size for name, parameter in model.named_parameters().items()}
    counts = {row: sum(sizes.pop(name, 0) for name in names) for row, names in BLOCKS.items()}
    assert not sizes, "every parameter belongs to a row of the table"
    return counts


# ---------------------------------------------------------------------------------------------- counts
@pytest.mark.parametrize("name", ["rnnsearch", "rnnencdec"])
def test_every_row_of_the_table_of_counts(name):
    model = unallocated(CONFIGURATIONS[name])
    assert counted(model) == COUNTS[name]
    assert model.count_parameters() == TOTALS[name]


@pytest.mark.parametrize("name", ["rnnsearch", "rnnencdec"])
def test_one_more_row_for_unknown_words(name):
    config = RNNsearchConfig(30_001, 30_001, attention=name == "rnnsearch")
    assert unallocated(config).count_parameters() == TOTALS_WITH_UNK[name]


def test_the_default_sizes_are_the_papers():
    config = RNNsearchConfig()
    assert (config.source_vocab_size, config.target_vocab_size) == (30_000, 30_000)
    assert (config.embedding, config.hidden, config.alignment, config.maxout) == (620, 1000, 1000, 500)
    assert (config.dropout, config.biases, config.readout, config.init) == (0.0, False, "previous", "paper")
    assert CONFIGURATIONS["rnnsearch"] == config
    assert CONFIGURATIONS["rnnencdec"] == RNNsearchConfig(attention=False)


@pytest.mark.parametrize("name", ["rnnsearch", "rnnencdec"])
def test_the_readout_costs_nothing_and_the_biases_what_they_are(name):
    attention, n = name == "rnnsearch", 1000
    current = RNNsearchConfig(attention=attention, readout="current")
    assert unallocated(current).count_parameters() == TOTALS[name]
    units = 3 if attention else 2  # two or one in the encoder, one in the decoder
    biases = units * 3 * n + n + 2 * 500 + 30_000
    assert unallocated(RNNsearchConfig(attention=attention, biases=True)).count_parameters() == TOTALS[name] + biases


def test_counting_takes_no_memory():
    unallocated(CONFIGURATIONS["rnnsearch"])
    tracemalloc.start()
    try:
        model = unallocated(CONFIGURATIONS["rnnsearch"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.count_parameters() * 4 > 320e6
    assert peak < 1e6


# ---------------------------------------------------------------------------------------------- initial values
@pytest.fixture(scope="module", params=[True, False], ids=["RNNsearch", "RNNencdec"])
def weights(request):
    """A model large enough for statistics, as the paper starts it."""
    config = RNNsearchConfig(50, 50, 60, 64, 70, 30, biases=True, attention=request.param)
    return RNNsearch(config, np.random.default_rng(7)).state_dict()


def assert_normal(values, std):
    """As many numbers from N(0, std^2): mean, spread and the two tails, each within five standard errors."""
    count = values.size
    assert abs(values.mean()) < 5 * std / count**0.5
    assert abs(values.std() / std - 1) < 5 / (2 * count) ** 0.5
    beyond = np.mean(np.abs(values) > 2 * std)
    assert abs(beyond - 0.0455) < 5 * (0.0455 / count) ** 0.5


def of_kind(weights, kind):
    return {name: w for name, w in weights.items() if kind(name.rpartition(".")[2])}


def test_v_and_the_biases_start_at_zero(weights):
    zeros = of_kind(weights, lambda last: last == "v_a" or last.startswith("b"))
    attention = "attention.v_a" in weights
    assert len(zeros) == (7 if attention else 5)
    for name, w in zeros.items():
        assert (w == 0).all(), name


def test_the_alignment_starts_at_a_thousandth(weights):
    for w in of_kind(weights, lambda last: last in ("W_a", "U_a")).values():
        assert_normal(w, 0.001)


def test_recurrent_matrices_start_orthogonal(weights):
    recurrent = of_kind(weights, lambda last: last == "U")
    assert len(recurrent) == (3 if "attention.v_a" in weights else 2)
    blocks = [block for U in recurrent.values() for block in np.split(U, 3, axis=1)]
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(64), atol=1e-5)
    for i, block in enumerate(blocks):
        assert all(np.abs(block - other).max() > 0.1 for other in blocks[:i]), "every one is drawn on its own"


def test_all_other_weights_start_at_a_hundredth(weights):
    others = of_kind(weights, lambda last: last in ("weight", "W", "C", "W_s", "U_o", "V_o", "C_o", "W_o"))
    assert len(others) == (11 if "attention.v_a" in weights else 10)
    for w in others.values():
        assert_normal(w, 0.01)


def test_glorot_starts_wide_enough_for_a_small_model():
    """Uniform with variance 2 / (inputs + outputs) of each single matrix; the rest starts as in the paper."""
    sizes = {"embedding": 60, "hidden": 64, "alignment": 70, "maxout": 30}
    weights = RNNsearch(RNNsearchConfig(50, 50, **sizes, init="glorot"), np.random.default_rng(7)).state_dict()
    fans = {"W": (60, 64), "C": (128, 64), "W_s": (64, 64), "U_o": (64, 60), "V_o": (60, 60), "C_o": (128, 60)}
    fans |= {"W_a": (64, 70), "U_a": (128, 70)}
    for name, w in weights.items():
        last = name.rpartition(".")[2]
        if last in fans:
            bound = (6 / sum(fans[last])) ** 0.5
            assert 0.98 * bound < np.abs(w).max() <= bound
            assert abs(w.std() * 3**0.5 / bound - 1) < 0.05
    np.testing.assert_allclose(np.abs(weights["decoder.W_o"]).max(), (6 / 80) ** 0.5, rtol=0.02)
    assert 0.9 * (6 / 71) ** 0.5 < np.abs(weights["attention.v_a"]).max() <= (6 / 71) ** 0.5
    assert_normal(weights["encoder.embedding.weight"], 0.1)
    assert_normal(weights["decoder.embedding.weight"], 0.1)
