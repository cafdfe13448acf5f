"""Long arrays, block by block and in several threads: the same numbers as at once, and no trouble for the process."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from opcases import CASES

import minattn as ma
from minattn.autograd import OPS, blocks
from minattn.autograd.blocks import NEW, over_elements, over_rows
from minattn.errors import ConfigError
from minattn.testing import assert_equation, check_gradients, strategies

ROWS = ("softmax", "log_softmax", "cross_entropy", "layer_norm", "rms_norm")
ELEMENTS = ("gelu", "gelu_tanh")
IN_BLOCKS = ROWS + ELEMENTS
IMAGES = ("batch_norm", "batch_norm_inference", "add_relu", "max_pool2d", "scale_channels")  # several times each


@pytest.fixture(params=[1, 2, 3], ids="{} thread(s)".format)
def tiny(request, monkeypatch):
    """Every array is long, a block has three numbers or one row, and so many threads share the blocks."""
    monkeypatch.setattr(blocks, "LONG", 1)
    monkeypatch.setattr(blocks, "CHAIN", 1)
    monkeypatch.setattr(blocks, "BLOCK", 3)
    monkeypatch.setattr(blocks, "ROWS", 3)
    with ThreadPoolExecutor(2) as helpers:
        monkeypatch.setattr(blocks, "threads", lambda: request.param)
        monkeypatch.setattr(blocks, "_helpers", lambda: helpers)
        yield


# ---------------------------------------------------------------------------------------------- the ops
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", [name for name in IN_BLOCKS if CASES[name].numpy])
@given(data=st.data())
def test_the_value_is_that_of_numpy(name, data):
    call = data.draw(CASES[name].calls)
    result = CASES[name].on_tensors(name, call.parameters)(*map(ma.tensor, call.inputs)).data
    expected = CASES[name].numpy(*(x.astype(np.float64) for x in call.inputs), **call.parameters)
    tolerance = 1e-5 if call.inputs[0].dtype == np.float32 else 1e-12
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", IN_BLOCKS + IMAGES)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_the_gradients_are_those_of_the_oracle(name, data, seed):
    call = data.draw(CASES[name].calls)
    check_gradients(CASES[name].on_tensors(name, call.parameters), *call.inputs, seed=seed)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", [name for name in IN_BLOCKS + IMAGES if OPS[name].equation])
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_fused_op_equals_its_equation(name, data, seed):
    call = data.draw(CASES[name].calls)
    assert_equation(
        CASES[name].on_tensors(name, call.parameters),
        lambda *tensors: OPS[name].equation(*tensors, **call.parameters),
        *call.inputs,
        seed=seed,
    )


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", IN_BLOCKS)
def test_these_ops_run_in_blocks(name, monkeypatch):
    """Otherwise the tests above would prove nothing."""
    counts = []
    monkeypatch.setattr(blocks, "_share", lambda work, count: (counts.append(count), work()))
    x = ma.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    further = {"cross_entropy": ([0, 1, 2, 0],), "layer_norm": (np.ones(3), np.zeros(3)), "rms_norm": (np.ones(3),)}
    y = OPS[name].apply(x, *further.get(name, ()))
    assert len(counts) == 1
    y.backward(np.ones(y.shape))
    assert len(counts) == 2


@pytest.mark.parametrize("name", IN_BLOCKS)
def test_really_long_arrays_give_the_numbers_of_short_ones(name, monkeypatch):
    """With the real sizes: several blocks, the last one shorter, each row's length no power of two."""
    rng = np.random.default_rng(0)
    rows = blocks.LONG // 1000 + 7
    x = rng.standard_normal((rows, 1000)).astype(np.float32)
    further = {
        "cross_entropy": (rng.integers(0, 1000, rows),),
        "layer_norm": tuple(rng.standard_normal((2, 1000)).astype(np.float32)),
        "rms_norm": (rng.standard_normal(1000).astype(np.float32),),
    }

    def run():
        inputs = [ma.tensor(x, requires_grad=True)]
        inputs += [a if a.dtype == int else ma.tensor(a, requires_grad=True) for a in further.get(name, ())]
        y = OPS[name].apply(*inputs)
        y.backward(np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape))
        return [y.data, *(t.grad for t in inputs if isinstance(t, ma.Tensor))]

    long = run()
    monkeypatch.setattr(blocks, "LONG", 1 << 40)
    monkeypatch.setattr(blocks, "CHAIN", 1 << 40)
    for a, b in zip(long, run(), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


# ---------------------------------------------------------------------------------------------- blocks
def standardised(x, y=None):
    """A body with results of every kind: an array, a column, and one row for a whole block."""
    mean = x.mean(-1, keepdims=True)
    return np.subtract(x, mean, y), mean, x.sum(0, keepdims=True)


@pytest.mark.usefixtures("tiny")
@given(
    x=strategies.arrays(strategies.shapes(min_dims=2, max_dims=2, min_side=1)),
    block=st.integers(1, 30),
)
def test_results_are_joined_in_their_order(x, block):
    blocks.ROWS = block
    y, mean, total = over_rows(standardised, x, into=[NEW])
    np.testing.assert_array_equal(y, x - x.mean(-1, keepdims=True))
    np.testing.assert_array_equal(mean, x.mean(-1, keepdims=True))
    np.testing.assert_allclose(total.sum(0), x.sum(0), rtol=1e-5, atol=1e-4)
    assert len(total) == -(-len(x) // max(1, block // x.shape[1]))


@pytest.mark.usefixtures("tiny")
@given(x=strategies.arrays(strategies.shapes(min_dims=1, min_side=1)))
def test_results_have_the_shape_of_the_argument_and_memory_of_their_own(x):
    before = x.copy()
    for y in (over_rows(np.negative, x, into=[NEW]), over_elements(np.negative, x, into=[NEW])):
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, -x)
        assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(x, before)


@pytest.mark.usefixtures("tiny")
def test_images_whose_channels_come_last_stay_so():
    x, y = np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2), np.ones((2, 3, 4, 5))
    z = over_elements(np.add, x, y, into=[NEW])
    assert z.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(z, y)
    assert over_elements(np.multiply, x, y, into=[x]).base is x.base
    weight, bias = np.ones(3), np.zeros(3)
    counts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_share", lambda work, count: (counts.append(count), work()))
        normal, _, _ = ma.batch_norm(ma.tensor(y), weight, bias, relu=True)
        fixed = ma.batch_norm_inference(ma.tensor(y), weight, bias, bias, weight)
    assert len(counts) == 3  # the statistics and twice a result
    for result in (normal, fixed):
        assert result.data.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.usefixtures("tiny")
def test_a_result_may_take_the_place_of_an_argument():
    x, y = np.arange(8.0), np.arange(8.0)
    assert over_elements(np.multiply, x, y, into=[y]) is y
    np.testing.assert_array_equal(y, x * x)


@pytest.mark.usefixtures("tiny")
def test_what_is_not_contiguous_is_not_written_to():
    y = np.zeros((4, 3)).T
    np.testing.assert_array_equal(over_elements(np.negative, np.ones((3, 4)), into=[y]), -np.ones((3, 4)))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("dtype", [np.complex128, np.int64, np.float16, bool])
def test_other_dtypes_are_left_to_the_body(dtype):
    x = np.ones((5, 4), dtype)
    seen = []
    over_rows(seen.append, x, into=[NEW])
    assert seen[0] is x


@pytest.mark.parametrize("name", IN_BLOCKS)
def test_integers_give_what_float64_gives(name):
    x = np.arange(6).reshape(2, 3)
    further = {"cross_entropy": ([0, 2],), "layer_norm": (np.ones(3), np.zeros(3)), "rms_norm": (np.ones(3),)}
    expected = OPS[name].apply(ma.tensor(x.astype(np.float64)), *further.get(name, ())).data
    result = OPS[name].apply(ma.tensor(x), *further.get(name, ())).data
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-14)


@pytest.mark.parametrize(("over", "shortest"), [(over_rows, "LONG"), (over_elements, "CHAIN")])
def test_short_arrays_are_left_to_the_body(over, shortest):
    x = np.ones(getattr(blocks, shortest) - 1)
    seen = []
    over(seen.append, x, into=[NEW])
    assert seen[0] is x


def threads_of(size):
    """The threads that take part in an elementwise chain over so many numbers."""
    seen = set()

    def body(x, y=None):
        seen.add(threading.get_ident())
        time.sleep(0.002)
        return np.add(x, 1, y)

    over_elements(body, np.ones(size, np.float32), into=[NEW])
    return seen


def test_only_long_arrays_are_shared_and_only_by_those_who_want(monkeypatch):
    monkeypatch.setattr(blocks, "threads", lambda: 2)
    assert threads_of(blocks.CHAIN) == {threading.get_ident()}
    assert len(threads_of(4 * blocks.LONG)) == 2
    with blocks.one_thread():
        assert threads_of(4 * blocks.LONG) == {threading.get_ident()}
    assert len(threads_of(4 * blocks.LONG)) == 2


# ---------------------------------------------------------------------------------------------- threads
def test_the_result_does_not_depend_on_the_number_of_threads(monkeypatch):
    x = np.random.default_rng(0).standard_normal((2000, 700)).astype(np.float32)
    weight = np.ones(700, np.float32)
    results = []
    for count in (1, 2, 2, 3):
        monkeypatch.setattr(blocks, "threads", lambda count=count: count)
        tensors = [ma.tensor(a, requires_grad=True) for a in (x, weight, weight)]
        ma.layer_norm(*tensors).backward(x)
        results.append([t.grad for t in tensors])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("tiny")
def test_an_error_in_any_thread_is_the_callers():
    def body(x, y):
        if x[0] == 9:
            raise ZeroDivisionError("in block 3")

    with pytest.raises(ZeroDivisionError, match="in block 3"):
        over_elements(body, np.arange(12.0), into=[NEW])


@pytest.mark.usefixtures("tiny")
def test_all_threads_take_errors_of_numpy_as_the_caller_does():
    x = np.zeros(30)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        over_elements(lambda x, y: np.log(x, y), x, into=[NEW])
    with np.errstate(divide="ignore"):
        assert over_elements(lambda x, y: np.log(x, y), x, into=[NEW]).max() == -np.inf


@pytest.mark.usefixtures("tiny")
def test_a_body_may_itself_run_over_blocks():
    """The helpers are all busy then, and nobody waits for them."""
    x = np.arange(300.0)
    outer = over_elements(lambda x, y: np.copyto(y, over_elements(np.negative, x, into=[NEW])), x, into=[NEW])
    np.testing.assert_array_equal(outer, -x)


@pytest.mark.usefixtures("tiny")
def test_several_threads_of_the_host_program_may_call_at_the_same_time():
    x = np.arange(200.0)
    with ThreadPoolExecutor(4) as host:
        results = list(host.map(lambda k: over_elements(np.multiply, x, np.full(200, k), into=[NEW]), range(20)))
    for k, y in enumerate(results):
        np.testing.assert_array_equal(y, k * x)


def test_short_arrays_start_no_thread():
    code = """
import threading
import numpy as np
import minattn as ma
ma.softmax(ma.tensor(np.ones((100, 100), np.float32)))
assert threading.active_count() == 1
ma.softmax(ma.tensor(np.ones((2000, 1000), np.float32)))
assert threading.active_count() == 2
"""
    run_python(code, MINATTN_THREADS="2")


def test_a_child_of_a_fork_starts_threads_of_its_own():
    code = """
import os
import warnings
import numpy as np
import minattn as ma
x = ma.tensor(np.ones((2000, 1000), np.float32))
ma.softmax(x)
warnings.simplefilter("ignore")  # Python 3.12 warns of every fork beside threads
child = os.fork()
if child == 0:
    os._exit(0 if np.allclose(ma.softmax(x).data, 1e-3) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    run_python(code, MINATTN_THREADS="2")


def test_arrays_may_be_long_while_the_interpreter_ends():
    code = """
import atexit
import numpy as np
import minattn as ma
x = ma.tensor(np.ones((2000, 1000), np.float32))
atexit.register(lambda: print(ma.softmax(x).data.sum().round()))
"""
    assert run_python(code, MINATTN_THREADS="2") == "2000.0\n"


def run_python(code, **variables):
    """What the code prints, in a process of its own that must end by itself."""
    environment = os.environ | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(monkeypatch):
    """An environment that says nothing of threads, asked anew."""
    for name in (blocks.VARIABLE, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    blocks.threads.cache_clear()
    yield monkeypatch
    blocks.threads.cache_clear()


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"MINATTN_THREADS": "3"}, 3),
        ({"MINATTN_THREADS": "1", "OPENBLAS_NUM_THREADS": "2"}, 1),
        ({"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "5"}, 2),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "2,1"}, 4),  # one number for each level of nesting is OpenMP's alone
    ],
    ids=str,
)
def test_the_environment_says_how_many_threads(environment, variables, count):
    environment.setattr(os, "sched_getaffinity", lambda process: range(6), raising=False)
    for name, value in variables.items():
        environment.setenv(name, value)
    assert blocks.threads() == count


def test_without_a_word_there_is_one_thread_for_each_core_but_few(environment):
    environment.setattr(os, "sched_getaffinity", lambda process: range(3), raising=False)
    assert blocks.threads() == 3
    blocks.threads.cache_clear()
    environment.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    assert blocks.threads() == blocks.MOST


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_a_wrong_number_of_threads_is_refused(environment, value):
    environment.setenv(blocks.VARIABLE, value)
    with pytest.raises(ConfigError, match=f"MINATTN_THREADS must be a number of threads, 1 or more; got '{value}'"):
        blocks.threads()


# ---------------------------------------------------------------------------------------------- rows far apart
@given(
    x=hnp.arrays(np.float32, (5, 7), elements=st.floats(-4, 4, width=32)),
    shifts=hnp.arrays(np.float32, (5, 1), elements=st.floats(-1e4, 1e4, width=32).map(np.round)),
)
def test_softmax_of_rows_that_lie_far_apart(x, shifts):
    """One number subtracted from all of them would leave nothing of the lower ones."""
    exact = (x + shifts).astype(np.float64)
    expected = np.exp(exact - exact.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(ma.softmax(ma.tensor(x + shifts)).data, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_in_one_row_stays_there(bad):
    x = np.array([[0.0, 0.0], [bad, bad]])
    with np.errstate(invalid="ignore"):
        p = ma.softmax(ma.tensor(x)).data
    np.testing.assert_array_equal(p, [[0.5, 0.5], [np.nan, np.nan]])
