"""What `seqloom predict`, `score` and `encode` do once their options are read."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqloom.cli.options import decoding_options, open_output, warn
from seqloom.data.files import read_inputs
from seqloom.errors import UsageError
from seqloom.predictor import Predictor
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
    alternatives: int
    engine: str
    device: str
    threads: int | None


def run_prediction(request: Request) -> int:
    """Predict a file, a pipe, or in a dialogue; the exit code: 1 when every line was bad."""
    from seqloom.api import load

    if request.format not in FORMATS:
        raise UsageError(f"unknown format '{request.format}'", fix=f"choose one of: {', '.join(FORMATS)}")
    if request.format != "jsonl" and (request.attention or request.alternatives):
        raise UsageError("--attention and --alternatives do not fit into lines of text", fix="add --format jsonl")
    predictor = load(request.runs if len(request.runs) > 1 else request.runs[0], engine=request.engine,
                     device=request.device, threads=request.threads)
    options = predictor.options(decoding_options(request.set_options, **request.changes))
    if request.format == "text" and options.n_best > 1:
        raise UsageError(f"{options.n_best} answers for each input do not fit into one line of text",
                         fix="add --format tsv or --format jsonl")
    if request.file is None and sys.stdin.isatty():
        return _dialogue(predictor, options)
    warn(f"engine: {predictor.engine.name}")
    records = read(predictor, request.file, request.input_format)
    prefixes = None if request.prefix is None else _forever(request.prefix)
    predictions = predictor.predict_records(records, options, attention=request.attention,
                                            alternatives=request.alternatives, prefixes=prefixes)
    return write(predictions, request.output, FORMATS[request.format])


def run_scoring(runs: list[str], file: str | None, output: str | None, input_format: str | None, engine: str,
                device: str, threads: int | None) -> int:
    """Score given targets; the exit code."""
    from seqloom.api import load

    predictor = load(runs if len(runs) > 1 else runs[0], engine=engine, device=device, threads=threads)
    records = read(predictor, file, input_format, targets=True)
    return write(predictor.score_records(records), output, scored_line)


def run_encoding(run: str, file: str | None, output: str, input_format: str | None, device: str,
                 threads: int | None) -> None:
    """Encode inputs into an .npz."""
    import numpy as np

    from seqloom.api import load
    from seqloom.data.storage import atomic_file

    if Path(output).suffix != ".npz":
        raise UsageError(f"cannot write {output}: encodings are written as .npz", fix="give a name that ends in .npz")
    predictor = load(run, device=device, threads=threads)
    records = [record for record in read(predictor, file, input_format) if isinstance(record, Record)]
    encoded = predictor.encode([{role: record.text(role) for role in record.fields} for record in records])
    arrays: dict[str, Any] = {"summary": np.stack([one["summary"] for one in encoded])} if encoded else {}
    for number, one in enumerate(encoded):
        arrays[f"states.{number}"], arrays[f"mask.{number}"] = one["states"], one["mask"]
        arrays[f"tokens.{number}"] = np.asarray(one["tokens"])
    with atomic_file(Path(output), "wb") as stream:
        np.savez(stream, **arrays)


def read(predictor: Predictor, file: str | None, input_format: str | None, *,
         targets: bool = False) -> Iterator[Record | BadRecord]:
    """Inputs from a file or standard input, read as the run's own data was."""
    config = predictor.run.config if predictor.run is not None else None
    columns = {**((config.data.columns or {}) if config else {}), **predictor.source.columns}
    roles = (*predictor.source.roles, *(predictor.head.roles if targets else ()))
    if file is None or file == "-":
        return read_inputs(sys.stdin.buffer, "<stdin>", columns, roles, input_format or "tsv", ignored=_note)
    return read_inputs(file, file, columns, roles, input_format, ignored=_note)


def write(predictions: Iterable[Prediction], output: str | None, line: Callable[[int, Prediction], str]) -> int:
    """Write every prediction and warn of the bad ones; the exit code."""
    total = bad = 0
    with open_output(output) as stream:
        for total, prediction in enumerate(predictions, 1):
            if prediction.stopped == "error":
                bad += 1
                if bad <= SHOWN_WARNINGS:
                    warn(f"warning: {prediction.where}: {prediction.error}")
            stream.write(line(total, prediction))
    if bad:
        warn(f"{bad} of {total} lines could not be read; their output lines are empty")
    return 1 if total and bad == total else 0


def escaped(text: str) -> str:
    """Text that stays in its line and cell."""
    return text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")


def text_line(number: int, prediction: Prediction) -> str:
    """--format text: the answer."""
    return f"{escaped(prediction.text)}\n"


def tsv_line(number: int, prediction: Prediction) -> str:
    """--format tsv: input number, rank, score, ranking score, answer."""
    answers = prediction.n_best or [prediction]
    return "".join(f"{number}\t{rank}\t{answer.score:.6f}\t{answer.ranking_score:.6f}\t{escaped(answer.text)}\n"
                   for rank, answer in enumerate(answers, 1))


def jsonl_line(number: int, prediction: Prediction) -> str:
    """--format jsonl: everything; a bad line has "error"."""
    return json.dumps(as_json(prediction), ensure_ascii=False, allow_nan=False) + "\n"


def scored_line(number: int, prediction: Prediction) -> str:
    """A scored pair: log-probability sum, number of tokens with the end, log-probability of each token."""
    if prediction.stopped == "error":
        return "\t\t\n"
    each = " ".join(f"{score:.6f}" for score in prediction.token_scores)
    return f"{prediction.score:.6f}\t{len(prediction.token_scores)}\t{each}\n"


def as_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as plain values; parts that are empty are left out."""
    if prediction.stopped == "error":
        return {"text": "", "error": prediction.error, "where": prediction.where}
    found: dict[str, Any] = {
        "text": prediction.text, "score": prediction.score, "ranking_score": prediction.ranking_score,
        "stopped": prediction.stopped, "tokens": prediction.tokens,
        "token_scores": [float(score) for score in prediction.token_scores], "source_tokens": prediction.source_tokens}
    found = {name: value for name, value in found.items() if not (isinstance(value, float) and math.isnan(value))}
    if prediction.attention is not None:
        found["attention"] = [[round(float(weight), 6) for weight in row] for row in prediction.attention]
    if prediction.alternatives:
        found["alternatives"] = prediction.alternatives
    if prediction.probabilities:
        found["probabilities"] = prediction.probabilities
    if prediction.n_best:
        found["n_best"] = [as_json(answer) for answer in prediction.n_best]
    return found


def _dialogue(predictor: Predictor, options: Any) -> int:
    warn(f"engine: {predictor.engine.name}. Type an input and Enter; Ctrl-D ends.")
    roles = predictor.source.roles
    number = 0
    while True:
        try:
            line = input("> ")
        except EOFError:
            warn("")
            return 0
        number += 1
        cells = line.split("\t")
        if len(roles) > 1 and len(cells) != len(roles):
            warn(f"this model reads {' <tab> '.join(roles)}")
            continue
        fields = dict(zip(roles, cells, strict=True)) if len(roles) > 1 else {"source": line}
        prediction = next(iter(predictor.predict_records([Record(fields, "<terminal>", number)], options)))
        if prediction.stopped == "error":
            warn(prediction.error)
        else:
            sys.stdout.write(f"{escaped(prediction.text)}\n")
            sys.stdout.flush()


def _forever(prefix: str) -> Iterator[str]:
    while True:
        yield prefix


def _note(sentence: str) -> None:
    warn(f"note: {sentence}")


FORMATS: dict[str, Callable[[int, Prediction], str]] = {"text": text_line, "tsv": tsv_line, "jsonl": jsonl_line}
