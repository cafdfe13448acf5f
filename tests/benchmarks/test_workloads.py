"""What is measured, and how much of it no engine can do without."""

import pytest

from minattn.benchmarks.workloads import WORKLOADS, Limit, find_workloads, mlp_work, rnnsearch_work


def names(*wanted):
    return [workload.name for workload in find_workloads(wanted)]


def test_none_wanted_is_all():
    assert names() == list(WORKLOADS)


def test_workloads_come_in_the_order_of_the_list_whatever_their_case():
    assert names("W3", "w1", "W3") == ["W1", "W3"]


def test_a_name_stands_for_all_of_its_parts():
    assert names("w8") == ["W8-softmax", "W8-layernorm", "W8-gelu"]
    assert names("w8-GELU", "W2") == ["W2", "W8-gelu"]


@pytest.mark.parametrize("unknown", ["W", "W10", "softmax", ""])
def test_an_unknown_name_is_told(unknown):
    with pytest.raises(KeyError, match=repr(unknown)):
        find_workloads(["W1", unknown])


def test_operations_of_the_mlp():
    """By hand: y = x W of three layers, dW of three, dx of the last two."""
    forward = 128 * (784 * 512 + 512 * 512 + 512 * 10)
    backward = forward + 128 * (512 * 512 + 512 * 10)
    assert mlp_work() == 2 * (forward + backward)


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
    assert rnnsearch_work() == 3 * 2 * multiplications


def test_bytes_of_the_row_workloads():
    for name in names("W8"):
        assert WORKLOADS[name].limit == Limit.COPY
        assert WORKLOADS[name].work == 5 * 4096 * 1024 * 4


def test_every_workload_with_a_limit_has_work():
    for workload in WORKLOADS.values():
        assert (workload.limit is not None) == (workload.work > 0)
