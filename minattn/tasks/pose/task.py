"""Human pose: a stacked hourglass learns where the joints of a body are, and shows its heat maps.

The data are people that are drawn here, in motions of recorded clips or from the ranges of the joints' angles, or a
folder of photographs.  The score is PCK@0.2, the share of joints predicted within a fifth of the torso's length;
PCKh@0.5 is reported beside it where heads are labeled.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from minattn.autograd import Tensor
from minattn.data.images.folder import read_image
from minattn.data.pose.coco import Square, read_coco
from minattn.data.pose.dataset import OCCLUDED, UNLABELED, VISIBLE, Poses, PoseSplits, Skeleton
from minattn.errors import ConfigError, DataError
from minattn.models.pose.heat_maps import decode_heat_maps
from minattn.models.pose.hourglass import REDUCTION
from minattn.tasks.config import replaced
from minattn.tasks.pose.estimator import PoseEstimator, PosePredictions
from minattn.tasks.pose.settings import MODELS, PHOTOGRAPHS, PoseConfig
from minattn.tasks.pose.source import PoseSource
from minattn.tasks.task import Evaluation, OnProgress, Output, Task, ignore_progress
from minattn.training import Metric, as_kind
from minattn.training.pose_metrics import PCK, PCKH, correct_keypoints, distances

SKELETONS, HEAT_MAPS, STACKS = "skeletons.png", "heat_maps.png", "stacks.png"

BOX = "LEFT,TOP,WIDTH,HEIGHT"

SHOWN = 6
"""Typical bodies in the figure of skeletons, and as many of the worst."""


class Pose(Task):
    """Human pose."""

    name = "pose"
    help = "Learn to find the joints of people."
    source = PoseSource
    items = "bodies"
    models: ClassVar[dict[str, PoseConfig]] = MODELS
    shown_models = ("small_hourglass2", "small_hourglass1", "hourglass2", "hourglass8")
    validation: ClassVar[dict[str, Any]] = {"single": True}
    metrics = (Metric("pck", "joints", axis="PCK@0.2 (%)", short="PCK@0.2", unit="%", lower_is_better=False),)

    def default(self, model: str | None = None, source: PoseSource | None = None) -> PoseConfig:
        """The settings with this network, for photographs those of the paper."""
        config = super().default(model)
        return replaced(config, {} if source is None or source.drawn else PHOTOGRAPHS)

    def build(self, config: PoseConfig, splits: PoseSplits) -> PoseEstimator:
        return PoseEstimator.of(config, splits)

    def restored(self, config: PoseConfig, meta: Mapping[str, Any]) -> PoseEstimator:
        return PoseEstimator(config, as_kind(meta, Skeleton))

    def describe(self, splits: PoseSplits) -> str:
        _, height, width = splits.train.shape
        outside = sum(int(((part.visibility > 0) & ~part.inside).sum()) for part in splits)
        beyond = f"; {outside:,} joints with a label lie outside of their images and are not scored" if outside else ""
        return f"{width} x {height}, {len(splits.skeleton.joints)} joints{beyond}"

    # ------------------------------------------------------------------------------------------ the score
    def evaluate(
        self,
        predictor: PoseEstimator,
        data: Poses,
        on_progress: OnProgress = ignore_progress,
        *,
        single: Annotated[bool, "score each image alone, without its mirror image"] = False,
    ) -> Evaluation:
        """Score a run's best model on its test bodies: the joints that it finds, of every stack too."""
        predictions = predictor.predict_joints(data, on_progress, single)
        details = scores(predictions, data, predictor.skeleton.joints)
        return Evaluation(
            {"loss": predictions.loss, "pck": details["stacks"][-1]["pck"]}, len(data), details, predictions
        )

    def read(self, predictor: PoseEstimator, path: str) -> Poses:
        """Read the bodies of a JSON file beside its images, or of the test part of other data."""
        if path.endswith(".json"):
            bodies = read_coco(path, predictor.size)
            skeleton, poses = bodies.skeleton, bodies.poses
        else:
            splits = PoseSource(path).load(predictor.config)
            skeleton, poses = splits.skeleton, splits.test
        if skeleton.joints != predictor.skeleton.joints:
            raise DataError(
                f"{path} has the joints {', '.join(skeleton.joints)}; the model finds "
                f"{', '.join(predictor.skeleton.joints)}; hint: bodies with the same joints, in the same order"
            )
        return poses

    def summary(self, test: Mapping[str, Any]) -> str:
        return f"{super().summary(test)}{_more(test['stacks'])}"

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        each = {name: value for name, value in report["test"]["joints"].items() if value is not None}
        easiest, hardest = max(each, key=each.__getitem__), min(each, key=each.__getitem__)
        return {"by joint": f"best {easiest} {each[easiest]:.1f} %, worst {hardest} {each[hardest]:.1f} %"}

    # ------------------------------------------------------------------------------------------ looking at it
    def figures(self, predictor: PoseEstimator, test: Poses, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """Skeletons over test images, the heat maps of one, and what each stack predicts."""
        from minattn.viz.poses import Row, draw_joint_maps, draw_skeletons, draw_stacks
        from minattn.viz.saving import save_figure

        positions, skeleton = evaluation.predictions.positions, predictor.skeleton
        true = np.where((test.visibility > UNLABELED)[..., None], test.positions, np.nan)
        rows = [
            Row(f"{name}, {what}", test.pixels[chosen] / 255, drawn[chosen])
            for name, chosen in examples(positions[-1], test).items()
            for what, drawn in (("predicted", positions[-1]), ("true", true))
        ]
        save_figure(draw_skeletons(rows, skeleton), folder / SKELETONS)

        gained = most_gained(positions, test)
        pixels, maps = test.pixels[gained], predictor.maps(test.pixels[gained])
        last = positions[-1][gained[0]]
        save_figure(draw_joint_maps(pixels[0] / 255, maps[0, -1], last, skeleton), folder / HEAT_MAPS)
        if len(positions) == 1:
            return [SKELETONS, HEAT_MAPS]
        beside = draw_stacks(pixels / 255, positions[:, gained], maps, true[gained], test.visibility[gained], skeleton)
        save_figure(beside, folder / STACKS)
        return [SKELETONS, HEAT_MAPS, STACKS]

    def predict(
        self,
        predictor: PoseEstimator,
        output: Output,
        path: Annotated[str, "an image file with one person", "IMAGE"],
        *,
        box: Annotated[str | None, "where the person is, in pixels; without it the whole image", BOX] = None,
        plot: Annotated[Path | None, "draw the skeleton and the heat maps: FILE.png, .svg or .pdf", "FILE"] = None,
    ) -> None:
        """Find the joints of a person in an image."""
        from minattn.viz.saving import check_figure_path, save_figure

        if plot is not None:
            check_figure_path(plot)
        image = read_image(path, color="rgb")
        square = square_of(box, image.shape[2], image.shape[1])
        pixels = square.cut(image, predictor.size)
        maps = predictor.maps(pixels[None])[0, -1]
        positions = decode_heat_maps(Tensor(maps[None]))[0] * REDUCTION
        widest = max(map(len, predictor.skeleton.joints))
        for name, (x, y), height in zip(
            predictor.skeleton.joints, square.back(positions, predictor.size), maps.max((1, 2)), strict=True
        ):
            output.line(f"{name:<{widest}}  x {x:6.1f}  y {y:6.1f}  height of the map {height:.2f}")
        if plot is not None:
            from minattn.viz.poses import draw_joint_maps

            save_figure(draw_joint_maps(pixels / 255, maps, positions, predictor.skeleton), plot)
            output.line(f"skeleton and heat maps drawn into {plot}")

    def example(self, source: PoseSource) -> str:
        return "IMAGE.png --plot FILE.png"


def square_of(box: str | None, width: int, height: int) -> Square:
    """The square that is cut out: around a box "left,top,width,height", or the smallest one around the image.

    Raises ConfigError for a text that is no box.
    """
    if box is None:
        return Square.around(0, 0, width, height, times=1)
    try:
        left, top, wide, high = (float(number) for number in box.split(","))
        if not (np.isfinite([left, top]).all() and 0 < wide < np.inf and 0 < high < np.inf):
            raise ValueError
    except ValueError:
        raise ConfigError(f"--box is {BOX} in pixels, got {box[:60]!r}; hint: such as 40,20,120,200") from None
    return Square.around(left, top, wide, high)


# ---------------------------------------------------------------------------------------------- scores
def scores(predictions: PosePredictions, poses: Poses, joints: Sequence[str]) -> dict[str, Any]:
    """PCK of each joint for the last stack, and of each stack: PCK of all joints, of visible and of occluded ones,
    and PCKh where heads are known; in percent, None where there is nothing to score.  Joints outside of their images do
    not count."""
    visible, occluded = (poses.inside & (poses.visibility == kind) for kind in (VISIBLE, OCCLUDED))
    stacks = []
    for positions in predictions.positions:
        distance = distances(positions, poses.positions)
        stacks.append(
            {
                "pck": correct_keypoints(distance, poses.inside, poses.torso, PCK).mean,
                "visible": _none(correct_keypoints(distance, visible, poses.torso, PCK).mean),
                "occluded": _none(correct_keypoints(distance, occluded, poses.torso, PCK).mean),
                "pckh": _none(correct_keypoints(distance, poses.inside, poses.head, PCKH).mean),
            }
        )
    distance = distances(predictions.positions[-1], poses.positions)
    each = correct_keypoints(distance, poses.inside, poses.torso, PCK).each.tolist()
    heads = correct_keypoints(distance, poses.inside, poses.head, PCKH).each.tolist()
    return {
        "joints": dict(zip(joints, map(_none, each), strict=True)),
        "joints_pckh": dict(zip(joints, map(_none, heads), strict=True)),
        "stacks": stacks,
    }


def _none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _more(stacks: Sequence[Mapping[str, float | None]]) -> str:
    """What the summary says beside PCK."""
    last = stacks[-1]
    parts = [f"PCKh@0.5 {last['pckh']:.2f} %"] if last["pckh"] is not None else []
    parts += [f"occluded joints {last['occluded']:.2f} %"] if last["occluded"] is not None else []
    parts += [f"first stack {stacks[0]['pck']:.2f} %"] if len(stacks) > 1 else []
    return "".join(f"; {part}" for part in parts)


def examples(positions: np.ndarray, poses: Poses) -> dict[str, np.ndarray]:
    """Bodies to show: typical ones, whose joints are as far off as in the middle of all, and the worst."""
    far = _mean_distance(positions, poses)
    order = np.argsort(far, kind="stable")
    order = order[np.isfinite(far[order])]
    start = max(0, (len(order) - SHOWN) // 2)
    shown = {"typical": order[start : start + SHOWN], "the worst": order[start + SHOWN :][: -SHOWN - 1 : -1]}
    return {name: chosen for name, chosen in shown.items() if len(chosen)}


def most_gained(positions: np.ndarray, poses: Poses, count: int = 4) -> np.ndarray:
    """Bodies whose joints the last stack predicts much better than the first."""
    gain = _mean_distance(positions[0], poses) - _mean_distance(positions[-1], poses)
    return np.argsort(-np.where(np.isfinite(gain), gain, -np.inf), kind="stable")[:count]


def _mean_distance(positions: np.ndarray, poses: Poses) -> np.ndarray:
    """(bodies,): the mean distance of the joints that are scored, in torsos; NaN without any."""
    far = np.where(poses.inside, np.minimum(distances(positions, poses.positions), poses.shape[2]), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return far.sum(1) / poses.inside.sum(1) / poses.torso
