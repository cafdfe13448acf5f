"""What minattn does to the allocator, and who may tell it not to."""

import os
import subprocess
import sys

import pytest

from minattn.autograd import memory
from minattn.errors import ConfigError

COUNT_FAULTS = """
import resource
import numpy as np
import minattn
CALL

def step():
    a = np.ones(2**22, np.float32)  # 16 MiB
    return a * 2, a + 1

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

MALLOC_VARIABLES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", memory.VARIABLE)


def page_faults(call="minattn.keep_freed_memory()", **variables):
    """How many pages the kernel had to bring in for five steps that need the same memory as those before them."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(MALLOC_VARIABLES)}
    environment = clean | {"NUMPY_MADVISE_HUGEPAGE": "0"} | variables
    command = [sys.executable, "-c", COUNT_FAULTS.replace("CALL", call)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not memory._is_glibc(), reason="there is no glibc here")
def test_freed_memory_is_found_again_by_the_next_step():
    assert page_faults() < 100


@pytest.mark.skipif(not memory._is_glibc(), reason="there is no glibc here")
def test_importing_minattn_leaves_the_allocator_alone():
    assert page_faults(call="") > 10_000


@pytest.mark.skipif(not memory._is_glibc(), reason="there is no glibc here")
@pytest.mark.parametrize("variables", [{"MINATTN_ALLOCATOR": "system"}, {"MALLOC_ARENA_MAX": "8"}], ids=str)
def test_the_allocator_is_left_alone_where_the_user_says_so(variables):
    assert page_faults(**variables) > 10_000


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, True),
        ({"MINATTN_ALLOCATOR": "keep", "GLIBC_TUNABLES": "glibc.pthread.rseq=0"}, True),
        ({"MINATTN_ALLOCATOR": "system"}, False),
        ({"MALLOC_TRIM_THRESHOLD_": "100000"}, False),
        ({"GLIBC_TUNABLES": "glibc.pthread.rseq=0:glibc.malloc.tcache_count=0"}, False),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, False),
        ({"LD_PRELOAD": "/usr/lib/libtcmalloc_minimal.so.4"}, False),
    ],
    ids=str,
)
def test_the_environment_decides(variables, wanted):
    assert memory.is_wanted(variables) == wanted


def test_a_wrong_choice_names_the_right_ones():
    with pytest.raises(ConfigError, match="MINATTN_ALLOCATOR must be one of keep, system; got 'fast'"):
        memory.is_wanted({memory.VARIABLE: "fast"})


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(memory, "_is_glibc", lambda: False)
    assert not memory.keep_freed_memory()


def test_a_wrong_value_is_told_and_prevents_nothing(monkeypatch):
    monkeypatch.setenv("MINATTN_ALLOCATOR", "fast")
    with pytest.warns(RuntimeWarning, match="must be one of keep, system; got 'fast'; the allocator is left as it is"):
        assert not memory.keep_freed_memory()


LIMITED = """
import numpy as np
from minattn.autograd import memory
memory.machine_memory = lambda: 1 << 30
memory.refuse_more_memory()
np.ones(1 << 20)
np.zeros(1 << 28)  # 2 GiB, which the system would grant as long as nobody writes to them
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count otherwise")
def test_more_memory_than_the_machine_has_is_refused_and_not_granted():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert "MemoryError: Unable to allocate 2.00 GiB" in done.stderr
    assert memory.machine_memory() > 1 << 28
