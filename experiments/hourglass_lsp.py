"""A stacked hourglass on few photographs: a folder of Leeds Sports Pose Extended.

    python experiments/hourglass_lsp.py --data FOLDER        (FOLDER has images/im00001.jpg .. and joints.mat)

S. Johnson and M. Everingham, "Learning effective human pose estimation from inaccurate annotation", CVPR 2011: people
at sports with 14 joints.  The last --test of the images are tested on, and 5 % of the others choose the best network.
What is trained on is turned, enlarged, mirrored and colored.  Beside PCK@0.2 of every joint stands that of a guess: the
mean position of the joint in the training images.

The labels are written as train.json, dev.json and test.json in COCO's keypoint format, from which minattn train pose
reads them; the images stay where they are.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from shared import markdown_table, run, trained

from minattn.data.pose.coco import load_pose_folder
from minattn.data.pose.dataset import Poses
from minattn.errors import DataError, MissingDependencyError
from minattn.tasks.files import read_json, write_json, write_text
from minattn.tasks.pose.source import PoseSource
from minattn.tasks.pose.task import Pose
from minattn.tasks.run_folder import REPORT, check_writable
from minattn.training.pose_metrics import PCK, correct_keypoints, distances

JOINTS = [
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "neck",
    "head_top",
]
LIMBS = [
    (1, 2),
    (2, 3),
    (4, 5),
    (5, 6),
    (7, 8),
    (8, 9),
    (10, 11),
    (11, 12),
    (9, 13),
    (10, 13),
    (13, 14),
    (3, 9),
    (4, 10),
]
MARGIN = 1.2  # of the box, in sides of the one around the joints

DEV_SHARE = 0.05


def main() -> None:
    """Write the labels, train, and tabulate the joints that are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="the folder with images/ and joints.mat"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/lsp"), help="folder for the labels, the run and the table"
    )
    parser.add_argument("--test", type=int, default=100, metavar="N", help="test on the last N images")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    check_writable(arguments.out)
    labels = arguments.out / "labels"
    write_labels(arguments.data, labels, arguments.test)
    task, source = Pose(), PoseSource(str(labels))
    config = task.configure([f"epochs={arguments.epochs}", f"seed={arguments.seed}"], source=source)
    trained(task, config, source, arguments.out / "run")
    report = read_json(arguments.out / "run" / REPORT)
    guess = guessed(labels, config.network.size)
    text = f"{task.summary(report['test'])}\n\n{table(report['test'], guess)}"
    write_text(arguments.out / "lsp.md", text)
    print(f"\n{text}")


# ---------------------------------------------------------------------------------------------- the labels
def write_labels(data: Path, folder: Path, test: int) -> None:
    """Write train.json, dev.json and test.json."""
    joints = read_joints(data / "joints.mat")
    files = sorted((data / "images").glob("*.jpg"))
    if len(files) != len(joints) or not 0 < test < len(files) - 1:
        raise DataError(
            f"{data} has {len(files)} images and {len(joints)} bodies in joints.mat, {test} of them to test on; "
            "hint: as many of both, and fewer to test on"
        )
    first_test = len(files) - test
    first_dev = first_test - max(1, round(DEV_SHARE * first_test))
    for part, rows in {
        "train": range(first_dev),
        "dev": range(first_dev, first_test),
        "test": range(first_test, len(files)),
    }.items():
        write_json(folder / f"{part}.json", as_coco([files[i].absolute() for i in rows], joints[rows]))


def read_joints(path: Path) -> np.ndarray:
    """(bodies, 14, 3): x, y, and whether the joint has a label.  Raises DataError where the file is no such one."""
    try:
        from scipy.io import loadmat  # scikit-learn has it
    except ImportError as error:
        raise MissingDependencyError("joints.mat needs scipy, which is not installed: pip install scipy") from error
    try:
        joints = np.asarray(loadmat(path)["joints"], np.float64)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} has no joints: {error}; hint: the file of Leeds Sports Pose Extended") from error
    if joints.ndim != 3 or joints.shape[:2] != (len(JOINTS), 3):
        raise DataError(f"{path} has joints of shape {joints.shape}; hint: (14, 3, images), as the extended set has")
    return joints.transpose(2, 0, 1)


def as_coco(files: list[Path], joints: np.ndarray) -> dict[str, Any]:
    """The labels of images in COCO's format: a joint not marked as visible has none, its position is a guess."""
    annotations = []
    for number, body in enumerate(joints):
        labeled = body[:, 2] > 0
        positions = body[labeled, :2]
        middle, sides = (
            (positions.max(0) + positions.min(0)) / 2,
            np.maximum(MARGIN * (positions.max(0) - positions.min(0)), 1),
        )
        keypoints = np.where(labeled[:, None], np.column_stack([body[:, :2], np.full(len(body), 2)]), 0)
        box = [*(middle - sides / 2).tolist(), *sides.tolist()]
        found = {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "bbox": box,
            "keypoints": keypoints.ravel().tolist(),
        }
        annotations.append(found)
    return {
        "images": [{"id": number, "file_name": str(file)} for number, file in enumerate(files)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": JOINTS, "skeleton": LIMBS}],
    }


# ---------------------------------------------------------------------------------------------- what comes out
def guessed(labels: Path, size: int) -> dict[str, float]:
    """PCK of the mean positions of the training images, by joint, and their mean."""
    splits = load_pose_folder(labels, size)
    positions = np.nanmean(np.where(splits.train.inside[..., None], splits.train.positions, np.nan), 0)
    test: Poses = splits.test
    found = correct_keypoints(
        distances(np.broadcast_to(positions, test.positions.shape), test.positions), test.inside, test.torso, PCK
    )
    return dict(zip(splits.skeleton.joints, found.each.tolist(), strict=True)) | {"mean": found.mean}


def table(test: dict[str, Any], guess: dict[str, float]) -> str:
    """A line a joint: what the network finds, and the guess."""
    found = test["joints"] | {"mean": test["pck"]}
    lines = [[name.replace("_", " "), f"{found[name]:.1f}", f"{guess[name]:.1f}"] for name in (*JOINTS, "mean")]
    return markdown_table(["PCK@0.2, %", "network", "mean position"], lines)


if __name__ == "__main__":
    run(main)
