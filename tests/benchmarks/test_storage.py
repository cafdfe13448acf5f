"""Results as JSON: all of them, read again as they were, joined where they belong together."""

import pytest
from made_results import comparison, results, timing

from benchmarks.report import write_report
from benchmarks.storage import JSON, as_json, joined, read_results
from minattn.errors import ConfigError

MLP = comparison(
    limit=timing(0.01, 0.01, 0.01, others=0.1, attempts=3),
    minattn=timing(0.002, 0.003, 0.004, processors=1.96),
    torch=timing(0.004, 0.004, 0.004, peak_mib=None),
    skipped={"jax": "no network"},
)
OPS = comparison("W1", minattn=timing(0.002))


def test_every_round_is_in_the_json():
    (raw,) = as_json(results(MLP))["comparisons"]
    assert [each["seconds"] for each in raw["timings"]["minattn"]["rounds"]] == [0.002, 0.003, 0.004]
    assert [each["attempts"] for each in raw["limit"]["rounds"]] == [3, 3, 3]


def test_results_are_read_again_as_they_were(tmp_path):
    written = results(OPS, MLP)
    write_report(written, tmp_path)
    assert read_results(tmp_path) == written
    assert read_results(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"comparisons": [{}]}'])
def test_damaged_results_are_refused(tmp_path, damage):
    (tmp_path / JSON).write_text(damage)
    with pytest.raises(ConfigError, match="none of this version's results"):
        read_results(tmp_path)


def test_new_results_are_joined_with_old_ones_of_other_workloads():
    old = results(comparison("W1", jax=timing(1.0)), comparison("W3", jax=timing(1.0)), engines=["minattn", "jax"])
    new = results(
        comparison("W3", torch=timing(2.0)),
        comparison("W2", threads=2, torch=timing(2.0)),
        engines=["minattn", "torch"],
    )
    both = joined(new, old)
    assert [(each.workload, each.threads, *each.timings) for each in both.comparisons] == [
        ("W1", 1, "jax"),
        ("W3", 1, "torch"),
        ("W2", 2, "torch"),
    ]
    assert both.engines == ["minattn", "torch", "jax"]


@pytest.mark.parametrize("difference", [{"reference": "jax"}, {"rounds": 5}])
def test_results_that_were_measured_otherwise_are_not_joined(difference):
    with pytest.raises(ConfigError, match=f"whose {next(iter(difference))} differ"):
        joined(results(comparison()), results(comparison(), **difference))
