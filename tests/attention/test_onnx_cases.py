"""ONNX's own test cases, and its reference evaluator, against the attention, rotary positions, softmax, layer norm, RMS
norm and GELU of minattn.

ONNX publishes for each operator a set of nodes with inputs and outputs.  Every case of the operator Attention runs:

    heads side by side (3-D)      taken apart, and concatenated again
    a cache of past keys          `KeyValues.append`
    causal, windows, lengths      masks; `causal=True` where the queries are the last positions
    a scale, a soft cap, a bias   those of `modified_attention`; what is -infinity in a bias, a mask
    fewer heads of keys (GQA)     as they are
    float16, bfloat16             computed in float32, and rounded
"""

import functools
import importlib

import numpy as np
import pytest

import minattn as ma
from minattn.attention.self_attention import (
    KeyValues,
    modified_attention,
    rotate,
    scaled_dot_product_attention,
)

pytest.importorskip("onnx", reason="ONNX's test cases need onnx: pip install onnx")

from onnx import TensorProto, helper
from onnx.backend.test.case import node as node_cases
from onnx.reference import ReferenceEvaluator

MODULES = [
    *("attention", "rotaryembedding", "layernormalization", "rmsnormalization", "softmax", "logsoftmax", "gelu"),
]


@functools.cache
def cases():
    """{name: case} of the operators here.  Other operators' modules are left alone: they take ten seconds."""
    for module in MODULES:
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    operators = {
        *("Attention", "RotaryEmbedding", "LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax", "Gelu"),
    }
    own = [case for case in node_cases._NodeTestCases if "_expanded" not in case.name]
    return {case.name: case for case in own if case.model.graph.node[0].op_type in operators}


def names(operator):
    return sorted(name for name, case in cases().items() if case.model.graph.node[0].op_type == operator)


def opened(case):
    """(attributes, inputs by the operator's names for them, expected outputs in the operator's order or None)."""
    (node,) = case.model.graph.node
    ((given, expected),) = case.data_sets
    values = dict(zip([i.name for i in case.model.graph.input], given, strict=True))
    outputs = dict(zip([o.name for o in case.model.graph.output], expected, strict=True))
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return attributes, [values.get(name) for name in node.input], [outputs.get(name) for name in node.output]


HALF = {"float16": 1e-3, "bfloat16": 1e-2}
"""How far a number may be off that was computed in float32 where ONNX rounds every step to few digits."""


def in_float32(x):
    """float16 and bfloat16 in float32, in which minattn computes; anything else as it is."""
    return x.astype(np.float32) if x is not None and x.dtype.name in HALF else x


def close(actual, expected, case):
    few = HALF.get(expected.dtype.name, 0)
    assert few or actual.dtype == expected.dtype
    rtol, atol = max(case.rtol, few), max(case.atol, few, 1e-6)
    np.testing.assert_allclose(actual.data.astype(expected.dtype).astype(float), expected.astype(float), rtol, atol)


# ---------------------------------------------------------------------------------------------- Attention
INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]


def split(x, heads):
    """(batch, n, heads d) as (batch, heads, n, d); 4-D as it is."""
    return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def positions(attributes, given, n_q, n_k):
    """(mask or None, causal): which keys the positions let each query see, as ONNX counts positions."""
    lengths, past = given["nonpad_kv_seqlen"], given["past_key"]
    first = 0 if past is None else past.shape[2]  # the position of the first query
    if lengths is not None:
        first = (lengths - n_q).reshape(-1, 1, 1, 1)
    i, j = first + np.arange(n_q)[:, None], np.arange(n_k)
    left, right = attributes.get("left_window_size", -1), attributes.get("right_window_size", -1)
    causal = bool(attributes.get("is_causal"))
    allowed = np.ones((1, 1, n_q, n_k), bool)
    if lengths is not None:
        allowed = allowed & (j < lengths.reshape(-1, 1, 1, 1))
    if left >= 0:
        allowed = allowed & (j >= i - left)
    if right >= 0:
        allowed = allowed & (j <= i + right)
    if causal and not (np.ndim(first) == 0 and first + n_q == n_k):  # else ours: the queries are the last positions
        allowed, causal = allowed & (j <= i), False
    return None if allowed.all() else allowed, causal


def attend(attributes, given):
    """[Y, present_key, present_value, weights] by minattn."""
    three_axes = given["Q"].ndim == 3
    q = split(given["Q"], attributes.get("q_num_heads"))
    k, v = (split(given[name], attributes.get("kv_num_heads")) for name in "KV")
    memory = KeyValues(ma.tensor(k), ma.tensor(v))
    if given["past_key"] is not None:
        memory = KeyValues(ma.tensor(given["past_key"]), ma.tensor(given["past_value"])).append(memory)
    n_q, n_k = q.shape[2], memory.keys.shape[2]
    mask, causal = positions(attributes, given, n_q, n_k)
    bias = given["attn_mask"]
    if bias is not None:
        missing = [(0, 0)] * (bias.ndim - 1) + [(0, n_k - bias.shape[-1])]
        bias = np.pad(bias, missing, constant_values=False if bias.dtype == bool else -np.inf)
        allowed = bias if bias.dtype == bool else bias > -np.inf
        mask = allowed if mask is None else mask & allowed
        bias = None if bias.dtype == bool else np.where(allowed, bias, 0)
    changes = {"bias": bias, "scale": attributes.get("scale"), "soft_cap": attributes.get("softcap") or None}
    context, weights = modified_attention(ma.tensor(q), *memory, mask, causal, **changes)
    alone, _ = modified_attention(ma.tensor(q), *memory, mask, causal, need_weights=False, **changes)
    np.testing.assert_allclose(alone.data, context.data, rtol=1e-5, atol=1e-6)
    if three_axes:
        context = context.swapaxes(1, 2).reshape(context.shape[0], n_q, -1)
    return [context, *memory, weights]


@pytest.mark.parametrize("name", names("Attention"))
def test_attention(name):
    attributes, inputs, expected = opened(cases()[name])
    given = dict.fromkeys(INPUTS) | dict(zip(INPUTS, inputs, strict=False))
    given = {name: in_float32(x) for name, x in given.items()}
    found = attend(attributes, given)
    if attributes.get("qk_matmul_output_mode", 0) != 3:
        found.pop()  # ONNX's fourth output is the scores, which minattn keeps to itself
    for actual, value in zip(found, expected, strict=False):
        if value is not None:
            close(actual, value, cases()[name])


def test_there_are_cases_of_attention():
    assert len(names("Attention")) >= 70


# ---------------------------------------------------------------------------------------------- the evaluator
@pytest.mark.parametrize("seed", range(12))
def test_attention_on_random_inputs_of_the_reference_evaluator(seed):
    rng = np.random.default_rng(seed)
    batch, heads, n, d_k, d_v = (int(rng.integers(1, m)) for m in (4, 5, 70, 9, 9))
    n_k = n if seed % 2 else n + int(rng.integers(0, 9))
    shapes = {"Q": (batch, heads, n, d_k), "K": (batch, heads, n_k, d_k), "V": (batch, heads, n_k, d_v)}
    feeds = {name: 3 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    causal = seed % 2
    mask_shape = [(n, n_k), (batch, 1, n, n_k), (batch, heads, n, n_k), (1, 1, 1, n_k)][seed % 4]
    feeds["mask"] = rng.random(mask_shape) < 0.6
    feeds["mask"][..., 0, :] = False  # a row with nothing to attend to, or all of them
    node = helper.make_node("Attention", list(feeds), ["Y", "", "", "P"], is_causal=causal, qk_matmul_output_mode=3)
    kinds = [TensorProto.FLOAT] * 3 + [TensorProto.BOOL]
    graph = helper.make_graph(
        [node],
        "attention",
        [
            helper.make_tensor_value_info(name, kind, x.shape)
            for (name, x), kind in zip(feeds.items(), kinds, strict=True)
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "YP"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    expected = ReferenceEvaluator(model).run(None, feeds)
    found = scaled_dot_product_attention(
        *(ma.tensor(feeds[name]) for name in "QKV"), feeds["mask"], causal=bool(causal)
    )
    for actual, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual.data, value, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- the other operators
@pytest.mark.parametrize("name", names("LayerNormalization"))
def test_layer_norm(name):
    attributes, (x, weight, bias), (y, *_) = opened(cases()[name])
    axis = attributes.get("axis", -1) % x.ndim
    rows = ma.layer_norm(
        ma.tensor(x.reshape(*x.shape[:axis], -1)),
        ma.tensor(weight.ravel()),
        ma.tensor(bias.ravel()),
        eps=attributes.get("epsilon", 1e-5),
    )
    close(rows.reshape(*x.shape), y, cases()[name])


@pytest.mark.parametrize("name", names("LayerNormalization") + names("RMSNormalization"))
def test_norms_over_the_last_axes(name):
    attributes, (x, *parameters), (y, *_) = opened(cases()[name])
    norm = ma.rms_norm if "rms" in name else ma.layer_norm
    eps = attributes.get("epsilon", 1e-5)
    close(norm(ma.tensor(in_float32(x)), *map(in_float32, parameters), eps=eps), y, cases()[name])


@pytest.mark.parametrize("name", names("RotaryEmbedding"))
def test_rotary_positions(name):
    attributes, (x, cos, sin, *positions), (y, *_) = opened(cases()[name])
    three_axes = x.ndim == 3
    heads = split(x, attributes.get("num_heads"))
    if positions and positions[0] is not None:
        cos, sin = cos[positions[0]], sin[positions[0]]
    cos, sin = (table.reshape(-1, 1, *table.shape[-2:]) for table in (cos, sin))  # the same for every head
    turned = rotate(ma.tensor(in_float32(heads)), cos, sin, interleaved=bool(attributes.get("interleaved", 0)))
    if three_axes:
        turned = turned.swapaxes(1, 2).reshape(*x.shape)
    close(turned, y, cases()[name])


@pytest.mark.parametrize("name", names("Softmax") + names("LogSoftmax"))
def test_softmax_and_log_softmax(name):
    attributes, (x,), (y,) = opened(cases()[name])
    op = ma.log_softmax if "logsoftmax" in name else ma.softmax
    close(op(ma.tensor(x), axis=attributes.get("axis", -1)), y, cases()[name])


@pytest.mark.parametrize("name", names("Gelu"))
def test_gelu(name):
    attributes, (x,), (y,) = opened(cases()[name])
    close((ma.gelu_tanh if attributes.get("approximate") == b"tanh" else ma.gelu)(ma.tensor(x)), y, cases()[name])
