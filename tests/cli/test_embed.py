"""`minattn embed` tells embeddings, saves and draws them, and refuses what is wrong in one line before the work."""

import sys

import numpy as np
import pytest
from small_bert import CONFIG, published_model, random_weights, write_model, write_pooling, write_tokenizer

from minattn.models.sequence.bert import Bert

pytest.importorskip("tokenizers")


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The folder of a tiny model, in the folder that the test works in."""
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "model")
    write_tokenizer(folder)
    return folder


@pytest.fixture
def no_work(monkeypatch):
    """What is refused is refused before the model runs."""

    def forward(*arguments, **options):
        raise AssertionError("the model was run")

    monkeypatch.setattr(Bert, "forward", forward)


# ---------------------------------------------------------------------------------------------- what it tells
def test_texts_their_numbers_and_cosines(minattn, model):
    result = minattn("embed", model, "a cat", "a dog", "A CAT", "--out", "e.npy")
    assert result.status == 0
    assert result.err == ""
    embeddings = np.load("e.npy")
    assert embeddings.shape == (3, 6)
    lines = result.out.splitlines()
    assert "embeddings" in lines
    for number, text, numbers in zip("123", ("a cat", "a dog", "A CAT"), embeddings, strict=True):
        expected = " ".join(f"{x:+.3f}" for x in numbers[:4])
        assert sum(line.split(None, 1) == [number, f"{text}  {expected}"] for line in lines) == 1
    assert "embeddings (3, 6) saved as e.npy" in lines
    cosines = embeddings @ embeddings.T
    assert cosines[0, 2] == pytest.approx(1)
    for number, row in zip("123", cosines, strict=True):
        assert [number, *(f"{cosine:.2f}" for cosine in row)] in [line.split() for line in lines]


def test_cosines_of_embeddings_of_any_length(minattn, model):
    write_pooling(model, ("Transformer", "Pooling"))
    result = minattn("embed", model, "a cat", "a dog", "--out", "e.npy")
    assert "cosine similarities" in result.out.splitlines(), "in one line, however narrow the table"
    a, b = np.load("e.npy")
    assert abs(a @ a - 1) > 0.1
    cosine = f"{a @ b / np.sqrt((a @ a) * (b @ b)):.2f}"
    lines = [line.split() for line in result.out.splitlines()]
    assert ["1", "1.00", cosine] in lines
    assert ["2", cosine, "1.00"] in lines


def test_one_text_is_compared_with_nothing(minattn, model):
    result = minattn("embed", model, "a cat")
    assert result.status == 0
    assert "cosine" not in result.out


def test_a_file_with_a_text_a_line(minattn, model, tmp_path):
    texts = [f"a cat{' sleeps' * i}" for i in range(3)] * 4
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    result = minattn("embed", model, "--file", "texts.txt", "--out", "e.npz")
    assert result.status == 0
    assert "and 2 more" in result.out
    with np.load("e.npz") as saved:
        assert saved["texts"].tolist() == texts
        np.testing.assert_allclose(saved["embeddings"][:3], saved["embeddings"][9:], rtol=1e-5, atol=1e-6)


def test_weights_without_use_are_noted(minattn, model):
    write_model(model, random_weights(CONFIG) | {"pooler.dense.bias": np.zeros(6)})
    result = minattn("embed", model, "a")
    assert result.status == 0
    assert result.err == "note: the model's file also has pooler.dense.bias; the encoder has no use for them\n"


def test_a_longer_text_is_cut_where_that_is_asked_for(minattn, model):
    assert minattn("embed", model, "a " * 20, "--truncate").status == 0


@pytest.mark.parametrize("choice", [(), ("--layer", "2"), ("--layer=1", "--head=2")])
def test_pictures(minattn, model, tmp_path, choice):
    result = minattn("embed", model, "Cats sleep.", "--attention", "heads.svg", *choice)
    assert result.status == 0
    assert "attention drawn into heads.svg" in result.out
    picture = (tmp_path / "heads.svg").read_text()
    assert "<!-- ##s -->" in picture
    title = f"layer {choice[-1][-1] if len(choice) == 2 and choice[0] == '--layer' else 1}: " if choice else ""
    assert f"<!-- {title}Cats sleep. -->" in picture
    assert ("<!-- head 2 -->" in picture) == (not choice)
    assert ("<!-- layer 2 -->" in picture) == (not choice)
    if choice:
        heads = [name for name in "12" if f"<!-- {name} -->" in picture]
        assert heads == (["2"] if "--head=2" in choice else ["1", "2"])


def test_characters_that_the_font_has_not_are_one_note(minattn, model, tmp_path):
    result = minattn("embed", model, "cats 漢字 🎉", "--attention", "heads.png")
    assert result.status == 0
    assert result.err == "note: the figures' font has no 漢 字 🎉; there are boxes in their place\n"
    assert (tmp_path / "heads.png").exists()


def test_a_file_may_have_any_ends_of_lines_and_marks(minattn, model, tmp_path):
    (tmp_path / "texts.txt").write_bytes("\ufeffa cat\r\na\u2028dog".encode())
    assert minattn("embed", model, "--file", "texts.txt", "--out", "e.npz").status == 0
    with np.load("e.npz") as saved:
        assert saved["texts"].tolist() == ["a cat", "a\u2028dog"]


def test_a_published_model(minattn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = ("A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell sharply today.")
    result = minattn("embed", published_model(), *texts, "--out", "e.npy")
    assert result.status == 0
    assert "pooler.dense.weight" in result.err
    embeddings = np.load("e.npy")
    assert embeddings.shape == (3, 384)
    assert embeddings.dtype == np.float32
    assert [line.split() for line in result.out.splitlines()].count(["1", "1.00", "0.67", "-0.05"]) == 1


# ---------------------------------------------------------------------------------------------- what it refuses
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], ["there must be texts", "--file"]),
        (["a", "--file", "texts.txt"], ["not both"]),
        (["--file", "none.txt"], ["there is no file none.txt"]),
        (["--file", "."], ["is a directory"]),
        (["a", " "], ["text 2 is empty: ' '", "hint"]),
        (["a", "cats " * 5], ["text 2 is longer than the positions", "12 word pieces", "reads 9", "--truncate"]),
        (["a", "--out", "e.txt"], ["'e.txt'", ".npy or .npz"]),
        (["a", "--out", "none/e.npy"], ["there is no folder none"]),
        (["a", "--out", "folder.npy"], ["folder.npy: it is a folder", "hint"]),
        (["a", "--attention", "folder.png"], ["folder.png: it is a folder", "hint"]),
        (["a", "--attention", "e.gif"], ["'e.gif'", ".png, .svg, .pdf"]),
        (["a", "--attention", "none/e.png"], ["there is no folder none"]),
        (["a", "--layer", "1"], ["--attention FILE.png"]),
        (["a", "--attention", "e.png", "--head", "1"], ["--layer"]),
        (["a", "--attention", "e.png", "--layer", "3"], ["there is no layer 3", "layers 1 to 2"]),
        (["a", "--attention", "e.png", "--layer", "0"], ["there is no layer 0", "layers 1 to 2"]),
        (["a", "--attention", "e.png", "--layer", "1", "--head", "3"], ["there is no head 3", "heads 1 to 2"]),
        (["a", "--attention", "e.png", "--layer", "one"], ["--layer", "minattn COMMAND --help"]),
        (["a", "--device", "tpu"], ["unknown device 'tpu'"]),
    ],
)
def test_arguments(refused, model, no_work, tmp_path, arguments, says):
    for folder in ("folder.npy", "folder.png"):
        (tmp_path / folder).mkdir()
    refused("embed", model, *arguments, says=says, folder=tmp_path)


def test_empty_texts_are_refused_before_the_model_is_read(refused, tmp_path):
    refused("embed", "none", "a", "", says=["text 2 is empty"], folder=tmp_path)


def test_weights_without_use_are_no_news_where_something_fails(refused, model, tmp_path):
    write_model(model, random_weights(CONFIG) | {"pooler.dense.bias": np.zeros(6)})
    refused("embed", model, "a " * 20, says=["text 1 is longer"], folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no text; hint"),
        (b"\n", "line 1, is empty; hint"),
        (b"a\n\nb\n", "line 2, is empty; hint"),
        (b"a\ncaf\xe9\n", "line 2: the line is not UTF-8 text"),
    ],
)
def test_files_of_texts(refused, model, no_work, tmp_path, content, says):
    (tmp_path / "texts.txt").write_bytes(content)
    refused("embed", model, "--file", "texts.txt", says=["texts.txt", says], folder=tmp_path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "config.json").unlink(), ["the folder ", "has no config.json; hint"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["there are no weights"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), ["there are no word pieces"]),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), ["tokenizer.json is damaged"]),
        (lambda folder: write_model(folder, {}), ["embeddings.LayerNorm.bias is missing; encoder.layer.0."]),
        (lambda folder: write_model(folder, random_weights(CONFIG), hidden_size=4), ["is (6, 6), expected (4, 4)"]),
        (lambda folder: write_model(folder, model_type="gpt2"), ["model_type is 'gpt2', not 'bert'"]),
        (lambda folder: write_pooling(folder, mean_tokens=False, cls_token=True), ["pooling by cls_token"]),
    ],
)
def test_damaged_and_other_models(refused, model, no_work, tmp_path, damage, says):
    damage(model)
    refused("embed", model, "a", "--out=e.npy", "--attention=e.png", says=[*says, "hint"], folder=tmp_path)


def test_weights_that_are_not_finite_are_refused_without_a_warning(refused, model, tmp_path):
    write_model(model, random_weights(CONFIG) | {"embeddings.LayerNorm.bias": np.full(6, np.inf, np.float32)})
    refused("embed", model, "a cat", says=["the embeddings are not finite; hint: "], folder=tmp_path)


def test_settings_that_are_nested_without_end_are_refused(refused, model, tmp_path):
    (model / "config.json").write_text("[" * 100_000 + "]" * 100_000)
    refused("embed", model, "a cat", says=["config.json is damaged: it is no JSON"], folder=tmp_path)


def test_folders_that_are_none(refused, model, tmp_path):
    refused("embed", "none", "a", says=["none does not exist", "hint"], folder=tmp_path)
    refused("embed", model / "config.json", "a", says=["is a file, not a folder"], folder=tmp_path)
    refused("embed", says=["Missing argument", "MODEL_DIR"], folder=tmp_path)


@pytest.mark.parametrize(
    ("library", "extra"), [("tokenizers", "embed"), ("safetensors", "embed"), ("matplotlib", "train")]
)
def test_libraries_that_are_missing(refused, model, tmp_path, monkeypatch, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    says = [library, f"pip install 'minattn[{extra}]'"]
    refused("embed", model, "a", "--attention", "e.png", says=says, folder=tmp_path)
