"""Skeletons over images, and the heat maps that they were read from.

Limbs of the body's right are orange, those of its left blue, the others green.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minattn.data.pose.dataset import OCCLUDED, Skeleton, side_of
from minattn.errors import ShapeError
from minattn.viz.alignment import LABEL_GAP, PAGE_MARGIN
from minattn.viz.maps import CELL_GAP, laid_over
from minattn.viz.style import INK, LINE, MUTED, PALETTE, axes_at, styled_figure, text_width

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

LEFT, RIGHT, MIDDLE = PALETTE[0], PALETTE[1], PALETTE[2]

CELL = 1.1  # inches
NAME = LINE + LABEL_GAP


class Row(NamedTuple):
    """Skeletons over images beside one another, with a line above them.

    images: (n, 3, height, width), in 0 to 1; positions: (n, joints, 2) in pixels, NaN for a joint that is not drawn.
    """

    heading: str
    images: np.ndarray
    positions: np.ndarray


def draw_skeletons(rows: Sequence[Row], skeleton: Skeleton) -> "matplotlib.figure.Figure":
    """Draw rows of skeletons.  Raises ShapeError where images and positions do not fit."""
    for row in rows:
        _check(row.images, row.positions, skeleton)
    columns = max(len(row.images) for row in rows)
    width = 2 * PAGE_MARGIN + columns * (CELL + CELL_GAP) - CELL_GAP
    with styled_figure(width, 2 * PAGE_MARGIN + len(rows) * (NAME + CELL + CELL_GAP) - CELL_GAP) as figure:
        for i, row in enumerate(rows):
            y = PAGE_MARGIN + i * (NAME + CELL + CELL_GAP) + NAME
            _write(figure, row.heading, PAGE_MARGIN, y - LABEL_GAP, va="bottom", color=MUTED)
            for column, (image, positions) in enumerate(zip(row.images, row.positions, strict=True)):
                x = PAGE_MARGIN + column * (CELL + CELL_GAP)
                _draw_skeleton(_image(figure, x, y, image.transpose(1, 2, 0), image.shape[1:]), positions, skeleton)
    return figure


def draw_joint_maps(
    image: np.ndarray, maps: np.ndarray, positions: np.ndarray, skeleton: Skeleton, columns: int = 6
) -> "matplotlib.figure.Figure":
    """Draw the skeleton predicted for an image (3, height, width), in 0 to 1, and the heat map of every joint.

    maps: (joints, h, w); positions: (joints, 2) in pixels of the image.  Raises ShapeError where these do not fit.
    """
    _check(image[None], positions[None], skeleton)
    cells = 1 + len(maps)
    rows = -(-cells // columns)
    width = 2 * PAGE_MARGIN + min(columns, cells) * (CELL + CELL_GAP) - CELL_GAP
    shown = laid_over(np.repeat(image[None], len(maps), 0), maps)
    with styled_figure(width, 2 * PAGE_MARGIN + rows * (CELL + CELL_GAP + NAME) - CELL_GAP) as figure:
        for cell, name in enumerate(("predicted", *(name.replace("_", " ") for name in skeleton.joints))):
            row, column = divmod(cell, columns)
            x, y = PAGE_MARGIN + column * (CELL + CELL_GAP), PAGE_MARGIN + row * (CELL + CELL_GAP + NAME) + NAME
            axes = _image(figure, x, y, shown[cell - 1] if cell else image.transpose(1, 2, 0), image.shape[1:])
            if not cell:
                _draw_skeleton(axes, positions, skeleton)
            _write(figure, name, x, y - LABEL_GAP, va="bottom", color=MUTED if cell else INK)
    return figure


def draw_stacks(
    images: np.ndarray,
    positions: np.ndarray,
    maps: np.ndarray,
    truth: np.ndarray,
    visibility: np.ndarray,
    skeleton: Skeleton,
) -> "matplotlib.figure.Figure":
    """Draw what the stacks of a network predict, side by side: a row an image (n, 3, height, width), in 0 to 1.

    In each row the true skeleton, the skeletons of the stacks, and every stack's map of the joint that the last one has
    most improved on the first, with a ring around its true position.

    positions: (stacks, n, joints, 2) and truth: (n, joints, 2), in pixels of the images; maps: (n, stacks, joints, h,
    w); visibility: (n, joints), as in `Poses`.
    Raises ShapeError where these do not fit.
    """
    for each in (*positions, truth):
        _check(images, each, skeleton)
    stacks = len(positions)
    names = [f"stack {i + 1}" for i in range(stacks)]
    titles = ["true skeleton", *names, *(f"map of {name}" for name in names)]
    missed = np.linalg.norm(positions - truth, axis=-1)  # (stacks, n, joints)
    gained = np.where(visibility > 0, missed[0] - missed[-1], -np.inf).argmax(1)
    labels = [f"{skeleton.joints[j].replace('_', ' ')}" for j in gained]
    notes = ["occluded" if visibility[i, j] == OCCLUDED else "visible" for i, j in enumerate(gained)]
    right = LABEL_GAP + max(map(text_width, labels))
    width = 2 * PAGE_MARGIN + len(titles) * (CELL + CELL_GAP) + right
    with styled_figure(width, 2 * PAGE_MARGIN + NAME + len(images) * (CELL + CELL_GAP) - CELL_GAP) as figure:
        for i, image in enumerate(images):
            y = PAGE_MARGIN + NAME + i * (CELL + CELL_GAP)
            picture, j = image.transpose(1, 2, 0), gained[i]
            for column, title in enumerate(titles):
                x = PAGE_MARGIN + column * (CELL + CELL_GAP)
                stack = (column - 1) % stacks
                if column <= stacks:
                    axes = _image(figure, x, y, picture, image.shape[1:])
                    _draw_skeleton(axes, positions[stack, i] if column else truth[i], skeleton)
                else:
                    axes = _image(figure, x, y, laid_over(image[None], maps[i, stack, j][None])[0], image.shape[1:])
                _draw_ring(axes, *truth[i, j])
                if i == 0:
                    _write(figure, title, x, y - LABEL_GAP, va="bottom", color=MUTED)
            x = PAGE_MARGIN + len(titles) * (CELL + CELL_GAP) + LABEL_GAP / 2
            _write(figure, labels[i], x, y + CELL / 2 - LINE / 2, va="center")
            _write(figure, notes[i], x, y + CELL / 2 + LINE / 2, va="center", color=MUTED)
    return figure


# ---------------------------------------------------------------------------------------------- parts
def _image(
    figure: "matplotlib.figure.Figure", x: float, y: float, picture: np.ndarray, size: Sequence[int]
) -> "matplotlib.axes.Axes":
    """A picture (rows, columns, 3) in a cell, whose axes count the pixels of an image of this (height, width)."""
    height, width = size
    axes = axes_at(figure, x, y, CELL, CELL)
    axes.imshow(picture, interpolation="nearest", extent=(0, width, height, 0))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def _draw_skeleton(axes: "matplotlib.axes.Axes", positions: np.ndarray, skeleton: Skeleton) -> None:
    for limb in skeleton.limbs:
        (x, y), color = positions[list(limb)].T, side_color(*(skeleton.joints[joint] for joint in limb))
        axes.plot(x, y, color="white", linewidth=2.6, solid_capstyle="round")
        axes.plot(x, y, color=color, linewidth=1.5, solid_capstyle="round")
    colors = [side_color(name) for name in skeleton.joints]
    axes.scatter(*positions.T, c=colors, s=9, edgecolors="white", linewidths=0.5, zorder=3)


def _draw_ring(axes: "matplotlib.axes.Axes", x: float, y: float) -> None:
    for color, width in ((INK, 1.6), ("white", 0.8)):
        axes.scatter(x, y, facecolors="none", edgecolors=color, s=26, linewidths=width, zorder=4)


def side_color(*joints: str) -> str:
    """The color of a joint or a limb by the side of the body that the names tell."""
    sides = {side_of(name) for name in joints} - {None}
    return {"left": LEFT, "right": RIGHT}[sides.pop()] if len(sides) == 1 else MIDDLE


def _write(figure: "matplotlib.figure.Figure", text: str, x: float, y: float, **style: object) -> None:
    """Text at a position in inches from the top left corner of the page."""
    width, height = figure.get_size_inches()
    figure.text(x / width, 1 - y / height, text, **{"color": INK, **style})


def _check(images: np.ndarray, positions: np.ndarray, skeleton: Skeleton) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or positions.shape != (len(images), len(skeleton.joints), 2):
        raise ShapeError(
            f"images of shape {images.shape} and positions of shape {positions.shape} do not fit; expected (n, 3, "
            f"height, width) and (n, {len(skeleton.joints)}, 2); hint: an image and all joints for each body"
        )
