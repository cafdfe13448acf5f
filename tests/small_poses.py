"""A run on bodies that takes a second: a few drawn people in images of several sizes, with labels in COCO's format."""

import json
from pathlib import Path

import numpy as np

from minattn.data.pose.figures import SKELETON, figures
from minattn.data.pose.motion import from_ranges

SMALL = ("epochs=3", "batch_size=8", "features=8", "order=1", "size=16", "lr=0.01")
COUNT = 30  # bodies, two in each image: 9 images to train on, 1 or 2 for dev, 3 to test on


def category() -> dict:
    """The joints of drawn people, as a COCO category."""
    limbs = [[a + 1, b + 1] for a, b in SKELETON.limbs]
    return {"id": 1, "name": "person", "keypoints": list(SKELETON.joints), "skeleton": limbs}


def people() -> tuple[list[np.ndarray], dict]:
    """(images (height, width, 3), the content of their JSON file): two people side by side in each."""
    rng = np.random.default_rng(0)
    poses = figures(from_ranges(COUNT, rng), 24, rng)
    images, content = [], {"images": [], "annotations": [], "categories": [category()]}
    for number in range(COUNT // 2):
        height, width = 24 + number % 3, 50 + number % 4
        picture = np.zeros((height, width, 3), np.uint8)
        content["images"].append({"id": number, "file_name": f"{number:02}.png", "height": height, "width": width})
        for side in range(2):
            body, left = 2 * number + side, 26 * side
            picture[:24, left : left + 24] = poses.pixels[body].transpose(1, 2, 0)
            keypoints = np.column_stack([poses.positions[body] + (left, 0), poses.visibility[body]]).round(2)
            keypoints[(body + 3) % 16] = 0  # one without a label
            content["annotations"].append(
                {
                    "id": body,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [left, 0, 24, 24],
                    "keypoints": keypoints.ravel().tolist(),
                }
            )
        images.append(picture)
    return images, content


def write_people(folder: Path) -> str:
    """Such images and their labels in a folder `people` of `folder`: its path."""
    from PIL import Image

    images, content = people()
    place = folder / "people"
    place.mkdir(parents=True)
    for image, picture in zip(content["images"], images, strict=True):
        Image.fromarray(picture).save(place / image["file_name"])
    (place / "people.json").write_text(json.dumps(content), encoding="utf-8")
    return str(place)


def train_arguments(folder: Path | str, *settings: str) -> list[str]:
    """What to give `minattn` to train such a run in `folder`, on the people that `write_people` wrote there."""
    return ["train", "pose", "--out", str(folder), "--data", "people", *(f"--set={s}" for s in (*SMALL, *settings))]
