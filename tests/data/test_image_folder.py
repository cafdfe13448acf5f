"""Images in folders, a folder for each class, and whatever can be wrong with them."""

import os
import re
import socket
import sys

import numpy as np
import pytest

from minattn.data.images.folder import load_image_folder, read_image, read_image_folder
from minattn.errors import ConfigError, DataError, MissingDependencyError
from minattn.tasks.registry import TASKS

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
    """Ten gray images of each of two classes."""
    for number, name in enumerate(("cat", "dog")):
        for i in range(10):
            save(tmp_path / "animals" / name / f"{i}.png", seed=10 * number + i)
    return tmp_path / "animals"


# ---------------------------------------------------------------------------------------------- one image
def test_gray_and_rgb_images_are_read_as_they_are(tmp_path):
    gray, rgb = save(tmp_path / "gray.png"), save(tmp_path / "rgb.png", (4, 5, 3))
    assert (read_image(tmp_path / "gray.png") == gray[None]).all()
    assert (read_image(tmp_path / "rgb.png") == rgb.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB"])
def test_images_are_converted_where_that_is_asked_for(tmp_path, mode):
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "LAB") else "a.png")
    save(path, (4, 5, 3), mode=mode)
    assert read_image(path, color="gray").shape == (1, 4, 5)
    assert read_image(path, color="rgb").shape == (3, 4, 5)
    if mode in ("L", "RGB"):
        read_image(path)
    else:
        with pytest.raises(DataError, match=rf"{path} has the mode {mode}; expected L or RGB; hint: --set color="):
            read_image(path)


@pytest.mark.parametrize("color", ["gray", "rgb"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_laid_on_white(tmp_path, mode, color):
    """Black of which each pixel is a little more opaque than the one before."""
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.new(mode, (16, 16))
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", color=color) == 255 - alpha).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_a_color_that_is_transparent_becomes_white(tmp_path, mode):
    """A logo: black on a ground of another color, which the file says is transparent."""
    ground = 9 if mode != "RGB" else (9, 9, 9)
    image = Image.new(mode, (5, 4), ground)
    if mode == "P":
        image.putpalette(bytes([0, 0, 0, *range(27)]))
    image.paste(0 if mode != "RGB" else (0, 0, 0), (1, 1, 3, 2))
    image.save(tmp_path / "a.png", transparency=ground)
    expected = np.full((4, 5), 255)
    expected[1, 1:3] = 0
    for color in ("gray", "rgb") if mode == "P" else ("keep", "gray", "rgb"):
        assert (read_image(tmp_path / "a.png", color=color) == expected).all()


@pytest.mark.parametrize("color", ["keep", "gray", "rgb"])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_gray_images_of_16_bits_are_scaled_and_not_cut_off(tmp_path, color, suffix):
    pixels = np.array([[0, 128, 129, 40_000, 65_535]], np.uint16)
    Image.fromarray(pixels).save(tmp_path / f"deep.{suffix}")
    image = read_image(tmp_path / f"deep.{suffix}", color=color)
    assert image.shape == (3 if color == "rgb" else 1, 1, 5)
    for channel in image:
        assert channel.tolist() == [[0, 0, 1, 156, 255]]


@pytest.mark.parametrize("color", ["keep", "gray", "rgb"])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_deeper_images_are_refused_and_not_cut_off(tmp_path, color, dtype):
    Image.fromarray(np.full((4, 5), 40_000, dtype)).save(tmp_path / "deep.tiff")
    with pytest.raises(DataError, match=r"deep.tiff has the mode [IF], more than 16 bits; hint"):
        read_image(tmp_path / "deep.tiff", color=color)


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
        with pytest.raises(DataError, match=r"cut.png cannot be read as an image: .*; hint"):
            read_image(tmp_path / "cut.png")


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes.txt cannot be read as an image"):
        read_image(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="there is no file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="is a folder; expected an image file"):
        read_image(tmp_path)


@pytest.mark.parametrize("raised", [RuntimeError("Failed to decode image"), NotImplementedError("Unknown"), KeyError()])
def test_whatever_a_plugin_raises_over_a_damaged_file_is_one_error(tmp_path, monkeypatch, raised):
    def load(self):
        raise raised

    save(tmp_path / "bad.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    said = str(raised) or "KeyError"
    with pytest.raises(DataError, match=f"bad.png cannot be read as an image: {said}; hint: replace it"):
        read_image(tmp_path / "bad.png")


def test_what_cannot_be_converted_is_named(tmp_path, monkeypatch):
    def convert(*_):
        raise ValueError("no way")

    save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.Image.Image.convert", convert)
    with pytest.raises(DataError, match=r"a.png cannot be converted from the mode L to RGB: no way; hint: save it"):
        read_image(tmp_path / "a.png", color="rgb")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("pixels", [30, 15])
def test_a_decompression_bomb_is_refused_and_nothing_printed(tmp_path, monkeypatch, recwarn, pixels):
    """Pillow only warns of images of up to twice the pixels that it allows."""
    save(tmp_path / "large.png", (4, 8))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(DataError, match=r"large.png cannot be read as an image: .*exceeds limit.*; hint"):
        read_image(tmp_path / "large.png")
    assert not recwarn


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes and sockets among files here")
def test_pipes_and_sockets_are_not_waited_for(folder, monkeypatch):
    monkeypatch.chdir(folder)  # the path of a socket must be short
    os.mkfifo("cat/pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("dog/socket")
    monkeypatch.setattr("PIL.Image.open", lambda path: pytest.fail(f"{path} was opened"))
    for path in ("cat/pipe", "dog/socket"):
        with pytest.raises(DataError, match=f"{path} is a pipe, socket or device; expected an image file; hint"):
            read_image(path)


def test_links_that_point_nowhere_are_named(folder):
    for link in (folder / "cat" / "link.png", folder / "fox"):
        link.symlink_to("none")
        with pytest.raises(DataError, match=f"{link} is a link that points nowhere; hint"):
            read_image_folder(folder)
        link.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text here")
@pytest.mark.parametrize("name", [b"\xff", b"cat/\xff.png"])
def test_names_that_are_not_utf8_are_refused(folder, name):
    path = folder / os.fsdecode(name)
    if path.suffix:
        save(path)
    else:
        path.mkdir()
    with pytest.raises(DataError, match=r"the name b'.*\\xff.*' is not UTF-8; hint: rename it") as caught:
        read_image_folder(folder)
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"color": "blue"}, "the color is 'blue'; expected keep, gray or rgb; hint"),
        ({"size": (-1, 5)}, r"the size is \(-1, 5\); expected .* at least 1; hint"),
        ({"size": (3, 0)}, r"the size is \(3, 0\)"),
    ],
)
def test_settings_that_no_image_can_have(folder, settings, says):
    with pytest.raises(ConfigError, match=says):
        read_image(folder / "cat" / "0.png", **settings)
    with pytest.raises(ConfigError, match="the color is 'blue'" if "color" in settings else "the size is"):
        load_image_folder(folder, **({"size": -1} if "size" in settings else settings))


def test_without_pillow_the_cure_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[images\]'"):
        read_image(tmp_path / "a.png")


# ---------------------------------------------------------------------------------------------- folders
def test_subfolders_are_classes_and_what_lies_in_them_their_images(folder):
    (folder / ".cache").mkdir()
    for name in (".hidden", "Thumbs.db", "desktop.ini", "Desktop.ini"):
        (folder / "cat" / name).touch()
    images, classes = read_image_folder(folder)
    assert classes == ("cat", "dog")
    assert images.labels.tolist() == [0] * 10 + [1] * 10
    for place, (name, number) in {3: ("cat", 3), 14: ("dog", 4)}.items():
        assert (images.pixels[place] == read_image(folder / name / f"{number}.png")).all()


def test_hidden_folders_are_passed_over_and_named(folder):
    for name in (".ipynb_checkpoints", "__MACOSX"):
        save(folder / name / "cat" / "x.png")
        save(folder / "cat" / name / "x.png")
    (folder / ".DS_Store").touch()
    splits = load_image_folder(folder)
    assert splits.classes == ("cat", "dog")
    assert sum(map(len, splits.parts().values())) == 20
    assert splits.passed_over == (".ipynb_checkpoints", "__MACOSX")
    assert TASKS["images"].describe(splits).endswith("2 classes; passed over: .ipynb_checkpoints, __MACOSX")


def test_what_is_passed_over_is_named_where_the_parts_are_folders(folder, tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    folder.rename(parts / "train")
    save(parts / "test" / "dog" / "a.png", seed=77)
    (parts / "__MACOSX").mkdir()
    (parts / "test" / ".cache").mkdir()
    assert load_image_folder(parts).passed_over == ("__MACOSX", ".cache")
    (parts / "__MACOSX").rmdir()
    (parts / "test" / ".cache").rmdir()
    splits = load_image_folder(parts)
    assert splits.passed_over == ()
    assert TASKS["images"].describe(splits).endswith("2 classes")


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


@pytest.mark.parametrize(("name", "other"), [("train", "test"), ("test", "train")])
def test_a_part_without_the_other_is_named(folder, tmp_path, name, other):
    parts = tmp_path / "parts"
    parts.mkdir()
    save(parts / "val" / "cat" / "b.png", seed=78)
    folder.rename(parts / name)
    with pytest.raises(DataError, match=f"parts has {name}, with folders in it, but no {other}; .*; hint: .*{other}"):
        load_image_folder(parts)


def test_train_may_be_the_name_of_a_class(folder):
    (folder / "cat").rename(folder / "train")
    assert load_image_folder(folder).classes == ("dog", "train")


def test_a_class_that_is_not_among_those_to_train_on(folder, tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    folder.rename(parts / "train")
    save(parts / "test" / "fox" / "a.png")
    with pytest.raises(DataError, match=r"test/fox is the folder of no class; expected cat, dog; hint"):
        load_image_folder(parts)


@pytest.mark.parametrize(
    ("shape", "says"),
    [((5, 5), "5 x 5, gray, the first image 5 x 4, gray"), ((4, 5, 3), "5 x 4, RGB, the first image 5 x 4, gray")],
)
def test_an_image_of_another_shape_is_named(folder, shape, says):
    save(folder / "dog" / "x.png", shape)
    with pytest.raises(DataError, match=rf"dog/x.png is {says}; hint: .*--set size="):
        read_image_folder(folder)
    images, _ = read_image_folder(folder, size=3, color="gray")
    assert images.pixels.shape == (21, 1, 3, 3)


def test_folders_that_cannot_be_used(folder, tmp_path):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"the class folder .*empty has no images; hint"):
        read_image_folder(folder)
    with pytest.raises(DataError, match=r"cat has no subfolders; expected one for each class.*; hint"):
        read_image_folder(folder / "cat")
    with pytest.raises(DataError, match="there is no folder"):
        read_image_folder(tmp_path / "none")
    with pytest.raises(DataError, match=re.escape("0.png is a file; expected a folder")):
        read_image_folder(folder / "cat" / "0.png")
