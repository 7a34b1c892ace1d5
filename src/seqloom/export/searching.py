"""A greedy search as a loop of steps inside one graph, for as long as enough of its sentences are open.

The engine calls it again for those that are left: a batch leaves the runtime a few times instead of at every step, and
yet sentences leave the batch when they have ended. The loop is never inside another one: the runtime would then put the
weights of its products in order again at every step. A sentence or a few have a graph that encodes them too: one
call less, and the threads of two sessions that take turns are in each other's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from seqloom.export.builder import NEXT
from seqloom.export.contexts import MEMORY, Part, StepInputs
from seqloom.export.graph import Graph
from seqloom.export.output import Rows, best, listed_log_probabilities, log_probabilities, normalization_of
from seqloom.export.stepping import SteppingBuilder
from seqloom.types import END, START

LISTED = "_listed"
MOST_BANNED = 3  # padding, start, unknown
SMALL = 1024  # symbols that are masked all, which is quicker than looking for the best twice


class Begun(NamedTuple):
    """Memory, state and tokens [B 1] of every sentence, and how many may be open when the steps end."""

    memory: dict[str, str]
    state: dict[str, str]
    last: str
    fewest: str


def given_back(builder: SteppingBuilder, graph: Graph) -> Begun:
    """What an encoder or an earlier search has handed out."""
    last, places = graph.input("last", "int64", ["B", 1]), graph.input("rows", "int64", ["B"])
    memory = {part: graph.input(MEMORY + part, dtype, shape)
              for part, (dtype, shape) in builder.decoder.memory_ports().items()}
    state = {part: graph.op("Gather", value, places) for part, value in builder.state_inputs(graph, "P").items()}
    return Begun(memory, state, last, graph.input("fewest", "int64", []))


def encoded_here(graph: Graph, memory: Mapping[str, Part], state: Mapping[str, Part], size: str) -> Begun:
    """What the same graph has encoded: the search goes on until all `size` [1] sentences have ended."""
    start = graph.op("ConstantOfShape", graph.join(size, graph.ids(1), axis=0), value=np.full(1, START, np.int64))
    return Begun({name: part.value for name, part in memory.items()},
                 {name: part.value for name, part in state.items()}, start, graph.constant(0, "int64"))


def add_search(builder: SteppingBuilder, graph: Graph, limits: str, begun: Begun) -> Graph:
    """Steps → their tokens and scores, and the state behind them where it may be asked for; see graphs.py.

    graph: with a name that ends in _listed, over the rows of a shortlist. limits: [B] most steps of each sentence.
    """
    memory, tokens, fewest = begun.memory, begun.last, begun.fewest
    listed = graph.name.endswith(LISTED)
    mask = graph.input("mask", "float32", ["B", "L"] if listed else [builder.symbols])
    rows = builder.rows(graph, "B") if listed else None
    ids = graph.input("ids", "int64", ["B", "L"]) if listed else ""
    ports = builder.decoder.state_ports()

    body = Graph("loop", parent=graph)
    number = body.input("number", "int64", [])
    body.input("going", "bool", [])
    last = body.input("last_tokens", "int64", ["B", 1])
    ended = body.input("ended_before", "bool", ["B"])
    carried = {part: body.input(f"carried.{part}", dtype, ["B", *shape]) for part, (dtype, shape) in ports.items()}
    given = StepInputs(body.op("Shape", last), memory, dict(carried))
    outputs = builder.decoder.step(body, given, body.reshape(last, -1))
    kind = normalization_of(builder.config)
    dense = log_probabilities(body, given, outputs, builder.weights, builder.symbols, kind) if rows is None else \
        listed_log_probabilities(body, outputs, rows, kind)
    scores, chosen = _best_allowed(body, dense, mask, rows, builder.symbols)
    chosen = body.op("GatherElements", ids, chosen, axis=1) if listed else chosen
    flat = body.reshape(chosen, -1)
    at_limit = body.op("GreaterOrEqual", body.op("Add", number, body.constant(1, "int64")), limits)
    now_ended = body.op("Or", ended, body.op("Or", body.op("Equal", flat, body.constant(END, "int64")), at_limit))
    still = body.op("ReduceSum", body.op("Cast", body.op("Not", now_ended), to=7), keepdims=0)
    body.output("still_going", body.op("Greater", still, fewest), "bool", [])
    body.output("next_tokens", chosen, "int64", ["B", 1])
    body.output("now_ended", now_ended, "bool", ["B"])
    for part, (dtype, shape) in ports.items():
        body.output(f"after.{part}", given.after[part], dtype, ["B", *shape])
    body.output("token", flat, "int64", ["B"])
    body.output("score", body.reshape(scores, -1), "float32", ["B"])
    if outputs.weights:
        body.output("weight", outputs.weights, "float32", ["B", 1, "S"])
    most = graph.op("ReduceMax", limits, keepdims=0)
    first = [tokens, graph.zeros(graph.op("Shape", limits), dtype="bool"), *(begun.state[part] for part in ports)]
    found = graph.node("Loop", most, graph.constant(True, "bool"), *first, outputs=len(body.outputs) - 1, body=body)
    if fewest in [port.name for port in graph.inputs]:
        graph.output("ended", found[1], "bool", ["B"])
        for (part, (dtype, shape)), value in zip(ports.items(), found[2:], strict=False):
            graph.output(NEXT + part, value, dtype, ["B", *shape])
    for port, value in zip(body.outputs[3 + len(ports):], found[2 + len(ports):], strict=True):
        graph.output(f"{port.name}s", value, port.dtype, ["T", *port.shape])
    return graph


def _best_allowed(graph: Graph, dense: str, mask: str, rows: Rows | None, symbols: int) -> tuple[str, str]:
    """Score and place [B 1] of the best of each row whose mask is 0, not −∞.

    A large vocabulary is not masked, which would write all of its scores once more: a few best are, and the ids that
    can be banned (see search.whole) are fewer than they.
    """
    if rows is not None or symbols <= SMALL:
        return best(graph, graph.op("Add", dense, mask), graph.ids(1))
    scores, places = best(graph, dense, graph.ids(MOST_BANNED + 1))
    allowed, column = best(graph, graph.op("Add", scores, graph.op("Gather", mask, places)), graph.ids(1))
    return allowed, graph.op("GatherElements", places, column, axis=1)

