"""Characters, words and pieces of words: their numbers, the way back, and how they are stored."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minattn.data.text.tokenization import (
    CharacterTokenizer,
    PieceTokenizer,
    WordTokenizer,
    plain,
    tokenizer_from_json,
)
from minattn.data.text.vocabulary import BOS, EOS, PAD, SPECIAL_SYMBOLS, UNKNOWN
from minattn.errors import CheckpointError, ConfigError, DataError, MissingDependencyError

SENTENCES = [
    "the cat sat on the mat , the hat on the cat .",
    "The cats (and hats) don't sit: “they” lie.",
    "am 3. März 2017 — naïve façade 日本語",
]

UNKNOWN_WORD = SPECIAL_SYMBOLS[UNKNOWN]

TOKENIZERS = {
    "words": WordTokenizer.learn(SENTENCES),
    "characters": CharacterTokenizer.learn(SENTENCES),
    "bpe": PieceTokenizer.learn(SENTENCES, 80),
}

texts = st.text(max_size=20) | st.lists(st.sampled_from(" ".join(SENTENCES).split()), max_size=6).map(" ".join)
every_kind = pytest.mark.parametrize("kind", TOKENIZERS)


# ---------------------------------------------------------------------------------------------- there and back
@every_kind
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_comes_back(kind, sentence):
    tokenizer = TOKENIZERS[kind]
    numbers = tokenizer.encode(sentence, bos=True, eos=True)
    assert (numbers[0], numbers[-1]) == (BOS, EOS)
    assert UNKNOWN not in numbers
    assert tokenizer.decode(numbers) == sentence
    assert tokenizer.decode([*numbers, PAD, PAD, 5]) == sentence
    assert tokenizer.decode(tokenizer.encode(f"  {sentence}  ")) == sentence


@every_kind
@given(texts)
def test_whatever_is_written_has_numbers_within_the_table(kind, sentence):
    tokenizer = TOKENIZERS[kind]
    numbers = tokenizer.encode(sentence)
    assert all(UNKNOWN <= number < len(tokenizer) for number in numbers)
    assert len(numbers) == len(tokenizer.tokens(sentence)) == len(tokenizer.units(sentence))
    if UNKNOWN not in numbers:
        assert tokenizer.decode(numbers) == plain(sentence)


@every_kind
@given(texts)
def test_a_stored_tokenizer_is_the_same(kind, sentence):
    tokenizer = TOKENIZERS[kind]
    restored = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert type(restored) is type(tokenizer)
    assert len(restored) == len(tokenizer)
    assert restored.encode(sentence).tolist() == tokenizer.encode(sentence).tolist()


@every_kind
def test_no_text_spells_a_mark(kind):
    tokenizer = TOKENIZERS[kind]
    for symbol in SPECIAL_SYMBOLS:
        numbers = tokenizer.encode(f"the {symbol} cat")
        assert not {PAD, BOS, EOS} & set(numbers.tolist())


@every_kind
def test_numbers_that_nothing_has_are_refused(kind):
    with pytest.raises(DataError, match="no symbol has the number"):
        TOKENIZERS[kind].decode([len(TOKENIZERS[kind])])
    with pytest.raises(DataError, match="no symbol has the number -1"):
        TOKENIZERS[kind].decode([-1])


@every_kind
@pytest.mark.parametrize("sentence", ["", "  ", "\u2028"])
def test_an_empty_sentence_is_told(kind, sentence):
    with pytest.raises(DataError, match=r"^the sentence '.*' is empty; hint"):
        TOKENIZERS[kind].check_known(sentence)


@every_kind
def test_a_sentence_of_which_nothing_is_known_is_told(kind):
    with pytest.raises(
        DataError, match=r"^the sentence 'ЖЖЖ ЩЩЩ' has nothing that the sentences trained on have; hint"
    ):
        TOKENIZERS[kind].check_known("ЖЖЖ ЩЩЩ")
    TOKENIZERS[kind].check_known("ЖЖЖ cat")


# ---------------------------------------------------------------------------------------------- what is learned
def test_words_by_count_and_alphabet():
    sentences = ["b a c", "a b", f"a {UNKNOWN_WORD} <pad>"]
    assert WordTokenizer.learn(sentences).vocabulary.to_list() == [*SPECIAL_SYMBOLS, "a", "b", "c"]
    assert len(WordTokenizer.learn(sentences, max_size=1)) == 5
    rare = WordTokenizer.learn(sentences, min_count=2)
    assert rare.tokens("a c") == ["a", "c"]
    assert rare.encode("a c").tolist() == [4, UNKNOWN]
    assert rare.decode([4, UNKNOWN]) == f"a {UNKNOWN_WORD}"


def test_frequent_words_become_one_piece_and_punctuation_stays_apart():
    pieces = TOKENIZERS["bpe"]
    assert pieces.tokens("the cat") == ["▁the", "▁cat"]
    assert pieces.tokens("the cat, the").count(",") == 1
    assert PieceTokenizer.learn(["a_b"], 10).tokens("a▁b") == ["▁", "a", "_", "b"], "a word begins at a space only"


def test_units_are_words_or_characters():
    assert TOKENIZERS["words"].units("a b c") == [0, 1, 2]
    assert TOKENIZERS["characters"].units("a b") == [0, 1, 2]
    for sentence in SENTENCES:
        assert max(TOKENIZERS["bpe"].units(sentence)) == len(sentence.split()) - 1


def test_pieces_are_learned_the_same_each_time():
    assert PieceTokenizer.learn(SENTENCES, 80).to_json() == TOKENIZERS["bpe"].to_json()


def test_composed_characters_are_what_is_learned():
    assert plain("ma\u0308rz\u202f 3") == "märz 3"
    assert UNKNOWN not in TOKENIZERS["characters"].encode("Ma\u0308rz")


@pytest.mark.parametrize(
    ("learn", "says"),
    [
        (lambda: WordTokenizer.learn(["a"], min_count=0), "min_count must be at least 1, got 0"),
        (lambda: WordTokenizer.learn(["a"], max_size=0), "max_size must be at least 1, got 0"),
        (lambda: PieceTokenizer.learn(["ab ba"], 6), "6 pieces were asked for, .* alone are 7; hint: a larger number"),
    ],
)
def test_sizes_that_cannot_be(learn, says):
    with pytest.raises(ConfigError, match=says):
        learn()


def test_no_word_is_left():
    with pytest.raises(DataError, match="no word comes 2 times or more; hint: a lower min_count"):
        WordTokenizer.learn(["a b"], min_count=2)


# ---------------------------------------------------------------------------------------------- what is stored
@pytest.mark.parametrize(
    "stored",
    [None, {}, [], {"kind": "letters"}, {"kind": "words"}, {"kind": "words", "symbols": ["a"]}]
    + [{"kind": "bpe", "tokenizer": {}}, {"kind": "bpe", "tokenizer": {"model": {"type": "BPE"}}}],
)
def test_what_is_no_stored_tokenizer(stored):
    with pytest.raises(CheckpointError, match=r"a stored tokenizer is damaged \(.*\); hint: restore the checkpoint"):
        tokenizer_from_json(stored)


@pytest.mark.parametrize(
    "change",
    [
        {"vocab": {}},
        {"vocab": "reversed"},
        {"vocab": {"<pad>": 0, "<start>": 1}},
        {"vocab": {"<pad>": False, "<start>": True}},
        {"merges": [["a"]]},
        {"merges": [["a", "nothing"]]},
        {"merges": 3},
    ],
    ids=str,
)
def test_pieces_that_are_none_are_refused(change):
    stored = TOKENIZERS["bpe"].to_json()
    model = stored["tokenizer"]["model"]
    if change == {"vocab": "reversed"}:
        change = {"vocab": {piece: len(model["vocab"]) - 1 - number for piece, number in model["vocab"].items()}}
    stored["tokenizer"]["model"] = model | change
    with pytest.raises(CheckpointError, match=r"a stored tokenizer is damaged \(.*\); hint: restore the checkpoint"):
        tokenizer_from_json(stored)


def test_of_stored_pieces_what_the_library_could_fail_by_is_not_read():
    stored = TOKENIZERS["bpe"].to_json()
    stored["tokenizer"]["model"] |= {
        "continuing_subword_prefix": "longer than pieces",
        "unk_token": "nothing",
    }
    stored["tokenizer"] |= {"pre_tokenizer": None, "decoder": None, "added_tokens": []}
    read = tokenizer_from_json(stored)
    assert read.to_json() == TOKENIZERS["bpe"].to_json()
    for sentence in (*SENTENCES, "ω unknown <end>"):
        assert read.encode(sentence).tolist() == TOKENIZERS["bpe"].encode(sentence).tolist()
        assert read.decode(read.encode(sentence)) == TOKENIZERS["bpe"].decode(read.encode(sentence))


def test_half_a_character_is_a_question_mark():
    pieces = PieceTokenizer.learn(["a? b"], 10)
    assert pieces.tokens("\udcff") == pieces.tokens("?")


def test_pieces_need_their_library(monkeypatch):
    stored = TOKENIZERS["bpe"].to_json()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for use in (lambda: PieceTokenizer.learn(["a"], 10), lambda: tokenizer_from_json(stored)):
        with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[translate\]'"):
            use()
