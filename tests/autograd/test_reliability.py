"""The engine where programs are unkind to it: copies, forks, threads, interrupts, hooks, large graphs, long loops."""

import copy
import gc
import os
import pickle
import signal
import sys
import threading
import traceback

import numpy as np
import pytest

from minattn.autograd import ops, tensor
from minattn.autograd.blas import one_blas_thread
from minattn.autograd.blocks import LONG
from minattn.errors import GradientError
from minattn.nn import LSTM, Linear, Module
from minattn.training import Adam


def leaf(*shape, value=1.0):
    return tensor(np.full(shape, value, np.float32), requires_grad=True)


def gradient_of_a_long_array(value=0.5):
    """The gradient of a chain over an array that is long enough for blocks, and threads, and its true value."""
    x = leaf(3, LONG // 2, value=value)
    ops.sum(ops.tanh(x * x)).backward()
    return x.grad, 2 * value / np.cosh(value * value) ** 2


# ---------------------------------------------------------------------------------------------- copies
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_leaf_has_its_own_memory_and_gradient(copied):
    x = leaf(3)
    ops.sum(x * x).backward()
    y = copied(x)
    assert type(y) is type(x)
    assert y.requires_grad
    assert y.data.tolist() == x.data.tolist()
    assert y.grad.tolist() == x.grad.tolist()
    assert not np.shares_memory(y.data, x.data)
    assert not np.shares_memory(y.grad, x.grad)
    y.grad = None
    ops.sum(y * 3.0).backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([2.0] * 3, [3.0] * 3)


def test_a_shallow_copy_of_a_leaf_shares_its_array():
    x = leaf(3)
    assert copy.copy(x).data is x.data


@pytest.mark.parametrize("copied", [*COPIES.values(), copy.copy], ids=[*COPIES, "copy"])
def test_a_tensor_in_a_graph_is_not_copied(copied):
    y = leaf(3) * 2.0
    with pytest.raises(GradientError, match=r"made by multiply\) cannot be copied or pickled; hint: detach\(\)"):
        copied(y)
    assert copied(y.detach()).data.tolist() == [2.0] * 3


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_module_computes_the_same_and_shares_nothing(copied):
    model = LSTM(3, 4, np.random.default_rng(0))
    x = tensor(np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32))
    before = model(x)[0].data
    other = copied(model)
    assert np.array_equal(other(x)[0].data, before)
    for parameter in other.parameters():
        parameter.data += 1
    assert np.array_equal(model(x)[0].data, before)


class Tied(Module):
    def __init__(self):
        self.first = Linear(2, 2, np.random.default_rng(0))
        self.second = self.first


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_tied_parameters_stay_tied_in_a_copy(copied):
    other = copied(Tied())
    assert other.first is other.second
    assert len(other.parameters()) == 2


# ---------------------------------------------------------------------------------------------- hooks
def test_a_hook_may_run_a_backward_pass_of_its_own():
    x, z = leaf(3), leaf(2)
    y = x * 2.0
    y.register_hook(lambda g: ops.sum(z * z + ops.sum(x) * 0.0).backward())
    ops.sum(y).backward()
    assert (x.grad.tolist(), z.grad.tolist()) == ([2.0] * 3, [2.0] * 2)


def test_a_hook_cannot_begin_the_pass_that_it_is_called_in_again():
    x = leaf(3)
    y = x * 2.0
    total = ops.sum(y)
    y.register_hook(lambda g: total.backward())
    with pytest.raises(GradientError, match="an earlier backward pass has freed its graph"):
        total.backward()


# ---------------------------------------------------------------------------------------------- interrupts
def test_an_interrupt_in_a_backward_pass_leaves_the_engine_usable():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background may not have
    x = leaf(3)
    y = x * 2.0

    def interrupt(g):
        signal.raise_signal(signal.SIGINT)

    y.register_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        ops.sum(y).backward()
    signal.signal(signal.SIGINT, before)
    x.grad = None
    ops.sum(x * x).backward()
    assert x.grad.tolist() == [2.0] * 3


def test_an_interrupt_at_any_moment_leaves_the_engine_usable():
    expected, true = gradient_of_a_long_array()
    assert expected.flat[0] == pytest.approx(true)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    caught = 0
    try:
        for attempt in range(30):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (1 + attempt))
                while True:
                    with one_blas_thread():
                        gradient_of_a_long_array()
            except KeyboardInterrupt:
                caught += 1
            assert np.array_equal(gradient_of_a_long_array()[0], expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught == 30


# ---------------------------------------------------------------------------------------------- processes, threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python says that threads do not survive; ours may
def test_a_fork_after_threads_were_started_computes_too():
    expected, _ = gradient_of_a_long_array()
    child = os.fork()
    if not child:
        signal.alarm(60)  # a wait for threads that are not there would never end
        try:
            os._exit(0 if np.array_equal(gradient_of_a_long_array()[0], expected) else 3)
        except BaseException:
            traceback.print_exc()
            os._exit(4)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_have_graphs_of_their_own():
    values, gradients = [0.1, 0.2, 0.3, 0.4], {}

    def work(value):
        gradients[value] = [gradient_of_a_long_array(value) for _ in range(3)]

    workers = [threading.Thread(target=work, args=(value,)) for value in values]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for value in values:
        for gradient, true in gradients[value]:
            np.testing.assert_allclose(gradient, true, rtol=1e-5)


def test_threads_may_add_to_the_gradients_of_a_shared_leaf_one_after_the_other():
    x, lock = leaf(1000), threading.Lock()

    def work():
        for _ in range(50):
            loss = ops.sum(x * 2.0)
            with lock:
                loss.backward()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert x.grad.tolist() == [400.0] * 1000


# ---------------------------------------------------------------------------------------------- size
def test_a_graph_of_a_million_nodes():
    x = y = leaf(1)
    for _ in range(1_000_000):
        y = y + x
    y.backward(np.ones(1, np.float32))
    assert x.grad.tolist() == [1_000_001.0]


def test_a_long_graph_that_is_dropped_is_freed_without_recursion():
    x = y = leaf(1)
    for _ in range(100_000):
        y = y + x
    del y
    assert x.grad is None


def test_ten_thousand_steps_take_no_more_memory_than_a_hundred():
    model = Linear(8, 8, np.random.default_rng(0))
    optimizer, x = Adam(model.named_parameters()), tensor(np.ones((4, 8), np.float32))

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad()
            ops.sum(ops.square(model(x))).backward()
            optimizer.step()

    gc.collect()
    gc.disable()  # nothing waits for the collector: graphs have no cycles
    try:
        steps(100)
        before = sys.getallocatedblocks()
        steps(10_000)
        assert sys.getallocatedblocks() - before < 200
    finally:
        gc.enable()
