"""W6, the residual network, and W7, one convolution, in Chainer."""

from itertools import cycle

import chainer
import chainer.functions as F
import chainer.links as L
import inputs
import numpy as np
from chainer import Chain, ChainList, Parameter


class Unit(Chain):
    """A convolution of 3x3 and the batch norm behind it."""

    def __init__(self, weights, name, stride=1) -> None:
        super().__init__()
        weight = weights[f"{name}_W"]
        with self.init_scope():
            self.conv = L.Convolution2D(weight.shape[1], weight.shape[0], 3, stride, 1, nobias=True, initialW=weight)
            self.norm = L.BatchNormalization(weight.shape[0], eps=inputs.EPSILON)

    def forward(self, x):
        return self.norm(self.conv(x))


def linear(weights, weight, bias):
    """A layer that starts from a weight (inputs, outputs)."""
    shape = weights[weight].shape
    return L.Linear(*shape, initialW=weights[weight].T.copy(), initial_bias=weights[bias])


class Block(Chain):
    """Two units; a shortcut that changes the size takes every second pixel and pads the channels."""

    def __init__(self, weights, name, stride, se) -> None:
        super().__init__()
        self.stride, self.se = stride, se
        with self.init_scope():
            self.first, self.second = Unit(weights, f"{name}_conv1", stride), Unit(weights, f"{name}_conv2")
            if se:
                self.squeeze = linear(weights, f"{name}_se_W_1", f"{name}_se_b_1")
                self.excite = linear(weights, f"{name}_se_W_2", f"{name}_se_b_2")

    def forward(self, x):
        y = self.second(F.relu(self.first(x)))
        if self.se:
            gates = F.sigmoid(self.excite(F.relu(self.squeeze(F.mean(y, (2, 3))))))
            y = y * F.broadcast_to(gates[:, :, None, None], y.shape)
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, ((0, 0), (0, y.shape[1] - x.shape[1]), (0, 0), (0, 0)), "constant")
        return F.relu(y + x)


class ResNet(Chain):
    def __init__(self, weights, se) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Unit(weights, "conv")
            self.blocks = ChainList(
                *(
                    Block(weights, f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1, se)
                    for stage in (1, 2, 3)
                    for block in range(1, inputs.BLOCKS + 1)
                )
            )
            self.classifier = linear(weights, "classifier_W", "classifier_b")

    def forward(self, images):
        x = F.relu(self.conv(images))
        for block in self.blocks:
            x = block(x)
        return self.classifier(F.mean(x, (2, 3)))


def training(threads, se=False):
    weights, batches = inputs.resnet(se)
    model = ResNet(weights, se)
    optimizer = chainer.optimizers.MomentumSGD(inputs.RATE, inputs.MOMENTUM).setup(model)
    optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(inputs.DECAY))
    coming = cycle([(images, labels.astype(np.int32)) for images, labels in batches])

    def step():
        images, labels = next(coming)
        loss = F.softmax_cross_entropy(model(images), labels)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss.item()

    return step


def training_se(threads):
    return training(threads, se=True)


def inference(threads, se=False):
    weights, batches = inputs.resnet(se)
    model = ResNet(weights, se)
    coming = cycle(batches)

    def step():
        with chainer.using_config("train", False), chainer.no_backprop_mode():
            return model(next(coming).images).array.max().item()

    return step


def inference_se(threads):
    return inference(threads, se=True)


def forward(threads):
    arrays = inputs.convolution()

    def step():
        with chainer.no_backprop_mode():
            return F.convolution_2d(arrays["x"], arrays["weight"], pad=1).array[inputs.PIXEL].item()

    return step


def forward_and_backward(threads):
    arrays = inputs.convolution()
    x, weight = Parameter(arrays["x"]), Parameter(arrays["weight"])

    def step():
        x.cleargrad()
        weight.cleargrad()
        y = F.convolution_2d(x, weight, pad=1)
        y.grad = arrays["g"]
        y.backward()
        return weight.grad[inputs.TAP].item() + x.grad[inputs.PIXEL].item()

    return step
