"""`minattn summary`: a network layer by layer, with output shapes, parameters and multiply-accumulates."""

from typing import Annotated, Any

import numpy as np
import typer
from rich.measure import Measurement
from rich.table import Table

from minattn.cli.app import app, console, option
from minattn.errors import ConfigError, ShapeError, without_hint
from minattn.models import registry
from minattn.models.summary import Row, count_parameters, summarize
from minattn.nn import Module, initializers

LARGEST = 1_000_000  # number that an option takes: shapes of larger ones have no meaning, and NumPy refuses some
LONGEST = 1000  # characters of a line

Name = Annotated[str | None, typer.Argument(metavar="[NETWORK]", help="Its name.  [default: list all of them]")]
SE = Annotated[bool, option("With Squeeze-and-Excitation.", "--se")]
Classes = Annotated[
    int | None, option("Classes to tell apart.  [default: as published]", metavar="K", min=1, max=LARGEST)
]
Image = Annotated[
    str | None, option("Channels, height and width, as 3x32x32.  [default: as published]", metavar="CxHxW")
]
Depth = Annotated[
    int | None, option("Modules nested that deep are one line each.  [default: every layer]", metavar="N", min=0)
]


@app.command()
def summary(
    network: Name = None,
    se: SE = False,
    classes: Classes = None,
    image: Image = None,
    depth: Depth = None,
) -> None:
    """Show a network layer by layer: output shapes, parameters, multiply-accumulates.  Nothing is computed.

    Without a name it lists the networks that there are.
    """
    if network is None:
        if se or classes or image or depth is not None:
            raise ConfigError("--se, --classes, --image and --depth need a network; hint: minattn summary resnet20")
        console.print(_list())
        return
    given = _parsed(image) if image else None
    config = registry.configuration(network, se=se, classes=classes, channels=given and given[0])
    shape = given or (config.channels, config.size, config.size)
    model = _unallocated(network, se=se, classes=classes, channels=shape[0])
    rows = _rows(network, model, shape, depth)
    console.print(f"{network}{' with Squeeze-and-Excitation' if se else ''}, image {_by(shape)}\n")
    table = _layers(rows)
    if not console.is_terminal:  # a file or another program takes long lines
        table.width = Measurement.get(console, console.options.update(max_width=LONGEST), table).maximum
    console.print(table, soft_wrap=False, crop=False)
    console.print()
    console.print(_totals(model, rows))


def _rows(network: str, model: Module, shape: tuple[int, int, int], depth: int | None) -> list[Row]:
    try:
        return summarize(model, shape, depth)
    except ShapeError as error:
        config = registry.configuration(network)
        raise ConfigError(
            f"{network} does not take --image {_by(shape)}: {without_hint(error)}; "
            f"hint: {_by((config.channels, config.size, config.size))}, for which it was published"
        ) from error


def _layers(rows: list[Row]) -> Table:
    """A line a layer."""
    table = _table("layer", "kind", numbers=("output", "parameters", "MACs"))
    for row in rows:
        table.add_row(row.path, row.kind, _by(row.shape), _number(row.parameters), _number(row.macs))
    return table


def _totals(model: Module, rows: list[Row]) -> Table:
    """The parameters of the network by what they are, and its multiply-accumulates."""
    count = count_parameters(model)
    table = _table("total", numbers=("",))
    for name, value in (
        ("weights", count.weights),
        ("biases", count.biases),
        ("batch norm", count.batch_norm),
        ("parameters", count.total),
        ("MACs", sum(row.macs for row in rows)),
    ):
        table.add_row(name, f"{value:,}")
    return table


def _list() -> Table:
    """A line a network."""
    table = _table("network", numbers=("image", "parameters"))
    for name in registry.names():
        config = registry.configuration(name)
        image = _by((config.channels, config.size, config.size))
        table.add_row(name, image, _number(_unallocated(name).count_parameters()))
    return table


def _table(*words: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for word in words:
        table.add_column(word, overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _unallocated(name: str, **changes: Any) -> Module:
    with initializers.unallocated():
        return registry.build(name, np.random.default_rng(0), **changes)


def _parsed(text: str) -> tuple[int, int, int]:
    """The three numbers of "3x32x32"."""
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.isdecimal() and len(size) < 10 and 1 <= int(size) <= LARGEST for size in sizes):
        raise ConfigError(
            f"--image is CHANNELSxHEIGHTxWIDTH, each from 1 to {LARGEST:,}, got {text[:40]!r}; hint: for example "
            "3x32x32"
        )
    channels, height, width = map(int, sizes)
    return channels, height, width


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _number(value: int) -> str:
    return f"{value:,}" if value else ""
