import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minattn.data import LengthBucketedBatches, evaluation_batches, pad_sequences, source_batches
from minattn.errors import ConfigError, DataError

numbers = st.integers(0, 50)
rows = st.lists(st.lists(numbers, max_size=7), max_size=7)
non_empty = st.lists(numbers, min_size=1, max_size=6)
# Up to 120 pairs in batches of 1 to 4: several fetches of 20 batches, complete and incomplete ones.
data_sets = st.lists(st.tuples(non_empty, non_empty), min_size=1, max_size=120)
batch_sizes = st.integers(1, 4)
seeds = st.integers(0, 2**32)


def contents(batch):
    """A batch as plain lists, to compare bit for bit."""
    return [
        (array.dtype.name, array.tolist())
        for array in (batch.source, batch.source_mask, batch.target, batch.target_mask, batch.indices)
    ]


def some_pairs(count):
    rng = np.random.default_rng(0)
    return [(rng.integers(3, 9, rng.integers(1, 15)), rng.integers(3, 9, rng.integers(1, 15))) for _ in range(count)]


@given(rows)
def test_padding_keeps_every_number_and_masks_the_rest(sequences):
    padded, mask = pad_sequences(sequences)
    assert padded.dtype == np.int64
    assert mask.dtype == bool
    assert padded.shape == mask.shape == (len(sequences), max(map(len, sequences), default=0))
    for row, real, sequence in zip(padded, mask, sequences, strict=True):
        assert row[: len(sequence)].tolist() == list(sequence)
        assert not row[len(sequence) :].any()
        assert real.tolist() == [True] * len(sequence) + [False] * (len(row) - len(sequence))


def test_padding_does_not_touch_or_share_the_input():
    sequence = np.array([4, 5])
    padded, _ = pad_sequences([sequence])
    padded[0, 0] = 9
    assert sequence.tolist() == [4, 5]


@pytest.mark.parametrize("wrong", [[1.5, 2.0], [[1, 2]], ["a"], [True, False], 7])
def test_padding_refuses_what_is_no_row_of_integers(wrong):
    with pytest.raises(DataError, match=r"sequence 1 is not a row of integers but has shape .* encode it with a Voc"):
        pad_sequences([np.array([1]), np.array(wrong)])


@given(data_sets, batch_sizes, seeds, st.integers(0, 5))
def test_an_epoch_holds_every_pair_once_and_unchanged(pairs, batch_size, seed, epoch):
    batches = LengthBucketedBatches(pairs, batch_size, seed)
    made = list(batches.iterate(epoch))
    assert len(made) == len(batches)
    assert sorted(np.concatenate([batch.indices for batch in made])) == list(range(len(pairs)))
    for batch in made:
        assert 1 <= len(batch.indices) <= batch_size
        for row, index in enumerate(batch.indices):
            source, target = pairs[index]
            assert batch.source[row][batch.source_mask[row]].tolist() == source
            assert batch.target[row][batch.target_mask[row]].tolist() == target


@given(data_sets, batch_sizes, seeds, st.data())
def test_a_resumed_epoch_equals_an_uninterrupted_one(pairs, batch_size, seed, data):
    whole = LengthBucketedBatches(pairs, batch_size, seed)
    epoch = data.draw(st.integers(0, 3))
    start = data.draw(st.integers(0, len(whole)))
    for earlier in range(epoch):  # what ran before must not matter
        next(whole.iterate(earlier))
    uninterrupted = [contents(batch) for batch in whole.iterate(epoch)]
    resumed = LengthBucketedBatches(pairs, batch_size, seed).iterate(epoch, start)
    assert [contents(batch) for batch in resumed] == uninterrupted[start:]


def test_epochs_and_seeds_have_orders_of_their_own():
    pairs = some_pairs(100)

    def order(seed, epoch):
        made = LengthBucketedBatches(pairs, 5, seed).iterate(epoch)
        return np.concatenate([batch.indices for batch in made]).tolist()

    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(found) for found in orders}) == len(orders)


def test_the_order_of_a_seed_stays_the_same_for_ever():
    # Runs are resumed with later versions too; a change of this order breaks them.
    pairs = [([3] * (1 + i % 4), [3]) for i in range(7)]
    made = LengthBucketedBatches(pairs, 2, seed=1).iterate(epoch=2)
    assert [batch.indices.tolist() for batch in made] == [[5, 1], [0, 4], [6, 2], [3]]


def test_the_global_random_state_is_left_alone():
    name, key, position, *rest = np.random.get_state()
    list(LengthBucketedBatches(some_pairs(30), 4, seed=0).iterate(0))
    after = np.random.get_state()
    assert (after[0], after[1].tolist(), after[2], *after[3:]) == (name, key.tolist(), position, *rest)


def test_a_fetch_of_twenty_batches_is_cut_by_length_and_then_shuffled():
    pairs, batch_size = some_pairs(450), 10
    made = list(LengthBucketedBatches(pairs, batch_size, seed=3).iterate(0))
    lengths = [[max(map(len, pairs[i])) for i in batch.indices] for batch in made]
    for fetch in (lengths[:20], lengths[20:40], lengths[40:]):
        spans = sorted((min(batch), max(batch)) for batch in fetch)
        assert all(shorter[1] <= longer[0] for shorter, longer in itertools.pairwise(spans))
        assert [min(batch) for batch in fetch] != sorted(min(batch) for batch in fetch)


def test_buckets_pad_far_less_than_chance_does():
    pairs = some_pairs(2000)
    bucketed = LengthBucketedBatches(pairs, 20, seed=0).iterate(0)
    filled = [batch.source_mask.mean() + batch.target_mask.mean() for batch in bucketed]
    rng = np.random.default_rng(0)
    by_chance = []
    for indices in rng.permutation(2000).reshape(-1, 20):
        masks = [pad_sequences([pairs[i][side] for i in indices])[1] for side in (0, 1)]
        by_chance.append(masks[0].mean() + masks[1].mean())
    assert np.mean(filled) > np.mean(by_chance) + 0.1


@given(data_sets, batch_sizes)
@settings(max_examples=50)
def test_evaluation_goes_by_length_and_can_be_put_back(pairs, batch_size):
    put_back = [None] * len(pairs)
    lengths = []
    for batch in evaluation_batches(pairs, batch_size):
        for row, index in enumerate(batch.indices):
            source = batch.source[row][batch.source_mask[row]].tolist()
            target = batch.target[row][batch.target_mask[row]].tolist()
            put_back[index] = (source, target)
            lengths.append(max(len(source), len(target)))
    assert put_back == pairs
    assert lengths == sorted(lengths)


@given(st.lists(non_empty, max_size=30), batch_sizes)
@settings(max_examples=50)
def test_sources_go_by_length_and_can_be_put_back(sources, batch_size):
    put_back = [None] * len(sources)
    lengths = []
    for padded, mask, indices in source_batches(sources, batch_size):
        assert 1 <= len(indices) <= batch_size
        for row, index in enumerate(indices):
            put_back[index] = padded[row][mask[row]].tolist()
            lengths.append(len(put_back[index]))
    assert put_back == sources
    assert lengths == sorted(lengths)


def make_bucketed(pairs, batch_size):
    return LengthBucketedBatches(pairs, batch_size, seed=0)


@pytest.mark.parametrize("make", [make_bucketed, evaluation_batches])
class TestPairsThatCannotBeBatched:
    def test_none(self, make):
        with pytest.raises(DataError, match=r"there are no pairs .* give at least one"):
            make([], 2)

    def test_an_empty_side(self, make):
        with pytest.raises(DataError, match="the source of pair 1 is empty: leave it out"):
            make([([3], [3]), ([], [3])], 2)
        with pytest.raises(DataError, match="the target of pair 0 is empty: leave it out"):
            make([([3], [])], 2)

    def test_text_instead_of_numbers(self, make):
        with pytest.raises(DataError, match=r"the source of pair 0 is not a row of integers .* Vocabulary"):
            make([(np.array(["a", "b"]), [3])], 2)

    def test_a_batch_size_of_nothing(self, make):
        with pytest.raises(ConfigError, match="batch size must be at least 1, and is 0"):
            make([([3], [3])], 0)


def test_sources_that_cannot_be_batched():
    with pytest.raises(DataError, match="source 1 is empty"):
        source_batches([[3], []], 2)
    with pytest.raises(ConfigError, match="batch size must be at least 1, and is -1"):
        source_batches([[3]], -1)


def test_places_outside_the_epochs():
    batches = LengthBucketedBatches(some_pairs(10), 3, seed=0)
    assert list(batches.iterate(0, start=4)) == []
    for start in (-1, 5):
        with pytest.raises(DataError, match=f"an epoch has 4 batches, so it cannot go on at batch {start}.*data and"):
            batches.iterate(0, start)
    with pytest.raises(ConfigError, match="epochs are counted from 0, and epoch -1"):
        batches.iterate(-1)
    with pytest.raises(ConfigError, match="seed must be at least 0, and is -2"):
        LengthBucketedBatches(some_pairs(3), 2, seed=-2)
