"""Schedules against the closed forms of their papers."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.errors import ConfigError
from minattn.training import Constant, Cosine, Exponential, LinearWarmup, Noam, Plateau, Schedule, StepDecay

steps = st.integers(1, 10**6)
rates = st.floats(1e-6, 10)


@given(rates, steps)
def test_constant(lr, step):
    assert Constant(lr)(step) == lr


@given(rates, st.integers(1, 1000), st.floats(0.1, 0.9), steps)
def test_step_decay_over_a_range_divides_the_steps(lr, every, factor, step):
    schedule = StepDecay(lr, range(every, 10**6, every), factor)
    assert schedule(step) == pytest.approx(lr * factor ** ((step - 1) // every))


def test_step_decay_drops_after_its_milestone():
    schedule = StepDecay(0.1, [3, 5])
    assert [schedule(step) for step in range(1, 8)] == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@given(rates, st.floats(0.1, 1.0), st.integers(1, 100), st.integers(1, 500))
def test_exponential_multiplies_by_its_factor_once_a_period(lr, factor, period, step):
    schedule = Exponential(lr, factor, period)
    assert schedule(1) == lr
    assert schedule(step + period) == pytest.approx(factor * schedule(step), rel=1e-9)


@given(rates, st.integers(1, 10**5), st.floats(0, 1e-6))
def test_cosine_starts_at_lr_ends_at_lowest_and_is_halfway_between(lr, half, lowest):
    schedule = Cosine(lr, 2 * half, lowest)
    assert schedule(1) == pytest.approx(lr)
    assert schedule(half + 1) == pytest.approx((lr + lowest) / 2)
    assert schedule(2 * half + 1) == pytest.approx(lowest, abs=1e-15 * lr)
    assert schedule(5 * half + 1) == schedule(2 * half + 1)


@given(rates, st.integers(2, 10**4))
def test_cosine_never_rises(lr, total):
    schedule = Cosine(lr, total)
    some = sorted({1 + k * total // 50 for k in range(60)})
    values = [schedule(step) for step in some]
    assert values == sorted(values, reverse=True)


@given(st.integers(1, 4096), st.integers(1, 10**5), steps)
def test_noam_is_equation_3(dim, warmup, step):
    expected = min(1 / math.sqrt(step), step / (warmup * math.sqrt(warmup))) / math.sqrt(dim)
    assert Noam(dim, warmup)(step) == pytest.approx(expected)
    assert Noam(dim, warmup, scale=2.0)(step) == pytest.approx(2 * expected)


@pytest.mark.parametrize(("dim", "peak"), [(512, 6.988e-4), (1024, 4.941e-4)])
def test_noam_peaks_where_its_branches_meet(dim, peak):
    schedule = Noam(dim)
    assert schedule(4000) == pytest.approx(peak, rel=1e-4)
    assert schedule(3999) < schedule(4000) > schedule(4001)


@given(rates, st.integers(1, 1000), st.integers(1, 3000))
def test_warmup_is_a_straight_line_that_meets_the_schedule(lr, warmup, step):
    inner = Cosine(lr, 2000)
    expected = inner(step) * step / warmup if step < warmup else inner(step)
    assert LinearWarmup(inner, warmup)(step) == pytest.approx(expected)


def test_plateau_drops_after_patience_evaluations_without_a_new_best():
    schedule = Plateau(1.0, factor=0.5, patience=2, lowest=0.2)
    rates = []
    for metric in [5.0, 4.0, 4.0, 4.5, 3.0, math.nan, 3.0, 9.0, 9.0, 9.0, 9.0]:
        schedule.observe(metric)
        rates.append(schedule(len(rates) + 1))
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2]


@given(st.lists(st.floats(0, 10), max_size=20), st.lists(st.floats(0, 10), max_size=20))
def test_a_warmed_up_plateau_goes_on_from_its_saved_state(before, after):
    original = LinearWarmup(Plateau(1.0, patience=2), 3)
    for metric in before:
        original.observe(metric)
    copy = LinearWarmup(Plateau(1.0, patience=2), 3)
    copy.load_state_dict(json.loads(json.dumps(original.state_dict())))
    for metric in after:
        original.observe(metric)
        copy.observe(metric)
    assert copy(2) == original(2)
    assert copy.state_dict() == original.state_dict()


@pytest.mark.parametrize(
    "schedule", [Constant(1.0), StepDecay(1.0, [2]), Cosine(1.0, 5), Noam(8), Exponential(1.0, 0.5)]
)
def test_the_others_have_no_state(schedule: Schedule):
    schedule.observe(1.0)
    assert schedule.state_dict() == {}
    schedule.load_state_dict({})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosine(0.1, 0),
        lambda: Exponential(0.1, 0.5, 0),
        lambda: LinearWarmup(Constant(0.1), 0),
        lambda: Noam(0),
        lambda: Noam(8, 0),
        lambda: Plateau(0.1, factor=1.0),
        lambda: Plateau(0.1, patience=0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ConfigError, match="must be"):
        make()
