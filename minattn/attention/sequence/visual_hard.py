"""Hard visual attention: one location is sampled for every word, and trained with REINFORCE.

K. Xu et al., "Show, attend and tell: neural image caption generation with visual attention", ICML 2015, section 4.1.
With the weights alpha_t of `visual.py` and one-hot s_t, a sampled location:

    s_t ~ Multinoulli(alpha_t),   z_t = beta_t sum_i s_ti a_i                                  (a)  the context
    L_s = sum_s p(s | a) log p(y | s, a)  <=  log sum_s p(s | a) p(y | s, a) = log p(y | a)    (b)  what is maximized
    dL_s/dW = sum_s p(s | a) [d log p(y | s, a)/dW + log p(y | s, a) d log p(s | a)/dW]        (c)  its gradient

The sum goes over L^C sequences of locations, so it is estimated with N of them, s~^n drawn by (a).  With a baseline b,
which changes the variance of the estimate and not its mean, and with the entropy H of the weights:

    b_k = 0.9 b_{k-1} + 0.1 log p(y | s~_k, a)                                                 (d)  after minibatch k
    dL_s/dW ~ (1/N) sum_n [d log p(y | s~^n, a)/dW
              + lambda_r (log p(y | s~^n, a) - b) d log p(s~^n | a)/dW + lambda_e dH[s~^n]/dW] (e)  the learning rule
    with probability 1/2, decided for each image, s~_t is replaced by its expectation alpha_t  (f)

`hard_loss` is a loss whose gradient is (e) with the opposite sign.  A caption is one sample: N = 1 for each image of a
batch, as in the authors' code, and more where images are repeated.

(e) estimates (c) without bias for lambda_r = 1, lambda_e = 0 and captions whose every location is sampled.

Deviations from the paper:
* It leaves both lambdas open.  The authors' code has 1/10 and 0.002, but over a batch of B it averages log p(y | s~, a)
  and sums the other two terms: in (e), a mean, they are B / 10 and 0.002 B.  Its reward is the mean of log p(y | s~, a)
  over the words, `per_word=True`, and it decides (f) once per batch.
* Where threads share a batch, all of them use the previous baseline, and only the first one's captions update it.
* Where (f) takes the expectation, the caption learns as soft attention does, through its weights.
* In log alpha, alpha is clamped to at least 1e-20.
* Once trained, the decoder takes the expectation of its context, as soft attention does, or the likeliest location,
  as in the authors' code.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.attention.kernels.visual_lstm import sampled_locations
from minattn.attention.sequence.visual import PAPER
from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.backend import like
from minattn.autograd.engine import Result
from minattn.nn import Buffer, Module
from minattn.published import Mechanism

EPSILON = 1e-20  # the least weight whose logarithm is taken

BASELINE_DECAY = 0.9


# ---------------------------------------------------------------------------------------------- locations
@op
def hard_weights(weights: Array, /, draws: Any, sampled: Any) -> Result:
    """s~ (.., L): the drawn locations (a), one-hot, where `sampled` (..) is True, and elsewhere the weights, (f).

    weights: (.., L), alpha; draws: (..), uniform in [0, 1).  Drawing has no gradient: that of the weights is 0 where
    they are sampled.
    """
    draws, sampled = like(draws, weights), like(sampled, weights)[..., None]
    locations = xp(weights).where(sampled, sampled_locations(weights, draws), weights)  # (a) (f)
    return locations, lambda g: xp(g).where(sampled, 0, g)


def likeliest_locations(weights: Inexact[Tensor, "*batch locations"]) -> Inexact[Tensor, "*batch locations"]:
    """One-hot: the location with the largest weight, the first of equal ones.  It has no gradient."""
    module, values = xp(weights.data), weights.data
    largest = values.argmax(-1)[..., None]
    return Tensor((module.arange(values.shape[-1]) == largest).astype(values.dtype))


# ---------------------------------------------------------------------------------------------- the learning rule
def log_probability(locations: Any, weights: Any) -> Any:
    """log p(s | a) (..) of one-hot locations (.., L) under weights (.., L)."""
    return ops.sum(locations * ops.log(ops.maximum(weights, EPSILON)), axis=-1)


def entropy(weights: Any) -> Any:
    """H[s] (..) of weights (.., L), in nats.  dH/de_i = -alpha_i (log alpha_i + H)."""
    return -ops.sum(weights * ops.log(ops.maximum(weights, EPSILON)), axis=-1)


def hard_loss(
    log_p_y: Inexact[Tensor, " samples"],
    log_p_s: Inexact[Tensor, " samples"],
    entropies: Inexact[Tensor, " samples"],
    reward: Inexact[Array, " samples"],
    baseline: Any,
    reward_weight: float = 1.0,
    entropy_weight: float = 0.0,
) -> Inexact[Tensor, ""]:
    """The loss whose gradient is (e) with the opposite sign.

    log_p_y: log p(y | s~, a) of every sample; log_p_s: log p(s~ | a); entropies: of its weights; reward: the values of
    log p(y | s~, a), through which no gradient goes; baseline: b; reward_weight: lambda_r; entropy_weight: lambda_e.
    """
    advantage = Tensor(reward_weight * (reward - baseline))
    of_samples = log_p_y + advantage * log_p_s + entropy_weight * entropies
    return -ops.sum(of_samples) / max(1, len(of_samples))  # (e)


class HardAttentionLoss(Module):
    """`hard_loss` with the moving-average baseline (d).

    reward_weight: lambda_r; entropy_weight: lambda_e; per_word: the reward, and so the baseline, is the mean of
    log p(y_t | s~, a) over the words, not their sum.
    """

    def __init__(self, reward_weight: float = 1.0, entropy_weight: float = 0.0, per_word: bool = False) -> None:
        self.reward_weight, self.entropy_weight, self.per_word = reward_weight, entropy_weight, per_word
        self.baseline = Buffer(np.zeros(1, np.float32))

    def forward(
        self,
        log_p_words: Inexact[Tensor, "captions words"],
        weights: Inexact[Tensor, "captions words locations"],
        locations: Inexact[Tensor, "captions words locations"],
        sampled: Bool[Array, " captions"],
        mask: Bool[Array, "captions words"],
    ) -> Inexact[Tensor, ""]:
        """Return the loss of a batch; in training, update the baseline.

        log_p_words: log p(y_t | s~, a); weights: alpha; locations: s~ of `hard_weights`; sampled: which captions'
        locations were drawn; mask: True = a word.
        """
        real = like(mask, weights.data)
        weights = ops.where(real[:, :, None], weights, 1.0)
        log_p_y = ops.sum(ops.where(real, log_p_words, 0.0), axis=1)
        of_locations = log_probability(Tensor(locations.data), weights)
        log_p_s = ops.sum(ops.where(real & like(sampled, real)[:, None], of_locations, 0.0), axis=1)
        reward = log_p_y.data / xp(real).maximum(real.sum(1), 1) if self.per_word else log_p_y.data
        loss = hard_loss(
            log_p_y,
            log_p_s,
            ops.sum(ops.where(real, entropy(weights), 0.0), axis=1),
            reward,
            self.baseline.data,
            self.reward_weight,
            self.entropy_weight,
        )
        if self.training and len(reward):
            moved = BASELINE_DECAY * self.baseline.data + (1 - BASELINE_DECAY) * reward.mean()  # (d)
            self.baseline.replace_data(moved.astype(self.baseline.dtype))
        return loss


MECHANISM = Mechanism(
    name="hard visual attention",
    paper=PAPER,
    equation=(
        "section 4.1: s_t ~ Multinoulli(alpha_t), learned by REINFORCE with a moving-average baseline: "
        "d log p(y | s)/dW + lambda_r (log p(y | s) - b) d log p(s)/dW + lambda_e dH[s]/dW"
    ),
    code="HardAttentionLoss",
    model="minattn.models.ShowAttendTell",
    command="minattn train captions --model hard",
    experiment="experiments/captions_attention.py",
)
