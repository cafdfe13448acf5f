"""The command line: `minattn train`, `evaluate`, `predict`, `generate`, `embed`, `list`, `summary`.

Whatever is wrong with what the user gave is one line `error: ...` on standard error, and the exit status is not 0.
"""

import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from minattn import __version__, keep_freed_memory
from minattn.cli import embed, listing, runs, summary, train
from minattn.cli.app import FAILED, app, console, errors
from minattn.errors import MinattnError

# Each of these enters its commands into the application.
__all__ = ["embed", "listing", "run", "runs", "summary", "train"]


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        console.print(f"minattn {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        console.print(context.get_help())
        raise typer.Exit


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit; what the user can put right becomes one line and an exit status above 0."""
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a phoneme shows its code
    try:
        status = app(arguments, standalone_mode=False)
    except MinattnError as error:
        status = _told(str(error))
    except typer.TyperException as error:
        status = _told(f"{error.format_message().rstrip('.')}; see minattn COMMAND --help", error.exit_code)
    except MemoryError as error:
        status = _told(f"the memory is too small ({error}); hint: a smaller model or smaller batches")
    except OSError as error:
        status = _told(f"{error.strerror}: {error.filename or 'the output'}")
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk or a closed pipe; Python would try again when it ends, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or _told(f"{error.strerror}: the output")
    sys.exit(status)


def _told(message: str, status: int = FAILED) -> int:
    errors.print(f"error: {' '.join(message.split())}")
    return status
