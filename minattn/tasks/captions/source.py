"""The images of a run: scenes that are drawn, or a folder."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from minattn.data.captions.dataset import CaptionSplits
from minattn.data.captions.folder import load_captioned
from minattn.data.captions.scenes import load_scenes, of_clothes
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks.captions.settings import CaptionConfig
from minattn.tasks.task import Source

SCENES = "scenes"


@dataclass(frozen=True)
class CaptionSource(Source):
    """Scenes that are drawn (None), or a folder of images with a file of their captions, or that file."""

    data: Annotated[
        str | None,
        "the data: scenes (drawn ones, of Fashion-MNIST's clothes where it is installed, else of digits), a folder of "
        "images with a file captions.txt of lines IMAGE<TAB>CAPTION, or that file, also Flickr8k's  [default: scenes]",
        "scenes|FOLDER|FILE",
    ] = None

    hint_if_changed: ClassVar[str] = "put the old data back"
    hint_if_few: ClassVar[str] = "more images"

    def __post_init__(self) -> None:
        if self.data is not None and not self.data:
            raise ConfigError(
                "the data have an empty name; expected scenes, a folder or a file; hint: name one of them"
            )

    @property
    def drawn(self) -> bool:
        """True for scenes."""
        return self.data in (None, SCENES)

    def absolute(self) -> Self:
        return self if self.drawn else replace(self, data=str(Path(self.data).absolute()))

    def name(self, part: str) -> str:
        return f"scenes of {'clothes' if of_clothes() else 'digits'}" if self.drawn else self.data

    def check_run_folder(self, folder: Path) -> None:
        """Raise CheckpointError where the run would lie among its images."""
        if not self.drawn and folder.resolve().is_relative_to(Path(self.data).resolve()):
            raise CheckpointError(
                f"{folder} is inside the folder of the images, {self.data}; hint: another folder by --out"
            )

    def load(self, config: CaptionConfig) -> CaptionSplits:
        """Return the images.  Raises DataError for a folder or file that cannot be used."""
        if self.drawn:
            return load_scenes()
        near = difflib.get_close_matches(Path(self.data).name, [SCENES], n=1, cutoff=0.7)
        if near and not Path(self.data).exists():
            raise DataError(f"there is no folder or file {self.data}; expected {SCENES}, or one; hint: {SCENES}")
        return load_captioned(self.data, config.size, config.color)
