"""Hard visual attention: one place is drawn for every word, and learned by the REINFORCE rule.

K. Xu et al., "Show, attend and tell: neural image caption generation with visual attention", ICML 2015, section 4.1.
With the weights alpha_t of `visual.py` and one-hot s_t, a sampled place:

    s_t ~ Multinoulli(alpha_t),   z_t = beta_t sum_i s_ti a_i                                  (a)  the context
    L_s = sum_s p(s | a) log p(y | s, a)  <=  log sum_s p(s | a) p(y | s, a) = log p(y | a)    (b)  what is maximized
    dL_s/dW = sum_s p(s | a) [d log p(y | s, a)/dW + log p(y | s, a) d log p(s | a)/dW]        (c)  its gradient

The sum goes over L^C sequences of places, so it is estimated with N of them, s~^n drawn by (a).  With a baseline b,
which changes the variance of the estimate and not its mean, and with the entropy H of the weights:

    b_k = 0.9 b_{k-1} + 0.1 log p(y | s~_k, a)                                                 (d)  after minibatch k
    dL_s/dW ~ (1/N) sum_n [d log p(y | s~^n, a)/dW
              + lambda_r (log p(y | s~^n, a) - b) d log p(s~^n | a)/dW + lambda_e dH[s~^n]/dW] (e)  the learning rule
    with probability 1/2, decided for each image, s~_t is replaced by its expectation alpha_t  (f)

`hard_loss` is a loss whose gradient is (e), with its sign turned.  A caption is one sample: N = 1 for each image of a
batch, as in the authors' code, and more where images are repeated.

Deviations from the paper:
* none in (a) to (f).  The mean of (e) is (c) for lambda_r = 1, lambda_e = 0 and captions whose every place is drawn.
  The paper leaves both lambdas open; the authors' code has 1/10 and 0.002, takes the mean of log p(y | s~, a) over
  the words in place of the sum, and decides (f) once for a whole batch.  `per_word=True` is its mean.
* Where (f) takes the expectation, the caption learns as soft attention does, through its weights.
* log alpha is taken of no less than 1e-20.
* Once trained, the decoder takes the expectation of its context, as soft attention does, or the likeliest place, as in
  the authors' code.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Inexact

from minattn.attention.kernels.visual_lstm import drawn_places
from minattn.attention.sequence.visual import PAPER
from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.backend import like
from minattn.autograd.engine import Result
from minattn.nn import Buffer, Module
from minattn.published import Mechanism

LEAST = 1e-20  # of a weight, for its logarithm

BASELINE_KEEPS = 0.9


# ---------------------------------------------------------------------------------------------- places
@op
def hard_weights(weights: Array, /, draws: Any, sampled: Any) -> Result:
    """s~ (.., L): the drawn places (a), one-hot, where `sampled` (..) is True, and elsewhere the weights, (f).

    weights: (.., L), alpha; draws: (..), uniform in [0, 1).  Drawing has no gradient: that of the weights is 0 where
    they are sampled.
    """
    draws, sampled = like(draws, weights), like(sampled, weights)[..., None]
    places = xp(weights).where(sampled, drawn_places(weights, draws), weights)  # (a) (f)
    return places, lambda g: xp(g).where(sampled, 0, g)


def likeliest_places(weights: Inexact[Tensor, "*batch places"]) -> Inexact[Tensor, "*batch places"]:
    """One-hot: the place with the largest weight, the first of equal ones.  It has no gradient."""
    module, values = xp(weights.data), weights.data
    largest = values.argmax(-1)[..., None]
    return Tensor((module.arange(values.shape[-1]) == largest).astype(values.dtype))


# ---------------------------------------------------------------------------------------------- the learning rule
def log_probability(places: Any, weights: Any) -> Any:
    """log p(s | a) (..) of one-hot places (.., L) under weights (.., L)."""
    return ops.sum(places * ops.log(ops.maximum(weights, LEAST)), axis=-1)


def entropy(weights: Any) -> Any:
    """H[s] (..) of weights (.., L), in nats.  dH/de_i = -alpha_i (log alpha_i + H)."""
    return -ops.sum(weights * ops.log(ops.maximum(weights, LEAST)), axis=-1)


def hard_loss(
    log_p_y: Inexact[Tensor, " samples"],
    log_p_s: Inexact[Tensor, " samples"],
    entropies: Inexact[Tensor, " samples"],
    reward: Inexact[Array, " samples"],
    baseline: Any,
    reward_weight: float = 1.0,
    entropy_weight: float = 0.0,
) -> Inexact[Tensor, ""]:
    """The loss whose gradient is that of (e), with its sign turned.

    log_p_y: log p(y | s~, a) of every sample; log_p_s: log p(s~ | a); entropies: of its weights; reward: the values of
    log p(y | s~, a), through which no gradient goes; baseline: b; reward_weight: lambda_r; entropy_weight: lambda_e.
    """
    advantage = Tensor(reward_weight * (reward - baseline))
    return -ops.mean(log_p_y + advantage * log_p_s + entropy_weight * entropies)  # (e)


class HardAttentionLoss(Module):
    """`hard_loss` with the moving baseline (d).

    reward_weight: lambda_r; entropy_weight: lambda_e; per_word: the reward, and so the baseline, is the mean of
    log p(y_t | s~, a) over the words, not their sum.
    """

    def __init__(self, reward_weight: float = 1.0, entropy_weight: float = 0.0, per_word: bool = False) -> None:
        self.reward_weight, self.entropy_weight, self.per_word = reward_weight, entropy_weight, per_word
        self.baseline = Buffer(np.zeros(1, np.float32))

    def forward(
        self,
        log_p_words: Inexact[Tensor, "captions words"],
        weights: Inexact[Tensor, "captions words places"],
        places: Inexact[Tensor, "captions words places"],
        sampled: Bool[Array, " captions"],
        mask: Bool[Array, "captions words"],
    ) -> Inexact[Tensor, ""]:
        """Return the loss of a batch; in training, move the baseline on.

        log_p_words: log p(y_t | s~, a); weights: alpha; places: s~ of `hard_weights`; sampled: which captions' places
        were drawn; mask: True = a word.
        """
        real = like(mask, weights.data).astype(weights.dtype)
        drawn = real * like(sampled, real)[:, None]
        log_p_y = ops.sum(log_p_words * real, axis=1)
        log_p_s = ops.sum(log_probability(Tensor(places.data), weights) * drawn, axis=1)
        reward = log_p_y.data / real.sum(1) if self.per_word else log_p_y.data
        loss = hard_loss(
            log_p_y,
            log_p_s,
            ops.sum(entropy(weights) * real, axis=1),
            reward,
            self.baseline.data,
            self.reward_weight,
            self.entropy_weight,
        )
        if self.training:
            moved = BASELINE_KEEPS * self.baseline.data + (1 - BASELINE_KEEPS) * reward.mean()  # (d)
            self.baseline.replace_data(moved.astype(self.baseline.dtype))
        return loss


MECHANISM = Mechanism(
    name="hard visual attention",
    paper=PAPER,
    equation=(
        "section 4.1: s_t ~ Multinoulli(alpha_t), learned by REINFORCE with a moving baseline: d log p(y | s)/dW + "
        "lambda_r (log p(y | s) - b) d log p(s)/dW + lambda_e dH[s]/dW"
    ),
    code="HardAttentionLoss",
    model="minattn.models.ShowAttendTell",
    command="minattn train captions --model hard",
    experiment="experiments/captions_attention.py",
)
