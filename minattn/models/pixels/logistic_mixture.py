"""The discretized mixture of logistics: the probability of a pixel whose channels take one of many ordered levels.

T. Salimans, A. Karpathy, X. Chen and D. P. Kingma, "PixelCNN++", ICLR 2017, section 2, as N. Parmar et al., "Image
Transformer", ICML 2018, uses it.  Levels 0 to L - 1 are x = -1 to 1, and each is a bin of width 2h, h = 1 / (L - 1):

    p(x | mu, s) = sigma((x + h - mu) / s) - sigma((x - h - mu) / s)                            (a)
    with -infinity in place of x - h at x = -1, and infinity in place of x + h at x = 1, so that all sum to 1
    p(pixel) = sum_k pi_k prod_c p(x_c | mu_kc, s_kc)                                           (b)
    mu_k2 = m_k2 + a_k x_1;  mu_k3 = m_k3 + b_k x_1 + c_k x_2                                   (c)  of three channels

For each of K logistics a network outputs the logit of pi_k, for each channel m and log s, and what a, b and c are the
tanh of.  log s is at least -7.

In (a) sigma(u) - sigma(w) = sigma(u) sigma(-w) (1 - exp(w - u)), so that

    log p = log sigma(u) + log sigma(-w) + log(1 - exp(-2h / s))                                (d)

which loses no digits, however unlikely x is.  The letters are this file's.

Deviations from the papers: in place of (d) the authors' code takes the logarithm of (a), at least 1e-12, and below 1e-5
the density in the middle of the bin.  Its samples depend by (c) on x_1 and x_2 before these are rounded to levels, so
that they are not quite of (b); here they depend on the levels.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Inexact, Integer

from minattn.autograd import Array, Tensor, ops
from minattn.autograd.backend import as_array, like
from minattn.errors import ConfigError

MIN_LOG_SCALE = -7.0
FLAT_LOG_SCALE = 60.0
"""From here on 1 - exp(-2h / s) is 2h / s to the last digit, and exp(-60) is a float32 with room below it."""


@dataclass(frozen=True)
class LogisticMixture:
    """The distribution of a pixel: K = `mixtures` logistics, 1 or 3 channels of `levels` levels."""

    channels: int = 3
    mixtures: int = 10
    levels: int = 256

    def __post_init__(self) -> None:
        if self.channels not in (1, 3) or self.mixtures < 1 or self.levels < 2:
            raise ConfigError(
                f"a mixture is of 1 or 3 channels, at least 1 logistic and 2 levels, got {self.channels}, "
                f"{self.mixtures} and {self.levels}; hint: 3, 10 and 256"
            )

    @property
    def coefficients(self) -> int:
        """How many of a, b and c a logistic has."""
        return self.channels * (self.channels - 1) // 2

    @property
    def size(self) -> int:
        """How many outputs of a network describe a pixel: 100 of three channels with ten logistics."""
        return self.mixtures * (1 + 2 * self.channels + self.coefficients)

    def log_likelihood(
        self, outputs: Inexact[Tensor, "*batch size"], pixels: Integer[Array, "*batch channels"]
    ) -> Inexact[Tensor, "*batch"]:
        """Return the natural logarithm of p(pixel), (b)."""
        logits, means, log_scales, coefficients = self._split(outputs)
        x = like(as_array(self.scaled(pixels)).astype(outputs.data.real.dtype), outputs.data)[..., None, :]
        log_p = log_probability(x, self._conditional_means(means, coefficients, x), log_scales, self.levels)
        return ops.logsumexp(ops.log_softmax(logits) + ops.sum(log_p, axis=-1), axis=-1)  # (b)

    def sample(
        self, outputs: Float[np.ndarray, "*batch size"], rng: np.random.Generator, temperature: float = 1.0
    ) -> Integer[np.ndarray, "*batch channels"]:
        """Sample pixels: a logistic, then one channel after another, rounded to a level, on which the next depends.

        temperature: divides the logits and multiplies s; at 0 the pixel is the means of the likeliest logistic.
        """
        logits, means, log_scales, coefficients = (
            np.asarray(part.data, np.float64) for part in self._split(Tensor(outputs))
        )
        noise = rng.gumbel(size=logits.shape)
        chosen = np.argmax(logits + temperature * noise, axis=-1)[..., None, None]
        mean, log_scale, coefficient = (
            np.take_along_axis(part, chosen, axis=-2)[..., 0, :] for part in (means, log_scales, coefficients)
        )
        u = rng.uniform(1e-5, 1 - 1e-5, size=mean.shape)
        scale = np.exp(np.minimum(log_scale, FLAT_LOG_SCALE))  # beyond, nothing changes
        deviation = temperature * scale * (np.log(u) - np.log1p(-u))
        x = np.zeros_like(mean)
        for c in range(self.channels):
            mu = mean[..., c]
            for earlier in range(c):
                mu = mu + coefficient[..., c * (c - 1) // 2 + earlier] * x[..., earlier]
            x[..., c] = self.scaled(self._nearest(mu + deviation[..., c]))
        return self._nearest(x)

    def _nearest(self, x: Float[np.ndarray, "*shape"]) -> Integer[np.ndarray, "*shape"]:
        """The levels whose bins x lies in."""
        return np.rint((np.clip(x, -1, 1) + 1) / 2 * (self.levels - 1)).astype(np.int64)

    def scaled(self, pixels: Integer[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Return levels as x in -1 to 1."""
        return pixels * (2 / (self.levels - 1)) - 1

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (.., K), means and log scales (.., K, C), coefficients (.., K, 0 or 3) of a network's outputs."""
        *batch, _ = outputs.shape
        k, c = self.mixtures, self.channels
        rest = ops.reshape(outputs[..., k:], (*batch, k, 2 * c + self.coefficients))
        log_scales = ops.maximum(rest[..., c : 2 * c], MIN_LOG_SCALE)
        return outputs[..., :k], rest[..., :c], log_scales, ops.tanh(rest[..., 2 * c :])

    def _conditional_means(self, means: Tensor, coefficients: Tensor, x: Array) -> Tensor:
        """The means mu of all channels, (c), given those before."""
        if self.channels == 1:
            return means
        a, b, c = (coefficients[..., i] for i in range(3))
        second = means[..., 1] + a * x[..., 0]
        third = means[..., 2] + b * x[..., 0] + c * x[..., 1]
        return ops.stack([means[..., 0], second, third], axis=-1)  # (c)


def log_probability(
    x: Float[Array, "..."], mean: Inexact[Tensor, "..."], log_scale: Inexact[Tensor, "*shape"], levels: int
) -> Inexact[Tensor, "*shape"]:
    """Return log p(x | mu, s) of (a), by (d)."""
    half = 1 / (levels - 1)
    u, w = ((Tensor(x + step) - mean) * ops.exp(-log_scale) for step in (half, -half))
    below = -ops.softplus(-u)  # log sigma(u): x or less, given that the bins go on to -infinity
    above = -ops.softplus(w)
    most = ops.minimum(log_scale, FLAT_LOG_SCALE)
    between = ops.log(-ops.expm1(-2 * half * ops.exp(-most))) + (most - log_scale)
    first, last = x < -1 + half, x > 1 - half
    return ops.where(last, 0.0, below) + ops.where(first, 0.0, above) + ops.where(first | last, 0.0, between)  # (d)


def bits(nats: float, dimensions: int = 1) -> float:
    """Natural units in bits, for each of so many dimensions."""
    return nats / (dimensions * math.log(2))
