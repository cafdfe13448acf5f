"""Bits per dimension without a network, to compare a model of images with.

A dimension is a channel of a pixel.  Each is the cost of the test images for one who has the training images, but for
PNG, which is given the test images alone.
"""

import io
import math

import numpy as np

from minattn.data.images.levels import Levels, from_levels


def baselines(train: Levels, test: Levels, levels: int) -> dict[str, float]:
    """Bits per dimension by name, of images in so many levels."""
    return {
        "uniform": math.log2(levels),
        "one_histogram": histogram_bits(train.reshape(-1, 1), test.reshape(-1, 1), levels),
        "a_histogram_for_each_pixel": histogram_bits(
            train.reshape(len(train), -1), test.reshape(len(test), -1), levels
        ),
        "png_of_test_alone": png_bits(test, levels),
    }


def histogram_bits(train: np.ndarray, test: np.ndarray, levels: int) -> float:
    """Columns apart, each level by its frequency there in training; every count is one higher, so that none is 0."""
    columns = np.arange(train.shape[1])
    counts = np.ones((len(columns), levels))
    np.add.at(counts, (np.broadcast_to(columns, train.shape), train), 1.0)
    p = counts / counts.sum(axis=1, keepdims=True)
    return float(-np.log2(p[np.broadcast_to(columns, test.shape), test]).mean())


def png_bits(test: Levels, levels: int) -> float:
    """All images, one below the other, as PNG packs them at its best, header included."""
    from PIL import Image

    count, channels, height, width = test.shape
    pixels = from_levels(test, levels).transpose(0, 2, 3, 1).reshape(count * height, width, channels)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, format="PNG", optimize=True)
    return 8 * len(file.getvalue()) / test.size
