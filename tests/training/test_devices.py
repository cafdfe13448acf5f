"""Training on every backend: the same numbers, and no step that waits for the device."""

import contextlib

import numpy as np
import pytest
from fakecupy import no_sync
from tiny_run import tiny_trainer

from minattn.autograd import asnumpy, device_of
from minattn.nn import Parameter
from minattn.training import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    RMSprop,
    clip_grad_norm,
    clip_grad_value,
    load_checkpoint,
)

optimizers = pytest.mark.parametrize(
    "make",
    [
        lambda parameters: SGD(parameters, 0.1),
        lambda parameters: SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        RMSprop,
        Adagrad,
        Adadelta,
        Adam,
        AdamW,
    ],
    ids=["SGD", "Nesterov", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW"],
)


def without_waiting(backend):
    """Forbids waits for the device where that can be forbidden."""
    return no_sync() if backend.name == "fake" else contextlib.nullcontext()


def some_gradients(count):
    return np.random.default_rng(0).normal(size=(count, 2, 3)).astype(np.float32)


def trained(make, array, gradients):
    """Parameter and optimizer after one clipped step per gradient."""
    parameters = {"w": Parameter(array(np.ones((2, 3), np.float32)))}
    optimizer = make(parameters)
    for gradient in gradients:
        parameters["w"].grad = gradient
        clip_grad_value(parameters.values(), 1.5)
        clip_grad_norm(parameters.values(), 2.0)
        optimizer.step()
    return parameters["w"], optimizer


@optimizers
def test_steps_are_the_same_everywhere_and_wait_for_nothing(backend, make):
    gradients = some_gradients(4)
    expected, _ = trained(make, np.array, [gradient.copy() for gradient in gradients])
    there = [backend.array(gradient) for gradient in gradients]
    with without_waiting(backend):
        parameter, _ = trained(make, backend.array, there)
    assert device_of(parameter.data) == device_of(there[0])
    assert parameter.data.dtype == np.float32
    np.testing.assert_allclose(asnumpy(parameter.data), expected.data, rtol=1e-5)


@optimizers
def test_a_saved_state_goes_back_to_the_device(backend, make):
    gradients = [backend.array(gradient) for gradient in some_gradients(4)]
    expected, _ = trained(make, backend.array, gradients)
    parameter, first = trained(make, backend.array, [backend.array(gradient) for gradient in some_gradients(4)[:2]])
    saved = first.state_dict()
    assert all(type(array) is np.ndarray for array in saved["arrays"].values())
    second = make({"w": parameter})
    second.load_state_dict(saved)
    for gradient in some_gradients(4)[2:]:
        parameter.grad = backend.array(gradient)
        clip_grad_value([parameter], 1.5)
        clip_grad_norm([parameter], 2.0)
        second.step()
    np.testing.assert_array_equal(asnumpy(parameter.data), asnumpy(expected.data))


def test_a_training_step_waits_for_nothing(backend, tmp_path):
    trainer = tiny_trainer(tmp_path)
    trainer.model.to(backend.device)
    batch = next(trainer.batches.iterate(0))
    trainer._speed = type("Uncounted", (), {"tokens": 0})
    with without_waiting(backend):
        trainer._update(batch)
    assert trainer.state.step == 1


def test_a_run_on_the_device_can_be_resumed(backend, tmp_path):
    def run(folder, steps):
        trainer = tiny_trainer(folder, steps=steps)
        trainer.model.to(backend.device)
        if folder.exists():
            trainer.resume()
        return load_checkpoint(trainer.run().last)[0]

    run(tmp_path / "twice", 10)
    resumed, straight = run(tmp_path / "twice", 20), run(tmp_path / "once", 20)
    assert resumed.keys() == straight.keys()
    for name, array in straight.items():  # not bit for bit: a GPU adds up repeated rows in any order
        np.testing.assert_allclose(resumed[name], array, rtol=1e-3, atol=1e-5)
