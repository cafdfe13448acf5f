"""`minattn` and `python -m minattn`: starts the command line, or says what is missing for it."""

import importlib
import sys

LIBRARIES = ("rich", "typer")
INTERRUPTED = 130  # the exit status of a program that Ctrl-C has ended


def main() -> None:
    """Run the command line.  Its libraries are an extra, so their absence is told in one line."""
    try:
        _check_libraries()
        from minattn.cli import run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _check_libraries() -> None:
    try:
        for library in LIBRARIES:
            importlib.import_module(library)
    except ImportError as error:
        print(
            f"error: the command line needs {error.name}, which is not installed: pip install 'minattn[train]'",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
