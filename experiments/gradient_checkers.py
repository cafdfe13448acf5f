"""The gradient checkers of several libraries on the same wrong and right gradients.

    python experiments/gradient_checkers.py                            # those that are installed
    python experiments/gradient_checkers.py --checkers minattn,torch --out checkers.json

The gradients are those of `tests/testing/planted`: functions of NumPy arrays beside their pullbacks.  Each is made a
function of the library, as its documentation says, and given to its checker with the checker's own tolerances.  Printed
are the wrong gradients that it refused, the right ones that it refused too (drawn by hypothesis, the same at every
run), the CPU time of a check, and the smallest relative error of one slope that it sees at every one of five points,
for sin x and for |x|^3.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from minattn.testing import check_vjp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "testing"))
from planted import RIGHT, WRONG

Checker = Callable[[Callable[..., Any], Callable[..., Any], Sequence[np.ndarray]], None]
"""Raises where it takes the pullback for wrong: checker(f, vjp, inputs)."""

EXAMPLES = 5
"""Of each right gradient."""


# ---------------------------------------------------------------------------------------------- the checkers
def minattn(f: Callable[..., Any], vjp: Callable[..., Any], inputs: Sequence[np.ndarray]) -> None:
    check_vjp(f, vjp, *inputs)


def torch(f: Callable[..., Any], vjp: Callable[..., Any], inputs: Sequence[np.ndarray]) -> None:
    import torch

    f, vjp, variables = in_one_row(f, vjp, inputs)

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *tensors: Any) -> Any:
            context.save_for_backward(*tensors)
            return torch.from_numpy(np.array(f(*(t.numpy() for t in tensors)), order="C"))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context: Any, g: Any) -> Any:
            found = vjp(g.numpy(), *(t.numpy() for t in context.saved_tensors))
            return tuple(None if a is None else torch.from_numpy(np.array(a, order="C")) for a in found)

    torch.autograd.gradcheck(Planted.apply, [torch.from_numpy(v.copy()).requires_grad_() for v in variables])


def jax(f: Callable[..., Any], vjp: Callable[..., Any], inputs: Sequence[np.ndarray]) -> None:
    import jax
    from jax.test_util import check_grads

    f, vjp, variables = in_one_row(f, vjp, inputs)
    with jax.enable_x64(True):
        result = f(*variables)
        like = jax.ShapeDtypeStruct(result.shape, result.dtype)
        shapes = tuple(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in variables)

        def gradients(g: Any, *arrays: Any) -> Any:
            found = vjp(np.array(g), *map(np.array, arrays))
            return tuple(
                np.zeros(v.shape) if a is None else np.asarray(a) for a, v in zip(found, variables, strict=False)
            )

        @jax.custom_vjp
        def planted(*arrays: Any) -> Any:
            return jax.pure_callback(lambda *a: f(*map(np.array, a)), like, *arrays)

        planted.defvjp(
            lambda *arrays: (planted(*arrays), arrays),
            lambda arrays, g: jax.pure_callback(gradients, shapes, g, *arrays),
        )
        check_grads(planted, [jax.numpy.asarray(v) for v in variables], order=1, modes=["rev"])


def autograd(f: Callable[..., Any], vjp: Callable[..., Any], inputs: Sequence[np.ndarray]) -> None:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    f, vjp, variables = in_one_row(f, vjp, inputs)
    planted = primitive(f)

    def nth(k: int) -> Callable[..., Any]:
        return lambda y, *arrays: lambda g: vjp(g, *arrays)[k]

    defvjp(planted, *map(nth, range(len(variables))))
    every = tuple(range(len(variables)))
    check_grads(planted, every, modes=["rev"], order=1)(*(v.copy() for v in variables))


def chainer(f: Callable[..., Any], vjp: Callable[..., Any], inputs: Sequence[np.ndarray]) -> None:
    import chainer
    from chainer.gradient_check import check_backward

    f, vjp, variables = in_one_row(f, vjp, inputs)

    class Planted(chainer.FunctionNode):  # type: ignore[misc]
        def forward(self, arrays: Any) -> Any:
            self.retain_inputs(tuple(range(len(arrays))))
            return (f(*arrays),)

        def backward(self, indices: Any, upstream: Any) -> Any:
            found = vjp(upstream[0].array, *(v.array for v in self.get_retained_inputs()))
            return tuple(None if found[i] is None else chainer.Variable(np.asarray(found[i])) for i in indices)

    y_grad = np.random.default_rng(0).standard_normal(np.shape(f(*variables)))
    check_backward(
        lambda *xs: Planted().apply(xs)[0], tuple(v.copy() for v in variables), y_grad.astype(variables[0].dtype)
    )


CHECKERS: dict[str, tuple[str, Checker]] = {
    "minattn": ("minattn.testing.check_vjp", minattn),
    "torch": ("torch.autograd.gradcheck", torch),
    "jax": ("jax.test_util.check_grads", jax),
    "autograd": ("autograd.test_util.check_grads", autograd),
    "chainer": ("chainer.gradient_check.check_backward", chainer),
}


def in_one_row(f: Any, vjp: Any, inputs: Sequence[np.ndarray]) -> tuple[Any, Any, list[np.ndarray]]:
    """f and its pullback as functions of the floating-point inputs alone, with several results in one row: all checkers
    take that."""
    argnums = [i for i, a in enumerate(inputs) if a.dtype.kind == "f"]
    several = isinstance(f(*(a.copy() for a in inputs)), tuple)

    def whole(variables: Sequence[np.ndarray]) -> list[np.ndarray]:
        arguments = list(inputs)
        for i, v in zip(argnums, variables, strict=True):
            arguments[i] = v
        return arguments

    def one(*variables: np.ndarray) -> np.ndarray:
        y = f(*whole(variables))
        return np.concatenate([part.reshape(-1) for part in y]) if several else np.asarray(y)

    def pullback(g: np.ndarray, *variables: np.ndarray) -> list[Any]:
        upstream = [g]
        if several:
            parts = f(*whole(variables))
            cuts = np.cumsum([part.size for part in parts])[:-1]
            upstream = [u.reshape(part.shape) for u, part in zip(np.split(g, cuts), parts, strict=True)]
        found = vjp(*upstream, *whole(variables))
        found = list(found) if isinstance(found, (tuple, list)) else [found]
        return [found[i] for i in argnums] if len(found) == len(inputs) else found

    return one, pullback, [inputs[i] for i in argnums]


# ---------------------------------------------------------------------------------------------- the measurements
def examples(strategy: Any) -> list[tuple[np.ndarray, ...]]:
    """A few values of a strategy, the same at every run; in plain memory and not empty, as all libraries take."""
    found: list[tuple[np.ndarray, ...]] = []

    @settings(
        max_examples=4 * EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: tuple[np.ndarray, ...]) -> None:
        if all(a.size for a in value):
            found.append(tuple(np.array(a, order="C") for a in value))

    collect()
    return found[:EXAMPLES]


def refuses(checker: Checker, f: Any, vjp: Any, inputs: Sequence[np.ndarray]) -> tuple[str, float]:
    """What a checker says of a gradient, '' if it takes it for right, and the CPU milliseconds that it took."""
    copies = [np.array(a) for a in inputs]
    start = process_time()
    try:
        checker(f, vjp, copies)
        said = ""
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    return said, 1000 * (process_time() - start)


def smallest_error(checker: Checker, f: Any, slope: Any) -> float:
    """The smallest power of ten that is seen, relatively, in the slope of f, at each of five points."""
    seen = 1.0
    for exponent in range(1, 15):
        error = 10.0**-exponent
        for seed in range(5):
            x = np.random.default_rng(seed).uniform(0.5, 2.0, 8)
            if not refuses(checker, f, lambda g, x, error=error: g * slope(x) * (1 + error), [x])[0]:
                return seen
        seen = error
    return seen


def measured(checker: Checker) -> dict[str, Any]:
    """What one checker makes of all gradients."""
    refuses(checker, np.sin, lambda g, x: g * np.cos(x), [np.ones(3)])  # the first call imports and compiles
    wrong = [(w, *refuses(checker, w.f, w.vjp, w.inputs)) for w in WRONG]
    right = [(r, *refuses(checker, r.f, r.vjp, x)) for r in RIGHT for x in examples(r.inputs)]
    alarms = sorted({r.name for r, said, _ in right if said})
    return {
        "wrong": len(WRONG),
        "caught": sum(bool(said) for _, said, _ in wrong),
        "missed": [f"{w.kind}: {w.name}" for w, said, _ in wrong if not said],
        "right": len(RIGHT),
        "examples": len(right),
        "refused": sum(bool(said) for _, said, _ in right),
        "false alarms": alarms,
        "alarms": {r.name: said[:300] for r, said, _ in right if said},
        "ms": float(np.median([ms for _, _, ms in (*wrong, *right)])),
        "sin": smallest_error(checker, np.sin, np.cos),
        "cubed modulus": smallest_error(checker, lambda x: np.abs(x) ** 3, lambda x: 3 * x * np.abs(x)),
        "message": refuses(checker, np.cos, lambda g, x: g * np.sin(x), [np.array([[0.5, 1.0], [1.5, 2.0]])])[0],
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The measurements as a table in Markdown."""
    lines = [
        "| checker | wrong ones caught | right ones refused | smallest error seen: sin x | |x|^3 | CPU ms a check |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| `{CHECKERS[name][0]}` | {row['caught']} of {row['wrong']} | {len(row['false alarms'])} of "
            f"{row['right']} "
            f"| {row['sin']:.0e} | {row['cubed modulus']:.0e} | {row['ms']:.1f} |"
        )
    return "\n".join(lines).replace("|x|^3", "\\|x\\|³")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    installed = [name for name in CHECKERS if find_spec(name)]
    parser.add_argument(
        "--checkers", default=",".join(installed), help=f"of {', '.join(CHECKERS)}; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, help="write all that was measured into this JSON file")
    arguments = parser.parse_args()
    names = arguments.checkers.split(",")
    if unknown := [name for name in names if name not in CHECKERS]:
        parser.error(f"no checker {unknown[0]!r}; expected {', '.join(CHECKERS)}")
    rows = {}
    for name in names:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            rows[name] = measured(CHECKERS[name][1])
        if arguments.out:
            arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
