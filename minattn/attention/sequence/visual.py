"""Soft visual attention: a caption decoder attends to the locations of an image.

K. Xu, J. Ba, R. Kiros, K. Cho, A. Courville, R. Salakhutdinov, R. Zemel and Y. Bengio, "Show, attend and tell: neural
image caption generation with visual attention", ICML 2015, sections 3.1.2, 4.2 and 4.2.1, in row vectors.  An image is
L annotations a_1 .. a_L, one for each location of a convolutional map.  Before word t, the decoder in state h_{t-1}
takes

    e_ti     = f_att(a_i, h_{t-1})                                     (a)  section 3.1.2
    alpha_ti = exp(e_ti) / sum_k exp(e_tk)                             (b)  section 3.1.2
    z_t      = beta_t sum_i alpha_ti a_i                               (c)  sections 4.2 and 4.2.1, the context
    beta_t   = sigma(h_{t-1} W_beta + b_beta)                          (d)  section 4.2.1, one number

and training adds to -log p(y | a) the doubly stochastic penalty

    lambda sum_i (1 - sum_t alpha_ti)^2                                (e)  section 4.2.1

so that over a caption every location gets about the same total attention.  Nothing in (a) to (e) encodes where a
location is; only the annotations can.

The paper only says that f_att is a multilayer perceptron; the authors' code has

    f_att(a_i, h) = tanh(p_i + h W_d) U + c,   p_i = a_i W_c + b       (f)

which is additive attention, and with more layers p_i = tanh((a_i W_c + b) W_1 + b_1), and so on.  p_i does not depend
on t and is computed once per image, the `keys`.  c shifts all energies equally and changes no weight; it is here
because the authors' code and its parameter count have it.

Deviations from the paper: none in the equations.  `init="glorot"` is not the paper's.
"""

from typing import Any, Literal

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, ops
from minattn.autograd.backend import like
from minattn.nn import Module, Parameter, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism, Paper

Init = Literal["paper", "glorot"]


def visual_weights(query: Any, keys: Any, U: Any, c: Any) -> Any:
    """The weights (B, L): query (B, a) = h_{t-1} W_d, keys (B, L, a) = p, U (a), c (1)."""
    energies = ops.tanh(query[:, None, :] + keys) @ U + c  # (a) (f)
    return ops.softmax(energies, axis=-1)  # (b)


def gated_context(weights: Any, annotations: Any, gate: Any = None) -> Any:
    """The context (B, D) of weights (B, L) over annotations (B, L, D); gate: (B, 1), beta, None for 1."""
    context = (weights[:, None, :] @ annotations)[:, 0, :]
    return context if gate is None else gate * context  # (c)


def doubly_stochastic_penalty(
    weights: Inexact[Tensor, "batch words locations"], mask: Bool[Array, "batch words"] | None = None
) -> Inexact[Tensor, ""]:
    """(e) without lambda, the mean over the captions; mask: True = a word, False = padding, which does not attend.

    It is 0 if every location gets a total weight of 1, which takes as many words as locations; for C words and L
    locations it is at least L (1 - C / L)^2.
    """
    if mask is not None:
        weights = ops.where(like(mask, weights.data)[:, :, None], weights, 0.0)
    return ops.sum(ops.square(1 - ops.sum(weights, axis=1))) / len(weights)  # (e)


def start(
    init: Init, inputs: int, outputs: int, rng: Rng, square: Literal["orthogonal", "normal"] = "orthogonal"
) -> Parameter:
    """The initial value of a matrix: in the authors' code N(0, 0.01^2), square ones orthogonal; or Glorot-uniform."""
    if init == "glorot":
        return initializers.glorot_uniform((inputs, outputs), rng)
    orthogonal = inputs == outputs and square == "orthogonal"
    return (
        initializers.orthogonal((inputs, outputs), rng) if orthogonal else initializers.normal((inputs, outputs), rng)
    )


class VisualAttention(Module):
    """Soft visual attention, (a) to (d) with (f).

    state: n, size of h; annotation: D, size of an annotation, and of the hidden layer of f_att; layers: of f_att before
    the state comes in; gate=False: beta is 1.
    """

    def __init__(
        self, state: int, annotation: int, rng: Rng, layers: int = 1, gate: bool = True, init: Init = "paper"
    ) -> None:
        initializers.check_sizes(state=state, annotation=annotation, layers=layers)
        first = start(init, annotation, annotation, rng, square="normal")
        self.W_c = [first, *(start(init, annotation, annotation, rng) for _ in range(layers - 1))]
        self.b = [initializers.zeros((annotation,)) for _ in range(layers)]
        self.W_d = start(init, state, annotation, rng)
        self.U = Parameter(start(init, annotation, 1, rng).data[:, 0])
        self.c = initializers.zeros((1,))
        self.W_beta = start(init, state, 1, rng) if gate else None
        self.b_beta = initializers.zeros((1,)) if gate else None

    def keys(
        self, annotations: Inexact[Tensor, "batch locations annotation"]
    ) -> Inexact[Tensor, "batch locations hidden"]:
        """p_i for every i: the part of (f) that is the same at every step."""
        keys = ops.linear(annotations, self.W_c[0], self.b[0])
        for W, b in zip(self.W_c[1:], self.b[1:], strict=True):
            keys = ops.tanh(ops.linear(keys, W, b))  # (f)
        return keys

    def gate(self, state: Inexact[Tensor, "batch state"]) -> Inexact[Tensor, "batch 1"] | None:
        """beta_t, or None where it is 1."""
        return None if self.W_beta is None else ops.sigmoid(ops.linear(state, self.W_beta, self.b_beta))  # (d)

    def forward(
        self,
        state: Inexact[Tensor, "batch state"],
        annotations: Inexact[Tensor, "batch locations annotation"],
        keys: Inexact[Tensor, "batch locations hidden"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch annotation"], Inexact[Tensor, "batch locations"]]:
        """Return (context z_t, weights alpha_t) for the state h_{t-1}; `keys` from `keys()`, if known."""
        keys = self.keys(annotations) if keys is None else keys
        weights = visual_weights(state @ self.W_d, keys, self.U, self.c)
        return gated_context(weights, annotations, self.gate(state)), weights


PAPER = Paper("Xu et al.", 2015, "Show, attend and tell: neural image caption generation with visual attention")

MECHANISM = Mechanism(
    name="soft visual attention",
    paper=PAPER,
    equation=(
        "section 4.2: z_t = beta_t sum_i alpha_ti a_i, alpha_t = softmax of f_att(a_i, h_t-1); section 4.2.1: the "
        "doubly stochastic penalty lambda sum_i (1 - sum_t alpha_ti)^2"
    ),
    code="VisualAttention",
    model="minattn.models.ShowAttendTell",
    command="minattn train captions",
    experiment="experiments/captions_attention.py",
)
