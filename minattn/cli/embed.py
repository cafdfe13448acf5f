"""`minattn embed`: what a published BERT makes of texts, and where its heads look."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from minattn.cli.app import Device, app, console, errors, option
from minattn.errors import ConfigError
from minattn.tasks.embedding import (
    Embedder,
    check_layer_and_head,
    check_output_path,
    check_text,
    cosines,
    draw_attention,
    read_texts,
    save_embeddings,
    shortened,
)
from minattn.training.progress import patient_progress

SHOWN_TEXTS, SHOWN_NUMBERS, SHOWN_LETTERS = 10, 4, 80  # of the tables

ModelFolder = Annotated[
    Path,
    typer.Argument(metavar="MODEL_DIR", help="A folder with config.json, model.safetensors and tokenizer.json."),
]
Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT...", help="Texts to embed.")]
File = Annotated[Path | None, option("Texts to embed, one a line.", metavar="FILE")]
Out = Annotated[Path | None, option("Save the embeddings: FILE.npy, or FILE.npz with the texts.", metavar="FILE")]
AttentionPlot = Annotated[
    Path | None, option("Draw where every head looks in the first text: FILE.png, .svg or .pdf.", metavar="FILE")
]
Layer = Annotated[int | None, option("Draw this layer's heads, from 1 on, as lines between words.", metavar="N")]
Head = Annotated[int | None, option("Draw this head of the layer alone, from 1 on.", metavar="N")]
Truncate = Annotated[bool, option("Cut texts that are longer than the model's positions.", "--truncate")]


@app.command()
def embed(
    model: ModelFolder,
    texts: Texts = None,
    file: File = None,
    out: Out = None,
    attention: AttentionPlot = None,
    layer: Layer = None,
    head: Head = None,
    device: Device = "cpu",
    truncate: Truncate = False,
) -> None:
    """Embed texts with a published BERT, compare them, and show where its heads look."""
    from minattn.models.sequence.bert import BertConfig
    from minattn.viz.saving import check_figure_path

    if bool(texts) == bool(file):
        raise ConfigError(
            "there must be texts to embed, or a --file of them, and not both; hint: minattn embed MODEL_DIR 'a text'"
        )
    if attention is None and (layer is not None or head is not None):
        raise ConfigError("--layer and --head choose what is drawn; hint: give --attention FILE.png too")
    if out is not None:
        check_output_path(out)
    if attention is not None:
        check_figure_path(attention)
        check_layer_and_head(BertConfig.read(model), layer, head)
    given = texts or read_texts(file)
    for number, text in enumerate(given, start=1):
        check_text(text, number)
    embedder = Embedder.load(model, device, truncate=truncate)
    with patient_progress() as progress:

        def on_progress(done: int, total: int) -> None:
            progress.advance(done / total)
            progress.report(f"embedding the texts: {done:,} of {total:,}")

        embeddings = embedder.embed(given, on_progress=on_progress)
    _show(given, embeddings)
    if out is not None:
        save_embeddings(out, given, embeddings)
        console.print(f"embeddings {embeddings.shape} saved as {out}")
    if attention is not None:
        missing = draw_attention(embedder.attention(given[0]), attention, given[0], layer, head)
        console.print(f"attention drawn into {attention}")
        if missing:
            boxes = shortened(" ".join(missing), SHOWN_LETTERS)
            errors.print(f"note: the figures' font has no {boxes}; there are boxes in their place")
    if embedder.unused:
        errors.print(f"note: the model's file also has {', '.join(embedder.unused)}; the encoder has no use for them")


def _show(texts: list[str], embeddings: np.ndarray) -> None:
    """A table of the first texts: the first numbers of each embedding, and the cosines of every two."""
    shown = min(len(texts), SHOWN_TEXTS)
    similar = cosines(embeddings[:shown])
    size = embeddings.shape[1]
    table = Table(box=None, pad_edge=False)
    for heading, style in (("", "dim"), ("text", None), (f"first of {size} numbers", None)):
        table.add_column(heading, style=style, overflow="fold")
    for i, text in enumerate(texts[:shown]):
        table.add_row(
            str(i + 1),
            shortened(text, SHOWN_LETTERS),
            " ".join(f"{number:+.3f}" for number in embeddings[i, :SHOWN_NUMBERS]),
        )
    console.print("embeddings", style="italic")  # a table's own title would be wrapped where the table is narrow
    console.print(table, soft_wrap=False)
    if len(texts) > shown:
        console.print(f"and {len(texts) - shown:,} more")
    if shown > 1:
        table = Table(box=None, pad_edge=False)
        table.add_column("", style="dim")
        for i in range(shown):
            table.add_column(str(i + 1), justify="right")
        for i, row in enumerate(similar):
            table.add_row(str(i + 1), *(f"{cosine:.2f}" for cosine in row))
        console.print("\ncosine similarities", style="italic")
        console.print(table, soft_wrap=False)
