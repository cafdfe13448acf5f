"""Images with captions: scenes that are drawn, folders, and their batches."""

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_captions import COUNT, pictures, write_pictures

from minattn.data import Normalization
from minattn.data.captions import scenes
from minattn.data.captions.batches import CaptionBatches, caption_batches
from minattn.data.captions.dataset import CaptionedImages, CaptionSplits, Named, box_shares
from minattn.data.captions.folder import load_captioned, read_captioned, read_captions
from minattn.errors import DataError

needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="needs the extra images")

THINGS = scenes.Things(
    np.random.default_rng(0).integers(80, 256, (5, 10, 10)).astype(np.uint8), ["a bag", "trousers", "a boot"] * 2
)


def some_scenes(count=30, seed=0, size=64):
    return scenes.scenes(THINGS._replace(names=THINGS.names[:5]), count, size, np.random.default_rng(seed))


def some_images(captions, size=4):
    pixels = np.random.default_rng(0).integers(0, 256, (len(captions), 1, size, size)).astype(np.uint8)
    return CaptionedImages(pixels, captions)


# ---------------------------------------------------------------------------------------------- scenes
def test_a_caption_names_rows_from_the_top_and_things_from_the_left():
    caption, words = scenes.described([["a bag", "trousers"], ["a boot"]])
    assert caption == "a bag left of trousers above a boot"
    assert [caption.split()[word] for word in words] == ["bag", "trousers", "boot"]


@given(st.integers(0, 2**32 - 1))
def test_things_lie_apart_in_the_order_of_their_caption(seed):
    data = some_scenes(3, seed)
    for (caption,), named in zip(data.captions, data.named, strict=True):
        words = caption.split()
        assert len(named) == sum(word in ("bag", "trousers", "boot") for word in words)
        boxes = [thing.box for thing in named]
        for left, top, right, bottom in boxes:
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 64
        for (first, one), (second, other) in zip(enumerate(boxes), list(enumerate(boxes))[1:], strict=False):
            between = words[named[first].word + 1 : named[second].word]
            if between[0] == "left":
                assert one[2] <= other[0]
            else:
                assert between[0] == "above"
                assert one[3] <= other[1]


def test_every_form_of_a_scene_comes():
    counts = {len(named) for named in some_scenes(60).named}
    assert counts == {2, 3, 4}
    between = scenes.BESIDE.split()[0], scenes.ABOVE
    forms = {tuple(w for w in caption.split() if w in between) for (caption,) in some_scenes(200).captions}
    assert len(forms) == sum(map(len, scenes.ROWS.values()))


def test_the_same_seed_gives_the_same_scenes_and_another_one_others():
    one, same, other = some_scenes(seed=1), some_scenes(seed=1), some_scenes(seed=2)
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


def test_the_box_is_what_is_seen_of_a_thing():
    canvas, thing = np.full((20, 20), 50, np.float32), np.zeros((10, 10), np.uint8)
    thing[2:5, 3:9] = 255
    assert scenes.draw(canvas, thing, scenes.Square(4, 6, 10)) == (7, 8, 13, 11)
    expected = np.full((20, 20), 50)
    expected[8:11, 7:13] = 255
    np.testing.assert_array_equal(canvas, expected)


@pytest.mark.parametrize("side", [5, 7, 10, 13, 20])
def test_an_image_of_one_brightness_keeps_it_in_any_size(side):
    np.testing.assert_allclose(scenes.resized(np.full((10, 10), 77, np.uint8), side), 77, rtol=1e-5)


def test_a_smaller_image_has_the_mean_of_the_pixels_that_it_covers():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    np.testing.assert_allclose(scenes.resized(image, 2), [[2.5, 4.5], [10.5, 12.5]])


def test_without_fashion_mnist_scenes_are_of_digits(monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    monkeypatch.setenv("MINATTN_FASHION_MNIST", str(tmp_path))
    scenes.of_clothes.cache_clear()
    try:
        splits = scenes.load_scenes(counts={"train": 20, "dev": 4, "test": 5})
    finally:
        scenes.of_clothes.cache_clear()
    assert [len(part) for part in splits] == [20, 4, 5]
    said = {word for (caption,) in splits.train.captions for word in caption.split()}
    assert said <= {*" ".join(scenes.DIGITS.values()).split(), "left", "of", "above"}


# ---------------------------------------------------------------------------------------------- boxes on a grid
@given(st.integers(0, 2**32 - 1))
def test_shares_of_cells_are_the_pixels_that_a_box_covers(seed):
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, 11), rng.integers(0, 7)
    box = int(left), int(top), int(rng.integers(left + 1, 13)), int(rng.integers(top + 1, 9))
    inside = np.zeros((8, 12))
    inside[box[1] : box[3], box[0] : box[2]] = 1
    expected = inside.reshape(4, 2, 3, 4).mean((1, 3))
    np.testing.assert_allclose(box_shares(box, (4, 3), (8, 12)), expected)


# ---------------------------------------------------------------------------------------------- folders
@needs_pillow
def test_a_folder_is_divided_by_the_names_of_its_images(tmp_path):
    folder, (images, lines) = write_pictures(tmp_path), pictures()
    splits = load_captioned(folder, 32)
    assert [len(part) for part in splits] == [21, 1, 2]
    whole = read_captioned(folder, 32)
    assert len(whole) == COUNT
    assert sum(map(len, whole.captions)) == len(lines)
    assert whole.captions[0][1].startswith("a square at the")  # in lower case
    np.testing.assert_array_equal(whole.pixels[:, 0], list(images.values()))
    assert whole.named is None
    every = sorted(pixels.tobytes() for part in splits for pixels in part.pixels)
    assert every == sorted(pixels.tobytes() for pixels in whole.pixels)
    assert load_captioned(f"{folder}/captions.txt", 32).fingerprints() == splits.fingerprints()


@needs_pillow
def test_the_published_form_of_flickr8k_has_its_own_parts(tmp_path):
    from PIL import Image

    (tmp_path / "Flicker8k_Dataset").mkdir()
    lines = []
    for number in range(6):
        image = Image.fromarray(np.full((8, 9, 3), 40 * number, np.uint8))
        image.save(tmp_path / "Flicker8k_Dataset" / f"{number}.png")
        lines += [f"{number}.png#{k}\tA dog runs {'fast ' * k}." for k in range(5)]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines))
    for part, names in {"train": "012", "dev": "3", "test": "45"}.items():
        (tmp_path / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{name}.png\n" for name in names))
    splits = load_captioned(tmp_path / "Flickr8k.token.txt", 4, "rgb")
    assert [len(part) for part in splits] == [3, 1, 2]
    assert splits.test.captions[0][:2] == ["a dog runs .", "a dog runs fast ."]
    assert splits.test.pixels[:, 0, 0, 0].tolist() == [160, 200]
    (tmp_path / "Flickr_8k.devImages.txt").write_text("9.png\n")
    with pytest.raises(DataError, match=r"names 9.png, which has no caption in Flickr8k.token.txt; hint"):
        load_captioned(tmp_path, 4, "rgb")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("1.png\n")
    with pytest.raises(DataError, match=r"devImages.txt names 1.png, which another list names too"):
        load_captioned(tmp_path, 4, "rgb")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("\n")
    with pytest.raises(DataError, match=r"devImages.txt names no image"):
        load_captioned(tmp_path, 4, "rgb")
    (tmp_path / "Flickr_8k.devImages.txt").unlink()
    with pytest.raises(DataError, match=r"lacks Flickr_8k.devImages.txt; hint: all three lists"):
        load_captioned(tmp_path, 4, "rgb")


def test_the_number_of_a_caption_ends_its_name(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text("photo#1.png#0\ta dog\nphoto#1.png#1 \ta cat\n")
    assert read_captions(file) == {"photo#1.png": ["a dog", "a cat"]}


@needs_pillow
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["00.png a square"], r"line 1, reads .*expected IMAGE<TAB>CAPTION; hint: a tab between both"),
        (["00.png\ta square", "01.png\t  "], r"line 2: the caption of 01.png is empty; .*leave the line out"),
        (["\ta square"], r"line 1, reads .*expected IMAGE<TAB>CAPTION"),
        (["none.png\ta square"], r"there is no image .*none.png, which captions.txt has a caption of; hint"),
        (["broken.png\ta square"], r"broken.png cannot be read as an image"),
        (["00.png\ta square", "color.png\ta square"], r"color.png has 3 channels, the first image 1; hint: color=gray"),
        ([""], r"captions.txt has no captions; .*one at least"),
    ],
    ids=["no tab", "no caption", "no name", "missing", "broken", "other colors", "empty"],
)
def test_what_cannot_be_read_is_named(tmp_path, lines, message):
    from PIL import Image

    folder = tmp_path / "pictures"
    write_pictures(tmp_path)
    (folder / "broken.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "color.png")
    (folder / "captions.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        read_captioned(folder, 8)


@needs_pillow
def test_a_folder_without_captions_or_with_too_few_is_refused(tmp_path):
    write_pictures(tmp_path)
    file = tmp_path / "pictures" / "captions.txt"
    file.write_text("00.png\ta square\n01.png\ta square\n")
    with pytest.raises(DataError, match="captions of 2 images, expected 3 at least"):
        load_captioned(file.parent, 8)
    file.unlink()
    with pytest.raises(DataError, match=r"has no captions.tsv, captions.txt or Flickr8k.token.txt; expected lines"):
        load_captioned(file.parent, 8)
    with pytest.raises(DataError, match="there is no folder or file"):
        load_captioned(tmp_path / "none", 8)


# ---------------------------------------------------------------------------------------------- data and batches
@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ([["a"], []], "image 1 has an empty caption, or none"),
        ([["a"], [" "]], "image 1 has an empty caption, or none"),
    ],
)
def test_an_image_needs_a_caption(captions, message):
    with pytest.raises(DataError, match=message):
        some_images(captions)


def test_parts_that_do_not_fit_are_refused():
    images = some_images([["a"]] * 3)
    with pytest.raises(DataError, match="the dev images are 5 x 5, gray, those to train on 4 x 4, gray"):
        CaptionSplits(images, some_images([["a"]], size=5), images)
    with pytest.raises(DataError, match="the pixels are float64"):
        CaptionedImages(np.zeros((1, 1, 4, 4)), [["a"]])
    with pytest.raises(DataError, match="there are 3 images and captions of 2"):
        CaptionedImages(images.pixels, [["a"]] * 2)


def test_images_are_taken_with_all_that_belongs_to_them():
    pixels = np.arange(3, dtype=np.uint8)[:, None, None, None]
    named = [[Named(0, (0, 0, 1, 1))], [], [Named(1, (0, 0, 1, 1))]]
    taken = CaptionedImages(pixels, [["a"], ["b"], ["c d"]], named).at(np.array([2, 0]))
    assert (taken.pixels.ravel().tolist(), taken.captions) == ([2, 0], [["c d"], ["a"]])
    assert taken.named == [named[2], named[0]]


def words_of(lengths):
    return [[np.full(length + 2, 5) for length in of_image] for of_image in lengths]


def test_every_caption_comes_once_an_epoch_with_its_image():
    lengths = [[2], [3, 1], [2, 2, 5], [4]]
    images = some_images([["w " * n for n in of_image] for of_image in lengths])
    normalization = Normalization((0.0,), (1.0,))
    batches = CaptionBatches(images, words_of(lengths), 2, 3, normalization)
    assert len(batches) == 4
    for epoch in range(3):
        came = []
        for batch in batches.iterate(epoch):
            np.testing.assert_array_equal(batch.images, images.pixels[batch.image_ids])
            came += zip(batch.image_ids.tolist(), (batch.mask.sum(1) - 2).tolist(), strict=True)
        assert sorted(came) == sorted((i, n) for i, of_image in enumerate(lengths) for n in of_image)
    again = [batch.image_ids.tolist() for batch in batches.iterate(1, start=2)]
    assert again == [batch.image_ids.tolist() for batch in batches.iterate(1)][2:]
    in_order = list(caption_batches(images, words_of(lengths), 3, normalization))
    assert [batch.words.shape[1] - 2 for batch in in_order] == [2, 4, 5]


def test_a_batch_is_cut_into_parts_with_every_caption_once():
    lengths = [[1], [1], [2], [3], [3]]
    images = some_images([["w"]] * 5)
    (batch,) = CaptionBatches(images, words_of(lengths), 5, 0, Normalization((0.0,), (1.0,))).iterate(0)
    parts = batch.split(2)
    assert sorted(location for part, _ in parts for location in part.image_ids.tolist()) == list(range(5))
    assert [share for _, share in parts] == [3 / 5, 2 / 5]
