"""Local attention against attention over all positions with a mask, and the blocks against the paper's figures."""

import inspect

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import LocalMultiHeadAttention, MultiHeadAttention, local_attention
from minattn.attention.self_attention.local_attention import Block, blocks_1d, blocks_2d
from minattn.autograd import asnumpy
from minattn.errors import ConfigError, ShapeError
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


SIZES = st.integers(1, 4)
PAIRS = st.tuples(SIZES, SIZES)
ANY_BLOCKS = st.tuples(st.integers(1, 12), SIZES, st.none() | st.integers(0, 5)) | st.tuples(
    SIZES, SIZES, PAIRS, st.tuples(st.integers(0, 3), st.integers(0, 3))
)


def made(sizes):
    """Blocks of one dimension or two, by the arguments of their functions."""
    return blocks_1d(*sizes) if len(sizes) == 3 else blocks_2d(*sizes)[1]


def mask_of(blocks):
    """Which positions each attends to: the memory of its block as far as it is not later."""
    n = blocks[-1].end
    mask = np.zeros((n, n), bool)
    for block in blocks:
        for i in range(block.start, block.end):
            mask[i, block.before] = True
            mask[i, block.start : i + 1] = True
    return mask


def drawn(shape, seed):
    return np.random.default_rng(seed).normal(size=shape)


# ---------------------------------------------------------------------------------------------- attention
@given(ANY_BLOCKS, SEEDS)
def test_it_is_attention_over_all_positions_under_a_mask(sizes, seed):
    blocks = made(sizes)
    mask = mask_of(blocks)
    q, k, v = (drawn((2, len(mask), size), seed + i) for i, size in enumerate((3, 3, 2)))
    scores = np.where(mask, q @ k.swapaxes(1, 2) / np.sqrt(3), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    context, found = local_attention(*map(ma.tensor, (q, k, v)), blocks)
    np.testing.assert_allclose(found.numpy(), weights, **CLOSE)
    np.testing.assert_allclose(context.numpy(), weights @ v, **CLOSE)
    alone, nothing = local_attention(*map(ma.tensor, (q, k, v)), blocks, need_weights=False)
    assert nothing is None
    np.testing.assert_allclose(alone.numpy(), context.numpy(), **CLOSE)


@given(ANY_BLOCKS, SEEDS)
def test_gradients(sizes, seed):
    blocks = made(sizes)
    n = blocks[-1].end
    q, k, v = (drawn((n, 2), seed + i) for i in range(3))
    check_gradients(lambda q, k, v: local_attention(q, k, v, blocks), q, k, v, seed=seed)
    check_gradients(lambda q, k, v: local_attention(q, k, v, blocks, False)[0], q, k, v, seed=seed)


@given(ANY_BLOCKS, SEEDS)
def test_the_first_positions_alone_get_the_same(sizes, seed):
    blocks = made(sizes)
    n = blocks[-1].end
    x = drawn((n, 3), seed)
    whole, _ = local_attention(*[ma.tensor(x)] * 3, blocks)
    for count in range(1, n + 1):
        some, _ = local_attention(*[ma.tensor(x[:count])] * 3, blocks)
        np.testing.assert_allclose(some.numpy(), whole.numpy()[:count], **CLOSE)


@given(st.integers(1, 12), st.integers(1, 12), SEEDS)
def test_blocks_of_half_the_length_or_more_are_causal_attention(length, query, seed):
    """One block of all positions, or two, of which the second attends to the whole first."""
    query = max(query, -(-length // 2))
    x = ma.tensor(drawn((length, 3), seed))
    local, _ = local_attention(x, x, x, blocks_1d(length, query))
    full, _ = ma.attention.self_attention.scaled_dot_product_attention(x, x, x, causal=True)
    np.testing.assert_allclose(local.numpy(), full.numpy(), **CLOSE)


@given(st.integers(1, 20), st.integers(1, 5))
def test_a_position_attends_to_all_of_the_first_block_and_never_to_more_than_two(length, query):
    mask = mask_of(blocks_1d(length, query))
    for i, row in enumerate(mask):
        assert not row[i + 1 :].any()
        if length >= 2 * query:
            assert row.sum() <= 2 * query
        if i < query:
            assert row[: i + 1].all()


# ---------------------------------------------------------------------------------------------- blocks
def test_short_sequences_are_one_block():
    assert [(b.start, b.end) for b in blocks_1d(7, 4)] == [(0, 7)]
    assert [(b.start, b.end, list(b.before)) for b in blocks_1d(8, 4)] == [(0, 4, []), (4, 8, [0, 1, 2, 3])]
    assert [(b.start, b.end, list(b.before)) for b in blocks_1d(9, 4, 2)] == [
        (0, 4, []),
        (4, 8, [2, 3]),
        (8, 9, [6, 7]),
    ]


def test_rectangles_of_the_authors_code():
    """Queries of 8 x 16 in an image of 32 x 96 positions: 640 keys each, but for those at the edge."""
    order, blocks = blocks_2d(32, 96, (8, 16), (8, 16))
    assert sorted(order) == list(range(32 * 96))
    assert [b.end - b.start for b in blocks] == [128] * 24
    inner = blocks[7]  # second row, second column
    assert len(inner.memory) == 640
    rows, columns = np.divmod(order[inner.before], 96)
    above, left = rows < 8, rows >= 8
    assert set(zip(rows[above], columns[above], strict=True)) == {(y, x) for y in range(8) for x in range(48)}
    assert set(zip(rows[left], columns[left], strict=True)) == {(y, x) for y in range(8, 16) for x in range(16)}


@given(*[st.integers(1, 5)] * 4, st.integers(0, 3), st.integers(0, 3))
def test_the_memory_of_a_rectangle_is_above_and_at_its_left_and_generated_before_it(height, width, h_q, w_q, h_m, w_m):
    order, blocks = blocks_2d(height, width, (h_q, w_q), (h_m, w_m))
    assert sorted(order) == list(range(height * width))
    assert [b.start for b in blocks] == [0, *(b.end for b in blocks[:-1])]
    for block in blocks:
        rows, columns = np.divmod(order[block.start : block.end], width)
        y, x = rows.min(), columns.min()
        seen = {tuple(divmod(position, width)) for position in order[block.before]}
        strip = {(a, b) for a in range(y - h_m, y) for b in range(x - w_m, x + w_q + w_m)}
        left = {(a, b) for a in range(y, y + h_q) for b in range(x - w_m, x)}
        assert seen == {(a, b) for a, b in strip | left if 0 <= a < height and 0 <= b < width}
        assert len(seen) == len(block.before)
        assert (block.before < block.start).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: blocks_1d(0, 4),
        lambda: blocks_1d(4, 0),
        lambda: blocks_1d(4, 2, -1),
        lambda: blocks_2d(0, 4, (1, 1), (1, 1)),
        lambda: blocks_2d(4, 4, (0, 1), (1, 1)),
        lambda: blocks_2d(4, 4, (1, 1), (-1, 1)),
    ],
)
def test_sizes_that_make_no_blocks_are_refused(make):
    with pytest.raises(ConfigError, match="are none; hint: 1 or more"):
        make()


@pytest.mark.parametrize(("n", "keys"), [(0, 0), (9, 9), (8, 7)])
def test_positions_that_do_not_fit_are_refused(n, keys):
    unchecked = inspect.unwrap(local_attention)
    blocks, q, k = blocks_1d(8, 4), *(ma.tensor(np.zeros((count, 2))) for count in (n, keys))
    with pytest.raises(ShapeError, match=f"of 8 positions, got {n} queries, {keys} keys and {keys} values; hint"):
        unchecked(q, k, k, blocks)
    with pytest.raises(ShapeError, match="of 0 positions"):
        unchecked(*[ma.tensor(np.zeros((2, 2)))] * 3, [])


@pytest.mark.parametrize("values", [7, 9])
def test_another_number_of_values_is_refused(values):
    q, v = (ma.tensor(np.zeros((n, 2))) for n in (8, values))
    with pytest.raises(ShapeError, match=f"got 8 queries, 8 keys and {values} values; hint: as many of each"):
        inspect.unwrap(local_attention)(q, q, v, blocks_1d(8, 4))


# ---------------------------------------------------------------------------------------------- heads
def layers(blocks, seed=0, d_k=None):
    made = LocalMultiHeadAttention(4, 2, np.random.default_rng(0), blocks, d_k, d_k)
    for parameter in made.parameters():
        parameter.replace_data(drawn(parameter.shape, seed))
    return made


@given(ANY_BLOCKS, SEEDS)
def test_heads_are_those_of_multi_head_attention_under_the_mask(sizes, seed):
    blocks = made(sizes)
    local, mask = layers(blocks, seed, 3), mask_of(blocks)
    full = MultiHeadAttention(4, 2, np.random.default_rng(0), 3, 3)
    for parameter, same in zip(full.parameters(), local.parameters(), strict=True):
        parameter.replace_data(same.numpy())
    x = ma.tensor(drawn((2, len(mask), 4), seed))
    for found, expected in zip(local(x), full(x, mask=mask[None]), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), **CLOSE)


@given(ANY_BLOCKS, SEEDS)
def test_one_position_after_another_gets_the_same(sizes, seed):
    blocks = made(sizes)
    local, n = layers(blocks, seed), blocks[-1].end
    x = drawn((2, n, 4), seed)
    whole, weights = local(ma.tensor(x))
    past = None
    for i in range(n):
        context, row, past = local.self_attend(ma.tensor(x[:, i : i + 1]), past, causal=True)
        np.testing.assert_allclose(context.numpy()[:, 0], whole.numpy()[:, i], **CLOSE)
        np.testing.assert_allclose(row.numpy()[:, :, 0], weights.numpy()[:, :, i, : i + 1], **CLOSE)


def test_a_block_says_what_is_in_its_memory():
    assert list(Block(2, 4, np.array([1, 0])).memory) == [1, 0, 2, 3]


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("blocks", [blocks_1d(12, 4), blocks_2d(3, 4, (2, 2), (1, 1))[1]], ids=["1d", "2d"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, blocks):
    data = drawn((2, 12, 4), 0).astype(np.float32)

    def results(make):
        x = make(data, requires_grad=True)
        context, weights = local_attention(x, x, x, blocks)
        ((context * context).sum() + (weights * weights).sum()).backward()
        return [context.data, weights.data, x.grad]

    expected = results(ma.tensor)
    with fakecupy.no_sync():
        there = results(backend.tensor)
    for result, value in zip(there, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=1e-4, atol=1e-5)


def test_a_mask_and_more_positions_than_the_blocks_have_are_refused():
    layer = LocalMultiHeadAttention(4, 2, np.random.default_rng(0), blocks_1d(4, 2))
    x = ma.tensor(np.zeros((1, 4, 4), np.float32))
    with pytest.raises(ConfigError, match="local attention takes no mask"):
        layer(x, x, x, mask=np.ones((1, 4, 4), bool))
    one, many = (ma.tensor(np.zeros((1, n, 4), np.float32)) for n in (1, 9))
    for blocks, count in ((layer.blocks, 4), ([], 0)):
        layer.blocks = blocks
        with pytest.raises(ShapeError, match=f"the blocks are of {count} positions, got 9; hint: blocks for"):
            layer(one, many, many)
