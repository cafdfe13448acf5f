"""A run of captions that takes a second: a few images of squares, and a file that says where each is."""

from pathlib import Path

import numpy as np

SMALL = ("epochs=3", "batch_size=8", "size=24", "color=gray", "hidden=8", "embedding=4", "lr=0.01", "beam=2")
COUNT = 24  # images, every third with two captions: 21 to train on, 1 for dev, 2 to test on
CORNERS = ("upper left", "upper right", "lower left", "lower right")


def pictures() -> tuple[dict[str, np.ndarray], list[str]]:
    """(gray images (32, 32) by name, the lines of their captions): a square in one of the corners."""
    rng = np.random.default_rng(0)
    images, lines = {}, []
    for number in range(COUNT):
        corner = int(rng.integers(4))
        image = rng.integers(0, 60, (32, 32), np.uint8)
        row, column = divmod(corner, 2)
        image[16 * row + 3 : 16 * row + 12, 16 * column + 3 : 16 * column + 12] = 220
        name = f"{number:02}.png"
        images[name] = image
        lines.append(f"{name}\ta square in the {CORNERS[corner]} corner")
        if number % 3 == 0:
            lines.append(f"{name}\tA square at the {CORNERS[corner]}")
    return images, lines


def write_pictures(folder: Path) -> str:
    """Such images and their captions in a folder `pictures` of `folder`: its path."""
    from PIL import Image

    images, lines = pictures()
    place = folder / "pictures"
    place.mkdir(parents=True)
    for name, image in images.items():
        Image.fromarray(image).save(place / name)
    (place / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(place)


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on what `write_pictures` wrote there."""
    return [
        "train",
        "captions",
        "--out",
        str(folder),
        "--data",
        "pictures",
        *(f"--set={s}" for s in (*SMALL, *settings)),
    ]
