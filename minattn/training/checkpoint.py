"""Checkpoints: arrays by name and what must be known about them, in one file that is whole or absent.

The file is a safetensors file, so it holds no code and other programs can read its arrays.  In its metadata stand
`kind` (always "minattn checkpoint"), `format` (the version of the layout), `minattn` (the version that wrote it) and
`meta` (JSON).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minattn import __version__
from minattn.errors import CheckpointError, MissingDependencyError
from minattn.whole_files import write_whole

KIND = "minattn checkpoint"
FORMAT = "1"

Arrays = dict[str, np.ndarray]
PathLike = str | os.PathLike[str]


def save_checkpoint(path: PathLike, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write host arrays and JSON values to `path`; the old file stands until the new one is whole and on the disk.

    arrays: any shape and layout; the dtypes are booleans, integers, float16 to float64 and complex64.
    meta: JSON values under string keys; integers may be of any size, NaN and infinities survive.
    Raises CheckpointError where something cannot be stored or written, and leaves nothing behind then.
    """
    content = _content(Path(path), arrays, meta)
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} could not be written: {error.strerror}; what stood there before is untouched; "
            "hint: free space or choose a folder that can be written to"
        ) from error


def load_checkpoint(path: PathLike) -> tuple[Arrays, dict[str, Any]]:
    """`(arrays, meta)` as they were saved.

    Raises CheckpointError where the file is missing, unreadable, cut off, no minattn checkpoint, or of another format
    version.
    """
    safetensors = _safetensors()
    try:
        with open(path, "rb"):  # safetensors says of every file that it cannot open that it is missing
            pass
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}; hint: check the path") from error
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {error.strerror}; hint: a file that may be read"
        ) from error
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            _check_header(path, header)
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header["meta"])  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read, it is cut off or something else ({error}); "
            "hint: use another checkpoint of the run"
        ) from error


def arrays_under(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays named "prefix/...", without the prefix: `arrays_under("model", arrays)` is the model's state."""
    start = f"{prefix}/"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a random generator, as JSON values."""
    return _without_arrays(generator.bit_generator.state)


def restore_rng(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a generator, in place, where `rng_state` found one of its kind.

    Raises CheckpointError where the state is of another kind of generator.
    """
    kind = type(generator.bit_generator).__name__
    if state.get("bit_generator") != kind:
        raise CheckpointError(
            f"the saved random state is of a {state.get('bit_generator')} generator, this one is {kind}; "
            "hint: resume with the kind of generator the run was started with"
        )
    generator.bit_generator.state = state


def _without_arrays(state: Any) -> Any:
    """NumPy's own nested state with arrays as lists, which its setter takes as well."""
    if isinstance(state, dict):
        return {key: _without_arrays(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def _content(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> bytes:
    """The bytes of the whole file."""
    safetensors = _safetensors()
    rows = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # safetensors takes no strides
    try:
        header = {"kind": KIND, "format": FORMAT, "minattn": __version__, "meta": json.dumps(meta)}
        return safetensors.numpy.save(rows, header)
    except (TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path}: something in it cannot be stored: {error}") from error


def _check_header(path: PathLike, header: Mapping[str, str]) -> None:
    if header.get("kind") != KIND:
        raise CheckpointError(f"{path} is a safetensors file, but no minattn checkpoint; hint: check the path")
    if header.get("format") != FORMAT:
        maker = header.get("minattn", "0.1.0 or an earlier version")
        raise CheckpointError(
            f"checkpoint {path} has format {header.get('format')}, of minattn {maker}; this is minattn {__version__}, "
            f"which reads format {FORMAT}; hint: use the minattn version that wrote it"
        )


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingDependencyError(
            "checkpoints need safetensors, which is not installed: pip install 'minattn[train]'"
        ) from error
    return safetensors
