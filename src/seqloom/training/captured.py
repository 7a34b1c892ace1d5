"""Passes without launches from Python: on a GPU, the forward and backward pass of a batch's shape as a CUDA graph.

A step of a recurrent network is some forty small kernels, and Python needs longer to launch one than the GPU to run it.
The second time that a shape comes, its pass is captured, and from then on replayed with other numbers in the same
places. Shapes are rounded up (`rounded`), so that there are few of them. All else goes the ordinary way.
Checked on CPUs with a stand-in for the capture; not yet measured on a GPU (`python -m benchmarks.gpu`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from seqloom.nn.cells import Cell
from seqloom.types import END, Batch, Loss, Padded

POSITIONS, ROWS = 8, 8  # lengths and numbers of sentences are rounded up to multiples of these
SIGHTS = 2  # a shape that comes so often is captured
MOST = 128  # graphs; every one holds its batch's inputs, all share one pool for the rest
WARM_UPS = 3  # before a capture, as libraries choose their kernels and take their workspaces in the first runs

# One pass: from a batch on the device and its own history to the loss, the gradient being added to the parameters.
Pass = Callable[[Batch, Tensor | None], Loss]


class Backend(Protocol):
    """What captures: gives a function that repeats another one's launches, and the result that they fill."""

    def capture(self, function: Callable[[], Loss]) -> tuple[Callable[[], None], Loss]:
        """May run `function` several times. Raises RuntimeError where it cannot be captured."""
        ...


class CudaGraphs:
    """torch.cuda.CUDAGraph, with one memory pool for all graphs: no two of them run at once, and what one leaves in the
    pool is copied before the next one runs, so their order is free."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._stream: Any = None  # one for warm-ups and captures, as libraries keep handles and workspaces by stream

    def capture(self, function: Callable[[], Loss]) -> tuple[Callable[[], None], Loss]:
        """See Backend. Random numbers go on as if none had been drawn: what an update draws must not depend on whether
        its pass was captured in this session."""
        drawn = torch.cuda.get_rng_state()
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        present, apart = torch.cuda.current_stream(), self._stream
        apart.wait_stream(present)
        with torch.cuda.stream(apart):
            for _ in range(WARM_UPS):
                function()
        present.wait_stream(apart)
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: the loader takes pinned memory at the same time, which a capture would forbid.
        with torch.cuda.graph(graph, pool=self._pool, stream=apart, capture_error_mode="thread_local"):
            result = function()
        self._pool = graph.pool()
        torch.cuda.set_rng_state(drawn)
        return graph.replay, result


class _Captured(NamedTuple):
    """inputs: the tensors that a replay reads; result: those that it fills."""

    inputs: list[Tensor]
    replay: Callable[[], None]
    result: Loss


class CapturedPasses:
    """A `Pass` that captures and replays another one."""

    def __init__(self, run: Pass, parameters: Sequence[nn.Parameter], device: torch.device, backend: Backend,
                 say: Callable[[str], None]) -> None:
        """run: takes a batch on the device and needs nothing of the host on its way (nn/kernels/static.py)."""
        self._run, self._parameters, self._device, self._backend, self._say = run, parameters, device, backend, say
        self._graphs: dict[tuple[Any, ...], _Captured] = {}
        self._seen: Counter[tuple[Any, ...]] = Counter()
        self._most = MOST

    def __call__(self, batch: Batch, own: Tensor | None) -> Loss:
        """One pass over a batch of host tensors."""
        given = _tensors(batch, own)
        key = tuple((name, tensor.shape, tensor.dtype) for name, tensor in given.items())
        graph = self._graphs.get(key)
        if graph is None:
            self._seen[key] += 1
            on_device, own = moved(batch, self._device), None if own is None else own.to(self._device)
            if self._seen[key] < SIGHTS or len(self._graphs) >= self._most:
                return self._run(on_device, own)
            graph = self._capture(on_device, own)
            if graph is None:
                return self._run(on_device, own)
            self._graphs[key] = graph
        else:
            for place, tensor in zip(graph.inputs, given.values(), strict=True):
                place.copy_(tensor, non_blocking=True)
        graph.replay()
        total, count, correct = (part.clone() for part in graph.result[:3])
        return Loss(total, count, correct)  # copies: the next replay writes over the others

    def _capture(self, batch: Batch, own: Tensor | None) -> _Captured | None:
        """None where that fails, which is said once. Gradients come out as they went in."""
        before = [None if parameter.grad is None else parameter.grad.clone() for parameter in self._parameters]
        for parameter in self._parameters:
            if parameter.grad is None:  # a graph adds to what is there, in the same place every time
                parameter.grad = torch.zeros_like(parameter)
        try:
            replay, result = self._backend.capture(lambda: self._run(batch, own))
        except RuntimeError as error:
            self._most = 0
            self._say(f"warning: the passes cannot be captured as CUDA graphs ({str(error).splitlines()[0]}): every "
                      "step is launched from Python, which gives the same numbers and takes longer")
            return None
        finally:
            for parameter, gradient in zip(self._parameters, before, strict=True):
                assert parameter.grad is not None
                if gradient is None:
                    parameter.grad.zero_()
                else:
                    parameter.grad.copy_(gradient)
        return _Captured(list(_tensors(batch, own).values()), replay, result)


def capture_refusal(model: nn.Module) -> str:
    """Why passes over this model cannot be captured, for people; empty where nothing in it asks the device for numbers
    on its way."""
    modules = list(model.modules())
    if not all(module.hold for module in modules if isinstance(module, Cell)):
        return "recurrent cells without gates are packed by lengths"
    asking = {"copy_gate": "copying asks how many symbols a source adds",
              "alignment": "the loss that aligns wants lengths on the host"}
    return next((reason for name, reason in asking.items()
                 if any(getattr(module, name, None) is not None for module in modules)), "")


def can_be_captured(model: nn.Module) -> bool:
    """Whether nothing in the model asks the device for numbers on its way."""
    return not capture_refusal(model)


def moved(batch: Batch, device: torch.device) -> Batch:
    """Tensors on a device; from pinned memory without waiting for the copies."""
    source, target = (None if side is None else Padded(
        {name: tensor.to(device, non_blocking=True) for name, tensor in side.fields.items()},
        side.lengths.to(device, non_blocking=True)) for side in (batch.source, batch.target))
    assert target is not None
    return Batch(source, target, batch.indices)


def rounded(batch: Batch) -> Batch:
    """The same examples (NumPy) in a shape of which there are few: longer by padding, and with rows that count nothing.

    Such a row has </s> for a source and a target of <s> alone, after which nothing is to be said.
    """
    rows = -(-batch.target.size // ROWS) * ROWS
    source = None if batch.source is None else _rounded(batch.source, rows, END)
    return Batch(source, _rounded(batch.target, rows, batch.target.main[0, 0]), batch.indices)


def _rounded(side: Padded, rows: int, first: int) -> Padded:
    more = rows - side.size
    fields = {}
    for name, values in side.fields.items():
        if name.endswith("_lengths"):
            fields[name] = np.pad(values, (0, more))
            continue
        longer = -values.shape[1] % POSITIONS
        fields[name] = np.pad(values, [(0, more), (0, longer), *[(0, 0)] * (values.ndim - 2)])
    if more:
        fields["main"][-more:, 0] = first
    return Padded(fields, np.pad(side.lengths, (0, more), constant_values=1))


def _tensors(batch: Batch, own: Tensor | None) -> dict[str, Tensor]:
    """All of a batch's tensors by name."""
    found = {} if own is None else {"own": own}
    for side_name, side in (("source", batch.source), ("target", batch.target)):
        if side is not None:
            found[f"{side_name} lengths"] = side.lengths
            found.update({f"{side_name} {name}": tensor for name, tensor in side.fields.items()})
    return found
