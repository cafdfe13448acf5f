"""The base of all training batches: only the seed and the epoch decide what comes, wherever a run goes on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data import SeededBatches
from minattn.data.batches import cut
from minattn.errors import ConfigError, DataError


class Drawn(SeededBatches):
    """The numbers of the examples, shuffled, and a number that each batch draws."""

    what = "numbers"

    def order(self, rng):
        return cut(rng.permutation(self.examples), self.batch_size)

    def batch(self, examples, rng):
        return examples.tolist(), int(rng.integers(1000))


counts, sizes, seeds, epochs = st.integers(1, 50), st.integers(1, 9), st.integers(0, 2**32), st.integers(0, 3)


@given(counts, sizes, seeds, epochs, st.data())
def test_an_epoch_goes_on_anywhere_as_it_would_have(count, size, seed, epoch, data):
    batches = Drawn(count, size, seed)
    straight = list(batches.iterate(epoch))
    assert len(straight) == len(batches)
    assert sorted(number for numbers, _ in straight for number in numbers) == list(range(count))
    start = data.draw(st.integers(0, len(batches)))
    assert list(Drawn(count, size, seed).iterate(epoch, start)) == straight[start:]


def test_seeds_epochs_and_batches_all_draw_something_else():
    runs = [list(Drawn(40, 5, seed).iterate(epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len({str([numbers for numbers, _ in run]) for run in runs}) == 4
    assert len({number for run in runs for _, number in run}) > 25


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((0, 1, 0), DataError, "there are no numbers to make batches of; hint"),
        ((1, 0, 0), ConfigError, "the batch size must be at least 1, and is 0; hint"),
        ((1, 1, -1), ConfigError, "the seed must be at least 0, and is -1; hint"),
    ],
)
def test_what_makes_no_batches(arguments, error, says):
    with pytest.raises(error, match=says):
        Drawn(*arguments)


def test_a_place_outside_the_epoch():
    with pytest.raises(DataError, match="an epoch has 3 batches, so it cannot go on at batch 4"):
        Drawn(5, 2, 0).iterate(0, 4)
    with pytest.raises(ConfigError, match="epoch -1"):
        Drawn(5, 2, 0).iterate(-1)


def test_pieces_have_every_example_in_order():
    assert [piece.tolist() for piece in cut(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    assert cut(np.arange(0), 2) == []
