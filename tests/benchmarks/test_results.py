"""The arithmetic: medians and quartiles, ratios round by round, shares of the limit, differences of losses."""

import math

import pytest
from made_results import comparison, timing

from benchmarks.results import (
    Round,
    Spread,
    failures_of_minattn,
    largest_difference,
    noise_of,
    ratios,
    spread,
)
from benchmarks.workloads import LIMIT_WORK, WORKLOADS, Limit


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
