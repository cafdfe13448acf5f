"""Phoneme and word error rates, counted as the literature on grapheme-to-phoneme conversion counts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minattn.errors import DataError

Predictions = Mapping[str, Sequence[str]]
References = Mapping[str, Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over a set of words, and the two error rates that follow from them."""

    words: int
    wrong_words: int
    phonemes: int
    edits: int

    @property
    def wer(self) -> float:
        """Word error rate in percent: words that equal none of their references, out of all words."""
        return 100 * self.wrong_words / self.words

    @property
    def per(self) -> float:
        """Phoneme error rate in percent: edits to the closest references, out of their phonemes."""
        return 100 * self.edits / self.phonemes

    def __str__(self) -> str:
        return f"PER {self.per:.2f} %, WER {self.wer:.2f} % over {self.words:,} words"


def score(predictions: Predictions, references: References) -> Score:
    """Compare one predicted pronunciation a word with all accepted ones (a `Lexicon`, or any such mapping).

    A word is right where the prediction equals any of its references.  Phoneme edits are counted against
    the reference with the smallest edit distance, the first of several, and divided by that reference's
    length; both are summed over all words before they are divided.

    Raises DataError where the two do not have the same words, where there are none, and for a word without a
    reference or with an empty one.
    """
    _check_words(predictions, references)
    return _count(predictions, references, predictions)


def score_by_length(
    predictions: Predictions, references: References, *, shortest: int = 3, longest: int = 14
) -> dict[int, Score]:
    """The score of the words of each number of letters, shortest first; empty lengths are left out.

    Words of up to `shortest` letters count as `shortest` and words of `longest` or more as `longest`,
    because very short and very long words are too few for a rate.  Errors as in `score`.
    """
    _check_words(predictions, references)
    by_length: dict[int, list[str]] = {}
    for word in predictions:
        by_length.setdefault(min(max(len(word), shortest), longest), []).append(word)
    return {length: _count(predictions, references, by_length[length]) for length in sorted(by_length)}


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions between two sequences (Levenshtein, 1966)."""
    above = list(range(len(second) + 1))  # from nothing to each prefix of `second`
    for row, symbol in enumerate(first, start=1):
        here = [row]
        for column, other in enumerate(second):
            substituted = above[column] + (symbol != other)
            here.append(min(substituted, above[column + 1] + 1, here[column] + 1))
        above = here
    return above[-1]


def _count(predictions: Predictions, references: References, words: Iterable[str]) -> Score:
    n_words = wrong_words = phonemes = edits = 0
    for word in words:
        distance, length = _closest(predictions[word], references[word])
        n_words += 1
        wrong_words += distance > 0
        phonemes += length
        edits += distance
    return Score(n_words, wrong_words, phonemes, edits)


def _closest(prediction: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Distance to the closest reference and that reference's length; of equally close ones the first."""
    distances = [edit_distance(prediction, reference) for reference in references]
    closest = distances.index(min(distances))
    return distances[closest], len(references[closest])


def _check_words(predictions: Predictions, references: References) -> None:
    if not predictions:
        raise DataError("there are no predictions to score")
    for name, missing in (
        ("prediction", references.keys() - predictions.keys()),
        ("reference", predictions.keys() - references.keys()),
    ):
        if missing:
            examples = " ".join(sorted(missing)[:5])
            raise DataError(
                f"some words ({len(missing):,} in all) have no {name}, such as {examples}. "
                "Predictions and references must be of the same words."
            )
    for word, accepted in references.items():
        if not accepted or not all(accepted):
            raise DataError(f"the word {word!r} has no reference or an empty one: {accepted!r}")
