"""The rules of the engine, one test each: the graph, the backward pass, and what is refused."""

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import minattn as ma
from minattn.autograd import OPS, op
from minattn.errors import ConfigError, GradientError, ShapeError
from minattn.nn import Dropout


@pytest.fixture
def own_op():
    """A decorator like `op`, whose ops leave the table after the test."""
    before = set(OPS)
    yield op
    for name in set(OPS) - before:
        del OPS[name]


def leaf(*values):
    return ma.tensor(np.array(values), requires_grad=True)


# ---------------------------------------------------------------------------------------------- the backward pass
def test_a_chain_of_20000_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    y.backward(np.array([3.0]))
    assert x.grad.tolist() == [3.0]


def test_a_graph_of_60000_without_a_backward_pass_can_be_dropped():
    code = "import minattn as ma; y = ma.tensor([1.0], requires_grad=True)\nfor _ in range(60_000): y = y + 1.0\ndel y"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_diamond_of_60_levels_has_one_visit_of_each_node(own_op):
    """The number of paths doubles at every level: a pass over paths would not end."""
    visits = []

    @own_op
    def doubled_by_two_paths(a, b, /):
        def pullback(g):
            visits.append(1)
            return g, g

        return a + b, pullback

    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = doubled_by_two_paths(y, y)
    y.sum().backward()
    assert x.grad.tolist() == [2.0**60]
    assert len(visits) == 60


def test_a_gradient_that_comes_late_still_comes_in_time():
    """x is used at once and again at the end of a long branch; both have to be in before x's own pullback runs."""
    w = leaf(2.0)
    x = w * w
    branch = x
    for _ in range(5):
        branch = branch * 1.5
    (x * branch).sum().backward()
    assert np.allclose(w.grad, 1.5**5 * 4 * 2.0**3)


def test_gradients_add_up_over_uses_and_over_calls():
    x = leaf(1.0, 2.0)
    (x * 2.0 + x * x + x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    (3.0 * x).sum().backward()
    assert x.grad.tolist() == [8.0, 10.0]
    x.zero_grad()
    assert x.grad is None


def test_backward_needs_a_scalar_or_an_upstream_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(GradientError, match=r"needs a scalar, this tensor has shape \(2,\); hint: .sum\(\)"):
        (x * 2.0).backward()
    with pytest.raises(ShapeError, match=r"upstream gradient has shape \(3,\), the tensor \(2,\)"):
        (x * 2.0).backward(np.ones(3))
    (x * 2.0).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 20.0]
    (x * 2.0).backward(ma.tensor(np.array([1.0, 1.0])))
    assert x.grad.tolist() == [4.0, 22.0]


def test_backward_from_a_leaf():
    x, upstream = leaf(1.0, 2.0), np.array([3.0, 4.0])
    x.backward(upstream)
    assert x.grad.tolist() == [3.0, 4.0]
    assert x.grad is not upstream


def test_backward_where_nothing_requires_a_gradient():
    with pytest.raises(GradientError, match="nothing here requires a gradient; hint: requires_grad=True"):
        ma.tensor([1.0]).sum().backward()


def test_gradients_of_one_walk_share_no_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).backward(np.ones(2))
    x.grad += 100
    assert y.grad.tolist() == [1, 1]


def test_an_array_that_a_pullback_gives_twice_is_not_shared(own_op):
    @own_op
    def one_for_both(a, b, /):
        def pullback(g):
            both = g * 2.0
            return both, both

        return 2.0 * a + 2.0 * b, pullback

    x, y = leaf(1.0), leaf(3.0)
    one_for_both(x, y).sum().backward()
    x.grad += 100
    assert y.grad.tolist() == [2.0]


def test_pullbacks_run_only_where_a_gradient_is_needed(own_op):
    @own_op
    def costly_by_b(a, b, /):
        def by_b(g):
            raise AssertionError("nobody asked for this gradient")

        return a * b, (lambda g: g * b, by_b)

    x = leaf(2.0)
    costly_by_b(x, ma.tensor(np.array([3.0]))).sum().backward()
    assert x.grad.tolist() == [3.0]


def test_a_pullback_of_the_wrong_shape_is_refused(own_op):
    @own_op
    def forgets_an_axis(x, /):
        return x * 1.0, lambda g: g[0]

    with pytest.raises(GradientError, match=r"pullback of forgets_an_axis gave a gradient of shape \(3,\) .* \(2, 3\)"):
        forgets_an_axis(leaf([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])).sum().backward()


# ---------------------------------------------------------------------------------------------- several outputs
def test_only_one_output_of_several_is_used():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    ma.split(x, 2)[1].sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1]


def test_the_pullback_of_several_outputs_runs_once(own_op):
    calls = []

    @own_op
    def both_ways(x, /):
        def pullback(g, h):
            calls.append((g.copy(), h.copy()))
            return g - h

        return (x * 1.0, -x), pullback

    x = leaf(1.0)
    up, down = both_ways(x)
    (up * 3.0 + down * 5.0 + up).sum().backward()
    assert x.grad.tolist() == [-1.0]
    assert len(calls) == 1


def test_outputs_without_a_gradient_beside_one_with():
    x = leaf(2.0, 1.0)
    values, order = ma.sort(x)
    assert values.requires_grad
    assert not order.requires_grad
    assert order.dtype.kind == "i"
    (values * np.array([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [10.0, 1.0]


# ---------------------------------------------------------------------------------------------- freeing
def test_the_graph_is_freed_during_the_backward_pass(own_op):
    """When the pullback of the first op runs, the results of the later ones are gone already."""
    alive = []

    @own_op
    def first(x, /):
        def pullback(g):
            alive.extend(reference() is not None for reference in later)
            return g.copy()

        return x + 0, pullback

    x = leaf(1.0)
    later = []
    y = first(x)
    for _ in range(3):
        y = y * 2.0
        later.append(weakref.ref(y))
    y = y.sum()
    y.backward()
    assert alive == [False, False, False]


def test_no_cycles_keep_a_graph_alive():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = ma.softmax(ma.split(x, 2)[0] * 2.0)
        node = weakref.ref(y)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_a_second_walk_is_refused():
    x = leaf(1.0)
    shared = x * 2.0
    one, two = shared.sum(), (shared * 3.0).sum()
    one.backward()
    with pytest.raises(
        GradientError, match=r"backward through sum: an earlier backward pass has freed its graph; hint"
    ):
        one.backward()
    with pytest.raises(GradientError, match=r"backward through multiply: an earlier backward pass has freed its graph"):
        two.backward()


def test_a_walk_that_is_refused_leaves_no_gradient_behind():
    x, w = leaf(1.0), leaf(2.0)
    sound = x * 3.0
    y = sound + w * w
    w.data = np.array([5.0])
    with pytest.raises(GradientError, match="written to"):
        y.sum().backward()
    sound.sum().backward()
    assert x.grad.tolist() == [3.0]


def test_results_outlive_the_backward_pass():
    x = leaf(2.0)
    y = x * 3.0
    y.sum().backward()
    assert y.tolist() == [6.0]
    assert y.grad is None


# ---------------------------------------------------------------------------------------------- writing
def test_writing_in_place_is_refused():
    x = ma.tensor([1.0, 2.0])
    with pytest.raises(GradientError, match=r"not written to in place.*where\(mask, a, b\).*put.*scatter_add"):
        x[0] = 5.0
    with pytest.raises(GradientError, match=r"data of a tensor in a graph \(made by multiply\) cannot be replaced"):
        (leaf(1.0) * 2.0).data = np.array([1.0])


def test_augmented_assignment_makes_a_new_tensor():
    x = leaf(1.0)
    y = x
    y += 1.0
    assert y is not x
    assert x.tolist() == [1.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize("write", ["assign", "subtract"])
def test_data_written_between_forward_and_backward_is_caught(write):
    w = leaf(2.0)
    y = w * w
    if write == "assign":
        w.data = np.array([5.0])
    else:
        w.data -= 0.5
    with pytest.raises(GradientError, match="backward through multiply: the data of one of its inputs was written to"):
        y.sum().backward()


def test_data_may_be_written_before_and_after():
    w = leaf(2.0)
    w.data = np.array([3.0])
    y = w * w
    y.sum().backward()
    w.data -= w.grad
    assert w.tolist() == [-3.0]


def test_a_new_array_must_fit():
    w = leaf(2.0)
    with pytest.raises(ShapeError, match=r"float64 \(1,\) cannot be replaced by float32 \(1,\)"):
        w.data = np.array([1.0], np.float32)
    with pytest.raises(ShapeError, match=r"float64 \(1,\) cannot be replaced by float64 \(2,\)"):
        w.data = np.array([1.0, 2.0])
    with pytest.raises(TypeError, match="must be a NumPy or CuPy array, got list"):
        w.data = [1.0]


def test_replaced_data_may_be_of_another_dtype_and_shape():
    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    w.replace_data(np.ones((3, 1), np.float32))
    assert (w.dtype, w.shape, w.grad) == (np.float32, (3, 1), None)


def test_replacing_data_between_forward_and_backward_is_seen():
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    w.replace_data(np.ones(2))
    with pytest.raises(GradientError, match="the data of one of its inputs was written to after the forward pass"):
        y.backward()


def test_data_is_replaced_by_arrays_and_in_leaves_alone():
    with pytest.raises(TypeError, match="must be a NumPy or CuPy array, got list"):
        leaf(1.0).replace_data([1.0])
    with pytest.raises(GradientError, match=r"\(made by add\) cannot be replaced"):
        (leaf(1.0) + 1.0).replace_data(np.ones(1))


# ---------------------------------------------------------------------------------------------- second order
def test_second_order_is_refused():
    x = np.array([1.0, 2.0])

    def cubes(t):
        return (t * t * t).sum()

    with pytest.raises(GradientError, match=r"first order only.*minattn.hvp\(fn, x, v\)"):
        cubes(ma.tensor(x, requires_grad=True)).backward(create_graph=True)
    with pytest.raises(GradientError, match=r"second order.*minattn.hvp"):
        ma.grad(lambda t: ma.tensor(ma.grad(cubes)(t)).sum())(x)


def test_hessian_vector_products_are_exact():
    rng = np.random.default_rng(0)
    a, x, v = rng.standard_normal((4, 4)), rng.standard_normal(4), rng.standard_normal(4)

    def f(t):
        return ma.exp(a @ t).sum() + (t * t * t).sum()

    weights = np.exp(a @ x)
    hessian = a.T @ (weights[:, None] * a) + np.diag(6 * x)
    assert np.allclose(ma.hvp(f, x, v), hessian @ v, rtol=1e-13, atol=1e-13)
    with pytest.raises(ShapeError, match=r"x has shape \(4,\), the direction \(3,\)"):
        ma.hvp(f, x, v[:3])


def test_hvp_through_fused_ops():
    rng = np.random.default_rng(1)
    x, v = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))

    def f(t):
        return (ma.softmax(t) * t).sum() + ma.cross_entropy(t, np.array([0, 2]))

    h = 1e-4
    gradient = ma.grad(f)
    difference = (gradient(x + h * v) - gradient(x - h * v)) / (2 * h)
    assert np.allclose(ma.hvp(f, x, v), difference, atol=1e-7)


def test_grad_and_value_and_grad():
    value, (da, db) = ma.value_and_grad(lambda a, b: (a * b).sum())(np.array([2.0, 3.0]), [5.0, 7.0])
    assert value.item() == 31.0
    assert not value.requires_grad
    assert da.tolist() == [5.0, 7.0]
    assert db.tolist() == [2.0, 3.0]
    assert ma.grad(lambda a: a * a)(3.0) == 6.0
    assert ma.grad(lambda a, b: (a * 1.0).sum())(np.ones(2), np.ones(3))[1].tolist() == [0, 0, 0]


# ---------------------------------------------------------------------------------------------- modes
def test_no_grad_as_a_block_and_as_a_decorator():
    x = leaf(1.0)
    with ma.no_grad():
        assert not (x * 2.0).requires_grad

    @ma.no_grad()
    def evaluate():
        return x * 2.0

    assert not evaluate().requires_grad
    assert (x * 2.0).requires_grad


def test_no_grad_ends_with_its_block_also_after_an_error():
    x = leaf(1.0)
    with ma.no_grad():
        with pytest.raises(KeyError), ma.no_grad():
            raise KeyError
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad


def test_no_grad_is_of_one_thread():
    x, inside, seen = leaf(1.0), threading.Event(), threading.Event()
    recorded = []

    def other():
        inside.wait(10)
        recorded.append((x * 2.0).requires_grad)
        seen.set()

    thread = threading.Thread(target=other)
    thread.start()
    with ma.no_grad():
        inside.set()
        assert seen.wait(10)
    thread.join()
    assert recorded == [True]


def test_no_grad_and_training_have_nothing_to_do_with_each_other():
    layer = Dropout(0.5, np.random.default_rng(0))
    x = leaf(*[1.0] * 20)
    layer.eval()
    assert layer(x * 1.0).requires_grad
    layer.train()
    with ma.no_grad():
        assert layer.training
        y = layer(x)
    assert not y.requires_grad
    assert (y.data == 0).any()


def test_constants_are_not_recorded():
    a, b = ma.tensor([1.0]), leaf(2.0)
    assert (a * a).is_leaf
    assert not (a * a).requires_grad
    assert not (b * a).is_leaf


def test_detach_cuts_the_graph():
    x = leaf(3.0)
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [3.0]


def test_only_floating_point_tensors_require_a_gradient():
    with pytest.raises(GradientError, match="only floating-point tensors can require a gradient, this one is int64"):
        ma.tensor([1, 2], requires_grad=True)
    with pytest.raises(GradientError, match="only floating-point"):
        ma.tensor([True]).requires_grad_()
    with pytest.raises(GradientError, match=r"only a leaf's requires_grad can be changed; hint: detach\(\)"):
        (leaf(1.0) * 2.0).requires_grad_(False)
    frozen = leaf(1.0).requires_grad_(False)
    assert not (frozen * 2.0).requires_grad


# ---------------------------------------------------------------------------------------------- hooks
def test_a_hook_sees_the_whole_gradient_once():
    x, seen = leaf(1.0, 2.0), []
    node = x * 3.0
    for tensor in (x, node):
        tensor.register_hook(lambda g: seen.append(g.tolist()))
    (node + node * node).sum().backward()
    assert seen == [[7.0, 13.0], [21.0, 39.0]]


def test_hooks_may_replace_the_gradient_and_be_removed():
    x = leaf(1.0)
    undo = x.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [21.0]
    undo()
    x.zero_grad()
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [3.0]


def test_hooks_on_0d_tensors_are_given_arrays():
    x, kinds = ma.tensor(np.array(2.0), requires_grad=True), []
    node = x * x
    for tensor in (x, node):
        tensor.register_hook(lambda g: kinds.append(type(g)))
    (node * 3.0).backward()
    assert kinds == [np.ndarray, np.ndarray]


def test_a_hook_on_a_leaf_that_backward_starts_from():
    x = leaf(1.0)
    x.register_hook(lambda g: g * 2)
    x.backward(np.array([4.0]))
    assert x.grad.tolist() == [8.0]


def test_a_hook_needs_a_gradient():
    with pytest.raises(GradientError, match="register_hook: this tensor requires no gradient"):
        ma.tensor([1.0]).register_hook(print)


# ---------------------------------------------------------------------------------------------- NumPy beside tensors
def test_numpy_functions_on_tensors():
    x = leaf(0.5, 2.0)
    for ufunc in (np.exp, np.log, np.sqrt, np.tanh, np.sin, np.cos, np.square, np.negative, np.absolute):
        y = ufunc(x)
        assert isinstance(y, ma.Tensor)
        assert y.requires_grad
        assert np.allclose(y.data, ufunc(x.data))


@pytest.mark.parametrize(
    "fn",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a**b,
        lambda a, b: a @ b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a == b,
        lambda a, b: a != b,
        np.maximum,
        np.minimum,
        np.matmul,
    ],
)
def test_arrays_and_tensors_in_one_expression(fn):
    a, b = np.array([1.0, 2.0]), np.array([3.0, 0.5])
    expected = fn(a, b)
    for left, right in ((ma.tensor(a), b), (a, ma.tensor(b)), (ma.tensor(a), ma.tensor(b))):
        result = fn(left, right)
        assert isinstance(result, ma.Tensor)
        assert np.array_equal(result.data, expected)


def test_ufuncs_that_cannot_be_differentiated_are_refused():
    with pytest.raises(TypeError):
        np.arctan(leaf(1.0))
    with pytest.raises(TypeError):
        np.add.reduce(leaf(1.0))
    with pytest.raises(TypeError):
        np.exp(leaf(1.0), out=np.zeros(1))


# ---------------------------------------------------------------------------------------------- errors
def test_an_error_names_the_op_and_what_it_was_given():
    x = ma.tensor(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match=r"add: .*\(given: float32 \(3, 4\) on cpu, float64 \(5,\) on cpu\)"):
        x + np.ones(5)
    with pytest.raises(ValueError, match=r"matmul: .*float32 \(3, 4\) on cpu, float32 \(3, 4\) on cpu"):
        x @ x
    with pytest.raises(IndexError, match=r"getitem: .*float32 \(3, 4\) on cpu"):
        x[7]
    with pytest.raises(IndexError, match="embedding: id 9 is out of range for 3 entries"):
        ma.embedding(x, np.array([0, 9]))
    with pytest.raises(IndexError, match="embedding: id -1 is out of range for 3 entries"):
        ma.embedding(x, np.array([0, -1]))
    with pytest.raises(TypeError, match="take: an id must be an integer, got float64"):
        ma.take(x, np.array([0.5]))


def test_ids_that_do_not_count_from_the_end():
    logits = ma.tensor(np.ones((2, 3)))
    with pytest.raises(IndexError, match="cross_entropy: id -1 is out of range for 3 entries"):
        ma.cross_entropy(logits, [0, -1])
    with pytest.raises(IndexError, match="one_hot: id -1 is out of range for 3 entries"):
        ma.one_hot([0, -1], 3)
    assert ma.cross_entropy(logits, [0, -1], ignore_index=-1).item() == pytest.approx(np.log(3))
    assert ma.take(logits, [-1], 1).shape == (2, 1)


def test_missing_arguments_are_named():
    with pytest.raises(TypeError, match=r"add: the argument 'b' is missing; hint: add\(a, b\)"):
        ma.add(leaf(1.0))


def test_tensor_arguments_may_be_given_by_name():
    x, weight, bias = leaf([1.0, 2.0]), leaf([3.0], [4.0]), leaf(5.0)
    y = ma.linear(x, bias=bias, weight=weight)
    assert y.tolist() == [[16]]
    y.backward(np.ones((1, 1)))
    assert bias.grad.tolist() == [1]
    assert ma.clip(x, high=1.5).tolist() == [[1, 1.5]]
    assert ma.subtract(b=x, a=3.0).tolist() == [[2, 1]]
    with pytest.raises(TypeError, match=r"linear: the argument .weight. is missing"):
        ma.linear(x, bias=bias)
    with pytest.raises(TypeError, match="linear"):
        ma.linear(x, weight, bias, bias=bias)


def test_an_op_must_mark_its_tensor_arguments():
    with pytest.raises(TypeError, match=r"op careless: mark its tensor arguments by a '/'"):

        @op
        def careless(x):
            return x, lambda g: g


def test_an_op_is_made_by_a_decorator_and_by_a_call_alike(own_op):
    def twice_equation(x):
        return x + x

    def twice(x, /):
        return 2.0 * x, lambda g: 2.0 * g

    @own_op(equation=twice_equation)
    def decorated(x, /):
        return twice(x)

    called = own_op(twice, equation=twice_equation)
    assert OPS["twice"].equation is OPS["decorated"].equation is twice_equation
    assert OPS["twice"].function is twice
    for function in (called, decorated):
        x = leaf(1.0, 3.0)
        y = function(x)
        y.sum().backward()
        assert (y.tolist(), x.grad.tolist()) == ([2.0, 6.0], [2.0, 2.0])


def test_two_ops_of_one_name():
    with pytest.raises(ValueError, match="an op named 'tanh' exists already"):

        @op
        def tanh(x, /):
            return x, lambda g: g


def test_tensors_of_ragged_lists():
    with pytest.raises(ShapeError, match="tensor: the nested lists are ragged"):
        ma.tensor([[1.0], [1.0, 2.0]])
    with pytest.raises(TypeError, match="tensor: expected numbers, got <U1 from str"):
        ma.tensor("a")
    with pytest.raises(TypeError, match="tensor: expected numbers, got object from NoneType"):
        ma.tensor(None)


def test_an_error_of_minattns_own_keeps_its_class(own_op):
    @own_op
    def refuses(x, /):
        raise ConfigError("a wrong setting")

    with pytest.raises(ConfigError, match="refuses: a wrong setting"):
        refuses(leaf(1.0))


# ---------------------------------------------------------------------------------------------- changes of mind
@pytest.mark.parametrize("name", ["tanh", "sum"])
def test_a_leaf_frozen_after_the_forward_pass_collects_nothing(name):
    x = leaf(1.0, 2.0)
    y = getattr(ma, name)(x).sum()
    x.requires_grad_(False)
    y.backward()
    assert x.grad is None


def test_a_hook_that_replaces_the_data_of_an_input_is_refused():
    x = leaf(1.0, 2.0)
    y = x * x
    y.register_hook(lambda g: setattr(x, "data", x.data + 7))
    with pytest.raises(GradientError, match="was written to"):
        y.sum().backward()


def test_after_a_hook_that_fails_backward_may_run_again():
    x = leaf(1.0, 2.0)
    y = x * x

    def fail(g):
        raise RuntimeError

    remove = y.register_hook(fail)
    with pytest.raises(RuntimeError):
        y.sum().backward()
    remove()
    y.backward(np.ones(2))
    assert x.grad.tolist() == [2.0, 4.0]


def test_the_array_that_a_hook_returns_stays_its_own():
    x, ones = leaf(1.0, 2.0), np.ones(2)
    x.register_hook(lambda g: ones)
    for _ in range(2):
        (x * 2).sum().backward()
    assert ones.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_gradient_that_a_hook_keeps_stays_as_it_was():
    x, kept = leaf(1.0, 2.0), []
    x.register_hook(kept.append)
    for _ in range(2):
        (x * 2 + x * 3).sum().backward()
    assert kept[0].tolist() == [5.0, 5.0]


def test_an_op_that_is_not_listed_enters_no_table():
    before = dict(OPS)

    @ma.op(listed=False)
    def tanh(x, /):
        return x * 2, lambda g: g * 2

    x = ma.tensor([1.0, 2.0], requires_grad=True)
    tanh(x).sum().backward()
    assert x.grad.tolist() == [2, 2]
    assert before == OPS
