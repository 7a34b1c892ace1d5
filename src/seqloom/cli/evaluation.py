"""What `seqloom evaluate` and `info` do once their options are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import typer

from seqloom.cli.learning import pairs
from seqloom.cli.options import decoding_options, open_output, warn
from seqloom.cli.prediction import escaped
from seqloom.errors import UsageError
from seqloom.evaluation import Evaluation
from seqloom.predictor import Predictor


@dataclass(frozen=True)
class Request:
    """The options of `seqloom evaluate`, as given."""

    runs: list[str]
    files: list[str]
    source: list[str] | None
    target: list[str] | None
    json_output: bool
    metrics: str | None
    tokenize: str
    compare: str | None
    metric: str
    output: str | None
    beam_size: int | None
    set_options: list[str]
    engine: str
    device: str
    threads: int | None


def run_evaluation(request: Request) -> None:
    """Evaluate one run, or two with the verdict of a paired bootstrap."""
    from seqloom.api import load

    predictor = load(request.runs if len(request.runs) > 1 else request.runs[0], engine=request.engine,
                     device=request.device, threads=request.threads)
    evaluation = _evaluate(predictor, request)
    scores = evaluation.scores
    if request.compare is not None:
        other = _evaluate(load(request.compare, engine=request.engine, device=request.device, threads=request.threads),
                          request)
        comparison = evaluation.compare(other, request.metric)
        scores = {**scores, "comparison": {
            "metric": request.metric, "run": request.runs[0], "other": request.compare, "score": comparison.score_a,
            "other_score": comparison.score_b, "delta": comparison.delta, "interval": list(comparison.interval),
            "p_value": comparison.p_value, "samples": comparison.samples}}
    if request.output is not None:
        with open_output(request.output) as stream:
            stream.writelines(f"{escaped(output)}\n" for output in evaluation.outputs)
    for note in evaluation.notes:
        warn(f"note: {note}")
    typer.echo(json.dumps(scores, ensure_ascii=False, allow_nan=False) if request.json_output else as_table(scores))


def _evaluate(predictor: Predictor, request: Request) -> Evaluation:
    from seqloom.api import corpora_of
    from seqloom.evaluation import evaluate_files
    from seqloom.progress import reporter_for

    corpora = corpora_of(request.files, pairs(request.source, request.target, "--source", "--target"))
    if not corpora:
        raise UsageError("no test data is given", fix="seqloom evaluate RUN FILE, or --source FILE --target FILE")
    return evaluate_files(
        predictor, corpora, metrics=request.metrics.split(",") if request.metrics else None, tokenize=request.tokenize,
        options=predictor.options(decoding_options(request.set_options, beam_size=request.beam_size)),
        reporter=reporter_for())


def as_table(scores: dict[str, Any]) -> str:
    """Scores for people, one a line."""
    lines = []
    for name, value in scores.items():
        if name == "comparison":
            low, high = value["interval"]
            lines.append(f"{value['other']} − {value['run']} in {value['metric']}: {value['delta']:+.4g} "
                         f"(95 % interval {low:+.4g} to {high:+.4g}, p = {value['p_value']:.4g})")
        else:
            lines.append(f"{name:<20} {f'{value:.4f}' if isinstance(value, float) else value}")
    return "\n".join(lines)


def describe_run(folder: str) -> list[str]:
    """What a run is, for people."""
    from seqloom.run import WEIGHTS, open_run

    run = open_run(folder)
    weights = run.weights()
    rows = run.metrics()
    best = next((row for row in reversed(rows) if row.get("best")), None)
    config = run.config
    size = (run.folder / WEIGHTS).stat().st_size / 2**20
    lines = [
        f"run:        {run.folder}" + (f" (preset {config.preset})" if config.preset else ""),
        f"source:     {config.source.kind}, {config.source.tokenizer.kind}, {run.source.tokenizer.size:,} symbols",
        f"target:     {config.head.kind}, {config.head.tokenizer.kind}, {run.head.tokenizer.size:,} symbols",
        f"encoder:    {config.encoder.layers} × {config.encoder.cell}, {config.encoder.hidden_size} units"
        + (", both directions" if config.encoder.bidirectional else ""),
        f"decoder:    {config.decoder.layers} × {config.decoder.cell}, {config.decoder.hidden_size} units, context "
        f"{config.decoder.context}",
        f"parameters: {sum(array.size for array in weights.values()):,} ({size:.1f} MiB)",
    ]
    if rows:
        lines.append(f"trained:    {rows[-1]['step']:,} updates, {len(rows)} validations")
    if best is not None:
        shown = ", ".join(f"{name} {best[name]:.4g}" for name in ("exact_match", "bleu", "cer", "wer", "valid_loss")
                          if name in best)
        lines.append(f"best:       step {best['step']:,}: {shown}")
    return lines
