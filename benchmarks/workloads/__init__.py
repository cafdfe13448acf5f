"""The workloads, one file each: its sizes, its inputs, and its step in every engine that can do it.

The networks of minattn and PyTorch are written as users of each would write them.  All others share one text, written
over the functions that the modules in benchmarks/engines give; small workloads have no other.  A new workload is a new
file here whose `WORKLOADS` lists it.  Files import NumPy alone: they are read in the environments of all engines.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterable

from benchmarks.workload import Workload

_files = [importlib.import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)]
_all: list[Workload] = [workload for file in _files for workload in getattr(file, "WORKLOADS", ())]
_all.sort(key=lambda workload: int(re.findall(r"\d+", workload.name)[0]))
WORKLOADS = {workload.name: workload for workload in _all}
IMPORT = WORKLOADS["W9"]


def find_workloads(wanted: Iterable[str]) -> list[Workload]:
    """The workloads of these names, in any case, in the order of the list; "W8" means all that begin so.

    None wanted means all.  Raises KeyError with the first unknown name.
    """
    found = set()
    for name in wanted:
        matching = {each for each in WORKLOADS if name.casefold() in (each.casefold(), each.split("-")[0].casefold())}
        if not matching:
            raise KeyError(name)
        found |= matching
    return [workload for name, workload in WORKLOADS.items() if name in found or not found]
