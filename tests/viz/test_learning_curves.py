"""Learning curves show what the log says, whatever else stands in it."""

import json
import sys

import numpy as np
import pytest

from minattn.errors import DataError, MissingDependencyError
from minattn.viz import learning_curves, read_records
from minattn.viz.curves import smoothed

RATE = {"axis": "error rate (%)", "unit": "%", "digits": 2, "lower_is_better": True}
METRICS = {
    "metrics": {"dev_per": {"label": "phonemes (PER)", **RATE}, "dev_wer": {"label": "words (WER)", **RATE}},
}
TRAINING = [{"step": step, "epoch": step // 30, "loss": 3.0 / step, "lr": 1e-3} for step in range(1, 101)]
EVALUATIONS = [
    METRICS,
    {"step": 30, "epoch": 1, "dev_loss": 0.5, "dev_per": 20.0, "dev_wer": 60.0},
    {"step": 60, "epoch": 2, "dev_loss": 0.31, "dev_per": 9.876, "dev_wer": 35.0},
    {"step": 90, "epoch": 3, "dev_loss": 0.35, "dev_per": 10.0, "dev_wer": 31.0},
]


def lines(axes):
    """The named lines of some axes: name -> (x, y)."""
    return {line.get_label(): line.get_data() for line in axes.lines if not line.get_label().startswith("_")}


def names(axes):
    return sorted(text.get_text() for text in axes.texts)


def dots(axes):
    return {(float(*line.get_xdata()), float(*line.get_ydata())) for line in axes.lines if line.get_marker() == "o"}


def test_losses_stand_left_and_error_rates_right():
    losses, rates = learning_curves(TRAINING + EVALUATIONS, title="a run").axes
    assert set(lines(losses)) == {"training loss", "dev loss"}
    assert set(lines(rates)) == {"words (WER)", "phonemes (PER)"}
    np.testing.assert_array_equal(lines(losses)["dev loss"], ([30, 60, 90], [0.5, 0.31, 0.35]))
    np.testing.assert_array_equal(lines(rates)["phonemes (PER)"], ([30, 60, 90], [20, 9.876, 10]))
    assert (losses.get_xlabel(), losses.get_ylabel()) == ("step", "loss (nats)")
    assert (rates.get_xlabel(), rates.get_ylabel()) == ("step", "dev error rate (%)")
    assert losses.get_title(loc="left") == "a run"


def test_training_loss_is_shown_raw_and_smoothed():
    axes, _ = learning_curves(TRAINING + EVALUATIONS).axes
    raw = axes.lines[0]
    np.testing.assert_array_equal(raw.get_ydata(), [record["loss"] for record in TRAINING])
    assert raw.get_alpha() < 0.5
    steps, trend = lines(axes)["training loss"]
    np.testing.assert_array_equal(steps, np.arange(1, 101))
    np.testing.assert_allclose(trend, smoothed(raw.get_ydata()))


def test_best_points_are_marked_with_their_values():
    losses, rates = learning_curves(TRAINING + EVALUATIONS).axes
    assert names(losses) == ["dev loss, best 0.310", "training loss"]
    assert names(rates) == ["phonemes (PER), best 9.88 %", "words (WER), best 31.00 %"]
    assert dots(losses) == {(60, 0.31)}
    assert dots(rates) == {(60, 9.876), (90, 31)}


def test_all_names_are_on_the_page_and_apart():
    figure = learning_curves(TRAINING + EVALUATIONS, title="a run")
    figure.canvas.draw()
    boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_only_what_is_in_the_log_is_drawn():
    (axes,) = learning_curves(TRAINING).axes
    assert set(lines(axes)) == {"training loss"}
    (axes,) = learning_curves([METRICS, {"step": 5, "dev_per": 7.4}]).axes
    assert names(axes) == ["phonemes (PER), best 7.40 %"]
    (axes,) = learning_curves([{"step": 0, "loss": 7.4}]).axes
    assert names(axes) == ["training loss"]
    (axes,) = learning_curves([*TRAINING, {"step": 5, "dev_per": 7.4}]).axes
    assert names(axes) == ["training loss"], "no record describes the other metric"


def test_metrics_share_a_panel_where_they_share_their_axis_and_the_best_may_be_the_highest():
    described = {
        "dev_hits": {"label": "hits", "axis": "right (%)", "unit": "%", "digits": 1, "lower_is_better": False},
        "dev_bits": {"label": "bits", "axis": "bits", "unit": "bits", "digits": 3, "lower_is_better": True},
        "dev_top": {"label": "top", "axis": "right (%)", "unit": "%", "digits": 1, "lower_is_better": False},
    }
    values = [{"step": k, "dev_hits": 10.0 + k % 3, "dev_bits": 2.0 + k % 3, "dev_top": 30.0 + k} for k in range(1, 6)]
    right, bits = learning_curves([{"metrics": described}, *values]).axes
    assert (right.get_ylabel(), bits.get_ylabel()) == ("dev right (%)", "dev bits")
    assert names(right) == ["hits, best 12.0 %", "top, best 35.0 %"]
    assert names(bits) == ["bits, best 2.000"]
    assert dots(right) == {(2, 12), (5, 35)}


def test_other_records_and_unusable_values_are_passed_over():
    noise = [
        {"event": "start", "seed": 1},
        {"step": 70},
        {"loss": 1.0},
        {"step": None, "loss": 1.0},
        {"step": 71, "loss": None},
        {"step": 72, "loss": float("nan")},
        {"step": 73, "loss": float("inf")},
        {"step": 74, "loss": "0.3"},
        {"step": 75, "loss": True},
    ]
    (axes,) = learning_curves([*noise, {"step": 1, "loss": 2.0}, {"step": np.int64(2), "loss": np.float32(1.0)}]).axes
    np.testing.assert_array_equal(axes.lines[0].get_data(), ([1, 2], [2, 1]))


def test_after_a_resumed_run_the_later_record_of_a_step_counts():
    records = [{"step": step, "dev_loss": loss} for step, loss in [(1, 5.0), (2, 4.0), (3, 3.0), (2, 3.5), (4, 2.0)]]
    (axes,) = learning_curves(records).axes
    np.testing.assert_array_equal(lines(axes)["dev loss"], ([1, 2, 3, 4], [5, 3.5, 3, 2]))


def test_a_log_without_steps_is_drawn_against_epochs():
    (axes,) = learning_curves([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]).axes
    assert axes.get_xlabel() == "epoch"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(DataError, match=r"none of the 1 records.*'step' with 'loss'"):
        learning_curves([{"step": 3, "accuracy": 0.5}])
    with pytest.raises(DataError, match="none of the 0 records"):
        learning_curves([])


def test_smoothing_keeps_constants_and_short_curves_and_does_not_lag():
    np.testing.assert_allclose(smoothed(np.full(500, 3.0)), 3)
    np.testing.assert_allclose(smoothed(np.array([3.0, 1.0, 2.0])), [3, 1, 2])
    line = np.arange(400.0)
    np.testing.assert_allclose(smoothed(line)[5:-5], line[5:-5])
    assert smoothed(np.random.default_rng(0).normal(size=1000)).std() < 0.25


def test_log_is_read_past_half_written_lines(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"step": 1, "loss": 2}\n{"step": 2, "lo{"step": 2, "loss": 1.5}\n\n[1]\n{"step": 3, "loss": 1}\n{"st'
    )
    assert read_records(log) == [{"step": 1, "loss": 2}, {"step": 3, "loss": 1}]


def test_log_with_nan_is_read(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"step": 1, "loss": float("nan")}) + "\n" + json.dumps({"step": 2, "loss": 1.0}))
    (axes,) = learning_curves(read_records(log)).axes
    np.testing.assert_array_equal(axes.lines[0].get_data(), ([2], [1]))


def test_a_log_that_was_tampered_with_is_drawn_as_far_as_it_makes_sense(tmp_path):
    log = tmp_path / "log.jsonl"
    whole = [{"step": 1, "loss": 2}, {"step": 2, "loss": 1}, METRICS, {"step": 2, "dev_per": 9.0}]
    metric = METRICS["metrics"]["dev_per"]
    odd = [
        *({"metrics": None}, {"metrics": [1]}, {"metrics": {"dev_wer": 5}}, {"step": "a", "loss": 1}),
        *({"step": 3, "loss": 10**400}, {"step": 10**400, "loss": 1}, {"step": 3, "dev_per": 1e308}),
        *({"step": 2, f"dev_{name}": 5.0} for name in ("digits", "many", "label", "long", "math", "axis", "best")),
        {
            "metrics": {
                "dev_digits": metric | {"digits": "x"},
                "dev_many": metric | {"digits": 10**6},
                "dev_label": metric | {"label": 5},
                "dev_long": metric | {"label": "x" * 50_000},
                "dev_math": metric | {"label": r"$\\frac$"},
                "dev_axis": metric | {"axis": "\x1b"},
                "dev_best": metric | {"lower_is_better": None},
            }
        },
    ]
    lines = [json.dumps(record) for record in (*whole, *odd)]
    log.write_text("\n".join([*lines, "[" * 100_000, '{"step": ' + "1" * 5000 + "}"]))
    figure = learning_curves(read_records(log))
    figure.canvas.draw()
    losses, rates = figure.axes
    np.testing.assert_array_equal(losses.lines[0].get_data(), ([1, 2], [2, 1]))
    assert names(rates) == ["phonemes (PER), best 9.00 %"]


def test_a_log_that_has_no_end_is_not_read(tmp_path):
    (tmp_path / "log.jsonl").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"cannot read the log .*: It is a pipe or a device"):
        read_records(tmp_path / "log.jsonl")


def test_unusable_logs_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the log .*none\.jsonl: No such file"):
        read_records(tmp_path / "none.jsonl")
    (tmp_path / "log.jsonl").write_text("not a log\n")
    with pytest.raises(DataError, match="holds no record"):
        read_records(tmp_path / "log.jsonl")


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[train\]'"):
        learning_curves(TRAINING)
