"""The comparison of gradient checkers: what it measures of minattn's, and the table."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "gradient_checkers.py"


@pytest.fixture
def names(monkeypatch):
    """The script's functions, with few gradients."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = runpy.run_path(str(SCRIPT))
    shared = names["measured"].__globals__
    monkeypatch.setitem(shared, "WRONG", shared["WRONG"][:3])
    monkeypatch.setitem(shared, "RIGHT", shared["RIGHT"][:2])
    return names


def test_minattn_catches_all_and_refuses_none(names, monkeypatch, tmp_path, capsys):
    out = tmp_path / "checkers.json"
    monkeypatch.setattr(sys, "argv", ["gradient_checkers.py", "--checkers", "minattn", "--out", str(out)])
    names["main"]()
    row = json.loads(out.read_text(encoding="utf-8"))["minattn"]
    assert (row["wrong"], row["caught"], row["missed"]) == (3, 3, [])
    assert (row["right"], row["refused"]) == (2, 0)
    assert "looks like the sign lost" in row["message"]
    assert 1e-10 <= row["sin"] <= 1e-8
    assert "| `minattn.testing.check_vjp` | 3 of 3 | 0 of 2 |" in capsys.readouterr().out


def test_a_checker_that_takes_everything_has_missed_everything(names):
    row = names["measured"](lambda f, vjp, inputs: None)
    assert (row["caught"], row["refused"], row["sin"]) == (0, 0, 1.0)


def test_several_results_are_put_in_one_row(names):
    f, vjp, variables = names["in_one_row"](
        lambda x, ids: (2 * x, x[ids]), lambda g, h, x, ids: (2 * g + h.sum(), None), [np.ones(2), np.array([0])]
    )
    assert f(*variables).tolist() == [2, 2, 1]
    assert vjp(np.array([1.0, 2.0, 3.0]), *variables)[0].tolist() == [5, 7]
    assert len(variables) == 1


def test_an_unknown_checker_is_refused(names, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gradient_checkers.py", "--checkers", "nothing"])
    with pytest.raises(SystemExit):
        names["main"]()
    assert "no checker 'nothing'; expected minattn, torch" in capsys.readouterr().err
