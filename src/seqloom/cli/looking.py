"""Verbs that look at runs: evaluate, explain, info, curves; and demo, which does everything once."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import BeamSize, Device, Engine, Ensemble, Output, Quiet, RunFolder, Set, Threads

TestFiles = Annotated[list[str] | None, typer.Argument(metavar="FILE…", help="Test files with source and target.")]


def evaluate(
    run: RunFolder,
    files: TestFiles = None,
    source: Annotated[list[str] | None, typer.Option(help="Source side of parallel text.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Target side of parallel text.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    metrics: Annotated[str | None, typer.Option(help="Metrics, with commas between them; all usual ones else.")] = None,
    tokenize: Annotated[str, typer.Option(help="sacreBLEU's tokenizer: 13a, none, intl, char, ko-mecab, …")] = "13a",
    compare: Annotated[str | None, typer.Option(metavar="RUN", help="A second run: paired bootstrap.")] = None,
    metric: Annotated[str, typer.Option(help="Metric of --compare.")] = "exact_match",
    output: Output = None,
    beam_size: BeamSize = None,
    set_options: Set = None,
    ensemble: Ensemble = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Score a run on test data. -o writes the outputs, one a line."""
    from seqloom.cli.evaluation import Request, run_evaluation

    run_evaluation(Request(
        runs=[run, *(ensemble or [])], files=files or [], source=source, target=target, json_output=json_output,
        metrics=metrics, tokenize=tokenize, compare=compare, metric=metric, output=output, beam_size=beam_size,
        set_options=set_options or [], engine=engine, device=device, threads=threads))


def explain(
    run: RunFolder,
    text: Annotated[str, typer.Argument(metavar="INPUT", help="One input.")],
    features: Annotated[str | None, typer.Option(help="The features' column, for runs that have one.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="svg, png, html, json or npz by suffix; the "
                                                                      "terminal when not given.")] = None,
    alternatives: Annotated[int, typer.Option("--alternatives", "-k", min=0, help="The K best tokens of each "
                                                                                  "step.")] = 0,
    beam_size: BeamSize = None,
    set_options: Set = None,
    engine: Engine = "auto",
    device: Device = "auto",
) -> None:
    """Draw what the model looked at while it answered one input."""
    from seqloom.api import load
    from seqloom.cli.options import decoding_options, warn
    from seqloom.plots import show_attention, write_attention

    given = text if features is None else {"source": text, "features": features}
    options = decoding_options(set_options, beam_size=beam_size)
    prediction = load(run, engine=engine, device=device).predict(given, attention=True, alternatives=alternatives,
                                                                **options)
    if output is None:
        show_attention(prediction, input_text=text)
        return
    for warning in write_attention(prediction, output, input_text=text):
        warn(f"warning: {warning}")
    typer.echo(output)


def info(run: RunFolder) -> None:
    """What a run is: model, vocabularies, size, best validation."""
    from seqloom.cli.evaluation import describe_run

    typer.echo("\n".join(describe_run(run)))


def curves(
    run: RunFolder,
    output: Annotated[str, typer.Option("--output", "-o", help="svg, png or html by suffix.")],
    keys: Annotated[str | None, typer.Option(help="Columns of metrics.jsonl, with commas; all when not given.")] = None,
) -> None:
    """Draw a run's losses and metrics over training."""
    from seqloom.cli.options import warn
    from seqloom.plots import write_curves
    from seqloom.run import open_run

    opened = open_run(run)
    chosen = keys.split(",") if keys else None
    for warning in write_curves(opened.metrics(), output, keys=chosen, title=opened.folder.name):
        warn(f"warning: {warning}")
    typer.echo(output)


def demo(
    out: Annotated[str, typer.Option("--out", help="Run folder to write.")] = "runs/dates",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run folder.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train on built-in data (dates in 64 languages → ISO 8601), evaluate, predict, draw the attention."""
    from seqloom.demo import run_demo

    run_demo(out, overwrite=overwrite, quiet=quiet)
