"""ONNX's own test cases, and its reference evaluator, against the attention, softmax, layer norm and GELU of minattn.

ONNX publishes for each operator a set of nodes with inputs and outputs.  Every case of the operator Attention runs here
that scaled dot-product attention can express:

    heads side by side (3-D)      taken apart, and joined again
    scale                         a factor of the queries
    fewer heads of keys (GQA)     each repeated for its group
    a cache of past keys          `KeyValues.append`
    causal, windows, lengths      masks; `causal=True` where the queries are the last positions
    a bias of the scores          a longer product: [q, bias_i] . [k, e_j] = q . k + bias_ij

What is left out, with the reason, is what has another softmax (softcap) or another precision (float16, bfloat16).
"""

import functools
import importlib
import math

import numpy as np
import pytest

import minattn as ma
from minattn.attention.self_attention import KeyValues, scaled_dot_product_attention

pytest.importorskip("onnx", reason="ONNX's test cases need onnx: pip install onnx")

from onnx import TensorProto, helper
from onnx.backend.test.case import node as node_cases
from onnx.reference import ReferenceEvaluator

MODULES = ["attention", "layernormalization", "softmax", "logsoftmax", "gelu"]


@functools.cache
def cases():
    """{name: case} of the operators here.  Other operators' modules are left alone: they take ten seconds."""
    for module in MODULES:
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    operators = {"Attention", "LayerNormalization", "Softmax", "LogSoftmax", "Gelu"}
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


def close(actual, expected, case):
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual.data, expected, rtol=case.rtol, atol=max(case.atol, 1e-6))


# ---------------------------------------------------------------------------------------------- Attention
INPUTS = ["Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"]


def why_not(attributes, given):
    """What of this case no scaled dot-product attention can express; None if nothing."""
    if given["Q"].dtype not in (np.float32, np.float64):
        return f"minattn has no {given['Q'].dtype}"
    if attributes.get("softcap"):
        return "softcap is another softmax"
    return None


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
    repeats = q.shape[1] // k.shape[1]
    keys, values = (ma.repeat(x, repeats, axis=1) if repeats > 1 else x for x in memory)
    q = q * (attributes.get("scale", 1 / math.sqrt(q.shape[-1])) * math.sqrt(q.shape[-1]))
    n_q, n_k = q.shape[2], keys.shape[2]
    mask, causal = positions(attributes, given, n_q, n_k)
    given_mask = given["attn_mask"]
    if given_mask is not None:
        missing = [(0, 0)] * (given_mask.ndim - 1) + [(0, n_k - given_mask.shape[-1])]
        outside = False if given_mask.dtype == bool else -np.inf
        given_mask = np.pad(given_mask, missing, constant_values=outside)
        allowed = given_mask if given_mask.dtype == bool else given_mask > -np.inf
        mask = allowed if mask is None else mask & allowed
        if given_mask.dtype != bool and (given_mask[allowed] != 0).any():
            q, keys = with_bias(q, keys.data, np.where(allowed, given_mask, 0))
    context, weights = scaled_dot_product_attention(
        ma.tensor(q.astype(given["Q"].dtype)), ma.tensor(keys), values, mask, causal
    )
    alone, _ = scaled_dot_product_attention(
        ma.tensor(q.astype(given["Q"].dtype)), ma.tensor(keys), values, mask, causal, need_weights=False
    )
    np.testing.assert_allclose(alone.data, context.data, rtol=1e-5, atol=1e-6)
    if three_axes:
        context = context.swapaxes(1, 2).reshape(context.shape[0], n_q, -1)
    return [context, *memory, weights]


def with_bias(q, k, bias):
    """Longer queries and keys whose scores are those of q and k plus the bias."""
    *lead, n_q, d_k = q.shape
    n_k = k.shape[-2]
    bias = np.broadcast_to(bias, (*lead, n_q, n_k))
    places = np.broadcast_to(np.eye(n_k), (*lead, n_k, n_k))
    longer = math.sqrt((d_k + n_k) / d_k)
    q = np.concatenate([q * longer, bias * math.sqrt(d_k + n_k)], -1)
    return q, np.concatenate([k, places], -1).astype(k.dtype)


@pytest.mark.parametrize("name", names("Attention"))
def test_attention(name):
    attributes, inputs, expected = opened(cases()[name])
    given = dict.fromkeys(INPUTS) | dict(zip(INPUTS, inputs, strict=False))
    if reason := why_not(attributes, given):
        pytest.skip(reason)
    found = attend(attributes, given)
    if attributes.get("qk_matmul_output_mode", 0) != 3:
        found.pop()  # ONNX's fourth output is the scores, which minattn keeps to itself
    for actual, value in zip(found, expected, strict=False):
        if value is not None:
            close(actual, value, cases()[name])


def test_most_cases_of_attention_run():
    """The adapter above must not skip more as ONNX gets more cases."""
    skipped = 0
    for name in names("Attention"):
        attributes, inputs, _ = opened(cases()[name])
        skipped += why_not(attributes, {"Q": inputs[0]}) is not None
    assert len(names("Attention")) >= 70
    assert skipped <= len(names("Attention")) / 3


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


@pytest.mark.parametrize("name", names("Softmax") + names("LogSoftmax"))
def test_softmax_and_log_softmax(name):
    attributes, (x,), (y,) = opened(cases()[name])
    op = ma.log_softmax if "logsoftmax" in name else ma.softmax
    close(op(ma.tensor(x), axis=attributes.get("axis", -1)), y, cases()[name])


@pytest.mark.parametrize("name", names("Gelu"))
def test_gelu(name):
    attributes, (x,), (y,) = opened(cases()[name])
    close((ma.gelu_tanh if attributes.get("approximate") == b"tanh" else ma.gelu)(ma.tensor(x)), y, cases()[name])
