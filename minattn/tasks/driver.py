"""What the runs of several recipes share: their data files, what config.json keeps of them, and their checkpoints."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from minattn.errors import CheckpointError, ConfigError, DataError, MinattnError
from minattn.nn import Module
from minattn.tasks.config import completed, from_stored
from minattn.tasks.run_folder import CONFIG, has_begun, new_run, read_run
from minattn.training import BEST, LAST, Outcome, Trainer, arrays_under, load_checkpoint

PARTS = ("train", "dev", "test")


class Source(Protocol):
    """Where a run's data come from: a dataclass, such as `DataFiles`, that config.json keeps."""

    def absolute(self) -> Self:
        """The same data, found from whatever folder a run is resumed in."""
        ...

    def source(self, part: str) -> str:
        """Where the "train", "dev" or "test" part comes from."""
        ...


Config = TypeVar("Config")
Files = TypeVar("Files", bound=Source)


@dataclass(frozen=True)
class DataFiles:
    """Where a run's data come from: files, or the recipe's own data where none is given.

    train alone is divided; with test and no dev, a part of train is held out for dev.
    """

    train: str | None = None
    dev: str | None = None
    test: str | None = None

    OWN = "the recipe's own data"  # what a recipe calls the data that it uses without files

    def __post_init__(self) -> None:
        if self.train is None and (self.dev or self.test):
            raise ConfigError(f"--dev and --test go with --train; without it the run uses {self.OWN}")
        if self.test is None and self.dev:
            raise ConfigError("--dev goes with --test; with --train alone the file is divided into all three")

    def absolute(self) -> Self:
        """The same files, found from whatever folder a run is resumed in."""
        paths = {name: path and str(Path(path).absolute()) for name, path in dataclasses.asdict(self).items()}
        return dataclasses.replace(self, **paths)

    def source(self, part: str) -> str:
        """Where the "train", "dev" or "test" part comes from."""
        return getattr(self, part) or self.train or self.OWN


@dataclass(frozen=True)
class StoredRun(Generic[Config, Files]):
    """What a run's config.json says of it."""

    config: Config
    files: Files
    data: dict[str, str]  # the fingerprints of "train", "dev" and "test"

    @classmethod
    def read(
        cls, run: str | Path, recipe: str, read_config: Callable[[Any, Path], Config], files: type[Files]
    ) -> "StoredRun[Config, Files]":
        """Raises CheckpointError where the folder is no run of this recipe, or of a version with other settings.

        read_config: what makes the settings of the JSON object that was stored in the file of this path.
        """
        path = Path(run) / CONFIG
        content = read_run(Path(run), recipe)
        data = content.get("data")
        if not isinstance(data, dict) or set(data) != set(PARTS):
            raise CheckpointError(f"{path} lacks 'data', the fingerprints of the run's data; hint: a new run")
        return cls(read_config(content.get("config"), path), from_stored(files, content.get("files"), path), data)

    def check_same(self, data: Mapping[str, str], what: str, hint: str) -> None:
        """Raise DataError where the fingerprints `data` are not those of the run; `what` is "words" or the like."""
        for name, fingerprint in data.items():
            if self.data[name] != fingerprint:
                raise DataError(
                    f"the {name} {what} of {self.files.source(name)} changed since the run was started; hint: {hint}"
                )


def run_content(recipe: str, config: Any, files: Source, data: Mapping[str, str]) -> dict[str, Any]:
    """The config.json that `StoredRun.read` reads."""
    settings, paths = dataclasses.asdict(config), dataclasses.asdict(files)
    return {"recipe": recipe, "config": settings, "files": paths, "data": dict(data)}


def begin(trainer: Trainer, content: dict[str, Any]) -> Outcome:
    """Train in a new folder, with `content` as its config.json."""
    with new_run(trainer.folder, content):
        return run_quietly(trainer)


def go_on(trainer: Trainer) -> Outcome:
    """Train from where the run in the trainer's folder was stopped.

    Raises CheckpointError where its checkpoint is damaged or another run's.
    """
    if has_begun(trainer.folder):
        check_checkpoint(trainer.folder / LAST, trainer.meta)
        trainer.resume()
        trainer.progress.note(f"going on after step {trainer.state.step:,}")
    return run_quietly(trainer)


def run_quietly(trainer: Trainer) -> Outcome:
    """Train, without NumPy's warnings: the trainer looks for what is not finite, and says more of it."""
    with np.errstate(all="ignore"):
        return trainer.run()


def check_checkpoint(path: Path, expected: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a checkpoint is of another run: something in its `meta` is not as expected."""
    _, meta = load_checkpoint(path)
    meta = {**meta, "config": completed(meta.get("config"))}
    other = [key for key in expected if meta.get(key) != expected[key]]
    if other:
        raise CheckpointError(
            f"{path} belongs to another run: it differs in {', '.join(other)}; hint: put the run's own checkpoint back"
        )


class Trained(Protocol):
    """What has a trained network, such as a `Classifier`."""

    model: Module


TrainedKind = TypeVar("TrainedKind", bound=Trained)


def load_best(
    folder: Path, recipe: str, config: Any, build: Callable[[Mapping[str, Any]], TrainedKind], device: str
) -> TrainedKind:
    """A run's best model on the device, or its last where none was evaluated yet.

    build(meta): the untrained one, of what the checkpoint says of its model.
    Raises CheckpointError where there is no checkpoint, or where it is damaged, another run's or not finite.
    """
    path = folder / BEST if (folder / BEST).exists() else folder / LAST
    if not path.exists():
        raise CheckpointError(f"{folder} has no checkpoint yet; hint: minattn train {recipe} --resume {folder}")
    arrays, meta = load_checkpoint(path)
    if (meta.get("recipe"), completed(meta.get("config"))) != (recipe, dataclasses.asdict(config)):
        raise CheckpointError(
            f"{path} belongs to another run: its settings are not those of {folder / CONFIG}; "
            "hint: put the run's own checkpoint back"
        )
    weights = arrays_under("model", arrays)
    if not all(np.isfinite(array).all() for array in weights.values()):
        raise CheckpointError(
            f"{path} has weights that are not finite: its training diverged; hint: a new run with a lower learning rate"
        )
    try:
        trained = build(meta)
        trained.model.load_state_dict(weights)
    except KeyError as error:
        raise _damaged(path, f"it lacks {error}") from error
    except (MinattnError, TypeError, ValueError) as error:
        raise _damaged(path, str(error).partition("; hint: ")[0]) from error
    trained.model.to(device)
    return trained


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {what}; hint: put the run's own checkpoint back, or a new run")
