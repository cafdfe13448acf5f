"""The bodies of a run: figures that are drawn, or photographs in a folder."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from minattn.data.pose.coco import load_pose_folder
from minattn.data.pose.dataset import PoseSplits
from minattn.data.pose.figures import load_figures
from minattn.data.pose.motion import clips_folder
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks.pose.settings import PoseConfig
from minattn.tasks.task import Source

DRAWN = ("clips", "ranges")


@dataclass(frozen=True)
class PoseSource(Source):
    """Figures in postures of recorded clips or from ranges of angles (None: clips where they are), or a folder."""

    data: Annotated[
        str | None,
        "the data: figures drawn in motions of recorded clips or from ranges of the joints' angles, or a folder of "
        "images with a JSON file in COCO's keypoint format  [default: clips, where pybullet is installed, else ranges]",
        "clips|ranges|FOLDER",
    ] = None

    hint_if_changed: ClassVar[str] = "put the old data back"
    hint_if_few: ClassVar[str] = "more images"

    def __post_init__(self) -> None:
        if self.data is not None and not self.data:
            raise ConfigError("the data have an empty name; expected clips, ranges or a folder; hint: name one of them")

    @property
    def known_as(self) -> str:
        """ "clips", "ranges", or the folder."""
        return self.data or ("ranges" if clips_folder() is None else "clips")

    @property
    def drawn(self) -> bool:
        """True for figures, False for a folder."""
        return self.known_as in DRAWN

    def absolute(self) -> Self:
        return replace(self, data=self.known_as if self.drawn else str(Path(self.known_as).absolute()))

    def name(self, part: str) -> str:
        return f"figures from {self.known_as}" if self.drawn else self.known_as

    def check_run_folder(self, folder: Path) -> None:
        """Raise CheckpointError where the run would lie among its images."""
        if not self.drawn and folder.resolve().is_relative_to(Path(self.known_as).resolve()):
            raise CheckpointError(
                f"{folder} is inside the folder of the images, {self.known_as}; hint: another folder by --out"
            )

    def load(self, config: PoseConfig) -> PoseSplits:
        """Return the bodies, of the size that the network takes.  Raises DataError for a folder that cannot be used."""
        if self.drawn:
            return load_figures(self.known_as, size=config.network.size)
        near = difflib.get_close_matches(Path(self.known_as).name, DRAWN, n=1, cutoff=0.7)
        if near and not Path(self.known_as).exists():
            raise DataError(f"there is no folder {self.known_as}; expected clips, ranges or a folder; hint: {near[0]}")
        return load_pose_folder(self.known_as, config.network.size)
