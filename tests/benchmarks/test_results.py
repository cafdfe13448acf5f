"""The arithmetic: medians and quartiles, ratios round by round, shares of the limit, differences of losses; and results
as JSON, read again and merged machine by machine.
"""

import math

import pytest
from made_results import comparison, results, timing

from benchmarks.report import write_report
from benchmarks.results import (
    JSON,
    Round,
    Spread,
    failures_of_minattn,
    from_json,
    largest_difference,
    merged,
    noise_of,
    ratios,
    read_results,
    spread,
    to_json,
)
from benchmarks.workload import LIMIT_WORK, Limit
from benchmarks.workloads import WORKLOADS
from minattn.errors import ConfigError


def test_quartiles():
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 1.75, 3.25)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


def test_a_ratio_is_taken_within_each_round():
    """A machine that slows down by ten in the second round changes times, not ratios."""
    slowed = comparison(minattn=timing(1.0, 10.0, 1.0), torch=timing(2.0, 20.0, 2.0))
    assert slowed.ratio("minattn") == Spread(0.5, 0.5, 0.5)
    assert slowed.ratio("torch") == Spread(1.0, 1.0, 1.0)
    assert slowed.time("minattn") == Spread(1000.0, 1000.0, 5500.0), "milliseconds"


def test_the_median_of_ratios_is_not_the_ratio_of_medians():
    compared = comparison(minattn=timing(1.0, 2.0, 9.0), torch=timing(4.0, 2.0, 3.0))
    assert ratios([1.0, 2.0, 9.0], [4.0, 2.0, 3.0]) == [0.25, 1.0, 3.0]
    assert compared.ratio("minattn") == Spread(1.0, 0.625, 2.0)


def test_without_a_reference_there_is_no_ratio():
    assert comparison(minattn=timing(1.0), jax=timing(2.0)).ratio("jax") is None
    assert comparison(reference=None, minattn=timing(1.0)).ratio("minattn") is None


def test_tiny_ops_are_told_in_microseconds_an_op():
    assert comparison("W1", minattn=timing(0.002)).time("minattn").median == pytest.approx(2.0)


def test_a_share_is_taken_of_the_limit_of_the_same_round():
    """The machine does the limit's work in 1 s, then in 2; a step twice as long, so the share stays."""
    work = WORKLOADS["W2"].work / LIMIT_WORK[Limit.GEMM]  # of a step, in products of the limit
    half_speed = comparison(minattn=timing(2 * work, 4 * work), limit=timing(1.0, 2.0))
    assert half_speed.share("minattn") == pytest.approx((0.5, 0.5, 0.5))
    assert half_speed.limit_rate() == pytest.approx(spread([LIMIT_WORK[Limit.GEMM], LIMIT_WORK[Limit.GEMM] / 2]))


def test_no_limit_no_share():
    assert comparison("W1", minattn=timing(1.0)).share("minattn") is None
    assert comparison("W2", minattn=timing(1.0)).share("minattn") is None, "the limit's worker died"
    assert comparison("W2", minattn=timing(1.0)).limit_rate() is None


def test_the_difference_of_losses_is_the_largest_relative_one():
    assert largest_difference([1.0, 2.0], [1.0, 1.5]) == 0.25
    assert largest_difference([-1.0], [1.0]) == 2.0
    assert largest_difference([0.0], [0.0]) == 0.0
    assert largest_difference([], []) is None
    assert math.isnan(largest_difference([1.0, math.nan], [1.0, 1.0]))


def test_losses_are_compared_with_the_reference():
    compared = comparison(
        minattn=timing(1.0, losses=[1.0, 0.5]),
        torch=timing(1.0, losses=[1.0, 0.5]),
        jax=timing(1.0, losses=[1.0, 0.4]),
        mygrad=timing(1.0, losses=[1.0, math.nan]),
    )
    assert compared.loss_difference("torch") is None
    assert compared.loss_difference("minattn") == 0.0
    assert compared.loss_difference("jax") == pytest.approx(0.2)
    assert [engine for engine in compared.timings if compared.unlike(engine)] == ["jax", "mygrad"]


def test_without_the_reference_losses_are_compared_with_the_first():
    compared = comparison(minattn=timing(1.0), jax=timing(1.0, losses=[2.0, 0.5]))
    assert compared.loss_difference("minattn") is None
    assert compared.loss_difference("jax") == 0.5


def test_a_form_that_is_declared_to_differ_may():
    compared = comparison("W3", minattn=timing(1.0, losses=[1.0]), torch=timing(1.0, losses=[2.0]))
    assert compared.loss_difference("minattn") == 0.5
    assert not compared.unlike("minattn")


def test_another_clone_of_minattn_is_held_to_the_same_losses():
    """Both have the form that differs from the others'."""
    earlier = "minattn at ../before"
    timings = {"minattn": timing(1.0, losses=[1.0]), earlier: timing(1.0, losses=[2.0])}
    assert comparison("W3", reference=earlier, **timings).unlike("minattn")
    assert comparison("W3", reference=earlier, **timings).largest_loss_difference() == 0.5
    timings["torch"] = timing(1.0, losses=[3.0])
    compared = comparison("W3", reference="torch", **timings)
    assert not compared.unlike("minattn")
    assert not compared.unlike(earlier)


def test_noise_counts_every_round_of_every_engine_and_of_the_limit():
    quiet, loud = Round(1.0, 1.0, 0.01), Round(1.0, 1.0, 0.2, attempts=3)
    compared = comparison(minattn=timing(1.0, others=0.03, attempts=2), limit=timing(1.0))
    compared.timings["torch"] = timing()
    compared.timings["torch"].rounds = [quiet, loud]
    noise = noise_of([compared])
    assert (noise.rounds, noise.repeated, noise.disturbed) == (4, 2, 1)
    assert noise.others == 0.03, "the median of those that could be judged"
    assert noise_of([]).others is None


def test_workloads_that_minattn_could_not_do():
    compared = comparison(torch=timing(1.0), skipped={"minattn": "it died"})
    assert failures_of_minattn([compared, comparison(minattn=timing(1.0))]) == ["W2 with 1 thread: it died"]


# ---------------------------------------------------------------------------------------------- JSON
MLP = comparison(
    limit=timing(0.01, 0.01, 0.01, others=0.1, attempts=3),
    minattn=timing(0.002, 0.003, 0.004, processors=1.96),
    torch=timing(0.004, 0.004, 0.004, peak_mib=None),
    skipped={"jax": "no network"},
)
OPS = comparison("W1", minattn=timing(0.002))


def test_results_are_read_again_as_they_were(tmp_path):
    written = [results(OPS, MLP), results(OPS, processor="Another")]
    write_report(written, tmp_path)
    assert read_results(tmp_path) == written
    assert read_results(tmp_path / "elsewhere") == []


def test_the_json_keeps_as_many_digits_as_the_report_shows():
    rounded = comparison(minattn=timing(0.00123456789, losses=[1.0 / 3], peak_mib=101.23456, processors=1.23456))
    ((again,),) = (each.comparisons for each in from_json(to_json([results(rounded)])))
    kept = again.timings["minattn"]
    assert kept.seconds == [0.0012346]
    assert kept.losses == [0.333333333]
    assert (kept.peak_mib, kept.processors) == (101.23, 1.23)


@pytest.mark.parametrize("damage", ["{", "[{}]", '[{"comparisons": [{}]}]', "[3]"])
def test_damaged_results_are_refused(tmp_path, damage):
    (tmp_path / JSON).write_text(damage)
    with pytest.raises(ConfigError, match="none of this version's results"):
        read_results(tmp_path)


def test_new_results_are_merged_with_old_ones_of_other_workloads():
    old = results(comparison("W1", jax=timing(1.0)), comparison("W3", jax=timing(1.0)), engines=["minattn", "jax"])
    new = results(
        comparison("W3", torch=timing(2.0)),
        comparison("W2", threads=2, torch=timing(2.0)),
        engines=["minattn", "torch"],
    )
    (both,) = merged(new, [old])
    assert [(each.workload, each.threads, *each.timings) for each in both.comparisons] == [
        ("W1", 1, "jax"),
        ("W3", 1, "torch"),
        ("W2", 2, "torch"),
    ]
    assert both.engines == ["minattn", "torch", "jax"]


def test_another_machine_keeps_its_results():
    old, new = results(OPS, processor="Another", rounds=9), results(MLP)
    assert merged(new, [old]) == [old, new]
    assert merged(new, []) == [new]
    again = results(MLP, processor="Another", rounds=9)
    first, second = merged(again, [old, new])
    assert [each.workload for each in first.comparisons] == ["W1", "W2"]
    assert second == new


@pytest.mark.parametrize("difference", [{"reference": "jax"}, {"rounds": 5}])
def test_results_that_were_measured_otherwise_are_not_merged(difference):
    with pytest.raises(ConfigError, match=f"whose {next(iter(difference))} differ"):
        merged(results(comparison()), [results(comparison(), **difference)])
