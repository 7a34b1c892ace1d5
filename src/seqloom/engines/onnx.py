"""The ONNX engine: runs an exported model in ONNX Runtime. NumPy and onnxruntime only; never torch."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from seqloom.errors import UsageError
from seqloom.types import END, Floats, Ints, Padded, Step

MEMORY, STATE, NEXT = "memory.", "state.", "next."


class OnnxState(NamedTuple):
    """What goes from step to step, as values of the runtime.

    positions: of the memory, without one that was added; memory: one row per sentence; decoder: one row per
    hypothesis; width: hypotheses of one sentence there; first: [B] the sentence's number there, so that `keep` need
    not copy the state.
    """

    positions: int
    memory: dict[str, Any]
    decoder: dict[str, Any]
    width: int
    first: Ints


class EncodedSource(NamedTuple):
    """What `encode` hands out: summary [B N], states [B S M], mask [B S]."""

    summary: Floats
    states: Floats
    mask: Any


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads(threads: int | None) -> int:
    """The given number, or all cores. Raises UsageError when there are fewer cores."""
    cores = available_cores()
    if threads is not None and threads > cores:
        raise UsageError(f"{threads} threads, but this process may use {cores} cores", fix=f"give at most {cores}")
    return threads or cores


class OnnxEngine:
    """`types.Engine` over an encoder graph and a step graph (see export/graphs.py).

    encoder, step: the models as bytes; threads: for each operation, all cores when not given.
    """

    end = END

    def __init__(self, encoder: bytes, step: bytes, *, threads: int | None = None, name: str = "onnx fp32") -> None:
        self.name = name
        self.threads = choose_threads(threads)
        self._encoder = self._session(encoder)
        self._step = self._session(step)
        self._source_names = [port.name for port in self._encoder.get_inputs()]
        outputs = [port.name for port in self._encoder.get_outputs()]
        self._memory_names = [name for name in outputs if name.startswith(MEMORY)]
        self._state_names = [name for name in outputs if name.startswith(STATE)]
        self._states_name = "states" if "states" in outputs else f"{MEMORY}values"
        self._next_names = [NEXT + name.removeprefix(STATE) for name in self._state_names]
        self._has_weights = "weights" in [port.name for port in self._step.get_outputs()]

    def _session(self, model: bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _encode(self, source: Padded, names: list[str]) -> list[Any]:
        given = {**source.fields, "lengths": source.lengths}
        # An even number of positions: the runtime sums an odd last one, or three, in another order than it would with
        # padding behind it, and answers would depend on their neighbours in the last bit.
        if _positions(source) % 2:
            for name in ["features"] if "features" in given else [name for name in ("main", "copy") if name in given]:
                given[name] = np.pad(given[name], ((0, 0), (0, 1)))
        feeds = {name: _value(_whole(given[name])) for name in self._source_names}
        found: list[Any] = self._encoder.run_with_ort_values(names, feeds)
        return found

    def begin(self, source: Padded | int) -> OnnxState:
        """See types.Engine."""
        assert isinstance(source, Padded)
        found = self._encode(source, self._memory_names + self._state_names)
        count = len(self._memory_names)
        memory = dict(zip(self._memory_names, found[:count], strict=True))
        decoder = dict(zip(self._state_names, found[count:], strict=True))
        return OnnxState(_positions(source), memory, decoder, 1, np.arange(source.size))

    def step(self, state: OnnxState, tokens: Ints, parents: Ints, candidates: int | None, *,
             wanted: Ints | None = None, weights: bool = False) -> tuple[Step, OnnxState]:
        """See types.Engine."""
        B, K = tokens.shape
        rows = (state.first[:, None] * state.width + parents).reshape(-1)
        asked = np.zeros((B * K, 0), np.int64) if wanted is None else wanted.reshape(B * K, -1)
        feeds = {"tokens": _value(_whole(tokens)), "rows": _value(_whole(rows)), "wanted": _value(_whole(asked)),
                 "candidates": _value(np.asarray([1 if candidates is None else candidates], np.int64)),
                 **state.memory, **state.decoder}
        names = ["dense"] if candidates is None else ["scores", "best"]
        if wanted is not None:
            names.append("wanted_scores")
        if weights and self._has_weights:
            names.append("weights")
        found = self._step.run_with_ort_values([*names, *self._next_names], feeds)
        given = {name: value.numpy() for name, value in zip(names, found, strict=False)}
        decoder = dict(zip(self._state_names, found[len(names):], strict=True))
        after = OnnxState(state.positions, state.memory, decoder, K, np.arange(B))
        scores = given["dense"] if candidates is None else given["scores"]
        best = None if candidates is None else given["best"].reshape(B, K, -1)
        picked = None if wanted is None else given["wanted_scores"].reshape(B, K, -1)
        shown = given["weights"][:, :, : state.positions] if "weights" in given else None
        return Step(scores.reshape(B, K, -1), best, picked, shown), after

    def keep(self, state: OnnxState, sentences: Ints) -> OnnxState:
        """See types.Engine."""
        memory = {name: _value(np.take(value.numpy(), sentences, axis=0)) for name, value in state.memory.items()}
        return state._replace(memory=memory, first=state.first[sentences])

    def encode(self, source: Padded) -> EncodedSource:
        """The encoder's summary and states as NumPy."""
        summary, states = (value.numpy() for value in self._encode(source, ["summary", self._states_name]))
        lengths = source.lengths + source.fields.get("features_lengths", 0)
        states = states[:, : _positions(source)]
        return EncodedSource(summary, states, np.arange(states.shape[1]) < lengths[:, None])


def _positions(source: Padded) -> int:
    """Positions of the memory: the source's, then those of features that are encoded apart."""
    features = source.fields.get("features")
    return int(source.main.shape[1]) + (0 if features is None else int(features.shape[1]))


def _whole(array: Any) -> Ints:
    return np.ascontiguousarray(array, dtype=np.int64)


def _value(array: Any) -> Any:
    """An array as a value of the runtime, which keeps the array alive and does not copy it."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(array)
