"""The errors minattn raises on purpose.  Each says what was given, what was expected, and a hint.

Every one is a `MinattnError` and also the built-in error a NumPy user would expect to catch.
"""

import errno
from collections.abc import Iterable

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class MinattnError(Exception):
    """Base of every error that minattn raises on purpose; the command line prints it as one line."""


class ShapeError(MinattnError, ValueError):
    """Shapes that do not fit together."""


class AxisError(ShapeError, IndexError):
    """An axis that an array does not have, or that is named twice."""


class DeviceError(MinattnError, RuntimeError):
    """A device that is missing or not usable, or arrays of two devices in one operation."""


class GradientError(MinattnError, RuntimeError):
    """A gradient that cannot be had: freed graph, second order, changed data, or no graph at all."""


class DataError(MinattnError, ValueError):
    """A data file, word or symbol that cannot be used."""


class ConfigError(MinattnError, ValueError):
    """A configuration key or value that does not exist or does not fit."""


class CheckpointError(MinattnError, RuntimeError):
    """A checkpoint or run folder that is missing, damaged or belongs to something else."""


class TrainingError(MinattnError, RuntimeError):
    """Training that cannot go on, for example because the loss is not finite."""


class MissingDependencyError(MinattnError, ImportError):
    """An optional library is needed and not installed."""


def hint_for_write_error(error: OSError) -> str:
    """A hint for a file or a folder that could not be written, by the system's error."""
    if error.errno in FULL:
        return "free space"
    if error.errno in FORBIDDEN:
        return "a folder that can be written to"
    if error.errno == errno.ENAMETOOLONG:
        return "a shorter name"
    return "another folder"


def without_hint(error: Exception) -> str:
    """The message of an error before its hint, for another message that has a hint of its own."""
    return str(error).partition("; hint: ")[0]


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names with commas between them: the first of them, and how many more there are."""
    found = list(names)
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


STEERING = (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in STEERING if chr(code) not in "\t\n"}


def visible(text: str) -> str:
    """The text with the characters that steer a terminal, or turn what stands beside them, as Python writes them."""
    return text.translate(ESCAPES)
