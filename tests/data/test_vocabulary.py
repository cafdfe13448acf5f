import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data import Vocabulary
from minattn.errors import ConfigError, DataError

# Few and similar symbols on purpose: draws collide often, and "<" and ">" come close to the special symbols.
symbols = st.text("ab<>é", min_size=1, max_size=3)
sequences = st.lists(st.lists(symbols, max_size=8), max_size=8)


def test_numbers_start_after_the_special_symbols():
    assert Vocabulary("abc").to_list() == ["<pad>", "<bos>", "<eos>", "a", "b", "c"]
    assert Vocabulary("abc", unknown=True).to_list() == [
        "<pad>",
        "<bos>",
        "<eos>",
        "<unk>",
        "a",
        "b",
        "c",
    ]
    assert (Vocabulary.pad, Vocabulary.bos, Vocabulary.eos) == (0, 1, 2)
    assert Vocabulary("a").unknown is None
    assert Vocabulary("a", unknown=True).unknown == 3


def test_encode_gives_int64_and_the_marks_asked_for():
    letters = Vocabulary("abc")
    numbers = letters.encode("cab")
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [5, 3, 4]
    assert letters.encode("cab", bos=True).tolist() == [1, 5, 3, 4]
    assert letters.encode("cab", eos=True).tolist() == [5, 3, 4, 2]
    assert letters.encode("", bos=True, eos=True).tolist() == [1, 2]


def test_decode_stops_at_the_end_and_leaves_marks_out():
    assert Vocabulary("abc").decode([1, 0, 5, 3, 2, 4, 4]) == ["c", "a"]


@given(sequences, st.booleans(), st.booleans(), st.booleans())
def test_decode_undoes_encode(texts, unknown, bos, eos):
    vocabulary = Vocabulary.from_sequences(texts, unknown=unknown)
    for text in texts:
        assert vocabulary.decode(vocabulary.encode(text, bos=bos, eos=eos)) == text


@given(sequences, st.booleans())
def test_list_and_json_bring_the_same_vocabulary_back(texts, unknown):
    vocabulary = Vocabulary.from_sequences(texts, unknown=unknown)
    restored = Vocabulary.from_list(json.loads(json.dumps(vocabulary.to_list())))
    assert restored == vocabulary
    assert restored.unknown == vocabulary.unknown
    for text in texts:
        assert restored.encode(text).tolist() == vocabulary.encode(text).tolist()


@given(sequences, st.randoms(use_true_random=False))
def test_order_is_by_frequency_then_alphabet_whatever_the_order_of_the_texts(texts, random):
    vocabulary = Vocabulary.from_sequences(texts)
    everything = [symbol for text in texts for symbol in text]
    found = vocabulary.to_list()[3:]
    keys = [(-everything.count(symbol), symbol) for symbol in found]
    assert keys == sorted(keys)
    assert set(found) == set(everything)
    random.shuffle(texts)
    assert Vocabulary.from_sequences(texts) == vocabulary


def test_max_size_keeps_the_most_frequent_and_makes_the_rest_unknown():
    vocabulary = Vocabulary.from_sequences(["banana", "band"], max_size=2)
    assert vocabulary.to_list()[4:] == ["a", "n"]
    assert vocabulary.encode("band").tolist() == [3, 4, 5, 3]
    assert vocabulary.decode([3, 4]) == ["<unk>", "a"]


def test_length_and_membership_count_what_they_say():
    vocabulary = Vocabulary("ab", unknown=True)
    assert len(vocabulary) == 6
    assert "a" in vocabulary
    assert "c" not in vocabulary
    assert "<eos>" not in vocabulary
    assert vocabulary != ["<pad>"]
    assert repr(vocabulary) == "Vocabulary of 6: <pad> <bos> <eos> <unk> a b"


def test_text_cannot_spell_a_special_symbol():
    with pytest.raises(DataError, match="unknown symbol '<eos>'"):
        Vocabulary("ab").encode(["a", "<eos>"])
    assert Vocabulary("ab", unknown=True).encode(["a", "<eos>"]).tolist() == [4, 3]


def test_an_unknown_symbol_is_named_with_its_place_its_word_and_the_cure():
    with pytest.raises(DataError) as caught:
        Vocabulary("acfs").encode("cafés")
    assert str(caught.value) == (
        "unknown symbol 'é' at position 3 of 'cafés': the vocabulary knows a c f s. "
        "Leave this sequence out, or build the vocabulary with unknown=True."
    )


def test_an_unknown_phoneme_is_named_in_its_pronunciation():
    with pytest.raises(DataError, match=r"unknown symbol 'XX' at position 1 of 'AH XX T': .* knows AH T"):
        Vocabulary(["AH", "T"]).encode(("AH", "XX", "T"))


def test_the_error_of_a_large_vocabulary_stays_short():
    with pytest.raises(DataError, match=r"knows 0 1 2 .* 58 59 and 940 more\."):
        Vocabulary(map(str, range(1000))).encode(["x"])
    with pytest.raises(DataError, match="knows no symbols"):
        Vocabulary([]).encode(["x"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["a", "b", "a"], "the symbol 'a' is given twice"),
        (["a", ""], "a symbol cannot be the empty string"),
        (["a", "<pad>"], "'<pad>' is the name of a special symbol"),
        (["<unk>"], "'<unk>' is the name of a special symbol"),
    ],
)
def test_symbols_that_cannot_be_numbered(wrong, message):
    with pytest.raises(DataError, match=message):
        Vocabulary(wrong)


@pytest.mark.parametrize("number", [-1, 5])
def test_a_number_without_a_symbol(number):
    with pytest.raises(DataError, match=f"no symbol has the number {number}: they go from 0 to 4"):
        Vocabulary("ab").decode([3, number])


@pytest.mark.parametrize("stored", [[], ["a", "b", "c"], ["<pad>", "<eos>", "<bos>", "a"]])
def test_a_list_that_is_no_stored_vocabulary(stored):
    with pytest.raises(DataError, match=r"a stored vocabulary begins with .*<pad>.*this one with"):
        Vocabulary.from_list(stored)


def test_a_stored_list_with_something_that_is_no_string():
    with pytest.raises(DataError, match="number 4 of a stored vocabulary must be a string, and is None"):
        Vocabulary.from_list([*Vocabulary("a").to_list(), None])


def test_a_vocabulary_without_room():
    with pytest.raises(ConfigError, match="max_size is 0"):
        Vocabulary.from_sequences(["abc"], max_size=0)
