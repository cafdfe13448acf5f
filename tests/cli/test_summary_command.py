"""`minattn summary`: the table of a network, the list of all of them, and what it refuses."""

import pytest

from minattn.cli.app import console
from minattn.models import registry


def lines_of(result):
    assert (result.status, result.err) == (0, "")
    return result.out.splitlines()


def test_a_line_a_layer_and_the_totals(minattn):
    lines = lines_of(minattn("summary", "resnet20"))
    layers = [line.split() for line in lines if "Conv2d" in line or "Linear" in line or "BatchNorm2d" in line]
    assert len(layers) == 19 + 19 + 1
    assert layers[0] == ["conv1.conv", "Conv2d", "16x32x32", "432", "442,368"]
    assert layers[-1] == ["classifier", "Linear", "10", "650", "640"]
    assert [line.split() for line in lines[-5:]] == [
        ["weights", "268,336"],
        ["biases", "10"],
        ["batch", "norm", "1,376"],
        ["parameters", "269,722"],
        ["MACs", "40,551,040"],
    ]


def test_squeeze_and_excitation_classes_image_and_depth(minattn):
    lines = lines_of(minattn("summary", "resnet20", "--se", "--classes", 7, "--image", "1x28x30", "--depth", 1))
    assert lines[0] == "resnet20 with Squeeze-and-Excitation, image 1x28x30"
    assert [line.split()[2] for line in lines[3:8]] == ["16x28x30", "16x28x30", "32x14x15", "64x7x8", "7"]
    assert "parameters  271,612" in "\n".join(" ".join(line.split()) for line in lines).replace(" 2", "  2")


def test_of_a_network_that_finds_joints_too(minattn):
    lines = lines_of(minattn("summary", "hourglass2", "--depth", 2))
    assert lines[0] == "hourglass2, image 3x256x256"
    assert [line.split() for line in lines[-2:]] == [["parameters", "6,570,400"], ["MACs", "8,334,606,336"]]
    refused = minattn("summary", "hourglass2", "--classes", 3)
    assert refused.err == "error: hourglass2 has no classes; hint: leave it out\n"


def test_without_a_name_it_lists_all_with_their_sizes(minattn, monkeypatch):
    for name in registry.names():
        if "1202" in name:  # the deepest take nearly as long as all the others
            monkeypatch.delitem(registry.ENTRIES, name)
    lines = lines_of(minattn("summary"))
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert list(rows) == registry.names()
    assert rows["resnet20"] == ["3x32x32", "269,722"]


def test_lines_are_folded_for_a_narrow_terminal_only(minattn, monkeypatch):
    monkeypatch.setattr(console, "_width", 60)
    assert max(map(len, lines_of(minattn("summary", "resnet20")))) > 60
    monkeypatch.setattr(console, "_force_terminal", True)
    assert max(map(len, lines_of(minattn("summary", "resnet20")))) <= 60


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["resnt20"], ["no network 'resnt20'", "hint: resnet20"]),
        (["resnet20", "--image", "32x32"], ["--image", "'32x32'", "hint", "3x32x32"]),
        (["resnet20", "--image", "3x0x32"], ["--image", "'3x0x32'"]),
        (["alexnet", "--image", "3x8x8"], ["alexnet does not take --image 3x8x8: ", "hint", "hint: 3x224x224"]),
        (["resnet20", "--image", "threexfourxfive"], ["--image"]),
        (["resnet20", "--image", "3x99999999999x1"], ["--image", "each from 1 to 1,000,000"]),
        (["resnet20", "--image", f"{'9' * 5000}x1x1"], ["--image", "'99999"]),
        (["resnet20", "--classes", "99999999999999999999"], ["--classes", "1000000"]),
        (["resnet20", "--classes", "0"], ["--classes"]),
        (["resnet20", "--depth", "-1"], ["--depth"]),
        (["--se"], ["need a network"]),
        (["--depth", "0"], ["need a network"]),
        (["resnet20", "more"], ["more"]),
    ],
)
def test_what_it_refuses(refused, tmp_path, arguments, says):
    refused("summary", *arguments, says=says, folder=tmp_path)
