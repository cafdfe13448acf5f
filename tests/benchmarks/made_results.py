"""Results made by hand, of times that a test chooses."""

from benchmarks.results import Comparison, Results, Round, Timing


def timing(*seconds, losses=(1.0, 0.5), peak_mib=100.0, version="1.0", **round_facts):
    """An engine that took so long for a step, round by round."""
    rounds = [Round(each, **round_facts) for each in seconds]
    return Timing(rounds, list(losses), 3, peak_mib, {"version": version, "numpy": "2.4.6", "python": "3.11.7"})


def comparison(workload="W2", threads=1, reference="torch", limit=None, skipped=(), **timings):
    command, date = f"python -m benchmarks {workload}", "2026-01-02T03:04:05+00:00"
    return Comparison(workload, threads, reference, timings, dict(skipped), limit, 10.0, date, command)


def results(*comparisons, engines=("minattn", "torch", "jax"), reference="torch", rounds=4, processor="A Processor"):
    machine = {"processor": processor, "instructions": "AVX2", "processors": 2}
    machine |= {"system": "Linux 6.1 on x86_64", "python": "3.11.7"}
    return Results(machine, reference, rounds, 0.4, list(engines), list(comparisons))
