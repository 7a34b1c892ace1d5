"""What `seqloom evaluate` does once its options are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqloom.cli.lines import escaped
from seqloom.cli.options import decoding_options, positive_number, silence
from seqloom.cli.prediction import open_predictor, tell_idle
from seqloom.cli.streams import note, open_output, refuse_input_as_output, say, warn
from seqloom.errors import UsageError
from seqloom.evaluation import Evaluation
from seqloom.metrics.confusion import Confusion
from seqloom.predictor import Predictor

DEFAULT_COMPARED = "exact_match"


@dataclass(frozen=True)
class Request:
    """The options of `seqloom evaluate`, as given."""

    runs: list[str]
    files: list[str]
    pairs: list[tuple[str, str]]
    json_output: bool
    metrics: str | None
    tokenize: str
    compare: str | None
    metric: str | None
    output: str | None
    confusion: str | None
    beam_size: str | None
    shortlist: bool
    set_options: list[str]
    languages: list[str]
    dynamic: str | None
    engine: str
    device: str
    threads: str | None
    quiet: bool = False


def run_evaluation(request: Request) -> None:
    """Evaluate one run, or two with the verdict of a paired bootstrap."""
    _check(request)
    predictor = _opened(request.runs, request)
    if request.confusion is not None and not predictor.head.has_classes:
        raise UsageError("--confusion is about classes, and this run answers with a text",
                         fix="leave it out; `-o FILE` writes the answers")
    other = None if request.compare is None else _opened([request.compare], request)
    evaluation = _evaluate(predictor, request)
    scores = evaluation.scores
    for sentence in evaluation.notes if not request.quiet else ():
        note(sentence)
    if other is not None:
        scores = {**scores, "comparison": _comparison(evaluation, other, request)}
    if request.output is not None:
        with open_output(request.output) as stream:
            for output in evaluation.outputs:
                stream.write(f"{escaped(output)}\n")
    if request.confusion is not None:
        _draw_confusion(request, evaluation)
    say(json.dumps(scores, ensure_ascii=False, allow_nan=False) if request.json_output
        else as_table(scores, evaluation.confusion))


def _opened(runs: list[str], request: Request) -> Predictor:
    engine = "torch" if request.dynamic is not None and request.engine == "auto" else request.engine
    return open_predictor(runs, engine, request.device, request.threads, quiet=request.quiet)


def _check(request: Request) -> None:
    """Refuse what cannot work before anything is read."""
    from seqloom.metrics import build_metric

    if not request.files and not request.pairs:
        raise UsageError("no test data is given", fix="seqloom evaluate RUN FILE, or --source FILE --target FILE")
    if request.metric is not None and request.compare is None:
        raise UsageError("--metric says what --compare compares by, and --compare is not given",
                         fix="add --compare RUN, or use --metrics to choose what is computed")
    if request.confusion is not None:
        from seqloom.plots import CONFUSION_WRITERS, writer_for

        writer_for(Path(request.confusion), CONFUSION_WRITERS)
    refuse_input_as_output(request.confusion, request.files)
    refuse_input_as_output(request.output, [*request.files, *(file for pair in request.pairs for file in pair)])
    for name in [*(_names(request.metrics) or []), request.metric or DEFAULT_COMPARED]:
        build_metric(name, tokenize=request.tokenize)


def _names(metrics: str | None) -> list[str] | None:
    if metrics is None:
        return None
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise UsageError("--metrics names none", fix="give names with commas between them, as in exact_match,bleu")
    return names


def _comparison(evaluation: Evaluation, other: Predictor, request: Request) -> dict[str, Any]:
    second = _evaluate(other, request)
    compared = evaluation.compare(second, request.metric or DEFAULT_COMPARED, tokenize=request.tokenize)
    return {"metric": compared.metric, "run": request.runs[0], "other": request.compare, "score": compared.score_a,
            "other_score": compared.score_b, "delta": compared.delta, "interval": list(compared.interval),
            "p_value": compared.p_value, "samples": compared.samples}


def _evaluate(predictor: Predictor, request: Request) -> Evaluation:
    from seqloom.api import corpora_of
    from seqloom.evaluation import evaluate_files
    from seqloom.progress import reporter_for

    changes = decoding_options(request.set_options, beam_size=request.beam_size,
                               shortlist="true" if request.shortlist else None)
    options = predictor.options(changes)
    tell_idle(options, changes, quiet=request.quiet)
    return evaluate_files(predictor, corpora_of(request.files, request.pairs, languages=request.languages),
                          metrics=_names(request.metrics), tokenize=request.tokenize, options=options,
                          dynamic=positive_number("--dynamic", request.dynamic),
                          reporter=reporter_for(quiet=silence(request.quiet)))


def _draw_confusion(request: Request, evaluation: Evaluation) -> None:
    from seqloom.plots import write_confusion

    assert evaluation.confusion is not None
    scores = evaluation.scores
    title = f"{Path(request.runs[0]).name} · {', '.join(Path(file).name for file in request.files)}"
    if "accuracy" in scores:
        title += f" · accuracy {float(scores['accuracy']):.4f}"
    for warning in write_confusion(evaluation.confusion, str(request.confusion), title=title.strip(" ·")):
        warn(f"warning: {warning}")


def as_table(scores: dict[str, Any], confusion: Confusion | None = None) -> str:
    """Scores for people, one a line, and the most frequent mistakes of classes."""
    lines = []
    for name, value in scores.items():
        if name == "comparison":
            low, high = value["interval"]
            lines.append(f"{value['other']} − {value['run']} in {value['metric']}: {value['delta']:+.4g} "
                         f"(95 % interval {low:+.4g} to {high:+.4g}, p = {value['p_value']:.4g})")
        elif name == "confusion":
            worst = [] if confusion is None else confusion.worst()
            lines += [f"{'most confused':<20} {right} answered as {answered or 'nothing'}: {count:,} ({share:.1%})"
                      for right, answered, count, share in worst]
        elif name == "languages":
            lines += [f"{language:<20} " + _in_a_row(found) for language, found in value.items()]
        elif name == "macro":
            lines.append(f"{'mean of languages':<20} {_in_a_row(value)}")
        elif name == "signature":
            lines += [f"{name:<20} {signature}" for signature in value.split("; ")]
        else:
            lines.append(f"{name:<20} {f'{value:.4f}' if isinstance(value, float) else value}")
    return "\n".join(lines)


def _in_a_row(scores: dict[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"
                     for name, value in scores.items())
