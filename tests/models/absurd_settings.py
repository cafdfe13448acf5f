"""Every setting of every kind of network by values that make no sense; prints those that raise what no reader expects.

A program of its own, as the tests check types themselves.
"""

import dataclasses

import numpy as np

from minattn.errors import MinattnError
from minattn.models import registry
from minattn.nn import initializers

ABSURD = [0, -1, 1.5, True, "x", None, (), (1,), (0, 0), (1.5, 2), (1, 2, 3, 4), [], 10**30, float("nan")]

for name in {entry.network: name for name, entry in registry.ENTRIES.items()}.values():
    published = registry.configuration(name)
    for field in dataclasses.fields(published):
        for value in ABSURD:
            try:
                changed = dataclasses.replace(published, **{field.name: value})
                with initializers.unallocated():
                    registry.ENTRIES[name].network(changed, np.random.default_rng(0))
            except MinattnError:
                pass
            except Exception as error:
                print(f"{name}, {field.name}={value!r}: {error!r}")
