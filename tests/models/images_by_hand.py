"""What image networks do, written out in NumPy from the papers: what the networks are compared with.

Images are (N, C, H, W).  Weights are read out of the module; strides, paddings and groups are said here and not read,
so that a wrong one in a network shows.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minattn.nn import ConvNorm, initializers


# ---------------------------------------------------------------------------------------------- the layers
def conv(x, layer, stride=1, padding=0, groups=1):
    """sum over c, i, j of W_ocij x_c(s h + i - p, s w + j - p), plus the bias."""
    weight = layer.weight.data
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    windows = sliding_window_view(x, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True)
    y = np.concatenate([np.einsum("nchwij,ocij->nohw", part, w, optimize=True) for part, w in parts], axis=1)
    return y if layer.bias is None else y + layer.bias.data[:, None, None]


def norm(x, layer):
    """Batch normalization with the running mean and variance."""
    scale = layer.weight.data / np.sqrt(layer.running_variance.data + 1e-5)
    return (x - layer.running_mean.data[:, None, None]) * scale[:, None, None] + layer.bias.data[:, None, None]


def relu(x):
    return np.maximum(x, 0)


def unit(x, layer, stride=1, padding=0, groups=1):
    """Convolution, batch normalization where the layer has it, ReLU."""
    y = conv(x, layer.conv, stride, padding, groups)
    has_norm = isinstance(layer, ConvNorm) or layer.norm is not None
    return relu(norm(y, layer.norm) if has_norm else y)


def max_pool(x, kernel, stride, padding=0, ceil=False):
    """The largest of each window; with ceil=True also of the windows that are partly in the image."""
    behind = [(stride - (n + 2 * padding - kernel) % stride) % stride if ceil else 0 for n in x.shape[2:]]
    widths = [(0, 0), (0, 0), *((padding, padding + more) for more in behind)]
    windows = sliding_window_view(np.pad(x, widths, constant_values=-np.inf), (kernel, kernel), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max((-2, -1))


def mean_pool(x, kernel, stride, padding=0):
    """The mean of each window, the zeros around the image included."""
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    return sliding_window_view(x, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride].mean((-2, -1))


def response_norm(x):
    """Krizhevsky et al. 2012, 3.3: n = 5, k = 2, alpha = 1e-4, beta = 0.75."""
    channels = x.shape[1]
    y = np.empty_like(x)
    for i in range(channels):
        near = x[:, max(0, i - 2) : min(channels - 1, i + 2) + 1]
        y[:, i] = x[:, i] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
    return y


def gate(x, se):
    """(the scaled maps, the gates) of Squeeze-and-Excitation; (x, None) without."""
    if se is None:
        return x, None
    hidden = relu(x.mean((2, 3)) @ se.W_1.data + se.b_1.data)
    s = 1 / (1 + np.exp(-(hidden @ se.W_2.data + se.b_2.data)))
    return x * s[:, :, None, None], s


def gates_of(attention):
    """The gates of Squeeze-and-Excitation among the attention of a network."""
    return [weights for path, weights in attention.items() if path.endswith("se")]


def linear(x, layer):
    return x @ layer.weight.data + layer.bias.data


# ---------------------------------------------------------------------------------------------- networks to compare
def unallocated(network, config, *args):
    """The network without memory: shapes and counts are right, values are not."""
    with initializers.unallocated():
        return network(config, np.random.default_rng(0), *args)


def randomized(network, seed=0):
    """The network in float64 and evaluation mode, with no bias, scale, shift or running statistic that is 0 or 1."""
    rng = np.random.default_rng(seed)
    for parameter in network.parameters():
        parameter.replace_data(parameter.data + rng.normal(scale=0.1, size=parameter.shape))
    for name, buffer in network.named_buffers().items():
        draw = rng.uniform(0.5, 2, buffer.shape)
        buffer.replace_data(draw if name.endswith("variance") else draw - 1)
    return network.eval()


def random_images(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(got, expected):
    """Whether a tensor is the array expected, but for rounding."""
    assert got.shape == expected.shape
    assert np.abs(got.data - expected).max() <= 1e-9 * max(1, np.abs(expected).max())
    return True
