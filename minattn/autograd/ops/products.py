"""Matrix products: matmul, einsum, linear."""

from string import ascii_letters
from typing import Any

import numpy as np

from minattn.autograd.backend import Array, Shape, xp
from minattn.autograd.backend import matmul as gemm
from minattn.autograd.engine import Result, op
from minattn.autograd.ops.indexing import getitem
from minattn.autograd.ops.shaping import squeeze
from minattn.errors import ConfigError, ShapeError


@op
def matmul(a: Array, b: Array, /) -> Result:
    """a @ b with NumPy's rules: vectors, matrices, stacks of matrices with broadcasting.

    dA = G B^T;  dB = A^T G.
    """
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError("a scalar has no rows and no columns; hint: * for scalars")
    if b.ndim == 2 and a.ndim > 2:
        return _rows_times_matrix(a, b)
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b

    def full(g: Array) -> Array:
        """The upstream gradient with the axes that a vector argument had lost."""
        g = g[..., None] if b.ndim == 1 else g
        return g[..., None, :] if a.ndim == 1 else g

    def left(g: Array) -> Array:
        da = gemm(full(g), columns.swapaxes(-1, -2))
        return da[..., 0, :] if a.ndim == 1 else da

    def right(g: Array) -> Array:
        db = gemm(rows.swapaxes(-1, -2), full(g))
        return db[..., 0] if b.ndim == 1 else db

    return gemm(a, b), (left, right)


def _rows_times_matrix(a: Array, b: Array) -> Any:
    """(.., d) @ (d, n): all rows of the stack in one product, and db without a stack of its own."""
    rows = a.reshape(_rows(a), a.shape[-1])
    y = gemm(rows, b).reshape(*a.shape[:-1], b.shape[1])

    def flat(g: Array) -> Array:
        return g.reshape(rows.shape[0], b.shape[1])

    return y, (lambda g: gemm(flat(g), b.T).reshape(a.shape), lambda g: gemm(rows.T, flat(g)))


def linear_equation(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = x W + b."""
    y = x @ weight
    return y if bias is None else y + bias


@op(equation=linear_equation)
def linear(x: Array, weight: Array, bias: Array | None = None, /) -> Result:
    """y = x W + b:  x (.., in), W (in, out), b (out) or None.  One product for all rows."""
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[0]:
        raise ShapeError(f"x {x.shape} does not fit the weight {weight.shape}; hint: (.., in) and (in, out)")
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ShapeError(f"a bias {bias.shape} does not fit the weight {weight.shape}; hint: (out,) and (in, out)")
    rows = x.reshape(_rows(x), x.shape[-1])
    y = gemm(rows, weight)
    if bias is not None and bias.dtype == y.dtype:
        y += bias
    elif bias is not None:
        y = y + bias
    y = y.reshape(*x.shape[:-1], weight.shape[1])

    def flat(g: Array) -> Array:
        return g.reshape(rows.shape[0], weight.shape[1])

    pullbacks = (
        lambda g: gemm(flat(g), weight.T).reshape(x.shape),
        lambda g: gemm(rows.T, flat(g)),
        lambda g: column_sums(flat(g)),
    )
    return y, pullbacks


def _rows(x: Array) -> int:
    rows = 1
    for n in x.shape[:-1]:
        rows *= n
    return rows


def column_sums(rows: Array) -> Array:
    """The sum over the first axis of a matrix, as the product 1^T rows: quicker than a reduction on both backends."""
    return gemm(xp(rows).ones(rows.shape[0], rows.dtype), rows)


@op
def _einsum(*operands: Array, inputs: tuple[str, ...], output: str) -> Result:
    module = xp(*operands)
    sizes: dict[str, int] = {}
    for names, x in zip(inputs, operands, strict=True):
        for letter, n in _named(names, x):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(
                    f"the axis '{letter}' of '{','.join(inputs)}' has the length {sizes[letter]} in one operand and "
                    f"{n} in another; hint: one length for a letter (einsum stretches none)"
                )

    def operand(i: int) -> Any:
        """d/d operand_i: exchange its indices with the output's; an index that it alone has is stretched."""

        def pullback(g: Array) -> Array:
            others = [x for j, x in enumerate(operands) if j != i]
            names = [output, *(n for j, n in enumerate(inputs) if j != i)]
            known = "".join(letter for letter in inputs[i] if any(letter in n for n in names))
            part = module.einsum(f"{','.join(names)}->{known}", g, *others, optimize=True)
            position = tuple(slice(None) if letter in known else None for letter in inputs[i])
            return module.broadcast_to(part[position], tuple(sizes[letter] for letter in inputs[i]))

        return pullback

    y = module.einsum(f"{','.join(inputs)}->{output}", *operands, optimize=True)
    return y, tuple(operand(i) for i in range(len(operands)))


def _named(names: str, x: Array) -> Any:
    if len(names) != x.ndim:
        raise ShapeError(f"subscripts '{names}' name {len(names)} axes, the operand has shape {x.shape}")
    return zip(names, x.shape, strict=True)


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's summation: `einsum("bqd,bkd->bqk", q, k)`.

    '...' stands for axes that are not named, which broadcast.  A letter twice in one operand takes its diagonal:
    "bii->bi".  The output may be left out; it is then '...' and every letter that occurs once, in alphabetical order.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: the subscripts come first, got {type(subscripts).__name__}; hint: einsum('ij->i', x)")
    inputs, output = _parsed(subscripts, len(operands))
    unnamed = [_under_dots(names, x) for names, x in zip(inputs, operands, strict=True)]
    try:
        common = np.broadcast_shapes(*unnamed)
    except ValueError as error:
        raise ShapeError(f"einsum: the axes {unnamed} under '...' of '{subscripts}' do not broadcast") from error
    if common and "..." not in output:
        raise ConfigError(f"einsum: '{subscripts}' has no place for the axes under '...'; hint: '...' in the output")
    letters = "".join(c for c in ascii_letters if c not in subscripts)[: len(common)]  # for the axes under '...'
    named = []
    for names, x, shape in zip(inputs, operands, unnamed, strict=True):
        here = list(zip(letters[len(common) - len(shape) :], shape, common[len(common) - len(shape) :], strict=True))
        stretched = tuple(names.find("...") + i for i, (_, n, m) in enumerate(here) if n != m)
        x = squeeze(x, stretched) if stretched else x  # an axis that an operand does not have is stretched
        named.append(_without_diagonals(names.replace("...", "".join(c for c, n, m in here if n == m)), x))
    return _einsum(
        *(x for _, x in named), inputs=tuple(names for names, _ in named), output=output.replace("...", letters)
    )


def _parsed(subscripts: str, operands: int) -> tuple[list[str], str]:
    """The names of each operand's axes and of the output's."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs, letters = left.split(","), left.replace("...", "").replace(",", "")
    if not arrow:
        output = "..." * ("..." in left) + "".join(sorted(c for c in letters if letters.count(c) == 1))
    if not all(c in ascii_letters for names in [*inputs, output] for c in names.replace("...", "", 1)):
        raise ConfigError(f"einsum: '{subscripts}' must name axes by letters, with one '...' an operand at most")
    if len(inputs) != operands:
        raise ConfigError(f"einsum: '{subscripts}' is for {len(inputs)} operands, got {operands}")
    return inputs, output


def _under_dots(names: str, x: Any) -> Shape:
    """The lengths of the axes of x that '...' stands for."""
    before, dots, after = names.partition("...")
    return tuple(np.shape(x)[len(before) : np.ndim(x) - len(after)]) if dots else ()


def _without_diagonals(names: str, x: Any) -> tuple[str, Any]:
    """(names, x) in which no name stands twice: x is its diagonal along axes of one name."""
    letters = "".join(dict.fromkeys(names))
    if letters == names or len(names) != np.ndim(x):
        return names, x
    lengths = dict(zip(names, np.shape(x), strict=True))
    if any(lengths[letter] != n for letter, n in zip(names, np.shape(x), strict=True)):
        raise ShapeError(f"einsum: '{names}' takes a diagonal of axes of different lengths, {np.shape(x)}")
    positions = dict(zip(letters, np.ix_(*(np.arange(lengths[letter]) for letter in letters)), strict=True))
    return letters, getitem(x, tuple(positions[letter] for letter in names))
