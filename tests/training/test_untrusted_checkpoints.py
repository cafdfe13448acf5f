"""Checkpoints as files of unknown origin: whatever is in them, they are refused in a line, and nothing has changed."""

import json
import math
import os
import tracemalloc

import numpy as np
import pytest
from tiny_run import tiny_trainer

from minattn.errors import ESCAPES, CheckpointError, ShapeError, visible
from minattn.nn import Linear
from minattn.training import BEST, LAST, LOG, as_kind, load_checkpoint, save_checkpoint
from minattn.training.checkpoint import LONGEST_HEADER, Checkpoint
from minattn.training.plan import Saved

STOPPED = 20  # steps


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped; not to be written to."""
    folder = tmp_path_factory.mktemp("stopped")
    tiny_trainer(folder, steps=STOPPED).run()
    return folder


@pytest.fixture
def run(stopped, tmp_path):
    """A copy of it, to be damaged."""
    for name in (LAST, BEST, LOG):
        (tmp_path / name).write_bytes((stopped / name).read_bytes())
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_refused(run, says):
    """The run cannot be resumed, and no file has changed."""
    before = contents(run)
    with pytest.raises(CheckpointError) as caught:
        tiny_trainer(run).resume()
    assert says in str(caught.value)
    assert len(str(caught.value)) < 700
    assert contents(run) == before


# ---------------------------------------------------------------------------------------------- what it says of itself
def change(meta, path, value):
    """Set what stands at the path "a/b", or remove it where the value is `...`."""
    *outer, last = path.split("/")
    for key in outer:
        meta = meta[key]
    if value is ...:
        del meta[last]
    else:
        meta[last] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("state", ..., "object missing required field state"),
        ("state", 3, "state: expected object, got int"),
        ("state/seconds", "1", "state.seconds: expected float, got str"),
        ("state/seconds", -1.0, "the seconds that it took"),
        ("state/seconds", math.inf, "the seconds that it took"),
        ("state/step", True, "state.step: expected int, got bool"),
        ("state/step", 21, "the step that its batch belongs to"),
        ("state/step", 10**30, "the step that its batch belongs to"),
        ("state/epoch", -1, "counts from 0 on"),
        ("state/position", 8, "one of the 8 batches"),
        ("state/best", math.nan, "none of them NaN"),
        ("state/best_step", STOPPED + 1, "no evaluation after its last step"),
        ("state/log_bytes", -5, "counts from 0 on"),
        ("state/losses", [1.0, "2"], "state.losses[1]: expected float, got str"),
        ("state/norms", [1.0] * 40, "as many norms as losses"),
        ("generators", [], "generators: expected object, got array"),
        ("generators/noise", [1], "expected object, got array"),
        ("generators/noise", ..., "random generators"),
        ("generators/noise/bit_generator", "MT19937", "is of a MT19937 generator, this one is PCG64"),
        ("generators/noise/state", {"state": 1}, "is none of a PCG64 generator"),
        ("generators/noise/state/inc", 2**129, "is none of a PCG64 generator"),
        ("generators/noise/has_uint32", "x", "is none of a PCG64 generator"),
        ("optimizer", 7, "optimizer: expected object, got int"),
        ("optimizer/kind", "SGD", "the saved optimizer is SGD, this one is Adam"),
        ("optimizer/lr", -1.0, "lr must be a finite number"),
        ("optimizer/t/output.bias", ..., "it also has optimizer/"),
        ("optimizer/t/output.bias", STOPPED + 1, "no more updates than steps"),
        ("optimizer/t/nothing", 3, "has nothing, which this model has not"),
        ("schedule", None, "schedule: expected object, got null"),
        ("schedule/lr", "fast", "schedule[...]: expected int | float, got str"),
        ("schedule/lr", math.nan, "none of them NaN"),
        ("schedule/lr", ..., "another schedule"),
    ],
)
def test_what_it_says_of_training_has_the_types_and_values_of_a_run(run, path, value, says):
    arrays, meta = load_checkpoint(run / LAST)
    change(meta, path, value)
    save_checkpoint(run / LAST, arrays, meta)
    assert_refused(run, says)


def raw(run, meta: str):
    """Put a text in the place of the JSON that a checkpoint says of itself."""
    content = (run / LAST).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["meta"] = meta
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (run / LAST).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ("[" * 100_000 + "]" * 100_000, "no JSON"),
        ('{"a":' * 100_000, "no JSON"),
        ('{"state": ' + "1" * 1_000_000 + "}", "no JSON"),
        ('{"state": {"step": 1e400}}', "state.step: expected int, got float"),
        ('{"state": "\\ud800"}', "surrogates not allowed"),
    ],
    ids=lambda value: value[:12],
)
def test_json_that_is_none_or_too_much_is_refused(run, meta, says):
    raw(run, meta)
    assert_refused(run, says)


def test_a_header_that_is_too_long_is_not_read(run):
    with open(run / LAST, "r+b") as file:
        file.write((LONGEST_HEADER + 1).to_bytes(8, "little"))
        file.truncate(2 * LONGEST_HEADER)  # takes no room on the disk
    assert_refused(run, "its header has 100,000,001 bytes")


def test_more_arrays_than_can_be_meant_are_neither_read_nor_written(run, monkeypatch):
    monkeypatch.setattr("minattn.training.checkpoint.MOST_ARRAYS", 3)
    assert_refused(run, "arrays, at most 100,000,000 and 3 are read")
    with pytest.raises(CheckpointError, match="there is more of it than is read again"):
        save_checkpoint(run / LAST, {str(i): np.zeros(1) for i in range(4)}, {})


# ---------------------------------------------------------------------------------------------- the arrays
def other(arrays, name, array):
    arrays[name] = array


BIAS = "model/output.bias"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda a: a.pop(BIAS), f"it lacks {BIAS}"),
        (lambda a: other(a, "model/more", np.ones(3)), "it also has model/more"),
        (lambda a: other(a, "more", np.ones(3)), "it also has more"),
        (lambda a: other(a, BIAS, a[BIAS].view(np.int32)), f"{BIAS} is int32 (7,), expected float32 (7,)"),
        (lambda a: other(a, BIAS, a[BIAS].astype(np.complex64)), f"{BIAS} is complex64 (7,), expected float32"),
        (lambda a: other(a, BIAS, a[BIAS].astype(np.float16)), f"{BIAS} is float16 (7,), expected float32"),
        (lambda a: other(a, BIAS, a[BIAS][:3]), f"{BIAS} is float32 (3,), expected float32 (7,)"),
        (lambda a: a[BIAS].fill(math.nan), f"{BIAS} has parameters that are not finite"),
        (lambda a: a[BIAS].fill(3e38), f"{BIAS} has parameters that are not finite, or beyond 1e+30"),
        (lambda a: [other(a, f"model/{i}", np.ones(0)) for i in range(10_000)], "model/0, model/1, model/10 and 9,997"),
    ],
)
def test_arrays_that_are_not_the_models_are_refused_without_a_warning(run, damage, says):
    arrays, meta = load_checkpoint(run / LAST)
    damage(arrays)
    save_checkpoint(run / LAST, arrays, meta)
    assert_refused(run, says)


@pytest.mark.parametrize("axes", [64, 72])
def test_an_array_of_very_many_axes_is_refused(run, axes):
    save_checkpoint(run / LAST, {BIAS: np.ones(1)}, load_checkpoint(run / LAST)[1])
    content = (run / LAST).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header[BIAS]["shape"] = [1] * axes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (run / LAST).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    assert_refused(run, f"{BIAS} is float64 of {axes} axes")
    if axes > 64:  # NumPy has no such array
        with pytest.raises(CheckpointError, match="cannot be read"):
            load_checkpoint(run / LAST)


def test_no_array_is_read_before_all_are_known_to_fit(run):
    arrays, meta = load_checkpoint(run / LAST)
    save_checkpoint(run / LAST, {**arrays, "large": np.zeros(10_000_000, np.float32)}, meta)
    trainer = tiny_trainer(run)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="it also has large"):
        trainer.resume()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_arrays_that_are_not_asked_for_are_not_read(run):
    arrays, meta = load_checkpoint(run / LAST)
    save_checkpoint(run / LAST, {**arrays, "large": np.zeros(10_000_000, np.float32)}, meta)
    tracemalloc.start()
    found = Checkpoint.open(run / LAST).arrays(prefix="model/")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.keys() == {name for name in arrays if name.startswith("model/")}
    assert peak < 5_000_000


def test_a_state_of_another_kind_of_number_is_refused_by_a_module():
    model = Linear(2, 3, np.random.default_rng(0))
    state = model.state_dict()
    for kind in (np.complex64, np.int32):
        with pytest.raises(ShapeError, match=f"bias is {np.dtype(kind)}, expected float32"):
            model.load_state_dict({**state, "bias": state["bias"].astype(kind)})
    model.load_state_dict({name: array.astype(np.float64) for name, array in state.items()})


# ---------------------------------------------------------------------------------------------- what is no file
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_a_device_and_a_broken_link_are_no_checkpoints(run):
    def replace(make):
        (run / LAST).unlink()
        make(run / LAST)

    replace(os.mkfifo)
    assert_refused(run, "It is a pipe or a device, not a file")
    replace(lambda path: path.symlink_to("/dev/zero"))
    assert_refused(run, "It is a pipe or a device, not a file")
    replace(lambda path: path.symlink_to("nowhere"))
    assert_refused(run, "a link to a file that is not there")
    replace(lambda path: path.symlink_to(path.name))
    assert_refused(run, "cannot be read")


def test_a_best_model_that_is_gone_is_missed_before_the_work(run):
    (run / BEST).unlink()
    assert_refused(run, f"there is no checkpoint {run / BEST}")


# ---------------------------------------------------------------------------------------------- tools
def test_a_dataclass_is_filled_by_json_of_its_types():
    values = {
        "state": {"step": 3, "best": math.inf},
        "optimizer": {"kind": "Adam", "lr": 1, "t": {}},
        "schedule": {"stale": 2},
        "generators": {},
        "more": 1,
    }
    saved = as_kind(values, Saved)
    assert (saved.state.step, saved.state.best, saved.optimizer.lr, saved.schedule) == (3, math.inf, 1.0, {"stale": 2})
    assert type(saved.schedule["stale"]) is int  # and is written as it was read


def test_text_that_steers_a_terminal_becomes_visible():
    assert visible("a\tb\nc é \u200d") == "a\tb\nc é \u200d"
    assert visible("\x1b[31m\r\x00\x9b\u202e") == r"\x1b[31m\r\x00\x9b\u202e"
    assert not any(ord(c) in ESCAPES for c in visible("".join(map(chr, range(0xD7FF)))))
