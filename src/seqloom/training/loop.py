"""The one training loop, read top to bottom: update, validate, keep the best, stop, and go on exactly where it was."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqloom.config.sections import Config
from seqloom.data.batching import Groups
from seqloom.engines.torch import choose_device
from seqloom.errors import RunFolderError, TrainingError, counted
from seqloom.model import Model, build_model, insert_pretrained, load_weights, stored_weights
from seqloom.nn.kernels.precision import bound_memory
from seqloom.progress import Reporter, duration
from seqloom.run import CHECKPOINTS, COPY_AGAIN, WEIGHTS, append_metrics, keep_metrics, write_weights
from seqloom.training.averaging import Averaging
from seqloom.training.checkpoint import (
    arrays,
    optimizer_tensors,
    restore_optimizer,
    write_checkpoint,
)
from seqloom.training.events import Events
from seqloom.training.gradients import Gradients, Sums, UnreadSums, is_out_of_memory, read
from seqloom.training.guard import MAX_BAD_UPDATES, Guard
from seqloom.training.history import gold_ratio
from seqloom.training.memory import peak_memory
from seqloom.training.minimum_risk import minimum_risk
from seqloom.training.optimizers import Schedule, base_rate, build_optimizer
from seqloom.training.prepare import Prepared
from seqloom.training.signals import StopSignals
from seqloom.training.state import Progress
from seqloom.training.validation import LOWER_IS_BETTER, validate, validation_line
from seqloom.training.watched import watch
from seqloom.types import Ints

SAVE_SECONDS = 180.0  # checkpoints/last is at most this old, so that a crash loses little
READ_EVERY = 16  # updates on a GPU between two looks at their numbers: every look waits for it


class Trainer:
    """Trains one model on prepared data into a run folder."""

    def __init__(self, config: Config, data: Prepared, folder: Path, reporter: Reporter, *,
                 start: dict[str, Tensor] | None = None) -> None:
        """start: weights to begin with, in place of fresh ones and pretrained vectors. Raises RunFolderError when
        they are another model's."""
        self.config, self.options = config, config.training
        self.data, self.folder, self.reporter = data, folder, reporter
        self.device = choose_device(self.options.device)
        self.model: Model = build_model(config, data.source, data.head, seed=self.options.seed)
        bound_memory(self.model.parameter_count())
        self.embedding_reports = insert_pretrained(self.model, data.source, data.head, fresh=start is None)
        self.starts_trained = start is not None
        if start is not None:
            load_weights(self.model, start, str(folder))
        self.model.to(self.device)
        self.optimizer = build_optimizer(self.options, self.model.parameters())
        self.gradients = Gradients(self.model, data, self.options, self.device, reporter.say,
                                   risk=minimum_risk(config, self.model, data.head))
        self.averaging = Averaging(self.options, self.model)
        self.guard = Guard(self.model, self.optimizer, self.averaging)
        # Optimisers in one kernel leave an update out by themselves when its gradient is not finite.
        self.read_every = READ_EVERY if self.device.type == "cuda" and self.optimizer.defaults.get("fused") else 1
        self.unread: list[tuple[list[Ints], UnreadSums]] = []
        self.progress = Progress()
        self.schedule = Schedule(self.options.schedule, base_rate(self.options), self.progress.rate)
        self.updates_per_epoch = 0
        self.saved = 0.0  # progress.seconds at the last checkpoint
        self.waited = 0.0  # the loader's seconds of waiting at the last validation
        self.events = Events(folder, enabled=False, step=0)

    # --- the loop ---

    def run(self, signals: StopSignals | None = None) -> Progress:
        """Train until a limit, no improvement, or a signal; `signals` may be in use already.

        Raises Interrupted after saving on a signal, TrainingError when it cannot go on.
        """
        if signals is None:
            with StopSignals("") as own:
                return self.run(own)
        signals.wait(self.folder)
        random_state = torch.get_rng_state()
        try:
            self.events = Events(self.folder, enabled=self.options.tensorboard, step=self.progress.step)
            self._train(signals)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError("not enough memory outside of the batches, in validation or in the optimiser",
                                fix="lower decoding.batch_tokens, make the model smaller, or take an optimiser that "
                                    "keeps less (sgd)") from None
        finally:
            self.events.close()
            torch.set_rng_state(random_state)
            self.reporter.finish()
        return self.progress

    def _train(self, signals: StopSignals) -> None:
        progress, started, before = self.progress, time.monotonic(), self.progress.seconds
        self.guard.remember()
        self.updates_per_epoch = len(self._groups())
        progress.finished = self._limit_reached()
        if not progress.finished:
            self._try_largest()
            if self.starts_trained and not progress.step and not progress.validations:
                self._validate()  # what the weights are worth before; if nothing is better, they stay
        while not progress.finished:
            with closing(self.gradients.loader.through(self._groups(), progress.batch)) as groups:
                for batches in groups:
                    self._update(batches)
                    progress.seconds = before + time.monotonic() - started
                    if self._validation_due():
                        self._validate()
                    progress.finished = self._limit_reached()
                    if signals.received or progress.finished:
                        break
                    if progress.seconds - self.saved >= SAVE_SECONDS:
                        self.save()
                else:
                    self._end_epoch()
            if signals.received:
                self.save()
                raise signals.interruption()
        self._read()
        if progress.updates:
            self._validate()
        progress.seconds = before + time.monotonic() - started
        self.save()

    def _groups(self) -> Groups:
        """The batches of this epoch, in groups for one update each."""
        return Groups(self.data.batches.plan(self.progress.epoch), self.options.accumulate)

    def _try_largest(self) -> None:
        """Pass once over the largest batch, without an update: too little memory is found out now, not in an hour."""
        indices = self.data.batches.largest(self.progress.epoch)
        began, carried = time.perf_counter(), self.gradients.carried
        sums = self.gradients.of([indices], self.progress.step, self._gold_ratio())
        self.gradients.carried = carried
        source, target = self.data.lengths[indices].max(0)
        parts = f" in {sums.splits + 1} parts" if sums.splits else ""
        self.reporter.say(f"largest batch: {counted(len(indices), 'example')} of up to {source:,} source and "
                          f"{target:,} target positions{parts}, {time.perf_counter() - began:.1f} s, "
                          f"{peak_memory(self.device)}")

    def _end_epoch(self) -> None:
        progress = self.progress
        self._read()
        progress.epoch += 1
        progress.batch = 0
        if self.options.validate_every is None and progress.updates:
            self._validate()
        progress.finished = self._limit_reached()
        if not progress.finished:
            self.updates_per_epoch = len(self._groups())

    def _limit_reached(self) -> str:
        progress, options = self.progress, self.options
        if progress.epoch >= options.epochs:
            return f"{counted(progress.epoch, 'epoch is', 'epochs are')} done"
        if options.max_steps is not None and progress.step >= options.max_steps:
            return f"{counted(progress.step, 'update is', 'updates are')} done"
        if options.max_minutes is not None and progress.seconds >= options.max_minutes * 60:
            return f"{options.max_minutes:g} {'minute is' if options.max_minutes == 1 else 'minutes are'} over"
        if options.patience is not None and progress.stale >= options.patience:
            return f"no improvement in {counted(options.patience, 'validation')}"
        return ""

    # --- one update ---

    def _update(self, batches: list[Ints]) -> None:
        """One step of the optimiser over these batches."""
        progress, began = self.progress, time.monotonic()
        self.model.train()
        progress.gold_ratio = self._gold_ratio()
        sums = self.gradients.begin(batches, progress.step, progress.gold_ratio)
        progress.batch += 1
        self.unread.append((batches, sums))
        if self.read_every > 1:
            self.optimizer.found_inf = (~sums.numbers.isfinite()).any().float()  # type: ignore[attr-defined]
            self._step()
            last = self._read() if len(self.unread) >= self.read_every else None
        elif (last := self._read()) is not None:
            self._step()
        progress.train_seconds += time.monotonic() - began
        if last is not None:
            self._show(last.total / max(last.count, 1))

    def _step(self) -> None:
        progress = self.progress
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.at(progress.step + 1)
        self.optimizer.step()
        progress.step += 1
        self.averaging.updated(progress.step)

    def _read(self) -> Sums | None:
        """Look at the numbers of the updates since the last look; the last one's where they are finite."""
        progress, unread, last = self.progress, self.unread, None
        self.unread = []
        for (batches, _), sums in zip(unread, read([sums for _, sums in unread]), strict=True):
            progress.split_batches += sums.splits
            last = sums if math.isfinite(sums.total) and math.isfinite(sums.norm) else None
            if last is None:
                progress.step -= self.read_every > 1  # it was left out, but counted
                self._recover(np.concatenate(batches), sums.total)
                continue
            progress.bad_in_a_row = 0
            progress.loss_sum += sums.total
            progress.risk_sum += sums.risk
            progress.sentences += sum(map(len, batches))
            progress.tokens += sums.count
            progress.clipped += sums.clipped
            progress.updates += 1
        return last

    def _gold_ratio(self) -> float:
        return gold_ratio(self.options.teacher_forcing, self.progress.step, switched_off=self._forcing_is_off())

    def _forcing_is_off(self) -> bool:
        last = self.options.teacher_forcing.stop_after_epoch
        return self.progress.forcing_off or (last is not None and self.progress.epoch >= last)

    def _recover(self, indices: Ints, total: float) -> None:
        """A loss is not finite: name the examples, leave the update out, halve the rate.

        When the weights are spoilt, or leaving the update before out was not enough, go back to the last good state.
        """
        progress = self.progress
        progress.bad_updates += 1
        progress.bad_in_a_row += 1
        progress.rate.halvings += 1
        self.gradients.carried = None  # it may not be finite either: the text goes on from the empty state
        back = progress.bad_in_a_row > 1 or self.guard.is_spoilt()
        if back:
            self.guard.go_back()
        where = ", ".join(self.data.where(int(index)) for index in indices[:5])
        more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
        self.reporter.say(
            f"warning: the loss ({total}) or its gradient is not finite at step {progress.step + 1}; the update is "
            f"left out{', weights go back to the last good state' if back else ''}, the learning rate is halved to "
            f"{self.schedule.at(progress.step + 1):.3g}. Examples: {where}{more}")
        if progress.bad_in_a_row >= MAX_BAD_UPDATES:
            self.save()
            raise TrainingError(f"the loss was not finite in {MAX_BAD_UPDATES} updates in a row",
                                fix="lower training.learning_rate, set training.max_grad_norm, or look at the examples",
                                where=where)

    # --- validation and keeping ---

    def _validation_due(self) -> bool:
        every = self.options.validate_every
        return every is not None and self.progress.updates + len(self.unread) * (self.read_every > 1) >= every

    def _validate(self) -> None:
        progress = self.progress
        self._read()
        self.averaging.before_validation()
        with self.averaging.applied():
            row = {**self._training_row(), **validate(self.model, self.data, self.config, self.reporter)}
            watch(self.folder, self.model, self.data, self.config, progress.step, self.reporter)
            loss = row["valid_loss"]
            value = loss if self.data.metric == "loss" else float(row[self.data.metric])
            finite = math.isfinite(value) and math.isfinite(loss)
            row["best"] = finite and self._is_better(value, loss)
            # A tie with a better loss is a better checkpoint, but no reason to go on, unless nothing is right yet.
            improved = row["best"] and (value != progress.best or not value)
            if row["best"]:
                progress.best, progress.best_loss, progress.best_step = value, loss, progress.step
                weights = stored_weights(self.model)
                write_checkpoint(self.folder, "best", weights, {}, {"step": progress.step, self.data.metric: value})
                write_weights(self.folder / WEIGHTS, arrays(weights))
        progress.stale = 0 if improved else progress.stale + 1
        append_metrics(self.folder, row)
        self.events.write(row)
        self.reporter.say(validation_line(row, self.data.metric, row["best"]))
        if self.schedule.validated(row["best"]):
            self.reporter.say(f"learning rate {self.schedule.at(progress.step + 1):.3g}")
        threshold = self.options.teacher_forcing.stop_at_accuracy
        if threshold is not None and row["free_token_accuracy"] >= threshold:
            progress.forcing_off = True
        progress.validations += 1
        progress.begin_interval()
        self.waited = self.gradients.loader.waited
        if finite:
            self.guard.remember()
        else:
            self._undo_interval()
        self.save()

    def _undo_interval(self) -> None:
        """The model has diverged, which only the validation found."""
        self.guard.go_back()
        self.progress.rate.halvings += 1
        self.reporter.say(f"warning: the validation at step {self.progress.step:,} is not finite; weights go back to "
                          "the last good state, the learning rate is halved to "
                          f"{self.schedule.at(self.progress.step + 1):.3g}")

    def _is_better(self, value: float, loss: float) -> bool:
        """By the metric; of equals, as at the start when nothing is right yet, by the loss."""
        best = self.progress.best
        if best is None or value == best:
            return best is None or loss < self.progress.best_loss
        return value < best if self.data.metric in LOWER_IS_BETTER else value > best

    def _training_row(self) -> dict[str, Any]:
        progress = self.progress
        done = progress.epoch + progress.batch / max(self.updates_per_epoch, 1)
        trained = {"train_loss": progress.loss_sum / max(progress.tokens, 1)} if progress.step else {}
        if progress.step and self.gradients.risk is not None:
            trained["train_risk"] = progress.risk_sum / max(progress.sentences, 1)
        return {"step": progress.step, "epoch": round(done, 3), "seconds": round(progress.seconds, 1), **trained,
                "learning_rate": self.schedule.at(max(progress.step, 1)),
                "tokens_per_second": round(progress.tokens / max(progress.train_seconds, 1e-9), 1),
                "teacher_forcing_ratio": progress.gold_ratio,
                "clipped_share": progress.clipped / max(progress.updates, 1),
                "bad_updates": progress.bad_updates, "split_batches": progress.split_batches,
                "data_wait_seconds": round(self.gradients.loader.waited - self.waited, 3)}

    def save(self) -> None:
        """Write checkpoints/last: everything that `resume` needs."""
        self._read()
        tensors = {**optimizer_tensors(self.optimizer), **self.averaging.tensors(), **self.gradients.tensors()}
        numbers = {"config": self.config.model_dump(mode="json"), "data": self.data.fingerprint,
                   "progress": self.progress.model_dump()}
        write_checkpoint(self.folder, "last", stored_weights(self.model), tensors, numbers)
        self.saved = self.progress.seconds

    def resume(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Go on from what `save` wrote; the weights were given at the start. Raises RunFolderError.

        The guard's last good state becomes this one, whatever it was when the checkpoint was written.
        """
        try:
            self.progress = Progress.stored(numbers["progress"])
            restore_optimizer(self.optimizer, tensors)
            self.averaging.restore(tensors)
            self.gradients.restore(tensors)
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise RunFolderError(f"the checkpoint does not fit this run: {error}",
                                 where=str(self.folder / CHECKPOINTS / "last"), fix=COPY_AGAIN) from None
        self.schedule.moved = self.progress.rate
        self.saved = self.progress.seconds
        keep_metrics(self.folder, self.progress.validations)

    # --- telling ---

    def _show(self, loss: float) -> None:
        progress = self.progress
        total = self.options.epochs * self.updates_per_epoch
        if self.options.max_steps is not None:
            total = min(total, self.options.max_steps)
        rate = progress.tokens / max(progress.train_seconds, 1e-9)
        note = f"epoch {progress.epoch + 1}, loss {loss:.3f}, {rate:,.0f} tokens/s"
        if self.gradients.risk is not None:
            note += f", risk {progress.risk_sum / max(progress.sentences, 1):.3f}"
        if self.options.max_minutes is not None:
            note += f", at most {duration(self.options.max_minutes * 60 - progress.seconds)} left"
        self.reporter.progress("training", progress.step, total, note)
