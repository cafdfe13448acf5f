"""BERT reads published weights under their names, and gives what a transcription by hand gives."""

import sys

import fakecupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from small_bert import CONFIG, bert_by_hand, published_model, random_weights, write_model

from minattn.autograd import asnumpy, device_of, no_grad
from minattn.errors import CheckpointError, ConfigError, MissingDependencyError, ShapeError
from minattn.models.sequence.bert import CONFIGURATIONS, Bert, BertConfig
from minattn.nn import initializers

SENTENCES = [
    "Hi",
    "The cat sleeps.",
    "It didn't work, unfortunately!",
    "Attention is all you need, and transformers are what became of it.",
]


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "model")


# ---------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("name", "with_pooler"), [("bert-base", 109_482_240), ("bert-large", 335_141_888), ("minilm-l6", 22_713_216)]
)
def test_published_models_have_the_published_number_of_weights(name, with_pooler):
    config = CONFIGURATIONS[name]
    with initializers.unallocated():
        found = Bert(config, np.random.default_rng(0)).count_parameters()
    d, d_ff = config.d_model, config.d_ff
    embeddings = d * (config.vocab_size + config.positions + config.token_types) + 2 * d
    layer = 4 * (d * d + d) + d * d_ff + d_ff + d_ff * d + d + 4 * d
    assert found == embeddings + config.layers * layer
    assert found + d * d + d == with_pooler  # the pooler is a linear map of d to d


# ---------------------------------------------------------------------------------------------- what it computes
@st.composite
def models(draw):
    heads = draw(st.integers(1, 3))
    return {
        "num_attention_heads": heads,
        "hidden_size": heads * draw(st.integers(1, 3)) + (heads == 1),
        "intermediate_size": draw(st.integers(1, 5)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "type_vocab_size": draw(st.integers(1, 3)),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-3])),
    }


@given(models(), st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=15)
def test_states_and_weights_are_those_of_the_transcription(tmp_path_factory, sizes, seed, data):
    config = CONFIG | sizes
    folder = write_model(tmp_path_factory.mktemp("model"), random_weights(config, seed), **sizes)
    batch, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, CONFIG["max_position_embeddings"]))
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, config["vocab_size"], (batch, n))
    mask = rng.random((batch, n)) < 0.7
    mask[:, 0] = True
    types = rng.integers(0, config["type_vocab_size"], (batch, n))
    assert_as_by_hand(folder, ids, mask, types, np.float64, 1e-10)


def assert_as_by_hand(folder, ids, mask, types, dtype, tolerance):
    model = Bert.load(folder, dtype).model.eval()
    states, attention = model(ids, mask, types, return_attention=True)
    assert states.dtype == dtype
    assert all(weights.dtype == dtype for weights in attention.values())
    for row in range(len(ids)):
        expected, looked = bert_by_hand(folder, ids[row], mask[row], types[row])
        real = mask[row]
        np.testing.assert_allclose(states.data[row][real], expected[real], rtol=tolerance, atol=tolerance)
        found = np.stack([weights.data[row] for weights in attention.values()])
        np.testing.assert_allclose(found[:, :, real], looked[:, :, real], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])
def test_a_published_model_gives_what_the_transcription_gives(dtype, tolerance):
    folder = published_model()
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    texts = [[tokenizer.token_to_id("[CLS]")], *(tokenizer.encode(text).ids for text in SENTENCES)]
    lengths = np.array([[len(text)] for text in texts])
    mask = np.arange(lengths.max()) < lengths
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(texts)
    assert lengths.min() == 1
    assert lengths.max() > 14
    with no_grad():
        assert_as_by_hand(folder, ids, mask, np.zeros_like(ids), dtype, tolerance)


def test_without_mask_and_token_types_all_is_real_and_of_the_first_text(folder):
    model, _ = Bert.load(folder)
    ids = np.array([[2, 5, 6, 3]])
    states = model(ids)
    expected, attention = model(ids, np.ones((1, 4), bool), np.zeros((1, 4), int), return_attention=True)
    np.testing.assert_allclose(states.data, expected.data, rtol=1e-5, atol=1e-6)
    assert list(attention) == [f"layers.{i}.self_attention" for i in range(CONFIG["num_hidden_layers"])]
    for weights in attention.values():
        assert weights.shape == (1, CONFIG["num_attention_heads"], 4, 4)
        np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-6)


def test_the_same_on_every_backend(backend, folder):
    ids, mask = np.array([[2, 5, 6, 3], [2, 7, 3, 0]]), np.array([[True] * 4, [True] * 3 + [False]])
    expected, attention = Bert.load(folder).model(ids, mask, return_attention=True)
    model = Bert.load(folder).model.to(backend.device)
    with fakecupy.no_sync():  # concerns the fake alone
        states, found = model(ids, mask, return_attention=True)
    assert device_of(states.data) == device_of(backend.array(0))
    assert states.dtype == np.float32
    np.testing.assert_allclose(asnumpy(states.data)[mask], expected.data[mask], rtol=1e-5, atol=1e-6)
    for path, weights in attention.items():
        np.testing.assert_allclose(asnumpy(found[path].data), weights.data, rtol=1e-5, atol=1e-6)


def test_as_many_positions_as_there_are_and_no_more(folder):
    model, _ = Bert.load(folder)
    positions = CONFIG["max_position_embeddings"]
    assert model(np.ones((1, positions), int)).shape == (1, positions, CONFIG["hidden_size"])
    with pytest.raises(ShapeError, match=rf"{positions + 1} positions are needed, and {positions} were learned"):
        model(np.ones((1, positions + 1), int))


# ---------------------------------------------------------------------------------------------- reading files
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_half_precision_are_read(tmp_path, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    weights = random_weights(CONFIG, dtype=np.dtype(dtype))
    model = Bert.load(write_model(tmp_path / "model", weights)).model
    assert {parameter.dtype for parameter in model.parameters()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(model.words.weight.data, weights["embeddings.word_embeddings.weight"])


def test_older_names_and_those_with_a_prefix_are_the_same_model(folder, tmp_path):
    def older(name):
        return "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    weights = {older(name): array for name, array in random_weights(CONFIG).items()}
    other = Bert.load(write_model(tmp_path / "older", weights)).model.state_dict()
    for name, array in Bert.load(folder).model.state_dict().items():
        np.testing.assert_array_equal(array, other[name])


def test_names_without_use_are_told_as_the_file_has_them(tmp_path):
    extra = {"bert.pooler.dense.weight": np.zeros((6, 6)), "cls.predictions.bias": np.zeros(12)}
    weights = {f"bert.{name}": array for name, array in random_weights(CONFIG).items()}
    _, unused = Bert.load(write_model(tmp_path / "model", weights | extra))
    assert sorted(unused) == sorted(extra)


def test_all_that_is_missing_or_misshaped_is_in_one_error(tmp_path):
    weights = random_weights(CONFIG)
    del weights["embeddings.LayerNorm.bias"], weights["encoder.layer.1.output.dense.weight"]
    name = "encoder.layer.0.intermediate.dense.weight"
    weights[name] = weights[name].T.copy()
    weights["embeddings.word_embeddings.weight"] = np.zeros((12, 6), np.int32)
    with pytest.raises(CheckpointError) as caught:
        Bert.load(write_model(tmp_path / "model", weights))
    for part in (
        "embeddings.LayerNorm.bias is missing",
        "encoder.layer.1.output.dense.weight is missing",
        f"{name} is (6, 8), expected (8, 6)",
        "embeddings.word_embeddings.weight is of dtype I32",
        "hint",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta', not 'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key', not 'absolute'"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new', not 'gelu'"),
        ({"is_decoder": True}, "is_decoder is True, not False"),
        ({"num_hidden_layers": 0}, "layers must be a whole number of at least 1, got 0"),
        ({"num_attention_heads": 4}, "d_model = 6 does not divide into 4 heads"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps must be a small number of at least 0, got -1.0"),
        ({"layer_norm_eps": "small", "hidden_size": 6.0}, "hidden_size is 6.0, layer_norm_eps is 'small', expected"),
    ],
)
def test_another_architecture_is_refused(tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        BertConfig.read(write_model(tmp_path / "model", random_weights(CONFIG), **change))


@pytest.mark.parametrize("key", ["model_type", "hidden_act", "hidden_size", "layer_norm_eps", "type_vocab_size"])
def test_a_config_that_lacks_something_is_refused(folder, key):
    path = folder / "config.json"
    path.write_text(path.read_text().replace(f'"{key}"', '"other"'))
    with pytest.raises(ConfigError, match=key):
        BertConfig.read(folder)


def test_sizes_are_read(folder):
    expected = BertConfig(12, 2, 6, 2, 8, 9, 2, 1e-12)
    assert BertConfig.read(folder) == expected
    assert Bert.load(folder).model.config == expected


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", None, "the folder .* has no config.json; hint"),
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"[]", "config.json is damaged"),
        ("config.json", b"\xff", "config.json is damaged"),
        ("model.safetensors", None, "there are no weights"),
        ("model.safetensors", b"", "cut off or something else"),
        ("model.safetensors", b"\x00" * 100, "cut off or something else"),
    ],
)
def test_files_that_are_missing_or_damaged(folder, name, content, says):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        Bert.load(folder)


def test_a_file_cut_in_the_middle(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut off or something else"):
        Bert.load(folder)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        Bert.load(tmp_path / "none")
    save_file({"x": np.zeros(1)}, tmp_path / "file")
    with pytest.raises(CheckpointError, match="is a file, not a folder"):
        Bert.load(tmp_path / "file")


def test_without_safetensors_the_cure_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[embed\]'"):
        Bert.load(folder)
