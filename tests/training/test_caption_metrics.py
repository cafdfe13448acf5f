"""Scores of captions: BLEU and exact captions by hand, and attention against boxes."""

import math

import numpy as np
import pytest

from minattn.data.captions.dataset import Named
from minattn.errors import DataError
from minattn.training.caption_metrics import middles_inside, score_captions, score_pointing

pytest.importorskip("sacrebleu")


def test_bleu_of_every_order_by_hand():
    """Of five words four are right, of four pairs two, of three triples none."""
    score = score_captions(["a bag left of trousers"], [["a bag above of trousers"]])
    precisions = 4 / 5, 2 / 4
    for order in (1, 2):
        expected = 100 * math.prod(precisions[:order]) ** (1 / order)
        assert score.bleu[order - 1] == pytest.approx(expected)
    assert score.exact == 0
    assert score.signature.startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")


def test_a_caption_may_equal_any_of_its_references():
    references = [["a bag", "one bag"], ["a boot"], ["a coat above a boot", "a coat", "coats"]]
    score = score_captions(["one bag", "a shoe", "a  coat above a boot"], references)
    assert score.exact == pytest.approx(200 / 3)
    assert score_captions(["one bag here now"], [["a bag", "one bag here now"]]).bleu[3] == pytest.approx(100)
    assert score.bleu[0] > score_captions(["one bag", "a shoe", "coats"], references).bleu[0]


@pytest.mark.parametrize(("captions", "references"), [([], []), (["a"], []), (["a"], [[]]), (["a"], [["a"], ["b"]])])
def test_captions_without_references_are_refused(captions, references):
    with pytest.raises(DataError, match="hint: one at least for each"):
        score_captions(captions, references)


def test_attention_is_held_against_boxes_by_hand():
    """A grid of 2 x 2 over 8 x 8 pixels: a box that fills the upper left, and a quarter of the upper right."""
    weights = np.array([[[0.5, 0.3], [0.2, 0.0]], [[0.1, 0.2], [0.3, 0.4]]])
    named = [[Named(0, (0, 0, 5, 4)), Named(1, (2, 2, 8, 8))]]
    score = score_pointing([weights], named, (8, 8))
    shares = 0.5 + 0.25 * 0.3, 0.25 * 0.1 + 0.5 * 0.2 + 0.5 * 0.3 + 0.4
    chance = 20 / 64, 36 / 64
    assert score.things == 2
    assert score.share == pytest.approx(100 * np.mean(shares))
    assert score.chance_share == pytest.approx(100 * np.mean(chance))
    assert score.hits == 100  # both peaks
    assert score.chance_hits == pytest.approx(100 * np.mean([1 / 4, 4 / 4]))


def test_a_peak_beside_its_box_is_no_hit():
    weights = np.array([[[0.9, 0.1], [0.0, 0.0]]])
    assert score_pointing([weights], [[Named(0, (4, 4, 8, 8))]], (8, 8)).hits == 0


def test_attention_to_all_locations_alike_is_chance():
    rng = np.random.default_rng(0)
    named = []
    for _ in range(20):
        left, top = (int(n) for n in rng.integers(0, 30, 2))
        named.append([Named(0, (left, top, left + int(rng.integers(1, 30)), top + int(rng.integers(1, 30))))])
    score = score_pointing([np.full((1, 8, 8), 1 / 64)] * 20, named, (64, 64))
    assert score.share == pytest.approx(score.chance_share)


def test_without_a_named_thing_there_is_no_score():
    assert score_pointing([np.ones((1, 2, 2))], [[]], (8, 8)) is None


def test_a_place_is_inside_where_its_middle_is():
    inside = middles_inside((1, 0, 5, 4), (2, 3), (4, 9))  # middles at y 1, 3 and x 1.5, 4.5, 7.5
    assert inside.tolist() == [[True, True, False], [True, True, False]]
