"""The gated recurrent unit, one step and whole sequences.

K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, in the convention of
D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR
2015, appendix A.1.1 (unnumbered there), in row vectors:

    z_i  = sigma(x_i W_z + h_{i-1} U_z)                   update gate     (a)
    r_i  = sigma(x_i W_r + h_{i-1} U_r)                   reset gate      (b)
    h~_i = tanh (x_i W   + (r_i o h_{i-1}) U)             candidate       (c)
    h_i  = (1 - z_i) o h_{i-1} + z_i o h~_i                               (d)

Deviations from Bahdanau et al.: `bias=True`, the default, adds a bias to each of (a) to (c), and padding carries the
state over.  Their update gate says how much is *renewed*; in Cho et al. and many libraries it
says how much is kept.  The reset gate acts on the state *before* the product with U; in cuDNN and PyTorch after it.

The weights stand side by side: W = [W_z | W_r | W], U = [U_z | U_r | U].  `projected` below is x W plus a bias, for
all steps at once: it does not depend on the recurrence.  The fused form of a step and of a sequence,
with their gradients, is in `minattn.nn.kernels.gru`.
"""

from typing import Any

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, op, ops
from minattn.nn import initializers
from minattn.nn.initializers import Rng
from minattn.nn.kernels import gru as kernels
from minattn.nn.recurrent.shared import BothWays, Initializer, RecurrentUnit, over_time, zero_state
from minattn.published import Mechanism, Paper


# ---------------------------------------------------------------------------------------------- one step
def gru_cell_equation(projected: Any, state: Any, U: Any) -> Any:
    """One step in primitive ops: projected (B, 3n), state (B, n), U (n, 3n) -> (B, n)."""
    n = state.shape[-1]
    x_z, x_r, x_h = ops.split(projected, 3, axis=-1)
    z = ops.sigmoid(x_z + state @ U[:, :n])  # (a)
    r = ops.sigmoid(x_r + state @ U[:, n : 2 * n])  # (b)
    candidate = ops.tanh(x_h + (r * state) @ U[:, 2 * n :])  # (c)
    return (1 - z) * state + z * candidate  # (d)


gru_cell = op(kernels.gru_cell, equation=gru_cell_equation)


# ---------------------------------------------------------------------------------------------- whole sequences
def gru_equation(projected: Any, state: Any, U: Any, mask: Any = None, reverse: bool = False) -> Any:
    """The unit at every step; where the mask is False the state is carried over unchanged."""
    states, _ = over_time(lambda x, h: (gru_cell_equation(x, h, U),), projected, (state,), mask, reverse)
    return states


gru = op(kernels.gru, equation=gru_equation)


# ---------------------------------------------------------------------------------------------- layers
class GRUCell(RecurrentUnit):
    """One step of the unit.  W: (inputs, 3n); U: (n, 3n), orthogonal by block; bias: (3n), 0, or None."""

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, init: Initializer = initializers.glorot_uniform
    ) -> None:
        super().__init__(inputs, size, 3, rng, initializers.zeros((3 * size,)) if bias else None, init)

    def forward(
        self, x: Inexact[Tensor, "batch inputs"], state: Inexact[Tensor, "batch size"]
    ) -> Inexact[Tensor, "batch size"]:
        return gru_cell(self.project(x), state, self.U)


class GRU(RecurrentUnit):
    """The gated recurrent unit over a sequence, forwards, or backwards with reverse=True.

    Returns the states of all time steps, in the order of the input, with reverse=True too.  `mask` (True = a real
    step): elsewhere the state is carried over, so that padding changes nothing.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        reverse: bool = False,
        init: Initializer = initializers.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, 3, rng, initializers.zeros((3 * size,)) if bias else None, init)
        self.reverse = reverse

    def forward(
        self,
        x: Inexact[Tensor, "batch time inputs"],
        mask: Bool[Array, "batch time"] | None = None,
        state: Inexact[Tensor, "batch size"] | None = None,
    ) -> Inexact[Tensor, "batch time size"]:
        state = zero_state(x, self.size) if state is None else state
        return gru(self.project(x), state, self.U, mask, self.reverse)


class BidirectionalGRU(BothWays):
    """Two gated recurrent units, one reading forwards and one backwards; their states side by side: (B, T, 2n).

    Bahdanau et al. 2015, section 3.2.
    """

    unit = GRU


MECHANISM = Mechanism(
    name="gated recurrent unit",
    paper=Paper("Cho et al.", 2014, "Learning phrase representations using RNN encoder-decoder"),
    equation=(
        "Bahdanau et al. 2015, appendix A.1.1, unnumbered: h_i = (1 - z_i) o h_i-1 + z_i o tanh(W "
        "x_i + U (r_i o h_i-1))"
    ),
    code="GRU",
    model="minattn.models.RNNsearch",
    command="minattn train g2p",
)
