"""The images of a run: a data set that is known by name, or a folder."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from minattn.data.images.dataset import ImageSplits
from minattn.data.images.digits import load_digits
from minattn.data.images.fashion_mnist import has_idx_files, load_fashion_mnist
from minattn.data.images.folder import load_image_folder
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.task import Source

DATA_SETS = ("digits", "fashion-mnist")

EXPECTED = f"{', '.join(DATA_SETS)} or a folder"


@dataclass(frozen=True)
class ImageSource(Source):
    """A data set by name (None: digits), a folder with a subfolder for each class, or one of Fashion-MNIST's files."""

    data: Annotated[
        str | None,
        "the data: digits, fashion-mnist, or a folder with a subfolder of images for each class  [default: digits]",
        "NAME|FOLDER",
    ] = None

    hint_if_changed: ClassVar[str] = "put the old images back"
    hint_if_few: ClassVar[str] = "more images of each class"

    def __post_init__(self) -> None:
        if self.data is not None and not self.data:
            raise ConfigError(f"the data have an empty name; expected {EXPECTED}; hint: name one of them")

    @property
    def named(self) -> bool:
        """True for a data set that is known by name."""
        return self.data in (None, *DATA_SETS)

    @property
    def known_as(self) -> str:
        """The name of the data set, or the folder."""
        if self.data and not self.named and has_fashion_files(self.data):
            return "fashion-mnist"
        return self.data or DATA_SETS[0]

    def absolute(self) -> Self:
        return self if self.named else replace(self, data=str(Path(self.data).absolute()))

    def name(self, part: str) -> str:
        return self.data or DATA_SETS[0]

    def of_classes(self) -> bool:
        """True for a folder of classes.

        Raises DataError for a folder that may not be looked into, or that is none and has nearly a data set's name.
        """
        if self.known_as in DATA_SETS:
            return False
        name = Path(self.data).name.lower().replace("_", "-")
        near = difflib.get_close_matches(name, DATA_SETS, n=1, cutoff=0.7)
        if near and not Path(self.data).exists():
            raise DataError(f"there is no folder {self.data}; expected {EXPECTED}; hint: {near[0]}")
        return True

    def check_run_folder(self, folder: Path) -> None:
        """Raise CheckpointError where the run would lie among its images, and be taken for a class of them."""
        if self.of_classes() and folder.resolve().is_relative_to(Path(self.data).resolve()):
            raise CheckpointError(
                f"{folder} is inside the folder of the images, {self.data}, and would be taken for a class; "
                "hint: another folder by --out"
            )

    def load(self, config: ImageConfig) -> ImageSplits:
        """Return the images.

        Raises DataError for a folder that cannot be used, ConfigError for settings that only a folder of classes has.
        """
        if self.of_classes():
            return load_image_folder(self.data, config.size, config.color)
        if config.size or config.color != "keep":
            raise ConfigError(f"size and color are settings of a folder of images; {self.name('train')} has its own")
        return self.load_data_set()

    def load_data_set(self) -> ImageSplits:
        """Return the images of a data set that is known by name, or of a folder of its files."""
        if self.known_as == "digits":
            return load_digits()
        return load_fashion_mnist(None if self.named else self.data)


def has_fashion_files(folder: str) -> bool:
    """True for a folder with the files of Fashion-MNIST.  Raises DataError where it may not be looked into."""
    try:
        return has_idx_files(Path(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}; hint: a folder that can be read") from error
