"""Verbs that look at runs: evaluate, explain, info, curves; and demo, which does everything once."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import (
    BeamSize,
    Device,
    Engine,
    Ensemble,
    Languages,
    Overwrite,
    Quiet,
    RunFolder,
    SetDecoding,
    Shortlist,
    Source,
    Target,
    Threads,
    pairs,
)
from seqloom.cli.streams import say

TestFiles = Annotated[list[str] | None, typer.Argument(metavar="FILE…", help=(
    "Test files with source and target, in the columns of the training data."))]


def evaluate(
    run: RunFolder,
    files: TestFiles = None,
    source: Source = None,
    target: Target = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="NAMES", help=(
        "Metrics, with commas between them, as in exact_match,bleu; all usual ones when not given."))] = None,
    tokenize: Annotated[str, typer.Option("--tokenize", metavar="NAME", help=(
        "How bleu splits words: none for data that is tokenised already, intl, char, zh, …"))] = "13a",
    compare: Annotated[str | None, typer.Option("--compare", metavar="RUN", help=(
        "A second run: the difference, its 95 % interval and p-value by paired bootstrap."))] = None,
    metric: Annotated[str | None, typer.Option("--metric", metavar="NAME", help=(
        "What --compare compares by; exact_match when not given."))] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help=(
        "Write the outputs there too, one a line."))] = None,
    confusion: Annotated[str | None, typer.Option("--confusion", metavar="FILE", help=(
        "Labels and tags: draw what was taken for what; .svg, .html, .png, or .json for the figures."))] = None,
    beam_size: BeamSize = None,
    shortlist: Shortlist = False,
    set_options: SetDecoding = None,
    ensemble: Ensemble = None,
    language: Languages = None,
    dynamic: Annotated[str | None, typer.Option("--dynamic", metavar="RATE", help=(
        "Language models: go on learning from the text with this rate, say 0.1; each symbol is scored first."))] = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Score a run on test data, or compare two runs.

    Rates are fractions, BLEU, chrF and TER go from 0 to 100. The signature says how each was computed.
    """
    from seqloom.cli.evaluation import Request, run_evaluation

    run_evaluation(Request(
        runs=[run, *(ensemble or [])], files=files or [], pairs=pairs(source, target), json_output=json_output,
        metrics=metrics, tokenize=tokenize, compare=compare, metric=metric, output=output, confusion=confusion,
        beam_size=beam_size, shortlist=shortlist, set_options=set_options or [],
        languages=language or [], dynamic=dynamic, engine=engine, device=device, threads=threads, quiet=quiet))


def info(run: RunFolder) -> None:
    """What a run is: model, symbols, size, best validation."""
    from seqloom.cli.explaining import describe_run

    say("\n".join(describe_run(run)))


def curves(
    run: RunFolder,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help=(
        "Picture to write: .svg, .png or .html; required."))],
    keys: Annotated[str | None, typer.Option("--keys", metavar="NAMES", help=(
        "Columns of metrics.jsonl, with commas between them; when not given, the losses and what answers are worth."))
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every column: rates, speed and bookkeeping too.")] = False,
) -> None:
    """Draw a run's losses and metrics over training."""
    from seqloom.cli.explaining import draw_curves

    draw_curves(run, output, keys, everything=everything)


def demo(
    task: Annotated[str, typer.Option("--task", metavar="NAME", help=(
        "What is learned: dates, classify, tag, summarize, caption, speech, lm, frames, vectors (see below)."
    ))] = "dates",
    out: Annotated[str | None, typer.Option(
        "--out", metavar="RUN", help="Run folder to write; runs/TASK when not given.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Do everything once, on built-in data: train, evaluate, predict, and draw an attention picture.

    Without --task on dates of 64 languages and regions → ISO 8601 (two to three minutes on two cores). The other tasks
    take a minute or two, frames three, caption twenty-five. All data is made by the program itself. A task has the name
    of the preset that it is for; frames and vectors have none.
    """
    from seqloom.demo import run_task

    run_task(task, out, overwrite=overwrite, quiet=quiet)
