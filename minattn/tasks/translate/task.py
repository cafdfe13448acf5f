"""Translation, the task that attention was invented for.

Without files, dates as people write them in twelve locales are translated into ISO form; with --data the Bible from
English to Spanish or Multi30k from English to German, with --train any parallel text.  The score is corpus BLEU and
chrF, as sacrebleu counts them, and the share of the translations that equal their references; and, where the sentences
are aligned by hand or by construction, the alignment error rate of the attention.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

from minattn.data import AlignedText, ParallelText, Splits, tokenizer_from_json
from minattn.tasks.config import replaced
from minattn.tasks.fields import BEAM, Bound
from minattn.tasks.sequences.answers import Plot, alignments_of_run, check_plot, show_answers
from minattn.tasks.task import Evaluation, OnProgress, Output, Task, ignore_progress
from minattn.tasks.translate.settings import MODELS, TEXT, TOKENIZED, TranslationConfig
from minattn.tasks.translate.source import ParallelSource
from minattn.tasks.translate.translator import StoredTokenizers, Translator
from minattn.training import Metric, as_kind
from minattn.training.translation_metrics import load_sacrebleu, score_translations

SHOWN, SHOWN_SYMBOLS, COLUMNS = 4, 40, 2
"""The number of test sentences in the figure of alignments, their largest number of symbols, those in a row."""

Beam = Annotated[int | None, "beam width; 1 is greedy  [default: the run's]", "N", BEAM]
Alpha = Annotated[
    float | None,
    "length penalty; 0 is none  [default: the run's]",
    "A",
    Bound("from 0 to 100", lambda x: 0 <= x <= 100),
]


class Translation(Task):
    """Translation."""

    name = "translate"
    help = "Learn to translate sentences, or dates into ISO form."
    source = ParallelSource
    items = "pairs"
    metrics = (
        Metric("chrf", "chrF", axis="score (0 to 100)", short="chrF", lower_is_better=False),  # BLEU is 0 of short text
        Metric("bleu", "BLEU", axis="score (0 to 100)", short="BLEU", lower_is_better=False),
        Metric("exact", "exact (%)", axis="score (0 to 100)", short="exact", unit="%", lower_is_better=False),
    )
    models = MODELS
    validation: ClassVar[dict[str, Any]] = {"beam": 1}

    def default(self, model: str | None = None, source: ParallelSource | None = None) -> TranslationConfig:
        """The settings with this network and these data; without data, those of dates."""
        changes: dict[str, Any] = {}
        if source is not None and not source.of_dates:
            changes = {**TEXT, **(TOKENIZED if source.of_words else {})}
        return replaced(super().default(model), changes)

    def build(self, config: TranslationConfig, splits: Splits[ParallelText]) -> Translator:
        load_sacrebleu()  # the first evaluation would miss it
        return Translator.of(config, splits.train)

    def restored(self, config: TranslationConfig, meta: Mapping[str, Any]) -> Translator:
        stored = as_kind(meta, StoredTokenizers)
        return Translator(config, tokenizer_from_json(stored.source), tokenizer_from_json(stored.target))

    def evaluate(
        self,
        predictor: Translator,
        data: ParallelText,
        on_progress: OnProgress = ignore_progress,
        *,
        beam: Beam = None,
        alpha: Alpha = None,
    ) -> Evaluation:
        """Score a run's best model on its test sentences: BLEU, chrF, exact matches, alignment error rate."""
        config = predictor.config
        found = predictor.search([ids for ids, _ in predictor.encode(data)], beam, alpha, 128, on_progress)
        translations = [predictor.target.decode(best.ids) for best in found]
        score = score_translations(translations, data.targets, config.bleu)
        loss, perplexity = predictor.mean_loss_and_perplexity(data)
        details = {
            "perplexity": perplexity,
            "signature": score.signature,
            "beam": beam or config.beam,
            "alpha": config.alpha if alpha is None else alpha,
        }
        if isinstance(data, AlignedText) and (aligned := predictor.alignment_score(data)):
            details |= {"aer": aligned.aer, "precision": aligned.precision, "recall": aligned.recall}
        metrics = {"loss": loss, **{metric.name: getattr(score, metric.name) for metric in self.metrics}}
        return Evaluation(metrics, len(data), details, translations)

    def read(self, predictor: Translator, path: str) -> ParallelText:
        return ParallelSource().read(path)

    def summary(self, test: Mapping[str, Any]) -> str:
        aligned = f"AER {test['aer']:.1f} %, " if "aer" in test else ""
        return f"{super().summary(test)} ({aligned}perplexity {test['perplexity']:.4g}, beam {test['beam']})"

    def remarks(self, report: Mapping[str, Any]) -> dict[str, str]:
        return {"BLEU is": report["test"]["signature"]}

    def figures(self, predictor: Translator, test: ParallelText, evaluation: Evaluation, folder: Path) -> Sequence[str]:
        """The alignments of a few test sentences, as in Figure 3 of Bahdanau et al. 2015."""
        from minattn.viz.style import missing_glyphs

        if not predictor.config.attends:
            return []
        short = (source for source in test.sources if len(predictor.source.tokens(source)) <= SHOWN_SYMBOLS)
        shown = list(islice((source for source in short if not missing_glyphs(source)), SHOWN))
        return alignments_of_run(predictor.translate(shown or test.sources[:SHOWN]), folder, COLUMNS)

    def predict(
        self,
        predictor: Translator,
        output: Output,
        sentences: Annotated[list[str], "sentences to translate, each in quotes", "SENTENCE"],
        *,
        beam: Beam = None,
        alpha: Alpha = None,
        plot: Plot = None,
    ) -> None:
        """Translate sentences, and show where each symbol comes from."""
        attends = predictor.config.attends
        check_plot(plot, attends)
        show_answers(output, predictor.translate(sentences, beam, alpha), attends, plot, COLUMNS)

    def example(self, source: ParallelSource) -> str:
        return "'fr vendredi 3 mars 2017'" if source.of_dates else "'A SENTENCE'"
