import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data import Lexicon, LexiconSplits, Splits, hold_out, split_lexicon
from minattn.errors import DataError

# Sets of words and not lexicons, because checked types draw random numbers, which a strategy must not.
word_sets = st.sets(st.text("abcé'", min_size=1, max_size=4), min_size=2, max_size=60)


def lexicon_of(*words):
    return Lexicon((word, phonemes) for word in words for phonemes in (["AH"], ["AH", "T"]))


def test_the_hash_rule_on_words_computed_by_hand():
    # sha256("a") starts with ca978112ca1bbdca, and 0xca978112ca1bbdca modulo 1000 is 250
    assert dict(split_lexicon(lexicon_of("a")).train) == {"a": (("AH",), ("AH", "T"))}
    places = {word: int(hashlib.sha256(word.encode()).hexdigest()[:16], 16) % 1000 for word in map(str, range(20_000))}
    splits = split_lexicon(lexicon_of(*places))
    assert splits.test.keys() == {word for word, place in places.items() if place < 100}
    assert splits.dev.keys() == {word for word, place in places.items() if 100 <= place <= 149}
    assert splits.train.keys() == {word for word, place in places.items() if place > 149}


@given(word_sets)
def test_every_word_goes_into_one_part_with_all_its_pronunciations(words):
    lexicon = lexicon_of(*words)
    splits = split_lexicon(lexicon)
    assert {**splits.train, **splits.dev, **splits.test} == dict(lexicon)
    assert len(splits.train) + len(splits.dev) + len(splits.test) == len(lexicon)


@given(word_sets, st.data())
def test_a_word_goes_where_it_goes_whatever_else_there_is(words, data):
    lexicon = lexicon_of(*words)
    some = lexicon.only(data.draw(st.sets(st.sampled_from(sorted(lexicon)))))
    whole, part = split_lexicon(lexicon), split_lexicon(some)
    assert part.test.keys() == some.keys() & whole.test.keys()
    assert part.dev.keys() == some.keys() & whole.dev.keys()


@given(word_sets, st.data())
def test_held_out_words_are_those_with_the_smallest_hash(words, data):
    lexicon = lexicon_of(*words)
    n = data.draw(st.integers(1, len(lexicon) - 1))
    kept, held_out = hold_out(lexicon, n)
    assert len(held_out) == n
    assert {**kept, **held_out} == dict(lexicon)

    def hashes(words):
        return [hashlib.sha256(word.encode("utf-8")).hexdigest() for word in words]

    assert max(hashes(held_out)) < min(hashes(kept))


def test_the_canonical_number_is_held_out_by_default():
    kept, held_out = hold_out(lexicon_of(*map(str, range(3000))))
    assert (len(kept), len(held_out)) == (330, 2670)
    assert list(kept) == sorted(kept, key=int), "the order of the lexicon is kept"


@pytest.mark.parametrize("n", [-1, 0, 3, 4])
def test_holding_out_nothing_or_everything(n):
    with pytest.raises(DataError, match=f"cannot hold out {n} of 3 words and keep some"):
        hold_out(lexicon_of("a", "b", "c"), n)


def test_parts_that_share_words_are_refused():
    with pytest.raises(DataError) as caught:
        LexiconSplits(train=lexicon_of("a", "b", "c"), dev=lexicon_of("d"), test=lexicon_of("c", "b", "e"))
    assert str(caught.value) == (
        "train and test share words (2 in all), such as b c. "
        "Divide by words and not by lines, or results come out too good."
    )
    with pytest.raises(DataError, match="dev and test share words"):
        LexiconSplits(train=lexicon_of("a"), dev=lexicon_of("b"), test=lexicon_of("b"))


def test_splits_of_anything_have_parts_and_fingerprints():
    splits = Splits("train", "dev", "test")
    assert list(splits) == ["train", "dev", "test"]
    assert splits.parts() == {"train": "train", "dev": "dev", "test": "test"}
    assert splits.fingerprints()["dev"] == hashlib.sha256(b"dev").hexdigest()
    lexicons = LexiconSplits(lexicon_of("a"), lexicon_of("b"), lexicon_of("c"))
    assert lexicons.fingerprints()["test"] == lexicon_of("c").fingerprint()
