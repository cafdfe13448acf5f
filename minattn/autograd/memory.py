"""Memory that is freed stays with the process, so that the next training step finds it again.

A training step allocates the same big arrays again and again.  By default glibc hands each of them back to the kernel
as it is freed, and the kernel clears every page anew when the next step touches it: that alone can cost a quarter of
a step.  `minattn.keep_freed_memory()` tells glibc (by mallopt, for the whole process) to take arrays of up to 1 GiB
from its heap and not to give the top of the heap back: up to 2 GiB of what was freed stay with the process, ready for
use, and its memory as the kernel counts it stays near its peak (`ctypes.CDLL(None).malloc_trim(0)` gives back what is
free).

Importing minattn does nothing of the kind.  `Trainer.run` and the command line call it; so should a training loop of
your own.  One may call it again and again.

    MINATTN_ALLOCATOR=system      leaves the allocator as it is
    MINATTN_ALLOCATOR=keep        the default

Nothing is done either where it is not glibc that allocates (another C library, an allocator that is preloaded), or
where the user has set glibc's own variables (MALLOC_.., glibc.malloc in GLIBC_TUNABLES): they know better.
"""

import ctypes
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from minattn.errors import ConfigError

VARIABLE = "MINATTN_ALLOCATOR"
CHOICES = ("keep", "system")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names and numbers of <malloc.h>


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, unless the environment says otherwise; return whether that was done.

    Where MINATTN_ALLOCATOR has a value other than those above it warns, and leaves the allocator as it is: a slip in a
    variable should not prevent a run.
    """
    try:
        if not (is_wanted(os.environ) and _is_glibc()):
            return False
    except ConfigError as error:
        warnings.warn(f"{error}; the allocator is left as it is", RuntimeWarning, stacklevel=2)
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Where glibc finds 1 GiB too much for a threshold, 32 MiB is the most that it takes.
    mapped = mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 32 << 20)
    return bool(mapped and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def is_wanted(environment: Mapping[str, str]) -> bool:
    """True if freed memory is to be kept, by the environment variables."""
    choice = environment.get(VARIABLE, "keep")
    if choice not in CHOICES:
        raise ConfigError(f"{VARIABLE} must be one of {', '.join(CHOICES)}; got {choice!r}")
    return (
        choice == "keep"
        and not any(name.startswith("MALLOC_") for name in environment)
        and "glibc.malloc" not in environment.get("GLIBC_TUNABLES", "")
        and "malloc" not in environment.get("LD_PRELOAD", "")  # jemalloc, tcmalloc, mimalloc
    )


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # no such question on this system
        return False


def machine_memory() -> int | None:
    """The bytes of memory that this machine has, or that its container may use; None where nothing tells."""
    try:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        container = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return most
    return min(most, int(container)) if container.isdecimal() else most


def refuse_more_memory() -> None:
    """Let this process raise MemoryError where it wants more than the machine has.

    Otherwise the system may grant it, and end the process without a word when it makes use of it.
    """
    if (most := machine_memory()) is None:
        return
    try:
        import resource

        limit, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if limit == resource.RLIM_INFINITY or limit > most:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (ImportError, ValueError, OSError):  # a system without such limits
        return
