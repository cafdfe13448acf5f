"""Grapheme-to-phoneme conversion: RNNsearch or the Transformer learns to pronounce English from CMUdict.

A word's letters are the source, its phonemes the target, and attention shows which letters make which sound.  The
score is PER and WER, phoneme and word error rate, of the best model on the test words.  The settings are told in
`minattn.tasks.g2p.settings`, what lies in a run's folder in `minattn.tasks.run_folder`.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minattn.autograd import check_device
from minattn.data import (
    LengthBucketedBatches,
    Lexicon,
    LexiconSplits,
    hold_out,
    load_cmudict,
    read_lexicon,
    split_lexicon,
)
from minattn.errors import DataError
from minattn.tasks import driver as runs
from minattn.tasks.config import write_json
from minattn.tasks.driver import PARTS, begin, go_on, run_content
from minattn.tasks.g2p.pronouncer import RECIPE, Pronouncer, Pronunciation
from minattn.tasks.g2p.settings import G2PConfig, config_from, default_config, stored_config
from minattn.tasks.run_folder import ALIGNMENTS, CURVES, REPORT, check_libraries, check_unused
from minattn.tasks.threads import blas_threads
from minattn.training import LOG, Outcome, Plan, Trainer
from minattn.training.metrics import Score
from minattn.training.progress import Progress, default_progress

__all__ = [
    "DataFiles",
    "Pronouncer",
    "config_from",
    "default_config",
    "draw_alignments",
    "draw_pictures",
    "evaluate",
    "fingerprint",
    "resume",
    "stored_run",
    "train",
]

SHOWN_WORDS = ("attention", "knight", "through", "bookkeeper", "phoenix", "extraordinary")
"""The words of the alignment picture."""


# ---------------------------------------------------------------------------------------------- the data
@dataclass(frozen=True)
class DataFiles(runs.DataFiles):
    """Where the words come from: lexicon files `WORD<TAB>PH PH PH`, or CMUdict where none is given.

    train alone is split by the hash of the word; with test and no dev, development words are held out of train.
    """

    OWN = "CMUdict"

    def load(self) -> LexiconSplits:
        """The lexicons.  Raises DataError for files that cannot be used."""
        if self.train is None:
            return load_cmudict()
        train = read_lexicon(self.train)
        if self.test is None:
            return split_lexicon(train)
        test = read_lexicon(self.test)
        if self.dev is not None:
            return LexiconSplits(train, read_lexicon(self.dev), test)
        kept, held_out = hold_out(train, n=min(2670, max(1, len(train) // 20)))
        return LexiconSplits(kept, held_out, test)

    def load_test(self) -> Lexicon:
        """The test words alone, which need no other file where they have their own."""
        return self.load().test if self.test is None else read_lexicon(self.test)


def fingerprint(lexicon: Lexicon) -> str:
    """SHA-256 of the words and pronunciations in their order: by it a resumed run knows that they are the same."""
    lines = [f"{word}\t{' '.join(pronunciation)}\n" for word, pronunciation in lexicon.pairs()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def fingerprints(splits: LexiconSplits) -> dict[str, str]:
    """Those of the train, dev and test words."""
    return {name: fingerprint(getattr(splits, name)) for name in PARTS}


# ---------------------------------------------------------------------------------------------- a run
def stored_run(folder: str | Path) -> runs.StoredRun[G2PConfig, DataFiles]:
    """What the run's config.json says.  Raises CheckpointError where the folder is no g2p run."""
    return runs.StoredRun.read(folder, RECIPE, stored_config, DataFiles)


@blas_threads()
def train(
    config: G2PConfig,
    files: DataFiles,
    folder: str | Path,
    device: str = "cpu",
    make_progress: Callable[[], Progress] = default_progress,
) -> Outcome:
    """Train a pronouncer in a new folder.

    When the budget is spent, the best model is scored on the test words and the pictures are drawn.  After Ctrl-C
    neither is done: resume the run to finish it.  Whatever is wrong with the arguments is told before anything is
    written.
    """
    folder, files = Path(folder), files.absolute()
    check_libraries()
    check_device(device)
    check_unused(folder)
    progress = make_progress()
    splits = _load(files, progress)
    pronouncer = Pronouncer.of(config, splits.train)
    for name in PARTS:
        pronouncer.check_fits(getattr(splits, name), f"the {name} words of {files.source(name)}")
    trainer = _trainer(pronouncer, splits, folder, device, progress)
    outcome = begin(trainer, run_content(RECIPE, config, files, fingerprints(splits)))
    return _finished(outcome, folder, splits, device, make_progress())


@blas_threads()
def resume(
    folder: str | Path, device: str = "cpu", make_progress: Callable[[], Progress] = default_progress
) -> Outcome:
    """Go on with a run that was stopped, as if it had not been.

    Raises DataError where its words have changed, CheckpointError where the folder is no such run or damaged.
    """
    folder = Path(folder)
    stored = stored_run(folder)
    check_libraries()
    check_device(device)
    progress = make_progress()
    splits = _load(stored.files, progress)
    stored.check_same(fingerprints(splits), "words", "put the old file back, or start a new run with the new one")
    trainer = _trainer(Pronouncer.of(stored.config, splits.train), splits, folder, device, progress)
    return _finished(go_on(trainer), folder, splits, device, make_progress())


def evaluate(
    run: str | Path,
    device: str = "cpu",
    test: str | None = None,
    beam: int | None = None,
    progress: Progress | None = None,
) -> tuple[Score, int]:
    """PER and WER of a run's best model on its test words, or on those of the lexicon file `test`, and the beam."""
    stored = stored_run(run)
    pronouncer = Pronouncer.load(run, device)
    if test is None:
        lexicon = stored.files.load_test()
        same = {"test": fingerprint(lexicon)}
        stored.check_same(same, "words", "put the old file back, or name the new one by --test")
    else:
        lexicon = read_lexicon(test)
    pronouncer.check_fits(lexicon, test or "the test words")
    beam = beam or stored.config.beam
    return _scored(pronouncer, lexicon, beam, progress or Progress()), beam


# ---------------------------------------------------------------------------------------------- its parts
def _load(files: DataFiles, progress: Progress) -> LexiconSplits:
    progress.note(f"reading {files.source('train')}")
    splits = files.load()
    for name in PARTS:
        if not getattr(splits, name):
            raise DataError(f"there are no {name} words; hint: more words, or --dev and --test files")
    counts = ", ".join(f"{len(getattr(splits, name)):,} {name}" for name in PARTS)
    progress.note(f"words: {counts}")
    return splits


def _trainer(pronouncer: Pronouncer, splits: LexiconSplits, folder: Path, device: str, progress: Progress) -> Trainer:
    """What trains a pronouncer that has learned nothing yet."""
    config = pronouncer.config
    pronouncer.model.to(device)
    batches = LengthBucketedBatches(pronouncer.encode(splits.train), config.batch_size, config.seed)
    steps = config.epochs * len(batches)
    progress.note(f"{config.model} with {pronouncer.model.count_parameters():,} weights, to train for {steps:,} steps")
    return Trainer(
        pronouncer.model,
        config.optimizer(pronouncer.model.named_parameters()),
        batches,
        pronouncer.loss,
        folder,
        Plan(epochs=config.epochs, max_norm=config.max_norm, metric="dev_per"),
        schedule=config.schedule(steps),
        evaluate=lambda _: _development(pronouncer, splits.dev, progress),
        meta=pronouncer.meta(),
        tokens=lambda batch: int(batch.target_mask.sum()),
        progress=progress,
        threads=config.threads,
    )


def _development(pronouncer: Pronouncer, dev: Lexicon, progress: Progress) -> dict[str, float]:
    def told(done: int, total: int) -> None:
        progress.report(f"scoring the dev words: {done:,} of {total:,}")

    result = pronouncer.score(dev, beam=1, told=told)
    return {"dev_loss": pronouncer.mean_loss(dev), "dev_per": result.per, "dev_wer": result.wer}


def _finished(outcome: Outcome, folder: Path, splits: LexiconSplits, device: str, progress: Progress) -> Outcome:
    """Score the best model on the test words, draw the pictures and write the report, unless Ctrl-C was pressed."""
    if outcome.interrupted:
        return outcome
    progress.note(outcome.message)
    pronouncer = Pronouncer.load(folder, device)
    beam = pronouncer.config.beam
    result = _scored(pronouncer, splits.test, beam, progress)
    progress.note("drawing the pictures")
    draw_pictures(folder, pronouncer, splits.test)
    rates = {"per": result.per, "wer": result.wer, "beam": beam}
    training = {"steps": outcome.step, "best_step": outcome.best_step, "dev_per": outcome.best}
    report = {"test": {**dataclasses.asdict(result), **rates}, "training": {**training, "seconds": outcome.seconds}}
    write_json(folder / REPORT, report)
    return outcome


def _scored(pronouncer: Pronouncer, test: Lexicon, beam: int, progress: Progress) -> Score:
    """The score on the test words, which takes a while: the progress tells how far it is."""

    def told(done: int, total: int) -> None:
        progress.advance(done / total)
        progress.report(f"scoring the test words: {done:,} of {total:,}")

    with progress:
        return pronouncer.score(test, beam, told)


def draw_pictures(folder: Path, pronouncer: Pronouncer, test: Lexicon) -> None:
    """`curves.png` from the run's log, and `alignments.png` of a few words as in the paper's Figure 3."""
    from minattn.viz import learning_curves, read_records, save_figure

    save_figure(learning_curves(read_records(folder / LOG)), folder / CURVES)
    if not pronouncer.config.attends:
        return
    known = [word for word in SHOWN_WORDS if all(letter in pronouncer.letters for letter in word)]
    said = pronouncer.pronounce(known or list(test)[: len(SHOWN_WORDS)], pronouncer.config.beam)
    if any(p.phonemes for p in said):  # a model that has learned next to nothing may say nothing
        draw_alignments(said, folder / ALIGNMENTS)


def draw_alignments(said: Sequence[Pronunciation], path: Path) -> None:
    """A heat map for each word that has a phoneme.  Raises DataError where none has."""
    from minattn.viz import Alignment, alignment_grid, save_figure

    panels = [Alignment(p.alignment, list(p.word), p.phonemes, p.word, p.probability) for p in said if p.phonemes]
    if not panels:
        raise DataError("there is nothing to plot: the model says nothing to these words; hint: train it longer")
    save_figure(alignment_grid(panels), path)
