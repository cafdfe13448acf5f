"""The alignment error rate: how far the links that a model finds are from those that people marked.

F. J. Och and H. Ney, "A systematic comparison of various statistical alignment models", Computational Linguistics
29(1), 2003, section 5.  A are the links found, S the sure and P the possible ones, S among them, in all sentences:

    recall = |A and S| / |S|,   precision = |A and P| / |A|                        (a)
    AER(S, P; A) = 1 - (|A and S| + |A and P|) / (|A| + |S|)                       (b)

so 0 is to be had by all links that are sure and any that are possible.

Attention has a weight for every source position where a link is a yes or a no; each target position is linked with the
source position of its largest weight, as

    Luong, M.-T., Pham, H. & Manning, C. D. (2015). Effective approaches to attention-based neural machine translation.
    EMNLP 2015, section 5.4

do, with the reference translation as the decoder's input, so that the links are of the sentences that people aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from minattn.data.text.alignments import Alignment, Link
from minattn.errors import DataError, ShapeError


@dataclass(frozen=True, slots=True)
class AlignmentScore:
    """Counts over all sentences, and the rates that follow from it."""

    sentences: int
    links: int  # |A|
    sure: int  # |S|
    sure_found: int  # |A and S|
    possible_found: int  # |A and P|

    @property
    def aer(self) -> float:
        """Alignment error rate in percent."""
        return 100 * (1 - (self.sure_found + self.possible_found) / (self.links + self.sure))  # (b)

    @property
    def precision(self) -> float:
        """Links found that are possible, in percent of those found; 100 where none was."""
        return 100 * self.possible_found / self.links if self.links else 100.0  # (a)

    @property
    def recall(self) -> float:
        """Sure links that were found, in percent of all sure ones; 100 where there are none."""
        return 100 * self.sure_found / self.sure if self.sure else 100.0  # (a)

    def __str__(self) -> str:
        return (
            f"AER {self.aer:.1f} %, precision {self.precision:.1f} %, recall {self.recall:.1f} % "
            f"over {self.sentences:,} sentences"
        )


def score_alignments(found: Sequence[Iterable[Link]], gold: Sequence[Alignment]) -> AlignmentScore:
    """Compare the links found with those that people marked, sentence by sentence.

    Raises DataError where the numbers of sentences differ, or there are no links at all, found or sure.
    """
    if len(found) != len(gold):
        raise DataError(f"there are links of {len(found):,} sentences, and {len(gold):,} are marked; hint: of the same")
    links = sure = sure_found = possible_found = 0
    for these, marked in zip(map(frozenset, found), gold, strict=True):
        links += len(these)
        sure += len(marked.sure)
        sure_found += len(these & marked.sure)
        possible_found += len(these & marked.possible)
    if not links + sure:
        raise DataError("there is no link, found or sure; hint: sentences with at least one")
    return AlignmentScore(len(gold), links, sure, sure_found, possible_found)


def attention_links(
    weights: Float[np.ndarray, "target source"],
    source_units: Sequence[int] | None = None,
    target_units: Sequence[int] | None = None,
) -> frozenset[Link]:
    """The link of each target position with the source position of its largest weight.

    source_units, target_units: for each token the word that it is a piece of, as `Tokenizer.units` gives them; then
    words are linked.  A word's weights are the sums of its pieces' over the source, and the means over the target.
    None: every token is a word.  Rows beyond the target's units, such as that of the end symbol, have no link.

    Raises ShapeError where there are fewer weights than units.
    """
    weights = np.asarray(weights, dtype=np.float64)
    source_units = range(weights.shape[1]) if source_units is None else source_units
    target_units = range(weights.shape[0]) if target_units is None else target_units
    if weights.ndim != 2 or weights.shape[0] < len(target_units) or weights.shape[1] < len(source_units):
        raise ShapeError(
            f"attention of {weights.shape} positions cannot be that of {len(target_units)} target and "
            f"{len(source_units)} source tokens; hint: (target, source)"
        )
    if not len(target_units) or not len(source_units):
        return frozenset()
    words = np.zeros((max(target_units) + 1, max(source_units) + 1))
    rows, columns = np.asarray(target_units)[:, None], np.asarray(source_units)[None, :]
    np.add.at(words, (rows, columns), weights[: len(target_units), : len(source_units)])
    return frozenset((int(i), j) for j, i in enumerate(words.argmax(1)))


def links_where_marked(links: Iterable[Link], marked: Alignment) -> frozenset[Link]:
    """The links of those target positions that have a possible link: a date's hyphens, for example, have none."""
    targets = {target for _, target in marked.possible}
    return frozenset((source, target) for source, target in links if target in targets)
