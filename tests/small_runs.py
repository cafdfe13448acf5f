"""A run of every task that takes a second, for what holds for all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import small_captions
import small_facts
import small_g2p
import small_images
import small_language
import small_pixels
import small_poses
import small_qa
import small_toy
import small_translation

from minattn.tasks.captions.source import CaptionSource
from minattn.tasks.captions.task import Captions
from minattn.tasks.facts.task import FactAnswering, FactSource
from minattn.tasks.g2p.task import G2P, LexiconFiles
from minattn.tasks.images.source import ImageSource
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.lm.task import LanguageModeling, TextFiles
from minattn.tasks.pixels.task import PixelGeneration
from minattn.tasks.pose.source import PoseSource
from minattn.tasks.pose.task import Pose
from minattn.tasks.qa.task import BabiSource, QuestionAnswering
from minattn.tasks.task import Source, Task
from minattn.tasks.translate.source import ParallelSource
from minattn.tasks.translate.task import Translation


class SmallRun(NamedTuple):
    """A task with settings, and what makes its data in a folder."""

    task: Task
    settings: tuple[str, ...]
    write: Callable[[Path], Source]


SMALL_RUNS = {
    "g2p": SmallRun(
        G2P(),
        (*small_g2p.SMALL_TRANSFORMER, "epochs=3", "dropout=0.1", "threads=2"),
        lambda folder: LexiconFiles(**small_g2p.write_words(folder)),
    ),
    "lm": SmallRun(
        LanguageModeling(),
        (*small_language.SMALL, "steps=12", "dropout=0.1"),
        lambda folder: TextFiles(small_language.write_text(folder)),
    ),
    "images": SmallRun(
        ImageClassification(),
        (*small_images.SMALL, "threads=2"),
        lambda folder: ImageSource(small_images.write_images(folder)),
    ),
    "pose": SmallRun(
        Pose(),
        (*small_poses.SMALL, "threads=2"),
        lambda folder: PoseSource(small_poses.write_people(folder)),
    ),
    "pixels": SmallRun(
        PixelGeneration(),
        (*small_pixels.SMALL, "dropout=0.1", "threads=2"),
        lambda folder: ImageSource(small_pixels.write_pixels(folder)),
    ),
    "translate": SmallRun(
        Translation(),
        (*small_translation.SMALL, "epochs=3", "dropout=0.1"),
        lambda folder: ParallelSource(**small_translation.write_pairs(folder)),
    ),
    "qa": SmallRun(
        QuestionAnswering(),
        (*small_qa.SMALL, "threads=2"),
        lambda folder: BabiSource(small_qa.write_stories(folder)),
    ),
    "facts": SmallRun(
        FactAnswering(),
        (*small_facts.SMALL, "threads=2"),
        lambda folder: FactSource(small_facts.write_facts(folder)),
    ),
    "captions": SmallRun(
        Captions(),
        (*small_captions.SMALL, "model=hard", "dropout=0.1", "threads=2"),
        lambda folder: CaptionSource(small_captions.write_pictures(folder)),
    ),
    "toy": SmallRun(
        small_toy.Toy(), small_toy.SMALL, lambda folder: small_toy.PointsFile(small_toy.write_points(folder))
    ),
}
"""By the task's name."""
