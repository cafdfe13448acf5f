"""Sentence embeddings: the mean of the states of a text's word pieces, whatever else is in its batch."""

import os
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_bert import CONFIG, PIECES, bert_by_hand, published_model, write_model, write_pooling, write_tokenizer

from minattn.autograd import asnumpy
from minattn.errors import CheckpointError, ConfigError, DataError, MinattnError, MissingDependencyError
from minattn.tasks import embedding
from minattn.tasks.embedding import Embedder, cosines, mean_pooling, read_pooling, save_embeddings

pytest.importorskip("tokenizers")

TEXTS = ["a", "Cats sleep.", "a dog sleeping", "zebra", "A cat sleeps. A dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model; not to be written to."""
    folder = write_model(tmp_path_factory.mktemp("models") / "model")
    write_tokenizer(folder)
    return folder


@pytest.fixture
def own_folder(tmp_path):
    """A tiny model, to be damaged."""
    folder = write_model(tmp_path / "model")
    write_tokenizer(folder)
    return folder


# ---------------------------------------------------------------------------------------------- texts
def test_texts_are_read_in_word_pieces_between_cls_and_sep(folder):
    ids, pieces = Embedder.load(folder).read("Cats sleeping, zebra.")
    assert pieces == ["[CLS]", "cat", "##s", "sleep", "##ing", "[UNK]", "[UNK]", ".", "[SEP]"]
    assert [PIECES[i] for i in ids] == pieces


def test_a_text_longer_than_the_positions_is_refused_or_cut(folder):
    fits, longer = "a cat " * 3 + "a", "a cat " * 4
    embedder = Embedder.load(folder)
    assert len(embedder.read(fits).ids) == CONFIG["max_position_embeddings"] == 9
    with pytest.raises(DataError, match=r"text 2 is longer than the positions.*10 word pieces.*reads 9.*--truncate"):
        embedder.embed(["a", longer])
    cut = Embedder.load(folder, truncate=True)
    assert cut.read(longer).pieces == embedder.read(fits).pieces
    np.testing.assert_array_equal(cut.embed([longer]), embedder.embed([fits]))


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(folder, text):
    with pytest.raises(DataError, match="text 2 is empty"):
        Embedder.load(folder).embed(["a", text])


def test_no_text_is_refused(folder):
    with pytest.raises(DataError, match="no text to embed"):
        Embedder.load(folder).embed([])


# ---------------------------------------------------------------------------------------------- embeddings
def embedding_by_hand(folder, ids):
    n = len(ids)
    states, _ = bert_by_hand(folder, ids, [True] * n, [0] * n)
    mean = sum(states) / n
    return mean / np.sqrt(sum(mean**2))


@given(st.lists(st.lists(st.sampled_from(["a", "cat", "dogs", "."]), min_size=1, max_size=4), min_size=1, max_size=5))
def test_embeddings_are_unit_means_in_the_order_of_the_texts(folder, words):
    texts = [" ".join(text) for text in words]
    embedder = Embedder.load(folder, dtype=np.float64)
    found = embedder.embed(texts, batch_size=2)
    for text, vector in zip(texts, found, strict=True):
        np.testing.assert_allclose(vector, embedding_by_hand(folder, embedder.read(text).ids), rtol=1e-9, atol=1e-10)


def test_the_batch_does_not_matter(folder):
    embedder = Embedder.load(folder)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    for batch_size in (1, 2, 5, 32):
        np.testing.assert_allclose(embedder.embed(TEXTS, batch_size), alone, rtol=1e-5, atol=1e-6)


def test_embeddings_and_attention_are_the_same_everywhere(backend, folder):
    here, there = Embedder.load(folder), Embedder.load(folder, backend.device)
    found, weights = there.embed(TEXTS), there.attention(TEXTS[1]).weights
    assert type(found) is type(weights) is np.ndarray
    assert found.dtype == weights.dtype == np.float32
    np.testing.assert_allclose(found, here.embed(TEXTS), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights, here.attention(TEXTS[1]).weights, rtol=1e-5, atol=1e-6)


def test_attention_is_every_layers_and_heads(folder):
    embedder = Embedder.load(folder, dtype=np.float64)
    weights, pieces = embedder.attention("cats sleep")
    assert pieces == ["[CLS]", "cat", "##s", "sleep", "[SEP]"]
    _, expected = bert_by_hand(folder, embedder.read("cats sleep").ids, [True] * 5, [0] * 5)
    np.testing.assert_allclose(weights, expected, rtol=1e-9)


@pytest.mark.parametrize(("layer", "head"), [(None, None), (1, None), (2, None), (1, 2), (2, 1)])
def test_what_is_chosen_is_what_is_drawn(folder, tmp_path, monkeypatch, layer, head):
    drawn = []
    for name in ("attention_heads", "attention_lines"):
        monkeypatch.setattr(embedding, name, lambda *arguments: drawn.append(arguments))
    monkeypatch.setattr(embedding, "save_figure", lambda figure, path: None)
    found = Embedder.load(folder).attention("cats sleep")
    embedding.draw_attention(found, tmp_path / "heads.png", "cats sleep", layer, head)
    ((weights, queries, keys, title, *names),) = drawn
    of_layer = found.weights if layer is None else found.weights[layer - 1]
    expected = of_layer if head is None else of_layer[head - 1 : head]
    np.testing.assert_array_equal(weights, expected)
    assert queries == keys == found.pieces
    assert title == ("cats sleep" if layer is None else f"layer {layer}: cats sleep")
    assert names == ([] if layer is None else [["1", "2"] if head is None else [str(head)]])


def test_the_mean_leaves_padding_out(backend):
    states = np.arange(12.0).reshape(2, 3, 2)
    mask = np.array([[True, False, True], [False, True, False]])
    found = mean_pooling(backend.array(states), mask)
    np.testing.assert_array_equal(asnumpy(found), [[2, 3], [8, 9]])


def test_cosines_do_not_depend_on_lengths():
    vectors = np.array([[3.0, 0.0], [5.0, 5.0], [0.0, -2.0], [0.0, 0.0]])
    half = np.sqrt(0.5)
    expected = [[1, half, 0, 0], [half, 1, -half, 0], [0, -half, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(cosines(vectors), expected, atol=1e-15)


def test_a_published_model_knows_what_means_the_same():
    embedder = Embedder.load(published_model())
    guitar, instrument, market, shares = embedder.embed(
        [
            "A man is playing a guitar.",
            "Someone plays an instrument.",
            "The stock market fell sharply today.",
            "Shares dropped a lot this afternoon.",
        ]
    )
    assert guitar @ instrument > 0.5
    assert market @ shares > 0.5
    assert max(abs(one @ other) for one in (guitar, instrument) for other in (market, shares)) < 0.2
    assert embedder.normalize
    np.testing.assert_allclose(guitar @ guitar, 1, rtol=1e-5)
    assert sorted(embedder.unused) == ["embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"]


# ---------------------------------------------------------------------------------------------- pooling
def test_modules_say_whether_the_embedding_has_length_one(own_folder):
    assert read_pooling(own_folder), "without modules.json it has"
    write_pooling(own_folder)
    assert read_pooling(own_folder)
    unit = Embedder.load(own_folder).embed(TEXTS)
    np.testing.assert_allclose((unit**2).sum(-1), 1, rtol=1e-5)
    write_pooling(own_folder, ("Transformer", "Pooling"))
    assert not read_pooling(own_folder)
    mean = Embedder.load(own_folder).embed(TEXTS)
    lengths = np.sqrt((mean**2).sum(-1, keepdims=True))
    assert (abs(lengths - 1) > 0.01).any()
    np.testing.assert_allclose(mean / lengths, unit, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("modules", "modes", "says"),
    [
        (("Transformer", "Pooling", "Dense"), {}, "asks for Transformer, Pooling, Dense"),
        (("WordEmbeddings", "Pooling"), {}, "asks for WordEmbeddings, Pooling"),
        ((), {}, "asks for nothing"),
        (("Transformer", "Pooling"), {"mean_tokens": False, "cls_token": True}, "pooling by cls_token"),
        (("Transformer", "Pooling"), {"max_tokens": True}, "pooling by mean_tokens and max_tokens"),
        (("Transformer", "Pooling"), {"mean_tokens": False}, "pooling by nothing that is known"),
    ],
)
def test_another_pooling_is_refused(own_folder, modules, modes, says):
    write_pooling(own_folder, modules, **modes)
    with pytest.raises(ConfigError, match=says):
        Embedder.load(own_folder)


@pytest.mark.parametrize("content", ["{", "3", '["Pooling"]', '[{"type": "Pooling"}]'])
def test_damaged_modules_are_refused(own_folder, content):
    (own_folder / "modules.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"modules.json is damaged"):
        Embedder.load(own_folder)


# ---------------------------------------------------------------------------------------------- word pieces
def test_word_pieces_that_are_missing_damaged_or_too_many(own_folder):
    path = own_folder / "tokenizer.json"
    content = path.read_text()
    path.write_text(content.replace('"dog": 7', '"dog": 7, "bird": 12'))
    with pytest.raises(ConfigError, match=r"13 word pieces, and config.json beside it says 12"):
        Embedder.load(own_folder)
    path.write_text(content[:100])
    with pytest.raises(CheckpointError, match=r"tokenizer.json is damaged"):
        Embedder.load(own_folder)
    path.unlink()
    with pytest.raises(CheckpointError, match="there are no word pieces"):
        Embedder.load(own_folder)


def test_what_the_library_of_word_pieces_fails_by_is_told(own_folder):
    class PanicException(BaseException):
        """As that of the library, which Rust makes."""

    class Failing:
        def __init__(self, error):
            self.error = error

        def encode(self, text):
            raise self.error

    embedder = Embedder.load(own_folder)
    for error in (Exception("no\n  piece"), PanicException("no piece")):
        embedder = replace(embedder, tokenizer=Failing(error))
        with pytest.raises(CheckpointError, match=r"the tokenizer is damaged \(no piece\); hint: restore the file"):
            embedder.embed(["the dog"])
    with pytest.raises(KeyboardInterrupt):
        replace(embedder, tokenizer=Failing(KeyboardInterrupt())).embed(["the dog"])


def test_a_piece_that_the_model_has_not_is_told(own_folder):
    path = own_folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"dog": 7', '"dog": 700'))
    with pytest.raises(CheckpointError, match=r"the tokenizer has a piece 700, and the model's are from 0 to 11; hint"):
        Embedder.load(own_folder).embed(["the dog"])


def test_word_pieces_from_a_device_are_not_read(own_folder):
    (own_folder / "tokenizer.json").unlink()
    (own_folder / "tokenizer.json").symlink_to("/dev/null")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read: It is a pipe or a device"):
        Embedder.load(own_folder)


def test_bytes_that_are_no_text_are_refused(folder):
    with pytest.raises(DataError, match=r"text 2, 'the .udcff', is not UTF-8; hint: characters"):
        Embedder.load(folder).embed(["the dog", "the \udcff"])


def test_without_tokenizers_the_cure_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'minattn\[embed\]'"):
        Embedder.load(folder)


# ---------------------------------------------------------------------------------------------- files
def test_embeddings_are_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    embeddings = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_embeddings(tmp_path / "e.npy", ["a", "b"], embeddings)
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), embeddings)
    save_embeddings(tmp_path / "e.npz", ["ä", "a longer text"], embeddings)
    with np.load(tmp_path / "e.npz") as saved:
        np.testing.assert_array_equal(saved["embeddings"], embeddings)
        assert saved["embeddings"].dtype == np.float32
        assert saved["texts"].tolist() == ["ä", "a longer text"]
    save_embeddings(tmp_path / "E.NPY", ["a", "b"], embeddings)
    np.testing.assert_array_equal(np.load(tmp_path / "E.NPY"), embeddings)
    save_embeddings(tmp_path / "E.NPZ", ["a", "b"], embeddings)
    with np.load(tmp_path / "E.NPZ") as saved:
        assert saved["texts"].tolist() == ["a", "b"]
    before = (tmp_path / "e.npy").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MinattnError, match=r"e.npy cannot be written: No space left on device; hint"):
        save_embeddings(tmp_path / "e.npy", ["a", "b"], 2 * embeddings)
    assert (tmp_path / "e.npy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["E.NPY", "E.NPZ", "e.npy", "e.npz"]
