"""Symbols and their numbers: what stands between text and an embedding table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64

from minattn.errors import ConfigError, DataError

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
SPECIAL_SYMBOLS = ("<pad>", "<bos>", "<eos>", "<unk>")

Numbers = Sequence[int] | np.ndarray  # of symbols, one after the other

SYMBOLS_SHOWN = 60  # an error names at most so many of the symbols that exist


class Vocabulary:
    """A numbering of symbols: letters, phonemes, words, whatever a sequence consists of.

    Number 0 is padding, 1 begins (BOS) and 2 ends (EOS) a sequence; with `unknown=True` number 3 stands for
    every symbol that is not in the vocabulary.  The given symbols follow in the given order.

        letters = Vocabulary("abc")
        letters.encode("cab", eos=True)     # array([5, 3, 4, 2])
        letters.decode([5, 3, 4, 2, 0])     # ["c", "a", "b"]

    Raises DataError for a symbol that is given twice, is empty, or is the name of a special one.
    """

    pad, bos, eos = PAD, BOS, EOS

    def __init__(self, symbols: Iterable[str], *, unknown: bool = False):
        special = SPECIAL_SYMBOLS if unknown else SPECIAL_SYMBOLS[:UNKNOWN]
        own = list(symbols)
        _check_symbols(own)
        self.unknown: int | None = UNKNOWN if unknown else None
        self._symbols = [*special, *own]
        # Special symbols have no entry: no text can spell them, not even one that contains "<eos>".
        self._numbers = {symbol: number for number, symbol in enumerate(own, start=len(special))}

    @classmethod
    def from_sequences(
        cls, sequences: Iterable[Sequence[str]], *, max_size: int | None = None, unknown: bool = False
    ) -> Vocabulary:
        """Collect the symbols of `sequences`: the most frequent first, equally frequent ones by alphabet.

        With `max_size` only that many symbols are kept, as Bahdanau, Cho & Bengio (2015, section 4.1) keep
        the 30,000 most frequent words of each language; all others then become the unknown symbol.

        Raises ConfigError for a max_size below 1, and as Vocabulary itself does.
        """
        counts = Counter(symbol for sequence in sequences for symbol in sequence)
        if max_size is not None and max_size < 1:
            raise ConfigError(f"a vocabulary needs room for at least one symbol, and max_size is {max_size}")
        by_frequency = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        return cls(by_frequency[:max_size], unknown=unknown or max_size is not None)

    def encode(self, sequence: Sequence[str], *, bos: bool = False, eos: bool = False) -> Int64[np.ndarray, " time"]:
        """Turn symbols into their numbers; `bos` and `eos` put BOS in front and EOS behind.

        Raises DataError for a symbol that is not in the vocabulary, unless the vocabulary has an unknown
        symbol.
        """
        numbers = [BOS] if bos else []
        for position, symbol in enumerate(sequence):
            number = self._numbers.get(symbol, self.unknown)
            if number is None:
                raise DataError(self._unknown_symbol_message(sequence, position))
            numbers.append(number)
        if eos:
            numbers.append(EOS)
        return np.array(numbers, dtype=np.int64)

    def decode(self, numbers: Numbers) -> list[str]:
        """Turn numbers into symbols, up to the first EOS; padding and BOS are left out.

        Raises DataError for a number that no symbol has.
        """
        symbols = []
        for number in numbers:
            if not 0 <= number < len(self):
                raise DataError(f"no symbol has the number {number}: they go from 0 to {len(self) - 1}")
            if number == EOS:
                break
            if number not in (PAD, BOS):
                symbols.append(self._symbols[number])
        return symbols

    def to_list(self) -> list[str]:
        """All symbols in the order of their numbers, special ones included: made to be written as JSON."""
        return list(self._symbols)

    @classmethod
    def from_list(cls, symbols: Sequence[object]) -> Vocabulary:
        """The vocabulary whose `to_list` this is.

        Raises DataError where the special symbols are not in their places or something is not a string, and as
        Vocabulary itself does.
        """
        if tuple(symbols[:UNKNOWN]) != SPECIAL_SYMBOLS[:UNKNOWN]:
            raise DataError(
                f"a stored vocabulary begins with {list(SPECIAL_SYMBOLS[:UNKNOWN])}, "
                f"this one with {list(symbols[:UNKNOWN])}. "
                "Build a vocabulary from plain symbols with Vocabulary(symbols)."
            )
        own = []
        for number, symbol in enumerate(symbols[UNKNOWN:], start=UNKNOWN):
            if not isinstance(symbol, str):
                raise DataError(f"number {number} of a stored vocabulary must be a string, and is {symbol!r}")
            own.append(symbol)
        unknown = own[:1] == [SPECIAL_SYMBOLS[UNKNOWN]]
        return cls(own[unknown:], unknown=unknown)

    def __len__(self) -> int:
        """The size of the vocabulary, special symbols included: the rows of an embedding table."""
        return len(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._symbols == other._symbols

    def __repr__(self) -> str:
        return f"Vocabulary of {len(self)}: {_shortened(self._symbols)}"

    def _unknown_symbol_message(self, sequence: Sequence[str], position: int) -> str:
        text = repr(sequence) if isinstance(sequence, str) else f"'{' '.join(map(str, sequence))}'"
        return (
            f"unknown symbol {sequence[position]!r} at position {position} of {text}: "
            f"the vocabulary knows {_shortened(list(self._numbers)) or 'no symbols'}. "
            "Leave this sequence out, or build the vocabulary with unknown=True."
        )


def _check_symbols(symbols: Sequence[str]) -> None:
    seen = set()
    for symbol in symbols:
        if not symbol:
            raise DataError("a symbol cannot be the empty string: leave it out")
        if symbol in SPECIAL_SYMBOLS:
            raise DataError(f"{symbol!r} is the name of a special symbol: rename it in the data")
        if symbol in seen:
            raise DataError(f"the symbol {symbol!r} is given twice: a vocabulary needs each symbol once")
        seen.add(symbol)


def _shortened(symbols: Sequence[str]) -> str:
    left_out = len(symbols) - SYMBOLS_SHOWN
    return " ".join(symbols[:SYMBOLS_SHOWN]) + (f" and {left_out:,} more" if left_out > 0 else "")
