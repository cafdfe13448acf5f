"""Multi-head attention, the Transformer's.

A. Vaswani et al., "Attention is all you need", NIPS 2017, section 3.2.2:

    MultiHead(Q, K, V) = Concat(head_1, .., head_h) W^O
    head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)

The projections of all heads stand side by side in one matrix, W_Q = [W_1^Q | .. | W_h^Q] (d_model, h d_k), and likewise
W_K (d_model, h d_k) and W_V (d_model, h d_v); W_O is (h d_v, d_model).

Deviations from the paper: it gives no initial values; here the projections are drawn Glorot-uniform.  What later models
changed is off unless asked for: `biases=True` adds to each projection a bias, as in BERT; with `kv_heads` there are
fewer heads of keys and values than of queries, each shared by a group (see `modified_attention.py`); `rotary` turns
queries and keys by their positions (see `rotary.py`).
"""

from typing import NamedTuple

from jaxtyping import Bool, Inexact

from minattn.attention.self_attention.modified_attention import modified_attention
from minattn.attention.self_attention.rotary import RotaryPositions
from minattn.attention.self_attention.scaled_dot_product import VASWANI, scaled_dot_product_attention
from minattn.autograd import Array, Tensor, ops
from minattn.errors import ConfigError, ShapeError
from minattn.nn import Module, initializers
from minattn.nn.initializers import Rng
from minattn.published import Mechanism


class KeyValues(NamedTuple):
    """The projected keys and values of all heads, which decoding keeps of past positions."""

    keys: Tensor  # (batch, kv_heads, n_k, d_k)
    values: Tensor  # (batch, kv_heads, n_k, d_v)

    def append(self, new: "KeyValues") -> "KeyValues":
        """Return these and, after them, those of new positions."""
        return KeyValues(*(ops.concat(pair, axis=2) for pair in zip(self, new, strict=True)))

    def select(self, rows: Array) -> "KeyValues":
        """Return those of the sequences with these row numbers, each as often as it is given."""
        return KeyValues(ops.take(self.keys, rows), ops.take(self.values, rows))


class MultiHeadAttention(Module):
    """Multi-head attention, section 3.2.2.

    d_k, d_v: sizes of a head's keys and values, d_model / heads unless given.  The projections are drawn
    Glorot-uniform, each for all heads together; biases=True gives each a bias, 0 at first.
    kv_heads: how many heads keys and values have, `heads` unless given; it must divide that.  rotary: turns queries
    and keys, those of `self_attend` by where they stand after the past ones.
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        rng: Rng,
        d_k: int | None = None,
        d_v: int | None = None,
        biases: bool = False,
        kv_heads: int | None = None,
        rotary: RotaryPositions | None = None,
    ) -> None:
        sizes = {"d_model": d_model, "heads": heads, "d_k": d_k, "d_v": d_v, "kv_heads": kv_heads}
        initializers.check_sizes(**{name: size for name, size in sizes.items() if size is not None})
        if (d_k is None or d_v is None) and d_model % heads:
            raise ConfigError(
                f"d_model = {d_model} does not divide into {heads} heads; hint: other numbers, or give d_k and d_v"
            )
        self.heads, self.kv_heads = heads, heads if kv_heads is None else kv_heads
        if heads % self.kv_heads:
            raise ConfigError(f"kv_heads = {kv_heads} does not divide the {heads} heads; hint: a divisor of {heads}")
        self.rotary = rotary
        self.d_k, self.d_v = (d_model // heads if size is None else size for size in (d_k, d_v))
        self.W_Q = initializers.glorot_uniform((d_model, heads * self.d_k), rng)
        self.W_K = initializers.glorot_uniform((d_model, self.kv_heads * self.d_k), rng)
        self.W_V = initializers.glorot_uniform((d_model, self.kv_heads * self.d_v), rng)
        self.W_O = initializers.glorot_uniform((heads * self.d_v, d_model), rng)
        self.b_Q = initializers.zeros((heads * self.d_k,)) if biases else None
        self.b_K = initializers.zeros((self.kv_heads * self.d_k,)) if biases else None
        self.b_V = initializers.zeros((self.kv_heads * self.d_v,)) if biases else None
        self.b_O = initializers.zeros((d_model,)) if biases else None

    def queries(self, x: Inexact[Tensor, "batch n d_model"], start: int = 0) -> Inexact[Tensor, "batch heads n d_k"]:
        """Q W_i^Q of every head; `start` is the position of the first one, for rotary positions."""
        projected = self._split(ops.linear(x, self.W_Q, self.b_Q), self.heads)
        return projected if self.rotary is None else self.rotary(projected, start)

    def keys_values(
        self, keys: Inexact[Tensor, "batch n d_model"], values: Tensor | None = None, start: int = 0
    ) -> KeyValues:
        """K W_i^K and V W_i^V of every head; V is K unless given."""
        values = keys if values is None else values
        projected = self._split(ops.linear(keys, self.W_K, self.b_K), self.kv_heads)
        projected = projected if self.rotary is None else self.rotary(projected, start)
        return KeyValues(projected, self._split(ops.linear(values, self.W_V, self.b_V), self.kv_heads))

    def attend(
        self,
        queries: Inexact[Tensor, "batch heads n_q d_k"],
        memory: KeyValues,
        mask: Bool[Array, "#batch #n_q #n_k"] | None = None,
        causal: bool = False,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n_q d_model"], Inexact[Tensor, "batch heads n_q n_k"] | None]:
        """Return Concat(head_1, .., head_h) W^O and the weights of every head, from projected queries and memory."""
        if mask is not None:
            if mask.ndim != 3:
                raise ShapeError(
                    f"a mask must be (batch, n_q, n_k), each axis of that length or of 1, got {mask.shape}; hint: "
                    "a padding mask (batch, n_k) as mask[:, None, :]"
                )
            mask = mask[:, None]  # the same for every head
        heads, weights = self.attention(queries, memory, mask, causal, need_weights)
        batch, _, n_q, _ = heads.shape
        concat = ops.reshape(ops.swapaxes(heads, 1, 2), (batch, n_q, self.heads * self.d_v))
        return ops.linear(concat, self.W_O, self.b_O), weights

    def attention(
        self,
        queries: Inexact[Tensor, "batch heads n_q d_k"],
        memory: KeyValues,
        mask: Bool[Array, "..."] | None,
        causal: bool,
        need_weights: bool,
    ) -> tuple[Inexact[Tensor, "batch heads n_q d_v"], Inexact[Tensor, "batch heads n_q n_k"] | None]:
        """Return (head_1 .. head_h, the weights of every head)."""
        attention = scaled_dot_product_attention if self.kv_heads == self.heads else modified_attention
        return attention(queries, *memory, mask, causal, need_weights)

    def forward(
        self,
        queries: Inexact[Tensor, "batch n_q d_model"],
        keys: Inexact[Tensor, "batch n_k d_model"] | None = None,
        values: Inexact[Tensor, "batch n_k d_model"] | None = None,
        mask: Bool[Array, "#batch #n_q #n_k"] | None = None,
        causal: bool = False,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n_q d_model"], Inexact[Tensor, "batch heads n_q n_k"] | None]:
        """Return (context, weights): MultiHead(Q, K, V), and the weights of every head, None with need_weights=False.

        keys: the queries unless given, which is self-attention; values: the keys unless given.  mask: broadcastable to
        (batch, n_q, n_k), True = may attend, the same for every head; a padding mask (batch, n_k) is mask[:, None, :].
        causal: no query attends to a later key.
        """
        memory = self.keys_values(queries if keys is None else keys, values)
        start = memory.keys.shape[2] - queries.shape[1] if causal else 0
        return self.attend(self.queries(queries, start), memory, mask, causal, need_weights)

    def self_attend(
        self,
        x: Inexact[Tensor, "batch n d_model"],
        past: KeyValues | None = None,
        mask: Bool[Array, "#batch #n #n_k"] | None = None,
        causal: bool = False,
        need_weights: bool = True,
    ) -> tuple[Inexact[Tensor, "batch n d_model"], Inexact[Tensor, "batch heads n n_k"] | None, KeyValues]:
        """Self-attention of x, which follows the positions of `past`: (context, weights, past with x)."""
        start = 0 if past is None else past.keys.shape[2]
        new = self.keys_values(x, start=start)
        memory = new if past is None else past.append(new)
        return *self.attend(self.queries(x, start), memory, mask, causal, need_weights), memory

    def _split(self, projected: Inexact[Tensor, "batch n both"], heads: int) -> Inexact[Tensor, "batch heads n d"]:
        """Return the projections of the heads side by side on an axis of their own."""
        if projected.ndim != 3:
            raise ShapeError(f"attention is for vectors (batch, n, d_model), got {projected.shape}; hint: x[None]")
        batch, n, both = projected.shape
        return ops.swapaxes(ops.reshape(projected, (batch, n, heads, both // heads)), 1, 2)


MECHANISM = Mechanism(
    name="multi-head attention",
    paper=VASWANI,
    equation=(
        "section 3.2.2, unnumbered: MultiHead(Q, K, V) = Concat(head_1, .., head_h) W^O, head_i = "
        "Attention(Q W_i^Q, K W_i^K, V W_i^V)"
    ),
    code="MultiHeadAttention",
    model="minattn.models.Transformer",
    command="minattn train g2p --model transformer",
    experiment="experiments/transformer_heads.py",
)
