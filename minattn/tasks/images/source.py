"""The images of a run: a data set that is known by name, or a folder."""

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Self

from minattn.data.images.cifar import SOURCE as CIFAR_SOURCE
from minattn.data.images.cifar import has_cifar10_files, load_cifar10
from minattn.data.images.dataset import ImageSplits
from minattn.data.images.digits import load_digits
from minattn.data.images.fashion_mnist import has_idx_files, load_fashion_mnist
from minattn.data.images.folder import load_image_folder
from minattn.errors import CheckpointError, ConfigError, DataError
from minattn.tasks.images.settings import ImageConfig
from minattn.tasks.task import Source

DATA_SETS = ("digits", "fashion-mnist")
"""Those that are known by name."""

CIFAR10 = "cifar10"
"""One that is known by its files."""

EXPECTED = f"{', '.join(DATA_SETS)} or a folder"


@dataclass(frozen=True)
class ImageSource(Source):
    """A data set by name (None: digits), a folder of the files of Fashion-MNIST or CIFAR-10, or one of classes."""

    data: Annotated[
        str | None,
        "the data: digits, fashion-mnist, a folder of CIFAR-10's binary files, or one with a subfolder of images for "
        "each class  [default: digits]",
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
    def data_set(self) -> str | None:
        """The data set, known by its name or by its files; None for a folder of classes.

        Raises DataError for a folder that may not be looked into.
        """
        return self.data or DATA_SETS[0] if self.named else files_of(self.data)

    def absolute(self) -> Self:
        return self if self.named else replace(self, data=str(Path(self.data).absolute()))

    def name(self, part: str) -> str:
        return self.data or DATA_SETS[0]

    def of_classes(self) -> bool:
        """True for a folder of classes.

        Raises DataError for a folder that may not be looked into, or that is none and has nearly a data set's name.
        """
        if self.data_set is not None:
            return False
        name = Path(self.data).name.lower().replace("_", "-")
        hints = difflib.get_close_matches(name, DATA_SETS, n=1, cutoff=0.7)
        if name.startswith("cifar"):
            hints = [f"the folder with the files of CIFAR-10's binary version, from {CIFAR_SOURCE}"]
        if hints and not Path(self.data).exists():
            raise DataError(f"there is no folder {self.data}; expected {EXPECTED}; hint: {hints[0]}")
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
        if self.data_set == "digits":
            return load_digits()
        if self.data_set == CIFAR10:
            return load_cifar10(self.data)
        return load_fashion_mnist(None if self.named else self.data)


def files_of(folder: str) -> str | None:
    """The data set whose files are in the folder.  Raises DataError where it may not be looked into."""
    try:
        if has_idx_files(Path(folder)):
            return DATA_SETS[1]
        return CIFAR10 if has_cifar10_files(Path(folder)) else None
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}; hint: a folder that can be read") from error
