"""Several threads that share a batch give the gradient that one gives, and a run that can be resumed bit for bit."""

import threading

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import assert_same_run, loss_of, pairs, tiny_trainer

import minattn as ma
from minattn.autograd import blas
from minattn.data.batches import deal_rows
from minattn.data.batching import LengthBucketedBatches
from minattn.data.text.windows import TextBatch
from minattn.errors import ConfigError
from minattn.nn import Dropout, Linear, Module
from minattn.training import Adam, DataParallel


class Net(Module):
    def __init__(self, dropout=0.0):
        rng = np.random.default_rng(0)
        self.first, self.dropout, self.second = Linear(6, 5, rng), Dropout(dropout, rng), Linear(5, 6, rng)
        self.unused = Linear(2, 2, rng)

    def forward(self, ids):
        x = np.eye(6, dtype=np.float32)[ids]
        return self.second(self.dropout(ma.tanh(self.first(ma.tensor(x)))))


def mean_loss(model, batch):
    return ma.cross_entropy(model(batch.source), batch.target)


def a_batch(rows=5, time=3):
    rng = np.random.default_rng(1)
    return TextBatch(*rng.integers(0, 6, (2, rows, time)))


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters().items() if p.grad is not None}


@given(rows=st.integers(1, 9), threads=st.integers(1, 4))
def test_the_gradient_is_that_of_one_thread(rows, threads):
    model, batch = Net(), a_batch(rows)
    loss = mean_loss(model, batch)
    loss.backward()
    expected = gradients(model)
    model.zero_grad()
    found = DataParallel(model, mean_loss, threads).backward(batch)
    assert found == pytest.approx(loss.item(), rel=1e-5)
    assert (
        gradients(model).keys()
        == expected.keys()
        == {f"{m}.{p}" for m in ("first", "second") for p in ("weight", "bias")}
    )
    for name, gradient in gradients(model).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("threads", "meanwhile"), [(1, 4), (2, 1)])
def test_blas_has_one_thread_while_threads_share_a_batch(monkeypatch, threads, meanwhile):
    numbers, seen = [4], []
    monkeypatch.setattr(blas, "_openblas", lambda: (lambda: numbers[-1], numbers.append))

    def loss(model, batch):
        seen.append(numbers[-1])
        return mean_loss(model, batch)

    DataParallel(Net(), loss, threads).backward(a_batch())
    assert seen == [meanwhile] * threads
    assert numbers[-1] == 4


@given(count=st.integers(1, 30), parts=st.integers(1, 8))
def test_every_row_is_dealt_once_and_hands_are_even(count, parts):
    hands = [np.arange(count)[rows] for rows, _ in deal_rows(count, parts)]
    assert sorted(np.concatenate(hands)) == list(range(count))
    assert len(hands) == min(count, parts)
    assert max(map(len, hands)) - min(map(len, hands)) <= 1
    assert [share for _, share in deal_rows(count, parts)] == [pytest.approx(len(hand) / count) for hand in hands]


def test_a_padded_batch_is_cut_with_all_that_belongs_to_a_row():
    batch = next(iter(LengthBucketedBatches(pairs(), 7, seed=1).iterate(0)))
    parts = [part for part, _ in batch.split(3)]
    rows = np.argsort(np.concatenate([part.indices for part in parts]))
    order = np.argsort(batch.indices)
    for name in ("source", "source_mask", "target", "target_mask", "indices"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined[rows], getattr(batch, name)[order])


def test_weights_that_were_loaded_or_updated_are_those_of_every_thread():
    model, batch = Net(), a_batch()
    parallel, optimizer = DataParallel(model, mean_loss, 2), Adam(model.named_parameters(), 0.1)
    model.load_state_dict({name: array * 0.5 for name, array in model.state_dict().items()})
    for _ in range(2):
        before = mean_loss(model, batch).item()
        assert parallel.backward(batch) == pytest.approx(before, rel=1e-6)
        optimizer.step()
        assert mean_loss(model, batch).item() != before


def test_gradients_add_up_over_calls():
    model, batch = Net(), a_batch()
    parallel = DataParallel(model, mean_loss, 2)
    parallel.backward(batch)
    once = {name: gradient.copy() for name, gradient in gradients(model).items()}
    parallel.backward(batch)
    for name, gradient in gradients(model).items():
        np.testing.assert_allclose(gradient, 2 * once[name], rtol=1e-5)


def test_the_threads_work_at_the_same_time_and_drop_other_numbers():
    model = Net(dropout=0.5)
    meeting, dropped = threading.Barrier(3, timeout=20), {}

    def meet(model, batch):
        meeting.wait()  # breaks unless all three are here at once
        dropped[threading.get_ident()] = (model.dropout(ma.tensor(np.ones(64, np.float32))).numpy() == 0).tobytes()
        return mean_loss(model, batch)

    DataParallel(model, meet, 3).backward(a_batch())
    assert len(set(dropped.values())) == 3


def test_an_error_in_any_thread_is_raised():
    def fail_in_the_second(model, batch):
        if len(batch.source) == 2:
            raise ValueError("not this one")
        return mean_loss(model, batch)

    with pytest.raises(ValueError, match="not this one"):
        DataParallel(Net(), fail_in_the_second, 2).backward(a_batch())


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(ConfigError, match="threads must be at least 1, got 0"):
        DataParallel(Net(), mean_loss, 0)
    with fakecupy.installed(), pytest.raises(ConfigError, match="the model is on cuda:0; hint: 1"):
        DataParallel(Net().to("cuda"), mean_loss, 2)


def test_a_run_of_two_threads_is_resumed_bit_for_bit(tmp_path):
    def trainer(folder, steps):
        made = tiny_trainer(folder, steps=steps, threads=2)
        made.parallel.loss_fn = loss_of
        return made

    trainer(tmp_path / "straight", 20).run()
    trainer(tmp_path / "stopped", 11).run()
    again = trainer(tmp_path / "stopped", 20)
    assert {"dropout.rng", "thread 2: dropout.rng"} <= again.generators.keys()
    again.resume()
    again.run()
    assert_same_run(tmp_path / "stopped", tmp_path / "straight")


def test_frozen_weights_and_the_mode_are_those_of_the_model():
    model, batch = Net(dropout=0.5), a_batch()
    parallel = DataParallel(model, mean_loss, 2)
    model.eval()
    for _ in range(3):
        assert parallel.backward(batch) == pytest.approx(mean_loss(model, batch).item(), rel=1e-6)
    model.train()
    assert len({float(parallel.backward(batch)) for _ in range(3)}) == 3
    model.zero_grad()
    model.first.weight.requires_grad = False
    parallel.backward(batch)
    assert model.first.weight.grad is None
    assert model.second.weight.grad is not None
