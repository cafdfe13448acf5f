"""The published networks of Luong et al.: every block of parameters counted, and where the parameters start.

The counts are those of the printed equations with 50,000 words a language, 4 layers of 1000 cells without biases, and
S_max = 50; the paper gives none itself.
"""

from dataclasses import replace

import numpy as np
import pytest

from minattn.models import Luong, LuongConfig
from minattn.models.sequence.luong import CONFIGURATIONS
from minattn.nn import initializers

MILLION = 1_000_000
ROWS = {
    # configuration: (decoder, attention)
    "base": (32, 0),
    "base, reverse": (32, 0),
    "base, reverse, dropout": (32, 0),
    "global (location)": (32, 2.05),
    "global (dot)": (32, 2),
    "global (dot), feed": (36, 2),
    "global (general), feed": (36, 3),
    "global (concat), feed": (36, 4.001),
    "global (concat_coded), feed": (36, 3.001),
    "global (location), feed": (36, 2.05),
    "local-m (dot), feed": (36, 2),
    "local-m (general), feed": (36, 3),
    "local-p (dot), feed": (36, 3.001),
    "local-p (general), feed": (36, 4.001),
}
"""In millions; embeddings, encoder and softmax are the same everywhere."""

TOTALS = {
    "base": 214_000_000,
    "global (location)": 216_050_000,
    "global (dot)": 216_000_000,
    "global (dot), feed": 220_000_000,
    "global (general), feed": 221_000_000,
    "global (concat), feed": 222_001_000,
    "global (concat_coded), feed": 221_001_000,
    "local-m (general), feed": 221_000_000,
    "local-p (dot), feed": 221_001_000,
    "local-p (general), feed": 222_001_000,
}


def unallocated(config):
    with initializers.unallocated():
        return Luong(config, np.random.default_rng(0))


def counted(model):
    """The number of parameters by block."""
    counts = dict.fromkeys(["embeddings", "encoder", "decoder", "softmax", "attention"], 0)
    for name, parameter in model.named_parameters().items():
        last = name.rpartition(".")[2]
        blocks = {"weight": "embeddings", "W_s": "softmax", "W_c": "attention"}
        counts[blocks.get(last, name.partition(".")[0])] += parameter.size
    return counts


# ---------------------------------------------------------------------------------------------- counts
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_row_of_the_table_of_counts(name):
    model = unallocated(CONFIGURATIONS[name])
    decoder, attention = (round(millions * MILLION) for millions in ROWS[name])
    blocks = {"embeddings": 100 * MILLION, "encoder": 32 * MILLION, "decoder": decoder, "softmax": 50 * MILLION}
    assert counted(model) == blocks | {"attention": attention}
    assert model.count_parameters() == TOTALS.get(name, sum(blocks.values()) + attention)


def test_the_table_has_a_row_for_every_configuration():
    assert set(ROWS) == set(CONFIGURATIONS)
    assert set(TOTALS) < set(ROWS)


def test_the_size_of_each_layer():
    """4n(in + n): the first layer of the decoder, which is fed, reads 2n numbers."""
    model = unallocated(CONFIGURATIONS["global (general), feed"])
    sizes = [layer.W.size + layer.U.size for layer in model.decoder.layers]
    assert sizes == [12 * MILLION, 8 * MILLION, 8 * MILLION, 8 * MILLION]
    assert model.decoder.W_c.size == 2 * MILLION


@pytest.mark.parametrize("name", ["base", "local-p (general), feed"])
def test_biases_are_four_n_for_each_layer(name):
    config = replace(CONFIGURATIONS[name], biases=True)
    assert unallocated(config).count_parameters() == TOTALS[name] + 8 * 4 * 1000


def test_the_defaults_are_the_papers_best_single_model():
    config = LuongConfig()
    assert config == CONFIGURATIONS["local-p (general), feed"]
    assert (config.source_vocab_size, config.target_vocab_size) == (50_000, 50_000)
    assert (config.embedding, config.hidden, config.layers) == (1000, 1000, 4)
    assert (config.window, config.dropout, config.reverse, config.init) == (10, 0.2, True, "paper")
    assert unallocated(config).attention.sigma == 5


# ---------------------------------------------------------------------------------------------- initial values
SMALL = {"source_vocab_size": 60, "target_vocab_size": 50, "embedding": 40, "hidden": 32, "layers": 2}


@pytest.mark.parametrize("score", ["general", "concat", "location"])
def test_all_parameters_start_uniform_between_a_tenth(score):
    model = Luong(LuongConfig(**SMALL, score=score), np.random.default_rng(7))
    for name, parameter in model.named_parameters().items():
        values = parameter.data
        assert -0.1 <= values.min() < -0.08 < 0.08 < values.max() <= 0.1, name
        assert abs(values.mean()) < 5 * 0.1 / (3 * values.size) ** 0.5, name


def test_glorot_starts_matrices_by_their_size_and_recurrent_ones_orthogonal():
    model = Luong(LuongConfig(**SMALL, init="glorot", biases=True), np.random.default_rng(7))
    fans = {
        "decoder.W_c": 64 + 32,
        "decoder.W_s": 2 * 32,  # of its inputs alone
        "attention.W_a": 64,
        "attention.W_p": 64,
        "attention.v_p": 33,
    }
    fans |= {"encoder.layers.0.W": 40 + 32, "encoder.layers.1.W": 64, "decoder.layers.0.W": 40 + 32 + 32}
    weights = model.state_dict()
    for name, fan in fans.items():
        bound = (6 / fan) ** 0.5
        assert 0.8 * bound < np.abs(weights[name]).max() <= bound, name
    for layer in (*model.encoder.layers, *model.decoder.layers):
        for block in np.split(layer.U.data, 4, axis=1):
            np.testing.assert_allclose(block @ block.T, np.eye(32), atol=1e-5)
        np.testing.assert_array_equal(layer.bias.data, np.repeat([0, 1, 0, 0], 32))
    assert abs(weights["encoder.embedding.weight"].std() - 1) < 0.1
