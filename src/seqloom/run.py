"""Run folders: the only reader and writer. No pickle anywhere; copying the folder copies the model.

config.yaml               every option but decoding, with format_version
generation_config.json    decoding defaults, nowhere else
source.json, target.json  what each side is; their tokenizers beside them
model.safetensors         weights (best checkpoint)
metrics.jsonl             one object for each validation
history                   one validation example, answered at each validation
README.md                 model card
checkpoints/best, last    what training can go on from
onnx/                     exported graphs
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.config.loading import dump_config, load_config
from seqloom.config.sections import FORMAT_VERSION, Config, DecodingConfig
from seqloom.data.storage import atomic_file, read_json, write_json
from seqloom.errors import ConfigError, RunFolderError, TrainingError, UsageError
from seqloom.heads import head_class
from seqloom.sources import source_class

CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
GENERATION = "generation_config.json"
METRICS = "metrics.jsonl"
CARD = "README.md"
SECTIONS = ("data", "source", "encoder", "bridge", "decoder", "head", "training")  # of a whole config.yaml
CHECKPOINTS = "checkpoints"
QUARANTINE = "quarantine.tsv"
HISTORY = "history"  # one validation example at each validation: <step>.json
REPLACED = ".replaced"  # ends the name of a run that --overwrite replaces, until the new one stands

COPY_AGAIN = "the file is truncated or damaged: copy the run folder again"


@dataclass(frozen=True)
class Run:
    """An opened run: what reads inputs and outputs, and where the weights are."""

    folder: Path
    config: Config
    source: Any
    head: Any

    def weights(self) -> dict[str, np.ndarray]:
        """The trained weights by name. Raises RunFolderError when they are missing or truncated."""
        path = self.folder / WEIGHTS
        if not path.exists() and (self.folder / CHECKPOINTS / "last").is_dir():
            raise RunFolderError("training stopped before its first validation, which writes the weights",
                                 where=str(path), fix=f"go on with: seqloom train --resume --out {self.folder}")
        return read_weights(path)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, oldest first. A half-written last line is left out."""
        return read_metrics(self.folder / METRICS)


# --- opening ---------------------------------------------------------------------------------------------------------


def open_run(folder: str | Path) -> Run:
    """Open a run folder. Raises RunFolderError saying what is missing, damaged, or of another version."""
    path = Path(folder)
    if not path.is_dir():
        raise RunFolderError(f"no run folder at {path}" if not path.exists() else f"{path} is a file, not a run folder",
                             fix="give the folder that `seqloom train --out` wrote")
    if not (path / CONFIG).is_file():
        raise RunFolderError(f"{path} is not a run folder: it has no {CONFIG}",
                             fix="give the folder that `seqloom train --out` wrote, or train again")
    config = _read_config(path)
    sides = []
    for name, options, family in (("source", config.source, source_class), ("target", config.head, head_class)):
        described = read_json(path / f"{name}.json", "kind", "size")
        if described["kind"] != options.kind:
            raise RunFolderError(f"kind is {described['kind']!r}, {CONFIG} says {options.kind!r}",
                                 where=str(path / f"{name}.json"), fix="files of two runs are mixed: copy one again")
        side = family(options.kind).load(path, options)
        if described["size"] != side.size:
            raise RunFolderError(f"size is {described['size']!r}, but the run has {side.describe()}",
                                 where=str(path / f"{name}.json"), fix="files of two runs are mixed: copy one again")
        sides.append(side)
    return Run(path, config, *sides)


def _read_config(path: Path) -> Config:
    """config.yaml and generation_config.json as one configuration."""
    _check_text(path / CONFIG)
    generation = read_json(path / GENERATION)
    try:
        config, _ = load_config(str(path / CONFIG), values={"decoding": generation},
                                values_from=str(path / GENERATION))
    except ConfigError as error:
        where = error.where or str(path / CONFIG)
        raise RunFolderError(error.message, where=where, fix=error.fix or COPY_AGAIN) from None
    return config


def _check_text(path: Path) -> None:
    """The version, and that no section is missing: without one, defaults would take the place of what was trained."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"not readable: {error.strerror}", where=str(path), fix="change its permissions") from None
    match = re.search(r"^format_version:[ \t]*([^\s#]+)", text, re.MULTILINE)
    given = match[1] if match else "none"
    if given != str(FORMAT_VERSION):
        raise RunFolderError(f"format_version is {given}, this seqloom reads {FORMAT_VERSION}", where=str(path),
                             fix="install the version of seqloom that wrote the run (see its README.md)")
    if not text.endswith("\n"):
        raise RunFolderError("the last line has no end, so something may be missing behind it", where=str(path),
                             fix="copy the run folder again, or end the line if that is how you wrote it")
    missing = [name for name in SECTIONS if not re.search(rf"^{name}:", text, re.MULTILINE)]
    if missing:
        raise RunFolderError(f"lacks {', '.join(missing)}", where=str(path), fix=COPY_AGAIN)


# --- making ----------------------------------------------------------------------------------------------------------


def create_run_folder(out: str | Path | None, preset: str | None, *, overwrite: bool = False) -> Path:
    """A fresh folder for a run; without `out`, runs/<preset>-<n>. Raises UsageError when it exists already."""
    with new_run_folder(out, preset, overwrite=overwrite) as path:
        return path


@contextmanager
def new_run_folder(out: str | Path | None, preset: str | None, *, overwrite: bool = False) -> Iterator[Path]:
    """A fresh folder for a run, in which the block prepares what it needs; without `out`, runs/<preset>-<n>.

    When the block fails everything is as it was: nothing new is left, and a run that `overwrite` replaces is back.
    Raises UsageError when the folder exists already, is no run, or cannot be made.
    """
    try:
        path = _free_folder(preset) if out is None else Path(out)
        exists, replaced = path.exists(), None
        if exists and not _is_empty(path):
            _check_overwriting(path, overwrite)
            replaced = path.with_name(path.name + REPLACED)
            shutil.rmtree(replaced, ignore_errors=True)
            path.rename(replaced)
        above = [folder for folder in path.parents if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create {out or 'a folder in runs'}: {error.strerror}",
                         fix="choose a folder you may write to") from None
    try:
        yield path
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        if replaced is not None:
            replaced.rename(path)
        elif exists:
            path.mkdir(exist_ok=True)
        for folder in above:
            with suppress(OSError):  # not empty: somebody else's by now
                folder.rmdir()
        raise
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _free_folder(preset: str | None) -> Path:
    base, number = Path("runs"), 1
    while (base / f"{preset or 'run'}-{number}").exists():
        number += 1
    return base / f"{preset or 'run'}-{number}"


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _check_overwriting(path: Path, overwrite: bool) -> None:
    if not overwrite:
        going_on = f"go on with seqloom train --resume --out {path}, " if (path / CHECKPOINTS / "last").is_dir() else ""
        raise UsageError(f"{path} exists already", fix=f"{going_on}choose another folder, or --overwrite to replace it")
    if not path.is_dir() or not (path / CONFIG).exists() or path.name in ("", ".."):
        raise UsageError(f"{path} is not a run folder with a name, so it is not overwritten",
                         fix="choose another folder")


# --- writing and reading its files -----------------------------------------------------------------------------------


def write_description(folder: Path, config: Config, source: Any, head: Any) -> None:
    """Everything of a run but its weights: configuration, decoding defaults, tokenizers. Raises UsageError."""
    write_config(folder, config)
    source.save(folder)
    head.save(folder)


def write_config(folder: Path, config: Config) -> None:
    """The configuration, and the decoding defaults in their own file. Raises UsageError when that fails."""
    with atomic_file(folder / CONFIG) as file:
        file.write(dump_config(config, comments=False, leave_out=("decoding",)))
    write_generation(folder, config.decoding)


def write_generation(folder: Path, decoding: DecodingConfig) -> None:
    """The decoding defaults."""
    write_json(folder / GENERATION, decoding.model_dump(mode="json"))


def write_weights(path: Path, weights: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Weights as safetensors, atomically. Raises UsageError when that fails."""
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
        weights: dict[str, np.ndarray] = load_file(str(path))
        foreign = next((array.dtype for array in weights.values() if array.dtype.kind not in "fiu"), None)
        if foreign is not None:  # where ml_dtypes is installed, NumPy seems to have bfloat16
            raise TypeError(f"numbers of type {foreign}")
        return weights
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:  # a type that NumPy does not have
        raise RunFolderError(f"not readable: {error}", where=str(path), fix=COPY_AGAIN) from None


def append_metrics(folder: Path, row: dict[str, Any]) -> None:
    """One more line of metrics.jsonl; a number that is not finite becomes null. Raises TrainingError on a full disk."""
    plain = {name: None if isinstance(value, float) and not math.isfinite(value) else value
             for name, value in row.items()}
    try:
        with (folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise TrainingError(f"cannot be written: {error.strerror}", where=str(folder / METRICS),
                            fix=f"free some disk space, then: seqloom train --resume --out {folder}") from None


def watched_file(folder: Path, step: int) -> Path:
    """Where the watched example's answer at an update is kept."""
    return folder / HISTORY / f"{step:09d}.json"


def keep_metrics(folder: Path, count: int) -> None:
    """Cut metrics.jsonl to its first `count` rows: what a crash left behind its last checkpoint goes."""
    path = folder / METRICS
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines[:count] if line.endswith(b"\n")]
    if len(kept) < len(lines):
        with atomic_file(path, "wb") as file:
            file.writelines(kept)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line that a crash cut short is left out.

    Raises RunFolderError with file:line for a damaged one.
    """
    rows = []
    try:
        lines = path.read_bytes().splitlines() if path.is_file() else []
    except OSError as error:
        raise RunFolderError(f"not readable: {error.strerror}", where=str(path), fix="change its permissions") from None
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines):
            raise RunFolderError("not a row of metrics", where=f"{path}:{number}",
                                 fix="remove the line, or copy the run folder again")
    return rows
