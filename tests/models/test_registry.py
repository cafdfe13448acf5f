"""The networks by name: every configuration builds, counts as published, and unknown names get an answer."""

import dataclasses
import pkgutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

from minattn.attention.channel import ConvHighway, Highway, SqueezeExcitation
from minattn.attention.self_attention import AugmentedConvolution, NonLocalBlock
from minattn.attention.spatial import AttentionBranch, ResidualAttention
from minattn.autograd import tensor
from minattn.errors import ConfigError
from minattn.models import pose, registry, vision
from minattn.models.summary import count_macs, count_parameters, summarize
from minattn.nn import Module, initializers

PUBLISHED = {  # parameters, MACs; the other networks' are in the tests of their files
    "resnet20": (269_722, 40_551_040),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet50_1x1": (25_557_032, 3_857_973_248),
    "se_resnet50": (28_088_024, 3_860_488_192),
    "alexnet": (61_100_840, 714_188_480),
    "vgg16": (138_357_544, 15_470_264_320),
    "googlenet": (6_998_552, 1_582_671_872),
    "abn_resnet50": (43_584_866, 7_617_029_024),
    "wrn_28_10": (36_479_194, 5_243_328_768),
    "hourglass8": (25_434_112, 27_440_185_344),
}
DIVIDED = {  # weights, biases, batch norm
    "resnet50": (25_502_912, 1_000, 53_120),
    "se_resnet50": (25_502_912 + 2_514_944, 1_000 + 16_048, 53_120),
}


MECHANISMS = (
    SqueezeExcitation,
    AttentionBranch,
    Highway,
    ConvHighway,
    ResidualAttention,
    AugmentedConvolution,
    NonLocalBlock,
)

FIRST_OF_EACH = list({registry.ENTRIES[name].network: name for name in registry.names("classes")[::-1]}.values())[::-1]


def unallocated(name, **changes):
    with initializers.unallocated():
        return registry.build(name, np.random.default_rng(0), **changes)


def image_of(network):
    return network.config.channels, network.config.size, network.config.size


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters_and_macs(name):
    network = unallocated(name)
    assert (network.count_parameters(), count_macs(network, image_of(network))) == PUBLISHED[name]


@pytest.mark.parametrize("name", DIVIDED)
def test_weights_biases_and_batch_norm(name):
    assert count_parameters(unallocated(name)) == DIVIDED[name]


@pytest.mark.parametrize("name", FIRST_OF_EACH)
def test_the_first_network_of_each_family_can_be_walked(name):
    """The rows have all parameters, and what comes out are the scores of the classes."""
    network = unallocated(name)
    rows = summarize(network, image_of(network))
    assert sum(row.parameters for row in rows) == network.count_parameters()
    assert summarize(network, image_of(network), depth=0)[0].shape == (network.config.classes,)


@pytest.mark.parametrize("name", FIRST_OF_EACH)
def test_attention_is_that_of_every_mechanism_in_the_network_by_its_path(name):
    """Of a network with pooling and a linear layer the class activation maps too; without asking, logits alone."""
    config = registry.configuration(name)
    network = unallocated(name, se=hasattr(config, "se")).eval()
    nothing = tensor(np.zeros((0, *image_of(network)), np.float32))
    output, attention = network(nothing, return_attention=True)
    alone = network(nothing)
    assert [t.shape for t in always_a_tuple(output)] == [t.shape for t in always_a_tuple(alone)]
    modules = network.named_modules()
    mechanisms = {path for path, m in modules.items() if isinstance(m, MECHANISMS)}
    classifiers = {path for path, _ in modules if path.split(".")[-1] == "classifier"}
    assert set(attention) == mechanisms | classifiers
    assert len(mechanisms) > 0 or not hasattr(config, "se")
    for path in classifiers:
        assert attention[path].shape[:2] == (0, config.classes)


def always_a_tuple(output):
    return output if isinstance(output, tuple) else (output,)


def test_a_network_is_entered_under_the_names_of_its_configurations(monkeypatch):
    monkeypatch.setattr(registry, "ENTRIES", {})

    @registry.register({"small": 1, "large": 2})
    class Network(Module):
        def __init__(self, config, rng):
            self.config = config

    assert registry.names() == ["small", "large"]
    assert registry.ENTRIES["large"] == (Network, 2)


def test_a_change_to_a_setting_that_a_network_lacks_is_refused():
    with pytest.raises(ConfigError, match="hourglass2 has no classes; hint: leave it out"):
        registry.build("hourglass2", np.random.default_rng(0), classes=10)
    assert "hourglass2" in registry.names()
    assert "hourglass2" not in registry.names("classes")


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ConfigError, match="two networks are named 'resnet20': CifarResNet and Other"):
        registry.register({"resnet20": None})(type("Other", (Module,), {}))


def test_every_network_of_the_models_is_entered():
    files = {entry.network.__module__.rpartition(".")[2] for entry in registry.ENTRIES.values()}
    others = {"layers", "residual_blocks", "heat_maps", "inflated_resnet"}  # the last is of clips, as C2D
    assert files | others == {module.name for module in pkgutil.iter_modules([*vision.__path__, *pose.__path__])}
    assert all(name == name.lower() for name in registry.names())


def test_every_setting_says_what_it_is():
    for network, config in registry.ENTRIES.values():
        hints = get_type_hints(type(config), include_extras=True)
        for field in dataclasses.fields(config):
            (text,) = getattr(hints[field.name], "__metadata__", [""])
            assert text, f"{network.__name__}: {field.name}"
            assert text[0] == text[0].lower() or text[1] in ":", text
            assert not text.endswith("."), text


def test_a_network_of_500_megabytes_takes_none():
    tracemalloc.start()
    try:
        network = unallocated("vgg16_bn")
        count_macs(network, image_of(network))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6 < 4 * network.count_parameters()


def test_changes_are_made_to_the_published_configuration():
    config = registry.configuration("resnet20", se=True, classes=7, channels=1)
    assert config == dataclasses.replace(registry.configuration("resnet20"), se=16, classes=7, channels=1)
    assert registry.configuration("se_resnet20", se=True) == registry.configuration("se_resnet20")
    assert registry.configuration("resnet20") == registry.ENTRIES["resnet20"].config


@pytest.mark.parametrize("name", ["resnet20", "se_resnet20"])
def test_se_adds_what_was_published(name):
    assert unallocated(name, se=True).count_parameters() == 272_095


def test_the_generator_draws_the_weights():
    one, same, other = (registry.build("resnet8", np.random.default_rng(seed)).state_dict() for seed in (1, 1, 2))
    assert all((one[key] == same[key]).all() for key in one)
    assert (one["classifier.weight"] != other["classifier.weight"]).all()


@pytest.mark.parametrize(
    ("given", "near"), [("resnt20", "resnet20"), ("RESNET56", "resnet56"), ("se-resnet20", "se_resnet20")]
)
def test_an_unknown_name_is_answered_with_near_ones(given, near):
    with pytest.raises(ConfigError, match=rf"no network '{given}'; hint: .*\b{near}\b"):
        registry.build(given, np.random.default_rng(0))


def test_a_name_that_is_like_no_other_is_answered_with_the_command_that_lists_them():
    with pytest.raises(ConfigError, match="hint: a name that `minattn summary` lists"):
        registry.configuration("%")


def test_settings_that_make_no_sense_are_refused_in_words():
    program = Path(__file__).with_name("absurd_settings.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
