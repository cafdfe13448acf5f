"""The learning rule of hard attention: unbiased with any baseline, and how much a baseline lowers its variance.

    python experiments/hard_attention_variance.py --out runs/variance

K. Xu et al., "Show, attend and tell: neural image caption generation with visual attention", ICML 2015, section 4.1.
With L = 4 locations and C = 3 words there are 64 sequences of them, so that everything can be enumerated: the gradient
of L_s = sum_s p(s | a) log p(y | s, a) itself, and the mean and variance of the rule that estimates it,

    d log p(y | s~, a)/dW + (log p(y | s~, a) - b) d log p(s~ | a)/dW,   s~ drawn from p(s | a),

over all parameters W of a random network.  The figure has, at the left, the variance for every baseline b, with that of
the mean E[log p(y | s, a)], which the paper's moving average tends to, and the best constant; at the right, how far the
mean of N samples is from the enumerated gradient, with b = 0 and with the mean, and what 1 / sqrt(N) leads one to
expect.

Leaves `variance.md` and `variance.png` in the folder.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
from shared import markdown_table, run

import minattn as ma
from minattn.attention.sequence import hard_weights
from minattn.attention.sequence.visual_hard import log_probability
from minattn.autograd import Tensor, ops
from minattn.errors import ConfigError
from minattn.models import ShowAttendTell, ShowAttendTellConfig
from minattn.models.captions.show_attend_tell import Draws
from minattn.tasks.files import write_text
from minattn.tasks.run_folder import check_libraries, check_writable
from minattn.viz import save_figure
from minattn.viz.style import MUTED, PALETTE, styled_figure

LOCATIONS, WORDS, VOCABULARY = 4, 3, 6
SEQUENCES = np.array(list(itertools.product(range(LOCATIONS), repeat=WORDS)))
SIZES = 2 ** np.arange(4, 15)  # N
REPEATS = 40  # of the mean of N samples


def main() -> None:
    """Enumerate, tabulate and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/variance"), help="folder for the table and the figure")
    parser.add_argument("--seed", type=int, default=0, help="of the network and the samples")
    arguments = parser.parse_args()
    if arguments.seed < 0:
        raise ConfigError(f"--seed must be at least 0, got {arguments.seed}")
    check_writable(arguments.out)
    check_libraries()
    problem = Problem(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = table(problem, arguments.seed)
    write_text(arguments.out / "variance.md", text)
    save_figure(draw(problem, arguments.seed), arguments.out / "variance.png")
    print(f"{text}\nfigure: {arguments.out / 'variance.png'}")


class Problem:
    """A random network, one image and one caption, and for each sequence of locations what the rule is made of.

    p: (64,) the probability of each sequence; log_p: (64,) log p(y | s, a); likelihood, score: (64, W), the gradients
    of log p(y | s, a) and log p(s | a) by all parameters; exact: (W,) the gradient of L_s.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        sizes = {"vocab_size": VOCABULARY, "annotation": 3, "embedding": 2, "hidden": 3}
        self.model = ShowAttendTell(ShowAttendTellConfig(**sizes, attention="hard", dropout=0.0), rng)
        for parameter in self.model.parameters():
            parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape))
        self.image, self.words = rng.normal(size=(LOCATIONS, 3)), rng.integers(1, VOCABULARY, WORDS + 1)
        draws = self._draws()
        log_p, log_p_s = self._log_probabilities(draws)
        self.log_p, self.p = log_p.data, np.exp(log_p_s.data)
        self.exact = self._gradient(ops.sum(ops.exp(log_p_s) * log_p))
        rows = [self._log_probabilities(draw[None]) for draw in draws]
        self.score = np.array([self._gradient(ops.sum(s)) for _, s in rows])
        rows = [self._log_probabilities(draw[None]) for draw in draws]
        self.likelihood = np.array([self._gradient(ops.sum(y)) for y, _ in rows])

    def _run(self, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """(log p(y_t | s, a) of every word, the weights) of the sequences that these draws give."""
        count = len(draws)
        images = Tensor(np.broadcast_to(self.image, (count, *self.image.shape)))
        previous = np.broadcast_to(self.words[:-1], (count, WORDS))
        logits, attention = self.model(images, previous, Draws(draws, np.ones(count, bool)), return_attention=True)
        return ops.log_softmax(logits)[:, np.arange(WORDS), self.words[1:]], attention["attention"]

    def _draws(self) -> np.ndarray:
        """Draws (64, 3) that give every sequence once: in the middle of each location's weight, word after word."""
        draws, every = np.zeros(SEQUENCES.shape), np.arange(len(SEQUENCES))
        with ma.no_grad():
            for t in range(WORDS):
                weights = self._run(draws)[1].data[:, t]
                ends = np.cumsum(weights, 1)[every, SEQUENCES[:, t]]
                draws[:, t] = ends - weights[every, SEQUENCES[:, t]] / 2
        return draws

    def _log_probabilities(self, draws: np.ndarray) -> tuple[Tensor, Tensor]:
        """(log p(y | s, a), log p(s | a)) of the sequences that these draws give."""
        log_p, weights = self._run(draws)
        locations = hard_weights(weights, draws, np.ones(draws.shape, bool))
        return ops.sum(log_p, axis=1), ops.sum(log_probability(Tensor(locations.data), weights), axis=1)

    def _gradient(self, value: Tensor) -> np.ndarray:
        for parameter in self.model.parameters():
            parameter.grad = None
        value.backward()
        grads = [np.zeros(p.shape) if p.grad is None else p.grad for p in self.model.parameters()]
        return np.concatenate([gradient.ravel() for gradient in grads])

    def rule(self, baseline: float) -> np.ndarray:
        """(64, W): the learning rule of each sequence."""
        return self.likelihood + (self.log_p - baseline)[:, None] * self.score

    def variance(self, baseline: float) -> float:
        """Of the rule, summed over all parameters."""
        rows = self.rule(baseline)
        return float((self.p @ (rows - self.p @ rows) ** 2).sum())

    @property
    def mean(self) -> float:
        """E[log p(y | s, a)]."""
        return float(self.p @ self.log_p)

    @property
    def best(self) -> float:
        """The baseline of the least variance: the rule is linear in it, so the variance is a parabola."""
        at = [self.variance(b) for b in (-1.0, 0.0, 1.0)]
        return (at[0] - at[2]) / (2 * (at[0] - 2 * at[1] + at[2]))

    def distances(self, baseline: float, rng: np.random.Generator) -> np.ndarray:
        """For each N, how far the mean of N samples is from the exact gradient: the root of the mean over repeats."""
        rows, found = self.rule(baseline) - self.exact, []
        for count in SIZES:
            drawn = rng.multinomial(count, self.p / self.p.sum(), REPEATS) / count
            found.append(np.sqrt((((drawn @ rows) ** 2).sum(1)).mean()))
        return np.array(found)


def table(problem: Problem, seed: int) -> str:
    """The baselines, the distance of the enumerated mean from the exact gradient, and the variance."""
    rows = []
    for name, b in (("0", 0.0), ("E[log p(y given s, a)]", problem.mean), ("the best constant", problem.best)):
        bias = np.abs(problem.p @ problem.rule(b) - problem.exact).max()
        rows.append([name, f"{b:.3f}", f"{bias:.1e}", f"{problem.variance(b):.3f}"])
    largest = np.abs(problem.exact).max()
    text = markdown_table(["baseline", "b", "largest bias", "variance"], rows)
    return f"{text}\nSeed {seed}; {problem.exact.size} parameters, the largest element of the gradient {largest:.3f}.\n"


def draw(problem: Problem, seed: int):
    """The variance by the baseline, and the distance of the mean of N samples from the exact gradient."""
    with styled_figure(7.4, 2.7) as figure:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2)
        around = 1.3 * abs(problem.mean)
        at = np.linspace(problem.best - around, problem.best + around, 101)
        left.plot(at, [problem.variance(b) for b in at], color=MUTED, linewidth=1)
        marks = (("b = 0", 0.0), ("E[log p]", problem.mean), ("best", problem.best))
        for color, (name, b) in zip(PALETTE, marks, strict=False):
            left.plot([b], [problem.variance(b)], "o", color=color, label=name, markersize=5)
        left.set(yscale="log", xlabel="baseline b", ylabel="variance of the rule")
        left.yaxis.set_major_formatter("{x:g}")
        left.locator_params(axis="x", nbins=6)
        left.legend(frameon=False, loc="upper center")
        for color, (name, b) in zip(PALETTE, marks[:2], strict=False):
            found = problem.distances(b, np.random.default_rng([seed, 1]))
            right.plot(SIZES, found, "o", color=color, label=name)
            right.plot(SIZES, np.sqrt(problem.variance(b) / SIZES), color=color, linewidth=0.8)
        right.set(xscale="log", yscale="log", xlabel="samples N", ylabel="distance from the gradient")
        right.xaxis.set_major_formatter("{x:g}")
        right.yaxis.set_major_formatter("{x:g}")
        right.legend(frameon=False)
    return figure


if __name__ == "__main__":
    run(main)
