"""`minattn train pixels` and `minattn complete`, from a folder of images to a page of completed ones."""

from pathlib import Path

import numpy as np
import pytest
from small_pixels import train_arguments, write_pixels

from minattn.cli.runs import Terminal
from minattn.models import ImageTransformer
from minattn.tasks.files import read_json
from minattn.tasks.run_folder import REPORT
from minattn.training import Progress

RUN_FILES = ["best.safetensors", "config.json", "curves.png", "last.safetensors", "log.jsonl", "report.json"]


@pytest.fixture(scope="module")
def pixel_run(finished):
    """A finished run; not to be written to."""
    return finished(write_pixels, train_arguments)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(write_pixels(tmp_path))


def test_a_run_from_its_start_to_a_page_of_pictures(minattn, pictures):
    result = minattn(*train_arguments("run"))
    assert (result.status, result.err) == (0, "")
    assert sorted(path.name for path in Path("run").iterdir()) == [*RUN_FILES, "samples.png"]
    report = read_json(Path("run", REPORT))
    score = f"{report['test']['bits_per_dimension']:.3f} bits per dimension over {report['test']['images']} images"
    assert f"test:       {score}\n" in result.out
    assert f"one histogram {report['baselines']['one_histogram']:.2f}" in result.out
    assert result.out.endswith("now try:    minattn complete run IMAGE.png\n")
    assert minattn("evaluate", "run").out == f"{score}\n"


def test_complete_leaves_a_page(minattn, pictures, pixel_run):
    first, second = sorted(pictures.glob("*/00.png"))[:2]
    result = minattn("complete", pixel_run, first, second, "--count", 2, "--plot", "page.png")
    assert (result.status, result.err) == (0, "")
    assert result.out == "page.png: 00.png, 00.png, each with 2 samples, the lower rows generated\n"
    page = Path("page.png").read_bytes()
    minattn("complete", pixel_run, first, second, "--count", 2, "--plot", "page.png")
    assert Path("page.png").read_bytes() == page
    minattn("complete", pixel_run, first, second, "--count", 2, "--plot", "page.png", "--seed", 2)
    assert Path("page.png").read_bytes() != page


def test_what_cannot_be_completed_is_refused(refused, minattn, pictures, pixel_run, tmp_path):
    image = next(pictures.glob("*/00.png"))
    for rows in (8, 9):
        says = [f"--rows {rows} of 8 rows leaves none to generate; hint: 4"]
        refused("complete", pixel_run, image, "--rows", rows, says=says, folder=tmp_path)
    for count in (0, 101):
        says = [f"--count must be in 1 to 100, got {count}"]
        refused("complete", pixel_run, image, "--count", count, says=says, folder=tmp_path)
    refused("complete", pixel_run, *[image] * 129, says=["at most 128 images, got 129"], folder=tmp_path)
    refused("complete", pixel_run, image, "--rows", -1, says=["rows must be at least 0, got -1"], folder=tmp_path)
    refused("complete", pixel_run, image, "--plot", "page.txt", says=["page.txt", ".png"], folder=tmp_path)
    refused("complete", pixel_run, "missing.png", says=["missing.png"], folder=tmp_path)
    for temperature in ("-1", "inf", "nan", "1e+31"):
        says = ["temperature", f"got {temperature}"]
        refused("complete", pixel_run, image, "--temperature", temperature, says=says, folder=tmp_path)


def test_the_page_is_none_of_the_images(refused, pictures, pixel_run, tmp_path):
    """By the same name or another, such as that of the page unless one is given."""
    image, other = sorted(pictures.glob("*/*.png"))[:2]
    image.rename("completed.png")
    before = Path("completed.png").read_bytes()
    says = ["completed.png is one of the images, which it would replace; hint: another name"]
    refused("complete", pixel_run, other, "completed.png", says=says, folder=tmp_path)
    refused("complete", pixel_run, "completed.png", "--plot", tmp_path / "completed.png", says=says, folder=tmp_path)
    assert Path("completed.png").read_bytes() == before


@pytest.mark.parametrize(("rows", "which"), [(0, "all"), (1, "the lower"), (7, "the lower")])
def test_complete_says_which_rows_it_generated(minattn, pictures, pixel_run, rows, which):
    result = minattn("complete", pixel_run, next(pictures.glob("*/00.png")), "--rows", rows, "--count", 1)
    assert result.out == f"completed.png: 00.png, each with a sample, {which} rows generated\n"


def test_more_samples_than_a_row_has_are_refused(refused, pictures, tmp_path):
    refused(*train_arguments("run", "samples=101"), says=["samples must be in 1 to 100, got 101"], folder=tmp_path)


def test_more_levels_than_a_byte_has_are_refused(refused, pictures, tmp_path):
    refused(*train_arguments("run", "levels=300"), says=["2 to 256 levels", "300"], folder=tmp_path)


def test_colored_images_are_read_as_the_model_has_them(minattn, pictures, pixel_run):
    from PIL import Image

    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save("colored.png")
    assert minattn("complete", pixel_run, "colored.png", "--count", 1).status == 0


def test_complete_tells_how_far_it_is_where_somebody_watches(minattn, pictures, pixel_run, monkeypatch):
    told = []

    class Told(Progress):
        def advance(self, fraction):
            told.append(fraction)

    monkeypatch.setattr(Terminal, "progress", lambda self: Told())
    minattn("complete", pixel_run, next(pictures.glob("*/00.png")), "--rows", 6, "--count", 1)
    assert told == [n / 64 for n in range(49, 65)]


def test_a_run_of_super_resolution(minattn, pictures):
    assert minattn(*train_arguments("run", "encoder_layers=1", "factor=4", "epochs=1")).status == 0
    assert Path("run", "samples.png").stat().st_size
    result = minattn("complete", "run", next(pictures.glob("*/00.png")), "--count", 1)
    assert (result.status, result.err) == (0, "")
    assert result.out == "completed.png: 00.png, each with a sample in full size\n"


def test_a_small_image_goes_to_the_encoder_as_it_is(minattn, pictures, monkeypatch):
    from PIL import Image

    assert minattn(*train_arguments("run", "encoder_layers=1", "factor=4", "epochs=1", "levels=256")).status == 0
    small = np.arange(4, dtype=np.uint8).reshape(2, 2) * 60
    Image.fromarray(small).save("small.png")
    taken = []
    encode = ImageTransformer.sample
    monkeypatch.setattr(
        ImageTransformer,
        "sample",
        lambda self, tokens, given, rng, temperature, low_resolution: (
            taken.append(low_resolution) or encode(self, tokens, given, rng, temperature, low_resolution)
        ),
    )
    assert minattn("complete", "run", "small.png", "--count", 1).status == 0
    np.testing.assert_array_equal(taken[0], small[None, None])
