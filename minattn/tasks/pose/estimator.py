"""A network with the joints that it predicts: trained, scored, and asked."""

from typing import Any, NamedTuple, Self

import numpy as np

from minattn.autograd import Tensor, asnumpy, no_grad, to_device
from minattn.data.pose.batches import PoseBatch, PoseBatches, evaluation_poses, in_unit
from minattn.data.pose.dataset import Poses, PoseSplits, Skeleton
from minattn.errors import ConfigError, DataError
from minattn.models.pose.heat_maps import decode_heat_maps, flip_averaged, targets
from minattn.models.pose.hourglass import REDUCTION, heat_map_loss
from minattn.tasks.pose.settings import PoseConfig
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads

EVALUATION_BATCH = 50
"""Images that are scored at a time."""


class PosePredictions(NamedTuple):
    """What every stack predicts: positions (stacks, bodies, joints, 2) in pixels of the images, and the mean loss."""

    positions: np.ndarray
    loss: float


class PoseEstimator:
    """A network with the skeleton whose joints it predicts."""

    tokens = None  # the speed of training is not logged

    def __init__(self, config: PoseConfig, skeleton: Skeleton) -> None:
        if config.network.joints != len(skeleton.joints):
            raise ConfigError(
                f"the network is for {config.network.joints} joints, and there are {len(skeleton.joints)}"
            )
        self.config, self.skeleton = config, skeleton
        self.model = config.build()

    @classmethod
    def of(cls, config: PoseConfig, splits: PoseSplits) -> Self:
        """An untrained one for the joints of these data."""
        return cls(config.fitted(len(splits.skeleton.joints)), splits.skeleton)

    @property
    def size(self) -> int:
        """The side of the images that it takes."""
        return self.config.network.size

    # ------------------------------------------------------------------------------------------ training
    def batches(self, train: Poses) -> PoseBatches:
        """Batches of bodies to train on, changed as the settings say."""
        return PoseBatches(train, self.skeleton, self.config.batch_size, self.config.seed, self.config.changes)

    def loss(self, model: Any, batch: PoseBatch) -> Tensor:
        """The loss of the heat maps against the targets; a joint without a label costs nothing."""
        return self._loss(model(on_device(model, batch.images)), batch)

    def _loss(self, maps: Tensor, batch: PoseBatch) -> Tensor:
        height, width = maps.shape[-2:]
        positions = batch.positions / REDUCTION
        wanted = targets(positions, batch.labeled, (height, width), self.config.sigma)
        goal = Tensor(to_device(wanted, maps.device))
        return heat_map_loss(maps, goal, self.config.intermediate, batch.labeled)

    # ------------------------------------------------------------------------------------------ scoring
    def check(self, poses: Poses, name: str) -> None:
        """Raise DataError where the model cannot take these bodies, called `name`, or nothing can be scored."""
        if poses.shape != (3, self.size, self.size):
            raise DataError(f"{name}: images of shape {poses.shape}; hint: {(3, self.size, self.size)}")
        if poses.visibility.shape[1] != len(self.skeleton.joints):
            raise DataError(
                f"{name}: {poses.visibility.shape[1]} joints a body, the model predicts {len(self.skeleton.joints)}; "
                f"hint: bodies with {', '.join(self.skeleton.joints)}"
            )
        if not (poses.inside & np.isfinite(poses.torso)[:, None]).any():
            raise DataError(
                f"{name}: no body has a torso, from the left shoulder to the right hip, and a joint inside its image; "
                "hint: labels on these joints"
            )

    @blas_threads()
    @no_grad()
    @np.errstate(all="ignore")
    def predict_joints(
        self, poses: Poses, on_progress: OnProgress = ignore_progress, single: bool = False
    ) -> PosePredictions:
        """The positions that every stack predicts; `on_progress` counts the bodies.

        Each image's maps are the mean with those of its mirror image, or with single=True its own.
        """
        self.model.eval()
        positions, total, done = [], 0.0, 0
        for batch in evaluation_poses(poses, EVALUATION_BATCH):
            maps = self._maps(on_device(self.model, batch.images), single)
            total += self._loss(maps, batch).item() * len(batch.images)
            positions.append([decode_heat_maps(maps[:, i]) for i in range(maps.shape[1])])
            done += len(batch.images)
            on_progress(done, len(poses))
        return PosePredictions(np.concatenate(positions, 1) * REDUCTION, total / len(poses))

    @blas_threads()
    @no_grad()
    def maps(self, pixels: np.ndarray, single: bool = False) -> np.ndarray:
        """The heat maps (images, stacks, joints, h, w) of images (images, channels, height, width) of bytes."""
        self.model.eval()
        return asnumpy(self._maps(on_device(self.model, in_unit(pixels)), single).data)

    def _maps(self, images: Tensor, single: bool) -> Tensor:
        return self.model(images) if single else flip_averaged(self.model, images, self.skeleton.mirrored)

    # ------------------------------------------------------------------------------------------ checkpoints
    def meta(self) -> dict[str, Any]:
        """The skeleton, for a checkpoint."""
        skeleton = self.skeleton
        return {
            "joints": list(skeleton.joints),
            "limbs": [list(limb) for limb in skeleton.limbs],
            "mirrored": list(skeleton.mirrored),
        }


def on_device(model: Any, images: np.ndarray) -> Tensor:
    """The images where the model's parameters are."""
    return Tensor(to_device(images, model.parameters()[0].device))
