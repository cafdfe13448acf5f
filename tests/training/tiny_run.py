"""A small real training run: everything that a checkpoint must hold takes part in it.

As a program, `python tiny_run.py FOLDER PAUSE` starts the run or goes on with it, pausing after each step.
"""

import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np

import minattn as ma
from minattn.data.batching import LengthBucketedBatches
from minattn.nn import Buffer, Dropout, Embedding, Linear, Module
from minattn.training import BEST, LAST, LOG, Adam, LinearWarmup, Plan, Plateau, Progress, Trainer, load_checkpoint

WORDS, SIZE = 7, 4
STEPS = 45


class TinyModel(Module):
    """The mean embedding of the source, some of it dropped, to the logits of the target's first number."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.embedding = Embedding(WORDS, SIZE, rng, std=1.0)
        self.dropout = Dropout(0.3, np.random.default_rng(2))
        self.output = Linear(SIZE, WORDS, rng)
        self.seen = Buffer(np.zeros((), np.float32))  # moves with every step, as a running mean does

    def forward(self, ids):
        if self.training:
            self.seen.data *= 0.9
            self.seen.data += float(ids.mean())
        return self.output(self.dropout(self.embedding(ids)).mean(1))


def pairs():
    rng = np.random.default_rng(3)
    sources = [rng.integers(0, WORDS, rng.integers(1, 6)) for _ in range(40)]
    return [(source, source[:1]) for source in sources]


def loss_of(model, batch):
    return ma.cross_entropy(model(batch.source), batch.target[:, 0])


def dev_loss(model):
    losses = [loss_of(model, batch).item() for batch in LengthBucketedBatches(pairs(), 40, seed=9).iterate(0)]
    return {"dev_loss": sum(losses)}


def plan(**changes):
    settings = {"steps": STEPS, "evaluate_every": 6, "patience": 40, "max_norm": 1.0, "log_every": 4, "save_every": 7}
    return Plan(**{**settings, **changes})


def tiny_trainer(folder, *, loss_fn=loss_of, evaluate=dev_loss, progress=None, threads=1, **changes):
    """A trainer of the run in `folder`; changes: to its plan.  8 batches an epoch."""
    model = TinyModel()
    noise = np.random.default_rng(4)

    def noisy_loss(model, batch):
        return loss_fn(model, batch) + 0.1 * noise.random()

    return Trainer(
        model,
        Adam(model.named_parameters()),
        LengthBucketedBatches(pairs(), 5, seed=5),
        noisy_loss,
        folder,
        plan(**changes),
        schedule=LinearWarmup(Plateau(0.1, patience=2), 5),
        evaluate=evaluate,
        generators={"noise": noise},
        meta={"model": "tiny", "config": {"size": SIZE}},
        tokens=lambda batch: int(batch.source_mask.sum()),
        progress=progress or Progress(),
        threads=threads,
    )


def log_of(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def assert_same_run(folder, straight):
    """Bit for bit the same checkpoints and the same log, but for what the clock says."""
    for name in (LAST, BEST):
        (arrays, meta), (expected, expected_meta) = load_checkpoint(folder / name), load_checkpoint(straight / name)
        assert {k: (a.dtype, a.tobytes()) for k, a in arrays.items()} == {
            k: (a.dtype, a.tobytes()) for k, a in expected.items()
        }
        for timed in (meta["state"], expected_meta["state"]):
            del timed["seconds"], timed["log_bytes"]
        assert meta == expected_meta
    logs = log_of(folder), log_of(straight)
    for record in itertools.chain(*logs):
        for timed in ("seconds", "tokens_per_second"):
            record.pop(timed, None)
    assert logs[0] == logs[1]


def main(folder, pause):
    def slow_loss(model, batch):
        time.sleep(float(pause))
        return loss_of(model, batch)

    trainer = tiny_trainer(folder, loss_fn=slow_loss)
    if (Path(folder) / LAST).exists():
        trainer.resume()
    outcome = trainer.run()
    print(outcome.message)
    return 130 if outcome.interrupted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
