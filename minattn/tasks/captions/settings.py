"""The settings of a run that describes images.

The defaults are for drawn scenes, which take two to three minutes on one core; `PHOTOGRAPHS` changes them for a folder
of images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from minattn.data.images.folder import Color
from minattn.models.captions.show_attend_tell import CONFIGURATIONS, ShowAttendTellConfig
from minattn.nn import Parameter
from minattn.tasks.config import TaskConfig
from minattn.tasks.fields import BeamWidth, Bound, Count, NonNegativeFloat, Positive
from minattn.training import Adam, Cosine, LinearWarmup, Optimizer, Plan, Schedule

Share = Annotated[float, Bound("in [0, 1]", lambda x: 0 <= x <= 1)]


@dataclass(frozen=True, kw_only=True)
class CaptionConfig(TaskConfig):
    """The settings of a run of captions."""

    network: ShowAttendTellConfig
    encoder: Annotated[
        str,
        "the network whose maps are attended to: small, one that minattn summary lists, or the folder of a run of "
        "minattn train images, which stays as it is",
    ] = "small"
    size: Annotated[Count, "side in pixels that a folder's images are scaled to"] = 64
    color: Annotated[Color, "colors of a folder's images: as they are, all gray, or all RGB"] = "keep"
    vocabulary: Annotated[Count, "the most words"] = 10_000
    batch_size: Annotated[Count, "captions in a batch"] = 32
    epochs: Annotated[Count, "passes over the captions to train on"] = 8
    lr: Annotated[Positive, "the highest learning rate; from there it falls along a cosine to lr / 50"] = 3e-3
    warmup: Annotated[Count, "steps in which the learning rate rises, at most a tenth of all"] = 100
    max_norm: Annotated[Positive, "the norm that the gradient is clipped to"] = 5.0
    doubly_stochastic: Annotated[
        NonNegativeFloat, "lambda: weight of the penalty on locations looked at too little"
    ] = 0.0
    sampled: Annotated[Share, "hard attention: the share of captions whose locations are drawn"] = 0.5
    sampled_per_batch: Annotated[bool, "whether they are is decided once for a batch, as the authors' code does"] = (
        False
    )
    reward_weight: Annotated[NonNegativeFloat, "lambda_r: weight of the reward of sampled locations"] = 0.1
    reward_per_word: Annotated[bool, "the reward is a mean over the words, as in the authors' code, not a sum"] = True
    entropy_weight: Annotated[NonNegativeFloat, "lambda_e: weight of the entropy of hard attention"] = 0.002
    beam: Annotated[BeamWidth, "beam width for the test data; development data are decoded greedily"] = 4
    longest: Annotated[Count, "the most words of a caption that is written"] = 40

    from_data: ClassVar[tuple[str, ...]] = ("vocab_size", "annotation")

    @property
    def attends(self) -> bool:
        """True where there is attention to look at."""
        return self.network.attention != "none"

    def plan(self) -> Plan:
        return Plan(epochs=self.epochs, max_norm=self.max_norm)

    def optimizer(self, parameters: Mapping[str, Parameter]) -> Optimizer:
        return Adam(parameters, self.lr)

    def schedule(self, steps: int) -> Schedule:
        return LinearWarmup(Cosine(self.lr, steps, self.lr / 50), min(self.warmup, max(1, steps // 10)))


SMALL = ShowAttendTellConfig(embedding=64, hidden=128, attention_layers=1, init_layers=1, dropout=0.0, init="glorot")

COCO = {"batch_size": 64, "lr": 2e-4, "doubly_stochastic": 1.0, "encoder": "vgg19"}
AUTHORS_RULE = {"reward_weight": 64 / 10, "entropy_weight": 64 * 0.002, "sampled_per_batch": True}
"""What 1/10 and 0.002 are of batches of 64, as `visual_hard.py` says."""

MODELS = {
    "soft": CaptionConfig(model="soft", network=SMALL),
    "hard": CaptionConfig(model="hard", network=ShowAttendTellConfig(**{**vars(SMALL), "attention": "hard"})),
    "none": CaptionConfig(model="none", network=ShowAttendTellConfig(**{**vars(SMALL), "attention": "none"})),
    "coco_soft": CaptionConfig(model="coco_soft", network=CONFIGURATIONS["coco_soft"], **COCO),
    "coco_hard": CaptionConfig(model="coco_hard", network=CONFIGURATIONS["coco_hard"], **COCO, **AUTHORS_RULE),
}
"""The default settings of a run, by network.  The published ones look at maps of 14x14 of a VGG-19 that was trained on
ImageNet; here it starts untrained and is trained too, unless `encoder` is a run of `minattn train images`."""

PHOTOGRAPHS: dict[str, Any] = {"color": "rgb", "epochs": 20}
"""The changes for a folder of images."""
