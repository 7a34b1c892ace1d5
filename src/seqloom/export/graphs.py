"""The two graphs of a model: the encoder, once for each source, and one step of the decoder.

Encoder: main, lengths (and features, copy) → summary, `memory.…` once per sentence [B …], `state.…` [B …].
Step: tokens [B K], rows [R] into the given state, `memory.…`, `state.…`, candidates [1], wanted [R W] → scores and
tokens [R C], wanted [R W], dense [R V], weights [B K S], `state.…` [R …]. Its first nodes gather the state by `rows`.
"""

from __future__ import annotations

from seqloom.config.sections import Config
from seqloom.export.contexts import MEMORY, STATE, StepInputs
from seqloom.export.decoders import InStepDecoder, RecurrentDecoder
from seqloom.export.encoders import text_encoder
from seqloom.export.graph import Graph
from seqloom.export.output import log_probabilities, pick
from seqloom.export.weights import Weights


def decoder_of(config: Config, weights: Weights, symbols: int) -> RecurrentDecoder | InStepDecoder:
    """The builder of the configured decoder; `symbols`: of the target."""
    kind = InStepDecoder if config.decoder.context == "in_step" else RecurrentDecoder
    return kind(config, weights, symbols)


def encoder_graph(config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> Graph:
    """Source → memory and first state."""
    graph = Graph("encoder", int8=int8)
    encoded = text_encoder(graph, config, weights)
    memory, state = decoder_of(config, weights, symbols).begin(graph, encoded)
    size = config.encoder.hidden_size * (1 + config.encoder.bidirectional)
    graph.output("summary", encoded.summary, "float32", ["B", size])
    if "values" not in memory:
        graph.output("states", encoded.values, "float32", ["B", "S2", size])
    for prefix, parts in ((MEMORY, memory), (STATE, state)):
        for name, part in parts.items():
            shape = ["S2" if axis == "S" else axis for axis in part.shape]
            graph.output(prefix + name, part.value, part.dtype, ["B", *shape])
    return graph


def step_graph(config: Config, weights: Weights, symbols: int, *, int8: bool = False) -> Graph:
    """State and token of each hypothesis → next tokens and state."""
    graph = Graph("step", int8=int8)
    decoder = decoder_of(config, weights, symbols)
    tokens = graph.input("tokens", "int64", ["B", "K"])
    rows = graph.input("rows", "int64", ["R"])
    candidates = graph.input("candidates", "int64", [1])
    wanted = graph.input("wanted", "int64", ["R", "W"])
    memory = {name: graph.input(MEMORY + name, dtype, shape) for name, (dtype, shape) in decoder.memory_ports().items()}
    ports = decoder.state_ports()
    before = {name: graph.input(STATE + name, dtype, ["P", *shape]) for name, (dtype, shape) in ports.items()}
    state = {name: graph.op("Gather", value, rows) for name, value in before.items()}
    given = StepInputs(graph.op("Shape", tokens), memory, state)
    outputs = decoder.step(graph, given, graph.reshape(tokens, -1))
    dense = log_probabilities(graph, given, outputs, weights, symbols)
    picked = pick(graph, dense, candidates, wanted)
    graph.output("scores", picked.scores, "float32", ["R", "C"])
    graph.output("best", picked.tokens, "int64", ["R", "C"])
    graph.output("wanted_scores", picked.wanted, "float32", ["R", "W"])
    graph.output("dense", picked.dense, "float32", ["R", "V"])
    if outputs.weights:
        graph.output("weights", outputs.weights, "float32", ["B", "K", "S"])
    for name, (dtype, shape) in ports.items():
        graph.output(f"next.{name}", given.after[name], dtype, ["R", *shape])
    return graph
