"""A character language model: a Transformer's layers, or a memory, learn to write like the text they read.

Without files the text is the documentation strings of Python's standard library, which every installation has; with
--train any text.  The score is bits per character, -log2 p(character | those before it), the mean over the test text,
beside what simple counting and compression reach on the same text (`minattn.tasks.lm.baselines`).  At every evaluation
the model writes a little, on from a prompt that stays the same, into samples.txt.
"""

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Annotated, Any, ClassVar

from minattn.data import Alphabet, Splits, load_docstrings, read_text, split_text
from minattn.data.text.texts import cut_tail
from minattn.tasks.fields import AT_LEAST_ONE, NonNegative, Positive
from minattn.tasks.files import write_text
from minattn.tasks.lm.baselines import baselines
from minattn.tasks.lm.character_model import CharacterModel, StoredAlphabet
from minattn.tasks.lm.settings import MODELS, LanguageConfig
from minattn.tasks.task import Evaluation, Files, OnProgress, Output, Task, ignore_progress
from minattn.tasks.threads import blas_threads
from minattn.training import Metric, as_kind
from minattn.training.progress import Progress

SAMPLES = "samples.txt"

PROMPT = 40  # characters of a prompt, at most


@dataclass(frozen=True)
class TextFiles(Files):
    """Any UTF-8 files, or the standard library's documentation strings where none is given.

    train alone is cut into 90 % train, 5 % dev and 5 % test; with test and no dev, the last 5 % of train are dev.
    """

    train: Annotated[str | None, "the training file, any text  [default: Python's documentation strings]", "FILE"] = (
        None
    )

    own_data: ClassVar[str] = f"the documentation strings of Python {platform.python_version()}"

    @property
    def hint_if_changed(self) -> str:
        return "continue with the Python it was started with" if self.train is None else "put the old file back"

    def read(self, path: str) -> str:
        return read_text(path)

    def load_own(self) -> Splits[str]:
        return load_docstrings()

    def split(self, data: str) -> Splits[str]:
        return split_text(data)

    def hold_out(self, train: str) -> tuple[str, str]:
        return cut_tail(train)


class LanguageModeling(Task):
    """Language modeling, character by character."""

    name = "lm"
    help = "Learn to write, character by character."
    source = TextFiles
    items = "characters"
    least = 2
    models: ClassVar[dict[str, LanguageConfig]] = MODELS
    metrics = (
        Metric(
            "bits_per_character", "bits per character", axis="bits per character", unit="bits per character", digits=3
        ),
    )
    command = "generate"

    def build(self, config: LanguageConfig, splits: Splits[str]) -> CharacterModel:
        """A model for all characters of all parts: one that the training text lacks is one that was never seen."""
        first_line = splits.dev.lstrip("\n").split("\n")[0]
        return CharacterModel.of(config, Alphabet("".join(splits)), first_line[:PROMPT] or "\n")

    def restored(self, config: LanguageConfig, meta: Mapping[str, Any]) -> CharacterModel:
        stored = as_kind(meta, StoredAlphabet)
        return CharacterModel(config, Alphabet(stored.alphabet), stored.prompt)

    def evaluate(self, predictor: CharacterModel, data: str, on_progress: OnProgress = ignore_progress) -> Evaluation:
        """Score a run's best model on its test text: bits per character."""
        ids = predictor.alphabet.encode(data)
        loss = predictor.mean_loss(ids, on_progress)
        return Evaluation({"loss": loss, "bits_per_character": loss / log(2)}, len(ids) - 1)

    def read(self, predictor: CharacterModel, path: str) -> str:
        return read_text(path)

    def describe(self, splits: Splits[str]) -> str:
        return f"{len(set(''.join(splits)))} different ones"

    def on_evaluation(
        self, predictor: CharacterModel, metrics: Mapping[str, float], step: int, folder: Path, progress: Progress
    ) -> None:
        """Let the model write a little."""
        config = predictor.config
        written = "".join(predictor.write(predictor.prompt, config.sample, config.temperature, seed=config.seed))
        heading = f"step {step:,}, {metrics['bits_per_character']:.3f} bits per character on the dev text"
        add_sample(folder / SAMPLES, step, heading, predictor.prompt + written)
        progress.note(indented(predictor.prompt + written))

    def report(self, predictor: CharacterModel, splits: Splits[str]) -> dict[str, Any]:
        train, test = (predictor.alphabet.encode(text) for text in (splits.train, splits.test))
        return {"baselines": baselines(train, test, len(predictor.alphabet), (splits.train, splits.test))}

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        others = ", ".join(f"{name.replace('_', ' ')} {bits:.2f}" for name, bits in report["baselines"].items())
        return {"baselines": others}

    def figures(self, predictor: CharacterModel, test: str, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        return [SAMPLES]

    def predict(
        self,
        predictor: CharacterModel,
        output: Output,
        prompt: Annotated[str | None, "what to go on from  [default: that of the run's samples]", "PROMPT"] = None,
        *,
        length: Annotated[NonNegative, "characters to write  [default: 500]", "N"] = 500,
        temperature: Annotated[
            Positive, "below 1 likely characters become likelier, above 1 less so  [default: 0.7]", "T"
        ] = 0.7,
        top_k: Annotated[int | None, "choose among the K likeliest characters alone", "K", AT_LEAST_ONE] = None,
        seed: Annotated[NonNegative, "another seed, another text  [default: 1]", "S"] = 1,
    ) -> None:
        """Write on from a prompt, character by character."""
        prompt = predictor.prompt if prompt is None else prompt
        written = predictor.write(prompt, length, temperature, top_k, seed)
        output.write(prompt)
        with blas_threads():
            for character in written:
                output.write(character)
        output.write("\n")


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
