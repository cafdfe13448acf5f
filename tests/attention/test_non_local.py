"""Non-local blocks against the paper's loops, the complex step and the identities they must have."""

import contextlib
import inspect
import math
import tracemalloc

import fakecupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minattn as ma
from minattn.attention.self_attention import MultiHeadAttention, NonLocalBlock, non_local
from minattn.attention.self_attention.non_local import EXTENTS, PAIRS, SUBSAMPLES, concatenation, dot_product, gaussian
from minattn.autograd import asnumpy, no_grad
from minattn.errors import ConfigError, ShapeError
from minattn.nn.initializers import unallocated
from minattn.testing import check_gradients

SEEDS = st.integers(0, 2**32 - 1)
ANY_PAIR, IN_SPACETIME = st.sampled_from(PAIRS), st.just("spacetime")
ANY_EXTENT, ANY_SUBSAMPLE, NO_SUBSAMPLE = st.sampled_from(EXTENTS), st.sampled_from(SUBSAMPLES), st.just("none")
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


# ---------------------------------------------------------------------------------------------- what is drawn
def random_block(channels, seed, dtype=np.float64, **settings):
    block = NonLocalBlock(channels, np.random.default_rng(0), **settings)
    rng = np.random.default_rng(seed)
    for parameter in block.parameters():
        parameter.replace_data(rng.normal(scale=0.7, size=parameter.shape).astype(dtype))
    for buffer in block.named_buffers().values():
        buffer.replace_data(rng.uniform(0.5, 1.5, buffer.shape).astype(dtype))
    return block.eval()


@st.composite
def problems(draw, pairs=ANY_PAIR, extents=ANY_EXTENT, subsamples=ANY_SUBSAMPLE):
    """(block with every weight random, maps of an image or a video)."""
    extent = draw(extents)
    subsample = "none" if extent == "time" else draw(subsamples)
    batch, channels, inner, frames = (draw(st.integers(1, n)) for n in (2, 3, 3, 3))
    sides = [draw(st.integers(1 if subsample == "none" else 2, 3)) for _ in range(2)]
    image = extent == "spacetime" and draw(st.booleans())
    seed = draw(SEEDS)
    block = random_block(channels, seed, inner=inner, pair=draw(pairs), subsample=subsample, extent=extent)
    shape = (batch, channels, *sides) if image else (batch, channels, frames, *sides)
    return block, np.random.default_rng(seed).normal(size=shape)


def run(block, x):
    z, weights = block(ma.tensor(x))
    return z.numpy(), weights.numpy()


# ---------------------------------------------------------------------------------------------- the paper's loops
def by_hand(block, x):
    """(1) to (6), one pair of positions at a time: z, and a dict of f / C(x) by image and pair of positions."""
    clips = x if x.ndim == 5 else x[:, :, None]
    z, weights = np.zeros_like(clips), {}
    for n, clip in enumerate(clips):
        for i in np.ndindex(clip.shape[1:]):
            seen = keys_and_values(block, clip, i)
            f = {j: pair_function(block, clip[(slice(None), *i)], phi) for j, (phi, _) in seen.items()}
            count = sum(f.values()) if block.pair in ("gaussian", "embedded") else len(f)
            y = sum(f[j] / count * g for j, (_, g) in seen.items())  # (1)
            z[(n, slice(None), *i)] = normalized(block, affine(block, "z", y)) + clip[(slice(None), *i)]  # (6)
            weights |= {(n, i, j): value / count for j, value in f.items()}
    return z.reshape(x.shape), weights


def keys_and_values(block, clip, i):
    """What position i attends to: phi and g by position, or by the first of four positions."""
    _, frames, height, width = clip.shape
    times = [i[0]] if block.extent == "space" else range(frames)
    if block.extent == "time":
        return {(t, *i[1:]): embedded(block, clip[:, t, i[1], i[2]]) for t in times}
    if block.subsample == "none":
        return {
            (t, y, x): embedded(block, clip[:, t, y, x]) for t in times for y in range(height) for x in range(width)
        }
    found = {}
    for t in times:
        for y in range(0, height - 1, 2):
            for x in range(0, width - 1, 2):
                four = [clip[:, t, y + b, x + a] for b in (0, 1) for a in (0, 1)]
                if block.subsample == "before":
                    found[t, y, x] = embedded(block, np.max(four, axis=0))
                else:
                    phis, gs = zip(*(embedded(block, vector) for vector in four), strict=True)
                    found[t, y, x] = np.max(phis, axis=0), np.max(gs, axis=0)
    return found


def affine(block, name, vector):
    return vector @ getattr(block, f"W_{name}").numpy() + getattr(block, f"b_{name}").numpy()


def embedded(block, vector):
    """phi and g of a position."""
    return vector if block.pair == "gaussian" else affine(block, "phi", vector), affine(block, "g", vector)


def pair_function(block, vector, phi):
    """(2) to (5)."""
    if block.pair == "gaussian":
        return math.exp(vector @ phi)
    theta = affine(block, "theta", vector)
    if block.pair == "embedded":
        return math.exp(theta @ phi)
    if block.pair == "dot":
        return theta @ phi
    return max(0.0, block.w_f.numpy()[:, 0] @ np.concatenate([theta, phi]))


def normalized(block, vector):
    norm = block.norm
    mean, variance = (buffer.numpy() for buffer in (norm.running_mean, norm.running_variance))
    return (vector - mean) / np.sqrt(variance + norm.eps) * norm.weight.numpy() + norm.bias.numpy()


@given(problems())
def test_the_paper_by_hand(problem):
    block, x = problem
    z, weights = run(block, x)
    expected, of_pairs = by_hand(block, x)
    np.testing.assert_allclose(z, expected, **CLOSE)
    np.testing.assert_allclose(weights, in_a_table(block, x, weights.shape, of_pairs), **CLOSE)


def in_a_table(block, x, shape, of_pairs):
    """Weights by pair as the block returns them: positions in order, frames or positions apart as images."""
    table, filled = np.zeros(shape), np.zeros(shape, bool)
    frames, height, width = (1, *x.shape[2:]) if x.ndim == 4 else x.shape[2:]
    half = 1 if block.subsample == "none" else 2
    for (n, (t, y, a), (s, v, b)), value in of_pairs.items():
        row, column = y * width + a, (v // half) * (width // half) + b // half
        if block.extent == "time":
            at = n * height * width + row, t, s
        elif block.extent == "space":
            at = n * frames + t, row, column
        else:
            at = n, t * height * width + row, s * (height // half) * (width // half) + column
        table[at], filled[at] = value, True
    assert filled.all()
    return table


@given(problems(), SEEDS)
def test_gradients_through_the_maps_and_the_weights(problem, seed):
    block, x = problem
    check_gradients(block, x, seed=seed)


@given(problems(), SEEDS)
def test_gradients_without_weights(problem, seed):
    block, x = problem
    check_gradients(lambda x: block(x, need_weights=False)[0], x, seed=seed)


# ---------------------------------------------------------------------------------------------- identities
@given(problems(), st.booleans())
def test_a_new_block_is_the_identity(problem, norm):
    """gamma = 0, or W_z = 0 without batch normalization."""
    of, x = problem
    settings = {"pair": of.pair, "subsample": of.subsample, "extent": of.extent}
    block, x = NonLocalBlock(x.shape[1], np.random.default_rng(0), norm=norm, **settings), np.concatenate([x, -x])
    np.testing.assert_array_equal(block(ma.tensor(x))[0].numpy(), x)
    np.testing.assert_array_equal(block.eval()(ma.tensor(x))[0].numpy(), x)


@given(problems(extents=IN_SPACETIME, subsamples=NO_SUBSAMPLE), SEEDS)
def test_positions_may_change_their_order(problem, seed):
    block, x = problem
    flat = x.reshape(*x.shape[:2], -1)
    order = np.random.default_rng(seed).permutation(flat.shape[2])
    z, weights = run(block, x)
    turned, of_turned = run(block, flat[..., order].reshape(x.shape))
    np.testing.assert_allclose(turned.reshape(flat.shape), z.reshape(flat.shape)[..., order], **CLOSE)
    np.testing.assert_allclose(of_turned, weights[:, order][..., order], **CLOSE)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), SEEDS)
def test_the_dot_product_may_be_taken_in_either_order(n, m, d, seed):
    """(theta phi^T) g / N = theta (phi^T g / N)."""
    rng = np.random.default_rng(seed)
    theta, phi, g = (ma.tensor(rng.normal(size=(2, count, d))) for count in (n, m, m))
    y, weights = dot_product(theta, phi, g)
    alone, nothing = dot_product(theta, phi, g, need_weights=False)
    assert nothing is None
    np.testing.assert_allclose(alone.numpy(), y.numpy(), **CLOSE)
    np.testing.assert_allclose(weights.numpy() @ g.numpy(), y.numpy(), **CLOSE)


@given(st.integers(1, 5), st.integers(1, 4), SEEDS)
def test_concatenation_adds_a_number_of_i_and_one_of_j(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b, g = rng.normal(size=(2, n, 1)), rng.normal(size=(2, m, 1)), rng.normal(size=(2, m, 3))
    y, weights = concatenation(*map(ma.tensor, (a, b, g)))
    expected = np.maximum(a + b.swapaxes(1, 2), 0) / m
    np.testing.assert_allclose(weights.numpy(), expected, **CLOSE)
    np.testing.assert_allclose(y.numpy(), expected @ g, **CLOSE)


def test_concatenation_by_blocks_is_the_same(monkeypatch):
    monkeypatch.setattr(non_local, "BLOCK", 3)
    rng = np.random.default_rng(0)
    a, b, g = (ma.tensor(rng.normal(size=shape)) for shape in ((2, 7, 1), (2, 5, 1), (2, 5, 3)))
    np.testing.assert_allclose(concatenation(a, b, g, need_weights=False)[0].numpy(), concatenation(a, b, g)[0].numpy())


@given(problems(subsamples=NO_SUBSAMPLE), SEEDS)
def test_of_equal_positions_the_mean_is_g(problem, seed):
    """With softmax y = g(x) where all positions are equal; with the others y = f g(x), f being the same everywhere."""
    block, x = problem
    vector = np.random.default_rng(seed).normal(size=x.shape[1])
    apart = np.broadcast_to(vector, (1, 2, 2, 2, len(vector)))
    y, _ = block.response(ma.tensor(apart), True)
    phi, g = embedded(block, vector)
    f = 1 if block.pair in ("gaussian", "embedded") else pair_function(block, vector, phi)
    np.testing.assert_allclose(y.numpy(), np.broadcast_to(f * g, y.shape), **CLOSE)


@given(problems(st.just("embedded")))
def test_embeddings_that_change_nothing_make_a_plain_gaussian(problem):
    block, x = problem
    channels = x.shape[1]
    for W, b in ((block.W_theta, block.b_theta), (block.W_phi, block.b_phi)):
        W.replace_data(np.eye(channels))
        b.replace_data(np.zeros(channels))
    z, weights = run(block, x)
    block.pair, block.W_theta, block.W_phi = "gaussian", None, None
    for found, expected in zip(run(block, x), (z, weights), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)


@given(problems(st.just("embedded"), extents=IN_SPACETIME, subsamples=NO_SUBSAMPLE))
def test_embedded_gaussian_is_self_attention_without_its_scale(problem):
    """One head of `MultiHeadAttention`, its queries multiplied by sqrt(C_i), and W_z for W^O."""
    block, x = problem
    channels, inner = block.W_theta.shape
    attention = MultiHeadAttention(channels, 1, np.random.default_rng(0), inner, inner, biases=True)
    for name, own in (("Q", "theta"), ("K", "phi"), ("V", "g"), ("O", "z")):
        factor = inner**0.5 if name == "Q" else 1
        getattr(attention, f"W_{name}").replace_data(factor * getattr(block, f"W_{own}").numpy())
        getattr(attention, f"b_{name}").replace_data(factor * getattr(block, f"b_{own}").numpy())
    sequence = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    context, weights = attention(ma.tensor(sequence))
    block.norm = None
    z, found = run(block, x)
    np.testing.assert_allclose(found, weights.numpy()[:, 0], **CLOSE)
    np.testing.assert_allclose((z - x).reshape(sequence.swapaxes(1, 2).shape), context.numpy().swapaxes(1, 2), **CLOSE)


def test_weights_start_he_normal():
    block = NonLocalBlock(512, np.random.default_rng(0), pair="concatenation", norm=False)
    for weight, inputs in ((block.W_theta, 512), (block.W_phi, 512), (block.W_g, 512), (block.w_f, 512)):
        assert weight.numpy().std() == pytest.approx((2 / inputs) ** 0.5, rel=0.1)
    assert NonLocalBlock(512, np.random.default_rng(0)).W_z.numpy().std() == pytest.approx((2 / 256) ** 0.5, rel=0.05)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.sampled_from([np.float32, np.float64]), SEEDS)
def test_large_logits_choose_the_most_similar_position(n, m, d, dtype, seed):
    """exp of thousands: y_i is g at the position with the largest product, and gradients are finite."""
    rng = np.random.default_rng(seed)
    theta, phi, g = (rng.normal(size=(1, count, d)) for count in (n, m, m))
    products = theta[0] @ phi[0].T
    largest, second = np.sort(np.pad(products, [(0, 0), (1, 0)], constant_values=-1e9), axis=1)[:, :-3:-1].T
    theta *= (np.maximum(1e3, 50 / (largest - second)))[:, None]  # logits 50 apart at least
    theta, phi, g = (ma.tensor(x.astype(dtype), requires_grad=True) for x in (theta, phi, g))
    y, weights = gaussian(theta, phi, g)
    np.testing.assert_allclose(weights.numpy()[0], np.eye(m)[products.argmax(axis=1)], atol=1e-6)
    np.testing.assert_allclose(y.numpy()[0], g.numpy()[0, products.argmax(axis=1)], rtol=1e-5, atol=1e-6)
    ma.ops.sum(y * y).backward()
    assert all(np.isfinite(x.grad).all() for x in (theta, phi, g))


@given(problems(extents=st.sampled_from(["spacetime", "space"]), subsamples=st.sampled_from(["after", "before"])))
def test_where_four_positions_are_equal_their_pool_changes_nothing(problem):
    """Sums over all positions are four times those over one of each four, and so is N."""
    block, x = problem
    enlarged = x.repeat(2, axis=-1).repeat(2, axis=-2)
    z, pooled = run(block, enlarged)
    subsample, block.subsample = block.subsample, "none"
    expected, weights = run(block, enlarged)
    np.testing.assert_allclose(z, expected, **CLOSE)
    height, width = x.shape[-2:]
    of_each = weights.reshape(*weights.shape[:2], -1, height, 2, width, 2).sum(axis=(-1, -3))
    np.testing.assert_allclose(pooled, of_each.reshape(pooled.shape), **CLOSE, err_msg=subsample)


@given(problems())
def test_only_weights_of_a_softmax_are_shares(problem):
    """Those of the dot product are as large as theta, and those of concatenation at least 0."""
    block, x = problem
    _, weights = run(block, x)
    if block.pair in ("gaussian", "embedded"):
        np.testing.assert_allclose(weights.sum(axis=-1), 1, **CLOSE)
    elif block.pair == "concatenation":
        assert (weights >= 0).all()
    else:
        for name in ("W_theta", "b_theta"):
            parameter = getattr(block, name)
            parameter.replace_data(2 * parameter.numpy())
        np.testing.assert_allclose(run(block, x)[1], 2 * weights, **CLOSE)


@given(problems(), st.booleans())
def test_without_weights_the_same_maps(problem, with_gradient):
    block, x = problem
    with contextlib.nullcontext() if with_gradient else no_grad():
        z, nothing = block(ma.tensor(x), need_weights=False)
    assert nothing is None
    np.testing.assert_allclose(z.numpy(), run(block, x)[0], **CLOSE)


@given(problems(extents=st.sampled_from(["space", "time"]), subsamples=NO_SUBSAMPLE))
def test_in_one_frame_space_is_all_and_in_one_position_time_is(problem):
    block, x = problem
    one = x[:, :, :1] if block.extent == "space" else x[..., :1, :1]
    z, weights = run(block, one)
    block.extent = "spacetime"
    for found, expected in zip(run(block, one), (z, weights), strict=True):
        np.testing.assert_allclose(found, expected, **CLOSE)


# ---------------------------------------------------------------------------------------------- sizes and memory
@pytest.mark.parametrize(
    ("pair", "weights"),
    [("embedded", 2_097_152), ("dot", 2_097_152), ("gaussian", 1_048_576), ("concatenation", 2_098_176)],
)
def test_the_published_size(pair, weights):
    """1,024 channels and 512 inside; 512 biases for each of theta, phi and g, 1,024 of W_z, 2,048 of batch norm."""
    with unallocated():
        block = NonLocalBlock(1024, np.random.default_rng(0), pair=pair)
    biases = 512 * (1 if pair == "gaussian" else 3) + 1024
    assert block.count_parameters() == weights + biases + 2048


@pytest.mark.parametrize(
    ("channels", "weights"), [(256, 131_072), (512, 524_288), (1024, 2_097_152), (2048, 8_388_608)]
)
def test_the_weights_of_a_block_in_every_stage(channels, weights):
    """Those of res2 to res5 of ResNet-50."""
    with unallocated():
        block = NonLocalBlock(channels, np.random.default_rng(0))
    assert sum(parameter.size for parameter in block.parameters() if parameter.ndim == 2) == weights


@pytest.mark.parametrize("pair", PAIRS)
def test_the_table_of_all_pairs_is_never_made_unasked(pair):
    """4,096 positions: the table would have 64 MiB."""
    block = NonLocalBlock(8, np.random.default_rng(0), pair=pair).eval()
    x = ma.tensor(np.random.default_rng(1).normal(size=(1, 8, 64, 64)).astype(np.float32))
    tracemalloc.start()
    try:
        with no_grad():
            block(x, need_weights=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pair": "cosine"}, "pair='cosine' does not exist; hint: one of gaussian, embedded"),
        ({"subsample": "twice"}, "subsample='twice' does not exist"),
        ({"extent": "depth"}, "extent='depth' does not exist"),
        ({"inner": 0}, "got 4 and 0 inside"),
        ({"extent": "time", "subsample": "after"}, "cannot be pooled"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    initialize = inspect.unwrap(NonLocalBlock.__init__)
    with pytest.raises(ConfigError, match=message):
        initialize(object.__new__(NonLocalBlock), 4, np.random.default_rng(0), **settings)


@pytest.mark.parametrize(
    ("extent", "shape"),
    [("spacetime", (2, 4, 3)), ("spacetime", (2, 4, 0, 3)), ("space", (2, 4, 3, 3)), ("time", (4, 3))],
)
def test_maps_that_do_not_fit_are_refused(extent, shape):
    block = NonLocalBlock(4, np.random.default_rng(0), extent=extent)
    with pytest.raises(ShapeError, match="got feature maps of shape"):
        inspect.unwrap(NonLocalBlock.forward)(block, ma.tensor(np.zeros(shape)))


@pytest.mark.parametrize("subsample", ["after", "before"])
@pytest.mark.parametrize("sides", [(1, 1), (1, 5), (5, 1)])
def test_a_single_row_or_column_cannot_be_pooled(subsample, sides):
    block = NonLocalBlock(4, np.random.default_rng(0), subsample=subsample)
    with pytest.raises(ShapeError, match="max_pool2d"):
        block(ma.tensor(np.zeros((1, 4, *sides), np.float32)))


def test_no_images_give_no_maps():
    for subsample in SUBSAMPLES:
        block = NonLocalBlock(4, np.random.default_rng(0), subsample=subsample).eval()
        z, weights = block(ma.tensor(np.zeros((0, 4, 4, 6), np.float32)))
        assert z.shape == (0, 4, 4, 6)
        assert weights.shape == (0, 24, 24 if subsample == "none" else 6)


# ---------------------------------------------------------------------------------------------- devices
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("scrambled", [False, True], ids=["rows", "scrambled memory"])
def test_the_same_numbers_everywhere_and_no_waiting(backend, pair, scrambled):
    x = np.random.default_rng(0).normal(size=(2, 4, 2, 4, 5)).astype(np.float32)

    def results(make, device):
        block = random_block(4, 0, np.float32, pair=pair, subsample="after").to(device).train()
        maps = make(x, requires_grad=True)
        z, weights = block(maps)
        ((z * z).sum() + (weights * weights).sum()).backward()
        return [z.data, weights.data, maps.grad, *(p.grad for p in block.parameters())]

    expected = results(ma.tensor, "cpu")
    with fakecupy.scrambled_layouts() if scrambled else contextlib.nullcontext(), fakecupy.no_sync():
        there = results(backend.tensor, backend.device)
    for result, value in zip(there, expected, strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(asnumpy(result), value, rtol=2e-3, atol=2e-3)
