"""What is measured, and how much of it no engine can do without."""

import numpy as np
import pytest

from benchmarks.workload import Limit
from benchmarks.workloads import (
    WORKLOADS,
    find_workloads,
    highway,
    hourglass,
    language_model,
    luong,
    memory_network,
    mlp,
    resnet,
    rnnsearch,
    show_attend_tell,
    transformer,
)
from minattn.models import registry
from minattn.models.pose.hourglass import HourglassConfig, StackedHourglass
from minattn.models.summary import count_macs
from minattn.nn import initializers


def names(*wanted):
    return [workload.name for workload in find_workloads(wanted)]


def test_none_wanted_is_all():
    assert names() == list(WORKLOADS)


def test_workloads_come_in_the_order_of_the_list_whatever_their_case():
    assert names("W3", "w1", "W3") == ["W1", "W3"]


def test_a_name_stands_for_all_of_its_parts():
    assert names("w8") == ["W8-softmax", "W8-layernorm", "W8-gelu"]
    assert names("w8-GELU", "W2") == ["W2", "W8-gelu"]
    assert names("W6") == ["W6"]


@pytest.mark.parametrize("unknown", ["W", "W99", "softmax", ""])
def test_an_unknown_name_is_told(unknown):
    with pytest.raises(KeyError, match=repr(unknown)):
        find_workloads(["W1", unknown])


def test_operations_of_the_mlp():
    """By hand: y = x W of three layers, dW of three, dx of the last two."""
    forward = 128 * (784 * 512 + 512 * 512 + 512 * 10)
    backward = forward + 128 * (512 * 512 + 512 * 10)
    assert mlp.work() == 2 * (forward + backward)


def test_operations_of_rnnsearch():
    """Step by step, as the network goes."""
    multiplications = 0
    for _ in range(20):  # source words, either direction
        multiplications += 2 * 64 * (64 * 384 + 128 * 384)
        multiplications += 64 * 256 * 128  # U_a h
    multiplications += 64 * 128 * 128  # the decoder's first state
    for _ in range(20):  # target words
        multiplications += 64 * 128 * 128  # W_a s
        multiplications += 64 * ((64 + 256) * 384 + 128 * 384)  # the gated unit
        multiplications += 64 * (128 + 256) * 100  # logits
    assert rnnsearch.work() == 3 * 2 * multiplications


def test_operations_of_luongs_network():
    """Step by step, as the network goes."""
    multiplications = 0
    for _ in range(20):  # source words
        multiplications += 64 * (64 * 512 + 128 * 512 + 2 * 128 * 512)  # two layers
        multiplications += 64 * 128 * 128  # W_a hbar
    for _ in range(20):  # target words
        multiplications += 64 * ((64 + 128) * 512 + 128 * 512 + 2 * 128 * 512)  # two layers, the first is fed
        multiplications += 64 * (256 * 128 + 128 * 100)  # the attentional vector, logits
    assert luong.work() == 3 * 2 * multiplications


def test_operations_of_the_memory_network():
    multiplications = 3 * 32 * 2 * 50 * 20  # three hops: scores and outputs
    multiplications += 32 * 20 * 177  # answers
    assert memory_network.work() == 3 * 2 * multiplications


def test_operations_of_the_highway_network():
    """Two matrices a layer, each with its own gradient and that of what it is multiplied with."""
    multiplications = 3 * 128 * (784 * 50 + 49 * 2 * 50 * 50 + 50 * 10) - 128 * 784 * 50
    assert highway.work() == 2 * multiplications


def attention_and_feed_forward(batch, length, d_model, d_ff, heads, attentions=1):
    """Multiplications of a layer: projections, scores and contexts head by head, two products."""
    tokens = batch * length
    each = 4 * tokens * d_model * d_model
    each += batch * heads * 2 * length * length * (d_model // heads)
    return attentions * each + 2 * tokens * d_model * d_ff


def test_operations_of_the_transformer():
    multiplications = 0
    for _ in range(2):
        multiplications += attention_and_feed_forward(64, 20, 128, 512, 4)  # encoder
        multiplications += attention_and_feed_forward(64, 20, 128, 512, 4, attentions=2)  # decoder
    multiplications += 64 * 20 * 128 * 100  # logits
    assert transformer.work() == 3 * 2 * multiplications


def test_operations_of_the_language_model():
    multiplications = 4 * attention_and_feed_forward(16, 128, 256, 1024, 4)
    multiplications += 16 * 128 * 256 * 256  # logits
    assert language_model.work() == 3 * 2 * multiplications


def test_operations_of_show_attend_and_tell():
    """Step by step, as the network goes; the annotations need no gradient."""
    from_annotations = 32 * 64 * 128 * 128 + 2 * 32 * 128 * 256  # the keys, the first state
    multiplications = 0
    for _ in range(12):  # words
        multiplications += 32 * 256 * 128  # the query
        multiplications += 32 * (64 + 128 + 256) * 1024  # the LSTM
        multiplications += 32 * ((256 + 128) * 64 + 64 * 100)  # logits
    assert show_attend_tell.work() == 2 * (3 * multiplications + 2 * from_annotations)


@pytest.mark.parametrize("se", [False, True])
def test_operations_of_the_residual_network(se):
    """As the model itself counts them; in training twice as many again, but for the images, which need no gradient."""
    with initializers.unallocated():
        model = registry.build("resnet20", np.random.default_rng(0), se=se)
    macs, first = count_macs(model, (3, 32, 32)), count_macs(model.conv1, (3, 32, 32))
    assert resnet.work(se, training=False) == 2 * 64 * macs
    assert resnet.work(se, training=True) == 2 * 64 * (3 * macs - first)


def test_operations_of_the_convolution():
    forward = 2 * 64 * (32 * 32) * (64 * 64 * 9)
    assert WORKLOADS["W7-forward"].work == forward
    assert WORKLOADS["W7-backward"].work == 3 * forward


def test_bytes_of_the_depthwise_convolution():
    """x and y; then g, x and dx."""
    images = 64 * 64 * 32 * 32 * 4
    for name, passes in (("W7-depthwise-forward", 2), ("W7-depthwise-backward", 5)):
        assert WORKLOADS[name].limit == Limit.COPY
        assert WORKLOADS[name].work == passes * images


def test_operations_of_the_hourglass():
    """As the model itself counts them, three times; but the images need no gradient."""
    config = HourglassConfig(1, hourglass.JOINTS, hourglass.FEATURES, hourglass.ORDER)
    with initializers.unallocated():
        model = StackedHourglass(config, np.random.default_rng(0))
    macs, first = count_macs(model, (3, 64, 64)), count_macs(model.conv1, (3, 64, 64))
    assert hourglass.work() == 2 * 8 * (3 * macs - first)


def test_bytes_of_the_row_workloads():
    for name in names("W8"):
        assert WORKLOADS[name].limit == Limit.COPY
        assert WORKLOADS[name].work == 5 * 4096 * 1024 * 4


def test_every_workload_with_a_limit_has_work():
    for workload in WORKLOADS.values():
        assert (workload.limit is not None) == (workload.work > 0)
