"""`flowatlas`: the commands, and how errors and interrupts leave the process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from flowatlas.cli.console import people
from flowatlas.errors import FlowatlasError


def _print_version(wanted: bool) -> None:
    if wanted:
        from flowatlas import __version__

        typer.echo(f"flowatlas {__version__}")
        raise typer.Exit


def main(
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done to stderr.")] = False,
) -> None:
    """Full flow graphs of transformer forward passes, for whole data sets, in a graph database."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def create_app() -> typer.Typer:
    """The application with all its commands."""
    from flowatlas.cli import register

    app = typer.Typer(
        name="flowatlas",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(main)
    register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""
    try:
        create_app()(args=arguments)
    except FlowatlasError as error:
        people.print(f"[bold red]error:[/] {_escaped(error)}", overflow="ignore", crop=False)  # a path stays in one piece
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        people.print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`flowatlas query ... | head`): that is no failure.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _escaped(error: FlowatlasError) -> str:
    from rich.markup import escape

    return escape(str(error))
