"""The verb tune-decoding: beam size and penalties chosen on development data, with a verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqloom.cli.options import (
    Device,
    Engine,
    Languages,
    Quiet,
    RunFolder,
    SetDecoding,
    Source,
    Target,
    Threads,
    pairs,
    silence,
)
from seqloom.cli.streams import note, say
from seqloom.errors import UsageError

if TYPE_CHECKING:
    from seqloom.tuning import Tuning

DevelopmentFiles = Annotated[list[str] | None, typer.Argument(metavar="FILE…", help=(
    "Development files with source and target, in the columns of the training data; never the test data."))]
NOT_TRIED = "none"


def tune_decoding(
    run: RunFolder,
    files: DevelopmentFiles = None,
    source: Source = None,
    target: Target = None,
    metric: Annotated[str | None, typer.Option("--metric", metavar="NAME", help=(
        "What is looked at; the metric that chose the run's checkpoint when not given."))] = None,
    tokenize: Annotated[str | None, typer.Option("--tokenize", metavar="NAME", help=(
        "How bleu splits words; as in validation when not given."))] = None,
    beam_sizes: Annotated[str | None, typer.Option("--beam-sizes", metavar="NUMBERS", help=(
        "What is tried, with commas between them; none: not tried. [default: 1,2,3,5,8,12]"))] = None,
    length_penalties: Annotated[str | None, typer.Option("--length-penalties", metavar="NUMBERS", help=(
        "The same. [default: 0,0.2,0.4,0.6,0.8,1,1.2,1.5]"))] = None,
    coverage_penalties: Annotated[str | None, typer.Option("--coverage-penalties", metavar="NUMBERS", help=(
        "The same; needs attention. [default: 0,0.05,0.1,0.2,0.4]"))] = None,
    apply: Annotated[bool, typer.Option("--apply", help=(
        "Make the best options the run's own, if they are better by more than chance."))] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    set_options: SetDecoding = None,
    language: Languages = None,
    engine: Engine = "auto",
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Choose beam size, length penalty and coverage penalty on development data.

    One after the other, each with the best so far of those before it. The verdict says whether the best is better than
    the run's own options by more than the best of so many trials would be by chance (bootstrap, p < 0.05).
    """
    from seqloom.api import corpora_of
    from seqloom.cli.options import decoding_options
    from seqloom.cli.prediction import open_predictor
    from seqloom.progress import reporter_for
    from seqloom.run import write_generation
    from seqloom.tuning import TRIED, tune

    texts = {"beam_size": beam_sizes, "length_penalty": length_penalties, "coverage_penalty": coverage_penalties}
    tried = {option: TRIED[option] if text is None else _numbers(option, text) for option, text in texts.items()}
    parallel = pairs(source, target)
    if not files and not parallel:
        raise UsageError("no development data is given",
                         fix="seqloom tune-decoding RUN FILE, or --source FILE --target FILE")
    predictor = open_predictor([run], engine, device, threads, quiet=quiet)
    changes = decoding_options(set_options)
    corpora = corpora_of(files or [], parallel, languages=language or [])
    found = tune(predictor, corpora, metric=metric, tokenize=tokenize, tried=tried, changes=changes,
                 reporter=reporter_for(quiet=silence(quiet)))
    say(json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False) if json_output else as_text(found, run))
    if not apply:
        return
    if found.best.changes and found.holds:
        write_generation(Path(run), predictor.options({**changes, **found.best.changes}))
        note(f"{run}/generation_config.json has the new options")
    else:
        note(f"{run} keeps its own options")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    """Values from a list with commas; none of them for NOT_TRIED. Raises UsageError."""
    if text.strip() == NOT_TRIED:
        return ()
    flag = "--" + {"beam_size": "beam-sizes"}.get(option, option[:-1].replace("_", "-") + "ies")
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag}: given '{text}', expected numbers with commas between them, or {NOT_TRIED}",
                         fix=f"for example {flag} {'1,5,10' if option == 'beam_size' else '0,0.5,1'}") from None


def as_text(found: Tuning, run: str) -> str:
    """The trials, best first, and the verdict."""
    sign = -1 if found.better == "higher" else 1
    lines = [f"{found.metric:>12}  {'seconds':>8}  {'p':>6}  options"]
    for trial in sorted(found.trials, key=lambda one: sign * one.score):
        options = " ".join(f"{name}={value:g}" for name, value in trial.changes.items()) or "the run's own"
        shown = "" if not trial.changes else f"{trial.p_value:.3f}"
        lines.append(f"{trial.score:>12.4f}  {trial.seconds:>8.1f}  {shown:>6}  {options}")
    best = found.best
    if not best.changes:
        lines.append(f"\nNothing was better than the run's own options on {found.count:,} examples.")
    elif found.holds:
        lines.append(f"\nBetter by more than chance (p = {best.p_value:.3f}, best of {len(found.trials)} trials on "
                     f"{found.count:,} examples):\n  seqloom predict {run} "
                     + " ".join(f"--set {name}={value:g}" for name, value in best.changes.items()))
    else:
        lines.append(f"\nThe best may be so by chance (p = {best.p_value:.3f}, best of {len(found.trials)} trials on "
                     f"{found.count:,} examples): the run's own options are as good as any.")
    return "\n".join(lines)
