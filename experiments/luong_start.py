"""Where Luong's network starts, and how it learns from there: why W_s and the embeddings are as large as they are.

    python experiments/luong_start.py --data FOLDER_OF_MULTI30K --out runs/start --set vocabulary=3000

Trains the network of `minattn train translate --model luong` for a few steps from several starts, all else equal, and
RNNsearch for comparison.  Leaves a table in the folder: the loss per symbol over the last half of the steps, how much
of the attentional vector h~ stands at the ends of its tanh afterwards, and how much it differs from place to place.
"""

import argparse
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from shared import markdown_table, run

from minattn.autograd import no_grad
from minattn.data import ParallelText, Splits, evaluation_batches
from minattn.models import Luong
from minattn.tasks.files import write_text
from minattn.tasks.run_folder import check_writable
from minattn.tasks.threads import blas_threads
from minattn.tasks.translate.source import ParallelSource
from minattn.tasks.translate.task import Translation
from minattn.tasks.translate.translator import Translator
from minattn.training import clip_grad_norm

SATURATED = 0.95
MEASURED_SENTENCES = 256

LUONG = ("model=luong", "layers=2", "lr=3e-3")


class Start(NamedTuple):
    """A row of the table: settings, and whether W_s and the embeddings are made as small as they are elsewhere."""

    settings: tuple[str, ...]
    small_readout: bool = False
    small_embeddings: bool = False


STARTS = {
    "both small": Start(LUONG, small_readout=True, small_embeddings=True),
    "both small, a rate of 1e-3": Start((*LUONG, "lr=1e-3"), small_readout=True, small_embeddings=True),
    "W_s small": Start(LUONG, small_readout=True),
    "embeddings small": Start(LUONG, small_embeddings=True),
    "neither": Start(LUONG),
    "neither, source not reversed": Start((*LUONG, "reverse=false")),
    "neither, a rate of 6e-3": Start((*LUONG, "lr=6e-3")),
    "neither, a rate of 6e-3, one layer": Start((*LUONG, "lr=6e-3", "layers=1")),
    "RNNsearch": Start(("model=rnnsearch",)),
}


def main() -> None:
    """Train from every start, then tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="NAME|FOLDER", help="as of minattn train translate")
    parser.add_argument("--train", metavar="FILE[,FILE]", help="files, as of minattn train translate")
    parser.add_argument("--out", type=Path, default=Path("runs/start"), help="folder for the table")
    parser.add_argument("--steps", type=int, default=200, help="steps from each start")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of all")
    arguments = parser.parse_args()

    check_writable(arguments.out)
    source, task = ParallelSource(data=arguments.data, train=arguments.train), Translation()
    configs = {name: task.configure([*start.settings, *arguments.set], source=source) for name, start in STARTS.items()}
    splits = source.load()
    rows = []
    for name, start in STARTS.items():
        translator = task.build(configs[name], splits)
        shrink(translator.model, start)
        loss = loss_of_steps(translator, splits, arguments.steps)
        rows.append([name, f"{loss:.2f}", *vectors_of(translator, splits.dev)])
        print(*rows[-1], sep="  ", flush=True)
    header = ["start", "loss per symbol", f"h~ beyond {SATURATED} (%)", "deviation of h~"]
    text = markdown_table(header, rows)
    write_text(arguments.out / "start.md", text)
    print(text)


def shrink(model: Any, start: Start) -> None:
    """Make W_s Glorot-uniform, and the embeddings a tenth of what they are, where the start says so."""
    if start.small_readout:
        n, words = model.decoder.W_s.shape
        model.decoder.W_s.data *= np.float32(math.sqrt(2 * n / (n + words)))  # of variance 1 / n before
    if start.small_embeddings:
        for side in (model.encoder, model.decoder):
            side.embedding.weight.data *= np.float32(0.1)


@blas_threads()
def loss_of_steps(translator: Translator, splits: Splits[ParallelText], steps: int) -> float:
    """Train for so many steps, whose rate is that of a run three times as long; the mean loss of the last half."""
    config, model = translator.config, translator.model
    parameters: Mapping[str, Any] = model.named_parameters()
    optimizer, schedule = config.optimizer(parameters), config.schedule(3 * steps)
    epochs = (translator.batches(splits.train).iterate(epoch) for epoch in itertools.count())
    losses = []
    for step, batch in enumerate(itertools.islice(itertools.chain.from_iterable(epochs), steps), start=1):
        loss = translator.loss(model, batch)
        loss.backward()
        clip_grad_norm(parameters.values(), config.max_norm)
        optimizer.lr = schedule(step)
        optimizer.step()
        model.zero_grad()
        losses.append(loss.item() * len(batch.source) / int(batch.target_mask[:, 1:].sum()))
    return fmean(losses[steps // 2 :])


@blas_threads()
@no_grad()
def vectors_of(translator: Translator, dev: ParallelText) -> tuple[str, str]:
    """How much of h~ is saturated, in percent, and its standard deviation over places; dashes for another network."""
    model = translator.model
    if not isinstance(model, Luong):
        return "–", "–"
    model.eval()
    batch = next(iter(evaluation_batches(translator.encode(dev)[:MEASURED_SENTENCES], MEASURED_SENTENCES)))
    memory, state = model.encode(batch.source, batch.source_mask)
    vectors = model.decoder.feed(batch.target[:, :-1], state, memory, model.attention)[0].data
    real = vectors[batch.target_mask[:, 1:]]
    return f"{100 * (abs(real) > SATURATED).mean():.0f}", f"{real.std(0).mean():.2f}"


if __name__ == "__main__":
    run(main)
