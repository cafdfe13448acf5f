"""BERT, the Transformer's encoder pre-trained on text.

J. Devlin, M.-W. Chang, K. Lee and K. Toutanova, "BERT: pre-training of deep bidirectional transformers for language
understanding", NAACL 2019 (arXiv 2018), section 3 and its Figure 2, which print no equations; the layers are those of
A. Vaswani et al., "Attention is all you need", NIPS 2017:

    x_0 = LayerNorm(E[word] + P[position] + S[token type])      (a)  three learned embeddings
    a   = LayerNorm(x + MultiHead(x, x, x))                     (b)  every projection with a bias
    x'  = LayerNorm(a + gelu(a W_1 + b_1) W_2 + b_2)            (c)  L layers of (b) and (c); gelu is x Phi(x), exactly

L layers, hidden size H, A heads; W_1 is (H, 4H).  The layer norm of x_0 and its eps, 1e-12, are those of the authors'
code.

Deviations from the paper:
* there is no dropout: this is for inference with pretrained parameters, not for training; random parameters, for
  `Bert(config, rng)`, follow the layers' own initialization, not the paper's truncated normal distribution
* the pooler and the heads of the two pre-training tasks are left out; they would take the states returned here

Parameters are read under the names in published checkpoints (`embeddings.word_embeddings.weight`, ..), where a matrix
is (outputs, inputs) and here (inputs, outputs).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Inexact, Integer

from minattn.attention.self_attention import LearnedPositions
from minattn.autograd import Array, Tensor
from minattn.errors import CheckpointError, ConfigError, MissingDependencyError, ShapeError
from minattn.models.sequence.transformer_layers import EncoderLayer, LayerConfig, check_ids, keys_mask
from minattn.models.settings import check_sizes
from minattn.nn import Embedding, LayerNorm, Module, initializers
from minattn.nn.attention_paths import Attention, prefixed
from minattn.nn.initializers import Rng
from minattn.nn.state_files import BFLOAT16, load_state
from minattn.published import Network, Paper
from minattn.whole_files import read_at_most

CONFIG, WEIGHTS = "config.json", "model.safetensors"  # the files of a published model

# A key of config.json -> the field of BertConfig.
FIELDS = {
    "vocab_size": "vocab_size",
    "num_hidden_layers": "layers",
    "hidden_size": "d_model",
    "num_attention_heads": "heads",
    "intermediate_size": "d_ff",
    "max_position_embeddings": "positions",
    "type_vocab_size": "token_types",
    "layer_norm_eps": "layer_norm_eps",
}
# (required value, default; None: the key is required) of the keys of config.json on the architecture.
EXPECTED = {"model_type": ("bert", None), "hidden_act": ("gelu", None)}
EXPECTED |= {"position_embedding_type": ("absolute", "absolute"), "is_decoder": (False, False)}

LONGEST = 64 << 20  # bytes of a JSON file

FLOATS = ("F16", "BF16", "F32", "F64")  # safetensors' names of the dtypes that are read


@dataclass(frozen=True)
class BertConfig:
    """Sizes.  The defaults are those of BERT-base, uncased."""

    vocab_size: Annotated[int, "number of word pieces"] = 30_522
    layers: Annotated[int, "L: layers"] = 12
    d_model: Annotated[int, "H: size of the states"] = 768
    heads: Annotated[int, "A: attention heads"] = 12
    d_ff: Annotated[int, "4H: size of the hidden layer of the feed-forward networks"] = 3072
    positions: Annotated[int, "number of positions, the longest text"] = 512
    token_types: Annotated[int, "number of token types"] = 2
    layer_norm_eps: Annotated[float, "epsilon of layer norm"] = 1e-12

    def __post_init__(self) -> None:
        check_sizes(self, "vocab_size", "layers", "d_model", "heads", "d_ff", "positions", "token_types")
        if self.d_model % self.heads:
            raise ConfigError(f"d_model = {self.d_model} does not divide into {self.heads} heads")
        if not 0 <= self.layer_norm_eps < 1:
            raise ConfigError(f"layer_norm_eps must be a small number of at least 0, got {self.layer_norm_eps}")

    @classmethod
    def read(cls, folder: str | Path) -> "BertConfig":
        """Read the sizes from the config.json of a published model.

        Raises ConfigError for another architecture, and for keys that are missing or do not fit; CheckpointError where
        the file is missing or damaged.
        """
        folder = Path(folder)
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise CheckpointError(f"{folder} {what}; hint: the folder of a BERT, with its {CONFIG}")
        path = folder / CONFIG
        given = read_json(path)
        if not isinstance(given, dict):
            raise CheckpointError(f"{path} is damaged: it holds no JSON object; hint: restore the file")
        expected = {key: (wanted, given.get(key, default)) for key, (wanted, default) in EXPECTED.items()}
        other = [f"{key} is {found!r}, not {wanted!r}" for key, (wanted, found) in expected.items() if found != wanted]
        if other:
            raise ConfigError(f"{path} is of an architecture that is not BERT's: {'; '.join(other)}; hint: a BERT")
        missing = [key for key in FIELDS if key not in given]
        if missing:
            raise ConfigError(f"{path} lacks {', '.join(missing)}; hint: the file as it was published")
        kinds = {key: float if key == "layer_norm_eps" else int for key in FIELDS}
        wrong = [f"{key} is {given[key]!r}" for key, kind in kinds.items() if type(given[key]) is not kind]
        if wrong:
            raise ConfigError(f"{path}: {', '.join(wrong)}, expected a number; hint: the file as it was published")
        try:
            return cls(**{field: given[key] for key, field in FIELDS.items()})
        except ConfigError as error:
            names = ", ".join(f"{field} is {key}" for key, field in FIELDS.items() if key != field)
            raise ConfigError(f"{path}: {error} (here {names})") from error


CONFIGURATIONS = {
    "bert-base": BertConfig(),  # 108,891,648 parameters
    "bert-large": BertConfig(layers=24, d_model=1024, heads=16, d_ff=4096),  # 334,092,288
    "minilm-l6": BertConfig(layers=6, d_model=384, heads=12, d_ff=1536),  # 22,565,376; Wang et al. 2020
}
"""The published configurations."""


class Bert(Module):
    """The encoder.  `Bert.load(folder)` has the parameters of a published model, `Bert(config, rng)` random ones."""

    def __init__(self, config: BertConfig, rng: Rng) -> None:
        d, eps = config.d_model, config.layer_norm_eps
        self.config = config
        self.words = Embedding(config.vocab_size, d, rng, std=0.02)
        self.positions = LearnedPositions(config.positions, d, rng, std=0.02)
        self.token_types = Embedding(config.token_types, d, rng, std=0.02)
        self.norm = LayerNorm(d, eps)
        layer = LayerConfig.of(config, biases=True, activation="gelu")
        self.layers = [EncoderLayer(layer, rng) for _ in range(config.layers)]

    def forward(
        self,
        ids: Integer[Array, "batch n"],
        mask: Bool[Array, "batch n"] | None = None,
        token_types: Integer[Array, "batch n"] | None = None,
        return_attention: bool = False,
    ) -> Inexact[Tensor, "batch n d"] | tuple[Inexact[Tensor, "batch n d"], Attention]:
        """Return the states, the last layer's x; with return_attention=True (states, attention), the weights of every
        head under "layers.0.self_attention", and so on for each layer.

        mask: True = a word piece, False = padding, which nothing attends to; the states there have no meaning.
        token_types: 0 for the first text and 1 for the second; all 0 unless given.
        Raises ShapeError for a text longer than the positions, and for a mask or token types that do not fit the ids.
        """
        check_ids(ids)
        if token_types is not None and token_types.shape != ids.shape:
            raise ShapeError(f"token_types must have the shape of the ids, {ids.shape}; got {token_types.shape}")
        x = self.positions(self.words(ids))
        x = x + (self.token_types.weight[0] if token_types is None else self.token_types(token_types))
        x = self.norm(x)  # (a)
        mask, attention = keys_mask(mask, x), {}
        for i, layer in enumerate(self.layers):
            x, inner = layer(x, mask, need_weights=return_attention)  # (b) (c)
            attention |= prefixed(f"layers.{i}", inner)
        return (x, attention) if return_attention else x

    @classmethod
    def load(cls, folder: str | Path, dtype: Any = np.float32) -> "Loaded":
        """Load the model in a folder with config.json and model.safetensors; return it and the names that it ignores.

        Raises ConfigError as `BertConfig.read` does; CheckpointError where a file is missing or damaged, and, in one
        error that lists them all, where parameters are missing or of other shapes.
        """
        with initializers.unallocated():
            model = cls(BertConfig.read(folder), np.random.default_rng(0))
        path = Path(folder) / WEIGHTS
        safetensors = _safetensors()
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                unused = model._fill(file, path, dtype)
        except FileNotFoundError as error:
            raise CheckpointError(f"there are no weights {path}; hint: the folder of a published model") from error
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(
                f"the weights {path} cannot be read, they are cut off or something else ({error}); hint: fetch the "
                "file again"
            ) from error
        return Loaded(model, unused)

    def _fill(self, file: Any, path: Path, dtype: Any) -> list[str]:
        """Read every parameter from an open safetensors file; return the names in it that were not used."""
        there = {_canonical(name): name for name in file.keys()}  # noqa: SIM118
        parameters = {published_name(name): parameter for name, parameter in self.named_parameters().items()}
        wrong = [f"{name} is missing" for name in parameters if name not in there]
        for name, parameter in parameters.items():
            if name in there:
                found = file.get_slice(there[name])
                expected = parameter.shape[::-1] if _is_transposed(name) else parameter.shape
                if tuple(found.get_shape()) != expected:
                    wrong.append(f"{name} is {tuple(found.get_shape())}, expected {expected}")
                elif found.get_dtype() not in FLOATS:
                    wrong.append(f"{name} is of dtype {found.get_dtype()}, expected one of {', '.join(FLOATS)}")
        if wrong:
            raise CheckpointError(
                f"the weights {path} do not fit the sizes of {CONFIG} beside them: {'; '.join(wrong)}; hint: the "
                "two files of the same model"
            )
        kinds = {file.get_slice(there[name]).get_dtype() for name in parameters}
        halves = load_state(path) if BFLOAT16 in kinds else {}  # which NumPy has no dtype for
        for name, parameter in parameters.items():
            array = halves[there[name]] if there[name] in halves else file.get_tensor(there[name])
            parameter.replace_data(np.array(array.T if _is_transposed(name) else array, dtype, order="C"))
        return [name for published, name in there.items() if published not in parameters]


class Loaded(NamedTuple):
    """A model loaded from a folder."""

    model: Bert
    unused: list[str]
    """Names in the file that the encoder ignores: a pooler, the heads of pre-training tasks."""


# Our names -> the published ones, in a layer and outside of the layers.
LAYER_NAMES = {
    "self_attention.W_Q": "attention.self.query.weight",
    "self_attention.b_Q": "attention.self.query.bias",
    "self_attention.W_K": "attention.self.key.weight",
    "self_attention.b_K": "attention.self.key.bias",
    "self_attention.W_V": "attention.self.value.weight",
    "self_attention.b_V": "attention.self.value.bias",
    "self_attention.W_O": "attention.output.dense.weight",
    "self_attention.b_O": "attention.output.dense.bias",
    "norm_1.weight": "attention.output.LayerNorm.weight",
    "norm_1.bias": "attention.output.LayerNorm.bias",
    "feed_forward.W_1": "intermediate.dense.weight",
    "feed_forward.b_1": "intermediate.dense.bias",
    "feed_forward.W_2": "output.dense.weight",
    "feed_forward.b_2": "output.dense.bias",
    "norm_2.weight": "output.LayerNorm.weight",
    "norm_2.bias": "output.LayerNorm.bias",
}
MATRICES = (".query.weight", ".key.weight", ".value.weight", ".dense.weight")  # of linear maps
EMBEDDING_NAMES = {
    "words.weight": "embeddings.word_embeddings.weight",
    "positions.weight": "embeddings.position_embeddings.weight",
    "token_types.weight": "embeddings.token_type_embeddings.weight",
    "norm.weight": "embeddings.LayerNorm.weight",
    "norm.bias": "embeddings.LayerNorm.bias",
}


def published_name(name: str) -> str:
    """Return the name of a parameter of `Bert` in published checkpoints."""
    if not name.startswith("layers."):
        return EMBEDDING_NAMES[name]
    _, number, rest = name.split(".", 2)
    return f"encoder.layer.{number}.{LAYER_NAMES[rest]}"


def _canonical(name: str) -> str:
    """Return a name in a file without the prefix and the older names of some files."""
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _is_transposed(published: str) -> bool:
    """Tell whether it is the matrix of a linear map, (outputs, inputs) in published checkpoints."""
    return published.startswith("encoder.") and published.endswith(MATRICES)


def read_json(path: Path) -> Any:
    """Read a JSON file of a published model.  Raises CheckpointError where it is missing or damaged."""
    try:
        return json.loads(read_at_most(path, LONGEST))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"the folder {path.parent.absolute()} has no {path.name}; hint: the folder of a published model"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror}; hint: the folder of a published model"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is no JSON ({error}); hint: restore the file") from error


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise MissingDependencyError(
            "published weights need safetensors, which is not installed: pip install 'minattn[embed]'"
        ) from error
    return safetensors


NETWORK = Network(
    name="BERT, with published parameters",
    paper=Paper(
        "Devlin et al.",
        2019,
        "BERT: Pre-training of deep bidirectional transformers for language understanding",
    ),
    equation="x <- LayerNorm(x + MultiHead(x, x, x)); x <- LayerNorm(x + FFN(x))",
    code="Bert",
    command="minattn embed MODEL_DIR TEXT",
)
