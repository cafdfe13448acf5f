"""The alignment error rate, and the links that attention gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.text.alignments import Alignment
from minattn.errors import DataError, ShapeError
from minattn.training.alignment_metrics import (
    AlignmentScore,
    attention_links,
    links_where_marked,
    score_alignments,
)

links = st.frozensets(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6)
sentences = st.lists(st.tuples(links, st.builds(Alignment, links, links)), min_size=1, max_size=4)


@given(sentences)
def test_it_is_the_definition(drawn):
    found, gold = zip(*drawn, strict=True)
    counts = [0, 0, 0, 0]
    for these, marked in drawn:
        for i in range(4):
            for j in range(4):
                counts[0] += (i, j) in these
                counts[1] += (i, j) in marked.sure
                counts[2] += (i, j) in these and (i, j) in marked.sure
                counts[3] += (i, j) in these and (i, j) in marked.possible
    if counts[0] + counts[1] == 0:
        with pytest.raises(DataError, match="there is no link, found or sure"):
            score_alignments(found, gold)
        return
    score = score_alignments(found, gold)
    assert score == AlignmentScore(len(drawn), *counts)
    assert score.aer == pytest.approx(100 * (1 - (counts[2] + counts[3]) / (counts[0] + counts[1])))
    assert 0 <= score.aer <= 100


@given(sentences)
def test_all_sure_links_and_any_possible_ones_are_without_error(drawn):
    gold = [marked for _, marked in drawn]
    if any(marked.sure for marked in gold):
        for found in ([m.sure for m in gold], [m.possible for m in gold]):
            score = score_alignments(found, gold)
            assert (score.aer, score.precision, score.recall) == pytest.approx((0, 100, 100))


def test_where_all_links_are_sure_it_is_one_minus_f1():
    gold = [Alignment.of([(0, 0), (1, 1), (2, 2)])]
    score = score_alignments([[(0, 0), (1, 2)]], gold)
    f1 = 2 * score.precision * score.recall / (score.precision + score.recall)
    assert (score.precision, score.recall) == pytest.approx((50, 100 / 3))
    assert score.aer == pytest.approx(100 - f1)
    assert str(score) == "AER 60.0 %, precision 50.0 %, recall 33.3 % over 1 sentences"


def test_a_published_example():
    """Of the shared task of 2003: what is only possible is not missed, and not wrong where it is found."""
    gold = [Alignment.of([(0, 0)], [(1, 1), (1, 2)])]
    assert score_alignments([[(0, 0)]], gold).aer == 0
    assert score_alignments([[(0, 0), (1, 1)]], gold).aer == 0
    assert score_alignments([[(1, 1)]], gold).aer == 50
    assert score_alignments([[]], gold).aer == 100
    assert score_alignments([[]], gold).precision == 100


def test_numbers_of_sentences_that_differ():
    with pytest.raises(DataError, match="links of 1 sentences, and 2 are marked; hint"):
        score_alignments([[]], [Alignment.of([]), Alignment.of([])])


# ---------------------------------------------------------------------------------------------- attention
def test_each_target_is_linked_with_its_largest_weight():
    weights = np.array([[0.1, 0.9, 0.0], [0.4, 0.3, 0.3]])
    assert attention_links(weights) == {(1, 0), (0, 1)}
    assert attention_links(weights, target_units=[0]) == {(1, 0)}, "a row beyond the target, such as the end symbol's"
    assert attention_links(weights, source_units=[0, 1]) == {(1, 0), (0, 1)}, "a column beyond the source is padding"


def test_pieces_count_for_their_words():
    weights = np.array([[0.4, 0.3, 0.3, 0.0], [0.1, 0.1, 0.1, 0.7], [0.0, 0.0, 0.0, 1.0]])
    assert attention_links(weights, source_units=[0, 1, 1, 2]) == {(1, 0), (2, 1), (2, 2)}
    assert attention_links(weights, [0, 1, 1, 2], [0, 0, 1]) == {(1, 0), (2, 1)}
    assert attention_links(weights, [], [0, 1, 2]) == set()
    assert attention_links(np.zeros((0, 4)), [0, 1, 2, 3], []) == set()


@given(st.integers(1, 5), st.integers(1, 5), st.randoms(use_true_random=False))
def test_tokens_that_are_words_need_no_units(rows, columns, random):
    weights = np.array([[random.random() for _ in range(columns)] for _ in range(rows)])
    assert attention_links(weights) == attention_links(weights.astype(np.float64), range(columns), range(rows))
    assert attention_links(weights) == {(int(weights[j].argmax()), j) for j in range(rows)}


@pytest.mark.parametrize("shape", [(2, 2), (3,), (1, 3)])
def test_attention_of_another_size(shape):
    with pytest.raises(ShapeError, match="cannot be that of 2 target and 3 source tokens; hint"):
        attention_links(np.zeros(shape), [0, 1, 2], [0, 1])


def test_links_of_targets_that_come_from_nowhere_are_left_out():
    assert links_where_marked([(0, 0), (1, 1)], Alignment.of([], [(5, 1)])) == {(1, 1)}
