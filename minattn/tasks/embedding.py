"""Sentence embeddings: a vector for each text, near those of texts that mean nearly the same.

N. Reimers and I. Gurevych, "Sentence-BERT: sentence embeddings using siamese BERT-networks", EMNLP 2019, section 3:
the embedding is the mean of the states of all word pieces, [CLS] and [SEP] among them (the paper's MEAN strategy), and
texts are compared by the cosine of their embeddings.  Published models say in modules.json whether the embedding is
then brought to length 1.

Deviations from the paper: other ways of pooling are refused.  Texts are read up to the model's positions, and a longer
one is refused unless it is to be cut; some published programs cut sooner, without a word (`max_seq_length`).
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from minattn.autograd import Array, asnumpy, check_device, no_grad, xp
from minattn.autograd.backend import like
from minattn.data import read_text, source_batches
from minattn.errors import CheckpointError, ConfigError, DataError, MissingDependencyError
from minattn.kinds import shown
from minattn.models.sequence.bert import CONFIG, Bert, BertConfig, read_json
from minattn.tasks.task import OnProgress, ignore_progress
from minattn.tasks.threads import blas_threads
from minattn.viz import attention_heads, attention_lines, save_figure
from minattn.viz.saving import check_file_place, write_atomically
from minattn.viz.style import missing_glyphs
from minattn.whole_files import check_regular

TOKENIZER, MODULES = "tokenizer.json", "modules.json"  # beside the model's files; the second need not be there
SHOWN, TITLE = 40, 80  # characters of a text in a message, and over a figure


class Pieces(NamedTuple):
    """A text as the model reads it."""

    ids: np.ndarray  # (n,)
    pieces: list[str]  # [CLS] and [SEP] at the ends


class Attention(NamedTuple):
    """The attention of every head of every layer in one text."""

    weights: np.ndarray  # (layers, heads, n, n): row i is what piece i looks at
    pieces: list[str]


@dataclass(frozen=True)
class Embedder:
    """A BERT with its word pieces and its way of pooling."""

    model: Bert
    tokenizer: Any  # tokenizers.Tokenizer
    normalize: bool = True
    unused: Sequence[str] = ()
    """Names of weights in the model's file that the encoder has no use for."""

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu", dtype: Any = np.float32, truncate: bool = False) -> Self:
        """The model in a folder with config.json, model.safetensors and tokenizer.json, and perhaps modules.json.

        truncate: a text longer than the positions is cut at its end; otherwise it is refused.
        Raises CheckpointError where one of them is missing or damaged, ConfigError for an architecture or a pooling
        that is not supported, MissingDependencyError without tokenizers or safetensors.
        """
        check_device(device)
        folder = Path(folder)
        config = BertConfig.read(folder)
        normalize = read_pooling(folder)
        tokenizer = _read_tokenizer(folder / TOKENIZER)
        pieces = tokenizer.get_vocab_size()
        if pieces > config.vocab_size:
            raise ConfigError(
                f"{folder / TOKENIZER} has {pieces} word pieces, and {CONFIG} beside it says {config.vocab_size}; "
                "hint: the two files of the same model"
            )
        if truncate:
            tokenizer.enable_truncation(config.positions)
        model, unused = Bert.load(folder, dtype)
        return cls(model.eval().to(device), tokenizer, normalize, unused)

    def read(self, text: str, number: int = 1) -> Pieces:
        """A text in word pieces.

        Raises DataError, with the text's number, where it is empty or longer than the positions, and CheckpointError
        where the tokenizer is damaged.
        """
        check_text(text, number)
        with _told("the tokenizer"):
            encoding = self.tokenizer.encode(text)
        if max(encoding.ids, default=0) >= self.model.config.vocab_size:
            raise CheckpointError(
                f"the tokenizer has a piece {max(encoding.ids)}, and the model's are from 0 to "
                f"{self.model.config.vocab_size - 1}; hint: the two files of the same model"
            )
        positions = self.model.config.positions
        if len(encoding.ids) > positions:
            raise DataError(
                f"text {number} is longer than the positions: {shortened(text, SHOWN)!r} has {len(encoding.ids)} word "
                f"pieces, the model reads {positions}; hint: a shorter text, or --truncate to leave its end out"
            )
        return Pieces(np.array(encoding.ids, np.int64), encoding.tokens)

    @blas_threads()
    @no_grad()
    def embed(
        self, texts: Sequence[str], batch_size: int = 16, on_progress: OnProgress = ignore_progress
    ) -> np.ndarray:
        """The embeddings (texts, d_model), in the order of the texts; those of similar length go together.

        Raises DataError for no text at all, and for one that cannot be read, CheckpointError where the model's weights
        give no numbers.
        """
        if not texts:
            raise DataError("there is no text to embed; hint: give at least one")
        embeddings: dict[int, np.ndarray] = {}
        pieces = [self.read(text, number).ids for number, text in enumerate(texts, start=1)]
        for ids, mask, indices in source_batches(pieces, batch_size):
            with np.errstate(all="ignore"):  # the answer is looked at instead
                states = self.model(ids, mask if not mask.all() else None)
                pooled = asnumpy(mean_pooling(states.data, mask))
                vectors = unit(pooled) if self.normalize else pooled
            if not np.isfinite(vectors).all():
                raise CheckpointError("the embeddings are not finite; hint: the model's file as it was published")
            embeddings |= zip(indices.tolist(), vectors, strict=True)
            on_progress(len(embeddings), len(texts))
        return np.stack([embeddings[index] for index in range(len(texts))])

    @blas_threads()
    @no_grad()
    def attention(self, text: str) -> Attention:
        """Return the attention of every head of every layer in a text.  Raises DataError where it cannot be read."""
        ids, pieces = self.read(text)
        _, attention = self.model(ids[None], return_attention=True)
        return Attention(np.stack([asnumpy(weights.data)[0] for weights in attention.values()]), pieces)


def shortened(text: str, length: int) -> str:
    """The text, or its beginning and two dots."""
    return text if len(text) <= length else f"{text[:length]}.."


def draw_attention(
    attention: Attention, path: Path, text: str, layer: int | None = None, head: int | None = None
) -> str:
    """Every head of every layer as a heat map; or, counted from 1, the heads of one layer, or one head, as lines.

    Returns the characters that the figures' font has not, which are drawn as boxes.
    """
    weights, pieces = attention
    title = shortened(" ".join(text.split()), TITLE)
    if layer is None:
        figure = attention_heads(weights, pieces, pieces, title)
    else:
        heads = range(1, weights.shape[1] + 1) if head is None else [head]
        chosen = weights[layer - 1, [number - 1 for number in heads]]
        names = [str(number) for number in heads]
        figure = attention_lines(chosen, pieces, pieces, f"layer {layer}: {title}", names)
    save_figure(figure, path)
    return missing_glyphs("".join([title, *pieces]))


def check_text(text: str, number: int) -> None:
    """Raise DataError where a text is empty or no text; number: which one it is, from 1 on."""
    if not text.strip():
        raise DataError(f"text {number} is empty: {text!r}; hint: give at least one word")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"text {number}, {shown(text)}, is not UTF-8; hint: characters, or a --file of them") from error


def check_layer_and_head(config: BertConfig, layer: int | None, head: int | None) -> None:
    """Raise ConfigError unless the model has them; they are counted from 1."""
    if head is not None and layer is None:
        raise ConfigError("--head chooses one of a layer's heads; hint: give --layer too")
    for what, number, count in (("layer", layer, config.layers), ("head", head, config.heads)):
        if number is not None and not 1 <= number <= count:
            raise ConfigError(f"there is no {what} {number}; the model has {what}s 1 to {count}")


# ---------------------------------------------------------------------------------------------- files
def read_texts(path: Path) -> list[str]:
    """The lines of a file.  Raises DataError where it cannot be read, has no text, or an empty line."""
    content = read_text(path)
    if not content:
        raise DataError(f"{path} holds no text; hint: one text a line")
    lines = content.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DataError(f"{path}, line {number}, is empty; hint: leave it out, so that each line is a text")
    return lines


def check_output_path(path: Path) -> None:
    """Raise what `save_embeddings` would raise for this path, before the work."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise ConfigError(f"cannot save embeddings as {path.name!r}: its name must end in .npy or .npz")
    check_file_place(path)


def save_embeddings(path: Path, texts: Sequence[str], embeddings: np.ndarray) -> None:
    """Write embeddings as .npy, or, with their texts, as .npz: "embeddings" (texts, d_model) and "texts".

    The file is whole or as it was.  Raises ConfigError for another suffix and for a place where there can be no such
    file, MinattnError where the file cannot be written whole.
    """
    check_output_path(path)
    content = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(content, embeddings)
    else:
        np.savez(content, embeddings=embeddings, texts=np.array(texts))
    write_atomically(path, content.getvalue())


# ---------------------------------------------------------------------------------------------- pooling
def mean_pooling(states: Array, mask: np.ndarray) -> Array:
    """The mean (batch, d) of the states (batch, n, d) where the mask (batch, n) is True."""
    real = like(mask, states).astype(states.dtype)[:, :, None]
    return (states * real).sum(1) / real.sum(1)


def unit(vectors: Array) -> Array:
    """Each vector (.., d) brought to length 1; one that is zero stays so."""
    module = xp(vectors)
    return vectors / module.maximum(module.sqrt((vectors * vectors).sum(-1, keepdims=True)), 1e-12)


def cosines(embeddings: Array) -> Array:
    """The cosine of every two embeddings, (texts, texts)."""
    units = unit(embeddings)
    return units @ units.T


def read_pooling(folder: Path) -> bool:
    """True where a model's embeddings are brought to length 1 after the mean, as they are without modules.json.

    Raises ConfigError for a model that pools in another way, or has further layers after it.
    """
    path = folder / MODULES
    if not path.exists():
        return True
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(m, dict) and {"type", "path"} <= m.keys() for m in modules):
        raise CheckpointError(f"{path} is damaged: it is no list of modules; hint: restore the file")
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ConfigError(
            f"{path} asks for {', '.join(kinds) or 'nothing'}; supported is Transformer, Pooling, perhaps Normalize; "
            "hint: another model"
        )
    pooling = folder / str(modules[1]["path"]) / CONFIG
    content = read_json(pooling)
    prefix = "pooling_mode_"
    flags = content.items() if isinstance(content, dict) else ()
    modes = [key.removeprefix(prefix) for key, on in flags if key.startswith(prefix) and on]
    if modes != ["mean_tokens"]:
        raise ConfigError(
            f"{pooling} asks for pooling by {' and '.join(modes) or 'nothing that is known'}; supported is the mean, "
            f"{prefix}mean_tokens; hint: another model"
        )
    return kinds[-1] == "Normalize"


def _read_tokenizer(path: Path) -> Any:
    """The word pieces of a model, without the padding and the cutting that its file may ask for."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "word pieces need tokenizers, which is not installed: pip install 'minattn[embed]'"
        ) from error
    if not path.exists():
        raise CheckpointError(f"there are no word pieces {path}; hint: the folder of a published model")
    try:
        check_regular(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; hint: restore the file") from error
    with _told(str(path)):
        tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Raise CheckpointError where the library `tokenizers` fails, which raises no class of its own, or panics."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(f"{name} is damaged ({' '.join(str(error).split())}); hint: restore the file") from error
