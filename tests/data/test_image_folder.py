"""Images in folders, a folder for each class, and whatever can be wrong with them."""

import re
import sys

import numpy as np
import pytest

from minattn.data.image_folder import load_image_folder, read_image, read_image_folder
from minattn.errors import DataError, MissingDependencyError

Image = pytest.importorskip("PIL.Image")


def save(path, shape=(4, 5), seed=0, mode=None):
    """A random image of (height, width) or (height, width, channels); its pixels."""
    pixels = np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Ten grey images of each of two classes."""
    for number, name in enumerate(("cat", "dog")):
        for i in range(10):
            save(tmp_path / "animals" / name / f"{i}.png", seed=10 * number + i)
    return tmp_path / "animals"


# ---------------------------------------------------------------------------------------------- one image
def test_grey_and_rgb_images_are_read_as_they_are(tmp_path):
    grey, rgb = save(tmp_path / "grey.png"), save(tmp_path / "rgb.png", (4, 5, 3))
    assert (read_image(tmp_path / "grey.png") == grey[None]).all()
    assert (read_image(tmp_path / "rgb.png") == rgb.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_images_are_converted_where_that_is_asked_for(tmp_path, mode):
    save(tmp_path / "a.png", (4, 5, 3), mode=mode)
    assert read_image(tmp_path / "a.png", color="grey").shape == (1, 4, 5)
    assert read_image(tmp_path / "a.png", color="rgb").shape == (3, 4, 5)
    if mode in ("L", "RGB"):
        read_image(tmp_path / "a.png")
    else:
        with pytest.raises(DataError, match=rf"a.png has the mode {mode}; expected L or RGB; the cure: --set color="):
            read_image(tmp_path / "a.png")


@pytest.mark.parametrize("color", ["keep", "grey", "rgb"])
def test_deep_images_are_refused_and_not_cut_off(tmp_path, color):
    Image.fromarray(np.full((4, 5), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep.png has the mode I.*more than 8 bits; the cure"):
        read_image(tmp_path / "deep.png", color=color)


def test_an_image_is_scaled_to_cover_its_new_size(tmp_path):
    pixels = np.zeros((10, 20), np.uint8)
    pixels[:, 5:15] = 200  # the middle square, which is kept
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", (10, 10)) == 200).all()
    assert read_image(tmp_path / "wide.png", (4, 6)).shape == (1, 4, 6)


def test_an_image_is_turned_as_the_camera_noted(tmp_path):
    pixels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png")[0] == np.rot90(pixels, -1)).all()


def test_a_truncated_image_is_named(tmp_path):
    save(tmp_path / "cut.png", (40, 50))
    content = (tmp_path / "cut.png").read_bytes()
    for length in (0, 10, 60, len(content) // 2, len(content) - 30):
        (tmp_path / "cut.png").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut.png cannot be read as an image: .*; the cure"):
            read_image(tmp_path / "cut.png")


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes.txt cannot be read as an image"):
        read_image(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="there is no file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder; expected an image file"):
        read_image(tmp_path)


def test_without_pillow_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[images\]'"):
        read_image(tmp_path / "a.png")


# ---------------------------------------------------------------------------------------------- folders
def test_subfolders_are_classes_and_what_lies_in_them_their_images(folder):
    (folder / ".cache").mkdir()
    (folder / "cat" / ".hidden").touch()
    images, classes = read_image_folder(folder)
    assert classes == ("cat", "dog")
    assert images.labels.tolist() == [0] * 10 + [1] * 10
    for place, (name, number) in {3: ("cat", 3), 14: ("dog", 4)}.items():
        assert (images.pixels[place] == read_image(folder / name / f"{number}.png")).all()


def test_a_folder_is_divided_class_by_class(folder):
    splits = load_image_folder(folder)
    counts = [np.bincount(part.labels).tolist() for part in (splits.train, splits.dev, splits.test)]
    assert counts == [[7, 7], [1, 1], [2, 2]]
    pixels = np.concatenate([part.pixels for part in (splits.train, splits.dev, splits.test)])
    assert len(np.unique(pixels.reshape(20, -1), axis=0)) == 20


@pytest.mark.parametrize("with_dev", [False, True])
def test_parts_of_their_own_are_taken(folder, tmp_path, with_dev):
    parts = tmp_path / "parts"
    parts.mkdir()
    (folder).rename(parts / "train")
    save(parts / "test" / "dog" / "a.png", seed=77)
    if with_dev:
        save(parts / "dev" / "cat" / "b.png", seed=78)
    splits = load_image_folder(parts)
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == ([20, 1, 1] if with_dev else [18, 2, 1])
    assert splits.test.labels.tolist() == [1]  # the number that dog has among the classes of train


def test_a_class_that_is_not_among_those_to_train_on(folder, tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    folder.rename(parts / "train")
    save(parts / "test" / "fox" / "a.png")
    with pytest.raises(DataError, match=r"test/fox is the folder of no class; expected cat, dog"):
        load_image_folder(parts)


@pytest.mark.parametrize(
    ("shape", "says"),
    [((5, 5), "5 x 5, grey, the first image 5 x 4, grey"), ((4, 5, 3), "5 x 4, RGB, the first image 5 x 4, grey")],
)
def test_an_image_of_another_shape_is_named(folder, shape, says):
    save(folder / "dog" / "x.png", shape)
    with pytest.raises(DataError, match=rf"dog/x.png is {says}; the cure: .*--set size="):
        read_image_folder(folder)
    images, _ = read_image_folder(folder, size=3, color="grey")
    assert images.pixels.shape == (21, 1, 3, 3)


def test_folders_that_cannot_be_used(folder, tmp_path):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"the class folder .*empty has no images; the cure"):
        read_image_folder(folder)
    with pytest.raises(DataError, match="cat has no subfolders; expected one for each class"):
        read_image_folder(folder / "cat")
    with pytest.raises(DataError, match="there is no folder"):
        read_image_folder(tmp_path / "none")
    with pytest.raises(DataError, match=re.escape("0.png is a file; expected a folder")):
        read_image_folder(folder / "cat" / "0.png")
