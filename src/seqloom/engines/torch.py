"""The torch engine: runs a model on a CPU or a GPU, in training's validation and wherever torch is at hand."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqloom.errors import UsageError
from seqloom.model import Model
from seqloom.nn.decoders import DecoderState
from seqloom.nn.kernels.precision import fast_fp32
from seqloom.nn.memory import Memory
from seqloom.types import END, Floats, Ints, Padded, Step

# For products of so few rows torch's default library is the faster one.
FEW_ROWS = 5
# Matrices of fewer numbers stay in the processor's cache from step to step.
LARGE = 2**16


class TorchState(NamedTuple):
    """Memory once per sentence, decoder state once per hypothesis; allowed: [B 1 V] ids of a shortlist, where there is
    one.
    """

    memory: Memory
    decoder: DecoderState
    allowed: Tensor | None = None


class EncodedSource(NamedTuple):
    """What `encode` hands out: summary [B N], states [B S M], mask [B S]."""

    summary: Floats
    states: Floats
    mask: Any


def choose_device(name: str) -> torch.device:
    """A device by name; auto takes cuda, then mps, then cpu. Raises UsageError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else
                            "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}",
                         fix="use --device auto, or cpu") from None
    return device


def multiplies_bf16(device: torch.device) -> bool:
    """Whether this device has instructions for bf16 products; without them they are emulated, slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # AVX-512 BF16 on x86 (AMX comes with it); torch tells by a function of its own, where it knows it.
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def to_tensors(padded: Padded, device: torch.device) -> Padded:
    """NumPy arrays as tensors on a device."""
    return Padded({name: torch.from_numpy(np.ascontiguousarray(array)).to(device)
                   for name, array in padded.fields.items()}, torch.from_numpy(padded.lengths).to(device))


def lay_out(model: Model) -> None:
    """Lay the decoder's large matrices out by columns, as products with a single row read them fastest: one step of one
    sentence reads every weight once, and nothing else takes as long. For a model that is no longer trained, on a CPU.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for parameter in model.head.parameters():
        if parameter.ndim == 2 and parameter.numel() >= LARGE and id(parameter) not in tables \
                and parameter.device.type == "cpu":
            parameter.data = parameter.data.t().contiguous().t()


class TorchEngine:
    """`types.Engine` over a Model. Puts the model in evaluation mode at `begin`; keeps nothing else."""

    name = "torch fp32"
    end = END

    def __init__(self, model: Model, device: torch.device | None = None) -> None:
        self.model = model
        self.device = device or next(model.parameters()).device

    @property
    def threads(self) -> int:
        """CPU threads of torch, all over this process."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def begin(self, source: Padded | int, shortlist: Ints | None = None) -> TorchState:
        """See types.Engine. Raises UsageError for a shortlist where the model copies symbols of the source."""
        if isinstance(source, int):  # texts without a prompt: they begin behind a line end
            source = Padded({"main": np.full((source, 1), END, np.int64)}, np.ones(source, np.int64))
        if shortlist is not None and "copy" in source.fields:
            raise UsageError(f"the engine '{self.name}' copies symbols of the source, which no shortlist knows",
                             fix="predict without a shortlist")
        self.model.eval()
        with self._products(source.main.size):
            memory, decoder = self.model.begin(to_tensors(source, self.device))
        if shortlist is None:
            return TorchState(memory, decoder)
        listed = self._ids(shortlist)
        symbols = self.model.head.symbols
        assert isinstance(symbols, int)
        allowed = torch.zeros(len(listed), symbols + 1, dtype=torch.bool, device=self.device)
        allowed.scatter_(1, torch.where(listed < 0, symbols, listed), True)
        return TorchState(memory, decoder, allowed[:, None, :symbols])

    @torch.inference_mode()
    def step(self, state: TorchState, tokens: Ints, parents: Ints, candidates: int | None, *,
             wanted: Ints | None = None, weights: bool = False) -> tuple[Step, TorchState]:
        """See types.Engine."""
        decoder = state.decoder
        if parents.shape[1] != decoder.hidden.shape[1] or not (parents == np.arange(parents.shape[1])).all():
            decoder = decoder.gather(self._ids(parents))
        with self._products(tokens.size):
            log_probabilities, attention, decoder = self.model.head.step(  # type: ignore[operator]
                state.memory, decoder, self._ids(tokens), *(() if state.allowed is None else (state.allowed,)))
        picked = None
        if wanted is not None:
            picked = _array(log_probabilities.gather(2, self._ids(wanted)))
        best_ids = None
        if candidates is None:
            scores = _array(log_probabilities)
        else:
            scores, best_ids = _best(log_probabilities, candidates)
        shown = _array(attention) if weights and attention is not None else None
        return Step(scores, best_ids, picked, shown), TorchState(state.memory, decoder, state.allowed)

    @torch.inference_mode()
    def keep(self, state: TorchState, sentences: Ints) -> TorchState:
        """See types.Engine."""
        rows = self._ids(sentences)
        allowed = None if state.allowed is None else state.allowed[rows]
        return TorchState(state.memory.keep(rows), state.decoder.keep(rows), allowed)

    def positions(self, state: TorchState) -> Ints:
        """See types.Engine."""
        counted: Ints = _array(state.memory.mask.sum(1))
        return counted

    @torch.inference_mode()
    def answer(self, source: Padded, state: Memory | None = None) -> tuple[Floats, Memory]:
        """See types.Engine."""
        self.model.eval()
        with self._products(source.lengths.size * source.main.shape[1]):
            memory = self.model.encode(to_tensors(source, self.device), state)
            scores = self.model.head.answer(memory)  # type: ignore[operator]
        return _array(scores), memory

    @torch.inference_mode()
    def encode(self, source: Padded) -> EncodedSource:
        """The encoder's summary and states as NumPy."""
        self.model.eval()
        memory = self.model.encode(to_tensors(source, self.device))
        return EncodedSource(_array(memory.summary), _array(memory.values), _array(memory.mask))

    def _products(self, rows: int) -> AbstractContextManager[None]:
        """The faster library for fp32 products of this many rows (see nn/kernels/precision.py)."""
        return fast_fp32() if rows > FEW_ROWS and self.device.type == "cpu" else nullcontext()

    def _ids(self, values: Ints) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(self.device)


def _array(tensor: Tensor) -> Any:
    return tensor.cpu().numpy()


def _best(log_probabilities: Tensor, candidates: int) -> tuple[Floats, Ints]:
    """Top-k with ties to the lower id: topk promises no order among equals, nor which of them it takes at its edge."""
    if candidates < log_probabilities.shape[2]:
        values, ids = log_probabilities.topk(candidates + 1, dim=2)
        scores, numbers = _array(values), _array(ids)
        tied = scores[:, :, 1:] == scores[:, :, :-1]
        if not tied[:, :, -1].any():
            if tied.any():
                order = np.lexsort((numbers, -scores), axis=2)
                scores, numbers = np.take_along_axis(scores, order, 2), np.take_along_axis(numbers, order, 2)
            return scores[:, :, :candidates], numbers[:, :, :candidates]
    dense = _array(log_probabilities)
    numbers = np.argsort(-dense, axis=2, kind="stable")[:, :, :candidates]
    return np.take_along_axis(dense, numbers, 2), numbers
