"""Every task by name."""

from minattn.tasks.captions.task import Captions
from minattn.tasks.config import unknown
from minattn.tasks.facts.task import FactAnswering
from minattn.tasks.g2p.task import G2P
from minattn.tasks.images.task import ImageClassification
from minattn.tasks.lm.task import LanguageModeling
from minattn.tasks.pixels.task import PixelGeneration
from minattn.tasks.pose.task import Pose
from minattn.tasks.qa.task import QuestionAnswering
from minattn.tasks.task import Task
from minattn.tasks.translate.task import Translation

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        G2P(),
        LanguageModeling(),
        ImageClassification(),
        Translation(),
        QuestionAnswering(),
        FactAnswering(),
        Pose(),
        PixelGeneration(),
        Captions(),
    )
}
"""A further task is a further entry."""


def task_named(name: str) -> Task:
    """The task of this name.  Raises ConfigError, naming the nearest, where there is none."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]
