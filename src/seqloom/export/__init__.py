"""A run's model as ONNX graphs: see export/graphs.py. Needs the stored weights only, not torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from seqloom._version import __version__
from seqloom.config.sections import CorpusConfig
from seqloom.data.files import read_records
from seqloom.data.shortlist import FILE, Shortlist, learn
from seqloom.engines.artifacts import (
    FOLDER,
    Models,
    checksum,
    exported_precisions,
    file_name,
    read_manifest,
    sizes_of,
    weights_checksum,
    write_models,
)
from seqloom.errors import DataError, RunFolderError, SeqloomError, UsageError
from seqloom.export.graphs import builder_class
from seqloom.export.parity import Parity, check_parity
from seqloom.export.weights import Weights
from seqloom.run import CARD, WEIGHTS, Run, new_run_folder, open_run, write_description
from seqloom.types import Ints, Record

Say = Callable[[str], None]
TRAINING = "train"  # the run's own training data, where files are asked for


class Export(NamedTuple):
    """folder: where the export stands; parity: what the checks found, one for each precision."""

    folder: Path
    parity: list[Parity]


def export_run(folder: str | Path, out: str | Path | None = None, *, int8: bool = False, overwrite: bool = False,
               data: Sequence[CorpusConfig] | None = None, shortlist: Sequence[str | CorpusConfig] | None = None,
               check: bool = True, limit: int = 500, say: Say | None = None) -> Export:
    """Export a run, and compare the export with torch (where it is installed) on real inputs.

    out:   a new folder that predicts without model.safetensors; into the run itself when not given.
    int8:  whole numbers, a quarter of the size; beside fp32 in the run itself, instead of it in a new folder. A run
           that has it already gets it anew, so that no export of earlier weights stays and none is lost.
    data:  files to compare on; the run's validation data, else its training data, when not given.
    shortlist: learn a vocabulary shortlist from the pairs of these files, "train" being the run's own training data,
           and store it in the folder (see data.shortlist); without, the one that the run has goes along, and a run
           whose decoding asks for one and has none learns it from its training data.
    limit: at most this many inputs are compared.

    Raises UsageError for what cannot be exported, RunFolderError for a broken run, and SeqloomError when the export
    does not answer as the model does (see export.parity); nothing is left of it then.
    """
    run = open_run(folder)
    tell = say or (lambda line: None)
    if shortlist is None and run.config.decoding.shortlist and not (run.folder / FILE).is_file():
        shortlist = [TRAINING]
    lists = None if shortlist is None else learn_shortlist(run, shortlist, tell)
    if out is None:
        precisions = ["fp32", "int8"] if int8 or "int8" in _exported_before(run) else ["fp32"]
    else:
        precisions = ["int8" if int8 else "fp32"]
    models = {precision: build_models(run, int8=precision == "int8") for precision in precisions}
    description = {"seqloom": __version__, "symbols": sizes_of(run), "weights_sha256": weights_checksum(run.folder)}
    if out is None:
        before = run.folder / FOLDER
        write_models(run.folder, models, description)
        if lists is not None:
            lists.save(run.folder)
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
        if lists is None and (run.folder / FILE).is_file():
            lists = load_shortlist(run)
        if lists is not None:
            lists.save(path)
        write_models(path, models, description)
        parity = check_parity(run, replace(run, folder=path), list(models), data, limit, tell) if check else []
        _write_card(run.folder / CARD, path / CARD, models, parity)
    _tell_sizes(path, models, tell)
    return Export(path, parity)


def _exported_before(run: Run) -> list[str]:
    """Precisions the run has been exported in; none where that cannot be read, as exporting again mends it."""
    try:
        manifest = read_manifest(run)
    except RunFolderError:
        return []
    return [] if manifest is None else exported_precisions(manifest)


def build_models(run: Run, *, int8: bool = False) -> Models:
    """The graphs of a run's model. Raises UsageError for a part that has no builder."""
    kind = builder_class(run.config)
    weights = Weights(run.weights(), run.config, str(run.folder / WEIGHTS))
    metadata = {"seqloom": __version__, "precision": "int8" if int8 else "fp32"}
    builder = kind(run.config, weights, int(run.head.size), int8=int8)
    models = builder.serialised(metadata, file_name("weights", metadata["precision"]))
    weights.check_all_taken()
    return models


def learn_shortlist(run: Run, given: Sequence[str | CorpusConfig], say: Say) -> Shortlist:
    """A vocabulary shortlist from pairs. Raises UsageError for models that cannot use one, DataError without pairs."""
    if run.config.decoder.copy_source:
        raise UsageError("this model copies symbols of its source, which no shortlist knows",
                         fix="export without a shortlist")
    if run.config.decoder.context == "attention" and run.config.decoder.attention.kind != "soft":
        raise UsageError("this model sums over source positions what each would write (decoder.attention.kind: "
                         f"{run.config.decoder.attention.kind}), for which no shortlist is exported",
                         fix="export without a shortlist")
    if run.config.source.kind != "text" or run.config.head.kind != "sequence":
        raise UsageError(f"a shortlist is of words for words, and this run goes from {run.config.source.kind} to "
                         f"{run.config.head.kind}", fix="export without a shortlist")
    corpora: list[CorpusConfig] = []
    for one in given:
        own = run.config.data.train if one == TRAINING else [CorpusConfig(path=one) if isinstance(one, str) else one]
        corpora += own

    read, unusable = 0, 0

    def pairs() -> Iterator[tuple[Ints, Ints]]:
        nonlocal read, unusable
        roles = [*run.source.roles, "target"]
        columns = {**run.source.columns, **(run.config.data.columns or {})}
        for record in read_records(corpora, columns, roles):
            read += 1
            if not isinstance(record, Record):
                unusable += 1
                continue
            try:
                source = run.source.read(record).fields["main"]
                target = run.head.read_text(record.text("target"), None).fields["main"][1:-1]
            except DataError:
                unusable += 1
                continue
            yield source, target

    found = learn(pairs(), run.source.size, run.head.size)
    each = len(found.ids) / max(len(found.starts) - 1, 1)
    say(f"shortlist: from {read - unusable:,} pairs, {len(found.common)} symbols for every input and {each:.1f} for "
        f"each source symbol on average, of {found.target_size}"
        + (f"; {unusable:,} lines could not be used: seqloom doctor tells why" if unusable else ""))
    return found


def load_shortlist(run: Run) -> Shortlist:
    """The shortlist of a run. Raises RunFolderError."""
    return Shortlist.load(run.folder, run.source.size, run.head.size)


def _tell_sizes(folder: Path, models: dict[str, Models], tell: Say) -> None:
    for precision, each in models.items():
        tell(f"exported {precision}: {each.size / 1e6:.1f} MB in {folder / FOLDER}")


def _write_card(old: Path, new: Path, models: dict[str, Models], parity: list[Parity]) -> None:
    """The run's model card with a section on the export."""
    text = old.read_text(encoding="utf-8") if old.is_file() else "# A sequence model\n"
    rows = [f"| {precision} | {each.size / 1e6:.1f} MB | {checksum(next(iter(each.graphs.values())))[:12]} | "
            f"{checksum(each.weights)[:12]} |" for precision, each in models.items()]
    checks = [f"- {line}" for one in parity for line in one.lines()] or ["- The export was not checked."]
    new.write_text("\n".join([
        text.rstrip(), "", "## Export", "",
        f"This folder holds ONNX graphs only (seqloom {__version__}): it predicts without torch, and cannot be trained "
        "further.", "", "| precision | size | encoder (SHA-256) | weights (SHA-256) |", "|---|---|---|---|", *rows, "",
        *checks, ""]), encoding="utf-8")
