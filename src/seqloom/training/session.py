"""A whole training: folder, data, loop, best checkpoint, model card. What `seqloom train` and `finetune` call."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from seqloom.config.sections import Config
from seqloom.data.storage import write_json
from seqloom.engines.torch import TorchEngine
from seqloom.errors import UsageError
from seqloom.metrics import evaluate_outputs
from seqloom.model import load_weights
from seqloom.predictor import Predictor
from seqloom.progress import Reporter, duration
from seqloom.run import (
    CARD,
    METRICS,
    WEIGHTS,
    Run,
    create_run_folder,
    open_run,
    read_metrics,
    read_weights,
    write_description,
)
from seqloom.training.card import model_card
from seqloom.training.checkpoint import read_checkpoint
from seqloom.training.loop import Trainer
from seqloom.training.prepare import Prepared, prepare

# A resumed run may change these; anything else would make another run of it.
MAY_CHANGE = ("training.epochs", "training.max_steps", "training.max_minutes", "training.patience", "training.device",
              "training.threads", "training.tensorboard", "decoding")


def train_run(config: Config, out: str | Path | None, *, overwrite: bool = False, reporter: Reporter | None = None,
              start_from: Run | None = None, made: bool = False) -> Path:
    """Train from the beginning, or from another run's weights (`start_from`); returns the run folder.

    `made`: the caller has made the folder `out` and put its data there.

    Raises UsageError and its kin (exit 2) before training, TrainingError and Interrupted in it.
    """
    reporter = reporter or Reporter()
    set_threads(config)
    folder = Path(out) if made and out else create_run_folder(out, config.preset, overwrite=overwrite)
    reporter.say(f"run folder: {folder}")
    data = prepare(config, folder, reporter, run=start_from)
    write_description(folder, config, data.source, data.head)
    write_json(folder / "data_report.json", data.report.to_json())
    trainer = Trainer(config, data, folder, reporter)
    if start_from is not None:
        weights = {name: torch.from_numpy(array) for name, array in start_from.weights().items()}
        load_weights(trainer.model, weights, str(start_from.folder / WEIGHTS))
    _announce(trainer, data, reporter)
    trainer.run()
    return _finish(trainer, folder, reporter)


def resume_run(folder: str | Path, config: Config | None = None, *, reporter: Reporter | None = None) -> Path:
    """Go on with a run exactly where it stopped. `config`: the run's own, with changes that MAY_CHANGE allows."""
    reporter = reporter or Reporter()
    run = open_run(folder)
    if config is not None:
        _check_changes(run.config, config)
        run = Run(run.folder, config, run.source, run.head)
    set_threads(run.config)
    _, _, numbers = read_checkpoint(run.folder, "last")
    data = prepare(run.config, run.folder, reporter, run=run)
    if numbers.get("data", data.fingerprint) != data.fingerprint:
        raise UsageError("the training data is not what this run was started with",
                         fix="restore the files, or start a new run (finetune begins with this run's weights)")
    write_description(run.folder, run.config, run.source, run.head)
    trainer = Trainer(run.config, data, run.folder, reporter)
    trainer.resume()
    _announce(trainer, data, reporter)
    reporter.say(f"going on from step {trainer.progress.step:,}, epoch {trainer.progress.epoch + 1}")
    trainer.run()
    return _finish(trainer, run.folder, reporter)


def plan_run(config: Config, reporter: Reporter) -> None:
    """What `train` would do, without doing it: reads the data, builds the model, and says the plan."""
    set_threads(config)
    with tempfile.TemporaryDirectory(prefix="seqloom-") as folder:
        data = prepare(config, Path(folder), reporter)
        _announce(Trainer(config, data, Path(folder), reporter), data, reporter)
    reporter.finish()


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


def _check_changes(stored: Config, wanted: Config) -> None:
    old, new = flat(stored.model_dump(mode="json")), flat(wanted.model_dump(mode="json"))
    changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    refused = [key for key in changed if not any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)]
    if refused:
        shown = "; ".join(f"{key}: {old.get(key)!r} in the run, {new.get(key)!r} given" for key in refused[:5])
        raise UsageError(f"a run cannot be resumed with other settings ({shown})",
                         fix="leave them out, or start a new run: train, or finetune from this run")


def _announce(trainer: Trainer, data: Prepared, reporter: Reporter) -> None:
    options = trainer.options
    for line in [*data.report.lines(), *trainer.embedding_reports]:
        reporter.say(line)
    plan = data.batches.count(0)
    waste = data.batches.waste(0)
    reporter.say(f"vocabulary: {data.source.tokenizer.size:,} source and {data.head.tokenizer.size:,} target symbols")
    reporter.say(f"model: {trainer.model.parameter_count():,} parameters on {trainer.device}, "
                 f"{torch.get_num_threads()} threads, {trainer.precision_name()}")
    reporter.say(f"plan: {len(data.store):,} examples in {plan:,} batches of {options.batch_size} {options.batch_type} "
                 f"({100 * waste.total:.1f} % padding), at most {options.epochs} epochs; best by {data.metric}")


def _finish(trainer: Trainer, folder: Path, reporter: Reporter) -> Path:
    """Best weights, a last evaluation with the run's own decoding options, and the card."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    progress, data = trainer.progress, trainer.data
    weights = {name: torch.from_numpy(array) for name, array in read_weights(folder / WEIGHTS).items()}
    load_weights(trainer.model, weights, str(folder / WEIGHTS))
    predictor = Predictor(data.source, data.head, TorchEngine(trainer.model), trainer.config.decoding)
    outputs = []
    for number, prediction in enumerate(predictor.predict_records(data.valid_records)):
        reporter.progress("final evaluation", number, len(data.valid_records))
        outputs.append(prediction.text)
    names = dict.fromkeys(["exact_match", *([] if data.metric == "loss" else [data.metric])])
    references = [record.texts("target") for record in data.valid_records]
    result = evaluate_outputs(outputs, references, list(names), tokenize=data.bleu_tokenize)
    shown = ", ".join(f"{name} {float(result[name]):.4g}" for name in names)
    reporter.say(f"done: {progress.finished}. {progress.step:,} updates in {duration(progress.seconds)}; best at step "
                 f"{progress.best_step:,}. Validation with the run's decoding options: {shown}")
    (folder / CARD).write_text(model_card(trainer.config, data, progress, result, read_metrics(folder / METRICS)),
                               encoding="utf-8")
    reporter.say(f"try it: seqloom predict {folder}")
    return folder


