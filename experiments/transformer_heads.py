"""The attention of every head of a trained Transformer as it pronounces a word, after Figures 3 to 5 of the paper.

    minattn train g2p --set model=transformer --out runs/transformer
    python experiments/transformer_heads.py runs/transformer attention

A. Vaswani et al., "Attention is all you need", NIPS 2017, draw self-attention as lines from a word to those it takes
from.  Here the letters of a word stand for the words of a sentence, and there are figures of all three kinds of
attention: of the encoder over the letters, of the decoder over the phonemes before, and across, from each phoneme to
the letters.  For each kind, KIND.png has every layer and head as a heat map, and KIND-layer-N.png the heads of one
layer as lines.

A row of the decoder is named by the phoneme that it predicts, so it attends to those before.
"""

import argparse
from pathlib import Path

from shared import run

from minattn.autograd import no_grad, ops
from minattn.errors import ConfigError
from minattn.tasks import driver
from minattn.tasks.run_folder import check_writable
from minattn.viz import attention_heads, attention_lines, save_figure

KINDS = {
    "encoder": "self-attention of the encoder: from letter to letter",
    "decoder": "self-attention of the decoder: from phoneme to the phonemes before",
    "across": "attention across: from phoneme to letter",
}

PATHS = {
    "encoder": "encoder.{}.self_attention",
    "decoder": "decoder.{}.self_attention",
    "across": "decoder.{}.cross_attention",
}


def main() -> None:
    """Draw the attention of every head and layer for one word."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of `minattn train g2p --set model=transformer`")
    parser.add_argument("word")
    parser.add_argument("--out", type=Path, help="folder for the figures  [default: RUN/heads/WORD]")
    arguments = parser.parse_args()

    pronouncer = driver.load(arguments.run, task="g2p")
    if pronouncer.config.model != "transformer":
        raise ConfigError(f"{arguments.run} is a run of {pronouncer.config.model}; hint: one of model=transformer")
    folder = arguments.out or folder_of(arguments.run, arguments.word.lower())
    check_writable(folder)

    prediction = pronouncer.pronounce([arguments.word], pronouncer.config.beam)[0]
    print(f"{prediction.word}  {' '.join(prediction.phonemes)}")
    letters, phonemes = list(prediction.word), prediction.phonemes
    names = {
        "encoder": (letters, letters),
        "decoder": ([*phonemes, "[EOS]"], ["[BOS]", *phonemes]),
        "across": ([*phonemes, "[EOS]"], letters),
    }
    weights = attention_of(pronouncer, prediction.word, phonemes)
    figures = {}
    for kind, title in KINDS.items():
        queries, keys = names[kind]
        figures[f"{kind}.png"] = attention_heads(weights[kind], queries, keys, title)
        for number, layer in enumerate(weights[kind], start=1):
            lines = attention_lines(layer, queries, keys, f"{title}, layer {number}")
            figures[f"{kind}-layer-{number}.png"] = lines
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        save_figure(figure, folder / name)
    print(f"figures in {folder}: {', '.join(f'{kind}.png' for kind in KINDS)}, and of each layer KIND-layer-N.png")


def folder_of(run: Path, word: str) -> Path:
    """RUN/heads/WORD.  Raises ConfigError for a word that would lead to another place."""
    if Path(word).name != word or word == "..":
        raise ConfigError(f"no folder can be called {word!r}; hint: name one by --out")
    return run / "heads" / word


@no_grad()
def attention_of(pronouncer, word, phonemes):
    """By kind, the weights (layers, heads, queries, keys) of a word and its phonemes."""
    pronouncer.model.eval()
    source = pronouncer.letters.encode(word)[None]
    previous = pronouncer.phonemes.encode(phonemes, bos=True)[None]
    _, attention = pronouncer.model(source, previous, return_attention=True)
    layers = range(pronouncer.config.network.layers)
    return {kind: ops.concat([attention[path.format(i)] for i in layers], axis=0).data for kind, path in PATHS.items()}


if __name__ == "__main__":
    run(main)
