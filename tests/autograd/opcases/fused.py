"""Cases of the fused ops of nn and attention.  Their values are tested by the papers' equations in tests/nn and
tests/attention; here they are held to their equations, to the oracle, and to a GPU, like every other op."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minattn.testing import strategies

from .case import Call, Case, drawn, dtypes

STATE = ("B", "n")


@st.composite
def sized(draw, *shapes, mask=None, **parameters):
    """Arguments whose shapes are tuples of names, such as ("B", "T", "3n"); equal names have equal lengths."""
    lengths = {"B": st.integers(0, 2)}
    lengths |= (
        {"M": st.just(1)} | {name: st.integers(1, 3) for name in "TS"} | {name: st.integers(1, 2) for name in "Lnad"}
    )
    length = {name: draw(strategy) for name, strategy in lengths.items()}

    def shape(names):
        return tuple(int(name[:-1] or 1) * length[name[-1]] for name in names)

    dtype = draw(dtypes())
    inputs = tuple(draw(strategies.arrays(shape(names), dtype)) for names in shapes)
    if mask is not None:
        parameters["mask"] = st.none() | strategies.masks(shape(mask))
    return Call(inputs, drawn(draw, parameters))


@st.composite
def pieces(draw):
    count = draw(st.integers(1, 3))
    shape = (*draw(strategies.shapes(max_dims=2)), count * draw(st.integers(1, 3)))
    return Call((draw(strategies.arrays(shape, distinct=True)),), {"pieces": count})


@st.composite
def attended(draw):
    """q, k, v with up to two leading axes, a mask that broadcasts, and `causal` where the queries can be the last."""
    dtype = draw(dtypes())
    lead = draw(strategies.shapes(max_dims=2, max_side=2))
    n_q, n_k, d_k, d_v = draw(st.integers(0, 3)), *(draw(st.integers(1, 3)) for _ in range(3))
    shapes = (*lead, n_q, d_k), (*lead, n_k, d_k), (*lead, n_k, d_v)
    inputs = tuple(draw(strategies.arrays(shape, dtype)) for shape in shapes)
    full = (*lead, n_q, n_k)
    shape = tuple(n if draw(st.booleans()) else 1 for n in full[draw(st.integers(0, len(full))) :])
    mask = draw(st.none() | strategies.masks(shape))
    return Call(inputs, {"mask": mask, "causal": n_q <= n_k and draw(st.booleans())})


@st.composite
def attending_lstms(draw):
    """Luong's decoder by the number of its tensor arguments: the scores of products (7), with biases (8), of locations
    (9), additive ones (10), and these in a predicted window (12)."""
    count, window = draw(st.sampled_from([7, 8, 9, 10, 12])), draw(st.none() | st.integers(1, 2))
    match = "n" if count < 9 else "a"
    shapes = [("B", "T", "4n"), ("L", "B", "n"), ("L", "B", "n"), ("L", "2n", "4n"), ("B", "S", match), ("B", "S", "n")]
    shapes += [("2n", "n"), ("L", "4n"), ("n", "S" if count == 9 else "a"), ("a",), ("n", "d"), ("d",)]
    call = draw(sized(*shapes[:count], mask=("B", "S")))
    window = 1 if count == 12 and window is None else window
    return Call(call.inputs, {**call.parameters, "window": window, "sigma": draw(st.sampled_from([0.5, 2.0]))})


DRAWS = st.sampled_from([0.0, 0.13, 0.46, 0.79, 0.99])  # far from where two or three equal weights meet


@st.composite
def looking_lstms(draw):
    """The decoder of captions with a gate or without, its places drawn or not."""
    shapes = [("B", "T", "4n"), STATE, STATE, ("B", "S", "a"), ("B", "S", "d"), ("n", "a"), ("a",), ("M",)]
    shapes += [("d", "4n"), ("n", "4n"), ("n", "M"), ("M",)]
    call = draw(sized(*shapes[: draw(st.sampled_from([10, 12]))]))
    batch, time, _ = call.inputs[0].shape
    if draw(st.booleans()):
        return call
    return Call(call.inputs, draw(sampling((batch, time), (batch,))))


@st.composite
def sampling(draw, draws, sampled):
    """Uniform numbers, and which of what they stand for is drawn; given these shapes."""
    return {
        "draws": draw(arrays(np.float64, draws, elements=DRAWS)),
        "sampled": draw(arrays(bool, sampled, elements=st.booleans())),
    }


def one_hot_where_drawn(weights, draws, sampled):
    """Row by row: the first place where the weights so far, as shares of all, are more than the draw."""
    result = weights.copy()
    for row in np.ndindex(weights.shape[:-1]):
        if sampled[row]:
            shares = np.cumsum(weights[row]) / weights[row].sum()
            result[row] = np.eye(len(shares))[np.argmax(shares > draws[row])]
    return result


@st.composite
def drawn_weights(draw):
    """Positive weights, a few of which are drawn."""
    shape = (*draw(strategies.shapes(max_dims=2, max_side=3)), draw(st.integers(1, 4)))
    weights = np.exp(draw(strategies.arrays(shape, draw(dtypes()), plain=True)))
    return Call((weights,), draw(sampling(shape[:-1], shape[:-1])))


@st.composite
def modified(draw):
    """What `attended` draws, with a bias that broadcasts or none, a scale, and a soft cap."""
    call = draw(attended())
    q, k, _ = call.inputs
    full = (*q.shape[:-1], k.shape[-2])
    shape = tuple(n if draw(st.booleans()) else 1 for n in full[draw(st.integers(0, len(full))) :])
    bias = draw(st.none() | strategies.arrays(shape, q.dtype))
    parameters = {
        "scale": draw(st.sampled_from([None, 0.5, -2.0])),
        "soft_cap": draw(st.sampled_from([None, 0.5, 3.0])),
    }
    return Call(call.inputs if bias is None else (*call.inputs, bias), call.parameters | parameters)


@st.composite
def rotated(draw):
    """x (.., n, d), of which the first 2 m features are turned, by angles of every position or the same for some."""
    dtype, m = draw(dtypes()), draw(st.integers(0, 2))
    lead = draw(strategies.shapes(max_dims=3))
    x = draw(strategies.arrays((*lead, 2 * m + draw(st.integers(0, 2))), dtype))
    shape = tuple(n if draw(st.booleans()) else 1 for n in lead[draw(st.integers(0, len(lead))) :])
    angles = draw(strategies.arrays((*shape, m), np.float64))
    return Call((x,), {"cos": np.cos(angles), "sin": np.sin(angles), "interleaved": draw(st.booleans())})


@st.composite
def summed_words(draw):
    """A table, sentences of words that fill them or not, and weights of their places or none."""
    dtype, words, d = draw(dtypes()), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    ids = draw(strategies.ids((*draw(strategies.shapes(max_dims=2, max_side=3)), draw(st.integers(0, 3))), words))
    weights = draw(st.none() | strategies.arrays((ids.shape[-1], d), dtype))
    return Call((draw(strategies.arrays((words, d), dtype)),), {"ids": ids, "weights": weights})


@st.composite
def told(draw):
    """The same of stories, with rows for the places in time, as many as there are sentences or more."""
    call = draw(summed_words())
    ids = call.parameters["ids"] if call.parameters["ids"].ndim > 1 else call.parameters["ids"][None]
    (table,) = call.inputs
    times = draw(strategies.arrays((ids.shape[-2] + draw(st.integers(0, 1)), table.shape[1]), table.dtype))
    return Call((table, times), {**call.parameters, "ids": ids})


@st.composite
def hopping(draw):
    """Questions and memories, with the matrix of layer-wise tying or without; some units may go through a ReLU."""
    count, layer_wise = draw(st.integers(1, 3)), draw(st.booleans())
    matrices = "2M" if layer_wise else f"{count + 1}M"
    shapes = [("B", "d"), ("B", "T", matrices, "d"), ("d", "d")]
    return draw(
        sized(
            *shapes[: 2 + layer_wise],
            mask=("B", "T"),
            hops=st.just(count),
            linear=st.booleans(),
            rectified=st.integers(0, 1),
        )
    )


@st.composite
def gating(draw):
    """Three arrays of one shape, vectors or maps, the first without ties of ReLU."""
    dtype, shape = draw(dtypes()), draw(strategies.shapes(max_dims=4, max_side=3))
    inputs = (
        draw(strategies.arrays(shape, dtype, away_from=[0.0])),
        *(draw(strategies.arrays(shape, dtype)) for _ in "Tx"),
    )
    return Call(inputs, {"activation": draw(st.sampled_from(["relu", "tanh"]))})


CASES = {
    "maxout": Case(pieces()),
    "gru_cell": Case(sized(("B", "3n"), STATE, ("n", "3n"))),
    "gru": Case(sized(("B", "T", "3n"), STATE, ("n", "3n"), mask=("B", "T"), reverse=st.booleans())),
    "rnn_cell": Case(sized(("B", "n"), STATE, ("n", "n"))),
    "rnn": Case(sized(("B", "T", "n"), STATE, ("n", "n"), mask=("B", "T"), reverse=st.booleans())),
    "lstm_cell": Case(sized(("B", "4n"), STATE, STATE, ("n", "4n"))),
    "lstm": Case(sized(("B", "T", "4n"), STATE, STATE, ("n", "4n"), mask=("B", "T"), reverse=st.booleans())),
    "attentive_gru": Case(
        sized(
            *(("B", "T", "3n"), STATE, ("B", "S", "a"), ("B", "S", "d")),
            *(("n", "a"), ("a",), ("d", "3n"), ("n", "3n")),
            mask=("B", "S"),
        )
    ),
    "attentional_lstm": Case(attending_lstms()),
    "visual_lstm": Case(looking_lstms()),
    "hard_weights": Case(drawn_weights(), numpy=one_hot_where_drawn),
    "additive_attention": Case(sized(("B", "n"), ("B", "T", "n"), ("n",), ("B", "T", "d"), mask=("B", "T"))),
    "attention": Case(attended()),
    "attention_context": Case(attended()),
    "memory_hops": Case(hopping()),
    "gated": Case(gating()),
    "sentence_vectors": Case(summed_words()),
    "story_vectors": Case(told()),
    "rotate": Case(rotated()),
    "modified_attention_weights": Case(modified()),
    "modified_attention_context": Case(modified()),
}
