"""A run on images that takes a second: bright, dark and striped ones in folders, for a small network to tell apart."""

from pathlib import Path

import numpy as np

CLASSES = ("bright", "dark", "striped")
SMALL = ("epochs=3", "batch_size=10", "lr=0.05", "crop=1", "label_smoothing=0.05")
EACH = 25  # images of a class, of which 18 are trained on, 2 are for dev and 5 to test on


def some_pixels(name: str, rng: np.random.Generator, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    """Noise around what the class looks like, (height, width) or (height, width, channels)."""
    stripes = np.where(np.arange(shape[1]) % 2, 220, 30).reshape(1, -1, *(1,) * (len(shape) - 2))
    middle = {"bright": 200, "dark": 50, "striped": stripes}[name]
    return np.clip(middle + rng.normal(scale=15, size=shape), 0, 255).astype(np.uint8)


def write_images(folder: Path, shape: tuple[int, ...] = (8, 8)) -> str:
    """Images by class in a folder `pictures` of `folder`: its path."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(EACH):
            Image.fromarray(some_pixels(name, rng, shape)).save(folder / "pictures" / name / f"{i:02}.png")
    return str(folder / "pictures")


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the images that `write_images` wrote there."""
    return ["train", "images", "--out", str(folder), "--data", "pictures", *(f"--set={s}" for s in (*SMALL, *settings))]
