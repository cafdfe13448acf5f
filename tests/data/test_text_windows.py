from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data import Alphabet, TextWindows, evaluation_windows, read_text, split_text
from minattn.data.text.texts import cut_tail
from minattn.errors import ConfigError, DataError

windows = st.integers(1, 9)
batch_sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32)
epochs = st.integers(0, 5)


@st.composite
def texts(draw):
    """A text whose characters are their places, and a window that fits into it."""
    window = draw(windows)
    return np.arange(draw(st.integers(2 * window, 20 * window + 7))), window


def contents(batch):
    return [(array.dtype.name, array.tolist()) for array in batch]


# ---------------------------------------------------------------------------------------------- training
@given(texts(), batch_sizes, seeds, epochs)
def test_an_epoch_asks_for_each_character_once_but_for_less_than_two_windows(drawn, batch_size, seed, epoch):
    text, window = drawn
    targets = Counter()
    batches = TextWindows(text, window, batch_size, seed)
    for batch in batches.iterate(epoch):
        assert batch.source.shape == batch.target.shape
        assert batch.source.shape[1] == window
        assert (batch.target == batch.source + 1).all()  # the next place
        assert (np.diff(batch.source) == 1).all()
        targets.update(batch.target.ravel().tolist())
    assert set(targets.values()) == {1}
    missed = len(text) - len(targets)
    assert missed < 2 * window
    assert max(targets) - min(targets) + 1 == len(targets)  # what is left out are the ends


@given(texts(), batch_sizes, seeds, epochs, st.data())
def test_an_epoch_goes_on_from_any_batch_as_if_it_had_not_stopped(drawn, batch_size, seed, epoch, data):
    text, window = drawn
    batches = TextWindows(text, window, batch_size, seed)
    whole = [contents(batch) for batch in batches.iterate(epoch)]
    assert len(whole) == len(batches)
    start = data.draw(st.integers(0, len(whole)))
    again = TextWindows(text.copy(), window, batch_size, seed)
    for _ in islice(again.iterate(epoch + 1), 2):  # what another epoch draws changes nothing
        pass
    assert [contents(batch) for batch in again.iterate(epoch, start)] == whole[start:]


def test_seeds_and_epochs_have_orders_and_cuts_of_their_own():
    text = np.arange(1000)

    def first(seed, epoch):
        return next(iter(TextWindows(text, 50, 2, seed).iterate(epoch))).source

    cuts = {int(first(1, epoch)[0, 0]) % 50 for epoch in range(20)}
    assert len(cuts) > 5
    assert (first(1, 0) != first(2, 0)).any()
    assert (first(1, 0) != first(1, 1)).any()


def test_an_epoch_is_shuffled():
    firsts = [int(batch.source[0, 0]) for batch in TextWindows(np.arange(1000), 10, 1, 1).iterate(0)]
    assert firsts != sorted(firsts)


def test_windows_are_copies():
    text = np.arange(100)
    next(iter(TextWindows(text, 10, 2, 1).iterate(0))).source[:] = 0
    assert text.tolist() == list(range(100))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((19, 10, 2, 1), DataError, "has 19 characters, and windows of 10 need at least 20; hint"),
        ((100, 0, 2, 1), ConfigError, "the window must be at least 1, and is 0"),
        ((100, 10, 0, 1), ConfigError, "the batch size must be at least 1, and is 0"),
        ((100, 10, 2, -1), ConfigError, "the seed must be at least 0, and is -1"),
    ],
)
def test_windows_that_cannot_be(arguments, error, says):
    length, *rest = arguments
    with pytest.raises(error, match=says):
        TextWindows(np.arange(length), *rest)


@pytest.mark.parametrize(("epoch", "start", "error"), [(-1, 0, ConfigError), (0, -1, DataError), (0, 6, DataError)])
def test_places_that_are_not_in_an_epoch(epoch, start, error):
    batches = TextWindows(np.arange(100), 10, 2, 1)
    assert len(batches) == 5
    with pytest.raises(error):
        batches.iterate(epoch, start)


# ---------------------------------------------------------------------------------------------- evaluation
@given(st.integers(2, 200), windows, batch_sizes)
def test_evaluation_asks_for_every_character_but_the_first_once_and_in_order(length, window, batch_size):
    seen = []
    for batch in evaluation_windows(np.arange(length), window, batch_size):
        assert len(batch.source) <= batch_size
        assert 1 <= batch.source.shape[1] <= window
        assert (batch.target == batch.source + 1).all()
        seen += batch.target.ravel().tolist()
    assert seen == list(range(1, length))


@pytest.mark.parametrize(("length", "window"), [(0, 3), (1, 3), (5, 0)])
def test_evaluation_of_nothing(length, window):
    with pytest.raises((DataError, ConfigError)):
        evaluation_windows(np.arange(length), window, 2)


# ---------------------------------------------------------------------------------------------- texts
@given(st.text(min_size=1), st.text())
def test_an_alphabet_spells_what_it_was_made_of_and_names_what_it_lacks(known, other):
    alphabet = Alphabet(known)
    assert len(alphabet) == len(set(known))
    numbers = alphabet.encode(known)
    assert alphabet.decode(numbers) == known
    assert set(numbers.tolist()) == set(range(len(alphabet)))
    assert Alphabet(alphabet.characters).characters == alphabet.characters
    unknown = sorted(set(other) - set(known))
    if not unknown:
        assert alphabet.decode(alphabet.encode(other)) == other
        return
    assert unknown[0] not in alphabet
    with pytest.raises(DataError, match="does not know") as caught:
        alphabet.encode(other)
    assert all(repr(character) in str(caught.value) for character in unknown[:20])


@given(st.text())
def test_a_text_is_cut_and_nothing_lost(text):
    parts = split_text(text)
    assert "".join(parts) == text
    assert len(parts.dev) == len(parts.test) == len(text) // 20
    assert "".join(cut_tail(text)) == text


def test_fingerprints_know_their_part():
    one, other = split_text("ab" * 50), split_text("ab" * 45 + "b" * 10)
    assert one.fingerprints()["train"] == other.fingerprints()["train"]
    assert one.fingerprints()["test"] != other.fingerprints()["test"]


def test_a_file_is_read_whatever_its_lines_end_in(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwö\n".encode())
    assert read_text(tmp_path / "a.txt") == "one\ntwö\n"


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: the line is not UTF-8"):
        read_text(tmp_path / "a.txt")
