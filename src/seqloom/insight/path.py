"""The path of one answer: the run unrolled with real sizes, and what padding, reversal and context do to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seqloom.config.sections import TextSourceConfig
from seqloom.insight import Replay
from seqloom.insight.hard_attention import HardAttentionNetwork
from seqloom.insight.network import Encoded, StepTrace
from seqloom.insight.steps import trace
from seqloom.insight.weights import OUTPUT, SOURCE
from seqloom.types import END, SPECIAL_NAMES, START, UNKNOWN, Floats

PADDED = 3  # positions of padding in the trial


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One station: what stands there, its shape in letters and numbers, and the numbers themselves where there are any.

    array: [rows, size], with a label for each row; None where the rows alone tell.
    """

    name: str
    text: str
    shape: str
    rows: list[str] = field(default_factory=list)
    array: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Padding:
    """The same source with `PADDED` positions behind it: largest differences, which rounding alone makes."""

    summary: float
    values: float
    carried: float
    weight: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Stages in order; and for the source positions [S] the steps from reading each of them to the summary.

    as_read, reversed: the steps as the run reads, and if `source.reverse` were the other way; reverse: as configured;
    contexts: name, what the cell reads (its width) and what the output layer reads (its width) at each step.
    A language model (context: language) has one row of states: the source tokens are what it read, the tokens what came
    next, and there is no padding, no summary, and no other context.
    """

    source_tokens: list[str]
    tokens: list[str]
    stages: list[Stage]
    padding: Padding | None
    reverse: bool
    as_read: list[int]
    reversed: list[int]
    context: str
    contexts: list[tuple[str, str, int, str, int]]
    looked: list[int | None]


def path_of(replay: Replay) -> Path:
    """Everything between the text and the answer. Raises UsageError for a run that is not covered."""
    if replay.is_language:
        return _language_path(replay)
    network, encoded = replay.network, replay.encoded
    written = replay.written
    steps = list(trace(network, encoded, written))
    tokens = replay.tokens
    S = encoded.length
    source = network.config.source
    assert isinstance(source, TextSourceConfig)
    return Path(
        replay.source_tokens, tokens, [*_encoder_stages(replay), *_decoder_stages(replay, steps, tokens)],
        _padding(replay), source.reverse, [S - s for s in range(S)], [s + 1 for s in range(S)], network.context,
        _contexts(replay), [None if step.weights is None else int(step.weights.argmax()) for step in steps])


def _language_path(replay: Replay) -> Path:
    tokens = replay.whole_tokens
    count = len(tokens) - 1
    return Path(tokens[:-1], tokens[1:], list(_language_stages(replay)), None, False, [0] * count, [0] * count,
                "language", [], list(range(count)))


def _language_stages(replay: Replay) -> Iterator[Stage]:
    seen, tokens, config = replay.reading, replay.whole_tokens, replay.run.config
    read, options = tokens[:-1], config.decoder
    prompt, V = replay.item.length - 1, seen.log_probabilities.shape[1]
    yield Stage("tokens", f"A line end, behind which every text begins, the prompt ({prompt}), and the answer, whose "
                          "last symbol is written and not read.", f"T = {len(read)}", read)
    yield Stage("ids", "The number of each symbol in the vocabulary.", f"ids [T] = [{len(read)}]",
                [f"{token}→{number}" for token, number in zip(read, seen.ids, strict=True)])
    E = seen.embedded.shape[1]
    one_hot = getattr(config.head, "one_hot", False)
    yield Stage("embedding", f"A one-hot vector of {V} numbers for each id." if one_hot else
                f"A row of the embedding matrix [{V}, {E}] for each id.", f"[T, E] = {_shape(seen.embedded)}", read,
                seen.embedded)
    for number, layer in enumerate(seen.layers, 1):
        yield Stage(f"layer {number}", f"Hidden states of layer {number} ({options.cell})"
                    + ("; the cell states beside them are as large." if layer.cell is not None else "."),
                    f"[T, H] = {_shape(layer.hidden)}", read, layer.hidden)
    yield Stage("outputs", "What the output layer reads.", f"[T, O] = {_shape(seen.outputs)}", read, seen.outputs)
    shares = np.exp(seen.log_probabilities)
    best = [f"{replay.run.head.token(int(number))}→{row[number]:.3f}"
            for number, row in zip(shares.argmax(1), shares, strict=True)]
    yield Stage("expected", "The likeliest next symbol behind each, by the output layer and a softmax.",
                f"[T] of V = {V}", best)
    own = shares[np.arange(len(read)), replay.whole_text[1:]]
    yield Stage("answer", f"What does come next, and its probability: the first {prompt} are the prompt's own.",
                f"[T] = [{len(read)}]",
                [f"{token}→{share:.3f}" for token, share in zip(tokens[1:], own.tolist(), strict=True)])


def _encoder_stages(replay: Replay) -> Iterator[Stage]:
    network, encoded, names = replay.network, replay.encoded, replay.source_tokens
    source, options = network.config.source, network.config.encoder
    assert isinstance(source, TextSourceConfig)
    S, read = encoded.length, names[: encoded.length]
    unknown = int((encoded.ids == UNKNOWN).sum())
    order = "last one first (source.reverse), " if source.reverse else ""
    yield Stage("tokens", f"The text in symbols ({source.tokenizer.kind}), {order}then </s>.", f"S = {S}", read)
    yield Stage("ids", "The number of each symbol in the vocabulary"
                + (f"; {unknown} unknown to it have the id {UNKNOWN}." if unknown else "."),
                f"ids [S] = [{S}]", [f"{token}→{number}" for token, number in zip(read, encoded.ids, strict=True)])
    matrix = network.weights.take(SOURCE)
    beside = encoded.embedded.shape[1] - matrix.shape[1]
    yield Stage("embedding", f"A row of the embedding matrix [{matrix.shape[0]}, {matrix.shape[1]}] for each id"
                + ("; the features' rows are added to each of them" if "added" in replay.item.fields else "")
                + (f"; beside it {beside} numbers from a network that reads its characters." if beside else "."),
                f"[S, E] = {_shape(encoded.embedded)}", read, encoded.embedded)
    for number, passes in enumerate(encoded.layers, 1):
        for way, layer in enumerate(passes):
            direction = "backwards, last position first" if way else "forwards, first position first"
            yield Stage(f"encoder {number}{' backward' if way else ''}",
                        f"Hidden states of layer {number} ({options.cell}), read {direction}"
                        + ("; the cell states beside them are as large." if layer.cell is not None else "."),
                        f"[S, H] = {_shape(layer.hidden)}", read, layer.hidden)
    yield Stage("values", "What the encoder leaves for each position"
                + (", both directions side by side" if options.bidirectional else "")
                + ("; the features stand behind" if len(encoded.values) > S else "") + ".",
                f"[S, M] = {_shape(encoded.values)}", names, encoded.values)
    yield Stage("summary", "The top layer's last state"
                + (": forwards after the last position, backwards after the first." if options.bidirectional else "."),
                f"[N] = [{len(encoded.summary)}]", ["summary"], encoded.summary[None])


def _decoder_stages(replay: Replay, steps: list[StepTrace], tokens: list[str]) -> Iterator[Stage]:
    network, encoded = replay.network, replay.encoded
    config, history = network.config, [SPECIAL_NAMES[START], *tokens[:-1]]
    output = network.weights.take(OUTPUT)
    if network.context != "in_step":
        first = network.begin(encoded).hidden
        yield Stage("first state", f"The bridge ({config.bridge.kind}) makes the decoder's first state of the summary, "
                                   "one for each layer.", f"[L, H] = {_shape(first)}",
                    [f"L{number}" for number in range(1, len(first) + 1)], first)
        embedded = np.stack([step.embedded for step in steps])
        yield Stage("history", "The token before, as the decoder reads it: <s> first, then its own answer.",
                    f"[T, E] = {_shape(embedded)}", history, embedded)
        fed = [step.fed for step in steps if step.fed is not None]
        if fed:
            what = {"every_step": "the summary"}.get(network.context, "the attention's result (input feeding)")
            yield Stage("fed", f"Beside it at the cell's input: {what}.", f"[T, F] = {_shape(np.stack(fed))}", history,
                        np.stack(fed))
        states = np.stack([step.state for step in steps])
        yield Stage("decoder", f"States of the decoder's top layer ({config.decoder.cell}) after each token.",
                    f"[T, H] = {_shape(states)}", history, states)
    weights = [step.weights for step in steps if step.weights is not None]
    is_hard = isinstance(network, HardAttentionNetwork)
    if weights:
        text = {"attention": "Probability of each source position, before the token is known." if is_hard else
                             "Attention weights: where each step looked.",
                "in_step": "No decoder: step t reads position t."}[network.context]
        yield Stage("weights", text, f"[T, S] = {_shape(np.stack(weights))}", tokens, np.stack(weights))
    outputs = np.stack([step.outputs for step in steps])
    yield Stage("outputs", "What the output layer reads" + (
        " at the likeliest position; a symbol's probability is a sum over all of them." if is_hard else "."),
        f"[T, O] = {_shape(outputs)}", tokens, outputs)
    shares = [float(np.exp(step.log_probabilities[number])) for step, number in zip(steps, replay.written, strict=True)]
    yield Stage("answer", f"The output layer [{output.shape[0]}, {output.shape[1]}] and {_distribution(replay)} give "
                          f"each of V = {output.shape[0]} symbols its probability; the answer's own:",
                f"[T] = [{len(tokens)}]" + ("" if replay.written and replay.written[-1] == END else ", cut"),
                [f"{token}→{share:.3f}" for token, share in zip(tokens, shares, strict=True)])


def _distribution(replay: Replay) -> str:
    kind = getattr(replay.run.config.head, "normalization", "softmax")
    return "a softmax" if kind == "softmax" else str(kind)


def _padding(replay: Replay) -> Padding:
    """Encode and answer once more behind padding, as in a batch with longer neighbours."""
    network, alone = replay.network, replay.encoded
    S = alone.length
    if len(alone.values) > S:  # features stand behind the source: the text alone is tried
        text = {name: values for name, values in replay.item.fields.items() if name != "features"}
        item = type(replay.item)(text, replay.item.tokens, replay.item.leading_features)
        alone = network.encode(item)
    else:
        item = replay.item
    padded = network.encode(item, padding=PADDED)
    carried = padded.layers[0][0].hidden
    return Padding(_largest(padded.summary - alone.summary), _largest(padded.values[:S] - alone.values),
                   _largest(carried[S:] - carried[S - 1]), _padding_weight(replay, padded))


def _padding_weight(replay: Replay, padded: Encoded) -> float | None:
    """The largest attention weight on padding; None without attention."""
    network = replay.network
    keys = network.keys(padded)
    if keys is None:
        return None
    step, _ = network.step(padded, keys, network.begin(padded), START)
    assert step.weights is not None
    return _largest(step.weights[padded.length:len(padded.ids)])


def _contexts(replay: Replay) -> list[tuple[str, str, int, str, int]]:
    """The ways from the source to a step of the decoder, with the widths they would have in this run."""
    network = replay.network
    options, M = network.config.decoder, replay.encoded.values.shape[1]
    E, H, attention = options.embedding_size, options.hidden_size, options.attention
    tanh = attention.combination == "tanh"
    value = "one position's value" if isinstance(network, HardAttentionNetwork) else "attention value"
    fed = 0 if not attention.input_feeding else M if attention.query == "previous" or not tanh else H
    return [("initial", "the token before", E, "the state", H),
            ("every_step", "the token before and the summary", E + M, "state and summary", H + M),
            ("attention", "the token before" + (" and the attention's result" if fed else ""), E + fed,
             f"tanh of {value} and state" if tanh else f"{value} and state", H if tanh else M + H),
            ("in_step", "nothing: there is no decoder", 0, "the encoder at the same position", M)]


def _largest(numbers: Any) -> float:
    return float(np.abs(numbers).max()) if numbers.size else 0.0


def _shape(array: Floats) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"
