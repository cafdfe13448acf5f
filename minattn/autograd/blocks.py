"""Blocks that stay in the cache: how a chain of array operations runs over a long array on the host.

A chain such as exp(x - max) / sum brings every intermediate result from memory and back when it runs over a whole
long array.  Run block by block, small enough that a block's intermediates stay in a core's cache, only its inputs and
results travel; and several threads share the blocks (NumPy releases the interpreter's lock while it computes).  An op
writes the chain once, in plain array code, as a *body*:

    def body(x, p=None):                    # each row of the result depends on the same row of x alone
        p = np.subtract(x, x.max(-1, keepdims=True), p)
        np.exp(p, p)
        p /= p.sum(-1, keepdims=True)
        return p

    p = over_rows(body, x, into=[NEW])

For short arrays, on CuPy and for other numbers than float32 and float64 that is p = body(x) and nothing more.  For a
long array the body gets one block of x after another, and the block of the result to write to.  It may run in several
threads at the same time; it calls no matrix product, since BLAS has threads of its own.

An op whose blocks are not rows of one matrix goes through them by `for_each_part`, some images after others, or by
`for_each`, with blocks of its own making.  Convolutions do; they call products, each of which BLAS computes in the
thread that calls it (`blas.py`).

    MINATTN_THREADS=1      the number of threads that share the blocks of one long array; by default as many as
                           OPENBLAS_NUM_THREADS or OMP_NUM_THREADS say, else one for each core, but 4 at most

The threads start when a long array first comes, and sleep when none is there.  They never wait by spinning, and one
that is held up delays the others by one block at most.  Which numbers are in a block depends on no thread, so the
results do not either.
"""

import contextlib
import contextvars
import functools
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minattn.autograd.backend import Array, is_real_host
from minattn.autograd.blas import one_blas_thread
from minattn.errors import ConfigError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

LONG = 1 << 20
"""From how many numbers on an array is long: below, whole chains stay in the processor's last cache, and waking a
thread takes longer than it saves."""

BLOCK = 1 << 17
"""Elements of one array in a block: 512 KiB of float32.  Smaller ones would suit the cache of one core, but
threads get in each other's way between the operations on a block."""

ROWS = 1 << 18
"""The same in a chain over rows, which has fewer arrays on the way than most over elements, and more operations that
are short: between any two a thread needs the interpreter's lock, and where another has it, sleeps for longer than an
operation on half as many takes."""

NEW = None
"""An array to be made, in `into`."""

CHAIN = 1 << 18
"""From how many numbers on an elementwise chain runs in blocks, by one thread as long as the array is not long: three
arrays of half a million numbers leave a core's own cache between any two operations."""

VARIABLE = "MINATTN_THREADS"
MOST = 4  # threads, unless told otherwise: memory feeds no more

Body = Callable[..., Any]
Part = Any
"""An index of some rows or images of an array; `...` is all of them."""


def over_rows(body: Body, *arrays: Array, into: Sequence[Array | None] = ()) -> Any:
    """body(*arrays), for arrays of shape (.., d) or (.., 1) with the same leading axes, in blocks of rows if long.

    into: the arrays that the body's first results may be written to, NEW for one like the first of `arrays`.  The body
    gets them as further arguments, unless it runs on the whole arrays at once; then it makes its own.
    Further results of the body are concatenated along the first axis: one row for each row of a block (an array of
    shape (n, k)), or one for each block, such as a partial sum.
    """
    x = arrays[0]
    if x.size < LONG or not is_real_host(x):
        return body(*arrays)
    return _in_blocks(body, [_flat(array, x.ndim - 1) for array in arrays], x, into, ROWS)


def over_elements(body: Body, *arrays: Array, into: Sequence[Array | None] = ()) -> Any:
    """body(*arrays), for arrays of one shape and a body that treats every element alike; otherwise like `over_rows`."""
    x = arrays[0]
    if x.size < CHAIN or not is_real_host(x):
        return body(*arrays)
    if not x.flags.c_contiguous:
        return _in_order(body, arrays, into)
    return _in_blocks(body, [_flat(array, x.ndim) for array in arrays], x, into, BLOCK)


def _in_order(body: Body, arrays: Sequence[Array], into: Sequence[Array | None]) -> Any:
    """`over_elements` in the order in which the first array lies in memory, as the results will: images whose channels
    come last stay so."""
    strides = arrays[0].strides
    order = sorted(range(len(strides)), key=lambda axis: -abs(strides[axis]))
    back = sorted(range(len(order)), key=order.__getitem__)
    x, *others = (np.ascontiguousarray(array.transpose(order)) for array in arrays)
    y = over_elements(body, x, *others, into=[y if y is NEW else y.transpose(order) for y in into])
    return tuple(part.transpose(back) for part in y) if type(y) is tuple else y.transpose(back)


def _flat(array: Array, axes: int) -> Array:
    """`array` with one axis in place of its first `axes`."""
    return array.reshape(math.prod(array.shape[:axes]), *array.shape[axes:])


def _in_blocks(body: Body, arrays: Sequence[Array], x: Array, into: Sequence[Array | None], block: int) -> Any:
    """`body` over blocks of `arrays` along their first axis; x is the first of them in its own shape."""
    results = [np.empty(x.shape, x.dtype) if y is NEW or not y.flags.c_contiguous else y for y in into]
    arrays = [*arrays, *(result.reshape(arrays[0].shape) for result in results)]
    height = max(1, block * len(arrays[0]) // x.size)
    blocks = -(-len(arrays[0]) // height)
    further: list[tuple[Array, ...]] = [()] * blocks

    def work(k: int) -> None:
        parts = body(*(array[k * height : (k + 1) * height] for array in arrays))
        further[k] = parts[len(into) :] if type(parts) is tuple else ()

    for_each(work, range(blocks), share=x.size >= LONG)
    results += [np.concatenate(parts) for parts in zip(*further, strict=True)]
    return tuple(results) if len(results) > 1 else results[0]


def for_each_part(work: Callable[[Part], None], x: Array) -> None:
    """work(part) for one block of x after another, `part` an index of its first axis; of all of x on a GPU and for
    images without such an axis.  Threads share the parts of a long array: no part may write where another does."""
    if x.ndim < 3 or type(x) is not np.ndarray:
        work(...)
        return
    height = max(1, BLOCK // max(1, x[:1].size))
    for_each(work, [slice(k, k + height) for k in range(0, len(x), height)], share=x.size >= LONG)


def for_each(work: Callable[[Any], None], items: Sequence[Any], share: bool, products: bool = False) -> None:
    """work(item) for every item, which several threads share if `share`: then no item may write where another does.

    products: whether `work` calls matrix products.  BLAS computes each with one thread then, so that results depend on
    no number of threads, of either kind; where it cannot be told to, it keeps its threads and the caller's does all.
    """
    count = min(threads(), len(items)) if share and not _mode.alone else 1
    if products:
        with one_blas_thread() as held:
            _do_each(work, items, count if held else 1)
    else:
        _do_each(work, items, count)


def _do_each(work: Callable[[Any], None], items: Sequence[Any], count: int) -> None:
    """work(item) for every item, by `count` threads."""
    remaining = deque(items)

    def some() -> None:
        while True:
            try:
                item = remaining.popleft()
            except IndexError:
                return
            work(item)

    _share(some, count)


# ---------------------------------------------------------------------------------------------- threads
class _Mode(threading.local):
    alone = False


_mode = _Mode()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within the block the caller's thread does all blocks: for callers that share work among threads themselves."""
    before, _mode.alone = _mode.alone, True
    try:
        yield
    finally:
        _mode.alone = before


def alone() -> bool:
    """Whether the caller's thread does all blocks, as one of several threads that share work already."""
    return _mode.alone


@functools.cache
def threads() -> int:
    """The number of threads that share the blocks of a long array.

    Raises ConfigError where MINATTN_THREADS is no number of threads.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is not None:
        if not wanted.isdecimal() or len(wanted) > 4 or int(wanted) == 0:
            raise ConfigError(f"{VARIABLE} must be a number of threads, 1 or more; got {wanted[:40]!r}; hint: 1")
        return int(wanted)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        given = os.environ.get(name, "")
        if given.isdecimal() and int(given):
            return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST)


@functools.cache
def _helpers() -> "Executor":
    """The threads beside the caller's own, started when first wanted."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max(1, threads() - 1), thread_name_prefix="minattn-blocks")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not live on in a child


def _share(work: Callable[[], None], count: int) -> None:
    """Have `work` done by `count` threads at the same time, the caller's among them."""
    if count == 1:
        work()
        return
    from concurrent.futures import wait

    others: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # no thread to be had, as when the interpreter ends: then alone
        for _ in range(count - 1):  # each in a copy of the caller's context, which holds numpy.errstate
            others.append(_helpers().submit(contextvars.copy_context().run, work))
    try:
        work()
    finally:
        started = [other for other in others if not other.cancel()]
        wait(started)
    for other in started:
        other.result()
