"""`minattn list`: every mechanism and network, its paper, its equation, and where it is in the code."""

from rich.table import Table

from minattn.catalogue import Entry, entries
from minattn.cli.app import app, console
from minattn.published import Mechanism, Network


@app.command("list")
def list_everything() -> None:
    """List every mechanism and network: its paper, its equation, and where it is in the code."""
    for entry in (*entries(Mechanism), *entries(Network)):
        table = Table(title=entry.record.name, title_justify="left", show_header=False, box=None, title_style="bold")
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for name, text in fields(entry).items():
            table.add_row(name, text)
        console.print(table, soft_wrap=False)
        console.print()


def fields(entry: Entry) -> dict[str, str]:
    """The fields of an entry to show, empty ones left out."""
    record = entry.record
    model = record.model if isinstance(record, Mechanism) else ""
    shown = {
        "paper": entry.paper,
        "equation": record.equation,
        "code": entry.code,
        "model": model,
        "command": record.command,
        "experiment": record.experiment,
    }
    return {name: text for name, text in shown.items() if text}
