"""The verb that tries what the literature says: claims."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import Quiet


def claims(
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help=(
        "Try this claim; may be repeated. All of them when not given."))] = None,
    full: Annotated[str | None, typer.Option("--full", metavar="FILE", help=(
        "Try them on your own pairs, with larger models and for longer, in place of generated tasks."))] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help=(
        "Page to write, .md; its numbers stand beside it as .json, pictures in pictures/. Claims that are not tried "
        "keep the numbers they have there."))] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Print the names and the claims, and try none.")] = False,
    quiet: Quiet = False,
) -> None:
    """Try what the literature says of these models: each claim trains a few small ones, in less than a minute.

    A claim holds, does not hold, or depends, by a rule that stands with it.
    """
    from seqloom.cli.claiming import run_claims

    run_claims(only or [], full, out, json_output=json_output, listed=listed, quiet=quiet)
