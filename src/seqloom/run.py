"""Run folders: the only reader and writer. No pickle anywhere; copying the folder copies the model.

config.yaml               every option but decoding, with format_version
generation_config.json    decoding defaults, nowhere else
source.json, target.json  what each side is; their tokenizers beside them
model.safetensors         weights (best checkpoint)
metrics.jsonl             one object for each validation
README.md                 model card
checkpoints/best, last    what training can go on from
onnx/                     exported graphs
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.config.loading import load_config, save_config
from seqloom.config.sections import FORMAT_VERSION, Config, DecodingConfig
from seqloom.data.storage import atomic_file, read_json, write_json
from seqloom.errors import RunFolderError, UsageError
from seqloom.heads import head_class
from seqloom.sources import source_class

CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
GENERATION = "generation_config.json"
METRICS = "metrics.jsonl"
CARD = "README.md"
CHECKPOINTS = "checkpoints"
QUARANTINE = "quarantine.tsv"


@dataclass(frozen=True)
class Run:
    """An opened run: what reads inputs and outputs, and where the weights are."""

    folder: Path
    config: Config
    source: Any
    head: Any

    def weights(self) -> dict[str, np.ndarray]:
        """The trained weights by name. Raises RunFolderError when they are missing or truncated."""
        return read_weights(self.folder / WEIGHTS)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, oldest first. A half-written last line is left out."""
        return read_metrics(self.folder / METRICS)


def open_run(folder: str | Path) -> Run:
    """Open a run folder. Raises RunFolderError saying what is missing, damaged, or of another version."""
    path = Path(folder)
    if not path.is_dir():
        hint = "give the folder that `seqloom train --out` wrote"
        raise RunFolderError(f"no run folder at {path}" if not path.exists() else f"{path} is a file, not a run folder",
                             fix=hint)
    if not (path / CONFIG).is_file():
        raise RunFolderError(f"{path} is not a run folder: it has no {CONFIG}",
                             fix="give the folder that `seqloom train --out` wrote, or train again")
    _check_version(path / CONFIG)
    generation = read_json(path / GENERATION)
    config, _ = load_config(str(path / CONFIG), values={"decoding": generation})
    source = source_class(config.source.kind).load(path, config.source)
    head = head_class(config.head.kind).load(path, config.head)
    return Run(path, config, source, head)


def _check_version(path: Path) -> None:
    match = re.search(r"^format_version:\s*(\d+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    if match is None or int(match[1]) != FORMAT_VERSION:
        given = match[1] if match else "none"
        raise RunFolderError(f"format_version is {given}, this seqloom reads {FORMAT_VERSION}", where=str(path),
                             fix="install the version of seqloom that wrote the run (see its README.md)")


def create_run_folder(out: str | Path | None, preset: str | None, *, overwrite: bool = False) -> Path:
    """A fresh folder for a run; without `out`, runs/<preset>-<n>. Raises UsageError when it exists already."""
    if out is None:
        base, number = Path("runs"), 1
        while (base / f"{preset or 'run'}-{number}").exists():
            number += 1
        path = base / f"{preset or 'run'}-{number}"
    else:
        path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if not overwrite:
            raise UsageError(f"{path} exists already", fix="use --resume to go on, --overwrite to start again, or "
                                                           "another --out")
        if not path.is_dir() or not (path / CONFIG).exists():
            raise UsageError(f"{path} is not a run folder, so it is not overwritten", fix="choose another --out")
        shutil.rmtree(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create {path}: {error.strerror}", fix="choose a folder you may write to") from None
    return path


def write_description(folder: Path, config: Config, source: Any, head: Any) -> None:
    """Everything of a run but its weights: configuration, decoding defaults, tokenizers."""
    save_config(config, folder / CONFIG, leave_out=("decoding",))
    write_generation(folder, config.decoding)
    source.save(folder)
    head.save(folder)


def write_generation(folder: Path, decoding: DecodingConfig) -> None:
    """The decoding defaults."""
    write_json(folder / GENERATION, decoding.model_dump(mode="json"))


def write_weights(path: Path, weights: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Weights as safetensors, atomically."""
    from safetensors.numpy import save

    with atomic_file(path, "wb") as file:
        file.write(save(weights, metadata))


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Weights from safetensors; sizes are checked against the file before anything is allocated."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise RunFolderError("the file is missing", where=str(path), fix="copy the whole run folder, or train again")
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"not readable: {error}", where=str(path),
                             fix="the file is truncated or damaged: copy the run folder again") from None


def append_metrics(folder: Path, row: dict[str, Any]) -> None:
    """One more line of metrics.jsonl. Raises UsageError when the disk is full."""
    try:
        with (folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {folder / METRICS}: {error.strerror}", fix="free some disk space") from None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a line that a crash cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
