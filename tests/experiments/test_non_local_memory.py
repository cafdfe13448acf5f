"""The experiment on the memory of a non-local block."""

import pytest


def test_the_weights_grow_with_the_square_of_the_positions_and_the_rest_does_not(call, tmp_path):
    text = call("non_local_memory.py", "--sides", "16", "32", "--out", tmp_path / "out")
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert cells[0] == ["MiB", "N = 256", "N = 1,024"]
    memory = {name: [float(size) for size in sizes] for name, *sizes in cells[1:]}
    assert len(memory) == 8
    for name, (few, many) in memory.items():
        if name.endswith("with weights"):
            assert many >= 1024**2 * 4 / 2**20
            assert many / few > 8
    few, many = memory["dot product, without"]
    assert many / few < 4
    assert memory["concatenation, without"][1] < memory["concatenation, with weights"][1] / 2
    assert (tmp_path / "out" / "memory.png").stat().st_size


def test_no_positions_are_refused(call, tmp_path):
    with pytest.raises(SystemExit, match="--sides are at least 1, got 0"):
        call("non_local_memory.py", "--sides", "0", "--out", tmp_path / "out")
