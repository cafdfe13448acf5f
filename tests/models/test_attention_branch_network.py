"""The Attention Branch Network: published sizes, the order of its parts, and where the gradients of its losses go."""

from dataclasses import replace

import fakecupy
import numpy as np
import pytest

import minattn as ma
from minattn.attention.spatial import attend, class_activation_map
from minattn.autograd import asnumpy, ops
from minattn.errors import ConfigError
from minattn.models.summary import count_macs
from minattn.models.vision.attention_branch_network import (
    CONFIGURATIONS,
    AttentionBranchNetwork,
    AttentionBranchNetworkConfig,
    branched_loss,
    predicted,
)
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

SMALL = AttentionBranchNetworkConfig("resnet8_b", classes=3, channels=1)


def unbuilt(name, **changes):
    with unallocated():
        return AttentionBranchNetwork(replace(CONFIGURATIONS[name], **changes), np.random.default_rng(0))


def small(seed=0, **changes):
    return AttentionBranchNetwork(replace(SMALL, **changes), np.random.default_rng(seed))


def double(network):
    """The network with its weights in float64."""
    for module in network.named_modules().values():
        for name, old in vars(module).items():
            if isinstance(old, ma.Tensor):
                setattr(module, name, type(old)(old.data.astype(np.float64)))
    return network


def images(seed=0, shape=(3, 1, 8, 8), dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def extracted(network, x):
    """The features g, of all stages but the last."""
    g = network.backbone.stem(x)
    for stage in network.backbone.stages[:-1]:
        g, _ = stage(g)
    return g


LABELS = np.array([0, 2, 1])


# ---------------------------------------------------------------------------------------------- published sizes
@pytest.mark.parametrize(
    ("name", "changes", "total", "backbone"),
    [
        ("abn_resnet50", {}, 43_584_866, 25_557_032),
        ("abn_resnet50", {"kernel": 1}, 43_576_866, 25_557_032),
        ("abn_resnet101", {}, 62_576_994, 44_549_160),
        ("abn_resnet152", {}, 78_220_642, 60_192_808),
        ("abn_resnet20", {}, 479_150, 272_474),
        ("abn_resnet164", {}, 2_999_726, 1_704_154),  # "ResNet-110" of the paper
        ("abn_resnet164", {"classes": 100}, 3_056_786, 1_727_284),
    ],
)
def test_parameters(name, changes, total, backbone):
    network = unbuilt(name, **changes)
    assert network.count_parameters() == total
    assert network.backbone.count_parameters() == backbone
    assert network.branch.count_parameters() == total - backbone


def test_multiply_accumulates_of_the_published_network():
    assert count_macs(unbuilt("abn_resnet50"), (3, 224, 224)) == 7_617_029_024


@pytest.mark.parametrize(("name", "side"), [("abn_resnet50", 14), ("abn_resnet20", 16), ("abn_resnet164", 16)])
def test_the_map_is_as_large_as_what_the_last_stage_takes(name, side):
    network = unbuilt(name).eval()
    size = network.config.size
    output, attention = network(ma.tensor(np.zeros((0, 3, size, size), np.float32)), return_attention=True)
    assert attention["branch"].shape == (0, 1, side, side)
    assert output.logits.shape == output.attention_logits.shape == (0, network.config.classes)


# ---------------------------------------------------------------------------------------------- the parts
@pytest.mark.parametrize("residual", [True, False])
def test_the_parts_in_the_order_of_the_paper(residual):
    network, x = small(residual=residual), ma.tensor(images())
    backbone = network.backbone
    output, attention = network(x, return_attention=True)
    g, _ = backbone.stages[1](backbone.stages[0](backbone.stem(x))[0])
    attention_logits, m = network.branch(g)
    context, _ = attend(g, m, residual)
    last, _ = backbone.stages[2](context)
    logits = last.data.mean((2, 3)) @ backbone.classifier.weight.data + backbone.classifier.bias.data
    np.testing.assert_array_equal(attention["branch"].data, m.data)
    np.testing.assert_array_equal(output.attention_logits.data, attention_logits.data)
    np.testing.assert_allclose(output.logits.data, logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(predicted(output).data, logits.argmax(-1))  # (f)


def test_the_loss_is_the_sum_of_both_cross_entropies():
    output = small()(ma.tensor(images()))

    def cross_entropy(logits):
        logits = logits.astype(np.float64)
        return np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, LABELS, strict=True)])

    expected = cross_entropy(output.attention_logits.data) + cross_entropy(output.logits.data)
    np.testing.assert_allclose(branched_loss(output, LABELS).data, expected, rtol=1e-5)


def test_a_map_of_zeros_leaves_the_backbone_as_it_was():
    network, x = small().eval(), ma.tensor(images())
    norm = network.branch.map.norm
    norm.weight.data, norm.bias.data = np.zeros(1, np.float32), np.full(1, -1e4, np.float32)
    output, attention = network(x, return_attention=True)
    assert (attention["branch"].data == 0).all()
    np.testing.assert_array_equal(output.logits.data, network.backbone(x).data)


def test_gradients_of_both_losses_in_float64():
    network = double(small())
    branch = network.branch
    some = [network.backbone.conv1.conv.weight, branch.scores.weight, branch.map.conv.weight, branch.norm.weight]
    x = images(shape=(3, 1, 4, 4), dtype=np.float64)
    check_gradients(lambda x: branched_loss(network(x), LABELS), x, parameters=some, method="complex")


def test_float32_stays_float32():
    network = small()
    output = network(ma.tensor(images()))
    loss = branched_loss(output, LABELS)
    loss.backward()
    assert {t.dtype for t in (*output, loss)} == {np.dtype(np.float32)}
    assert {p.grad.dtype for p in network.parameters()} == {np.dtype(np.float32)}


# ---------------------------------------------------------------------------------------------- gradients
def reached(network):
    """The parts of the network that the last backward pass reached."""
    backbone = network.backbone
    parts = {
        "extractor": [backbone.conv1, *backbone.stages[:-1]],
        "branch's scores": [network.branch.scores],
        "branch": [network.branch.stage, network.branch.norm, network.branch.class_maps],
        "map": [network.branch.map],
        "last stage": [backbone.stages[-1], backbone.classifier],
    }
    grads = {name: [p.grad for module in modules for p in module.parameters()] for name, modules in parts.items()}
    for name, found in grads.items():  # all of a part, or nothing
        assert len({g is None for g in found}) == 1, name
    return {name for name, found in grads.items() if found[0] is not None and any(g.any() for g in found)}


def test_the_attention_loss_alone_trains_the_extractor_and_the_branch():
    network = small()
    ops.cross_entropy(network(ma.tensor(images())).attention_logits, LABELS).backward()
    assert reached(network) == {"extractor", "branch", "branch's scores"}


def test_the_perception_loss_reaches_the_extractor_through_the_map_too():
    network = small()
    ops.cross_entropy(network(ma.tensor(images())).logits, LABELS).backward()
    assert reached(network) == {"extractor", "branch", "map", "last stage"}

    network, x = small(), ma.tensor(images())
    g = extracted(network, x)
    _, m = network.branch(g)
    last, _ = network.backbone.stages[-1](attend(g.detach(), m)[0])  # only through the map
    ops.cross_entropy(network.backbone.classifier(network.backbone.pool(last)), LABELS).backward()
    assert reached(network) == {"extractor", "branch", "map", "last stage"}


def test_both_losses_reach_everything():
    network = small()
    branched_loss(network(ma.tensor(images())), LABELS).backward()
    assert reached(network) == {"extractor", "branch", "branch's scores", "map", "last stage"}


def test_a_few_steps_lower_the_loss_of_both_branches():
    network, x = small(), ma.tensor(images(shape=(12, 1, 8, 8)))
    labels = np.arange(12) % 3
    before = [float(ops.cross_entropy(logits, labels).data) for logits in network(x)[:2]]
    for _ in range(8):
        network.zero_grad()
        branched_loss(network(x), labels).backward()
        for p in network.parameters():
            p.data = p.data - np.float32(0.05) * p.grad
    after = [float(ops.cross_entropy(logits, labels).data) for logits in network(x)[:2]]
    assert all(new < 0.8 * old for new, old in zip(after, before, strict=True)), (before, after)


# ---------------------------------------------------------------------------------------------- explanations
def test_it_has_class_activation_maps_as_well():
    network = small().eval()
    x = ma.tensor(images())
    output, attention = network(x, return_attention=True)
    np.testing.assert_array_equal(output.logits.data, network(x).logits.data)
    assert list(attention) == ["branch", "backbone.classifier"]
    context, _ = attend(extracted(network, x), attention["branch"])
    last, _ = network.backbone.stages[-1](context)
    expected = class_activation_map(last, network.backbone.classifier.weight)
    assert expected.shape == (3, 3, 2, 2)
    np.testing.assert_allclose(attention["backbone.classifier"].data, expected.data, rtol=1e-5, atol=1e-6)


def test_the_gates_of_a_backbone_with_squeeze_and_excitation_are_handed_up():
    network = small(backbone="se_resnet8_b").eval()
    _, attention = network(ma.tensor(images()), return_attention=True)
    expected = [f"backbone.stages.{i}.blocks.0.se" for i in range(3)]
    assert list(attention) == ["branch", *expected, "backbone.classifier"]
    assert [attention[path].shape for path in expected] == [(3, 16), (3, 32), (3, 64)]


# ---------------------------------------------------------------------------------------------- refused
def test_a_backbone_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"no backbone 'resnet51'; hint: one of resnet18, resnet34, resnet50"):
        AttentionBranchNetworkConfig("resnet51")


@pytest.mark.parametrize("changes", [{"classes": 0}, {"channels": 0}, {"kernel": 5}])
def test_settings_that_are_impossible_are_refused(changes):
    ((name, value),) = changes.items()
    with pytest.raises(ConfigError, match=rf"{name}.*{value}"):
        AttentionBranchNetworkConfig("resnet20_b", **changes)


# ---------------------------------------------------------------------------------------------- devices
def test_the_same_numbers_everywhere_and_no_waiting(backend):
    def results(make, network):
        output = network(make(images()))
        branched_loss(output, LABELS if network is here else backend.array(LABELS)).backward()
        return [t.data for t in output] + [p.grad for p in network.parameters()]

    here = small()
    expected = results(ma.tensor, here)
    with fakecupy.no_sync():
        there = results(backend.tensor, small().to(backend.device))
    for result, value in zip(there, expected, strict=True):
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-2, atol=1e-4)
