"""Sentences as rows of numbers and back: by characters, by words, or by pieces of words.

All three are learned on the sentences to train on and on nothing else, have the numbers of padding, of the marks and of
the unknown symbol that a `Vocabulary` has, and are stored as JSON, as in a checkpoint:

    words = WordTokenizer.learn(text.sources, max_size=30_000)
    words.encode("the cat", eos=True)           # array([4, 17, 2])
    words.decode([4, 17, 2])                    # "the cat"
    tokenizer_from_json(words.to_json())        # the same tokenizer

Pieces of words are those of

    Sennrich, R., Haddow, B. & Birch, A. (2016). Neural machine translation of rare words with subword units. ACL 2016,

byte pair encoding: beginning with characters, the most frequent pair of neighbors is merged, again and again.  They are
learned by the library `tokenizers`.

Deviations from the paper: a piece that begins a word begins with U+2581, where the paper marks a piece that ends one;
punctuation is cut off from words first.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Int64

from minattn.data.text.parallel import shown
from minattn.data.text.vocabulary import BOS, EOS, PAD, SPECIAL_SYMBOLS, UNKNOWN, Numbers, Vocabulary
from minattn.errors import CheckpointError, ConfigError, DataError, MissingDependencyError

WORD_START = "▁"  # U+2581, in place of the space before a word

RUNS = r" ?[\p{P}\p{S}]| ?[^ \p{P}\p{S}]+"  # pieces never cross their borders


def plain(sentence: str) -> str:
    """The sentence in composed characters, with one space between words and none around them."""
    return " ".join(unicodedata.normalize("NFC", sentence).split())


class Tokenizer:
    """The base of all: a sentence's tokens, their numbers, and the sentence that numbers stand for."""

    kind: ClassVar[str]
    pad, bos, eos, unknown = PAD, BOS, EOS, UNKNOWN

    def tokens(self, sentence: str) -> list[str]:
        """The tokens of a sentence, as they are shown beside an alignment; those that are not known are among them."""
        raise NotImplementedError

    def units(self, sentence: str) -> list[int]:
        """For each token, the number of the word, or of the character, that it is or is part of, from 0."""
        return list(range(len(self.tokens(sentence))))

    def encode(self, sentence: str, *, bos: bool = False, eos: bool = False) -> Int64[np.ndarray, " time"]:
        """The numbers of a sentence's tokens; `bos` and `eos` put those marks around them."""
        numbers = self._numbers(sentence)
        return np.array([BOS] * bos + numbers + [EOS] * eos, dtype=np.int64)

    def _numbers(self, sentence: str) -> list[int]:
        raise NotImplementedError

    def decode(self, numbers: Numbers) -> str:
        """The sentence up to the first end mark, without padding and begin marks."""
        raise NotImplementedError

    def symbols(self, numbers: Numbers) -> list[str]:
        """The tokens of these numbers up to the first end mark, without padding and begin marks."""
        raise NotImplementedError

    def check_known(self, sentence: str) -> None:
        """Raise DataError where the sentence is blank, or nothing in it is known."""
        tokens = zip(self.tokens(sentence), self._numbers(sentence), strict=True)
        known = [number != UNKNOWN for token, number in tokens if token not in (" ", WORD_START)]
        if not known:
            raise DataError(f"the sentence {shown(sentence)} is empty; hint: give at least one word")
        if not any(known):
            raise DataError(
                f"the sentence {shown(sentence)} has nothing that the sentences trained on have; hint: is it in "
                "their language and spelling?"
            )

    def to_json(self) -> dict[str, Any]:
        """The JSON from which `tokenizer_from_json` restores this tokenizer."""
        raise NotImplementedError

    def __len__(self) -> int:
        """The number of ids, special symbols included: the rows of an embedding table."""
        raise NotImplementedError


class _ByVocabulary(Tokenizer):
    """Tokens that a Vocabulary numbers."""

    between: ClassVar[str]

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def _numbers(self, sentence: str) -> list[int]:
        return self.vocabulary.encode(self.tokens(sentence)).tolist()

    def symbols(self, numbers: Numbers) -> list[str]:
        return self.vocabulary.decode(numbers)

    def decode(self, numbers: Numbers) -> str:
        return self.between.join(self.symbols(numbers))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "symbols": self.vocabulary.to_list()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        return cls(Vocabulary.from_list(stored["symbols"]))

    def __len__(self) -> int:
        return len(self.vocabulary)


class WordTokenizer(_ByVocabulary):
    """Words are what whitespace divides; punctuation is part of them unless the text has spaces around it."""

    kind, between = "words", " "

    @classmethod
    def learn(cls, sentences: Iterable[str], *, min_count: int = 1, max_size: int | None = None) -> Self:
        """The words that come at least `min_count` times, or the `max_size` most frequent of them.

        Raises ConfigError for numbers below 1, DataError where no word is left.
        """
        _check_at_least(1, min_count=min_count, max_size=max_size)
        counts = Counter(word for sentence in sentences for word in plain(sentence).split())
        frequent = sorted((word for word in counts if counts[word] >= min_count), key=lambda w: (-counts[w], w))
        kept = [word for word in frequent if word not in SPECIAL_SYMBOLS][:max_size]
        if not kept:
            raise DataError(f"no word comes {min_count:,} times or more; hint: a lower min_count")
        return cls(Vocabulary(kept, unknown=True))

    def tokens(self, sentence: str) -> list[str]:
        return plain(sentence).split()


class CharacterTokenizer(_ByVocabulary):
    """Every character is a token, the space too."""

    kind, between = "characters", ""

    @classmethod
    def learn(cls, sentences: Iterable[str]) -> Self:
        """The characters of these sentences."""
        return cls(Vocabulary.from_sequences(map(plain, sentences), unknown=True))

    def tokens(self, sentence: str) -> list[str]:
        return list(plain(sentence))


class PieceTokenizer(Tokenizer):
    """Pieces of words, by byte pair encoding: frequent words are whole, rare ones are spelled.

    tokenizer: one of the library `tokenizers`.
    """

    kind = "bpe"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True  # a text that spells "<end>" means these five characters

    @classmethod
    def learn(cls, sentences: Sequence[str], size: int = 8_000) -> Self:
        """At most `size` pieces, special ones and single characters included; fewer where no pair comes twice.

        Raises ConfigError for a size without room for the characters, MissingDependencyError without `tokenizers`.
        """
        library = _tokenizers()
        sentences = [_spelled(sentence) for sentence in sentences]
        needed = len(SPECIAL_SYMBOLS) + len(set("".join(sentences)) - {" "} | {WORD_START})
        if size < needed:
            raise ConfigError(
                f"{size:,} pieces were asked for, and characters and special symbols alone are {needed:,}; "
                "hint: a larger number"
            )
        tokenizer = cls._of(library.models.BPE(unk_token=SPECIAL_SYMBOLS[UNKNOWN]))
        trainer = library.trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, special_tokens=list(SPECIAL_SYMBOLS), show_progress=False
        )
        tokenizer.train_from_iterator(sentences, trainer)
        return cls(tokenizer)

    @staticmethod
    def _of(model: Any) -> Any:
        """The library's tokenizer with these pieces."""
        library = _tokenizers()
        split = library.pre_tokenizers
        tokenizer = library.Tokenizer(model)
        runs = split.Split(library.Regex(RUNS), "isolated")
        tokenizer.pre_tokenizer = split.Sequence([runs, split.Metaspace(WORD_START, "never", split=False)])
        tokenizer.decoder = library.decoders.Metaspace(WORD_START)
        return tokenizer

    def tokens(self, sentence: str) -> list[str]:
        return self._encoded(sentence).tokens

    def units(self, sentence: str) -> list[int]:
        starts = [token.startswith(WORD_START) for token in self.tokens(sentence)]
        return (np.cumsum(starts, dtype=np.int64) - 1).tolist()

    def _numbers(self, sentence: str) -> list[int]:
        return self._encoded(sentence).ids

    def _encoded(self, sentence: str) -> Any:
        text = _spelled(sentence).encode("utf-8", "replace").decode()  # half a character is a "?"
        return self._tokenizer.encode(text, add_special_tokens=False)

    def symbols(self, numbers: Numbers) -> list[str]:
        return [self._tokenizer.id_to_token(number) for number in self._up_to_the_end(numbers)]

    def decode(self, numbers: Numbers) -> str:
        return self._tokenizer.decode(self._up_to_the_end(numbers), skip_special_tokens=False)

    def _up_to_the_end(self, numbers: Numbers) -> list[int]:
        row = [int(number) for number in numbers]
        if wrong := [number for number in row if not 0 <= number < len(self)]:
            raise DataError(f"no symbol has the number {wrong[0]}; hint: they go from 0 to {len(self) - 1}")
        row = row[: row.index(EOS)] if EOS in row else row
        return [number for number in row if number not in (PAD, BOS)]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "tokenizer": json.loads(self._tokenizer.to_str())}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Of what is stored, the pieces and their merges are read: with another model or another split of the text
        that a file may name, the library can fail in use.
        """
        pieces, merges = (stored["tokenizer"]["model"][name] for name in ("vocab", "merges"))
        numbers = list(pieces.values())
        if sorted(numbers) != list(range(len(numbers))) or not all(type(number) is int for number in numbers):
            raise DataError("its pieces are not numbered from 0 on")
        if any(pieces.get(symbol) != number for number, symbol in enumerate(SPECIAL_SYMBOLS)):
            raise DataError("it lacks special symbols")
        pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in merges]
        model = _tokenizers().models.BPE(vocab=pieces, merges=pairs, unk_token=SPECIAL_SYMBOLS[UNKNOWN])
        tokenizer = cls._of(model)
        tokenizer.add_special_tokens(list(SPECIAL_SYMBOLS))
        return cls(tokenizer)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()


def tokenizer_from_json(stored: Any) -> Tokenizer:
    """The tokenizer whose `to_json` this is.

    Raises CheckpointError where it is not that of one, MissingDependencyError where its library is not installed.
    """
    kinds = {kind.kind: kind for kind in (WordTokenizer, CharacterTokenizer, PieceTokenizer)}
    try:
        return kinds[stored["kind"]].from_json(stored)
    except MissingDependencyError:
        raise
    except Exception as error:  # the library `tokenizers` raises no class of its own
        why = " ".join(str(error).split())
        raise CheckpointError(f"a stored tokenizer is damaged ({why}); hint: restore the checkpoint") from error


def _spelled(sentence: str) -> str:
    """The sentence as pieces are made of it: a space before every word, and no WORD_START of its own."""
    return "".join(f" {word}" for word in plain(sentence).replace(WORD_START, "_").split(" ") if word)


def _check_at_least(lowest: int, **numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < lowest:
            raise ConfigError(f"{name} must be at least {lowest}, got {number}")


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingDependencyError(
            "pieces of words need tokenizers, which is not installed: pip install 'minattn[translate]'"
        ) from error
    return tokenizers
