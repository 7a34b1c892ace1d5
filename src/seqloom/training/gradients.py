"""Loss and gradient of one update: summed over its batches, divided once by the number of target tokens, clipped.

A batch that does not fit into memory is done in halves; the sum is the same, and no example is left out.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqloom.config.sections import TrainingConfig
from seqloom.engines.torch import multiplies_bf16, to_tensors
from seqloom.errors import TrainingError
from seqloom.model import Model
from seqloom.nn.kernels.precision import fast_fp32
from seqloom.training.history import draw_own_history
from seqloom.training.prepare import Prepared
from seqloom.training.seeds import derived_seed, generator
from seqloom.types import Batch, Ints, Loss

# What allocators say when there is not enough, in errors of no class of their own.
OUT_OF_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "alloc_failed")
TOLD = 5  # splits that are said; all are counted


@dataclass(frozen=True, slots=True)
class Sums:
    """total: loss in nats over `count` target tokens; norm: of the gradient of total / count, before clipping;
    clipped: whether it was; splits: batches halved for want of memory."""

    total: float
    count: int
    norm: float
    clipped: bool
    splits: int


class Part(NamedTuple):
    """Rows first … last − 1 of batch `number` of the update."""

    number: int
    first: int
    last: int


class Gradients:
    """Leaves the gradient of one update in the parameters."""

    def __init__(self, model: Model, data: Prepared, options: TrainingConfig, device: torch.device,
                 say: Callable[[str], None]) -> None:
        self.model, self.data, self.options, self.device, self.say = model, data, options, device, say
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.told = 0

    def of(self, batches: Sequence[Ints], step: int, gold_ratio: float) -> Sums:
        """The gradient of update `step` over these batches of examples; gold_ratio: share of gold history.

        Raises TrainingError when one example alone does not fit into memory.
        """
        parts = [Part(number, 0, len(indices)) for number, indices in enumerate(batches)]
        splits = 0
        while True:
            losses: list[Loss] = []
            failed = self._backward(batches, parts, step, gold_ratio, losses)
            if failed is None:
                break
            release_memory(self.device)
            splits += 1
            position = parts.index(failed)
            parts[position : position + 1] = self._halves(failed, batches[failed.number], step)
        total = float(sum(float(loss.total) for loss in losses))
        count = int(sum(int(loss.count) for loss in losses))
        norm, clipped = self._scale(count)
        return Sums(total, count, norm, clipped, splits)

    def precision_name(self) -> str:
        """The precision of products, for people."""
        if self.options.precision != "bf16":
            return "fp32"
        return "bf16 products with fp32 weights" if self._is_bf16() else "fp32 (there are no bf16 products here)"

    def _is_bf16(self) -> bool:
        return self.options.precision == "bf16" and multiplies_bf16(self.device)

    def _backward(self, batches: Sequence[Ints], parts: Sequence[Part], step: int, gold_ratio: float,
                  losses: list[Loss]) -> Part | None:
        """Losses and gradients of all parts, summed, not yet divided; or the part for which memory was not enough.

        All begins anew after that: the failed part may have left some of its gradient.
        """
        for parameter in self.parameters:
            parameter.grad = None
        torch.manual_seed(derived_seed(self.options.seed, step, "dropout"))
        for part in parts:
            try:
                losses.append(self._part(batches[part.number], part, step, gold_ratio))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return part
        return None

    def _part(self, indices: Ints, part: Part, step: int, gold_ratio: float) -> Loss:
        batch = self.data.batch(indices[part.first : part.last])
        own = self._own_history(indices, part, step, gold_ratio)
        if own is not None:
            own = own[:, : batch.target.main.shape[1] - 1].to(self.device)
        on_device = Batch(None if batch.source is None else to_tensors(batch.source, self.device),
                          to_tensors(batch.target, self.device), batch.indices)
        with self._precision():
            loss: Loss = self.model(on_device, own)
            loss.total.backward()
        return Loss(loss.total.detach(), loss.count, loss.correct)

    def _own_history(self, indices: Ints, part: Part, step: int, gold_ratio: float) -> Tensor | None:
        """Drawn for the whole batch, so that halves see what the whole would have seen."""
        shape = len(indices), int(self.data.lengths[indices, 1].max()) - 1
        random = generator(self.options.seed, step, part.number, "history")
        own = draw_own_history(self.options.teacher_forcing, gold_ratio, shape, random)
        return None if own is None else own[part.first : part.last]

    def _precision(self) -> AbstractContextManager[Any]:
        if self._is_bf16():
            return torch.autocast(self.device.type, torch.bfloat16)
        return fast_fp32() if self.device.type == "cpu" else nullcontext()

    def _halves(self, part: Part, indices: Ints, step: int) -> list[Part]:
        rows = part.last - part.first
        longest = self.data.lengths[indices[part.first : part.last]].max(0)
        if rows == 1:
            raise TrainingError(
                f"not enough memory for one example alone ({longest[0]:,} source and {longest[1]:,} target positions)",
                where=self.data.where(int(indices[part.first])),
                fix="lower data.max_source_length and data.max_target_length, or make the model smaller")
        self.told += 1
        if self.told <= TOLD:
            last = " (metrics.jsonl goes on counting: split_batches)" if self.told == TOLD else ""
            self.say(f"warning: not enough memory for {rows} examples at once at step {step + 1} (up to {longest[0]:,} "
                     f"source and {longest[1]:,} target positions): they are done in two halves, none is left out. "
                     f"Lower training.batch_size if this comes often{last}")
        middle = part.first + rows // 2
        return [part._replace(last=middle), part._replace(first=middle)]

    def _scale(self, count: int) -> tuple[float, bool]:
        """Divide by the number of tokens and clip, as torch.nn.utils.clip_grad_norm_ does: norm, whether clipped."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))) / max(count, 1)
        limit = self.options.max_grad_norm
        clipped = bool(limit) and norm > limit
        factor = (limit / (norm + 1e-6) if clipped else 1.0) / max(count, 1)
        torch._foreach_mul_(gradients, factor)
        return norm, clipped


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, of a GPU or of the machine."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give back to a GPU's driver what a failed attempt held; on a CPU all of it went with the last reference."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
