"""Parts that the kernels of recurrent units share: the check of their sizes, and steps that are padding."""

from typing import Any

from minattn.autograd import Array
from minattn.errors import ShapeError
from minattn.nn.masks import padding_mask, without_padding


def check_sizes(projected: Array, state: Array, U: Array, gates: int, ndim: int) -> None:
    """Raise ShapeError unless projected (batch, [time,] gates n), state (batch, n) and U (n, gates n) fit together.

    ndim: 2 for one step, 3 for a sequence.
    """
    fits = (projected.ndim, state.ndim, U.ndim) == (ndim, 2, 2) and projected.shape[0] == state.shape[0]
    n = state.shape[1] if fits else 0
    if not fits or U.shape != (n, gates * n) or projected.shape[-1] != gates * n:
        axes = "batch, time" if ndim == 3 else "batch"
        raise ShapeError(
            f"expected projected ({axes}, {gates}n), state (batch, n) and U (n, {gates}n); "
            f"got {projected.shape}, {state.shape} and {U.shape}"
        )


def real_steps(projected: Array, mask: Any) -> tuple[Array, Array | None]:
    """`projected` with 0 in place of padding, and the mask (batch, time) as 1 and 0; None where nothing is padding."""
    real = padding_mask(mask, projected)
    return without_padding(real, projected), None if real is None else real.astype(projected.real.dtype)


def carry(mask: Array | None, t: int, new: Array, old: Array) -> Array:
    """The new state where step t is real, the old one where it is padding."""
    if mask is None:
        return new
    real = mask[:, t, None]
    return new * real + old * (1 - real)


def carry_backward(mask: Array | None, t: int, g: Array) -> tuple[Array, Any]:
    """Gradient of `carry`: the part for the new state, and the part for the old one."""
    if mask is None:
        return g, 0
    to_new = g * mask[:, t, None]
    return to_new, g - to_new
