"""Clipping gradients, so that one bad batch cannot throw the parameters far away.

All of it stays on the parameters' device and waits for nothing: the norm is a 0-d array there, which may be read
(`float(norm)`) when it is needed.
"""

from collections.abc import Iterable

from minattn.autograd.backend import Array, xp
from minattn.errors import ConfigError
from minattn.nn import Parameter


def grad_norm(parameters: Iterable[Parameter]) -> Array | float:
    """The L2 norm of all gradients together, as if they were one vector; 0.0 where there is no gradient.

    It has the gradients' precision: float32 overflows to infinity above about 1e19.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    squares = [(gradient * gradient).sum() for gradient in gradients]
    return xp(*gradients).sqrt(sum(squares[1:], squares[0]))


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> Array | float:
    """Scale all gradients by one factor, so that their norm is at most `max_norm`; returns the norm before.

    g <- g max_norm / max(|g|, max_norm)    Pascanu, Mikolov & Bengio 2013, On the difficulty of training
                                            recurrent neural networks, algorithm 1
    Gradients within the limit stay as they are, bit for bit.  A norm that is not finite leaves none usable.
    Raises ConfigError for a `max_norm` that is not above zero.
    """
    _check_limit("max_norm", max_norm)
    parameters = list(parameters)
    norm = grad_norm(parameters)
    factor = max_norm / xp(norm).maximum(norm, max_norm)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad *= factor
    return norm


def clip_grad_norms(parameters: Iterable[Parameter], max_norm: float) -> Array | float:
    """Scale the gradient of every parameter by a factor of its own, so that the norm of each is at most `max_norm`.

    Returns the norm of all together before.  Raises ConfigError for a `max_norm` that is not above zero.
    """
    _check_limit("max_norm", max_norm)
    norms = [clip_grad_norm([parameter], max_norm) for parameter in parameters if parameter.grad is not None]
    squares = [norm * norm for norm in norms]
    return xp(*squares).sqrt(sum(squares[1:], squares[0])) if squares else 0.0


def clip_grad_value(parameters: Iterable[Parameter], limit: float) -> None:
    """Cut every component of every gradient to [-limit, limit].

    Raises ConfigError for a `limit` that is not above zero.
    """
    _check_limit("limit", limit)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = xp(parameter.grad).clip(parameter.grad, -limit, limit)


def _check_limit(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} must be a finite number above 0, got {value}; hint: leave out the clipping")
