"""What `seqloom predict` and `score` do once their options are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from seqloom.cli.inputs import Inputs, check_streams, lines_of
from seqloom.cli.lines import FORMATS, scored_line
from seqloom.cli.options import decoding_options, silence, unicode_text, whole_number
from seqloom.cli.partial import Part, begin_part, how_to_go_on, survey
from seqloom.cli.streams import Terminated, note, open_output, warn
from seqloom.config.sections import DecodingConfig
from seqloom.errors import DataError, UsageError
from seqloom.predictor import Predictor
from seqloom.progress import Reporter, reporter_for
from seqloom.types import BadRecord, Prediction, Record

SHOWN_WARNINGS = 20


@dataclass(frozen=True)
class Request:
    """The options of `seqloom predict`, as given."""

    runs: list[str]
    file: str | None
    output: str | None
    format: str
    input_format: str | None
    changes: dict[str, Any]
    set_options: list[str]
    prefix: str | None
    attention: bool
    alternatives: str | None
    engine: str
    device: str
    threads: str | None
    language: str | None = None
    resume: bool = False
    quiet: bool = False
    stream: bool = False


def run_prediction(request: Request) -> int:
    """Predict a file, a pipe, or in a dialogue; the exit code: 1 when every line was bad."""
    if request.format not in FORMATS:
        raise UsageError(f"unknown format '{request.format}'", fix=f"choose one of: {', '.join(FORMATS)}")
    check_streams(request.file, request.output)
    alternatives = whole_number("--alternatives", request.alternatives, 1) or 0
    if request.format != "jsonl" and (request.attention or alternatives):
        raise UsageError("--attention and --alternatives do not fit into lines of text", fix="add --format jsonl")
    prefix = None if request.prefix is None else unicode_text("--prefix", request.prefix)
    _check_resume(request)
    changes = decoding_options(request.set_options, **request.changes)
    predictor = open_predictor(request.runs, request.engine, request.device, request.threads, language=request.language,
                               quiet=request.quiet)
    options = predictor.options(changes)
    tell_idle(options, changes, quiet=request.quiet)
    if request.format == "text" and options.n_best > 1:
        raise UsageError(f"{options.n_best} answers for each input do not fit into one line of text",
                         fix="add --format tsv or --format jsonl")
    if request.stream:
        return _step_through(predictor, request, alternatives)
    if talks_to_a_person(request.file, request.output):
        from seqloom.cli.dialogue import converse

        return converse(predictor, options, line=FORMATS[request.format], prefix=prefix, attention=request.attention,
                        alternatives=alternatives)
    inputs = Inputs(predictor, request.file, request.input_format, quiet=request.quiet)
    part, expected = _part_of(request, predictor, options)
    records = inputs.records()
    answered = 0
    if part is not None and part.answered:
        answered = part.answered
        _skip(records, part)
        if not request.quiet:
            note(f"{part.output} has the answers to {answered:,} inputs; going on from there")
    predictions = predictor.predict_records(
        records, options, attention=request.attention, alternatives=alternatives, first=answered,
        prefixes=None if prefix is None else repeat(prefix), ready=inputs.ready, notice=inputs.notice)
    return write(predictions, request.output, FORMATS[request.format], inputs,
                 reporter_for(quiet=silence(request.quiet)), part=part, expected=expected)


def _step_through(predictor: Predictor, request: Request, alternatives: int) -> int:
    """--stream. Raises UsageError for options that are about whole inputs."""
    from seqloom.cli.stepping import step_through

    given = [name for name, value in (
        ("--prefix", request.prefix), ("--attention", request.attention), ("--alternatives", alternatives),
        ("--resume", request.resume), ("--with", request.runs[1:]), ("--input-format", request.input_format)) if value]
    if given:
        raise UsageError(f"{', '.join(given)} and --stream are both given", fix="leave one of them out")
    return step_through(predictor, request.file, request.output, FORMATS[request.format])


def run_scoring(runs: list[str], file: str | None, output: str | None, input_format: str | None, engine: str,
                device: str, threads: str | None, *, language: str | None = None, quiet: bool = False) -> int:
    """Score given targets; the exit code."""
    check_streams(file, output)
    predictor = open_predictor(runs, engine, device, threads, language=language, quiet=quiet)
    inputs = Inputs(predictor, file, input_format, targets=True, quiet=quiet)
    predictions = predictor.score_records(inputs.records(), ready=inputs.ready, notice=inputs.notice)
    return write(predictions, output, scored_line, inputs, reporter_for(quiet=silence(quiet)), expected=lines_of(file))


def tell_idle(options: DecodingConfig, changes: Iterable[str], *, quiet: bool) -> None:
    """Say which of the options given have no effect."""
    from seqloom.config.remarks import decoding_remarks

    for sentence in [] if quiet else decoding_remarks(options, changes):
        note(sentence)


def open_predictor(runs: list[str], engine: str, device: str, threads: str | None, *, language: str | None = None,
                   quiet: bool) -> Predictor:
    """The run, or the ensemble of several, for inputs in this language; says which engine runs it, unless `quiet`."""
    from seqloom.api import load

    count = whole_number("--threads", threads, 1)
    predictor = load(runs if len(runs) > 1 else runs[0], engine=engine, device=device, threads=count,
                     say=lambda sentence: warn(f"warning: {sentence}")).in_language(language)
    if not quiet:
        warn(engine_line(predictor.engine))
    return predictor


def engine_line(engine: Any) -> str:
    """What computes, in a line: engine: onnx fp32, 2 threads."""
    device = getattr(engine, "device", None)
    if device is not None and device.type != "cpu":
        return f"engine: {engine.name} on {device}"
    return f"engine: {engine.name}, {engine.threads} {'thread' if engine.threads == 1 else 'threads'}"


def talks_to_a_person(file: str | None, output: str | None) -> bool:
    """Whether inputs are typed and answers read at a terminal."""
    return file is None and output is None and sys.__stdin__ is not None and sys.stdin.isatty() and sys.stdout.isatty()


# --- going on with an output file ------------------------------------------------------------------------------------


def _check_resume(request: Request) -> None:
    if not request.resume:
        return
    if request.output in (None, "-"):
        raise UsageError("--resume goes on with an output file, and none is named", fix="name it: -o FILE")
    if request.file in (None, "-") or not Path(str(request.file)).is_file():
        raise UsageError("--resume needs inputs that can be read again from their beginning",
                         fix="name a file with the inputs instead of a pipe")


def _part_of(request: Request, predictor: Predictor, options: DecodingConfig) -> tuple[Part | None, int | None]:
    """The output file as a thing that can be gone on with, where both files are regular; and the number of inputs."""
    file, output = request.file, request.output
    if file is None or not Path(file).is_file():
        return None, None
    target = Path(str(output))
    if output in (None, "-") or "\0" in str(output) or (target.exists() and not target.is_file()):
        return None, lines_of(file)
    found = survey(Path(file))
    identity = {
        "runs": [_weights_of(run) for run in request.runs], "engine": predictor.engine.name, "format": request.format,
        "options": options.model_dump(mode="json"), "prefix": request.prefix, "attention": request.attention,
        "alternatives": request.alternatives, "input_format": request.input_format, "language": request.language,
        "input": [found.size, found.sha256]}
    part = begin_part(target, identity, resume=request.resume, format_name=request.format)
    return part, None if file.endswith(".gz") else found.lines or None


def _weights_of(run: str) -> str:
    """The checksum of a run's weights; an export that stands alone knows those it was made of."""
    from seqloom.engines.artifacts import read_manifest, weights_checksum
    from seqloom.run import open_run

    manifest = None if (found := weights_checksum(Path(run))) else read_manifest(open_run(run))
    return found if manifest is None else str(manifest["weights_sha256"])


def _skip(records: Iterator[Record | BadRecord], part: Part) -> None:
    """Pass over the inputs that are answered. Raises DataError when there are fewer."""
    passed = sum(1 for _ in islice(records, part.answered))
    if passed < part.answered:
        raise DataError(f"{part.output} answers {part.answered:,} inputs, but there are {passed:,}",
                        fix="leave --resume out to write it anew")


# --- writing ---------------------------------------------------------------------------------------------------------


def write(predictions: Iterable[Prediction], output: str | None, line: Callable[[int, Prediction], str],
          inputs: Inputs, reporter: Reporter, *, part: Part | None = None, expected: int | None = None) -> int:
    """Write every prediction and warn of the bad ones; the exit code. `part`: goes on behind what is there."""
    before = 0 if part is None else part.answered
    number, bad = before, 0
    try:
        with open_output(output, keep=0 if part is None else part.size) as stream:
            inputs.before_waiting = stream.flush
            for number, prediction in enumerate(predictions, before + 1):
                if prediction.stopped == "error":
                    bad += 1
                    _say_bad(reporter, bad, prediction)
                stream.write(line(number, prediction))
                reporter.progress("answered", number, expected)
    except (KeyboardInterrupt, Terminated):
        reporter.finish()
        if part is not None:
            note(how_to_go_on(part, number))
        raise
    reporter.finish()
    if part is not None:
        part.finish()
    if inputs.remark() and not inputs.quiet:
        note(inputs.remark())
    if bad:
        warn(f"warning: {bad:,} of {number - before:,} lines could not be read; their output lines are empty")
    return 1 if number and bad == number else 0


def _say_bad(reporter: Reporter, bad: int, prediction: Prediction) -> None:
    if bad <= SHOWN_WARNINGS:
        reporter.finish()
        warn(f"warning: {prediction.where}: {prediction.error}")
    if bad == SHOWN_WARNINGS:
        warn("warning: further lines that cannot be read are only counted")
