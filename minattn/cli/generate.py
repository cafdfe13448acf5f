"""`minattn generate`: let a language model write."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from minattn.cli.app import Device, app, note_unfinished, option
from minattn.tasks.lm.character_model import CharacterModel
from minattn.tasks.threads import blas_threads

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `minattn train lm` made.")]
Prompt = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="What to go on from.  [default: that of the run's samples]")
]
Length = Annotated[int, option("Characters to write.  [default: 500]", min=0, metavar="N")]
Temperature = Annotated[
    float, option("Below 1 likely characters become likelier, above 1 less so.  [default: 0.7]", metavar="T")
]
TopK = Annotated[int | None, option("Choose among the K likeliest characters alone.", min=1, metavar="K")]
Seed = Annotated[int, option("Another seed, another text.  [default: 1]", min=0, metavar="S")]


@app.command()
def generate(
    run: RunFolder,
    prompt: Prompt = None,
    length: Length = 500,
    temperature: Temperature = 0.7,
    top_k: TopK = None,
    seed: Seed = 1,
    device: Device = "cpu",
) -> None:
    """Write on from a prompt, character by character, with a run's best language model."""
    model = CharacterModel.load(run, device)
    prompt = model.prompt if prompt is None else prompt
    written = model.write(prompt, length, temperature, top_k, seed)
    note_unfinished(run)
    sys.stdout.write(prompt)
    with blas_threads():
        for character in written:
            sys.stdout.write(character)
            sys.stdout.flush()
    sys.stdout.write("\n")
