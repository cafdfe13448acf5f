"""Padding: the modes at work on numbers one can follow, NumPy's short forms, and what is refused."""

import numpy as np
import pytest

import minattn as ma
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Conv1d, Conv2d

X = ma.tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("mode", "expected", "slopes"),
    [
        ("constant", [0, 0, 1, 2, 3, 0], [1, 1, 1]),
        ("reflect", [3, 2, 1, 2, 3, 2], [1, 3, 2]),
        ("replicate", [1, 1, 1, 2, 3, 3], [3, 1, 2]),
        ("circular", [2, 3, 1, 2, 3, 1], [2, 2, 2]),
    ],
)
def test_the_modes(mode, expected, slopes):
    x = ma.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = ma.pad(x, (2, 1), mode=mode)
    assert y.tolist() == expected
    y.backward(np.ones(6))
    assert x.grad.tolist() == slopes


def test_more_than_there_is_goes_to_and_fro_or_round_and_round():
    assert ma.pad(X, (0, 5), mode="reflect").tolist() == [1, 2, 3, 2, 1, 2, 3, 2]
    assert ma.pad(X, (0, 5), mode="circular").tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert ma.pad(ma.tensor([7.0]), 2, mode="reflect").tolist() == [7, 7, 7, 7, 7]


def test_widths_as_numpy_takes_them():
    x = np.arange(6.0).reshape(2, 3)
    for widths in (1, (1, 2), [(1, 2)], [[1], [2]], [(0, 1), (2, 0)], np.array([[1, 1], [0, 2]])):
        np.testing.assert_array_equal(ma.pad(ma.tensor(x), widths).data, np.pad(x, widths))
    assert ma.pad(ma.tensor(5.0), ()).item() == 5


@pytest.mark.parametrize("widths", [-1, (1, -1), 1.0, True, [(1, 1)] * 3, [(1, 2, 3)] * 2, "1", None])
def test_widths_that_do_not_fit_are_refused(widths):
    with pytest.raises(ShapeError, match=r"pad: widths must be 2 pairs of ints of 0 or more, got .*; hint"):
        ma.pad(ma.tensor(np.ones((2, 2))), widths)


def test_what_is_not_there_cannot_be_repeated():
    with pytest.raises(ShapeError, match=r'pad: mode="reflect" has nothing to repeat along an axis of length 0; hint'):
        ma.pad(ma.tensor(np.ones((2, 0))), 1, mode="reflect")
    assert ma.pad(ma.tensor(np.ones((2, 0))), [(1, 0), (0, 0)], mode="circular").shape == (3, 0)
    with pytest.raises(ConfigError, match=r'pad: unknown mode .edge.; hint: "constant", "reflect"'):
        ma.pad(X, 1, mode="edge")


# ---------------------------------------------------------------------------------------------- layers
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_convolutions_pad_with_what_their_mode_says(mode):
    rng = np.random.default_rng(0)
    image = Conv2d(2, 3, 3, rng, padding=(1, 2), padding_mode=mode)
    sequence = Conv1d(2, 3, 3, rng, padding=2, padding_mode=mode)
    mode = "constant" if mode == "zeros" else mode
    x = ma.tensor(rng.standard_normal((2, 2, 4, 5)))
    padded = ma.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)], mode=mode)
    np.testing.assert_allclose(image(x).data, ma.conv2d(padded, image.weight, image.bias).data, rtol=1e-12)
    x = ma.tensor(rng.standard_normal((2, 2, 5)))
    padded = ma.pad(x, [(0, 0), (0, 0), (2, 2)], mode=mode)
    np.testing.assert_allclose(sequence(x).data, ma.conv1d(padded, sequence.weight, sequence.bias).data, rtol=1e-12)


@pytest.mark.parametrize("layer", [Conv1d, Conv2d])
def test_an_unknown_mode_of_a_layer_is_refused(layer):
    with pytest.raises(ConfigError, match="unknown padding_mode 'edge'; hint: one of zeros, reflect, replicate, circ"):
        layer(1, 1, 3, np.random.default_rng(0), padding_mode="edge")
    with pytest.raises(ConfigError, match="hint: kernel=1 or more"):
        layer(1, 1, 0, np.random.default_rng(0))
