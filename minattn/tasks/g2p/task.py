"""Grapheme-to-phoneme conversion: RNNsearch or the Transformer learns to pronounce English from CMUdict.

A word's letters are the source, its phonemes the target, and attention shows which letters make which sound.  The
score is PER and WER, phoneme and word error rate, of the best model on the test words.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from minattn.data import Lexicon, LexiconSplits, Vocabulary, hold_out, load_cmudict, read_lexicon, split_lexicon
from minattn.data.text.lexicon import CANONICAL_DEV_WORDS
from minattn.tasks.fields import BEAM
from minattn.tasks.g2p.error_rates import score
from minattn.tasks.g2p.pronouncer import Pronouncer, StoredSymbols
from minattn.tasks.g2p.settings import MODELS
from minattn.tasks.sequences.answers import Plot, alignments_of_run, check_plot, show_answers
from minattn.tasks.sequences.settings import SequenceConfig
from minattn.tasks.task import Evaluation, Files, OnProgress, Output, Task, ignore_progress
from minattn.training import Metric, as_kind

SHOWN_WORDS = ("attention", "knight", "through", "bookkeeper", "phoenix", "extraordinary")
"""The words of the figure of alignments."""

Beam = Annotated[int | None, "beam width; 1 is greedy  [default: the run's]", "N", BEAM]


@dataclass(frozen=True)
class LexiconFiles(Files):
    """Lexicon files, or CMUdict where none is given.

    train alone is split by the hash of the word; with test and no dev, development words are held out of train.
    """

    train: Annotated[str | None, "the training file, lines WORD<TAB>PH PH PH  [default: CMUdict]", "FILE"] = None

    own_data: ClassVar[str] = "CMUdict"
    hint_if_changed: ClassVar[str] = "put the old words back"
    splits: ClassVar[type[LexiconSplits]] = LexiconSplits

    def read(self, path: str) -> Lexicon:
        return read_lexicon(path)

    def load_own(self) -> LexiconSplits:
        return load_cmudict()

    def split(self, data: Lexicon) -> LexiconSplits:
        return split_lexicon(data)

    def hold_out(self, train: Lexicon) -> tuple[Lexicon, Lexicon]:
        return hold_out(train, n=min(CANONICAL_DEV_WORDS, max(1, len(train) // 20)))


class G2P(Task):
    """Grapheme-to-phoneme conversion."""

    name = "g2p"
    help = "Learn to pronounce English words."
    source = LexiconFiles
    items = "words"
    models = MODELS
    metrics = (
        Metric("per", "phonemes (PER)", axis="error rate (%)", short="PER", unit="%"),
        Metric("wer", "words (WER)", axis="error rate (%)", short="WER", unit="%"),
    )
    validation: ClassVar[dict[str, Any]] = {"beam": 1}

    def build(self, config: SequenceConfig, splits: LexiconSplits) -> Pronouncer:
        return Pronouncer.of(config, splits.train)

    def restored(self, config: SequenceConfig, meta: Mapping[str, Any]) -> Pronouncer:
        stored = as_kind(meta, StoredSymbols)
        return Pronouncer(config, Vocabulary.from_list(stored.letters), Vocabulary.from_list(stored.phonemes))

    def evaluate(
        self,
        predictor: Pronouncer,
        data: Lexicon,
        on_progress: OnProgress = ignore_progress,
        *,
        beam: Beam = None,
    ) -> Evaluation:
        """Score a run's best model on its test words: phoneme and word error rate."""
        beam = beam or predictor.config.beam
        predictions = predictor.pronounce(list(data), beam, on_progress=on_progress)
        counts = score({p.word: p.phonemes for p in predictions}, data)
        metrics = {"loss": predictor.mean_loss(data), "per": counts.per, "wer": counts.wer}
        return Evaluation(metrics, counts.words, {**dataclasses.asdict(counts), "beam": beam}, predictions)

    def read(self, predictor: Pronouncer, path: str) -> Lexicon:
        return read_lexicon(path)

    def summary(self, test: Mapping[str, Any]) -> str:
        return f"{super().summary(test)} (beam {test['beam']})"

    def figures(self, predictor: Pronouncer, test: Lexicon, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """The alignments of a few words, as in the paper's Figure 3."""
        if not predictor.config.attends:
            return []
        known = [word for word in SHOWN_WORDS if all(letter in predictor.letters for letter in word)]
        shown = known or list(test)[: len(SHOWN_WORDS)]
        return alignments_of_run(predictor.pronounce(shown, predictor.config.beam), folder)

    def predict(
        self,
        predictor: Pronouncer,
        output: Output,
        words: Annotated[list[str], "words to pronounce", "WORD"],
        *,
        beam: Beam = None,
        plot: Plot = None,
    ) -> None:
        """Pronounce words, and show the letters that each sound comes from."""
        attends = predictor.config.attends
        check_plot(plot, attends)
        show_answers(output, predictor.pronounce(words, beam or predictor.config.beam), attends, plot)

    def example(self, source: LexiconFiles) -> str:
        return "attention" if source.train is None else "WORD"  # other words, other letters
