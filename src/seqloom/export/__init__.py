"""A run's model as ONNX graphs: an encoder and one step of the decoder. Needs the stored weights only, not torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from seqloom._version import __version__
from seqloom.config.sections import Config, CorpusConfig
from seqloom.engines.artifacts import FOLDER, Models, checksum, sizes_of, weights_checksum, write_models
from seqloom.errors import SeqloomError, UsageError
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.graphs import encoder_graph, step_graph
from seqloom.export.parity import Parity, check_parity
from seqloom.export.scores import EXPORTED_SCORES
from seqloom.export.weights import Weights
from seqloom.run import CARD, WEIGHTS, Run, new_run_folder, open_run, write_description

Say = Callable[[str], None]


class Export(NamedTuple):
    """folder: where the export stands; parity: what the checks found, one for each precision."""

    folder: Path
    parity: list[Parity]


def export_run(folder: str | Path, out: str | Path | None = None, *, int8: bool = False, overwrite: bool = False,
               data: Sequence[CorpusConfig] | None = None, check: bool = True, limit: int = 500,
               say: Say | None = None) -> Export:
    """Export a run, and compare the export with torch (where it is installed) on real inputs.

    out:   a new folder that predicts without model.safetensors; into the run itself when not given.
    int8:  whole numbers, a quarter of the size; beside fp32 in the run itself, instead of it in a new folder.
    data:  files to compare on; the run's validation data, else its training data, when not given.
    limit: at most this many inputs are compared.

    Raises UsageError for what cannot be exported, RunFolderError for a broken run, and SeqloomError when the export
    does not answer as the model does (see export.parity); nothing is left of it then.
    """
    run = open_run(folder)
    tell = say or (lambda line: None)
    models = {precision: build_models(run, int8=precision == "int8")
              for precision in (("fp32", "int8") if int8 and out is None else ("int8",) if int8 else ("fp32",))}
    description = {"seqloom": __version__, "symbols": sizes_of(run), "weights_sha256": weights_checksum(run.folder)}
    if out is None:
        before = run.folder / FOLDER
        write_models(run.folder, models, description)
        exported = run
        try:
            parity = check_parity(run, exported, list(models), data, limit, tell) if check else []
        except SeqloomError:
            shutil.rmtree(before, ignore_errors=True)
            raise
        _tell_sizes(run.folder, models, tell)
        return Export(run.folder, parity)
    if Path(out).resolve() == run.folder.resolve():
        raise UsageError(f"{out} is the run itself", fix="give another folder, or none to export into the run")
    with new_run_folder(out, None, overwrite=overwrite) as path:
        write_description(path, run.config, run.source, run.head)
        write_models(path, models, description)
        parity = check_parity(run, replace(run, folder=path), list(models), data, limit, tell) if check else []
        _write_card(run.folder / CARD, path / CARD, models, parity)
    _tell_sizes(path, models, tell)
    return Export(path, parity)


def build_models(run: Run, *, int8: bool = False) -> Models:
    """Both graphs of a run's model. Raises UsageError for a part that has no builder."""
    check_exportable(run.config)
    weights = Weights(run.weights(), run.config, str(run.folder / WEIGHTS))
    symbols = int(run.head.size)
    metadata = {"seqloom": __version__, "precision": "int8" if int8 else "fp32"}
    encoder = encoder_graph(run.config, weights, symbols, int8=int8)
    step = step_graph(run.config, weights, symbols, int8=int8)
    weights.check_all_taken()
    return Models(encoder.serialised(metadata), step.serialised(metadata))


def check_exportable(config: Config) -> None:
    """Raise UsageError when a part of the model is not one that can be exported, such as a newly written score."""
    cells, scores = list(EXPORTED_CELLS), list(EXPORTED_SCORES)
    used = [("cell", config.encoder.cell, cells, "cells"), ("cell", config.decoder.cell, cells, "cells"),
            ("score", config.decoder.attention.score, scores, "scores")]
    for kind, name, table, file in used:
        if name not in table:
            raise UsageError(f"the {kind} '{name}' cannot be exported: it has no builder",
                             fix=f"predict with --engine torch, or add it to export/{file}.py")


def _tell_sizes(folder: Path, models: dict[str, Models], tell: Say) -> None:
    for precision, pair in models.items():
        tell(f"exported {precision}: {(len(pair.encoder) + len(pair.step)) / 1e6:.1f} MB in {folder / FOLDER}")


def _write_card(old: Path, new: Path, models: dict[str, Models], parity: list[Parity]) -> None:
    """The run's model card with a section on the export."""
    text = old.read_text(encoding="utf-8") if old.is_file() else "# A sequence model\n"
    rows = [f"| {precision} | {(len(pair.encoder) + len(pair.step)) / 1e6:.1f} MB | {checksum(pair.encoder)[:12]} | "
            f"{checksum(pair.step)[:12]} |" for precision, pair in models.items()]
    checks = [f"- {line}" for one in parity for line in one.lines()] or ["- The export was not checked."]
    new.write_text("\n".join([
        text.rstrip(), "", "## Export", "",
        f"This folder holds ONNX graphs only (seqloom {__version__}): it predicts without torch, and cannot be trained "
        "further.", "", "| precision | size | encoder (SHA-256) | step (SHA-256) |", "|---|---|---|---|", *rows, "",
        *checks, ""]), encoding="utf-8")
