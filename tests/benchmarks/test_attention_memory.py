"""How the memory of self-attention grows: what is measured, and what is said of it."""

import numpy as np
import pytest

from benchmarks import attention_memory
from benchmarks.attention_memory import HEADS, MIB, Point, extra_bytes, markdown, measure, row, write
from minattn.autograd import tensor


def point(length, causal=False, lean=MIB, equation=3 * MIB):
    return Point(length, causal, 2 * MIB, lean, equation, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0])


@pytest.mark.parametrize("temporaries", [0, 1, 3])
def test_memory_is_the_most_at_a_time_beyond_inputs_and_output(temporaries):
    def attend(q, k, v, causal):
        result = tensor(np.ones((1, 1, 512, 512), np.float32))
        np.ones(MIB // 2)  # 4 MiB, freed before the others are there
        kept = [np.ones(2 * MIB) for _ in range(temporaries)]
        assert len(kept) == temporaries
        return result

    most = max(4 * MIB, temporaries * 16 * MIB)
    assert extra_bytes(attend, [tensor(np.ones(MIB, np.float32))] * 3, causal=False) == pytest.approx(most, abs=20_000)


def test_the_equation_has_all_scores_in_memory_and_minattn_has_not():
    short, long, short_causal, long_causal = measure((1024, 512), rounds=2)
    assert [each.length for each in (short, long, short_causal, long_causal)] == [512, 1024, 512, 1024]
    assert [each.causal for each in (short, long, short_causal, long_causal)] == [False, False, True, True]
    for each in (short, long, short_causal, long_causal):
        assert each.equation_bytes >= 4 * HEADS * each.length**2
        assert each.given_bytes == 4 * 4 * HEADS * each.length * 64
        assert len(each.lean_seconds) == len(each.equation_seconds) == 2
    for before, after in ((short, long), (short_causal, long_causal)):
        assert after.equation_bytes / before.equation_bytes == pytest.approx(4, rel=0.1)
        assert after.lean_bytes < after.equation_bytes / 2
        assert after.lean_bytes / before.lean_bytes < 3


def test_a_row_of_the_table():
    assert row(point(512, causal=True)) == ["512", "earlier", "3.00", "1.00", "2.00", "1.00", "0.750–1.25"]


def test_the_page_says_how_memory_grows():
    page = markdown(
        [point(256), point(512, equation=12 * MIB, lean=2 * MIB), point(256, True), point(512, True)], "2020-02-02"
    )
    assert "From T = 256 to 512, the memory of the equation grows 4.00 times, that of minattn 2.00 times." in page
    assert "python -m benchmarks --attention-memory --rounds 3  # 2020-02-02" in page
    assert "| 512 | all | 12.0 | 2.00 | 2.00 | 1.00 | 0.750–1.25 |" in page
    assert "attention_memory.png" in page


def test_the_files(tmp_path):
    points = [point(256), point(512), point(256, True), point(512, True)]
    files = write(points, tmp_path / "new")
    assert [path.name for path in files] == ["attention_memory.md", "attention_memory.png"]
    assert all(path.stat().st_size for path in files)


def test_the_command(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(attention_memory, "LENGTHS", (8, 16))
    result = bench("--attention-memory", "--rounds", 2, "--out", tmp_path / "out")
    assert (result.status, result.err) == (0, "")
    assert "× time" in result.out
    assert (tmp_path / "out" / "attention_memory.png").exists()


@pytest.mark.parametrize(
    ("arguments", "named"), [(["W1"], "workloads"), (["--threads", 1, "--against", "none"], "against, threads")]
)
def test_what_it_does_not_take_is_refused(bench, monkeypatch, tmp_path, arguments, named):
    monkeypatch.chdir(tmp_path)
    result = bench("--attention-memory", *arguments)
    assert result.status == 1
    assert result.err == f"error: --attention-memory takes --rounds and --out alone; got {named} too\n"
    assert not list(tmp_path.iterdir())
