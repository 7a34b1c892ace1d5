"""The whole network in NumPy for one sentence: text in, a sequence out, in every cell, score, context and combination.

`encode` → Encoded, `begin` → DecoderState, `step` → StepTrace and the next state. Nothing is batched or padded unless
padding is asked for. Sources other than text, and other heads, are not computed here: `check_source` and
`check_covered` say so. Language models are in `language.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from seqloom.config.sections import Config, LanguageHeadConfig, SequenceHeadConfig, TextSourceConfig
from seqloom.errors import UsageError
from seqloom.insight.attention import PREFIX, SCORERS, Attended, window_centre
from seqloom.insight.cells import CellStep, Layer, advance, scan, sigmoid
from seqloom.insight.normalization import NORMALIZERS
from seqloom.insight.weights import OUTPUT, SOURCE, TARGET, Weights
from seqloom.types import PADDING, UNKNOWN, Floats, Ints, Item

DECODER = "head.decoder"
TINY = 1e-12  # the smallest probability of a mixture (nn/output.py)

# Changes attention weights [S]; their sum must stay what it is, 1 but for local windows.
Edit = Callable[[Floats], Floats]


class Encoded(NamedTuple):
    """What the encoder computed for S source positions and F features.

    ids [S]; embedded [S E]; layers: per layer, per direction (forward first); values [S+F M]; hidden and cell [L N]:
    last states, directions side by side; copy_ids [S+F]: see Memory.copy_ids; length: real positions of S.
    """

    ids: Ints
    embedded: Floats
    layers: list[list[Layer]]
    values: Floats
    hidden: Floats
    cell: Floats | None
    copy_ids: Ints | None
    length: int

    @property
    def summary(self) -> Floats:
        """The top layer's last state [N]."""
        last: Floats = self.hidden[-1]
        return last


@dataclass(frozen=True, slots=True, eq=False)
class DecoderState:
    """hidden [L H] and cell [L H]; feed, last, coverage: see ContextState, and
    HardAttentionNetwork; position counts steps."""

    hidden: Floats
    cell: Floats | None
    feed: Floats | None = None
    last: Floats | None = None
    coverage: Floats | None = None
    position: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StepTrace:
    """One decoder step with everything in it.

    history: id that was read; embedded [E]; fed [F]: what joined it at the cell's input; layers: one CellStep each;
    state [H]: the top layer's output; query [Q], attended, last [S], coverage [S]: attention and what it knew;
    outputs [O]: what the output layer reads; logits [V]; copy_gate: probability of generating; log_probabilities
    [V or more]: ids from V on are copied symbols.
    """

    history: int
    embedded: Floats
    fed: Floats | None
    layers: list[CellStep]
    state: Floats
    query: Floats | None
    attended: Attended | None
    weights: Floats | None
    last: Floats | None
    coverage: Floats | None
    outputs: Floats
    logits: Floats
    copy_gate: float | None
    log_probabilities: Floats


def check_covered(config: Config) -> None:
    """Raise UsageError for runs whose network is not computed here."""
    if not isinstance(config.head, SequenceHeadConfig):
        others = "--gates and --path" if isinstance(config.head, LanguageHeadConfig) else "--gates"
        raise UsageError(f"this run answers with head.kind {config.head.kind}: this view is of head.kind sequence",
                         fix=f"look at its cells: {others}; or at the answer alone: seqloom explain RUN INPUT")
    check_source(config)


def check_attention(config: Config) -> None:
    """Raise UsageError for runs whose attention has not the four steps: scores, softmax, weighted sum, combination."""
    kind = config.decoder.attention.kind
    if config.decoder.context == "attention" and kind != "soft":
        raise UsageError(f"this run reads one source position for each token (decoder.attention.kind: {kind}): there "
                         "is no attention value, and a step's sum over positions is not shown",
                         fix="draw the probabilities of positions: seqloom explain RUN INPUT; or look at --path, "
                             "--gates, or force a token with --force")


def check_source(config: Config) -> None:
    """Raise UsageError for sources whose encoder is not computed here."""
    if not isinstance(config.source, TextSourceConfig):
        raise UsageError(f"this run reads source.kind {config.source.kind}: its steps are not shown, "
                         "only those of source.kind text", fix="draw what it looked at: seqloom explain RUN INPUT")


class Network:
    """The network of a configuration with these weights."""

    def __init__(self, config: Config, weights: Weights) -> None:
        check_source(config)
        self.config, self.weights = config, weights
        self.options = config.decoder
        self.context = config.decoder.context if isinstance(config.head, SequenceHeadConfig) else "none"
        self.scorer = SCORERS[config.decoder.attention.score](weights) if self.context == "attention" else None
        self.attending = NORMALIZERS[config.decoder.attention.normalization]
        self.answering = NORMALIZERS[
            config.head.normalization if isinstance(config.head, SequenceHeadConfig) else "softmax"]

    # --- the source ---

    def encode(self, item: Item, *, padding: int = 0) -> Encoded:
        """The encoder over an item's ids [S]; with `padding` as many positions behind them that are not real."""
        length = item.length
        ids = np.concatenate([item.fields["main"], np.full(padding, PADDING, np.int64)])
        embedded = inputs = self.weights.take(SOURCE)[ids]
        if "language" in item.fields:  # added to the padding too, which is not read
            embedded = inputs = embedded + self.weights.take(SOURCE)[item.fields["language"][0]]
        if "added" in item.fields:
            embedded = inputs = embedded + self.weights.take(SOURCE)[item.fields["added"]].sum(0)
        if "characters" in item.fields:
            characters = np.full((len(ids), item.fields["characters"].shape[1]), PADDING, np.int64)
            characters[:length] = item.fields["characters"]
            embedded = inputs = np.concatenate([embedded, self._spelled(characters)], 1)
        options, layers, hidden, cells = self.config.encoder, [], [], []
        for number in range(options.layers):
            name = f"encoder.recurrent.layers.{number}.cells"
            passes = [scan(self.weights, f"{name}.{way}", options.cell, inputs, length, backward=bool(way))
                      for way in range(1 + options.bidirectional)]
            ends = [one.hidden[0 if way else length - 1] for way, one in enumerate(passes)]
            hidden.append(np.concatenate(ends))
            kept = [one.cell[0 if way else length - 1] for way, one in enumerate(passes) if one.cell is not None]
            if kept:
                cells.append(np.concatenate(kept))
            outputs = np.concatenate([one.hidden for one in passes], 1)
            outputs[length:] = 0
            layers.append(passes)
            inputs = outputs + inputs if options.residual and number else outputs
        copy_ids = item.fields.get("copy")
        if copy_ids is not None:
            copy_ids = np.concatenate([copy_ids, np.full(padding, -1, np.int64)])
        encoded = Encoded(ids, embedded, layers, inputs, np.stack(hidden), np.stack(cells) if cells else None,
                          copy_ids, length)
        return self._with_features(encoded, item.fields["features"]) if "features" in item.fields else encoded

    def _spelled(self, characters: Ints) -> Floats:
        """What the characters [S W] of each symbol say of it: both last states (Lample et al. 2016, §4.1); 0 for
        none."""
        name, matrix = "encoder.characters.recurrent.layers.0.cells", self.weights.take(
            "encoder.characters.embedding.weight")
        found = []
        for row in characters:
            length = int((row != PADDING).sum())
            passes = [scan(self.weights, f"{name}.{way}", "lstm", matrix[row], length, backward=bool(way)).hidden
                      for way in range(2)]
            found.append(np.concatenate([passes[0][length - 1], passes[1][0]]) if length else
                         np.zeros(2 * passes[0].shape[1]))
        return np.stack(found)

    def _with_features(self, encoded: Encoded, ids: Ints) -> Encoded:
        """Features that are encoded apart: right behind the source, their mean added to the last states."""
        rows = self.weights.take("encoder.features.embedding.weight")[ids]
        features = np.tanh(self.weights.linear("encoder.features.transform", rows))
        mean = features.sum(0) / max(len(ids), 1)
        copy_ids = encoded.copy_ids
        if copy_ids is not None:
            copy_ids = np.concatenate([copy_ids, np.full(len(ids), -1, np.int64)])
        return encoded._replace(values=np.concatenate([encoded.values, features]), hidden=encoded.hidden + mean,
                                copy_ids=copy_ids)

    # --- the decoder ---

    def begin(self, encoded: Encoded) -> DecoderState:
        """The state before the first step."""
        options, attention = self.options, self.options.attention
        if self.context == "in_step":
            return DecoderState(np.zeros((1, 0)), None)
        top = len(encoded.hidden) - 1
        rows = [min(layer, top) for layer in range(options.layers)]
        hidden, cell = self._bridge(encoded, rows)
        state = DecoderState(hidden, cell)
        if self.context == "attention":
            size = len(encoded.values)
            after_value = attention.query == "previous" or attention.combination != "tanh"
            state = DecoderState(
                hidden, cell,
                np.zeros(encoded.values.shape[1] if after_value else options.hidden_size)
                if attention.input_feeding and attention.query == "current" else None,
                np.zeros(size) if attention.score == "location" else None,
                np.zeros(size) if attention.coverage else None)
        if options.first_input:
            shown = self.weights.linear(f"{DECODER}.first_input", encoded.summary)
            width = self.weights.take(f"{DECODER}.recurrent.layers.0.cells.0.weight_input").shape[1]
            padded = np.concatenate([shown, np.zeros(width - len(shown))])
            _, steps = self._recur(state, padded)
            state = self._after(state, steps)
        return state

    def _bridge(self, encoded: Encoded, rows: list[int]) -> tuple[Floats, Floats | None]:
        options, kind, has_cell = self.options, self.config.bridge.kind, self.options.cell == "lstm"
        hidden = encoded.hidden[rows]
        second = (encoded.hidden if encoded.cell is None else encoded.cell)[rows]
        if kind == "zero":
            zeros = np.zeros((options.layers, options.hidden_size))
            return zeros, zeros if has_cell else None
        if kind == "copy":
            return hidden, second if has_cell else None
        first = np.tanh(self.weights.linear(f"{DECODER}.bridge.hidden", hidden))
        return first, np.tanh(self.weights.linear(f"{DECODER}.bridge.cell", second)) if has_cell else None

    def _recur(self, state: DecoderState, inputs: Floats) -> tuple[Floats, list[CellStep]]:
        """One step of every layer: the top layer's output [H], and each layer's step."""
        below, steps = inputs, []
        for layer in range(self.options.layers):
            cell = None if state.cell is None else state.cell[layer]
            step = advance(self.weights, f"{DECODER}.recurrent.layers.{layer}.cells.0", self.options.cell, below,
                           state.hidden[layer], cell)
            below = step.hidden + below if self.options.residual and layer else step.hidden
            steps.append(step)
        return below, steps

    @staticmethod
    def _after(state: DecoderState, steps: list[CellStep]) -> DecoderState:
        cells = [step.cell for step in steps if step.cell is not None]
        return DecoderState(np.stack([step.hidden for step in steps]), np.stack(cells) if cells else None, state.feed,
                            state.last, state.coverage, state.position)

    def embed(self, token: int) -> Floats:
        """The embedded history [E]; a copied symbol counts as unknown."""
        matrix = self.weights.take(TARGET)
        row: Floats = matrix[token if token < len(matrix) else UNKNOWN]
        return row

    def attend(self, encoded: Encoded, keys: Floats, query: Floats, state: DecoderState) -> Attended:
        """Scores, weights and attention value of one query (Bahdanau et al. 2015, eqs. 5-6); padding has weight 0."""
        assert self.scorer is not None
        scores = self.scorer.scores(query, keys, state.last)
        if state.coverage is not None:
            scores = scores + self.weights.take(f"{PREFIX}.coverage_weight") * state.coverage
        unreal = slice(encoded.length, len(encoded.ids))
        scores[unreal] = -np.inf
        within, centre, factors = scores, None, 1.0
        reach = self.options.attention.local_window
        if reach is not None:  # Luong et al. 2015, eq. 10, with σ = D/2
            centre = window_centre(self.weights, query, len(scores) - (len(encoded.ids) - encoded.length))
            away = np.arange(len(scores)) - centre
            within, factors = np.where(np.abs(away) <= reach, scores, -np.inf), np.exp(-2 * np.square(away / reach))
        weights = self.attending.weights(within) * factors
        return Attended(self.scorer.asking(query), scores, weights, weights @ encoded.values,
                        self.attending.threshold(within), centre)

    def keys(self, encoded: Encoded) -> Floats | None:
        """The attention's keys [S H]; None without attention."""
        return None if self.scorer is None else self.scorer.keys(encoded.values)

    def step(self, encoded: Encoded, keys: Floats | None, state: DecoderState, token: int, edit: Edit | None = None
             ) -> tuple[StepTrace, DecoderState]:
        """Read one token of the history; `edit` changes this step's attention weights."""
        if self.context == "in_step":
            return self._in_step(encoded, state, token)
        options = self.options.attention
        embedded, fed = self.embed(token), state.feed
        previous, attended = state.hidden[-1], None
        asks_before = self.context == "attention" and options.query == "previous"
        if asks_before:
            attended = self._edited(encoded, keys, previous, state, edit)
            fed = attended.value if options.input_feeding else None
        if self.context == "every_step":
            fed = encoded.summary
        below, steps = self._recur(state, embedded if fed is None else np.concatenate([embedded, fed]))
        after = self._after(state, steps)
        query = previous if asks_before else below
        if self.context == "attention" and attended is None:
            attended = self._edited(encoded, keys, below, state, edit)
        outputs = self._combine(below, attended, encoded)
        feed = None if state.feed is None or attended is None else (
            outputs if options.combination == "tanh" else attended.value)
        gate = None
        if self.options.copy_source and attended is not None:
            parts = np.concatenate([attended.value, below, embedded])
            gate = float(sigmoid(self.weights.linear(f"{DECODER}.copy_gate", parts))[0])
        weights = None if attended is None else attended.weights
        logits = self.weights.linear(OUTPUT.removesuffix(".weight"), outputs)
        trace = StepTrace(token, embedded, fed, steps, below, query if attended is not None else None, attended,
                          weights, state.last, state.coverage, outputs, logits, gate,
                          self._log_probabilities(encoded, logits, weights, gate))
        return trace, DecoderState(
            after.hidden, after.cell, feed, weights if state.last is not None else None,
            None if state.coverage is None or weights is None else state.coverage + weights, state.position + 1)

    def _edited(self, encoded: Encoded, keys: Floats | None, query: Floats, state: DecoderState, edit: Edit | None
                ) -> Attended:
        assert keys is not None
        attended = self.attend(encoded, keys, query, state)
        if edit is None:
            return attended
        weights = edit(attended.weights)
        return attended._replace(weights=weights, value=weights @ encoded.values)

    def _combine(self, below: Floats, attended: Attended | None, encoded: Encoded) -> Floats:
        """What the output layer reads [O] (Luong et al. 2015, eq. 5; Cho et al. 2014, eq. 3)."""
        if self.context == "every_step":
            return np.concatenate([below, encoded.summary])
        if attended is None:
            return below
        joined = np.concatenate([attended.value, below])
        if self.options.attention.combination != "tanh":
            return joined
        return np.tanh(self.weights.linear(f"{DECODER}.context.combination", joined))

    def _in_step(self, encoded: Encoded, state: DecoderState, token: int) -> tuple[StepTrace, DecoderState]:
        """The single RNN: position t answers step t, the last one every further step."""
        place = min(state.position, encoded.length - 1)
        outputs, weights = encoded.values[place], np.zeros(len(encoded.values))
        weights[place] = 1.0
        logits = self.weights.linear(OUTPUT.removesuffix(".weight"), outputs)
        trace = StepTrace(token, np.zeros(0), None, [], outputs, None, None, weights, None, None, outputs, logits, None,
                          self._log_probabilities(encoded, logits, weights, None))
        return trace, DecoderState(state.hidden, None, position=state.position + 1)

    def _log_probabilities(self, encoded: Encoded, logits: Floats, weights: Floats | None, gate: float | None
                           ) -> Floats:
        """Those of the logits, or the mixture with copying (See et al. 2017, eq. 9)."""
        if gate is None or weights is None:
            return self.answering.logarithms(logits)
        mixed = gate * self.answering.weights(logits)
        shares = copy_shares(encoded, weights)
        assert encoded.copy_ids is not None
        size = max(len(logits), int(encoded.copy_ids.max()) + 1)
        mixed = np.concatenate([mixed, np.zeros(size - len(logits))])
        np.add.at(mixed, np.maximum(encoded.copy_ids, 0), (1 - gate) * shares)
        result: Floats = np.log(np.maximum(mixed, TINY))
        return result


def copy_shares(encoded: Encoded, weights: Floats) -> Floats:
    """The weights [S] over those positions alone that can be copied."""
    assert encoded.copy_ids is not None
    shares = weights * (encoded.copy_ids >= 0)
    result: Floats = shares / max(float(shares.sum()), TINY)
    return result
