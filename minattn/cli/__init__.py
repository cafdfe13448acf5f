"""The command line: `minattn train`, `evaluate`, `predict`, `generate`, `embed`, `list`, `summary`.

Whatever is wrong with what the user gave is one line `error: ...` on standard error, and the exit status is not 0.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

from minattn import __version__, keep_freed_memory
from minattn.autograd.memory import refuse_more_memory
from minattn.cli import embed, listing, runs, summary, train
from minattn.cli.app import FAILED, UNREAD, app, console, errors
from minattn.errors import ConfigError, MinattnError

# Each of these enters its commands into the application.
__all__ = ["embed", "listing", "run", "runs", "summary", "train"]

LONGEST, LONGEST_OF_SETTINGS = 900, 280  # characters of an error; what is left out is in its middle


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
    os.environ["MPLBACKEND"] = "agg"  # figures are files, whatever it said
    with warnings.catch_warnings(record=True) as slips:
        warnings.simplefilter("always")
        keep_freed_memory()
    refuse_more_memory()
    _prepare_streams()
    status: Any = FAILED
    try:
        for slip in slips:  # in an environment variable
            errors.print(f"note: {slip.message}")
            warnings.filterwarnings("ignore", re.escape(str(slip.message)))  # told once
        status = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        status = UNREAD
    except SystemExit as end:  # in which typer turns a broken pipe
        status = UNREAD if isinstance(end.__context__, BrokenPipeError) else end.code
    except Exception as error:
        status = _told(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python would try again when it ends, and complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


def _prepare_streams() -> None:
    """Where a stream was closed, nothing is read or shown; a terminal that cannot show a phoneme shows its code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for as long as the process lives)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _told(error: Exception) -> int:
    """Tell an error in one line, and return the exit status; raise it again where it is none that is foreseen."""
    status, longest = FAILED, LONGEST
    match error:
        case MinattnError():
            message = str(error)
            longest = LONGEST_OF_SETTINGS if isinstance(error, ConfigError) else LONGEST
        case typer.TyperException():
            message = f"{error.format_message().rstrip('.')}; see minattn COMMAND --help"
            status, longest = error.exit_code, LONGEST_OF_SETTINGS
        case MemoryError():
            message = f"the memory is too small ({error}); hint: a smaller model or smaller batches"
        case OSError():
            message = f"{error.strerror or error}: {error.filename or 'the output'}"
        case _:
            raise error
    message = " ".join(message.split())
    if len(message) > longest:
        message = f"{message[: 2 * longest // 3]} .. {message[-longest // 3 + 4 :]}"
    with contextlib.suppress(BrokenPipeError):
        errors.print(f"error: {message}")
    return status
