"""The observers: what each of them finds, and what it says."""

from time import sleep

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import OPS, op
from minattn.autograd.observers import NaNLocator, Observer, OpTimer, WriteDetector, memory_report
from minattn.errors import GradientError, MinattnError


@pytest.fixture
def own_op():
    """A decorator like `op`, whose ops leave the table after the test."""
    before = set(OPS)
    yield op
    for name in set(OPS) - before:
        del OPS[name]


class Diary(Observer):
    """Writes down every call."""

    def __init__(self):
        self.lines = []

    def before_forward(self, name):
        self.lines.append(f"> {name}")

    def on_forward(self, name, inputs, output):
        outputs = output if isinstance(output, tuple) else (output,)
        self.lines.append(f"{name} {[tuple(i.shape) for i in inputs]} -> {[tuple(o.shape) for o in outputs]}")

    def before_backward(self, name, node):
        self.lines.append(f"< {name}")

    def on_backward(self, name, node, upstream, gradients):
        self.lines.append(f"{name} gives {len([g for g in gradients if g is not None])}")


def test_an_observer_is_told_of_every_op():
    x, diary = ma.tensor(np.ones(4), requires_grad=True), Diary()
    with ma.observe(diary):
        first, _ = ma.split(x * 2.0, 2)
        first.sum().backward()
    assert diary.lines == [
        "> multiply",
        "multiply [(4,)] -> [(4,)]",
        "> split",
        "split [(4,)] -> [(2,), (2,)]",
        "> sum",
        "sum [(2,)] -> [()]",
        "< sum",
        "sum gives 1",
        "< split",
        "split gives 1",
        "< multiply",
        "multiply gives 1",
    ]


def test_observing_changes_no_number_and_ends_with_the_block():
    def gradient():
        x = ma.tensor(np.array([[0.5, 2.0], [1.0, -1.0]]), requires_grad=True)
        (ma.softmax(x) * ma.sort(x)[0]).sum().backward()
        return x.grad

    diary = Diary()
    with ma.observe(diary, OpTimer()), ma.observe(WriteDetector()):
        observed = gradient()
    lines = list(diary.lines)
    assert np.array_equal(gradient(), observed)
    assert diary.lines == lines


# ---------------------------------------------------------------------------------------------- NaNLocator
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
class TestNaNLocator:
    def test_names_the_op_and_the_line_of_the_forward_pass(self):
        x = ma.tensor(np.array([1.0, -1.0, 0.0]))
        with ma.observe(NaNLocator()), pytest.raises(FloatingPointError) as caught:
            ma.log(x + 0.0)  # this line
        message = str(caught.value)
        assert "log made NaN (1 of 3 elements) out of finite inputs (given: float64 (3,) on cpu)" in message
        assert "test_observers.py" in message
        assert message.endswith("ma.log(x + 0.0)  # this line")
        assert isinstance(caught.value, MinattnError)

    def test_tells_infinity_from_nan(self):
        with (
            ma.observe(NaNLocator()),
            pytest.raises(FloatingPointError, match=r"exp made infinity \(1 of 2 elements\)"),
        ):
            ma.exp(ma.tensor(np.array([1.0, 1000.0])))

    def test_names_the_op_and_the_forward_line_of_the_backward_pass(self, own_op):
        @own_op
        def explodes(x, /):
            return x * 1.0, lambda g: g * np.inf

        x = ma.tensor(np.ones(2), requires_grad=True)
        with ma.observe(NaNLocator()):
            y = explodes(x)  # the forward line
            loss = (y * 3.0).sum()
            with pytest.raises(FloatingPointError) as caught:
                loss.backward()
        message = str(caught.value)
        assert "the gradient of explodes by its argument 0 has infinity (2 of 2 elements)" in message
        assert message.endswith("y = explodes(x)  # the forward line")

    def test_knows_the_line_of_an_op_with_several_outputs(self, own_op):
        @own_op
        def two(x, /):
            return (x * 1.0, x * 2.0), lambda g, h: (g + h) * np.nan

        x = ma.tensor(np.ones(2), requires_grad=True)
        with ma.observe(NaNLocator()):
            first, _ = two(x)  # several
            with pytest.raises(
                FloatingPointError, match=r"gradient of two by its argument 0 has NaN.*two\(x\)  # several"
            ):
                first.sum().backward()

    def test_does_not_blame_ops_that_are_given_nan(self):
        x = ma.tensor(np.array([np.nan]), requires_grad=True)
        with ma.observe(NaNLocator()):
            (x * 2.0).sum().backward()

    def test_finds_nothing_in_a_sound_graph(self):
        x = ma.tensor(np.array([1.0, 2.0]), requires_grad=True)
        with ma.observe(NaNLocator()):
            ma.where([True, False], ma.log(x), ma.sort(x)[0]).sum().backward()


# ---------------------------------------------------------------------------------------------- WriteDetector
class TestWriteDetector:
    def test_finds_a_write_through_an_index(self):
        x = ma.tensor(np.array([1.0, 2.0]), requires_grad=True)
        with ma.observe(WriteDetector()):
            y = (x * x).sum()
            x.data[0] = 5.0
            with pytest.raises(
                GradientError, match=r"multiply: float64 \(2,\) on cpu, an input or the output .* written"
            ):
                y.backward()

    def test_finds_a_write_into_a_constant(self):
        x, constant = ma.tensor(np.array([1.0, 2.0]), requires_grad=True), np.array([3.0, 4.0])
        with ma.observe(WriteDetector()):
            y = (x * ma.Tensor(constant)).sum()
            constant *= 2
            with pytest.raises(GradientError, match=r"multiply: .* written to after the forward pass"):
                y.backward()

    def test_finds_a_write_into_a_plain_array(self):
        x, constant = ma.tensor(np.array([1.0, 2.0]), requires_grad=True), np.array([3.0, 4.0])
        with ma.observe(WriteDetector()):
            y = (x * constant).sum()
            constant *= 2
            with pytest.raises(GradientError, match=r"multiply: .* written to after the forward pass"):
                y.backward()

    def test_finds_nothing_in_a_sound_graph(self):
        x = ma.tensor(np.array([1.0, 2.0]), requires_grad=True)
        with ma.observe(WriteDetector()):
            (ma.split(x * x, 2)[0] + x).sum().backward()


# ---------------------------------------------------------------------------------------------- timer and memory
def test_the_timer_counts_calls_and_ranks_by_time(own_op):
    @own_op
    def slow(x, /):
        sleep(0.05)
        return x * 1.0, lambda g: g * 1.0

    x, timer = ma.tensor(np.ones(3), requires_grad=True), OpTimer()
    with ma.observe(timer):
        (slow(x) * 2.0 * 3.0).sum().backward()
    assert {name: t.calls for name, t in timer.times.items()} == {"slow": 1, "multiply": 2, "sum": 1}
    assert all(t.forward > 0 and t.backward > 0 for t in timer.times.values())
    header, first, *rest = timer.report().splitlines()
    assert header.split() == ["op", "calls", "forward", "ms", "backward", "ms", "share"]
    assert first.split()[:2] == ["slow", "1"]
    assert len(rest) == 2


def test_the_memory_report_counts_each_buffer_once():
    x = ma.tensor(np.zeros((100, 10)), requires_grad=True)
    y = ma.exp(x)  # its result is also what its pullback keeps
    view = y.reshape(1000)
    report = memory_report(view)
    assert report.nodes == 2
    assert report.total == 2 * 8000
    assert report.by_op["leaf"] == 8000
    assert report.by_op["exp"] + report.by_op["reshape"] == 8000
    assert str(report).startswith("graph of 2 nodes holds 0.02 MiB on cpu")


def test_the_memory_report_sees_what_pullbacks_keep():
    x = ma.tensor(np.zeros(1000, np.float32), requires_grad=True)
    assert memory_report(ma.relu(x)).by_op["relu"] == 4000  # the result; the pullback reads x itself
    assert memory_report(ma.leaky_relu(x)).by_op["leaky_relu"] == 8000  # and the factor


def test_a_graph_holds_nothing_after_its_backward_pass():
    x = ma.tensor(np.zeros(1000), requires_grad=True)
    y = ma.exp(x * 2.0).sum()
    before = memory_report(y)
    y.backward()
    after = memory_report(y)
    assert before.total >= 3 * 8000
    assert after.total <= 8
