"""The verb explain: its options, and which picture they ask for."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import BeamSize, Device, Engine, Language, Quiet, RunFolder, SetDecoding, Threads


def explain(
    run: RunFolder,
    text: Annotated[str | None, typer.Argument(metavar="INPUT", help="One input; not for --history.")] = None,
    features: Annotated[str | None, typer.Option("--features", metavar="TEXT", help=(
        "The features, for runs that read them, as in V;PST."))] = None,
    language: Language = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help=(
        "Picture to write: .svg, .png, .html, .json or .npz; drawn in the terminal when not given."))] = None,
    steps: Annotated[bool, typer.Option("--steps", help=(
        "Attention in four steps, with every number and its formula: .html or .json."))] = False,
    path: Annotated[bool, typer.Option("--path", help=(
        "The run unrolled with its real sizes, from text to answer: .html, .svg or .json."))] = False,
    gates: Annotated[bool, typer.Option("--gates", help=(
        "Gates and states of every cell at each token: .html or .json."))] = False,
    gradients: Annotated[bool, typer.Option("--gradients", help=(
        "With --gates: how far gradients reach, by distance; needs torch."))] = False,
    beside: Annotated[list[str] | None, typer.Option("--with", metavar="RUN", help=(
        "With --gates: a further run beside the first; may be repeated."))] = None,
    force: Annotated[list[str] | None, typer.Option("--force", metavar="T=TOKEN", help=(
        "What if output token T (from 1) had been TOKEN: .html or .json; may be repeated."))] = None,
    gold: Annotated[str | None, typer.Option("--gold", metavar="TEXT", help=(
        "What if the decoder read the right answer before each token, as in training: .html or .json."))] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help=(
        "What if the source were read the other way round: .html or .json."))] = False,
    edit: Annotated[list[str] | None, typer.Option("--edit", metavar="T:S=WEIGHT", help=(
        "What if output token T (from 1) had this attention weight on source token S: .html or .json; may be "
        "repeated."))] = None,
    history: Annotated[bool, typer.Option("--history", help=(
        "One validation example over the whole training: .html or .json."))] = False,
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

    asked = {"steps": steps, "path": path, "gates": gates, "what_if": force or gold is not None or reverse or edit,
             "history": history}
    run_explanation(Explanation(
        run=run, text=text or "", features=features, language=language, output=output,
        views=[name for name, on in asked.items() if on], has_input=text is not None, gradients=gradients,
        beside=beside or [], force=force or [], gold=gold, reverse=reverse, edit=edit or [],
        alternatives=alternatives, beam_size=beam_size, set_options=set_options or [], engine=engine, device=device,
        threads=threads, quiet=quiet))
