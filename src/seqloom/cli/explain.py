"""The verb explain: its options, and which picture they ask for."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import BeamSize, Device, Engine, Quiet, RunFolder, SetDecoding, Threads


def explain(
    run: RunFolder,
    text: Annotated[str, typer.Argument(metavar="INPUT", help="One input.")],
    features: Annotated[str | None, typer.Option("--features", metavar="TEXT", help=(
        "The features, for runs that read them, as in V;PST."))] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help=(
        "Picture to write: .svg, .png, .html, .json or .npz; drawn in the terminal when not given."))] = None,
    steps: Annotated[bool, typer.Option("--steps", help=(
        "Attention in four steps, with every number and its formula: .html or .json."))] = False,
    path: Annotated[bool, typer.Option("--path", help=(
        "The run unrolled with its real sizes, from text to answer: .html, .svg or .json."))] = False,
    alternatives: Annotated[str | None, typer.Option("--alternatives", "-k", metavar="K", help=(
        "Show the K best tokens of each step too."))] = None,
    beam_size: BeamSize = None,
    set_options: SetDecoding = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Draw what the model looked at while it answered one input, and how it came to its answer."""
    from seqloom.cli.explaining import Explanation, run_explanation

    run_explanation(Explanation(
        run=run, text=text, features=features, output=output,
        views=[name for name, asked in {"steps": steps, "path": path}.items() if asked],
        alternatives=alternatives, beam_size=beam_size, set_options=set_options or [], engine=engine, device=device,
        threads=threads, quiet=quiet))
