"""Residual networks written out in plain NumPy, in float64, with the weights of a module.

Every function takes the mode: in training batch norm uses the batch's own mean and variance.
"""

import images_by_hand
import numpy as np
from images_by_hand import gate, max_pool, relu

from minattn.nn.initializers import fans


def conv(layer, x):
    """The layer's own stride, padding and groups."""
    return images_by_hand.conv(x, layer, layer.stride, layer.padding, layer.groups)


def batch_norm(layer, x, training):
    mean = x.mean((0, 2, 3)) if training else layer.running_mean.data
    variance = x.var((0, 2, 3)) if training else layer.running_variance.data
    scale = layer.weight.data / np.sqrt(variance + layer.eps)
    return (x - mean[:, None, None]) * scale[:, None, None] + layer.bias.data[:, None, None]


def conv_norm(layer, x, training, activated):
    y = batch_norm(layer.norm, conv(layer.conv, x), training)
    return relu(y) if activated else y


def padded_shortcut(x, outputs, stride):
    """Option A, pixel by pixel."""
    height, width = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    y = np.zeros((len(x), outputs, height, width))
    for i in range(height):
        for j in range(width):
            y[:, : x.shape[1], i, j] = x[:, :, stride * i, stride * j]
    return y


def gates(se, u):
    return gate(u, se)[1]


def squeeze_excitation(se, u):
    return gate(u, se)[0]


def basic_block(block, x, stride, option, training):
    """(y, gates or None) of two 3x3 convolutions, SE in the standard position."""
    first, second = block.convolutions
    residual = conv_norm(second, conv_norm(first, x, training, True), training, False)
    if residual.shape == x.shape:
        shortcut = x
    elif option == "A":
        shortcut = padded_shortcut(x, residual.shape[1], stride)
    else:
        shortcut = conv_norm(block.shortcut, x, training, False)
    if block.se is None:
        return relu(residual + shortcut), None
    return relu(squeeze_excitation(block.se, residual) + shortcut), gates(block.se, residual)


def bottleneck(block, x, position, training):
    """(y, gates) of 1x1, 3x3 and 1x1 convolutions with SE in that position."""
    first, second, third = block.convolutions
    se = {name: (lambda u: u) for name in ("standard", "pre", "post", "identity", "3x3")}
    seen = []

    def gated(u):
        seen.append(gates(block.se, u))
        return squeeze_excitation(block.se, u)

    if block.se is not None:
        se[position] = gated
    shortcut = x if block.shortcut is None else conv_norm(block.shortcut, x, training, False)
    residual = conv_norm(first, se["pre"](x), training, True)
    residual = se["3x3"](conv_norm(second, residual, training, True))
    residual = se["standard"](conv_norm(third, residual, training, False))
    y = se["post"](relu(residual + se["identity"](shortcut)))
    return y, seen[0] if seen else None


def wide_block(block, x, stride, option, training):
    """(y, gates or None) of the pre-activated block."""
    activated = relu(batch_norm(block.norm1, x, training))
    residual = conv(block.conv1, activated)
    residual = conv(block.conv2, relu(batch_norm(block.norm2, residual, training)))
    s = None
    if block.se is not None:
        residual, s = squeeze_excitation(block.se, residual), gates(block.se, residual)
    if residual.shape == x.shape:
        return residual + x, s
    if option == "A":
        return residual + padded_shortcut(x, residual.shape[1], stride), s
    return residual + conv(block.projection, activated), s


def cifar_resnet(model, images, training=False):
    """(logits, last maps, gates) of ResNet-(6n+2)."""
    x, found = conv_norm(model.conv1, images, training, True), []
    for stage, stride in zip(model.stages, (1, 2, 2), strict=True):
        for k, block in enumerate(stage.blocks):
            x, s = basic_block(block, x, stride if k == 0 else 1, model.config.shortcut, training)
            found.append(s)
    return x.mean((2, 3)) @ model.classifier.weight.data + model.classifier.bias.data, x, found


def wide_resnet(model, images, training=False):
    """(logits, last maps, gates) of WRN-n-k without dropout."""
    x, found = conv(model.conv1, images), []
    for stage, stride in zip(model.stages, (1, 2, 2), strict=True):
        for k, block in enumerate(stage.blocks):
            x, s = wide_block(block, x, stride if k == 0 else 1, model.config.shortcut, training)
            found.append(s)
    x = relu(batch_norm(model.norm, x, training))
    return x.mean((2, 3)) @ model.classifier.weight.data + model.classifier.bias.data, x, found


def randomized(model, seed, dtype=np.float64):
    """The module with weights and running statistics none of which is zero, one or like another, and of a size that
    lets deep networks neither fade nor grow."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        scale = np.sqrt(2 / fans(parameter.shape)[0]) if parameter.ndim > 1 else 0.5
        parameter.replace_data(rng.normal(scale=scale, size=parameter.shape).astype(dtype))
    for name, buffer in model.named_buffers().items():
        low = 0.5 if name.endswith("variance") else -0.5
        buffer.replace_data(rng.uniform(low, low + 1, buffer.shape).astype(dtype))
    return model


def resnet(model, images, training=False):
    """(logits, last maps, gates) of ResNet with bottlenecks, whose layers know their strides."""
    x = max_pool(conv_norm(model.conv1, images, training, True), 3, 2, 1)
    found = []
    for stage in model.stages:
        for block in stage.blocks:
            x, s = bottleneck(block, x, model.config.position, training)
            found.append(s)
    return x.mean((2, 3)) @ model.classifier.weight.data + model.classifier.bias.data, x, found
