"""A character language model: a Transformer of decoder layers alone learns to write like the text it reads.

Without files the text is the documentation strings of Python's standard library, which every installation has; with
--train any text.  The score is bits per character, -log2 p(character | those before it), the mean over the test text,
beside what simple counting and compression reach on the same text (`minattn.tasks.lm.baselines`).  At every evaluation
the model writes a little, on from a prompt that stays the same, into samples.txt.
"""

import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from minattn.autograd import check_device
from minattn.data import Alphabet, Splits, TextWindows, load_docstrings, read_text, split_text
from minattn.data.text.texts import cut_tail
from minattn.errors import DataError
from minattn.tasks import driver as runs
from minattn.tasks.config import from_stored, with_settings, write_json, write_text
from minattn.tasks.driver import PARTS, begin, go_on, run_content
from minattn.tasks.lm.baselines import baselines
from minattn.tasks.lm.character_model import RECIPE, CharacterModel, LanguageConfig
from minattn.tasks.run_folder import CURVES, REPORT, SAMPLES, check_libraries, check_unused
from minattn.tasks.threads import blas_threads
from minattn.training import LOG, Adam, Cosine, LinearWarmup, Outcome, Plan, Trainer
from minattn.training.progress import Progress, default_progress

PROMPT = 40  # characters of a prompt, at most


@dataclass(frozen=True)
class DataFiles(runs.DataFiles):
    """Where the text comes from: any UTF-8 files, or the standard library's documentation strings.

    train alone is cut into 90 % train, 5 % dev and 5 % test; with test and no dev, the last 5 % of train are dev.
    """

    OWN = f"the documentation strings of Python {platform.python_version()}"

    def load(self) -> Splits[str]:
        """The texts.  Raises DataError for files that cannot be used."""
        if self.train is None:
            return load_docstrings()
        train = read_text(self.train)
        if self.test is None:
            return split_text(train)
        test = read_text(self.test)
        if self.dev is not None:
            return Splits(train, read_text(self.dev), test)
        return Splits(*cut_tail(train), test)


def config_from(settings: Sequence[str], model: None = None) -> LanguageConfig:
    """The default settings, changed by `settings` of the form "key=value"; there is one model to choose from."""
    return with_settings(LanguageConfig(), settings)


def stored_run(folder: str | Path) -> runs.StoredRun[LanguageConfig, DataFiles]:
    """What the run's config.json says.  Raises CheckpointError where the folder is no lm run."""
    return runs.StoredRun.read(
        folder, RECIPE, lambda stored, path: from_stored(LanguageConfig, stored, path), DataFiles
    )


@blas_threads()
def train(
    config: LanguageConfig,
    files: DataFiles,
    folder: str | Path,
    device: str = "cpu",
    make_progress: Callable[[], Progress] = default_progress,
) -> Outcome:
    """Train a language model in a new folder.

    When the budget is spent, the best model is measured on the test text and the curves are drawn.  After Ctrl-C
    neither is done: resume the run to finish it.  Whatever is wrong with the arguments is told before anything is
    written.
    """
    folder, files = Path(folder), files.absolute()
    check_libraries()
    check_device(device)
    check_unused(folder)
    progress = make_progress()
    texts = _load(files, progress)
    trainer = _trainer(_untrained(config, texts), texts, folder, device, progress)
    outcome = begin(trainer, run_content(RECIPE, config, files, texts.fingerprints()))
    return _finished(outcome, folder, texts, device, make_progress())


@blas_threads()
def resume(
    folder: str | Path, device: str = "cpu", make_progress: Callable[[], Progress] = default_progress
) -> Outcome:
    """Go on with a run that was stopped, as if it had not been.

    Raises DataError where its text has changed, CheckpointError where the folder is no such run or damaged.
    """
    folder = Path(folder)
    stored = stored_run(folder)
    check_libraries()
    check_device(device)
    progress = make_progress()
    texts = _load(stored.files, progress)
    other = "the Python it was started with" if stored.files.train is None else "the old file"
    stored.check_same(texts.fingerprints(), "text", f"go on with {other}, or start a new run")
    trainer = _trainer(_untrained(stored.config, texts), texts, folder, device, progress)
    return _finished(go_on(trainer), folder, texts, device, make_progress())


# ---------------------------------------------------------------------------------------------- its parts
def _load(files: DataFiles, progress: Progress) -> Splits[str]:
    progress.note(f"reading {files.source('train')}")
    texts = files.load()
    for name, text in texts.parts().items():
        if len(text) < 2:
            raise DataError(
                f"there is no {name} text in {files.source(name)}, {len(text)} characters where 2 are the least; the "
                "hint: a longer text, or --dev and --test files"
            )
    counts = ", ".join(f"{len(getattr(texts, name)):,} {name}" for name in PARTS)
    progress.note(f"characters: {counts}; {len(set(''.join(texts)))} different ones")
    return texts


def _untrained(config: LanguageConfig, texts: Splits[str]) -> CharacterModel:
    """A model for all characters of all parts: one that the training text lacks is one that was never seen, no more."""
    first_line = texts.dev.lstrip("\n").split("\n")[0]
    return CharacterModel(config, Alphabet("".join(texts)), first_line[:PROMPT] or "\n")


def _trainer(characters: CharacterModel, texts: Splits[str], folder: Path, device: str, progress: Progress) -> Trainer:
    """What trains a model that has learned nothing yet."""
    config = characters.config
    characters.model.to(device)
    train, dev = (characters.alphabet.encode(text) for text in (texts.train, texts.dev))
    windows = TextWindows(train, config.context, config.batch_size, config.seed)

    def evaluate(_: object) -> dict[str, float]:
        loss = characters.mean_loss(dev)
        sample = "".join(characters.write(characters.prompt, config.sample, config.temperature, seed=config.seed))
        heading = f"step {trainer.state.step:,}, {loss / log(2):.3f} bits per character on the dev text"
        add_sample(folder / SAMPLES, trainer.state.step, heading, characters.prompt + sample)
        progress.note(indented(characters.prompt + sample))
        return {"dev_loss": loss, "dev_bits": loss / log(2)}

    trainer = Trainer(
        characters.model,
        Adam(characters.model.named_parameters(), config.lr, betas=(0.9, config.beta2)),
        windows,
        characters.loss,
        folder,
        Plan(steps=config.steps, max_norm=config.max_norm, evaluate_every=config.evaluate_every, metric="dev_bits"),
        schedule=LinearWarmup(
            Cosine(config.lr, config.steps, config.lr / 20), min(config.warmup, max(1, config.steps // 10))
        ),
        evaluate=evaluate,
        meta=characters.meta(),
        tokens=lambda batch: batch.target.size,
        progress=progress,
        threads=config.threads,
    )
    weights = characters.model.count_parameters()
    epochs = config.steps / len(windows)
    progress.note(f"{weights:,} weights, to train for {config.steps:,} steps, {epochs:.2f} times the text")
    return trainer


def add_sample(path: Path, step: int, heading: str, text: str) -> None:
    """Put a sample at the end of the file, in place of any of this step or later that a stopped run has left there."""
    kept = path.read_bytes().decode() if path.exists() else ""
    for found in re.finditer(r"^step ([\d,]+)", kept, re.MULTILINE):  # what the model writes stands indented
        if int(found[1].replace(",", "")) >= step:
            kept = kept[: found.start()]
            break
    write_text(path, f"{kept}{heading}\n\n{indented(text)}\n\n")


def indented(text: str) -> str:
    """Each line of the text, empty ones too, behind four blanks."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _finished(outcome: Outcome, folder: Path, texts: Splits[str], device: str, progress: Progress) -> Outcome:
    """Measure the best model on the test text, draw the curves and write the report, unless Ctrl-C was pressed."""
    if outcome.interrupted:
        return outcome
    from minattn.viz import learning_curves, read_records, save_figure

    progress.note(outcome.message)
    characters = CharacterModel.load(folder, device)
    progress.note(f"measuring on the test text, {len(texts.test):,} characters")
    train, test = (characters.alphabet.encode(text) for text in (texts.train, texts.test))
    bits = characters.mean_loss(test) / log(2)
    save_figure(learning_curves(read_records(folder / LOG)), folder / CURVES)
    report = {
        "test": {"bits_per_character": bits, "characters": len(test) - 1},
        "baselines": baselines(train, test, len(characters.alphabet), (texts.train, texts.test)),
        "training": {
            "steps": outcome.step,
            "best_step": outcome.best_step,
            "dev_bits_per_character": outcome.best,
            "characters": len(train),
            "seconds": outcome.seconds,
        },
    }
    write_json(folder / REPORT, report)
    return outcome
