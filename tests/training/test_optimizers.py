"""Optimizers against transcriptions of their papers, one number at a time in Python's own arithmetic."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minattn as ma
from minattn.errors import CheckpointError, ConfigError, ShapeError
from minattn.nn import Parameter
from minattn.training import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop, optimizers

# Optimizer: its class, its settings, and its paper: a function of the first value and the gradients of one weight.


def sgd(p, gradients, lr):
    for g in gradients:
        p = p - lr * g
    return p


def momentum(p, gradients, lr, mu):
    v = 0.0
    for g in gradients:
        v = mu * v - lr * g
        p = p + v
    return p


def nesterov(p, gradients, lr, mu):
    """Sutskever's theta; the gradients are taken as those at theta + mu v, the point that the optimizer keeps."""
    theta, v = p, 0.0
    for g in gradients:
        v = mu * v - lr * g
        theta = theta + v
    return theta + mu * v


def rmsprop(p, gradients, lr, rho, eps):
    mean_square = 0.0
    for g in gradients:
        mean_square = rho * mean_square + (1 - rho) * g**2
        p = p - lr * g / (math.sqrt(mean_square) + eps)
    return p


def adagrad(p, gradients, lr, eps):
    for t in range(len(gradients)):
        p = p - lr * gradients[t] / (math.sqrt(sum(g**2 for g in gradients[: t + 1])) + eps)
    return p


def adadelta(p, gradients, lr, rho, eps):
    gn2 = dn2 = 0.0
    for g in gradients:
        gn2 = rho * gn2 + (1 - rho) * g**2
        dx = math.sqrt(dn2 + eps) / math.sqrt(gn2 + eps) * g
        dn2 = rho * dn2 + (1 - rho) * dx**2
        p = p - lr * dx
    return p


def adam(p, gradients, lr, betas, eps, decay=0.0):
    beta1, beta2 = betas
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p - lr * (m_hat / (math.sqrt(v_hat) + eps) + decay * p)
    return p


CASES = {
    "sgd": (SGD, {"lr": 0.1}, lambda p, gs: sgd(p, gs, 0.1)),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9}, lambda p, gs: momentum(p, gs, 0.1, 0.9)),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, lambda p, gs: nesterov(p, gs, 0.1, 0.9)),
    "rmsprop": (RMSprop, {"lr": 0.01, "rho": 0.99}, lambda p, gs: rmsprop(p, gs, 0.01, 0.99, 1e-8)),
    "adagrad": (Adagrad, {"lr": 0.1}, lambda p, gs: adagrad(p, gs, 0.1, 1e-10)),
    "adadelta": (Adadelta, {}, lambda p, gs: adadelta(p, gs, 1.0, 0.95, 1e-6)),
    "adam": (
        Adam,
        {"lr": 0.01, "betas": (0.9, 0.98), "eps": 1e-9},
        lambda p, gs: adam(p, gs, 0.01, (0.9, 0.98), 1e-9),
    ),
    "adamw": (
        AdamW,
        {"lr": 0.01, "weight_decay": 0.1},
        lambda p, gs: adam(p, gs, 0.01, (0.9, 0.999), 1e-8, 0.1),
    ),
}
each_case = pytest.mark.parametrize("name", CASES)

moderate = st.floats(-100, 100).map(lambda value: 0.0 if abs(value) < 1e-6 else value)


def optimizer_of(name, parameters, **changes):
    kind, settings, _ = CASES[name]
    return kind(parameters, **{**settings, **changes})


def gradient_list(data, shape, dtype=np.float64, count=None):
    one = hnp.arrays(dtype, shape, elements=moderate if dtype == np.float64 else st.floats(-8, 8, width=32))
    return data.draw(st.lists(one, min_size=count or 0, max_size=count or 6), "gradients")


@each_case
@given(data=st.data())
def test_steps_are_the_papers(name, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    start = data.draw(hnp.arrays(np.float64, shape, elements=moderate))
    gradients = gradient_list(data, shape)
    parameter = Parameter(start.copy())
    optimizer = optimizer_of(name, {"p": parameter})
    for gradient in gradients:
        parameter.grad = gradient.copy()
        optimizer.step()
        np.testing.assert_array_equal(parameter.grad, gradient)  # a gradient is only read
    paper = CASES[name][2]
    for index in np.ndindex(shape):
        expected = paper(float(start[index]), [float(gradient[index]) for gradient in gradients])
        assert parameter.data[index] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@each_case
@given(data=st.data())
def test_float32_stays_float32(name, data):
    """With a NumPy rate, which is not weak, too: every bit is as with a Python rate."""
    gradients = gradient_list(data, (2, 3), np.float32, count=3)
    ends = []
    for rate in (0.1, np.float64(0.1)):
        parameter = Parameter(np.ones((2, 3), np.float32))
        optimizer = optimizer_of(name, {"p": parameter}, lr=rate, weight_decay=0.01)
        for gradient in gradients:
            parameter.grad = gradient
            optimizer.step()
        assert parameter.data.dtype == np.float32
        assert all(array.dtype == np.float32 for array in optimizer.state_dict()["arrays"].values())
        ends.append(parameter.data.tobytes())
    assert ends[0] == ends[1]


@each_case
def test_a_quadratic_is_minimised(name):
    target = ma.tensor([3.0, -2.0, 0.5])
    parameter = Parameter(np.zeros(3, np.float32))
    rate = {"adagrad": 1.0, "adadelta": 10.0}.get(name, 0.03)
    optimizer = optimizer_of(name, {"p": parameter}, lr=rate, weight_decay=0.0)
    for step in range(1500):
        optimizer.lr = rate * (1 - step / 1500)
        optimizer.zero_grad()
        ((parameter - target) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(parameter.data, target.data, atol=1e-2)


@given(data=st.data(), mu=st.floats(0.1, 0.95), lr=st.floats(1e-3, 0.2))
def test_nesterov_is_the_look_ahead_method(data, mu, lr):
    """On f(p) = p^4 / 4 the gradients do depend on where they are taken: at Sutskever's theta + mu v."""
    theta, v = data.draw(st.floats(-1.5, 1.5)), 0.0
    parameter = Parameter(np.array(theta))
    optimizer = SGD({"p": parameter}, lr, momentum=mu, nesterov=True)
    for _ in range(10):
        v = mu * v - lr * (theta + mu * v) ** 3
        theta = theta + v
        parameter.grad = parameter.data**3 + np.zeros(())
        optimizer.step()
        assert parameter.data == pytest.approx(theta + mu * v, rel=1e-7, abs=1e-9)


@each_case
def test_parameters_without_a_gradient_are_skipped(name):
    parameters = {"used": Parameter(np.ones(2)), "unused": Parameter(np.ones(2))}
    optimizer = optimizer_of(name, parameters, weight_decay=0.5)
    parameters["used"].grad = np.ones(2)
    optimizer.step()
    assert (parameters["used"].data != 1).all()
    assert (parameters["unused"].data == 1).all()
    assert optimizer.state_dict()["t"] == {"used": 1}


def test_adam_corrects_the_bias_by_the_updates_of_each_parameter():
    early, late = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    optimizer = Adam({"early": early, "late": late}, lr=0.1)
    for _ in range(5):
        early.grad = np.ones(1)
        optimizer.step()
    early.grad, late.grad = None, np.ones(1)
    optimizer.step()
    assert late.data == pytest.approx(-0.1)  # a first step has the length lr


@pytest.mark.parametrize("name", [name for name in CASES if name != "adamw"])
@given(data=st.data(), weight_decay=st.floats(0.01, 1))
def test_weight_decay_adds_the_penaltys_gradient(name, data, weight_decay):
    start = data.draw(hnp.arrays(np.float64, 3, elements=moderate))
    gradients = gradient_list(data, (3,))
    decayed, by_hand = Parameter(start.copy()), Parameter(start.copy())
    with_decay = optimizer_of(name, {"p": decayed}, weight_decay=weight_decay)
    without = optimizer_of(name, {"p": by_hand}, weight_decay=0.0)
    for gradient in gradients:
        decayed.grad, by_hand.grad = gradient, gradient + weight_decay * by_hand.data
        with_decay.step()
        without.step()
    np.testing.assert_array_equal(decayed.data, by_hand.data)


@each_case
def test_weight_decay_follows_the_predicate(name):
    parameters = {"layer.weight": Parameter(np.ones(2)), "layer.bias": Parameter(np.ones(2))}
    optimizer = optimizer_of(name, parameters, weight_decay=0.5, decays=lambda name: name.endswith("weight"))
    for parameter in parameters.values():
        parameter.grad = np.zeros(2)
    optimizer.step()
    assert (parameters["layer.weight"].data < 1).all()
    assert (parameters["layer.bias"].data == 1).all()


@each_case
def test_a_write_is_seen_by_the_engine(name):
    parameter = Parameter(np.ones(2))
    optimizer = optimizer_of(name, {"p": parameter})
    loss = (parameter * parameter).sum()
    parameter.grad = np.ones(2)
    optimizer.step()
    with pytest.raises(ma.errors.GradientError, match="written to after the forward"):
        loss.backward()


def test_zero_grad_forgets_gradients():
    parameter = Parameter(np.ones(2))
    parameter.grad = np.ones(2)
    SGD({"p": parameter}, lr=0.1).zero_grad()
    assert parameter.grad is None


@each_case
@given(data=st.data())
def test_a_saved_optimiser_goes_on_bit_for_bit(name, data):
    gradients = gradient_list(data, (2, 2), np.float32, count=5)
    parameter = Parameter(np.ones((2, 2), np.float32))
    optimizer = optimizer_of(name, {"p": parameter})
    for gradient in gradients[:2]:
        parameter.grad = gradient
        optimizer.step()
    copy = Parameter(parameter.data.copy())
    resumed = optimizer_of(name, {"p": copy}, lr=9.0)
    resumed.load_state_dict(optimizer.state_dict())
    for gradient in gradients[2:]:
        parameter.grad = copy.grad = gradient
        optimizer.step()
        resumed.step()
    assert copy.data.tobytes() == parameter.data.tobytes()
    assert resumed.lr == optimizer.lr


def test_a_saved_state_is_a_copy():
    parameter = Parameter(np.ones(2))
    optimizer = SGD({"p": parameter}, lr=0.1, momentum=0.9)
    parameter.grad = np.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    before = saved["arrays"]["velocity/p"].copy()
    optimizer.step()  # writes into its own velocity
    np.testing.assert_array_equal(saved["arrays"]["velocity/p"], before)
    optimizer.load_state_dict(saved)
    optimizer.step()  # and so it does here
    np.testing.assert_array_equal(saved["arrays"]["velocity/p"], before)


def saved_adam(shape=(2,), dtype=np.float64):
    parameter = Parameter(np.ones(shape, dtype))
    parameter.grad = np.ones(shape, dtype)
    optimizer = Adam({"p": parameter})
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize(
    ("optimizer", "saved", "message"),
    [
        (SGD({"p": Parameter(np.ones(2))}, 0.1), saved_adam(), "is Adam, this one is SGD"),
        (Adam({"q": Parameter(np.ones(2))}), saved_adam(), "has p, which this model has not"),
        (
            Adam({"p": Parameter(np.ones(3))}),
            saved_adam(),
            r"gradient_sum/p: expected float64 \(3,\), found float64 \(2,\)",
        ),
        (Adam({"p": Parameter(np.ones(2))}), saved_adam(dtype=np.float32), r"expected float64 \(2,\), found float32"),
        (Adam({"p": Parameter(np.ones(2))}), {**saved_adam(), "arrays": {}}, "found nothing"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(optimizer, saved, message):
    lr = optimizer.lr
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict({**saved, "lr": 7.0})
    assert optimizer.lr == lr
    assert optimizer.states == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: SGD(p, -0.1), "lr must be"),
        (lambda p: SGD(p, math.nan), "lr must be"),
        (lambda p: SGD(p, 0.1, momentum=1.0), "momentum must be"),
        (lambda p: SGD(p, 0.1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda p: SGD(p, 0.1, weight_decay=-1), "weight_decay must be"),
        (lambda p: Adam(p, betas=(0.9, 1.0)), r"betas\[1\] must be"),
        (lambda p: Adam(p, eps=0), "eps must be"),
        (lambda p: RMSprop(p, rho=-0.1), "rho must be"),
        (lambda p: Adagrad(p, eps=-1), "eps must be"),
        (lambda p: Adadelta(p, rho=1), "rho must be"),
        (lambda p: SGD({}, 0.1), r"hint: model\.named_parameters\(\)"),
        (lambda p: SGD(list(p.values()), 0.1), r"hint: model\.named_parameters\(\)"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make({"p": Parameter(np.ones(2))})


def test_an_impossible_rate_from_a_schedule_is_refused():
    optimizer = SGD({"p": Parameter(np.ones(2))}, lr=0.1)
    with pytest.raises(ConfigError, match="lr must be"):
        optimizer.lr = math.inf


# ---------------------------------------------------------------------------------------------- long parameters
@each_case
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_long_parameter_is_updated_block_by_block_as_a_whole(name, order, monkeypatch):
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(5, 7)), rng.normal(size=(3, 5, 7))

    def trained(block):
        monkeypatch.setattr(optimizers, "BLOCK", block)
        parameter = Parameter(np.array(start, order=order))
        optimizer = optimizer_of(name, {"p": parameter})
        for gradient in gradients:
            parameter.grad = np.asfortranarray(gradient)
            optimizer.step()
        return parameter.data

    np.testing.assert_array_equal(trained(block=4), trained(block=1000))


@pytest.mark.parametrize("shape", [(2, 3), (400, 1000)])
def test_a_gradient_of_another_shape_is_refused_before_anything_is_written(shape):
    parameter = Parameter(np.zeros(shape))
    parameter.grad = np.ones(shape[::-1])
    with pytest.raises(ShapeError, match=r"p is .* its gradient"):
        SGD({"p": parameter}, lr=1.0).step()
    assert not parameter.data.any()


def test_an_update_that_replaces_its_state_is_refused():
    class Careless(SGD):
        def update(self, p, g, state):
            state["velocity"] = state["velocity"] + g

    parameter = Parameter(np.zeros(3))
    parameter.grad = np.ones(3)
    with pytest.raises(ConfigError, match="must write its state in place"):
        Careless({"p": parameter}, lr=1.0, momentum=0.9).step()
