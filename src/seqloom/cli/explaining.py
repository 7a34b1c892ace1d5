"""What `seqloom explain`, `info` and `curves` do once their options are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seqloom.cli.options import decoding_options, unicode_text, whole_number
from seqloom.cli.prediction import open_predictor
from seqloom.cli.streams import note, say, warn
from seqloom.config.remarks import network_parts
from seqloom.engines.artifacts import exported_precisions, is_stale, read_manifest
from seqloom.errors import DataError, UsageError
from seqloom.plots import CURVE_WRITERS, WRITERS, show_attention, write_attention, write_curves, writer_for
from seqloom.plots.series import series_of, usual_keys
from seqloom.predictor import Predictor
from seqloom.run import WEIGHTS, Run, open_run
from seqloom.types import Prediction

BEST_SHOWN = ("exact_match", "bleu", "chrf", "ter", "cer", "wer", "rouge_l", "valid_loss")


@dataclass(frozen=True)
class Explanation:
    """The options of `seqloom explain`, as given. `views`: names of VIEWS; none: the attention alone."""

    run: str
    text: str
    has_input: bool
    features: str | None
    language: str | None
    output: str | None
    views: list[str]
    gradients: bool
    beside: list[str]
    force: list[str]
    gold: str | None
    reverse: bool
    edit: list[str]
    alternatives: str | None
    beam_size: str | None
    set_options: list[str]
    engine: str
    device: str
    threads: str | None
    quiet: bool


def run_explanation(request: Explanation) -> None:
    """Answer one input and draw its attention, in the terminal or into a file; or another view of the answer."""
    from seqloom.cli.views import VIEWS, draw_history, draw_view

    names = [VIEWS[name].option for name in request.views if name in VIEWS]
    names += ["--history"] * ("history" in request.views)
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} do not fit into one file", fix="ask for one of them at a time")
    if (request.gradients or request.beside) and request.views != ["gates"]:
        raise UsageError(f"{'--gradients' if request.gradients else '--with'} goes with --gates", fix="add --gates")
    if request.views == ["history"]:
        if request.has_input:
            raise UsageError("--history shows an example of the training, not an INPUT", fix="leave INPUT out")
        draw_history(request)
        return
    if not request.has_input:
        raise UsageError("INPUT is missing", fix="seqloom explain RUN INPUT; see seqloom explain --help")
    if request.views:
        draw_view(VIEWS[request.views[0]], request, answered)
    else:
        _draw_attention(request)


def _draw_attention(request: Explanation) -> None:
    if request.output is not None:
        writer_for(Path(request.output), WRITERS)
    prediction = answered(request)
    if request.output is None:
        show_attention(prediction, input_text=_titled(request))
        return
    for warning in write_attention(prediction, request.output, input_text=_titled(request)):
        warn(f"warning: {warning}")
    say(request.output)


def _titled(request: Explanation) -> str:
    """The input as a title has it: its language and features need not be among the symbols that were read."""
    beside = [f"⟨{given}⟩" for given in (request.language, request.features) if given]
    return " ".join([*beside, request.text or ""])


def answered(request: Explanation) -> Prediction:
    """The answer to the input. Raises DataError for one that cannot be read."""
    count = whole_number("--alternatives", request.alternatives, 1) or 0
    options = decoding_options(request.set_options, beam_size=request.beam_size)
    text = unicode_text("INPUT", request.text)
    predictor = open_predictor([request.run], request.engine, request.device, request.threads,
                               language=request.language, quiet=request.quiet)
    prediction: Prediction = predictor.predict(_input(predictor, text, request.features), attention=True,
                                               alternatives=count, **options)
    if prediction.stopped == "error":
        reads = "some text that the run's tokenizer reads" if predictor.source.has_symbols else \
            f"an input that source.kind {predictor.source.kind} reads"
        raise DataError(prediction.error, where="INPUT", fix=f"give {reads}")
    return prediction


def _input(predictor: Predictor, text: str, features: str | None) -> dict[str, str]:
    reads_features = "features" in predictor.source.roles
    if reads_features and features is None:
        raise UsageError("this run reads features beside the source", fix="give them: --features 'V;PST'")
    if features is not None and not reads_features:
        raise UsageError("--features is given, but this run reads none", fix="leave it out")
    if "language" in predictor.source.roles:
        raise UsageError("this run was trained on several languages", fix="say which it is: --language "
                         + " or ".join(predictor.source.languages[:3]))
    if features is None:
        return {predictor.source.roles[0]: text}
    return {"source": text, "features": unicode_text("--features", features)}


def draw_curves(run: str, output: str, keys: str | None, *, everything: bool = False) -> None:
    """Draw metrics.jsonl: the few columns that matter, those that are named, or all of them."""
    if keys is not None and everything:
        raise UsageError("--keys and --all are both given", fix="leave one of them out")
    writer_for(Path(output), CURVE_WRITERS)
    opened = open_run(run)
    rows = opened.metrics()
    chosen = None if keys is None else [key.strip() for key in keys.split(",") if key.strip()]
    if keys is None and not everything:
        series = series_of(rows)[1]
        chosen = usual_keys(series) or None
        left = [key for key in series if key not in (chosen or series)]
        if left:
            note(f"not drawn: {', '.join(left)}; --all draws them too")
    for warning in write_curves(rows, output, keys=chosen, title=opened.folder.resolve().name):
        warn(f"warning: {warning}")
    say(output)


def describe_run(folder: str) -> list[str]:
    """What a run is, for people."""
    run = open_run(folder)
    config = run.config
    exported = _exported(run)
    weights = {} if exported and not (run.folder / WEIGHTS).exists() else run.weights()
    lines = [
        f"run:        {run.folder}" + (f" (preset {config.preset})" if config.preset else ""),
        f"source:     {config.source.kind}, {run.source.describe()}",
        f"target:     {config.head.kind}, {run.head.describe()}",
        *(f"{part + ':':<12}{line}" for part, line in network_parts(config).items()),
        f"parameters: {sum(array.size for array in weights.values()):,} "
        f"({(run.folder / WEIGHTS).stat().st_size / 2**20:.1f} MiB)" if weights else "parameters: in the export alone",
        f"export:     {exported or 'none'}",
    ]
    rows = run.metrics()
    if rows:
        lines.append(f"trained:    {rows[-1]['step']:,} updates, {len(rows)} validations")
    best = next((row for row in reversed(rows) if row.get("best")), None)
    if best is not None:
        shown = ", ".join(f"{name} {best[name]:.4g}" for name in BEST_SHOWN if name in best)
        lines.append(f"best:       step {best['step']:,}: {shown}")
    return lines


def _exported(run: Run) -> str:
    """The graphs of a run: precision and size of each, and whether they are of its weights; "" where it has none."""
    manifest = read_manifest(run)
    if manifest is None:
        return ""
    sizes = {precision: sum(int(file["bytes"]) for file in manifest["models"][precision].values())
             for precision in exported_precisions(manifest)}
    found = ", ".join(f"{precision} ({size / 2**20:.1f} MiB)" for precision, size in sizes.items())
    return f"{found}, of other weights: seqloom export {run.folder}" if is_stale(run, manifest) else found
