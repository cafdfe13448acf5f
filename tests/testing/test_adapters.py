"""Functions of other libraries, each where it is installed: right gradients pass, wrong ones are refused."""

import re
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from minattn.errors import ConfigError, MissingDependencyError
from minattn.testing import GradientMismatch, adapters, check_vjp

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
ROW = np.array([1.0, 2.0, -0.5])


ROOT = Path(__file__).parents[2]


def needs(name):
    """Skips where the library is not installed; folders of its name in this repository and its link are none."""
    ours = {entry for entry in sys.path if Path(entry).resolve().is_relative_to(ROOT) or Path(entry, name).is_symlink()}
    elsewhere = [entry for entry in sys.path if entry not in ours]
    try:
        with mock.patch.object(sys, "path", elsewhere):
            import_module(name)
    except ImportError as error:
        return pytest.mark.skip(reason=f"{name} is not installed: pip install {name} ({error})")
    return pytest.mark.skipif(False, reason="")


@pytest.mark.parametrize("name", ["torch", "jax", "autograd", "mygrad"])
def test_a_library_that_is_missing(name, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(adapters, "import_module", missing)
    with pytest.raises(
        MissingDependencyError, match=rf"{name} cannot be imported \({name}\); hint: pip install {name}"
    ):
        getattr(adapters, f"from_{name}")(np.sin)


# ---------------------------------------------------------------------------------------------- torch
@needs("torch")
class TestTorch:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_functions(self, dtype):
        import torch

        x, row = X.astype(dtype), ROW.astype(dtype)
        assert check_vjp(*adapters.from_torch(torch.tanh), x).oracles == {"input 0": "complex step"}
        check_vjp(*adapters.from_torch(lambda a, b: (a * b, a.sum(1))), x, row)
        assert check_vjp(*adapters.from_torch(torch.nn.functional.gelu), x).oracles == {"input 0": "difference"}
        check_vjp(*adapters.from_torch(lambda x, ids: x[ids]), x, np.array([0, 1, 1]))

    def test_the_parameters_of_a_module(self):
        import torch

        torch.manual_seed(0)
        f, vjp = adapters.from_torch(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4)).double())
        assert [p.shape for p in f.parameters] == [(4, 3), (4,), (4,), (4,)]
        assert set(check_vjp(f, vjp, X, *f.parameters).oracles) == {f"input {i}" for i in range(5)}

    def test_results_in_tuples_and_dicts_with_whole_numbers_and_none(self):
        import torch

        check_vjp(*adapters.from_torch(lambda x: (x.argmax(), {"y": [x * 2, None]}, torch.sin(x))), X)
        f, vjp = adapters.from_torch(torch.nn.LSTM(3, 2).double())
        check_vjp(f, vjp, X, *f.parameters)

    def test_upstream_gradients_meet_their_results(self):
        """A result without a gradient before one that has its own."""
        import torch

        fn = adapters.from_torch(lambda x: (torch.zeros(3, dtype=x.dtype), x * x))
        check_vjp(*fn, X)

    @pytest.mark.parametrize("training", [False, True])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_a_module_is_left_as_it_was(self, training, dtype):
        import torch

        module = torch.nn.BatchNorm1d(3).train(training).to(torch.from_numpy(np.zeros(1, dtype)).dtype)
        before = {name: value.clone() for name, value in module.state_dict().items()}
        f, vjp = adapters.from_torch(module)
        check_vjp(f, vjp, np.random.default_rng(0).normal(size=(5, 3)).astype(dtype), *f.parameters)
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())

    def test_parameters_that_are_forgotten_and_other_results(self):
        import torch

        said = "the module has 2 parameters, got 1 arrays; hint: check_vjp(f, vjp, *inputs, *f.parameters)"
        with pytest.raises(ConfigError, match=re.escape(said)):
            check_vjp(*adapters.from_torch(torch.nn.Linear(3, 2)), X)
        with pytest.raises(GradientMismatch, match="fn returns a float; expected a tensor, or a tuple of tensors"):
            check_vjp(*adapters.from_torch(lambda x: 3.0), X)

    def test_a_wrong_gradient(self):
        import torch

        class Cube(torch.autograd.Function):
            @staticmethod
            def forward(context, x):
                context.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(context, g):
                return 2 * g * context.saved_tensors[0] ** 2

        with pytest.raises(GradientMismatch, match=re.escape("looks like a factor 0.666667 too many")):
            check_vjp(*adapters.from_torch(Cube.apply), X)


# ---------------------------------------------------------------------------------------------- jax
@needs("jax")
class TestJax:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_functions(self, dtype):
        import jax

        x, row = X.astype(dtype), ROW.astype(dtype)
        check_vjp(*adapters.from_jax(jax.nn.softmax), x)
        check_vjp(*adapters.from_jax(jax.jit(jax.numpy.tanh)), x)
        check_vjp(*adapters.from_jax(lambda a, b: (a * b, a.sum(1))), x, row)
        check_vjp(*adapters.from_jax(lambda x, ids: x[ids]), x, np.array([0, 1, 1]))

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_results_in_lists_and_dicts_with_whole_numbers_and_none(self, dtype):
        import jax

        x = X.astype(dtype)
        check_vjp(*adapters.from_jax(lambda x: [x * 2, x.argmax(), {"y": jax.numpy.sin(x), "z": None}]), x)

    def test_a_wrong_gradient(self):
        import jax

        @jax.custom_vjp
        def cube(x):
            return x**3

        cube.defvjp(lambda x: (x**3, x), lambda x, g: (2 * g * x**2,))
        with pytest.raises(GradientMismatch, match=re.escape("looks like a factor 0.666667 too many")):
            check_vjp(*adapters.from_jax(cube), X)


# ---------------------------------------------------------------------------------------------- autograd
@needs("autograd")
class TestAutograd:
    def test_functions(self):
        import autograd.numpy as anp

        check_vjp(*adapters.from_autograd(anp.tanh), X)
        check_vjp(*adapters.from_autograd(lambda a, b: (a * b, a.sum(1))), X, ROW)
        check_vjp(*adapters.from_autograd(lambda x, ids: x[ids]), X, np.array([0, 1, 1]))

    def test_results_with_whole_numbers(self):
        import autograd.numpy as anp

        check_vjp(*adapters.from_autograd(lambda x: [anp.argmax(x), x * 2, anp.sin(x)]), X)

    def test_a_wrong_gradient(self):
        from autograd.extend import defvjp, primitive

        cube = primitive(lambda x: x**3)
        defvjp(cube, lambda y, x: lambda g: 2 * g * x**2)
        with pytest.raises(GradientMismatch, match=re.escape("looks like a factor 0.666667 too many")):
            check_vjp(*adapters.from_autograd(cube), X)


# ---------------------------------------------------------------------------------------------- mygrad
@needs("mygrad")
class TestMygrad:
    def test_functions(self):
        import mygrad

        assert check_vjp(*adapters.from_mygrad(mygrad.tanh), X).oracles == {"input 0": "difference"}
        check_vjp(*adapters.from_mygrad(lambda a, b: (a * b, a.sum(1))), X, ROW)
        check_vjp(*adapters.from_mygrad(lambda x, ids: x[ids]), X, np.array([0, 1, 1]))

    def test_another_result_is_refused(self):
        with pytest.raises(GradientMismatch, match="fn returns a float; expected a tensor"):
            check_vjp(*adapters.from_mygrad(lambda x: 3.0), X)

    def test_a_wrong_gradient(self):
        import mygrad

        def cube(x):
            y = x**3
            return mygrad.tensor(y.data) + 0 * y + (y - y.data) * 2 / 3  # the values of y, two thirds of its gradient

        with pytest.raises(GradientMismatch, match="the gradient of input 0"):
            check_vjp(*adapters.from_mygrad(cube), X)
