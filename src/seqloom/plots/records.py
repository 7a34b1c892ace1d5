"""A prediction as data: JSON, and NumPy's npz without pickle; both come back exactly as they were.

The keys are the names of `seqloom.types.Prediction`, beside `input`. JSON has no word for numbers that are not
finite: a missing score (nan) is null, the infinities are the strings "inf" and "-inf".
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.errors import DataError
from seqloom.plots.view import View
from seqloom.types import Floats, Prediction

FORMAT_VERSION = 1
ARRAYS = ("attention", "token_scores")  # what npz stores as numbers, apart from the document
DOCUMENT = "document"


def number_out(value: float) -> float | str | None:
    """A float as JSON can hold it; every finite value keeps all its digits."""
    value = float(value)
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)


def number_in(value: float | str | None) -> float:
    """The inverse of `number_out`."""
    return math.nan if value is None else float(value)


def array_out(array: Floats) -> list[Any]:
    """Nested lists of `number_out`; the digits of a float32 are those of the equal float64."""
    if np.isfinite(array).all():
        return array.tolist()  # type: ignore[no-any-return]
    return [number_out(item) if np.ndim(item) == 0 else array_out(item) for item in array]


def array_in(values: list[Any], dimensions: int) -> Floats:
    """The inverse of `array_out`; an attention without rows is [0, 0]."""
    if dimensions == 2:
        rows = [array_in(row, 1) for row in values]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)
    return np.array([number_in(value) for value in values], np.float64)


def to_record(prediction: Prediction) -> dict[str, Any]:
    """A prediction as a dictionary that JSON can hold."""
    attention = prediction.attention
    return {"text": prediction.text, "score": number_out(prediction.score),
            "ranking_score": number_out(prediction.ranking_score), "stopped": prediction.stopped,
            "error": prediction.error, "where": prediction.where, "engine": prediction.engine,
            "source_tokens": list(prediction.source_tokens),
            "tokens": list(prediction.tokens), "token_scores": array_out(prediction.token_scores),
            "attention": None if attention is None else array_out(attention),
            "alternatives": [[[name, number_out(share)] for name, share in pairs]
                             for pairs in prediction.alternatives],
            "probabilities": {name: number_out(share) for name, share in prediction.probabilities.items()},
            "n_best": [to_record(answer) for answer in prediction.n_best],
            "dtypes": {"token_scores": str(prediction.token_scores.dtype),
                       "attention": None if attention is None else str(attention.dtype)}}


def from_record(record: dict[str, Any]) -> Prediction:
    """The prediction that `to_record` wrote. Raises KeyError, TypeError or ValueError on anything else."""
    dtypes, attention = record["dtypes"], record["attention"]
    return Prediction(
        text=record["text"], score=number_in(record["score"]), ranking_score=number_in(record["ranking_score"]),
        stopped=record["stopped"], error=record["error"], where=record["where"], engine=record["engine"],
        source_tokens=list(record["source_tokens"]), tokens=list(record["tokens"]),
        token_scores=array_in(record["token_scores"], 1).astype(dtypes["token_scores"]),
        attention=None if attention is None else array_in(attention, 2).astype(dtypes["attention"]),
        alternatives=[[(name, number_in(share)) for name, share in pairs] for pairs in record["alternatives"]],
        probabilities={name: number_in(share) for name, share in record["probabilities"].items()},
        n_best=[from_record(answer) for answer in record["n_best"]])


def document_of(view: View) -> dict[str, Any]:
    """The whole file: what was asked, and the answer. `note` says why something is missing, "" when nothing is.

    `seen`, where the input is no text: what the positions of the attention are.
    """
    return {"format_version": FORMAT_VERSION, "input": view.input_text, **to_record(view.prediction),
            "note": view.note, **({} if view.seen is None else {"seen": view.seen.described()})}


def write_json(view: View) -> tuple[bytes, list[str]]:
    """One JSON object (RFC 8259) in ASCII, other characters as \\u escapes; no warnings."""
    return (json.dumps(document_of(view), allow_nan=False) + "\n").encode("ascii"), []


def write_npz(view: View) -> tuple[bytes, list[str]]:
    """NumPy arrays attention [T S], token_scores [T], tokens, source_tokens, and the rest as JSON in `document`.

    Unicode arrays drop zero characters at the end of a string, so the document holds the tokens too. No attention
    array without attention. No warnings.
    """
    prediction, document = view.prediction, document_of(view)
    arrays: dict[str, Any] = {"token_scores": prediction.token_scores, "attention": prediction.attention}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    arrays |= {"tokens": np.array(prediction.tokens, dtype=np.str_),
               "source_tokens": np.array(prediction.source_tokens, dtype=np.str_)}
    document |= {"token_scores": [], "attention": None}
    arrays[DOCUMENT] = np.array(json.dumps(document, allow_nan=False))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue(), []


def read_attention(path: str | Path) -> tuple[Prediction, str | None]:
    """A prediction and its input text from a .json or .npz file that `write_attention` wrote.

    Raises DataError when the file is missing, damaged, or of another kind; never runs what is in it.
    """
    path = Path(path)
    try:
        document = read_npz(path) if path.suffix.lower() == ".npz" else json.loads(path.read_text(encoding="utf-8"))
        if document["format_version"] != FORMAT_VERSION:
            raise DataError(f"format version {document['format_version']!r}, expected {FORMAT_VERSION}",
                            where=str(path), fix="write it again with this version of seqloom")
        return replace(from_record(document), **document.get("arrays", {})), document["input"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile,
            zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        raise DataError(f"not a prediction that seqloom wrote ({reason})", where=str(path),
                        fix="expected a .json or .npz file from `seqloom explain -o`") from error


def read_npz(path: Path) -> dict[str, Any]:
    """The document of an npz file, with its arrays under "arrays"."""
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        document: dict[str, Any] = json.loads(str(file[DOCUMENT]))
        document["arrays"] = {name: file[name] for name in ARRAYS if name in file.files}
    return document
