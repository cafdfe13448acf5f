"""What modules say of arguments that do not fit: the module, the argument, what it must be and what it is."""

import jaxtyping
import numpy as np
import pytest

import minattn as ma
from minattn import nn
from minattn.attention.channel import SqueezeExcitation
from minattn.attention.self_attention import MultiHeadAttention, SinusoidalPositions
from minattn.attention.sequence import AdditiveAttention
from minattn.attention.spatial import attend, gradient_class_activation_map, normalized, upsampled
from minattn.errors import ConfigError, ShapeError
from minattn.models import RNNsearch, RNNsearchConfig
from minattn.nn import initializers


@pytest.fixture(autouse=True)
def unchecked():
    """Layers as users have them: the tests' own check of the signatures would come first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def rng():
    return np.random.default_rng(0)


def ones(*shape):
    return ma.tensor(np.ones(shape, np.float32))


AXES = {
    "MultiHeadAttention": (lambda: MultiHeadAttention(4, 2, rng())(ones(3, 4)), "queries", "(batch, n_q, d_model)"),
    "SinusoidalPositions": (lambda: SinusoidalPositions()(ones(3, 4)), "x", "(batch, n, d)"),
    "AdditiveAttention": (
        lambda: AdditiveAttention(3, 4, 5, rng())(ones(2, 3), ones(6, 4)),
        "annotations",
        "(batch, source, annotation)",
    ),
    "SqueezeExcitation": (
        lambda: SqueezeExcitation(4, rng())(ones(4, 3, 3)),
        "u",
        "(batch, channels, height, width)",
    ),
    "GRU": (lambda: nn.GRU(3, 2, rng())(ones(4, 3)), "x", "(batch, time, inputs)"),
    "RNN": (lambda: nn.RNN(3, 2, rng())(ones(2, 4, 3), None, ones(2)), "state", "(batch, size)"),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 3, rng())(ones(1, 4, 4)), "x", "(batch, inputs, height, width)"),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3)(ones(3, 4)), "x", "(batch, channels, height, width)"),
    "Linear": (lambda: nn.Linear(3, 2, rng())(None), "x", "(.., inputs)"),
}


@pytest.mark.parametrize("name", AXES)
def test_an_argument_with_another_number_of_axes_is_named(name):
    call, argument, axes = AXES[name]
    with pytest.raises(ShapeError) as error:
        call()
    assert str(error.value).startswith(f"{name}: {argument} must be a tensor {axes}, got ")


def test_an_argument_that_fits_is_not_blamed():
    class Careless(nn.Module):
        def forward(self, x, power=2.0):
            return x**power + self.missing

    with pytest.raises(AttributeError, match="missing"):
        Careless()(ones(2))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Careless()()
    with pytest.raises(ShapeError, match=r"^linear: x \(2, 4\) does not fit the weight \(3, 2\)"):
        nn.Linear(3, 2, rng())(ones(2, 4))


FUNCTIONS = {
    "attend": (lambda: attend(ones(), ones()), r"an attention map of shape \(\) does not fit features of shape \(\)"),
    "gradient_class_activation_map": (
        lambda: gradient_class_activation_map(ones(3, 4, 4), lambda f: f, np.array([0])),
        r"features of shape \(3, 4, 4\), expected \(batch, channels, height, width\)",
    ),
    "upsampled": (lambda: upsampled(ones(3), (8, 8)), r"expected maps \(batch, height, width\), got \(3,\); hint"),
    "normalized": (lambda: normalized(ones()), r"expected maps \(batch, height, width\), got \(\); hint"),
    "self_attend": (
        lambda: MultiHeadAttention(4, 2, rng()).self_attend(ones(3, 4)),
        r"vectors \(batch, n, d_model\), got \(3, 4\)",
    ),
    "no places": (lambda: SqueezeExcitation(4, rng())(ones(2, 4, 0, 3)), r"maps of shape \(2, 4, 0, 3\), expected"),
    "no source": (
        lambda: RNNsearch(RNNsearchConfig(5, 5, 2, 2, 2, 2), rng())(np.zeros((2, 0), int), np.zeros((2, 3), int)),
        r"a source of shape \(2, 0\) has no positions; hint: at least its end symbol",
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_functions_and_models_refuse(name):
    call, message = FUNCTIONS[name]
    with pytest.raises((ShapeError, TypeError), match=message):
        call()


# ---------------------------------------------------------------------------------------------- building
@pytest.mark.parametrize("sizes", [(3.0, 4), (3, "4"), (3, -1), (True, 2), (None, 2)])
def test_sizes_are_whole_numbers(sizes):
    for build in (initializers.zeros, lambda shape: initializers.normal(shape, rng())):
        with pytest.raises(ConfigError, match="the sizes of a parameter must be ints of 0 or more, got"):
            build(sizes)
    with pytest.raises(ConfigError, match="the sizes of a parameter must be ints of 0 or more, got"):
        nn.Linear(*sizes, rng())


def test_a_weight_without_elements_is_not_drawn():
    with pytest.raises(ConfigError, match=r"a weight of shape \(0, 5\) has no elements to draw; hint"):
        initializers.glorot_uniform((0, 5), rng())
    with pytest.raises(ConfigError, match="state must be a whole number of at least 1, got 0; hint"):
        AdditiveAttention(0, 3, 5, rng(), init="paper")


def test_an_orthogonal_matrix_has_two_axes():
    with pytest.raises(ShapeError, match=r"orthogonal: expected the shape of a matrix, got \(3,\)"):
        initializers.orthogonal((3,), rng())


@pytest.mark.parametrize("given", [0, None, "seed"])
def test_drawing_wants_a_generator(given):
    for build in (lambda: nn.Linear(2, 3, given), lambda: nn.Embedding(2, 3, given)):
        with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator, got \w+; hint: numpy.random"):
            build()


def test_settings_that_are_true_or_false_are_nothing_else():
    with pytest.raises(ConfigError, match="attention must be True or False, got 'no'; hint"):
        RNNsearchConfig(attention="no")
