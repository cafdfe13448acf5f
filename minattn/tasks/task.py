"""A task: what it learns from, what it trains, how it is scored, and what can be asked of it.

The driver (`minattn.tasks.driver`), the command line and the figures know tasks by this class alone.  A new task is a
`Task` in files of its own and an entry in `minattn.tasks.registry`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol, Self

from minattn.autograd import Tensor
from minattn.data import Splits
from minattn.errors import ConfigError
from minattn.nn import Module
from minattn.tasks.config import TaskConfig, unknown, with_settings
from minattn.training import Batches, Metric
from minattn.training.progress import Progress

OnProgress = Callable[[int, int], None]
"""Called with how many of how many examples are done."""


def ignore_progress(done: int, total: int) -> None:
    """Take no note of it."""


# ---------------------------------------------------------------------------------------------- the data
class Source:
    """The origin of a run's data: a frozen dataclass, whose fields are options of `minattn train`.

    A field says what it is in its annotation: `Annotated[str | None, "the training file", "FILE"]`.
    """

    hint_if_changed: str = "put the old data back"
    """The hint where the data of a run have changed."""
    hint_if_few: str = "more data"
    """The hint where there are too few."""

    def load(self, config: Any) -> Splits[Any]:
        """Return the data.  Raises DataError where they cannot be used."""
        raise NotImplementedError

    def load_test(self, config: Any) -> Any:
        """Return the data to report on, which may need less than all."""
        return self.load(config).test

    def name(self, part: str) -> str:
        """The file, folder or data set that the "train", "dev" or "test" part comes from."""
        raise NotImplementedError

    def absolute(self) -> Self:
        """The same data, found from whatever folder a run is resumed in."""
        return self

    def versions(self) -> dict[str, str]:
        """The versions of the libraries that the data depend on, for the run's config.json."""
        return {}

    def check_run_folder(self, folder: Path) -> None:
        """Raise CheckpointError where a run in this folder would mix with the data."""


@dataclass(frozen=True)
class Files(Source):
    """Files, or the task's own data where none is given.

    train alone is divided; with test and no dev, a part of train is held out for dev.
    """

    train: Annotated[str | None, "the training file", "FILE"] = None
    dev: Annotated[str | None, "the development file, which selects the best model, in the same form", "FILE"] = None
    test: Annotated[str | None, "the test file, in the same form", "FILE"] = None

    hint_if_few: ClassVar[str] = "a longer file, or --dev and --test files"
    own_data: ClassVar[str] = "the task's own data"
    """The data that are used without files."""
    splits: ClassVar[type[Splits[Any]]] = Splits

    def __post_init__(self) -> None:
        if self.train is None and (self.dev or self.test):
            raise ConfigError(f"--dev and --test go with --train; without it the run uses {self.own_data}")
        if self.test is None and self.dev:
            raise ConfigError("--dev goes with --test; with --train alone the file is divided into all three")

    def read(self, path: str) -> Any:
        """Read a file."""
        raise NotImplementedError

    def load_own(self) -> Splits[Any]:
        """Return the task's own data."""
        raise NotImplementedError

    def split(self, data: Any) -> Splits[Any]:
        """Divide the content of one file."""
        raise NotImplementedError

    def hold_out(self, train: Any) -> tuple[Any, Any]:
        """Divide a training file into (train, dev)."""
        raise NotImplementedError

    def load(self, config: Any = None) -> Splits[Any]:
        if self.train is None:
            return self.load_own()
        train = self.read(self.train)
        if self.test is None:
            return self.split(train)
        train, dev = self.hold_out(train) if self.dev is None else (train, self.read(self.dev))
        return self.splits(train, dev, self.read(self.test))

    def load_test(self, config: Any = None) -> Any:
        return self.load().test if self.test is None else self.read(self.test)

    def absolute(self) -> Self:
        paths = {name: path and str(Path(path).absolute()) for name, path in dataclasses.asdict(self).items()}
        return dataclasses.replace(self, **paths)

    def name(self, part: str) -> str:
        return getattr(self, part) or self.train or self.own_data


# ---------------------------------------------------------------------------------------------- the model
class Predictor(Protocol):
    """A model with what stands between it and the data, such as a vocabulary: trained, scored and asked."""

    config: Any  # a TaskConfig, with the sizes that the data decide filled in
    model: Module
    tokens: Callable[[Any], int] | None  # of a batch: what the speed of training is counted in; None: nothing is

    def batches(self, train: Any) -> Batches:
        """The batches of these data to train on."""

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The loss of a batch, which training minimizes; model: `self.model`, or a copy of it in another thread."""

    def meta(self) -> dict[str, Any]:
        """JSON values that `Task.restored` needs beside the configuration, such as the symbols of a vocabulary."""

    def check(self, data: Any, name: str) -> None:
        """Raise DataError where the model cannot take these data, which are called `name`."""


@dataclass(frozen=True)
class Evaluation:
    """The score of a model on some data.

    metrics: the value of each of the task's metrics, and "loss"; count: of the examples; details: more JSON values
    for the report; predictions: for the figures.
    """

    metrics: Mapping[str, float]
    count: int
    details: Mapping[str, Any] = field(default_factory=dict)
    predictions: Any = None


class Output(Protocol):
    """The place where predictions are shown."""

    def line(self, text: str) -> None:
        """Show a line."""

    def show(self, drawing: Any) -> None:
        """Show something that rich can draw, no wider than the terminal."""

    def write(self, text: str) -> None:
        """Show text at once, without a line break behind it."""

    def note(self, text: str) -> None:
        """Remark on something, apart from the predictions."""

    def progress(self) -> Progress:
        """Return what tells how far a long prediction is, where somebody watches."""


# ---------------------------------------------------------------------------------------------- the task
class Task:
    """A task, from data to figures; a subclass without state of its own, of which the registry has one."""

    name: str
    help: str
    """A sentence, such as "learn to pronounce English words"."""
    source: type[Source]
    items: str
    """The examples that are counted, such as "words"."""
    least = 1
    """The fewest examples that a part of the data may have."""
    metrics: Sequence[Metric]
    """Beside the loss; the first chooses the best model."""
    validation: Mapping[str, Any] = {}
    """Options of `evaluate` on the development data while training, such as a smaller beam."""
    command = "predict"
    """The command of `predict`."""

    # ------------------------------------------------------------------------------------------ settings
    @property
    def models(self) -> Mapping[str, TaskConfig]:
        """The default settings of a run for each network by name; the first network is the default."""
        raise NotImplementedError

    @property
    def shown_models(self) -> Sequence[str]:
        """The networks that the help names."""
        return list(self.models)

    def default(self, model: str | None = None, source: Any = None) -> Any:
        """The default settings of a run with this network and these data.

        Raises ConfigError for a network that does not exist.
        """
        name = next(iter(self.models)) if model is None else model
        if name not in self.models:
            raise unknown("model", name, self.models)
        return self.models[name]

    def configure(self, settings: Sequence[str] = (), model: str | None = None, source: Any = None) -> Any:
        """The default settings changed by those of the form "key=value", "model=NAME" among them.

        Raises ConfigError where two networks are named, and for settings that do not exist or do not fit.
        """
        named = [setting.partition("=")[2] for setting in settings if setting.startswith("model=")]
        if model is not None and any(name != model for name in named):
            raise ConfigError(f"the model is given twice, as {model!r} and by model={named[-1]}; hint: give it once")
        config = self.default(named[-1] if named else model, source)
        return with_settings(config, [setting for setting in settings if not setting.startswith("model=")])

    # ------------------------------------------------------------------------------------------ model and score
    def build(self, config: Any, splits: Any) -> Predictor:
        """Return an untrained model for these data.  Raises ConfigError where it cannot take them."""
        raise NotImplementedError

    def restored(self, config: Any, meta: Mapping[str, Any]) -> Predictor:
        """Return an untrained model by its configuration and its `Predictor.meta`.

        Raises KeyError or a MinattnError where the latter is damaged, as `as_kind` does.
        """
        raise NotImplementedError

    def evaluate(self, predictor: Any, data: Any, on_progress: OnProgress = ignore_progress) -> Evaluation:
        """Score a model.  Keyword arguments of an implementation become options of `minattn evaluate`."""
        raise NotImplementedError

    def read(self, predictor: Any, path: str) -> Any:
        """Read other data to score a model on."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------ results
    def describe(self, splits: Any) -> str:
        """Return what the notes say of the data beside their numbers."""
        return ""

    def on_evaluation(
        self, predictor: Any, metrics: Mapping[str, float], step: int, folder: Path, progress: Progress
    ) -> None:
        """Do more at each evaluation while training, such as write a sample."""

    def report(self, predictor: Any, splits: Any) -> dict[str, Any]:
        """More for the report of a finished run."""
        return {}

    def figures(self, predictor: Any, test: Any, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """Draw into a run's folder; returns the names of the files worth looking at."""
        return ()

    def summary(self, test: Mapping[str, Any]) -> str:
        """A line of the score, from what the report holds of the test data."""
        values = ", ".join(metric.formatted(test[metric.name]) for metric in self.metrics)
        return f"{values} over {test[self.items]:,} {self.items}"

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        """More lines below the score, by their headings."""
        return {}

    # ------------------------------------------------------------------------------------------ predictions
    def predict(self, predictor: Any, output: Output) -> None:
        """Show what a model makes of inputs.

        The further positional parameters of an implementation become arguments of the command, the keyword-only ones
        options; each says what it is in its annotation.
        """
        raise NotImplementedError

    def example(self, source: Any) -> str:
        """Arguments of `predict` that are worth trying, as they are typed."""
        return ""
