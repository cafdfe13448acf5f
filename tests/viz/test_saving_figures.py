"""Pictures are written whole or not at all, without pyplot and without a display."""

import errno
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from minattn.errors import ConfigError, MinattnError, MissingDependencyError
from minattn.viz import alignment_figure, save_figure
from minattn.viz.saving import check_figure_path

SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}
ENDINGS = {".png": b"IEND\xaeB`\x82", ".svg": b"</svg>\n", ".pdf": b"%%EOF\n"}


@pytest.fixture
def figure():
    return alignment_figure(np.eye(3), "age", ["EY", "JH", "T"], title="age")


@contextmanager
def files_of_at_most(size):
    """A disk that is full after `size` bytes, as far as this process can tell."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_formats_are_chosen_by_the_suffix(figure, tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    assert save_figure(figure, path) == path
    content = path.read_bytes()
    assert content.startswith(SIGNATURES[suffix])
    assert content.endswith(ENDINGS[suffix])
    assert list(tmp_path.iterdir()) == [path]


def test_png_has_the_size_of_the_figure_and_a_white_page(figure, tmp_path):
    pixels = imread(save_figure(figure, str(tmp_path / "picture.PNG")))
    width, height = figure.get_size_inches()
    assert pixels.shape[:2] == (int(200 * height), int(200 * width))
    np.testing.assert_array_equal(pixels[[0, 0, -1, -1], [0, -1, 0, -1]], 1)


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_the_same_picture_gives_the_same_bytes(figure, tmp_path, suffix):
    again = alignment_figure(np.eye(3), "age", ["EY", "JH", "T"], title="age")
    first = save_figure(figure, tmp_path / f"first{suffix}").read_bytes()
    assert save_figure(again, tmp_path / f"again{suffix}").read_bytes() == first
    assert b"CreationDate" not in first
    assert b"dc:date" not in first


def test_users_own_settings_neither_change_the_picture_nor_are_changed(figure, tmp_path):
    expected = save_figure(figure, tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20, "savefig.bbox": "tight"}):
        before = dict(matplotlib.rcParams)
        again = alignment_figure(np.eye(3), "age", ["EY", "JH", "T"], title="age")
        assert save_figure(again, tmp_path / "loud.png").read_bytes() == expected
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["picture.jpg", "picture", ".png", "png", "picture.png.gz"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(figure, tmp_path, name):
    with pytest.raises(ConfigError, match=r"must end in \.png, \.svg, \.pdf"):
        save_figure(figure, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_refused(figure, tmp_path):
    with pytest.raises(ConfigError, match=r"no folder .*nowhere; create it first"):
        save_figure(figure, tmp_path / "nowhere" / "picture.png")


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_a_disk_that_fills_up_keeps_the_old_picture(figure, tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(b"the old picture")
    message = rf"picture\{suffix} cannot be written: File too large; hint: free space"
    with pytest.raises(MinattnError, match=message), files_of_at_most(1000):
        save_figure(figure, path)
    assert path.read_bytes() == b"the old picture"
    assert list(tmp_path.iterdir()) == [path]


def test_a_move_that_fails_leaves_nothing_behind(figure, tmp_path, monkeypatch):
    def replace(*paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(
        MinattnError, match=r"picture\.png cannot be written: No space left on device; hint: free space"
    ):
        save_figure(figure, tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_the_picture_is_refused(figure, tmp_path):
    (tmp_path / "picture.png").mkdir()
    with pytest.raises(ConfigError, match=r"picture\.png: it is a folder; hint: the name of a file"):
        check_figure_path(tmp_path / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EACCES, "a folder that can be written to"),
        (errno.EROFS, "a folder that can be written to"),
        (errno.ENOENT, "another folder"),
    ],
)
def test_a_folder_that_takes_no_file_is_refused_before_the_work(tmp_path, monkeypatch, number, hint):
    def touch(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(type(tmp_path), "touch", touch)
    with pytest.raises(ConfigError, match=rf"cannot save .*picture\.png: {os.strerror(number)}; hint: {hint}$"):
        check_figure_path(tmp_path / "picture.png")


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path):
    with pytest.raises(ConfigError, match="hint: a shorter name"):
        check_figure_path(tmp_path / f"{'a' * 250}.png")


def test_a_place_that_will_do_stays_as_it_was(tmp_path):
    check_figure_path(tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())
    (tmp_path / "picture.png").write_bytes(b"the old picture")
    check_figure_path(tmp_path / "picture.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"the old picture"]


def test_without_matplotlib_the_error_says_what_to_install(figure, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        save_figure(figure, tmp_path / "picture.png")


def test_neither_pyplot_nor_a_display_is_used_and_imports_are_light(tmp_path):
    script = """
import sys
import minattn.viz as viz
assert not {"matplotlib", "rich"} & set(sys.modules), "imported before a picture was drawn"
figure = viz.learning_curves([{"step": 1, "loss": 2.0}])
for name in ("picture.png", "picture.svg", "picture.pdf"):
    viz.save_figure(figure, name)
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    environment |= {"MPLBACKEND": "TkAgg", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert len(list(tmp_path.iterdir())) == 3
