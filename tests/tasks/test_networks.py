"""The settings of each network: how they are chosen, changed, stored and refused."""

import dataclasses
from pathlib import Path

import pytest

from minattn.errors import CheckpointError, ConfigError
from minattn.tasks.config import as_json, from_json, replaced
from minattn.tasks.g2p.settings import MODELS
from minattn.tasks.g2p.task import G2P

WHERE = Path("run/config.json")

configure = G2P().configure


@pytest.mark.parametrize("model", MODELS)
def test_each_network_has_defaults_under_its_name(model):
    config = G2P().default(model)
    assert config.model == model
    assert configure([], model) == configure([f"model={model}"]) == configure([f"model={model}"], model) == config
    assert config.attends == (model != "rnnencdec")


def test_without_a_name_it_is_rnnsearch():
    assert configure([]) == G2P().default() == MODELS["rnnsearch"]


def test_settings_change_those_of_their_network():
    assert configure(["hidden=7", "model=rnnencdec"]) == replaced(MODELS["rnnencdec"], {"network.hidden": 7})
    changed = configure(["layers=3", "network.norm=pre", "dropout=0", "alpha=0.6"], "transformer")
    changes = {"network.layers": 3, "network.norm": "pre", "network.dropout": 0.0, "alpha": 0.6}
    assert changed == replaced(MODELS["transformer"], changes)


@pytest.mark.parametrize(
    ("model", "setting", "own"),
    [
        ("rnnsearch", "layers=2", "embedding"),
        ("rnnencdec", "positions=learned", "hidden"),
        ("transformer", "hidden=3", "d_model"),
    ],
)
def test_a_setting_of_another_network_is_refused_naming_those_that_exist(model, setting, own):
    with pytest.raises(ConfigError, match=f"there is no setting .*; hint: one of .*epochs.*{own}"):
        configure([f"model={model}", setting])


@pytest.mark.parametrize("size", ["source_vocab_size", "target_vocab_size"])
def test_the_sizes_of_the_vocabularies_are_no_settings(size):
    with pytest.raises(ConfigError, match=f"there is no setting '{size}'"):
        configure([f"{size}=9"])


@pytest.mark.parametrize("choice", [(["model=lstm"],), ([], "lstm"), (["model="],)])
def test_an_unknown_network_is_refused(choice):
    with pytest.raises(ConfigError, match=r"no model '(lstm)?'; hint: one of rnnsearch, rnnencdec, luong, transformer"):
        configure(*choice)
    with pytest.raises(ConfigError, match=r"no model 'transfomer'; hint: transformer$"):
        configure([], "transfomer")


def test_two_networks_are_refused():
    with pytest.raises(ConfigError, match="given twice, as 'transformer' and by model=rnnsearch; hint"):
        configure(["model=rnnsearch"], "transformer")


@pytest.mark.parametrize(
    "setting",
    [
        *("layers=0", "d_model=0", "d_ff=-1", "heads=0", "norm=none", "positions=none", "dropout=1", "epochs=0"),
        *("label_smoothing=1", "label_smoothing=-0.1", "alpha=-1", "alpha=inf", "alpha=nan"),
    ],
)
def test_a_transformer_refuses_settings_out_of_range_by_their_names(setting):
    with pytest.raises(ConfigError, match=f"^{setting.partition('=')[0]} must be "):
        configure([setting], "transformer")


@pytest.mark.parametrize("setting", ["heads=3", "d_model=130"])
def test_a_width_that_does_not_divide_into_heads_is_refused(setting):
    with pytest.raises(ConfigError, match=r"heads must divide d_model = \d+, got \d"):
        configure([setting], "transformer")


@pytest.mark.parametrize("model", MODELS)
def test_settings_survive_being_stored(model):
    config = replaced(G2P().default(model), {"epochs": 2, "seed": 5, "network.source_vocab_size": 9})
    assert from_json(G2P().default(model), as_json(config), WHERE) == config


def test_stored_settings_of_another_network_are_refused():
    stored = {**as_json(MODELS["rnnsearch"]), "model": "transformer"}
    says = r"SequenceConfig: it lacks 'network.layers'.*it has 'network.embedding', which"
    with pytest.raises(CheckpointError, match=says):
        from_json(MODELS["transformer"], stored, WHERE)


@pytest.mark.parametrize("model", MODELS)
def test_the_learning_rate_rises_over_the_warmup_and_ends_low(model):
    config = dataclasses.replace(G2P().default(model), warmup=100)
    for steps, warmup in ((5000, 100), (50, 5), (1, 1)):
        rates = [config.schedule(steps)(step) for step in range(1, steps + 1)]
        assert rates[:warmup] == sorted(rates[:warmup])
        assert rates[warmup - 1 :] == sorted(rates[warmup - 1 :], reverse=True)
        assert max(rates) == pytest.approx(config.lr, rel=0.05)
    assert config.schedule(5000)(5000) < config.lr / 40


@pytest.mark.parametrize("model", MODELS)
def test_steps_take_the_place_of_epochs(model):
    plan = G2P().configure(["steps=7"], model).plan()
    assert (plan.steps, plan.epochs) == (7, None)
    assert G2P().default(model).plan().epochs == 6
    with pytest.raises(ConfigError, match="steps must be at least 1, got 0"):
        G2P().configure(["steps=0"], model)


def test_more_threads_than_rows_are_refused():
    with pytest.raises(ConfigError, match="threads must be at most batch_size = 64, got 65"):
        configure(["threads=65"])
    configure(["threads=64"])
