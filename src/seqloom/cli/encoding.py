"""What `seqloom encode` does once its options are read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.cli.inputs import Inputs, check_streams, lines_of
from seqloom.cli.options import silence
from seqloom.cli.prediction import SHOWN_WARNINGS, open_predictor
from seqloom.cli.streams import note
from seqloom.data.storage import atomic_file
from seqloom.errors import DataError, UsageError
from seqloom.predictor import Predictor
from seqloom.progress import reporter_for
from seqloom.types import BadRecord, Record


def run_encoding(run: str, file: str | None, output: str, input_format: str | None, engine: str, device: str,
                 threads: str | None, *, language: str | None = None, quiet: bool = False) -> int:
    """Encode inputs into an .npz, one line after the other; the exit code: 1 when every line was bad."""
    if Path(output).suffix != ".npz":
        raise UsageError(f"cannot write {output}: encodings are written as .npz", fix="give a name that ends in .npz")
    check_streams(file, output)
    predictor = open_predictor([run], engine, device, threads, language=language, quiet=quiet)
    inputs = Inputs(predictor, file, input_format, quiet=quiet)
    reporter = reporter_for(quiet=silence(quiet))
    expected = lines_of(file)
    lines: list[int] = []
    summaries: list[Any] = []
    with atomic_file(Path(output), "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for number, record in enumerate(inputs.records(), 1):
            try:
                encoded = _encoded(predictor, record)
            except DataError as error:
                if number - len(lines) <= SHOWN_WARNINGS:
                    reporter.say(f"warning: {record.where}: {error.message}")
                continue
            lines.append(number)
            summaries.append(encoded["summary"])
            for name in ("states", "mask", "tokens"):
                _add(archive, f"{name}.{number}", np.asarray(encoded[name]))
            reporter.progress("encoded", number, expected)
        _add(archive, "lines", np.asarray(lines, np.int64))
        if summaries:
            _add(archive, "summary", np.stack(summaries))
    reporter.finish()
    if inputs.remark():
        note(inputs.remark())
    if len(lines) < inputs.read:
        reporter.say(f"warning: {inputs.read - len(lines):,} of {inputs.read:,} lines could not be read and are left "
                     "out; `lines` says which are there")
    return 1 if inputs.read and not lines else 0


def _encoded(predictor: Predictor, record: Record | BadRecord) -> dict[str, Any]:
    if isinstance(record, BadRecord):
        raise DataError(record.reason)
    return predictor.encode([{role: record.text(role) for role in predictor.source.roles}])[0]


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
