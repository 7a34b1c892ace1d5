"""Verbs that answer inputs: predict (translate), score, encode."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import BeamSize, Device, Engine, Ensemble, Output, RunFolder, Set, Threads

Inputs = Annotated[str | None, typer.Argument(metavar="FILE", help="Inputs, one a line, or a table with the run's "
                                                                     "source columns; standard input when not given.")]
Reading = Annotated[str | None, typer.Option("--input-format", help="tsv, csv, jsonl or conllu; by the file's name.")]


def predict(
    run: RunFolder,
    file: Inputs = None,
    output: Output = None,
    format_name: Annotated[str, typer.Option("--format", "-f", help="text, tsv or jsonl.")] = "text",
    input_format: Reading = None,
    beam_size: BeamSize = None,
    n_best: Annotated[int | None, typer.Option("--n-best", help="Answers for each input; needs tsv or jsonl.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Text that every answer begins with.")] = None,
    attention: Annotated[bool, typer.Option("--attention", help="jsonl: the attention weights too.")] = False,
    alternatives: Annotated[int, typer.Option("--alternatives", min=0, help="jsonl: the K best tokens of each "
                                                                            "step.")] = 0,
    set_options: Set = None,
    ensemble: Ensemble = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Answer inputs, one line for each, in their order. At a terminal without a file: a dialogue."""
    from seqloom.cli.prediction import Request, run_prediction

    return run_prediction(Request(
        runs=[run, *(ensemble or [])], file=file, output=output, format=format_name, input_format=input_format,
        changes={"beam_size": beam_size, "n_best": n_best}, set_options=set_options or [], prefix=prefix,
        attention=attention, alternatives=alternatives, engine=engine, device=device, threads=threads))


def score(
    run: RunFolder,
    file: Inputs = None,
    output: Output = None,
    input_format: Reading = None,
    ensemble: Ensemble = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> int:
    """Log-probability of given targets: a line in has source and target, a line out has score and tokens."""
    from seqloom.cli.prediction import run_scoring

    return run_scoring([run, *(ensemble or [])], file, output, input_format, engine, device, threads)


def encode(
    run: RunFolder,
    output: Annotated[str, typer.Option("--output", "-o", help="The .npz to write.")],
    file: Inputs = None,
    input_format: Reading = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Summary vector, states and mask of each input, into an .npz: summary, states.0, states.1, …"""
    from seqloom.cli.prediction import run_encoding

    run_encoding(run, file, output, input_format, device, threads)
