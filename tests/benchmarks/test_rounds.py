"""How long a round is, who takes turns with whom, and what is done about a machine that others use too."""

import os
import platform
import subprocess
import sys
import time

import pytest
from threadpoolctl import threadpool_info

from benchmarks import harness, processes
from benchmarks.environments import engine_of, variables_of
from benchmarks.harness import Plan, Watcher, attempt_round, instructions, steps_a_round, take_round
from benchmarks.processes import Contender, Meter, Steps, processors, thread_variables
from benchmarks.results import Round
from benchmarks.workloads import find_workloads


class Scripted(Contender):
    """Takes as much processor time as it is told, and none in truth."""

    used = 0.0

    def run(self, steps):
        self.used += 0.3
        return Steps([3.0, 1.0, 2.0], [])

    def cpu_seconds(self):
        return self.used


@pytest.mark.parametrize(
    ("step", "wanted", "steps"),
    [(0.01, 0.4, 40), (0.1, 0.4, 4), (0.3, 0.4, 3), (0.5, 0.4, 3), (0.6, 0.4, 1), (9.0, 0.4, 1), (0.3, 0.0, 1)],
)
def test_steps_fill_the_round_and_are_three_unless_that_takes_too_long(step, wanted, steps):
    assert steps_a_round(step, wanted) == steps


def attempts(*others):
    """An `attempt_round` in which others use so much of the machine, time after time."""
    left = [Round(float(number), 1.0, share) for number, share in enumerate(others)]
    return lambda contender, steps, rest: left.pop(0)


@pytest.mark.parametrize(
    ("others", "taken", "count", "disturbed"),
    [
        ([0.01], 0.0, 1, False),
        ([None], 0.0, 1, False),  # nobody can tell
        ([0.3, 0.0], 1.0, 2, False),
        ([0.3, 0.1, 0.2], 1.0, 3, True),  # the best of three
    ],
)
def test_a_disturbed_round_is_taken_again(monkeypatch, others, taken, count, disturbed):
    monkeypatch.setattr(harness, "attempt_round", attempts(*others))
    found = take_round(Scripted(), 3, 0.0)
    assert (found.seconds, found.attempts, found.disturbed) == (taken, count, disturbed)


def test_the_time_of_a_round_is_the_median_of_its_steps():
    assert attempt_round(Scripted(), 3, 0.0).seconds == 2.0


def test_others_are_what_the_contender_did_not_use_itself(monkeypatch):
    """In 1 s the contender uses 0.3 s, the machine 0.5 s on four cores: others had 0.2 of 4."""
    clock, busy = iter([10.0, 11.0]), iter([100.0, 100.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(processes, "busy_seconds", lambda: next(busy))
    contender = Scripted()
    meter = Meter(contender)
    contender.run(3)
    assert meter.read() == pytest.approx((0.3, 0.05))


def test_a_time_too_short_for_the_clock_is_not_judged(monkeypatch):
    clock = iter([10.0, 10.05])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert Meter(Scripted()).read() == (None, None)


def test_a_system_that_does_not_tell_is_no_reason_to_fail(monkeypatch):
    clock = iter([10.0, 11.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(processes, "busy_seconds", lambda: None)
    assert Meter(Scripted()).read() == (None, None)


def test_engines_take_turns(fakes):
    fakes.run(against=["torch", "jax"], rounds=3)
    who = [turn[0] for turn in fakes.turns()]
    warming = ["minattn"] * 2 + ["torch"] * 2 + ["jax"] * 2
    assert who == warming + ["minattn", "torch", "jax"] * 3


def test_the_limit_takes_its_turns_among_them(fakes):
    (found,) = fakes.run("W8-gelu", rounds=2)
    assert [turn[:2] for turn in fakes.turns()][-3:] == [
        ["minattn", "W8-gelu"],
        ["torch", "W8-gelu"],
        ["limits", "copy"],
    ]
    assert list(found.timings) == ["minattn", "torch"]
    assert len(found.limit.rounds) == 2


def test_every_number_of_threads_is_asked_for(fakes):
    one, two = fakes.run(threads=[1, 2])
    assert (one.threads, two.threads) == (1, 2)
    assert {turn[2] for turn in fakes.turns()} == {"1", "2"}


def test_an_import_is_timed_with_the_first_number_of_threads_only():
    plan = Plan(find_workloads(["W1", "W9"]), [], [2, 1])
    assert [(workload.name, threads) for workload, threads in plan.pairs()] == [("W1", 2), ("W9", 2), ("W1", 1)]


def test_numbers_go_from_the_workers_into_the_ratios(fakes):
    fakes.behave(minattn={"seconds": [0.001, 0.002]}, torch={"seconds": [0.004, 0.004]})
    (found,) = fakes.run(rounds=2)
    assert found.ratio("minattn").median == pytest.approx(0.375)
    assert found.timings["minattn"].losses == [1.0, 0.5, 1.0, 0.5]
    assert found.timings["torch"].peak_mib == 50.0
    assert found.timings["torch"].version["version"] == "torch 1.0"


def test_the_watcher_is_told_only_between_rounds_and_of_a_growing_share(fakes):
    told = []

    class Listener(Watcher):
        def advance(self, done, doing):
            told.append((done, doing))

    fakes.run(rounds=2, threads=[1, 2], watcher=Listener())
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] < 1.0
    assert "W1, 2 threads: round 2 of 2, torch" in [doing for _, doing in told]


def test_threads_are_set_for_every_library():
    assert thread_variables(3)["OPENBLAS_NUM_THREADS"] == "3"
    assert thread_variables(1)["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"


def test_processors_are_those_that_this_process_may_use():
    assert len(set(processors())) == len(processors()) >= 1


# ---------------------------------------------------------------------------------------------- the machine
@pytest.mark.parametrize("kernels", ["Haswell", "SkylakeX"])
def test_a_machine_is_named_by_its_instructions_and_by_the_kernels_of_openblas(monkeypatch, kernels):
    pools = [{"internal_api": "openmp"}, {"internal_api": "openblas", "architecture": kernels}]
    monkeypatch.setattr(harness, "threadpool_info", lambda: pools)
    assert instructions({"avx2", "avx512f", "amx_tile"}, avx2=False) == ["AVX-512", "AMX", f"OpenBLAS: {kernels}"]
    assert instructions({"avx2"}, avx2=False) == ["AVX2", f"OpenBLAS: {kernels}"]
    assert instructions({"avx2", "avx512f"}, avx2=True) == ["held to AVX2", "OpenBLAS: Haswell"]
    monkeypatch.setattr(harness, "threadpool_info", list)
    assert instructions(set(), avx2=False) == []


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is of x86")
@pytest.mark.skipif(not any(pool["internal_api"] == "openblas" for pool in threadpool_info()), reason="no OpenBLAS")
def test_what_is_held_to_avx2_takes_its_kernels():
    code = "import threadpoolctl, numpy; print(*(pool['architecture'] for pool in threadpoolctl.threadpool_info()))"
    environment = variables_of(engine_of("minattn"), avx2=True)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Haswell"]
