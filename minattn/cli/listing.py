"""`minattn list`: every mechanism, its paper, its equation, and where it is in the code."""

from rich.table import Table

from minattn.catalogue import MECHANISMS
from minattn.cli.app import app, console


@app.command("list")
def list_mechanisms() -> None:
    """List every mechanism: its paper, its equation, and where it is in the code."""
    for mechanism in MECHANISMS:
        table = Table(title=mechanism.name, title_justify="left", show_header=False, box=None, title_style="bold")
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for field in ("paper", "equation", "code", "model", "recipe"):
            table.add_row(field, getattr(mechanism, field))
        console.print(table, soft_wrap=False)
        console.print()
