"""A run on images, pixel by pixel, that takes a second: those of `small_images`, in four levels."""

from pathlib import Path

from small_images import write_images

SMALL = (
    *("layers=1", "d_model=8", "d_ff=8", "heads=2", "levels=4", "query=16", "query_height=2", "query_width=4"),
    *("epochs=3", "batch_size=20", "samples=2", "lr=0.01"),
)


def write_pixels(folder: Path) -> str:
    """Gray images of 8 x 8 in folders: the folder."""
    return write_images(folder)


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the images that `write_pixels` wrote there."""
    return ["train", "pixels", "--out", str(folder), "--data", "pictures", *(f"--set={s}" for s in (*SMALL, *settings))]
