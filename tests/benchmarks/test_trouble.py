"""An engine that cannot, dies, hangs or talks nonsense becomes a reason in the results; the others go on."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import harness
from benchmarks.environments import UnavailableError
from benchmarks.harness import Watcher

TROUBLES = {
    "cannot": "it has no tanh",
    "dies at once": "it ended with status 1: ImportError: no module named nonsense (getting ready)",
    "dies": "it ended with status 1: ValueError: no such matrix (10 steps), in round 1 of 2",
    "is killed": "it was ended by SIGKILL (10 steps), in round 1 of 2",
    "talks nonsense": "it answered 'Segmentation violet' (10 steps), in round 1 of 2",
    "hangs": "no answer within 2 s (10 steps), in round 1 of 2",
    "is never ready": "no answer within 2 s (getting ready)",
}


def alive(process):
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("trouble", "reason"), TROUBLES.items())
def test_trouble_is_a_reason_and_stops_nobody_else(fakes, trouble, reason):
    fakes.behave(jax={"trouble": trouble})
    (found,) = fakes.run(against=["torch", "jax"], rounds=2, time_limit=2.0 if "within" in reason else 30.0)
    assert found.skipped == {"jax": reason}
    assert {name: len(timing.rounds) for name, timing in found.timings.items()} == {"minattn": 2, "torch": 2}
    assert not any(alive(turn[3]) for turn in fakes.turns())


def test_an_engine_that_has_no_environment(fakes, monkeypatch):
    def none_for_jax(engine, folder, tell):
        if engine.name == "jax":
            raise UnavailableError("pip install failed: no route to host")
        return Path(sys.executable)

    notes = []

    class Listener(Watcher):
        def note(self, line):
            notes.append(line)

    monkeypatch.setattr(harness, "interpreter_of", none_for_jax)
    (found,) = fakes.run(against=["torch", "jax"], watcher=Listener())
    assert found.skipped == {"jax": "pip install failed: no route to host"}
    assert notes == ["jax is left out: pip install failed: no route to host"]


def test_trouble_of_the_reference_leaves_no_ratios(fakes):
    fakes.behave(torch={"trouble": "dies"})
    (found,) = fakes.run(against=["torch", "jax"])
    assert found.ratio("minattn") is None
    assert list(found.timings) == ["minattn", "jax"]


def test_trouble_of_the_limit_leaves_no_shares(fakes):
    fakes.behave(limits={"trouble": "dies"})
    (found,) = fakes.run("W2")
    assert found.share("minattn") is None
    assert set(found.skipped) == {"limits"}
    assert found.ratio("minattn") is not None


def test_trouble_of_all_is_no_crash(fakes):
    fakes.behave(minattn={"trouble": "dies"}, torch={"trouble": "cannot"})
    (found,) = fakes.run()
    assert found.timings == {}
    assert set(found.skipped) == {"minattn", "torch"}


def test_ctrl_c_ends_every_worker(fakes):
    class Stopper(Watcher):
        def advance(self, done, doing):
            if "round 2" in doing:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fakes.run(watcher=Stopper())
    assert fakes.turns()
    assert not any(alive(turn[3]) for turn in fakes.turns())
