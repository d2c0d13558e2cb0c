"""The question before what cannot be taken back, or what goes out to many."""

import sys

import typer

from holdfast.commands.session import USAGE


def sure(do: str, *, yes: bool, json: bool) -> None:
    """Ask whether to `do` it, such as "replay 12 events"; exit 1 if not.

    A program, or a terminal that is none, cannot be asked: without --yes that is exit 2, and nothing is done.
    """
    if yes:
        return
    if json or not sys.stdin.isatty():
        typer.echo(f"holdfast: add --yes to {do}", err=True)
        raise typer.Exit(USAGE)
    typer.confirm(f"{do[0].upper()}{do[1:]}?", abort=True, err=True)
