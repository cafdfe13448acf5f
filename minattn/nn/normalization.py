"""Layers that normalize images (N, C, H, W): batch normalization and group normalization."""

import numpy as np
from jaxtyping import Inexact

from minattn.autograd import Array, Tensor, ops
from minattn.autograd.ops.norms import check_channel_groups
from minattn.errors import ConfigError, ShapeError
from minattn.nn import initializers
from minattn.nn.module import Buffer, Module


class BatchNorm2d(Module):
    """y = w (x - mean) / sqrt(var + eps) + b, a mean and a variance for each channel.  Ioffe & Szegedy 2015.

    In training they are those of the batch (algorithm 1), and are remembered: with each batch

        running = (1 - momentum) running + momentum (mean or variance of the batch),

    for the m numbers of a channel the unbiased variance, m / (m - 1) times the one that divides (algorithm 2, step 10).
    In evaluation the running ones are used, so that an image's result does not depend on its neighbors.

    Deviations from the paper: it takes the mean of some batches after training; the moving average, which it mentions
    in section 3.1, needs no such pass.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        if not 0 <= momentum <= 1:
            raise ConfigError(f"momentum is the share of the newest batch, got {momentum}; hint: between 0 and 1")
        self.weight = initializers.ones((channels,))
        self.bias = initializers.zeros((channels,))
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_variance = Buffer(np.ones(channels, np.float32))
        self.eps = eps
        self.momentum = momentum

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"], relu: bool = False
    ) -> Inexact[Tensor, "batch channels height width"]:
        """relu: max(y, 0) in place of y.

        Raises ShapeError in training where a channel has a single number, which has no variance.
        """
        if not self.training:
            running = self.running_mean, self.running_variance
            return ops.batch_norm_inference(x, self.weight, self.bias, *running, self.eps, relu)
        m = x.size // max(1, self.weight.size)
        if m == 1:
            raise ShapeError(
                f"a batch of shape {x.shape} has one number for each channel, which has no variance; hint: a "
                "larger batch, or eval()"
            )
        y, mean, variance = ops.batch_norm(x, self.weight, self.bias, self.eps, relu)
        self._remember(self.running_mean, mean.data)
        self._remember(self.running_variance, variance.data * (m / (m - 1)))
        return y

    def _remember(self, running: Buffer, of_batch: Array) -> None:
        moved = (1 - self.momentum) * running.data + self.momentum * of_batch.real
        running.data = moved.astype(running.dtype)


class GroupNorm(Module):
    """y = w (x - mean) / sqrt(var + eps) + b, a mean and a variance for each image and each of `groups` groups of its
    channels.  Wu & He 2018, whose number of groups is 32.  The same in training and in evaluation.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        check_channel_groups(channels, groups)
        self.weight = initializers.ones((channels,))
        self.bias = initializers.zeros((channels,))
        self.groups = groups
        self.eps = eps

    def forward(
        self, x: Inexact[Tensor, "batch channels height width"]
    ) -> Inexact[Tensor, "batch channels height width"]:
        return ops.group_norm(x, self.weight, self.bias, self.groups, self.eps)
