"""A strict stand-in for CuPy 14 on NumPy: proves without a GPU that array code would run on one.

    with fakecupy.installed() as cupy:        # `import cupy` in any code now gives the fake
        x = cupy.asarray(numpy_array)         # the only way in
        with fakecupy.no_sync():              # reading a number inside raises
            loss = step(x)
        float(loss)                           # the ways out: .get(), .item(), float(), ...; counted as syncs
    fakecupy.stats                            # launches, copies, syncs, h2d since stats.reset()

What CuPy refuses raises here too, by the names, signatures and dtypes of the real CuPy (api.py). So does what
CuPy would do differently without a word: indices out of range (it wraps them), several values stored to one
place, overlapping copies, NaN cast to an integer. In places the fake is stricter than CuPy: it refuses `in`,
`@=`, NumPy arrays as values of an assignment and 0-d ones in comparisons.

What it cannot show: races, speed, rounding. Kernels written in CUDA do not run on it.

    counters.py   stats, no_sync(), capturing()          ufuncs.py     add, exp, erf, ... and their loops
    array.py      the array                              functions.py  sum, concatenate, matmul, ...
    methods.py    its methods that are functions         creation.py   asarray, empty, asnumpy, ...
    indexing.py   keys, scatter                          cuda.py       cupy.cuda
    api.py        CuPy's API as data                     modules.py    install(), installed()
"""

from .array import scrambled_layouts
from .counters import capturing, no_sync, stats
from .modules import cupy, cupyx, install, installed

__all__ = ["capturing", "cupy", "cupyx", "install", "installed", "no_sync", "scrambled_layouts", "stats"]
