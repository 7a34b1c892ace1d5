"""The one training loop, read top to bottom: update, validate, keep the best, stop, and go on exactly where it was."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqloom.config.sections import Config
from seqloom.engines.torch import choose_device, to_tensors
from seqloom.errors import RunFolderError, TrainingError
from seqloom.model import Model, build_model, insert_pretrained, load_weights, stored_weights
from seqloom.nn.kernels.precision import fast_fp32
from seqloom.progress import Reporter, duration
from seqloom.run import WEIGHTS, append_metrics, write_weights
from seqloom.training.averaging import Averaging
from seqloom.training.checkpoint import (
    arrays,
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from seqloom.training.history import draw_own_history, gold_ratio
from seqloom.training.optimizers import Schedule, base_rate, build_optimizer
from seqloom.training.prepare import Prepared
from seqloom.training.signals import StopSignals
from seqloom.training.validation import LOWER_IS_BETTER, validate, validation_line
from seqloom.types import Batch, Loss

MAX_BAD_UPDATES = 10  # non-finite updates in a row before training gives up


@dataclass
class Progress:
    """Where training stands, in numbers; a checkpoint keeps exactly this beside the tensors."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_loss: float = 0.0
    best_step: int = 0
    stale: int = 0
    bad_in_a_row: int = 0
    bad_updates: int = 0
    clipped: int = 0
    forcing_off: bool = False
    finished: str = ""
    schedule: dict[str, int] = field(default_factory=dict)
    # since the last validation
    loss_sum: float = 0.0
    tokens: int = 0
    updates: int = 0
    train_seconds: float = 0.0


class Trainer:
    """Trains one model on prepared data into a run folder."""

    def __init__(self, config: Config, data: Prepared, folder: Path, reporter: Reporter) -> None:
        self.config, self.options = config, config.training
        self.data, self.folder, self.reporter = data, folder, reporter
        self.device = choose_device(self.options.device)
        self.model: Model = build_model(config, data.source, data.head, seed=self.options.seed)
        self.embedding_reports = insert_pretrained(self.model, data.source, data.head, config)
        self.model.to(self.device)
        self.optimizer = build_optimizer(self.options, self.model.parameters())
        self.averaging = Averaging(self.options, self.model)
        self.schedule = Schedule(self.options.schedule, base_rate(self.options))
        self.progress = Progress()
        self.updates_per_epoch = 0
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.good: dict[str, Tensor] = {}
        self.tensorboard = _tensorboard(folder) if self.options.tensorboard else None

    # --- the loop ---

    def run(self) -> Progress:
        """Train until a limit, no improvement, or a signal. Raises Interrupted after saving on a signal."""
        random_state = torch.get_rng_state()
        started, before = time.monotonic(), self.progress.seconds
        self._remember_good()
        with StopSignals() as signals:
            while not self.progress.finished:
                for indices in self._epoch():
                    self.progress.seconds = before + time.monotonic() - started
                    self._update(indices)
                    if self._validation_due():
                        self._validate()
                    self.progress.finished = self.progress.finished or self._limit_reached()
                    if signals.received or self.progress.finished:
                        break
                else:
                    self._end_epoch()
                if signals.received:
                    self.save()
                    raise signals.interruption(self.folder)
        if self.progress.updates:
            self._validate()
        self.progress.seconds = before + time.monotonic() - started
        self.save()
        torch.set_rng_state(random_state)
        self.reporter.finish()
        return self.progress

    def _epoch(self) -> Any:
        """Groups of batches for one update each, from where this epoch was left."""
        batches = self.data.batches.plan(self.progress.epoch)
        accumulate = self.options.accumulate
        groups = [batches[start : start + accumulate] for start in range(0, len(batches), accumulate)]
        self.updates_per_epoch = len(groups)
        return groups[self.progress.batch :]

    def _end_epoch(self) -> None:
        progress = self.progress
        progress.epoch += 1
        progress.batch = 0
        stop_after = self.options.teacher_forcing.stop_after_epoch
        if stop_after is not None and progress.epoch >= stop_after:
            progress.forcing_off = True
        if self.options.validate_every is None and progress.updates:
            self._validate()
        progress.finished = progress.finished or self._limit_reached()

    def _limit_reached(self) -> str:
        progress, options = self.progress, self.options
        if progress.epoch >= options.epochs:
            return f"{options.epochs} epochs are done"
        if options.max_steps is not None and progress.step >= options.max_steps:
            return f"{options.max_steps} updates are done"
        if options.max_minutes is not None and progress.seconds >= options.max_minutes * 60:
            return f"{options.max_minutes:g} minutes are over"
        if options.patience is not None and progress.stale >= options.patience:
            return f"no improvement in {options.patience} validations"
        return ""

    # --- one update ---

    def _update(self, groups: list[np.ndarray]) -> None:
        """One step of the optimiser over the batches of `groups`."""
        progress, began = self.progress, time.monotonic()
        # Random numbers depend on the seed and the update alone, so a resumed run draws the same ones.
        torch.manual_seed((self.options.seed << 32) + progress.step)
        rate = self.schedule.at(progress.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        losses = [self._backward(indices) for indices in groups]
        total = float(sum(float(loss.total) for loss in losses))
        count = int(sum(int(loss.count) for loss in losses))
        norm = self._scale_gradients(count)
        progress.batch += 1
        if not (math.isfinite(total) and math.isfinite(norm)):
            self._recover(np.concatenate(groups), total)
            return
        self.optimizer.step()
        progress.step += 1
        progress.bad_in_a_row = 0
        self.averaging.updated(progress.step)
        progress.loss_sum += total
        progress.tokens += count
        progress.updates += 1
        progress.train_seconds += time.monotonic() - began
        self._show(total / max(count, 1))

    def _backward(self, indices: np.ndarray) -> Loss:
        """Loss and gradient of one batch, summed, not yet divided."""
        batch = self.data.batch(indices)
        on_device = Batch(None if batch.source is None else to_tensors(batch.source, self.device),
                          to_tensors(batch.target, self.device), batch.indices)
        with self._precision():
            loss: Loss = self.model(on_device, self._own_history(on_device))
            loss.total.backward()
        return Loss(loss.total.detach(), loss.count, loss.correct)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.options.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return fast_fp32() if self.device.type == "cpu" else nullcontext()

    def precision_name(self) -> str:
        """The precision of products, for people."""
        return "bf16 products with fp32 weights" if self.options.precision == "bf16" else "fp32"

    def _own_history(self, batch: Batch) -> Tensor | None:
        config = self.options.teacher_forcing
        ratio = gold_ratio(config, self.progress.step, switched_off=self.progress.forcing_off)
        generator = torch.Generator().manual_seed((self.options.seed << 32) + self.progress.step + 2**31)
        sentences, length = batch.target.main.shape
        own = draw_own_history(config, ratio, (sentences, length - 1), generator)
        return None if own is None else own.to(self.device)

    def _scale_gradients(self, count: int) -> float:
        """Divide by the number of tokens, clip; returns the norm before clipping."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))) / max(count, 1)
        factor = 1.0 / max(count, 1)
        limit = self.options.max_grad_norm
        if limit and norm > limit:
            factor *= limit / (norm + 1e-6)
            self.progress.clipped += 1
        torch._foreach_mul_(gradients, factor)
        return norm

    # --- when a loss is not finite ---

    def _remember_good(self) -> None:
        self.good = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        self.good.update({name: value.clone() for name, value in optimizer_tensors(self.optimizer).items()})

    def _recover(self, indices: np.ndarray, total: float) -> None:
        """Name the examples, leave the update out, go back if the weights are spoilt, halve the rate."""
        progress = self.progress
        progress.bad_updates += 1
        progress.bad_in_a_row += 1
        where = ", ".join(self.data.where(int(index)) for index in indices[:5])
        more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
        spoilt = not all(bool(torch.isfinite(p).all()) for p in self.parameters)
        if spoilt:
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    weight.copy_(self.good[name])
            restore_optimizer(self.optimizer, self.good)
        self.schedule.halvings += 1
        self.reporter.say(
            f"warning: loss {total} is not finite at step {progress.step + 1}; the update is left out"
            f"{', weights go back to the last good state' if spoilt else ''}, the learning rate is halved to "
            f"{self.schedule.at(progress.step + 1):.3g}. Examples: {where}{more}")
        if progress.bad_in_a_row >= MAX_BAD_UPDATES:
            self.save()
            raise TrainingError(f"the loss was not finite in {MAX_BAD_UPDATES} updates in a row",
                                fix="lower training.learning_rate, set training.max_grad_norm, or look at the examples",
                                where=where)

    # --- validation and keeping ---

    def _validation_due(self) -> bool:
        every = self.options.validate_every
        return every is not None and self.progress.updates >= every

    def _validate(self) -> None:
        progress = self.progress
        self.averaging.before_validation()
        with self.averaging.applied():
            row = {**self._training_row(), **validate(self.model, self.data, self.config, self.reporter)}
            value = float(row[self.data.metric if self.data.metric != "loss" else "valid_loss"])
            better = math.isfinite(value) and self._is_better(value, row["valid_loss"])
            if better:
                progress.best, progress.best_step, progress.stale = value, progress.step, 0
                progress.best_loss = row["valid_loss"]
                weights = stored_weights(self.model)
                write_checkpoint(self.folder, "best", weights, {}, {"step": progress.step, self.data.metric: value})
                write_weights(self.folder / WEIGHTS, arrays(weights))
            else:
                progress.stale += 1
        row["best"] = better
        append_metrics(self.folder, row)
        self._write_events(row)
        self.reporter.say(validation_line(row, self.data.metric, better))
        if self.schedule.validated(better):
            self.reporter.say(f"learning rate {self.schedule.at(progress.step + 1):.3g}")
        threshold = self.options.teacher_forcing.stop_at_accuracy
        if threshold is not None and row["free_token_accuracy"] >= threshold:
            progress.forcing_off = True
        progress.loss_sum, progress.tokens, progress.updates, progress.train_seconds = 0.0, 0, 0, 0.0
        progress.clipped = 0
        self._remember_good()
        self.save()

    def _is_better(self, value: float, loss: float) -> bool:
        """By the metric; of equals, as at the start when nothing is right yet, by the loss."""
        best = self.progress.best
        if best is None or value == best:
            return best is None or loss < self.progress.best_loss
        return value < best if self.data.metric in LOWER_IS_BETTER else value > best

    def _training_row(self) -> dict[str, Any]:
        progress = self.progress
        done = progress.epoch + progress.batch / max(self.updates_per_epoch, 1)
        ratio = gold_ratio(self.options.teacher_forcing, progress.step, switched_off=progress.forcing_off)
        return {"step": progress.step, "epoch": round(done, 3), "seconds": round(progress.seconds, 1),
                "train_loss": progress.loss_sum / max(progress.tokens, 1),
                "learning_rate": self.schedule.at(max(progress.step, 1)),
                "tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9), 1),
                "teacher_forcing_ratio": ratio, "clipped_share": progress.clipped / max(progress.updates, 1),
                "bad_updates": progress.bad_updates}

    def save(self) -> None:
        """Write checkpoints/last: everything that `resume` needs."""
        self.progress.schedule = self.schedule.state()
        tensors = {**optimizer_tensors(self.optimizer), **self.averaging.tensors()}
        numbers = {**asdict(self.progress), "data": self.data.fingerprint}
        write_checkpoint(self.folder, "last", stored_weights(self.model), tensors, numbers)

    def resume(self) -> None:
        """Go on from checkpoints/last. Raises RunFolderError."""
        weights, tensors, numbers = read_checkpoint(self.folder, "last")
        numbers.pop("data", None)
        try:
            self.progress = Progress(**numbers)
            load_weights(self.model, weights, str(self.folder))
            restore_optimizer(self.optimizer, tensors)
            self.averaging.restore(tensors)
        except (TypeError, KeyError, ValueError) as error:
            raise RunFolderError(f"checkpoints/last does not fit this configuration: {error}", where=str(self.folder),
                                 fix="resume with the configuration the run was started with") from None
        for name, value in self.progress.schedule.items():
            setattr(self.schedule, name, value)
        self.progress.finished = ""

    # --- telling ---

    def _show(self, loss: float) -> None:
        progress = self.progress
        total = self.options.epochs * self.updates_per_epoch
        if self.options.max_steps is not None:
            total = min(total, self.options.max_steps)
        rate = progress.tokens / max(progress.train_seconds, 1e-9)
        note = f"epoch {progress.epoch + 1}, loss {loss:.3f}, {rate:,.0f} tokens/s"
        if self.options.max_minutes is not None:
            note += f", at most {duration(self.options.max_minutes * 60 - progress.seconds)} left"
        self.reporter.progress("training", progress.step, total, note)

    def _write_events(self, row: dict[str, Any]) -> None:
        if self.tensorboard is not None:
            for name, value in row.items():
                if isinstance(value, (int, float)) and name != "step":
                    self.tensorboard.add_scalar(name, value, row["step"])
            self.tensorboard.flush()


def _tensorboard(folder: Path) -> Any:
    """A TensorBoard writer. Raises MissingExtraError."""
    from seqloom.errors import MissingExtraError

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard", "tensorboard", "training.tensorboard") from None
    return SummaryWriter(str(folder / "tensorboard"))
