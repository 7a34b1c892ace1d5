"""Cells under the microscope: every gate and state at each token, and how often training clipped the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seqloom.config.sections import SequenceHeadConfig
from seqloom.insight import Replay
from seqloom.insight.cells import CellStep, Layer
from seqloom.insight.steps import trace
from seqloom.run import Run
from seqloom.types import SPECIAL_NAMES, Floats

STATES = ("cell state", "hidden state")  # beside gates: not between 0 and 1


@dataclass(frozen=True, slots=True, eq=False)
class CellPanel:
    """One cell over its tokens. values: gates by name, then its states, each [columns, H]."""

    name: str
    cell: str
    columns: list[str]
    values: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Clipping:
    """max_grad_norm as configured (0: never); share of clipped updates at each validation's step."""

    max_grad_norm: float
    shares: list[tuple[int, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Gates:
    """All cells of one run while it answered one input; context is "none" for runs without a decoder."""

    run: str
    context: str
    text: str
    source_tokens: list[str]
    tokens: list[str]
    panels: list[CellPanel]
    clipping: Clipping


def gates_of(replay: Replay, text: str, tokens: Sequence[str] = ()) -> Gates:
    """Encoder cells at each source token, decoder cells and those of a language model at each token that they read.

    tokens: of the answer, for runs whose head writes no sequence. Raises UsageError for a source that is not covered.
    """
    name, clipping = replay.run.folder.resolve().name, clipping_of(replay.run)
    if not isinstance(replay.run.config.head, SequenceHeadConfig):
        panels = _language(replay) if replay.is_language else _encoder(replay)
        return Gates(name, "none", text, replay.source_tokens, list(tokens), list(panels), clipping)
    traces = list(trace(replay.network, replay.encoded, replay.written))
    return Gates(name, replay.network.context, text, replay.source_tokens, replay.tokens,
                 [*_encoder(replay), *_decoder(replay, [one.layers for one in traces], replay.tokens)], clipping)


def _encoder(replay: Replay) -> Iterator[CellPanel]:
    encoded, cell = replay.encoded, replay.run.config.encoder.cell
    columns = replay.source_tokens[: encoded.length]
    for number, passes in enumerate(encoded.layers, 1):
        for way, layer in enumerate(passes):
            yield CellPanel(f"encoder layer {number}, {'backwards' if way else 'forwards'}", cell, columns,
                            _values(layer))


def _language(replay: Replay) -> Iterator[CellPanel]:
    for number, layer in enumerate(replay.reading.layers, 1):
        yield CellPanel(f"layer {number}", replay.run.config.decoder.cell, replay.whole_tokens[:-1], _values(layer))


def _values(layer: Layer) -> dict[str, Floats]:
    states = {} if layer.cell is None else {STATES[0]: layer.cell}
    return {**layer.gates, **states, STATES[1]: layer.hidden}


def _decoder(replay: Replay, steps: list[list[CellStep]], tokens: list[str]) -> Iterator[CellPanel]:
    columns = [SPECIAL_NAMES[2], *tokens[:-1]]
    for number in range(len(steps[0]) if steps else 0):
        layer = [step[number] for step in steps]
        values = {name: np.stack([one.gates[name] for one in layer]) for name in layer[0].gates}
        cells = [one.cell for one in layer if one.cell is not None]
        if cells:
            values[STATES[0]] = np.stack(cells)
        values[STATES[1]] = np.stack([one.hidden for one in layer])
        yield CellPanel(f"decoder layer {number + 1}", replay.network.config.decoder.cell, columns, values)


def clipping_of(run: Run) -> Clipping:
    """From metrics.jsonl; empty for a run that has none."""
    return Clipping(run.config.training.max_grad_norm, [
        (int(row["step"]), float(row["clipped_share"])) for row in run.metrics()
        if isinstance(row.get("clipped_share"), int | float) and isinstance(row.get("step"), int)])
