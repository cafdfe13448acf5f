"""Key-value memory: facts are found by their keys, and read as their values.

A. Miller, A. Fisch, J. Dodge, A.-H. Karimi, A. Bordes and J. Weston, "Key-value memory networks for directly reading
documents", EMNLP 2016, section 3.1.  Questions x, keys k, values v and candidate answers y are bags of features,
Phi_X(x) and so on; A maps them to vectors of size d.  For hops j = 1 .. H:

    h_1 .. h_N: slots whose keys share a word with the question, one of fewer than 1,000 keys    (a)  key hashing
    q_1     = A Phi_X(x)                                                                         (b)
    p_hi    = softmax_i(q_j . A Phi_K(k_hi))                                                     (c)  key addressing
    o_j     = sum_i p_hi A Phi_V(v_hi)                                                           (d)  value reading
    q_{j+1} = R_j (q_j + o_j)                                                                    (e)
    a^      = argmax_i softmax_i(q_{H+1} . B Phi_Y(y_i))                                         (f)  in the network

With the rule "coded" R_H is missing, q_{H+1} = q_H + o_H, and each R_j has a bias, as by default in the authors' code.

Deviations from the paper: vectors are rows, so R_j stands transposed and on the right; slots that fill up a batch are
masked, and where there is no slot at all, o_j is 0.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Inexact, Integer

from minattn.attention.memory.end_to_end import hop
from minattn.attention.memory.sentences import sentence_vectors
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.nn.masks import padding_mask
from minattn.published import Mechanism, Paper

Rule = Literal["paper", "coded"]


class KeyHashing:
    """The slots of a memory by the words of their keys, (a).

    keys: the features of each slot's key, ids or words; frequent: one that is in so many keys or more finds none.
    """

    def __init__(self, keys: Iterable[Sequence[Hashable]], frequent: int = 1000) -> None:
        found = defaultdict(list)
        for slot, key in enumerate(keys):
            for word in set(key):
                found[word].append(slot)
        self._slots = {word: np.array(slots) for word, slots in found.items() if len(slots) < frequent}

    def slots(self, question: Iterable[Hashable], most: int | None = None) -> Integer[np.ndarray, " slots"]:
        """Return the numbers of the slots that share a word with the question, those that share most of them first.

        most: so many of them at most; of those that share as many words, the ones with the rarer words.
        """
        shared = [self._slots[word] for word in dict.fromkeys(question) if word in self._slots]
        if not shared:
            return np.zeros(0, np.int64)
        slots, place = np.unique(np.concatenate(shared), return_inverse=True)
        words = np.bincount(place)
        rarity = np.bincount(place, np.concatenate([np.full(len(one), 1 / len(one)) for one in shared]))
        return slots[np.lexsort((slots, -rarity, -words))][:most]


def key_value_hops(q: Any, keys: Any, values: Any, R: Sequence[Any], b: Sequence[Any] = (), mask: Any = None) -> Any:
    """q_{H+1} (B, d) and the weights (B, H, n) of questions q (B, d) over keys and values (B, n, d); mask (B, n).

    R: R_1 .. R_H, each (d, d); a None leaves out its product.  b: their biases (d), or nothing.
    """
    if mask is not None:
        keys, values = (ops.where(mask[:, :, None], x, 0.0) for x in (keys, values))
    weights = []
    for j, R_j in enumerate(R):
        o, p = hop(q, keys, values, mask)  # (c) (d)
        q = q + o if R_j is None else (q + o) @ R_j  # (e)
        if b and R_j is not None:
            q = q + b[j]
        weights.append(p)
    return q, ops.stack(weights, axis=1)


class KeyValueMemory(Module):
    """H hops over slots of keys and values, with the matrix A that stores them, (b) to (e).

    features: D, words and what else may be in a bag, no word included; size: d.  The matrices are drawn from
    N(0, std^2), biases start at 0.
    """

    def __init__(self, features: int, size: int, hops: int, rng: Rng, rule: Rule = "paper", std: float = 0.1) -> None:
        if rule not in get_args(Rule):
            raise ConfigError(f"there is no rule {rule!r}; hint: {', '.join(get_args(Rule))}")
        self.hops = hops
        count = hops if rule == "paper" else hops - 1
        self.A = initializers.normal((features, size), rng, std)
        self.R = [initializers.normal((size, size), rng, std) for _ in range(count)]
        self.b = [initializers.zeros((size,)) for _ in range(count) if rule == "coded"]

    def question(self, words: Integer[Array, "batch words"]) -> Inexact[Tensor, "batch size"]:
        """Return q_1 of the words of a question, of which 0 is none."""
        return sentence_vectors(self.A, words)  # (b)

    def forward(
        self,
        q: Inexact[Tensor, "batch size"],
        keys: Integer[Array, "batch slots words_of_key"],
        values: Integer[Array, "batch slots words_of_value"],
        mask: Bool[Array, "batch slots"] | None = None,
    ) -> tuple[Inexact[Tensor, "batch size"], Inexact[Tensor, "batch hops slots"]]:
        """Return (q_{H+1}, weights of every hop) of questions over slots; mask: True = a slot (None: all are)."""
        stored = sentence_vectors(self.A, keys), sentence_vectors(self.A, values)
        R = [*self.R, *[None] * (self.hops - len(self.R))]
        return key_value_hops(q, *stored, R, self.b, padding_mask(mask, keys))


MECHANISM = Mechanism(
    name="key-value memory",
    paper=Paper("Miller et al.", 2016, "Key-value memory networks for directly reading documents"),
    equation=(
        "section 3.1: p_hi = softmax_i(q_j . A Phi_K(k_hi)); o_j = sum_i p_hi A Phi_V(v_hi); q_{j+1} = R_j (q_j + o_j)"
    ),
    code="KeyValueMemory",
    model="minattn.models.KeyValueNetwork",
    command="minattn train facts",
)
