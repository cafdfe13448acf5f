"""The application, its two consoles, its options and exit statuses."""

import errno
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleDimensions
from rich.text import Text
from typer.core import TyperGroup

from minattn.errors import visible
from minattn.tasks.config import unknown
from minattn.tasks.run_folder import has_started, is_finished
from minattn.training import BEST


class Commands(TyperGroup):
    """The commands in the order in which the help names them: training first, then those of runs, then the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        def place(name: str) -> tuple[bool, bool]:
            return name != "train", not isinstance(self.commands[name], TyperGroup)

        return sorted(super().list_commands(ctx), key=place)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args[0] not in self.commands:
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class SafeConsole(Console):
    """A console that no text can steer: file names, words of a damaged checkpoint, and the like come out as text."""

    @property
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        return ConsoleDimensions(max(width, NARROWEST), height)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> None:
        """Raise the error on, which the command line ends by."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


NARROWEST = 20  # characters of a line, also where COLUMNS or the terminal say less

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Attention, readable, tested and fast: train the classic papers' models and look at what they attend to.",
)
plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}  # paths and words as they are
console = SafeConsole(**plain, soft_wrap=True)
errors = SafeConsole(**plain, soft_wrap=True, stderr=True)

# Exit statuses; the last two are those of a program that Ctrl-C, or nobody reading what it writes, has ended.
FAILED, INTERRUPTED, UNREAD = 1, 130, 141


def option(text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    """An option with its help, which names a default that is not obvious."""
    return typer.Option(*names, help=text, metavar=metavar, show_default=False, **more)


Device = Annotated[str, option("cpu, cuda or cuda:N.  [default: cpu]", metavar="DEVICE")]


def note_unfinished(run: Path) -> None:
    """Say so, on standard error, where the run was not trained to its end."""
    if (run / BEST).exists() and not is_finished(run):
        errors.print("note: this run is not finished; this is its best model so far")
    elif has_started(run) and not is_finished(run):
        errors.print("note: this run is not finished, and no model of it was evaluated yet; this is its last one")
