"""The folder onnx/ of a run: which files it has, and whether they are what was exported. NumPy-free and quick.

manifest.json   format_version, the weights' checksum, sizes of both sides, and for each precision its files
encoder.onnx, best.onnx, …                     fp32 graphs: which there are says export/graphs.py
weights.safetensors                            the arrays that they share
encoder.int8.onnx … weights.int8.safetensors   int8
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from seqloom.data.storage import atomic_file, read_json, write_json
from seqloom.errors import RunFolderError
from seqloom.run import WEIGHTS, Run

FOLDER = "onnx"
MANIFEST = "manifest.json"
ARTIFACT_VERSION = 2
PRECISIONS = ("fp32", "int8")
SIZE_LIMIT = 2**31  # bytes; a model of ONNX cannot be larger
EXPORT_AGAIN = "make it again: seqloom export {folder}"


SHARED = "weights"  # the manifest's name for the file of arrays
# By the kind of the head, the graphs without which a model cannot answer; the manifest may name more.
NEEDED_GRAPHS: dict[str, tuple[str, ...]] = {
    "sequence": ("encoder", "best", "step"),
    "label": ("encoder", "answer"),
    "tags": ("encoder", "answer"),
    "language": ("encoder", "best", "step", "answer"),
}


class Models(NamedTuple):
    """The graphs of a model by name, serialised, and the arrays that they share."""

    graphs: dict[str, bytes]
    weights: bytes

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(map(len, self.graphs.values())) + len(self.weights)


def checksum(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sizes_of(run: Run) -> dict[str, int]:
    """Number of symbols of each side: graphs of other sizes belong to another run."""
    return {"source": int(run.source.size), "target": int(run.head.size)}


def file_name(graph: str, precision: str) -> str:
    """encoder.onnx, step.int8.onnx, weights.safetensors."""
    suffix = "safetensors" if graph == SHARED else "onnx"
    return f"{graph}.{suffix}" if precision == "fp32" else f"{graph}.{precision}.{suffix}"


def write_models(folder: Path, models: dict[str, Models], description: dict[str, Any]) -> None:
    """Write graphs, and the manifest last: without it the folder counts as not exported. Raises UsageError."""
    target = folder / FOLDER
    (target / MANIFEST).unlink(missing_ok=True)
    files: dict[str, Any] = {}
    for precision, each in models.items():
        files[precision] = {}
        for graph, content in (*each.graphs.items(), (SHARED, each.weights)):
            name = file_name(graph, precision)
            with atomic_file(target / name, "wb") as file:
                file.write(content)
            files[precision][graph] = {"file": name, "bytes": len(content), "sha256": checksum(content)}
    write_json(target / MANIFEST, {"format_version": ARTIFACT_VERSION, **description, "weights_stamp": _stamp(folder),
                                   "models": files})


def weights_checksum(folder: Path) -> str:
    """Checksum of model.safetensors, or "" where there is none."""
    path = folder / WEIGHTS
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(folder: Path) -> list[int] | None:
    """Bytes of model.safetensors and when it was written, in nanoseconds; None where there is none."""
    path = folder / WEIGHTS
    if not path.is_file():
        return None
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def read_manifest(run: Run) -> dict[str, Any] | None:
    """The manifest, or None where the run has no export. Raises RunFolderError when it is damaged or of another time.
    """
    path = run.folder / FOLDER / MANIFEST
    if not path.is_file():
        return None
    manifest = read_json(path, "format_version", "models", "symbols", "weights_sha256")
    again = EXPORT_AGAIN.format(folder=run.folder)
    if manifest["format_version"] != ARTIFACT_VERSION:
        raise RunFolderError(f"format_version is {manifest['format_version']!r}, this seqloom reads {ARTIFACT_VERSION}",
                             where=str(path), fix=f"{again}, or install the version of seqloom that wrote it")
    if manifest["symbols"] != sizes_of(run):
        raise RunFolderError(f"exported for {manifest['symbols']} symbols, but the tokenizers have {sizes_of(run)}",
                             where=str(path), fix=f"files of two runs are mixed: copy the folder again, or {again}")
    return manifest


def is_stale(run: Run, manifest: dict[str, Any]) -> bool:
    """Whether the run's weights have changed since the export."""
    stamp = _stamp(run.folder)
    if stamp is None or stamp == manifest.get("weights_stamp"):  # the very file: a checksum takes longer than answering
        return False
    return bool(weights_checksum(run.folder) != manifest["weights_sha256"])


def exported_precisions(manifest: dict[str, Any]) -> list[str]:
    """Precisions that were exported, the default first."""
    return [precision for precision in PRECISIONS if precision in manifest["models"]]


def read_models(run: Run, manifest: dict[str, Any], precision: str) -> Models:
    """The graphs, checked against the manifest. Raises RunFolderError."""
    models, check = open_models(run, manifest, precision)
    check()
    return models


def open_models(run: Run, manifest: dict[str, Any], precision: str) -> tuple[Models, Callable[[], None]]:
    """The graphs, each as long as the manifest says, and a call that compares their checksums.

    That takes as long as opening the graphs and may go on beside it; nothing is to be answered before it has come to
    its end. Both raise RunFolderError.
    """
    files = manifest["models"][precision]
    named = {graph: entry for graph, entry in files.items() if entry is not None} if isinstance(files, dict) else {}
    needed = NEEDED_GRAPHS[run.config.head.kind]
    found = {graph: _read_sized(run, named, graph) for graph in dict.fromkeys((*needed, SHARED, *named))}

    def check() -> None:
        for content, expected, path in found.values():
            if checksum(content) != expected:
                raise RunFolderError("the checksum is not the one of the export: the file was damaged or changed",
                                     where=str(path),
                                     fix=f"copy the run folder again, or {EXPORT_AGAIN.format(folder=run.folder)}")

    contents = {graph: content for graph, (content, _, _) in found.items()}
    return Models({graph: content for graph, content in contents.items() if graph != SHARED}, contents[SHARED]), check


def _read_sized(run: Run, files: dict[str, Any], graph: str) -> tuple[bytes, str, Path]:
    """Content, expected checksum and path of a file."""
    again = EXPORT_AGAIN.format(folder=run.folder)
    try:
        entry = files[graph]
        name, size, expected = str(entry["file"]), int(entry["bytes"]), str(entry["sha256"])
    except (KeyError, TypeError, ValueError):
        raise RunFolderError(f"says nothing usable about {graph}", where=str(run.folder / FOLDER / MANIFEST),
                             fix=f"copy the run folder again, or {again}") from None
    path = run.folder / FOLDER / Path(name).name
    if not path.is_file():
        raise RunFolderError("the file is missing", where=str(path), fix=f"copy the whole run folder, or {again}")
    if path.stat().st_size != size or size > SIZE_LIMIT:
        raise RunFolderError(f"{path.stat().st_size:,} bytes, expected {size:,}", where=str(path),
                             fix=f"the file is truncated or damaged: copy the run folder again, or {again}")
    return path.read_bytes(), expected, path
