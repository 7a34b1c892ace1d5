"""Verbs that answer inputs: predict (translate), score, encode."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import (
    BeamSize,
    Device,
    Engine,
    Ensemble,
    InputFormat,
    Language,
    Output,
    Quiet,
    Resume,
    RunFolder,
    SetDecoding,
    Shortlist,
    Threads,
)

Inputs = Annotated[str | None, typer.Argument(metavar="FILE", help=(
    "Inputs, one a line, or a table with the run's source columns; .gz too. Standard input when not given, or -."))]
Pairs = Annotated[str | None, typer.Argument(metavar="FILE", help=(
    "Source and target of each line, in the columns of the training data. Standard input when not given, or -."))]


def predict(
    run: RunFolder,
    file: Inputs = None,
    output: Output = None,
    format_name: Annotated[str, typer.Option("--format", "-f", metavar="NAME", help=(
        "text: the answer. tsv: line, rank, score, ranking score, answer. jsonl: everything."))] = "text",
    n_best: Annotated[str | None, typer.Option("--n-best", "-n", metavar="N", help=(
        "Answers for each input, at most the beam size (of sampling any number); needs tsv or jsonl."))] = None,
    beam_size: BeamSize = None,
    shortlist: Shortlist = False,
    set_options: SetDecoding = None,
    stream: Annotated[bool, typer.Option("--stream", help=(
        "One step a line, an empty line behind the last; each answer comes at once."))] = False,
    prefix: Annotated[str | None, typer.Option("--prefix", metavar="TEXT",
                                               help="Every answer begins with this text.")] = None,
    attention: Annotated[bool, typer.Option("--attention", help="jsonl: with the attention weights.")] = False,
    alternatives: Annotated[str | None, typer.Option("--alternatives", "-k", metavar="K", help=(
        "jsonl: with the K best tokens of each step."))] = None,
    ensemble: Ensemble = None,
    language: Language = None,
    input_format: InputFormat = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> int:
    """Answer inputs, a line for each (also: translate).

    The answers stand in the order of the inputs. A line that cannot be read gives an empty line and a warning with its
    number. At a terminal, without a file, predict is a dialogue. From a pipe, lines are answered as they come.
    """
    from seqloom.cli.prediction import Request, run_prediction

    return run_prediction(Request(
        runs=[run, *(ensemble or [])], file=file, output=output, format=format_name, input_format=input_format,
        changes={"beam_size": beam_size, "n_best": n_best, "shortlist": "true" if shortlist else None},
        set_options=set_options or [], prefix=prefix, attention=attention, alternatives=alternatives,
        engine=engine, device=device, threads=threads, language=language, resume=resume, quiet=quiet,
        stream=stream))


def score(
    run: RunFolder,
    file: Pairs = None,
    output: Output = None,
    ensemble: Ensemble = None,
    language: Language = None,
    input_format: InputFormat = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> int:
    """Log-probability of given targets.

    A line out has the sum (natural logarithm, end token included), the number of tokens, and each token's own.
    """
    from seqloom.cli.prediction import run_scoring

    return run_scoring([run, *(ensemble or [])], file, output, input_format, engine, device, threads,
                       language=language, quiet=quiet)


def encode(
    run: RunFolder,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The .npz to write; required.")],
    file: Inputs = None,
    language: Language = None,
    input_format: InputFormat = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> int:
    """What the encoder makes of inputs, as NumPy arrays.

    The .npz holds lines [N], the numbers of the lines that could be read, and summary [N, size]; and of each of these
    lines, by its number, states.1 [positions, size], mask.1 [positions] and tokens.1.
    """
    from seqloom.cli.encoding import run_encoding

    return run_encoding(run, file, output, input_format, engine, device, threads, language=language, quiet=quiet)
