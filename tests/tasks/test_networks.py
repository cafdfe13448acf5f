"""The settings of each network: how they are chosen, changed, stored and refused."""

import dataclasses
from pathlib import Path

import pytest

from minattn.errors import CheckpointError, ConfigError
from minattn.tasks.g2p import task as g2p
from minattn.tasks.g2p.settings import MODELS, RNNsearchG2P, TransformerG2P, config_from, default_config, stored_config

WHERE = Path("run/config.json")

OF_THE_FIRST_VERSION = {
    **{"model": "rnnsearch", "embedding": 6, "hidden": 8, "alignment": 6, "maxout": 6, "readout": "current"},
    **{"dropout": 0.0, "batch_size": 16, "epochs": 3, "lr": 0.03, "warmup": 200, "max_norm": 5.0, "beam": 4, "seed": 1},
}


@pytest.mark.parametrize("model", MODELS)
def test_each_network_has_defaults_under_its_name(model):
    config = default_config(model)
    assert config.model == model
    assert g2p.default_config(model) == config
    assert config_from([], model) == config_from([f"model={model}"]) == config_from([f"model={model}"], model) == config


def test_without_a_name_it_is_rnnsearch():
    assert config_from([]) == default_config() == RNNsearchG2P()


def test_settings_change_those_of_their_network():
    assert config_from(["hidden=7", "model=rnnencdec"]) == RNNsearchG2P(model="rnnencdec", hidden=7)
    changed = config_from(["layers=3", "norm=pre", "dropout=0", "alpha=0.6"], "transformer")
    assert changed == TransformerG2P(layers=3, norm="pre", dropout=0.0, alpha=0.6)


@pytest.mark.parametrize(
    ("model", "setting", "own"),
    [
        ("rnnsearch", "layers=2", "embedding"),
        ("rnnencdec", "alpha=1", "hidden"),
        ("transformer", "hidden=3", "d_model"),
    ],
)
def test_a_setting_of_another_network_is_refused_naming_those_that_exist(model, setting, own):
    with pytest.raises(ConfigError, match=f"there is no setting .*; the settings are model, .*epochs.*{own}"):
        config_from([f"model={model}", setting])


@pytest.mark.parametrize("choice", [(["model=lstm"],), ([], "lstm"), (["model="],)])
def test_an_unknown_network_is_refused(choice):
    with pytest.raises(ConfigError, match=r"model must be one of rnnsearch, rnnencdec, transformer, got '(lstm)?'"):
        config_from(*choice)


def test_two_networks_are_refused():
    with pytest.raises(ConfigError, match="given twice, as 'transformer' and by model=rnnsearch; hint"):
        config_from(["model=rnnsearch"], "transformer")


@pytest.mark.parametrize(
    "setting",
    [
        *("layers=0", "d_model=0", "d_ff=-1", "heads=0", "norm=none", "positions=none", "dropout=1", "epochs=0"),
        *("label_smoothing=1", "label_smoothing=-0.1", "alpha=-1", "alpha=inf", "alpha=nan"),
    ],
)
def test_a_transformer_refuses_settings_out_of_range_by_their_names(setting):
    with pytest.raises(ConfigError, match=f"^{setting.partition('=')[0]} must be "):
        config_from([setting], "transformer")


@pytest.mark.parametrize("setting", ["heads=3", "d_model=130"])
def test_a_width_that_does_not_divide_into_heads_is_refused(setting):
    with pytest.raises(ConfigError, match=r"heads must divide d_model = \d+, got \d"):
        config_from([setting], "transformer")


@pytest.mark.parametrize("model", MODELS)
def test_settings_survive_being_stored(model):
    config = dataclasses.replace(default_config(model), epochs=2, seed=5)
    assert stored_config(dataclasses.asdict(config), WHERE) == config


def test_settings_of_older_runs_are_read():
    config = stored_config(OF_THE_FIRST_VERSION, WHERE)
    assert config == RNNsearchG2P(embedding=6, hidden=8, alignment=6, maxout=6, batch_size=16, epochs=3, lr=0.03)
    assert dataclasses.asdict(config) == {**OF_THE_FIRST_VERSION, "threads": 1}


@pytest.mark.parametrize("model", ["lstm", 3, None, ["rnnsearch"]])
def test_a_stored_network_that_is_unknown_is_refused(model):
    with pytest.raises(CheckpointError, match=r"config.json: model is .* and must be one of .*transformer; hint"):
        stored_config({**OF_THE_FIRST_VERSION, "model": model}, WHERE)


def test_stored_settings_of_another_network_are_refused():
    with pytest.raises(CheckpointError, match=r"TransformerG2P: it lacks 'layers'.* it has 'embedding', which is none"):
        stored_config({**OF_THE_FIRST_VERSION, "model": "transformer"}, WHERE)


@pytest.mark.parametrize("model", MODELS)
def test_the_learning_rate_rises_over_the_warmup_and_ends_low(model):
    config = dataclasses.replace(default_config(model), warmup=100)
    for steps, warmup in ((5000, 100), (50, 5), (1, 1)):
        rates = [config.schedule(steps)(step) for step in range(1, steps + 1)]
        assert rates[:warmup] == sorted(rates[:warmup])
        assert rates[warmup - 1 :] == sorted(rates[warmup - 1 :], reverse=True)
        assert max(rates) == pytest.approx(config.lr, rel=0.05)
    assert config.schedule(5000)(5000) < config.lr / 40


def test_more_threads_than_rows_are_refused():
    with pytest.raises(ConfigError, match="threads must be at most batch_size = 64, got 65"):
        config_from(["threads=65"])
    config_from(["threads=64"])
