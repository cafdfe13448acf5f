"""A toy task, as small as a task can be: on which side of a line does a point lie?

It stands in tests alone and comes into the registry by one line, so it shows what a new task needs, and what not.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from minattn.autograd import no_grad, ops, tensor
from minattn.data import SeededBatches, Splits
from minattn.data.batches import cut
from minattn.errors import DataError
from minattn.nn import Linear, Module
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import AT_LEAST_ONE, Count
from minattn.tasks.task import Evaluation, Source, Task, ignore_progress
from minattn.training import Adam, Constant, Metric, Plan

SMALL = ("epochs=10", "batch_size=10", "width=4", "lr=0.1")


def write_points(folder: Path) -> str:
    """A file of 90 points in `folder`: its path."""
    points = np.random.default_rng(0).normal(size=(90, 2)).round(3)
    (folder / "points.txt").write_text("".join(f"{x} {y}\n" for x, y in points), encoding="utf-8")
    return str(folder / "points.txt")


class Points(NamedTuple):
    """Points (n, 2), of which those with x > y are on the one side."""

    xy: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        return (self.xy[:, 0] > self.xy[:, 1]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.xy)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.xy.tobytes()).hexdigest()


@dataclass(frozen=True)
class PointsFile(Source):
    points: Annotated[str, "points, two numbers a line", "FILE"] = "points.txt"

    def load(self, config: Any) -> Splits[Points]:
        try:
            xy = np.loadtxt(self.points, dtype=np.float32, ndmin=2).reshape(-1, 2)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.points} has no points: {error}; hint: another file") from error
        return Splits(*(Points(part) for part in np.split(xy, [60, 75])))

    def name(self, part: str) -> str:
        return self.points

    def absolute(self) -> "PointsFile":
        return replace(self, points=str(Path(self.points).absolute()))


@dataclass(frozen=True)
class Layers:
    width: Annotated[int, "units of the hidden layer"] = 8


@dataclass(frozen=True, kw_only=True)
class ToyConfig(TaskConfig):
    model: Annotated[str, "the network"] = "layers"
    network: Layers = Layers()
    batch_size: Annotated[Count, "points in a batch"] = 20
    lr: Annotated[float, "the learning rate"] = 0.01
    epochs: Annotated[Count, "passes over the points"] = 5

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs)

    def optimizer(self, parameters: Any) -> Adam:
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Constant:
        return Constant(self.lr)


class TwoLayers(Module):
    def __init__(self, width: int, rng: np.random.Generator) -> None:
        self.hidden, self.out = Linear(2, width, rng), Linear(width, 2, rng)

    def forward(self, xy):
        return self.out(ops.tanh(self.hidden(tensor(xy))))


class PointBatches(SeededBatches[Points]):
    def __init__(self, points: Points, batch_size: int, seed: int) -> None:
        super().__init__(len(points), batch_size, seed)
        self.points = points

    def order(self, rng: np.random.Generator) -> list[np.ndarray]:
        return cut(rng.permutation(self.examples), self.batch_size)

    def batch(self, examples: np.ndarray, rng: np.random.Generator) -> Points:
        return Points(self.points.xy[examples])


class Sides:
    tokens = None

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        self.model = TwoLayers(config.network.width, np.random.default_rng(config.seed))

    def batches(self, train: Points) -> PointBatches:
        return PointBatches(train, self.config.batch_size, self.config.seed)

    def loss(self, model: Any, batch: Points) -> Any:
        return ops.cross_entropy(model(batch.xy), batch.sides)

    def meta(self) -> dict[str, Any]:
        return {}

    def check(self, data: Points, name: str) -> None:
        if not np.isfinite(data.xy).all():
            raise DataError(f"{name}: not all points are finite")


class Toy(Task):
    name = "toy"
    help = "Learn on which side of a line points are."
    source = PointsFile
    items = "points"
    models: ClassVar[dict[str, ToyConfig]] = {"layers": ToyConfig()}
    metrics = (Metric("hits", "points", axis="right (%)", short="hits", unit="%", lower_is_better=False),)

    def build(self, config: ToyConfig, splits: Splits[Points]) -> Sides:
        return Sides(config)

    def restored(self, config: ToyConfig, meta: Mapping[str, Any]) -> Sides:
        return Sides(config)

    @no_grad()
    def evaluate(
        self,
        predictor: Sides,
        data: Points,
        on_progress=ignore_progress,
        *,
        first: Annotated[int | None, "score the first N points alone", "N", AT_LEAST_ONE] = None,
    ) -> Evaluation:
        """Score a run's best model on its test points."""
        data = Points(data.xy[:first])
        logits = predictor.model.eval()(data.xy)
        loss = ops.cross_entropy(logits, data.sides).item()
        on_progress(len(data), len(data))
        return Evaluation({"loss": loss, "hits": 100 * float((logits.data.argmax(1) == data.sides).mean())}, len(data))

    def read(self, predictor: Sides, path: str) -> Points:
        return PointsFile(path).load(predictor.config).test

    @no_grad()
    def predict(
        self,
        predictor: Sides,
        output: Any,
        point: Annotated[list[float], "x and y", "NUMBER"],
        *,
        shout: Annotated[bool, "say it aloud"] = False,
    ) -> None:
        """Tell on which side a point is."""
        side = int(predictor.model.eval()(np.array([point], np.float32)).data.argmax())
        output.line(("RIGHT" if shout else "right") if side else "left")
        output.note("a toy said so")

    def example(self, source: PointsFile) -> str:
        return "1 0"


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """Arguments of `minattn` to train such a run in `folder`, on the points that `write_points` wrote."""
    return ["train", "toy", "--out", str(folder), *(f"--set={s}" for s in (*SMALL, *settings))]
