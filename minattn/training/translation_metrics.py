"""BLEU, chrF and exact match of translations, counted by `sacrebleu`, so that they compare with published numbers.

    Papineni, K., Roukos, S., Ward, T. & Zhu, W.-J. (2002). BLEU: a method for automatic evaluation of machine
    translation. ACL 2002.
    Popović, M. (2015). chrF: character n-gram F-score for automatic MT evaluation. WMT 2015.
    Post, M. (2018). A call for clarity in reporting BLEU scores. WMT 2018.

Both are of a whole corpus and no means over sentences.  BLEU depends on how words are divided: "13a" divides running
text as the workshops on machine translation do, "none" takes what whitespace divides, for text that is tokenized
already.  The signature says which, and the version; a number without it compares with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from minattn.errors import ConfigError, DataError, MissingDependencyError

Tokenization = Literal["13a", "none", "intl", "char", "zh"]

LENGTHS = (10, 20, 30, 40, 50)
"""The upper ends of the groups of sentences by length; the last group has all that are longer."""


@dataclass(frozen=True, slots=True)
class TranslationScore:
    """Corpus BLEU and chrF, both from 0 to 100, and the percentage of translations that equal their reference."""

    sentences: int
    bleu: float
    chrf: float
    exact: float
    signature: str
    """The signature of BLEU, in sacrebleu's form."""

    def __str__(self) -> str:
        return (
            f"BLEU {self.bleu:.2f}, chrF {self.chrf:.2f}, exact {self.exact:.2f} % over {self.sentences:,} sentences "
            f"({self.signature})"
        )


def score_translations(
    translations: Sequence[str], references: Sequence[str], tokenization: Tokenization = "13a"
) -> TranslationScore:
    """Compare each translation with its one reference.

    Raises DataError where their numbers differ or there are none, ConfigError for a tokenization that is not known,
    MissingDependencyError where sacrebleu is not installed.
    """
    if len(translations) != len(references) or not references:
        raise DataError(
            f"there are {len(translations):,} translations and {len(references):,} references; "
            "hint: one reference for each, and at least one"
        )
    if tokenization not in get_args(Tokenization):
        raise ConfigError(f"tokenization must be one of {', '.join(get_args(Tokenization))}, got {tokenization!r}")
    metrics = load_sacrebleu().metrics
    bleu = metrics.BLEU(tokenize=tokenization, force=True)  # without the note on text that looks tokenized
    given, wanted = list(translations), [list(references)]
    score = bleu.corpus_score(given, wanted).score
    return TranslationScore(
        sentences=len(references),
        bleu=score,
        chrf=metrics.CHRF().corpus_score(given, wanted).score,
        exact=100 * sum(a.split() == b.split() for a, b in zip(given, references, strict=True)) / len(references),
        signature=str(bleu.get_signature()),
    )


def score_by_length(
    translations: Sequence[str],
    references: Sequence[str],
    lengths: Sequence[int],
    ends: Sequence[int] = LENGTHS,
    tokenization: Tokenization = "13a",
) -> dict[int, TranslationScore]:
    """The scores of the sentences of each group of lengths, by the group's last length; empty groups are left out.

    lengths: of each sentence, such as the source's words.  The last group, of those longer than all `ends`, goes by
    the longest of them.  Raises DataError where the numbers differ, and as `score_translations`.
    """
    if len(lengths) != len(references):
        raise DataError(f"there are {len(references):,} references and {len(lengths):,} lengths; hint: one for each")
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        end = next((end for end in sorted(ends) if length <= end), max([*lengths, 0]))
        groups.setdefault(end, []).append(index)
    return {
        end: score_translations([translations[i] for i in group], [references[i] for i in group], tokenization)
        for end, group in sorted(groups.items())
    }


def load_sacrebleu() -> Any:
    """The module `sacrebleu`.  Raises MissingDependencyError where it is not installed."""
    try:
        import sacrebleu
    except ImportError as error:
        raise MissingDependencyError(
            "BLEU needs sacrebleu, which is not installed: pip install 'minattn[translate]'"
        ) from error
    return sacrebleu
