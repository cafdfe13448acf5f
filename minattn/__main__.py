"""`minattn` and `python -m minattn`: starts the command line, or says what is missing for it."""

import sys


def main() -> None:
    """Run the command line.  Its libraries are an extra, so their absence is told in one line."""
    try:
        import rich
        import typer
    except ImportError as error:
        print(
            f"error: the command line needs {error.name}, which is not installed: pip install 'minattn[train]'",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    del rich, typer
    from minattn.cli import run

    run()


if __name__ == "__main__":
    main()
