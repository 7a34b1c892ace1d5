"""Loss and gradient of one update: summed over its batches, divided once by the number of target tokens, clipped.

A batch that does not fit into memory is done in halves; the sum is the same, and no example is left out.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from seqloom.config.sections import TrainingConfig
from seqloom.engines.torch import multiplies_bf16, to_tensors
from seqloom.errors import TrainingError
from seqloom.model import Model
from seqloom.nn.kernels.precision import SMALL_MODEL, fast_fp32
from seqloom.nn.kernels.static import static_shapes
from seqloom.nn.memory import Memory
from seqloom.training.captured import Backend, CapturedPasses, CudaGraphs, Pass, can_be_captured, moved, rounded
from seqloom.training.history import draw_own_history
from seqloom.training.loader import Loader
from seqloom.training.minimum_risk import MinimumRisk
from seqloom.training.prepare import Prepared
from seqloom.training.seeds import derived_seed, generator
from seqloom.training.ways import ways
from seqloom.types import Batch, Ints, Loss, Padded

# What allocators say when there is not enough, in errors of no class of their own.
OUT_OF_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "alloc_failed")
TOLD = 5  # splits that are said; all are counted


@dataclass(frozen=True, slots=True)
class Sums:
    """total: loss in nats over `count` target tokens; norm: of the gradient of total / count, before clipping;
    clipped: whether it was; splits: batches halved for want of memory; risk: see Loss, 0 where there is none."""

    total: float
    count: int
    norm: float
    clipped: bool
    splits: int
    risk: float = 0.0


@dataclass(frozen=True, slots=True)
class UnreadSums:
    """Sums as they are on the device, where reading them would wait for it. numbers: total, count, norm and risk.
    """

    numbers: Tensor
    limit: float
    splits: int


def read(unread: Sequence[UnreadSums]) -> list[Sums]:
    """The numbers of several updates, with one wait for the device."""
    if not unread:
        return []
    numbers = torch.stack([one.numbers for one in unread]).tolist()
    return [Sums(total, int(count), norm, bool(one.limit) and norm > one.limit, one.splits, risk)
            for one, (total, count, norm, risk) in zip(unread, numbers, strict=True)]


class Part(NamedTuple):
    """Rows first … last − 1 of batch `number` of the update."""

    number: int
    first: int
    last: int


class Gradients:
    """Leaves the gradient of one update in the parameters. `loader` makes the batches of coming updates."""

    def __init__(self, model: Model, data: Prepared, options: TrainingConfig, device: torch.device,
                 say: Callable[[str], None], *, backend: Backend | None = None,
                 risk: MinimumRisk | None = None) -> None:
        """backend: what captures passes; on a GPU CUDA graphs when none is given, elsewhere nothing is captured. risk:
        the loss in place of the model's own."""
        self.model, self.data, self.options, self.device, self.say = model, data, options, device, say
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.small = sum(p.numel() for p in self.parameters) < SMALL_MODEL
        self.told = 0
        if backend is None and device.type == "cuda":
            backend = CudaGraphs()
        self.risk = risk
        self.captures = (backend is not None and can_be_captured(model) and not data.carries_state and risk is None)
        self._pass: Pass = self._pass_over
        if backend is not None and self.captures:
            self._pass = CapturedPasses(self._static_pass, self.parameters, device, backend, say)
        self.carried: Memory | None = None  # what the last batch of a text left for the next one
        self._ended: list[Memory] = []
        self.loader = Loader(self._host_batch)

    def of(self, batches: Sequence[Ints], step: int, gold_ratio: float) -> Sums:
        """The gradient of update `step` over these batches of examples; gold_ratio: share of gold history.

        Raises TrainingError when one example alone does not fit into memory.
        """
        return read([self.begin(batches, step, gold_ratio)])[0]

    def begin(self, batches: Sequence[Ints], step: int, gold_ratio: float) -> UnreadSums:
        """As `of`, without waiting for the device."""
        parts = [Part(number, 0, len(indices)) for number, indices in enumerate(batches)]
        splits, before = 0, self.carried
        if self.risk is not None:
            self.risk.step = step
        while True:
            losses: list[Loss] = []
            self.carried, self._ended = before, []
            failed = self._backward(batches, parts, step, gold_ratio, losses)
            if failed is None:
                break
            release_memory(self.device)
            splits += 1
            position = parts.index(failed)
            parts[position : position + 1] = self._halves(failed, batches[failed.number], step)
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        total = torch.stack([loss.total.to(exact) for loss in losses]).sum()
        count = torch.stack([loss.count.to(exact) for loss in losses]).sum()
        risks = [loss.risk.to(exact) for loss in losses if loss.risk is not None]
        risk = torch.stack(risks).sum() if risks else torch.zeros_like(total)
        return UnreadSums(torch.stack([total, count, self._scale(count), risk]), self.options.max_grad_norm, splits)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: the state that the next window of a text begins with."""
        if self.carried is None:
            return {}
        kept = {"carried.hidden": self.carried.hidden, "carried.cell": self.carried.cell}
        return {name: tensor for name, tensor in kept.items() if tensor is not None}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        hidden = tensors.get("carried.hidden")
        if hidden is not None:
            cell = tensors.get("carried.cell")
            hidden = hidden.to(self.device).clone()
            self.carried = Memory(hidden.new_zeros(len(hidden), 0, 0),
                                  hidden.new_zeros(len(hidden), 0, dtype=torch.bool), hidden,
                                  None if cell is None else cell.to(self.device).clone())

    def precision_name(self) -> str:
        """The precision of products, for people."""
        if self.options.precision != "bf16":
            return "fp32"
        return "bf16 products with fp32 weights" if self._is_bf16() else "fp32 (there are no bf16 products here)"

    def ways(self) -> str:
        """How the passes are computed, for people."""
        return ", ".join(ways(self.model, self.options, self.device, small=self.small, bf16=self._is_bf16()))

    def _is_bf16(self) -> bool:
        return self.options.precision == "bf16" and multiplies_bf16(self.device)

    def _backward(self, batches: Sequence[Ints], parts: Sequence[Part], step: int, gold_ratio: float,
                  losses: list[Loss]) -> Part | None:
        """Losses and gradients of all parts, summed, not yet divided; or the part for which memory was not enough.

        All begins anew after that: the failed part may have left some of its gradient.
        """
        if self.captures:  # graphs add to the same places every time
            if present := [parameter.grad for parameter in self.parameters if parameter.grad is not None]:
                torch._foreach_zero_(present)
        else:
            for parameter in self.parameters:
                parameter.grad = None
        self._seed(derived_seed(self.options.seed, step, "dropout"))
        for part in parts:
            try:
                losses.append(self._part(batches[part.number], part, step, gold_ratio))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return part
        return None

    def _seed(self, seed: int) -> None:
        """As torch.manual_seed, which takes a hundred times as long since it looks after every kind of device."""
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def _part(self, indices: Ints, part: Part, step: int, gold_ratio: float) -> Loss:
        rows = part.last - part.first
        batch = (self.loader.batch(indices) if rows == len(indices) else
                 self._host_batch(indices[part.first : part.last]))
        own = self._own_history(indices, part, step, gold_ratio)
        if own is not None:
            B, T = batch.target.main.shape[0], batch.target.main.shape[1] - 1
            own = functional.pad(own[:, :T], (0, T - min(T, own.shape[1]), 0, B - own.shape[0]))
        if not self.data.carries_state:
            return self._pass(batch, own)
        return self._carry(self.data.is_first(indices), len(indices), part, batch)

    def _carry(self, first: bool, rows: int, part: Part, batch: Batch) -> Loss:
        """A pass that goes on from the state which the batch before it left; leaves its own to the next one."""
        state = self.carried
        if first or state is None:
            state = None
        else:
            state = state.keep(torch.arange(part.first, part.last, device=self.device))
        loss = self._run(moved(batch, self.device), None, state)
        self._ended.append(loss.state)
        if part.last == rows:
            self.carried = Memory._make(None if parts[0] is None else torch.cat(parts)
                                        for parts in zip(*self._ended, strict=True))
            self._ended = []
        return loss._replace(state=None)

    def _host_batch(self, indices: Ints) -> Batch:
        """The batch of these examples as tensors in the host's memory; the loader's thread calls this too."""
        batch, cpu = self.data.batch(indices), torch.device("cpu")
        if self.captures:
            batch = rounded(batch)
        batch = Batch(None if batch.source is None else to_tensors(batch.source, cpu), to_tensors(batch.target, cpu),
                      indices)
        return pinned(batch) if self.device.type == "cuda" else batch

    def _pass_over(self, batch: Batch, own: Tensor | None) -> Loss:
        """One pass forward and backward over a batch of host tensors."""
        return self._run(moved(batch, self.device), None if own is None else own.to(self.device))

    def _static_pass(self, batch: Batch, own: Tensor | None) -> Loss:
        with static_shapes():
            return self._run(batch, own)

    def _run(self, batch: Batch, own: Tensor | None, state: Memory | None = None) -> Loss:
        with self._precision():
            loss: Loss = self.model(batch, own, state) if self.risk is None else self.risk(batch, own)
            loss.total.backward()
        return loss._replace(total=loss.total.detach())

    def _own_history(self, indices: Ints, part: Part, step: int, gold_ratio: float) -> Tensor | None:
        """Drawn for the whole batch, so that halves see what the whole would have seen."""
        if gold_ratio >= 1:
            return None
        shape = len(indices), int(self.data.lengths[indices, 1].max()) - 1
        random = generator(self.options.seed, step, part.number, "history")
        own = draw_own_history(self.options.teacher_forcing, gold_ratio, shape, random)
        return None if own is None else own[part.first : part.last]

    def _precision(self) -> AbstractContextManager[Any]:
        if self._is_bf16():
            return torch.autocast(self.device.type, torch.bfloat16)
        return fast_fp32(small=self.small) if self.device.type == "cpu" else nullcontext()

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

    def _scale(self, count: Tensor) -> Tensor:
        """Divide by the number of tokens and clip, as torch.nn.utils.clip_grad_norm_ does: the norm before clipping.

        All on the device: nothing here is waited for.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        count = count.clamp(min=1)
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) / count
        limit = self.options.max_grad_norm
        factor = (limit / (norm + 1e-6)).clamp(max=1.0) if limit else torch.ones_like(norm)
        torch._foreach_mul_(gradients, (factor / count).to(gradients[0].dtype))
        return norm


def pinned(batch: Batch) -> Batch:
    """The same host tensors in pinned memory, from which a GPU copies by itself."""
    source, target = (None if side is None else Padded(
        {name: tensor.pin_memory() for name, tensor in side.fields.items()}, side.lengths.pin_memory())
        for side in (batch.source, batch.target))
    assert target is not None
    return Batch(source, target, batch.indices)


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
