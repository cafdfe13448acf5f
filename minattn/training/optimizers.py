"""Optimizers: how a gradient becomes a step.

Each is one `update(p, g, state)`, elementwise array code with its paper's equation beside it.  p, the parameter, and
the arrays of `state` are written in place, so they keep their dtype and device; g, the gradient, is only read.  Where
the parameter is long, `update` is given one block of it after the other, small enough for the cache.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minattn.autograd.backend import Array, asnumpy, to_device, xp
from minattn.errors import CheckpointError, ConfigError, ShapeError, listed
from minattn.nn import Parameter

BLOCK = 1 << 15
"""Numbers of a parameter that are updated at a time on the host: with the arrays of the state they fit a cache."""

State = dict[str, Any]
"""An optimizer's state of one parameter: `t`, the updates it has had, and an array under each slot's name."""


def every_parameter(name: str) -> bool:
    """The default choice of parameters that weight decay applies to: all of them."""
    return True


class Optimizer:
    """The part that all optimizers share: which parameters, where their state is, weight decay, saving.

    parameters: name -> Parameter, as `model.named_parameters()` gives them; the state is saved under these names.
    lr: the learning rate; a schedule sets the attribute before each step.
    weight_decay, decays: the coefficient, and a predicate on the name that chooses the parameters it applies to
    (`lambda name: name.endswith("weight")` leaves the biases alone).
    Raises ConfigError for a setting out of its range.
    """

    slots: tuple[str, ...] = ()
    """The arrays kept for each parameter; each has the parameter's shape and starts at zero."""

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float,
        weight_decay: float = 0.0,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        if not isinstance(parameters, Mapping) or not parameters:
            raise ConfigError(
                f"an optimizer takes a non-empty mapping of names to parameters, got {type(parameters).__name__} "
                "(empty or no mapping); hint: model.named_parameters()"
            )
        self.parameters = dict(parameters)
        self.lr = lr
        self.weight_decay = _at_least_zero("weight_decay", weight_decay)
        self.decays = decays
        self.states: dict[str, State] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = _at_least_zero("lr", lr)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient; the others and their states stay as they are."""
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            p, state = parameter.data, self._state(name)
            if parameter.grad.shape != p.shape:
                raise ShapeError(f"{name} is {p.shape}, its gradient {parameter.grad.shape}")
            state["t"] += 1
            self._update_in_blocks(p, parameter.grad, state, decays=self.weight_decay > 0 and self.decays(name))
            parameter.data = p  # the same array; assigning it tells the engine that it was written to

    def _update_in_blocks(self, p: Array, g: Array, state: State, decays: bool) -> None:
        """`decay` and `update`, on the host block by block where the arrays can be seen as one long row."""
        arrays = [p, *(state[slot] for slot in self.slots), g]
        if isinstance(p, np.ndarray) and p.size > BLOCK and all(array.flags.c_contiguous for array in arrays[:-1]):
            rows = [array.reshape(-1) for array in arrays]
            blocks = [[row[start : start + BLOCK] for row in rows] for start in range(0, p.size, BLOCK)]
        else:
            blocks = [arrays]
        for p, *slots, g in blocks:
            part = {"t": state["t"], **dict(zip(self.slots, slots, strict=True))}
            self.update(p, self.decay(p, g) if decays else g, part)
            if any(part[slot] is not array for slot, array in zip(self.slots, slots, strict=True)):
                raise ConfigError(f"{type(self).__name__}.update must write its state in place, as m *= ..")

    def update(self, p: Array, g: Array, state: State) -> None:
        """Write one step into p and state; g is the gradient, of p's shape, dtype and device.

        All of them may be one block of a longer parameter, so an element's step may depend on that element only, and
        the state is written in place: `m *= ..`, never `state["m"] = ..`.
        """
        raise NotImplementedError

    def decay(self, p: Array, g: Array) -> Array:
        """The gradient with that of the L2 penalty (weight_decay / 2) |p|^2 added."""
        return g + self.weight_decay * p

    def _state(self, name: str) -> State:
        """The state of one parameter; made when first needed, so that it starts on the parameter's device."""
        if name not in self.states:
            p = self.parameters[name].data
            self.states[name] = {"t": 0, **{slot: xp(p).zeros_like(p) for slot in self.slots}}
        return self.states[name]

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs: plain values, and under "arrays" host copies named "slot/parameter"."""
        return {
            "kind": type(self).__name__,
            "lr": self.lr,
            "t": {name: state["t"] for name, state in self.states.items()},
            "arrays": {
                f"{slot}/{name}": np.array(asnumpy(state[slot]))
                for name, state in self.states.items()
                for slot in self.slots
            },
        }

    def layout(self, names: Iterable[str]) -> dict[str, Parameter]:
        """The arrays in the state of the parameters of these names: by "slot/parameter" one of the same kind.

        Raises CheckpointError for a name that no parameter has.
        """
        if unknown := [name for name in names if name not in self.parameters]:
            raise CheckpointError(f"the saved optimizer state has {listed(unknown)}, which this model has not")
        return {f"{slot}/{name}": self.parameters[name] for name in names for slot in self.slots}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave, on the parameters' devices.

        Raises CheckpointError where the state is another optimizer's or does not fit the parameters, and then
        changes nothing.
        """
        if saved["kind"] != type(self).__name__:
            raise CheckpointError(
                f"the saved optimizer is {saved['kind']}, this one is {type(self).__name__}; "
                "hint: resume with the optimizer the run was started with"
            )
        arrays = saved["arrays"]
        for place, p in self.layout(saved["t"]).items():
            array = arrays.get(place)
            if array is None or array.shape != p.shape or array.dtype != p.dtype:
                found = "nothing" if array is None else f"{array.dtype} {array.shape}"
                raise CheckpointError(f"optimizer state {place}: expected {p.dtype} {p.shape}, found {found}")
        states = {name: self._loaded_state(name, t, arrays) for name, t in saved["t"].items()}
        self.lr, self.states = saved["lr"], states

    def _loaded_state(self, name: str, t: int, arrays: Mapping[str, np.ndarray]) -> State:
        device = self.parameters[name].device
        return {"t": t, **{slot: to_device(np.array(arrays[f"{slot}/{name}"]), device) for slot in self.slots}}


class SGD(Optimizer):
    """Stochastic gradient descent, with classical or Nesterov's momentum.

    Sutskever, Martens, Dahl & Hinton 2013, On the importance of initialization and momentum in deep learning:
    v <- mu v - lr g(p),        p <- p + v      (1), (2)    classical
    v <- mu v - lr g(p + mu v), p <- p + v      (3), (4)    Nesterov
    What is kept with nesterov=True is the point p + mu v, at which (3) wants its gradient; in it, the step reads
    p <- p + mu v - lr g (Bengio, Boulanger-Lewandowski & Pascanu 2013, equation 7).
    The learning rate is inside v: after it drops, the old velocity still counts at the old rate.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, decays)
        self.momentum = _fraction("momentum", momentum)
        if nesterov and not momentum:
            raise ConfigError("nesterov=True needs a momentum above 0, got momentum=0; hint: momentum=0.9")
        self.nesterov = nesterov
        self.slots = ("velocity",) if momentum else ()

    def update(self, p: Array, g: Array, state: State) -> None:
        if not self.momentum:
            p -= self.lr * g
            return
        v = state["velocity"]
        v *= self.momentum
        v -= self.lr * g  # (1), (3)
        if self.nesterov:
            p += self.momentum * v
            p -= self.lr * g
        else:
            p += v  # (2)


class RMSprop(Optimizer):
    """Divide the gradient by a running root of its mean square.

    Tieleman & Hinton 2012, Coursera Neural Networks for Machine Learning, lecture 6e:
    r <- rho r + (1 - rho) g^2,     p <- p - lr g / (sqrt(r) + eps)
    """

    slots = ("mean_square",)

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 0.001,
        rho: float = 0.9,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, decays)
        self.rho, self.eps = _fraction("rho", rho), _positive("eps", eps)

    def update(self, p: Array, g: Array, state: State) -> None:
        r = state["mean_square"]
        r *= self.rho
        r += (1 - self.rho) * (g * g)
        p -= self.lr * g / (xp(p).sqrt(r) + self.eps)


class Adagrad(Optimizer):
    """Divide the gradient by the root of the sum of all its squares so far.

    Duchi, Hazan & Singer 2011, Adaptive subgradient methods for online learning and stochastic optimization,
    figure 1 with the diagonal matrix and no regulariser:
    s <- s + g^2,     p <- p - lr g / (sqrt(s) + eps)
    """

    slots = ("square_sum",)

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, decays)
        self.eps = _positive("eps", eps)

    def update(self, p: Array, g: Array, state: State) -> None:
        s = state["square_sum"]
        s += g * g
        p -= self.lr * g / (xp(p).sqrt(s) + self.eps)


class Adadelta(Optimizer):
    """A step in the parameter's own units, from the running mean squares of gradients and of steps.

    Zeiler 2012, Adadelta: an adaptive learning rate method, algorithm 1, as RNNsearch was trained with it
    (Bahdanau, Cho & Bengio 2015: rho = 0.95, eps = 1e-6):
    E[g^2]  <- rho E[g^2] + (1 - rho) g^2
    dx       = sqrt(E[dx^2] + eps) / sqrt(E[g^2] + eps) g
    E[dx^2] <- rho E[dx^2] + (1 - rho) dx^2
    p       <- p - lr dx
    The paper has no learning rate: it is lr = 1.
    """

    slots = ("mean_square_gradient", "mean_square_step")

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 1.0,
        rho: float = 0.95,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, decays)
        self.rho, self.eps = _fraction("rho", rho), _positive("eps", eps)

    def update(self, p: Array, g: Array, state: State) -> None:
        gradients, steps = state["mean_square_gradient"], state["mean_square_step"]
        gradients *= self.rho
        gradients += (1 - self.rho) * (g * g)
        dx = xp(p).sqrt((steps + self.eps) / (gradients + self.eps)) * g
        steps *= self.rho
        steps += (1 - self.rho) * (dx * dx)
        p -= self.lr * dx


class Adam(Optimizer):
    """Adaptive moment estimation.

    Kingma & Ba 2015, Adam: a method for stochastic optimization, algorithm 1:
    m <- beta1 m + (1 - beta1) g,       m^ = m / (1 - beta1^t)
    v <- beta2 v + (1 - beta2) g^2,     v^ = v / (1 - beta2^t)
    p <- p - lr m^ / (sqrt(v^) + eps)
    t counts the updates of the parameter.  What is kept are the decaying sums m / (1 - beta1) and v / (1 - beta2);
    their factors, and the corrections, are numbers, and go into lr and eps (as the corrections do at the end of the
    paper's section 2).  The Transformer's setting is betas=(0.9, 0.98), eps=1e-9.
    """

    slots = ("gradient_sum", "square_sum")

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, decays)
        self.beta1, self.beta2 = _fraction("betas[0]", betas[0]), _fraction("betas[1]", betas[1])
        self.eps = _positive("eps", eps)

    def update(self, p: Array, g: Array, state: State) -> None:
        m, v, t = state["gradient_sum"], state["square_sum"], state["t"]
        m *= self.beta1
        m += g
        v *= self.beta2
        v += g * g
        of_m = (1 - self.beta1) / (1 - self.beta1**t)  # m^ is of_m * m
        of_root = math.sqrt((1 - self.beta2) / (1 - self.beta2**t))  # sqrt(v^) is of_root * sqrt(v)
        root = xp(p).sqrt(v)
        root += self.eps / of_root
        step = m / root
        step *= self.lr * of_m / of_root
        p -= step


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself and stays out of the moments.

    Loshchilov & Hutter 2019, Decoupled weight decay regularization, algorithm 2:
    p <- p - lr (m^ / (sqrt(v^) + eps) + weight_decay p)
    The paper's lambda is lr * weight_decay here, at the initial lr: as in other libraries, lr multiplies both terms.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        decays: Callable[[str], bool] = every_parameter,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, decays)

    def decay(self, p: Array, g: Array) -> Array:
        """Shrink p in place; the gradient stays that of the loss."""
        p *= 1 - self.lr * self.weight_decay
        return g


def _at_least_zero(name: str, value: float) -> float:
    return _checked(name, value, 0 <= value < math.inf, "a finite number of at least 0")


def _positive(name: str, value: float) -> float:
    return _checked(name, value, 0 < value < math.inf, "a finite number above 0")


def _fraction(name: str, value: float) -> float:
    return _checked(name, value, 0 <= value < 1, "a number from 0 up to, and not including, 1")


def _checked(name: str, value: float, fits: bool, expected: str) -> float:
    """value as a Python float: a NumPy float64 would turn float32 products into float64."""
    if not fits:
        raise ConfigError(f"{name} must be {expected}, got {value}")
    return float(value)
