"""The gated recurrent unit, one step and whole sequences.

K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014, in the convention of
D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by jointly learning to align and translate", ICLR
2015, appendix A.1.1, equation (1.2) in row vectors:

    z_i  = sigma(x_i W_z + h_{i-1} U_z)                   update gate
    r_i  = sigma(x_i W_r + h_{i-1} U_r)                   reset gate
    h~_i = tanh (x_i W   + (r_i o h_{i-1}) U)             candidate
    h_i  = (1 - z_i) o h_{i-1} + z_i o h~_i

The update gate says how much is *renewed*; Cho et al. and many libraries have it say how much is kept.  The reset
gate acts on the state *before* the product with U; cuDNN and PyTorch have it act after.

The weights stand side by side: W = [W_z | W_r | W], U = [U_z | U_r | U].  `projected` below is x W plus a bias, for
all steps at once: it does not depend on the recurrence.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Bool, Inexact

from minattn.autograd import Array, Tensor, op, ops, xp
from minattn.autograd.backend import matmul
from minattn.autograd.engine import Result
from minattn.nn import initializers as init
from minattn.nn.initializers import Rng
from minattn.nn.module import Module, Parameter

Initializer = Callable[[tuple[int, ...], Rng], Parameter]


# ---------------------------------------------------------------------------------------------- one step
def gated_unit_equation(projected: Any, state: Any, U: Any) -> Any:
    """One step of (1.2) in primitive ops: projected (B, 3n), state (B, n), U (n, 3n) -> (B, n)."""
    n = state.shape[-1]
    x_z, x_r, x_h = ops.split(projected, 3, axis=-1)
    z = ops.sigmoid(x_z + state @ U[:, :n])
    r = ops.sigmoid(x_r + state @ U[:, n : 2 * n])
    candidate = ops.tanh(x_h + (r * state) @ U[:, 2 * n :])
    return (1 - z) * state + z * candidate


@op(equation=gated_unit_equation)
def gated_unit(projected: Array, state: Array, U: Array, /) -> Result:
    """One step of the gated unit (1.2):  projected (B, 3n), state (B, n), U (n, 3n) -> (B, n)."""
    module, (batch, n) = xp(state), state.shape
    _check_sizes(projected, state, U)
    gates = module.empty((batch, 2 * n), state.dtype)
    candidate = module.empty((batch, n), state.dtype)
    out = _advance(projected, state, U, gates, candidate)

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_projected = module.empty((batch, 3 * n), state.dtype)
        d_state = _retreat(g, state, U, gates, candidate, d_projected)
        return d_projected, d_state, _recurrent_gradient(state, gates, d_projected)

    return out, pullback


def _advance(projected: Array, state: Array, U: Array, gates: Array, candidate: Array) -> Array:
    """The next state; leaves [z | r] in `gates` and h~ in `candidate`."""
    n = state.shape[-1]
    matmul(state, U[:, : 2 * n], gates)
    gates += projected[:, : 2 * n]
    gates *= 0.5  # sigma(x) = tanh(x / 2) / 2 + 1 / 2
    xp(gates).tanh(gates, gates)
    gates *= 0.5
    gates += 0.5
    z, r = gates[:, :n], gates[:, n:]
    matmul(r * state, U[:, 2 * n :], candidate)
    candidate += projected[:, 2 * n :]
    xp(candidate).tanh(candidate, candidate)
    step = candidate - state
    step *= z
    step += state
    return step


def _retreat(g: Array, state: Array, U: Array, gates: Array, candidate: Array, d_projected: Array) -> Array:
    """The gradient by the old state, given g by the new one; fills `d_projected`, the gradient before the gates.

    d h~ = g o z,  dz = g o (h~ - h),  and through tanh' = 1 - h~^2 and sigma' = s (1 - s) to the pre-activations.
    """
    n = state.shape[-1]
    z, r = gates[:, :n], gates[:, n:]
    gz = g * z
    d_state = g - gz
    slope = candidate * candidate
    xp(slope).subtract(1, slope, slope)
    slope *= gz
    d_projected[:, 2 * n :] = slope
    d_reset_state = matmul(slope, U[:, 2 * n :].T)  # by r o h
    d_gates = gates - gates * gates
    d_gates[:, :n] *= candidate - state
    d_gates[:, :n] *= g
    d_gates[:, n:] *= state
    d_gates[:, n:] *= d_reset_state
    d_projected[:, : 2 * n] = d_gates
    d_state += matmul(d_gates, U[:, : 2 * n].T)
    d_reset_state *= r
    d_state += d_reset_state
    return d_state


def _recurrent_gradient(states: Array, gates: Array, d_projected: Array) -> Array:
    """The gradient of U from rows of old states, gates and d_projected, for any number of steps at once."""
    n = states.shape[-1]
    d_U = xp(states).empty((n, 3 * n), states.dtype)
    d_U[:, : 2 * n] = matmul(states.T, d_projected[:, : 2 * n])
    d_U[:, 2 * n :] = matmul((gates[:, n:] * states).T, d_projected[:, 2 * n :])
    return d_U


# ---------------------------------------------------------------------------------------------- whole sequences
def gated_sequence_equation(projected: Any, state: Any, U: Any, mask: Any = None, reverse: bool = False) -> Any:
    """(1.2) for every step; where the mask is False the state is carried over unchanged."""
    steps = range(projected.shape[1])
    states = {}
    for t in reversed(steps) if reverse else steps:
        new = gated_unit_equation(projected[:, t], state, U)
        state = new if mask is None else ops.where(_raw(mask)[:, t, None], new, state)
        states[t] = state
    return ops.stack([states[t] for t in steps], axis=1)


@op(equation=gated_sequence_equation)
def gated_sequence(projected: Array, state: Array, U: Array, /, mask: Any = None, reverse: bool = False) -> Result:
    """The gated unit over a whole sequence, with backpropagation through time written out.

    projected: (B, T, 3n); state: (B, n), before the first step; U: (n, 3n); mask: (B, T), True = a real step, False
    carries the state over.  reverse=True runs from the last step to the first.  Returns all states, (B, T, n), each
    in its own place.
    """
    module, (batch, time, _), n = xp(state), projected.shape, state.shape[-1]
    _check_sizes(projected, state, U)
    mask = _as_carry_mask(mask, projected)
    order = range(time)[::-1] if reverse else range(time)
    gates = module.empty((batch, time, 2 * n), state.dtype)
    candidates = module.empty((batch, time, n), state.dtype)
    before = module.empty((batch, time, n), state.dtype)  # the state that each step starts from
    states = module.empty((batch, time, n), state.dtype)
    h = state
    for t in order:
        before[:, t] = h
        new = _advance(projected[:, t], h, U, gates[:, t], candidates[:, t])
        if mask is not None:
            real = mask[:, t, None]
            new = new * real + h * (1 - real)
        states[:, t] = h = new

    def pullback(g: Array) -> tuple[Array, Array, Array]:
        d_projected = module.empty((batch, time, 3 * n), state.dtype)
        d_h = module.zeros((batch, n), state.dtype)
        for t in order[::-1]:
            d_h = d_h + g[:, t]
            fresh = d_h if mask is None else d_h * mask[:, t, None]
            d_old = _retreat(fresh, before[:, t], U, gates[:, t], candidates[:, t], d_projected[:, t])
            d_h = d_old if mask is None else d_old + (d_h - fresh)
        d_U = _recurrent_gradient(before.reshape(-1, n), gates.reshape(-1, 2 * n), d_projected.reshape(-1, 3 * n))
        return d_projected, d_h, d_U

    return states, pullback


def _check_sizes(projected: Array, state: Array, U: Array) -> None:
    n = state.shape[-1]
    if U.shape != (n, 3 * n) or projected.shape[-1] != 3 * n or projected.shape[0] != state.shape[0]:
        raise ValueError(
            f"sizes do not fit: state {state.shape} is (batch, n), so U must be (n, 3n) = ({n}, {3 * n}), got {U.shape}, "
            f"and projected (batch, .., 3n), got {projected.shape}"
        )


def _as_carry_mask(mask: Any, projected: Array) -> Array | None:
    """The mask as 1 and 0 in the dtype of the data, on its device; None where it is known to be all True."""
    if mask is None:
        return None
    mask = _raw(mask)
    if mask.dtype != bool or mask.shape != projected.shape[:2]:
        raise ValueError(
            f"the mask must be boolean (batch, time) = {projected.shape[:2]}, got {mask.dtype} {mask.shape}"
        )
    module = xp(projected)
    if xp(mask) is not module:
        if mask.all():
            return None
        mask = module.asarray(mask)
    return mask.astype(projected.real.dtype)


def _raw(mask: Any) -> Array:
    return getattr(mask, "data", mask) if isinstance(mask, Tensor) else mask


# ---------------------------------------------------------------------------------------------- layers
class GRUCell(Module):
    """One step of the gated unit (1.2).  W: (inputs, 3n), U: (n, 3n) orthogonal by block, bias: (3n) or None."""

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, weights: Initializer = init.glorot_uniform
    ) -> None:
        self.size = size
        self.W = side_by_side(inputs, size, rng, weights)
        self.U = init.orthogonal((size, 3 * size), rng, blocks=3)
        self.bias = init.zeros((3 * size,)) if bias else None

    def project(self, x: Inexact[Tensor, "*batch inputs"]) -> Inexact[Tensor, "*batch gates"]:
        """x W + bias, for one step or for all of them at once."""
        return ops.linear(x, self.W, self.bias)

    def forward(
        self, x: Inexact[Tensor, "batch inputs"], state: Inexact[Tensor, "batch size"]
    ) -> Inexact[Tensor, "batch size"]:
        return gated_unit(self.project(x), state, self.U)


class GRU(GRUCell):
    """The gated unit (1.2) over a sequence, forwards, or backwards with reverse=True.

    Returns the states, each in its own place.  `mask` (True = a real step): elsewhere the state is carried over, so
    that padding changes nothing.
    """

    def __init__(
        self,
        inputs: int,
        size: int,
        rng: Rng,
        bias: bool = True,
        reverse: bool = False,
        weights: Initializer = init.glorot_uniform,
    ) -> None:
        super().__init__(inputs, size, rng, bias, weights)
        self.reverse = reverse

    def forward(
        self,
        x: Inexact[Tensor, "batch time inputs"],
        mask: Bool[Array, "batch time"] | None = None,
        state: Inexact[Tensor, "batch size"] | None = None,
    ) -> Inexact[Tensor, "batch time size"]:
        state = zero_state(x, self.size) if state is None else state
        return gated_sequence(self.project(x), state, self.U, mask, self.reverse)


class BidirectionalGRU(Module):
    """Two gated units, one reading forwards and one backwards; their states side by side: (B, T, 2n).  (1.3)"""

    def __init__(
        self, inputs: int, size: int, rng: Rng, bias: bool = True, weights: Initializer = init.glorot_uniform
    ) -> None:
        self.forwards = GRU(inputs, size, rng, bias, weights=weights)
        self.backwards = GRU(inputs, size, rng, bias, reverse=True, weights=weights)

    def forward(
        self, x: Inexact[Tensor, "batch time inputs"], mask: Bool[Array, "batch time"] | None = None
    ) -> Inexact[Tensor, "batch time twice"]:
        return ops.concat([self.forwards(x, mask), self.backwards(x, mask)], axis=-1)


def side_by_side(inputs: int, size: int, rng: Rng, weights: Initializer, blocks: int = 3) -> Parameter:
    """[W_z | W_r | W]: `blocks` matrices (inputs, size), each drawn on its own, as one."""
    drawn = [weights((inputs, size), rng).data for _ in range(blocks)]
    return init.joined(drawn)


def zero_state(x: Tensor, size: int) -> Tensor:
    """h_0 = 0, in the dtype and on the device of x (batch, ..)."""
    return Tensor(xp(x.data).zeros((x.shape[0], size), x.dtype))
