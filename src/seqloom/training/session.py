"""A whole training: folder, data, loop, best checkpoint, model card. What `seqloom train` and `finetune` call."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from seqloom.config.sections import Config
from seqloom.data.storage import atomic_file, write_json
from seqloom.engines.torch import TorchEngine
from seqloom.errors import DataError, RunFolderError, TrainingError, UsageError, counted
from seqloom.evaluation import compared
from seqloom.model import load_weights
from seqloom.predictor import Predictor
from seqloom.progress import Reporter, duration
from seqloom.run import (
    CARD,
    CHECKPOINTS,
    COPY_AGAIN,
    QUARANTINE,
    WEIGHTS,
    Run,
    new_run_folder,
    open_run,
    read_weights,
    write_config,
    write_description,
)
from seqloom.training.card import model_card
from seqloom.training.checkpoint import read_checkpoint
from seqloom.training.events import check_tensorboard
from seqloom.training.exporting import export_finished
from seqloom.training.loop import Trainer
from seqloom.training.prepare import Prepared, prepare
from seqloom.training.signals import StopSignals
from seqloom.training.validation import gold_history

REPORT = "data_report.json"

# A resumed run may change these; anything else would make another run of it. Where the data stands may change too: what
# is in it is compared by its fingerprint.
MAY_CHANGE = ("training.epochs", "training.max_steps", "training.max_minutes", "training.patience", "training.device",
              "training.threads", "training.tensorboard", "decoding", "data.train", "data.valid")
# Training on from another run's weights keeps what those weights mean.
MUST_STAY = ("source", "head")
BUT_NOT = ("source.pretrained", "head.pretrained")


def train_run(config: Config, out: str | Path | None, *, overwrite: bool = False, reporter: Reporter | None = None,
              start_from: Run | None = None, made: bool = False) -> Path:
    """Train from the beginning, or from another run's weights (`start_from`); returns the run folder.

    `made`: the caller has made the folder `out` and put its data there.

    Raises UsageError and its kin (exit 2) before training, with nothing left behind; TrainingError, Interrupted in it.
    """
    reporter = reporter or Reporter()
    if start_from is not None:
        _check_symbols_stay(start_from.config, config)
    if config.training.tensorboard:
        check_tensorboard()
    if not made:
        _check_files(config, out, start_from)
    set_threads(config)
    place = nullcontext(Path(out)) if made and out else new_run_folder(out, config.preset, overwrite=overwrite)
    with StopSignals("training has not begun, and nothing is kept") as signals:
        with place as folder:
            write_config(folder, config)
            reporter.say(f"run folder: {folder}")
            data = prepare(config, folder, reporter, run=start_from)
            write_description(folder, config, data.source, data.head)
            write_json(folder / REPORT, data.report.to_json())
            start = None if start_from is None else tensors_of(start_from.weights())
            trainer = Trainer(config, data, folder, reporter, start=start)
            _announce(trainer, data, reporter)
        trainer.run(signals)
        return _finish(trainer, folder, reporter, signals)


def resume_run(folder: str | Path, config: Config | None = None, *, reporter: Reporter | None = None) -> Path:
    """Go on with a run exactly where it stopped. `config`: the run's own, with changes that MAY_CHANGE allows.

    Raises RunFolderError without a whole checkpoint, UsageError for other changes, in config.yaml too, or other data.
    """
    reporter = reporter or Reporter()
    run = open_run(folder)
    run = Run(run.folder, config or run.config, run.source, run.head)
    weights, tensors, numbers = read_checkpoint(run.folder, "last")
    _refuse_changes(_trained_with(run.folder, numbers), run.config, lambda key: not under(key, MAY_CHANGE),
                    "a run cannot be resumed", "undo it, or start a new run: train, or finetune from this run")
    if run.config.training.tensorboard:
        check_tensorboard()
    set_threads(run.config)
    with StopSignals("training has not gone on, and the run is as it was") as signals:
        data = _same_data(run, numbers, reporter)
        trainer = Trainer(run.config, data, run.folder, reporter, start=weights)
        trainer.resume(tensors, numbers)
        write_config(run.folder, run.config)
        _announce(trainer, data, reporter)
        before = trainer.progress.step
        reporter.say(f"going on from step {before:,}, epoch {trainer.progress.epoch + 1}")
        trainer.run(signals)
        if trainer.progress.step == before and not signals.received:
            reporter.say(f"note: nothing was left to do: {trainer.progress.finished}; limits count from the start of "
                         "the run: give larger ones with --epochs, --max-steps, --max-minutes or training.patience")
        return _finish(trainer, run.folder, reporter, signals)


def _trained_with(folder: Path, numbers: dict[str, Any]) -> Config:
    """The configuration that a checkpoint was written with. Raises RunFolderError."""
    try:
        return Config.model_validate_json(json.dumps(numbers["config"]), strict=True)
    except ValidationError as error:
        raise RunFolderError(f"the checkpoint's configuration is damaged: {error.errors()[0]['msg']}",
                             where=str(folder / CHECKPOINTS / "last"), fix=COPY_AGAIN) from None


def _same_data(run: Run, numbers: dict[str, Any], reporter: Reporter) -> Prepared:
    """The run's data, prepared again. Raises DataError, or UsageError when it has changed."""
    try:
        data = prepare(run.config, run.folder, reporter, run=run)
    except DataError as error:
        error.fix = (f"{error.fix}; " if error.fix else "") + (
            "paths are relative to the working directory: go on where the run was started, or say where the data is "
            "now with --set data.train=…")
        raise
    if numbers["data"] != data.fingerprint:
        raise UsageError("the training or validation data is not what this run was started with",
                         fix="restore the files, or start a new run (finetune begins with this run's weights)")
    return data


def plan_run(config: Config, reporter: Reporter) -> None:
    """What `train` would do, without doing it: reads the data, builds the model, and says the plan."""
    set_threads(config)
    with tempfile.TemporaryDirectory(prefix="seqloom-") as folder:
        data = prepare(config, Path(folder), reporter)
        if data.report.quarantine:  # it goes with the folder
            data.report = replace(data.report, quarantine=f"{QUARANTINE} of the run")
        _announce(Trainer(config, data, Path(folder), reporter), data, reporter)
    reporter.finish()


def _check_files(config: Config, out: str | Path | None, start_from: Run | None) -> None:
    """Raise UsageError for data, or a run, that an overwritten run folder would take away."""
    paths = [Path(path) for corpus in [*config.data.train, *config.data.valid]
             for path in (corpus.path, corpus.source, corpus.target) if path is not None]
    for path in [*paths, *([] if start_from is None else [start_from.folder])]:
        if out is not None and path.resolve().is_relative_to(Path(out).resolve()):
            raise UsageError(f"{path} lies in the run folder that is to be written", fix="choose another --out")


def set_threads(config: Config) -> None:
    """CPU threads as configured."""
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found.update(flat(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return found


def under(key: str, sections: Sequence[str]) -> bool:
    """Whether a dotted key is one of these, or in one of these sections."""
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def tensors_of(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Stored weights as tensors of their own."""
    return {name: torch.tensor(array) for name, array in arrays.items()}


def _refuse_changes(stored: Config, wanted: Config, is_refused: Callable[[str], bool], what: str, fix: str) -> None:
    """Raises UsageError with both values of every changed key that is refused."""
    old, new = flat(stored.model_dump(mode="json")), flat(wanted.model_dump(mode="json"))
    refused = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and is_refused(key)]
    if refused:
        shown = "; ".join(f"{key}: {old.get(key)!r} in the run, {new.get(key)!r} given" for key in refused[:5])
        raise UsageError(f"{what} with other settings ({shown})", fix=fix)


def _check_symbols_stay(stored: Config, wanted: Config) -> None:
    _refuse_changes(stored, wanted, lambda key: under(key, MUST_STAY) and not under(key, BUT_NOT),
                    "the weights of a run cannot be used", "leave them out, or train from the beginning")


def _announce(trainer: Trainer, data: Prepared, reporter: Reporter) -> None:
    options = trainer.options
    for line in [*data.report.lines(), *trainer.embedding_reports]:
        reporter.say(line)
    waste = data.batches.waste(0)
    reporter.say(f"reads {data.source.describe()}, answers with {data.head.describe()}")
    threads = torch.get_num_threads()
    reporter.say(f"model: {trainer.model.parameter_count():,} parameters on {trainer.device}, "
                 f"{counted(threads, 'thread')}, {trainer.gradients.precision_name()}")
    if way := trainer.gradients.ways():
        reporter.say(f"kernels: {way}")
    reporter.say(f"plan: {data.describe_plan(trainer.config)} "
                 f"({100 * waste.total:.1f} % padding), at most {counted(options.epochs, 'epoch')}; "
                 f"best by {data.metric}")


def _finish(trainer: Trainer, folder: Path, reporter: Reporter, signals: StopSignals) -> Path:
    """Best weights, a last evaluation with the run's own decoding options, the card, and the export."""
    signals.stop("the model is trained, its last evaluation and its README.md are missing", folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    progress, data = trainer.progress, trainer.data
    if progress.best is None:
        raise TrainingError(f"no validation gave a finite loss and {data.metric}, so there are no weights to keep",
                            fix="lower training.learning_rate; metrics.jsonl shows how it went", where=str(folder))
    load_weights(trainer.model, tensors_of(read_weights(folder / WEIGHTS)), str(folder / WEIGHTS))
    decoding = trainer.config.decoding.model_copy(update={"shortlist": False})  # it is learned by the export
    predictor = Predictor(data.source, data.head, TorchEngine(trainer.model), decoding)
    outputs = []
    for number, prediction in enumerate(predictor.predict_records(data.valid_records if data.head.metrics else [])):
        reporter.progress("final evaluation", number, len(data.valid_records))
        outputs.append(prediction.text)
    if data.head.metrics:
        names = dict.fromkeys([*list(data.head.metrics)[:1], *([] if data.metric == "loss" else [data.metric])])
        references = [data.head.texts_of(record) for record in data.valid_records]
        result = compared(data.head, outputs, references, list(names))
    else:
        result = gold_history(trainer.model, data)
        names = dict.fromkeys(result)
    shown = ", ".join(f"{name} {float(result[name]):.4g}" for name in names)
    best = f"best at step {progress.best_step:,}" if progress.best_step else \
        "nothing was better than the weights it began with, which are kept"
    reporter.say(f"done: {progress.finished}. {counted(progress.step, 'update')} in {duration(progress.seconds)}; "
                 f"{best}. Validation with the run's decoding options: {shown}")
    if names and not any(float(result[name]) for name in names):
        smaller = "with many unknown symbols (above) take smaller ones, --set head.tokenizer=character; else "
        reporter.say(f"note: not one validation answer is right ({shown}): {smaller * data.head.is_free_text}"
                     "train longer, or give more data")
    with atomic_file(folder / CARD) as file:
        file.write(model_card(trainer.config, data, progress, result))
    signals.stop("the run is whole, but for its export to ONNX: seqloom export makes it", folder)
    export_finished(folder, reporter)
    reporter.say(f"try it: seqloom predict {shlex.quote(str(folder))}")
    return folder
