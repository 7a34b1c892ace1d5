"""The ONNX engine: runs an exported model in ONNX Runtime. NumPy and onnxruntime only; never torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqloom.engines.graphs import Graphs, as_value, whole
from seqloom.errors import UsageError
from seqloom.types import END, START, Floats, Ints, Padded, Searched, Step

MEMORY, STATE, NEXT = "memory.", "state.", "next."
# The rows of a shortlist: at least so many, because products of few columns are cut in another way and would round
# otherwise; and lists of a multiple of so many, because sums over others are put together differently.
FEWEST_ROWS, LIST_STEP = 256, 64
# What graphs of frames and pictures say of their memory, and what they take; frames come in a multiple of so many:
# twice as many as may become one position.
POSITIONS = "positions"
SYMBOLS = "tensor(int64)"
NUMBERS = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, SYMBOLS: np.int64}
# Fields of a text that have a place for each of its positions.
PER_POSITION = ("main", "copy", "characters", "language")
FRAME_STEP = 16
# A greedy search goes on without those that have ended once no more than this share is open (docs/lab.md).
OPEN_SHARE = 7 / 8
FEW_SENTENCES = 4  # are encoded and answered in one call


class Listed(NamedTuple):
    """A batch's part of the output layer.

    values: what the graph takes beside the places; ids: [B L] the symbols of each sentence's list, ascending, -1 after
    them; places: [B L] where they stand among the rows.
    """

    values: dict[str, Any]
    ids: Ints
    places: Ints


class OnnxState(NamedTuple):
    """What goes from step to step, as values of the runtime.

    positions: of the memory, without one that was added; lengths: [B] of each sentence's; memory: one row per sentence;
    decoder: one row per hypothesis; width: hypotheses of one sentence there; first: [B] the sentence's number there, so
    that `keep` need not copy the state; listed: the shortlist, where there is one.
    """

    positions: int
    lengths: Ints
    memory: dict[str, Any]
    decoder: dict[str, Any]
    width: int
    first: Ints
    listed: Listed | None = None


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
    """`types.Engine` over the graphs of export/graphs.py, as bytes.

    threads: for each operation, all cores when not given.
    """

    end = END

    def __init__(self, graphs: Mapping[str, bytes], weights: bytes, *, threads: int | None = None,
                 name: str = "onnx fp32") -> None:
        self.name = name
        self.threads = choose_threads(threads)
        self._use(Graphs(graphs, weights, self.threads))

    def _use(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._single: OnnxEngine | None = None
        # A head that answers at once reads its source in that graph, one that steps goes on from what the encoder hands
        # out, and a language model does both.
        self._reading = "answer" if graphs.has("answer") else "encoder"
        self._source_ports = {port.name: port for port in graphs.inputs(self._reading)
                              if not port.name.startswith(STATE)}
        self._reads_symbols = all(port.type == SYMBOLS for port in self._source_ports.values())
        self._earlier_ports = [port for port in graphs.inputs(self._reading) if port.name.startswith(STATE)]
        outputs = graphs.output_names("encoder") if graphs.has("best") else []
        self._memory_names = [name for name in outputs if name.startswith(MEMORY)]
        self._state_names = [name for name in outputs if name.startswith(STATE)]
        self._next_names = [NEXT + name.removeprefix(STATE) for name in self._state_names]
        self._has_weights = graphs.has("best") and "weights" in graphs.output_names("best")

    def one_thread(self) -> OnnxEngine:
        """The same model with one thread for each operation, to run beside others: see engines.parallel."""
        if self.threads == 1:
            return self
        if self._single is None:
            single = OnnxEngine.__new__(OnnxEngine)
            single.name, single.threads = self.name, 1
            single._use(self._graphs.with_threads(1))
            self._single = single
        return self._single

    # --- encoding ---

    def _feeds(self, source: Padded) -> dict[str, Any]:
        given = {**source.fields, "lengths": source.lengths}
        if not self._reads_symbols:
            given["main"] = _longer(source.main, self._source_ports["main"].shape)
            return {name: as_value(np.ascontiguousarray(given[name], NUMBERS[port.type]))
                    for name, port in self._source_ports.items()}
        # An even number of positions: the runtime sums an odd last one, or three, in another order than it would with
        # padding behind it, and answers would depend on their neighbours in the last bit.
        if _positions(source) % 2:
            for name in ["features"] if "features" in given else [name for name in PER_POSITION if name in given]:
                given[name] = np.pad(given[name], ((0, 0), (0, 1), *((0, 0),) * (given[name].ndim - 2)))
        return {name: as_value(whole(given[name])) for name in self._source_ports}

    def _encode(self, source: Padded, names: list[str]) -> list[Any]:
        found: list[Any] = self._graphs.run("encoder", names, self._feeds(source))
        return found

    def begin(self, source: Padded | int, shortlist: Ints | None = None) -> OnnxState:
        """See types.Engine. Raises UsageError for a shortlist where the model copies symbols of the source."""
        if isinstance(source, int):  # texts without a prompt: they begin behind a line end
            source = Padded({"main": np.full((source, 1), END, np.int64)}, np.ones(source, np.int64))
        listed = None if shortlist is None else self._listed(shortlist)
        counted = [] if self._reads_symbols else [POSITIONS]
        found = self._encode(source, self._memory_names + self._state_names + counted)
        lengths = found.pop().numpy() if counted else _lengths(source)
        positions = int(lengths.max()) if counted else _positions(source)
        count = len(self._memory_names)
        memory = dict(zip(self._memory_names, found[:count], strict=True))
        decoder = dict(zip(self._state_names, found[count:], strict=True))
        return OnnxState(positions, lengths, memory, decoder, 1, np.arange(source.size), listed)

    def encode(self, source: Padded) -> EncodedSource:
        """The encoder's summary and states as NumPy; a language model's, of the whole text."""
        if self._earlier_ports and self._graphs.has("best"):
            return self._read_whole(source)
        handed = self._graphs.output_names("encoder")
        names = ["summary", "states" if "states" in handed else f"{MEMORY}values",
                 *([] if self._reads_symbols else [POSITIONS])]
        summary, states, *counted = (value.numpy() for value in self._encode(source, names))
        lengths = counted[0] if counted else _lengths(source)
        states = states[:, : int(lengths.max()) if counted else _positions(source)]
        return EncodedSource(summary, states, np.arange(states.shape[1]) < lengths[:, None])

    def _read_whole(self, source: Padded) -> EncodedSource:
        top = [name for name in self._next_names if name.startswith(f"{NEXT}hidden.")][-1]
        feeds = {**self._feeds(source), **self._earlier(source, None)}
        summary, states = (value.numpy() for value in self._graphs.run("answer", [top, "states"], feeds))
        states = states[:, : _positions(source)]
        return EncodedSource(summary, states, np.arange(states.shape[1]) < source.lengths[:, None])

    # --- answering at once ---

    def answer(self, source: Padded, state: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """See types.Engine. Raises UsageError for a state where an answer needs its whole input."""
        if state is not None and not self._earlier_ports:
            raise UsageError(f"the engine '{self.name}' cannot go on from earlier steps of this model, which needs the "
                             "whole input", fix="give the whole input at once")
        feeds = {**self._feeds(source), **self._earlier(source, state)}
        names = [port.name for port in self._earlier_ports]
        answer, *after = self._graphs.run("answer", ["answer", *(NEXT + name.removeprefix(STATE) for name in names)],
                                          feeds)
        return answer.numpy()[:, : _positions(source)], dict(zip(names, after, strict=True))

    def _earlier(self, source: Padded, state: dict[str, Any] | None) -> dict[str, Any]:
        """States of what stood before: zeros at a beginning."""
        return {port.name: as_value(np.zeros((source.size, port.shape[1]), np.float32)) if state is None else
                state[port.name] for port in self._earlier_ports}

    # --- stepping ---

    def step(self, state: OnnxState, tokens: Ints, parents: Ints, candidates: int | None, *,
             wanted: Ints | None = None, weights: bool = False) -> tuple[Step, OnnxState]:
        """See types.Engine."""
        B, K = tokens.shape
        rows = (state.first[:, None] * state.width + parents).reshape(-1)
        feeds = {"tokens": as_value(whole(tokens)), "rows": as_value(whole(rows)),
                 "candidates": as_value(np.asarray([candidates or 1], np.int64)), **state.memory, **state.decoder}
        dense = candidates is None or wanted is not None
        graph = "listed" if state.listed is not None else "step" if dense else "best"
        names = ["scores", "best"] if candidates is not None else []
        if graph == "step":
            asked = np.zeros((B * K, 0), np.int64) if wanted is None else wanted.reshape(B * K, -1)
            feeds["wanted"] = as_value(whole(asked))
            names += ["dense"] if candidates is None else []
            names += ["wanted_scores"] if wanted is not None else []
        elif state.listed is not None:
            feeds |= state.listed.values
            each = state.listed.places
            feeds["places"] = as_value(each if K == 1 else np.repeat(each, K, axis=0))
            names += ["dense"] if dense else []
        names += ["weights"] if weights and self._has_weights else []
        values = self._graphs.run(graph, [*names, *self._next_names], feeds)
        given = {name: value.numpy() for name, value in zip(names, values, strict=False)}
        decoder = dict(zip(self._state_names, values[len(names):], strict=True))
        after = state._replace(decoder=decoder, width=K, first=np.arange(B))
        scores, best, asked_for = self._found(state, given, (B, K), wanted, candidates)
        shown = given["weights"][:, :, : state.positions] if "weights" in given else None
        return Step(scores, best, asked_for, shown), after

    def _found(self, state: OnnxState, given: dict[str, Any], shape: tuple[int, int], wanted: Ints | None,
               candidates: int | None) -> tuple[Floats, Ints | None, Floats | None]:
        """Scores, ids and wanted scores, as a Step has them; under a shortlist places become ids."""
        if state.listed is not None:
            size = self._graphs.symbols
            found = _from_places(state.listed.ids, given, shape, wanted, candidates, size)
            return found
        scores = given["scores" if candidates is not None else "dense"].reshape(*shape, -1)
        best = None if candidates is None else given["best"].reshape(*shape, -1)
        return scores, best, None if wanted is None else given["wanted_scores"].reshape(*shape, -1)

    def keep(self, state: OnnxState, sentences: Ints) -> OnnxState:
        """See types.Engine."""
        memory = {name: as_value(np.take(value.numpy(), sentences, axis=0)) for name, value in state.memory.items()}
        listed = state.listed
        if listed is not None:
            listed = Listed(listed.values, listed.ids[sentences], listed.places[sentences])
        return state._replace(lengths=state.lengths[sentences], memory=memory, first=state.first[sentences],
                              listed=listed)

    def positions(self, state: OnnxState) -> Ints:
        """See types.Engine."""
        return state.lengths

    # --- a vocabulary shortlist ---

    def _listed(self, shortlist: Ints) -> Listed:
        """The rows of the output layer that a batch needs, once for all of its steps."""
        if not self._graphs.has("listed"):
            raise UsageError(f"the engine '{self.name}' has no graph for a shortlist: its model copies symbols of the "
                             "source, or sums over its positions (hard attention)", fix="predict without a shortlist")
        ids = np.sort(np.where(shortlist < 0, np.iinfo(np.int64).max, shortlist), axis=1)
        width = -(-ids.shape[1] // LIST_STEP) * LIST_STEP
        ids = np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=np.iinfo(np.int64).max)
        real = ids < np.iinfo(np.int64).max
        union = np.unique(ids[real])
        # The last row is impossible: places that no symbol has taken point there.
        rows = np.concatenate([union, np.full(max(FEWEST_ROWS - len(union), 1), union[-1])])
        places = np.where(real, np.searchsorted(union, np.where(real, ids, union[0])), len(rows) - 1).astype(np.int32)
        weights = self._graphs.output_layer()
        bias = weights["output_bias"][rows]
        bias[len(union):] = -np.inf
        values = {"output_bias": as_value(bias)}
        if "output_scales" in weights:
            values["output_rows"] = as_value(np.take(weights["output_rows"], rows, axis=1))
            values["output_scales"] = as_value(weights["output_scales"][rows])
        else:
            values["output_rows"] = as_value(weights["output_rows"][rows])
        return Listed(values, np.where(real, ids, -1), places)

    # --- a whole search ---

    def greedy(self, source: Padded, limits: Ints, banned: Ints, shortlist: Ints | None = None, *,
               weights: bool = False) -> Searched | None:
        """A whole greedy search: see search.whole. None where the model copies symbols of the source, or was exported
        before there was a graph for this: then the steps are to be made one by one.
        """
        few = source.size <= FEW_SENTENCES
        name = ("greedy" if few else "search") + ("" if shortlist is None else "_listed")
        if not self._graphs.has(name):
            return None
        names = ["tokens", "scores", *(["weights"] if weights and self._has_weights else [])]
        mask = np.zeros(self._graphs.symbols + 1, np.float32)
        mask[banned] = -np.inf
        return self._greedy_in_one(name, names, source, limits, mask, shortlist) if few else \
            self._greedy_in_turns(name, names, self.begin(source, shortlist), limits, mask)

    def _greedy_in_one(self, name: str, names: list[str], source: Padded, limits: Ints, mask: Floats,
                       shortlist: Ints | None) -> Searched:
        """From the source to the answers in one call."""
        listed = None if shortlist is None else self._listed(shortlist)
        counted = [] if self._reads_symbols else [POSITIONS]
        feeds = {**self._feeds(source), "limits": as_value(whole(limits)), **_choices(listed, mask)}
        found = [value.numpy() for value in self._graphs.run(name, [*names, *counted], feeds)]
        positions = int(found.pop().max()) if counted else _positions(source)
        shown = found[2][:, :, 0, :positions].swapaxes(0, 1) if len(found) > 2 else None
        return Searched(found[0].T, found[1].T, shown)

    def _greedy_in_turns(self, name: str, names: list[str], state: OnnxState, limits: Ints, mask: Floats) -> Searched:
        """Some steps after others; between them the sentences that have ended leave."""
        B, longest, done = len(limits), int(limits.max()), 0
        open_rows = np.arange(B)
        last: Ints = np.full(B, START, np.int64)
        tokens: Ints = np.full((B, longest), END, np.int64)
        scores: Floats = np.zeros(tokens.shape, np.float32)
        shown: Floats | None = np.zeros((*tokens.shape, state.positions), np.float32) if len(names) > 2 else None
        while len(open_rows):
            found = self._graphs.run(name, ["ended", *names, *self._next_names], {
                **_search_feeds(state, last, limits[open_rows] - done), **_choices(state.listed, mask)})
            ended, made, values, *attention = (value.numpy() for value in found[: len(names) + 1])
            steps = slice(done, done + len(made))
            tokens[open_rows, steps], scores[open_rows, steps] = made.T, values.T
            if shown is not None:
                shown[open_rows, steps] = attention[0][:, :, 0, : state.positions].swapaxes(0, 1)
            done += len(made)
            staying = np.flatnonzero(~ended)
            decoder = dict(zip(self._state_names, found[len(names) + 1:], strict=True))
            state = state._replace(decoder=decoder, width=1, first=np.arange(len(open_rows)))
            if len(staying):
                state = self.keep(state, staying)
            open_rows, last = open_rows[staying], made[-1][staying]
        return Searched(tokens[:, :done], scores[:, :done], None if shown is None else shown[:, :done])


def _search_feeds(state: OnnxState, last: Ints, limits: Ints) -> dict[str, Any]:
    fewest = np.asarray(int(len(last) * OPEN_SHARE), np.int64)
    return {"last": as_value(whole(last[:, None])), "rows": as_value(whole(state.first)),
            "limits": as_value(whole(limits)), "fewest": as_value(fewest), **state.memory, **state.decoder}


def _choices(listed: Listed | None, mask: Floats) -> dict[str, Any]:
    """What a search chooses among; mask: [V + 1], 0 or −∞."""
    if listed is None:
        return {"mask": as_value(mask[:-1])}
    return {**listed.values, "places": as_value(listed.places), "mask": as_value(mask[listed.ids]),
            "ids": as_value(np.maximum(listed.ids, 0))}


def _longer(main: Any, shape: Sequence[Any]) -> Any:
    """Frames [B S F] or pictures [B S H W C] with a few more behind them, where the graph takes any number: what is
    summed then does not depend on the neighbours' lengths, also after frames have been put together (see `_feeds`).
    """
    if not isinstance(shape[1], str):
        return main
    step = FRAME_STEP if main.ndim == 3 else 2
    return np.pad(main, ((0, 0), (0, -main.shape[1] % step), *((0, 0),) * (main.ndim - 2)))


def _lengths(source: Padded) -> Ints:
    """[B] positions of each memory of symbols: those of the text, and features that are encoded apart."""
    lengths: Ints = source.lengths + source.fields.get("features_lengths", 0)
    return lengths


def _positions(source: Padded) -> int:
    """Positions of the memory: the source's, then those of features that are encoded apart."""
    features = source.fields.get("features")
    return int(source.main.shape[1]) + (0 if features is None else int(features.shape[1]))


def _from_places(ids: Ints, given: dict[str, Any], shape: tuple[int, int], wanted: Ints | None,
                 candidates: int | None, symbols: int) -> tuple[Floats, Ints | None, Floats | None]:
    """What a graph found in each sentence's list of ids [B L], as a Step has it: other symbols are impossible."""
    B, K = shape
    every: Floats | None = None
    if "dense" in given:
        every = np.full((B, K, symbols + 1), -np.inf, np.float32)
        at = np.broadcast_to(np.where(ids < 0, symbols, ids)[:, None], (B, K, ids.shape[1]))
        np.put_along_axis(every, at, given["dense"].reshape(B, K, -1), axis=2)
        every[:, :, symbols] = -np.inf
    asked = None if wanted is None or every is None else np.take_along_axis(every, wanted, axis=2)
    if candidates is None:
        assert every is not None
        return every[:, :, :symbols], None, asked
    places = given["best"].reshape(B, K, -1)
    found = ids.take(places + ids.shape[1] * np.arange(B)[:, None, None])
    return given["scores"].reshape(B, K, -1), np.maximum(found, 0), asked
