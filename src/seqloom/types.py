"""Every shape that crosses a boundary, on one page. NumPy only; no torch, no files, no configuration.

Sizes: B sentences, K hypotheses of one sentence, S source positions, T target positions, V target ids,
M memory size, H hidden size, C candidates, W wanted ids. `docs/notation.md` is the full list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqloom.errors import UsageError

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

# The special ids, the same for every tokenizer. Looked up by these names only; the strings are for display,
# and a user's own token that is spelled "<s>" is an ordinary symbol with an ordinary id.
PADDING, UNKNOWN, START, END = 0, 1, 2, 3
SPECIAL_NAMES = ("<pad>", "<unk>", "<s>", "</s>")


@dataclass(frozen=True, slots=True)
class Record:
    """One raw example as it stood in a file: the text (or texts) of each column by role.

    `fields` holds "source", "target", "features" where the file has them; a list under "target" means several
    references (JSONL). `path` and `line` (from 1) say where it came from.
    """

    fields: Mapping[str, str | list[str]]
    path: str = "<input>"
    line: int = 0

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    def text(self, role: str) -> str:
        """The text of a column; the first reference where there are several."""
        value = self.fields[role]
        return value if isinstance(value, str) else value[0]

    def texts(self, role: str) -> list[str]:
        value = self.fields[role]
        return [value] if isinstance(value, str) else list(value)


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A line that cannot be used, with the reason. Training sets it aside; prediction keeps its line."""

    reason: str
    path: str
    line: int
    text: str = ""

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Item:
    """One side of one example as numbers: named arrays whose first axis is the length, and the tokens as shown.

    `fields["main"]` is always there (for text: ids [S]). `tokens` are what pictures and copying show; the first
    `leading_features` of them are features, not text. `others`: the same input as further runs read it that answer
    together with the first one (see `together`).
    """

    fields: dict[str, NDArray[Any]]
    tokens: list[str] = field(default_factory=list)
    leading_features: int = 0
    others: tuple[Item, ...] = ()

    @property
    def length(self) -> int:
        return len(self.fields["main"])


@dataclass(frozen=True, slots=True)
class Padded:
    """Items of different length in rectangular arrays (NumPy on the data side, torch inside a model).

    fields:  main [B S …] always; text may add features [B F], characters [B S W], copy [B S].
    lengths: real positions of each row [B]. Position s of row b is real iff s < lengths[b].
    others:  the same B items as further runs read them (`Item.others`).
    """

    fields: dict[str, Any]
    lengths: Any
    others: tuple[Padded, ...] = ()

    @property
    def main(self) -> Any:
        return self.fields["main"]

    @property
    def size(self) -> int:
        """Number of rows B."""
        return int(self.lengths.shape[0])


class Batch(NamedTuple):
    """What one update sees. `source` is None for a language model; `indices` [B] name the examples."""

    source: Padded | None
    target: Padded
    indices: Ints


class Loss(NamedTuple):
    """A sum and the number of things summed; divided once, after accumulation and all-reduce.

    total: loss sum in nats (scalar); count: real target positions; correct: positions whose best id is the target;
    state: where the text of the batch goes on in the next one, what the model has to know of it; None elsewhere;
    risk: sum over sentences of their expected risk, where training makes it small; None elsewhere.
    """

    total: Any
    count: Any
    correct: Any
    state: Any = None
    risk: Any = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One answer of the search, as ids.

    ids:           [T] without the start symbol and without the end symbol.
    score:         log-probability sum in nats, end symbol included when `finished`.
    token_scores:  [T + finished] log-probability of each token.
    ranking_score: what the search ordered by: score after length and coverage penalties.
    finished:      False when the maximum length stopped it.
    weights:       attention [T + finished, S], rows sum to 1; None when not asked for or without attention.
    """

    ids: Ints
    score: float
    token_scores: Floats
    ranking_score: float
    finished: bool = True
    weights: Floats | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one input.

    text:          the answer as text (label, space-joined tags); "" for a bad input.
    score:         log-probability sum in nats with the end token; nan for a bad input.
    tokens:        the answer's tokens, without start and end symbols.
    token_scores:  [T + finished] log-probability of each token, end symbol last.
    source_tokens: [S] the tokens the model read.
    attention:     [T + finished, S] float32, rows sum to 1 over the real source positions; None without attention.
    n_best:        the best answers in order, this one first; empty unless n_best > 1 was asked for.
    stopped:       "end" (the model ended), "max_length" (it was cut), "error" (bad input, see `error`).
    alternatives:  for each step the best (token, probability) pairs, when asked for.
    probabilities: label → probability, for heads that have labels.
    engine:        name of the engine that answered, such as "onnx fp32"; "" for a bad input.
    replay:        how the answer came about (`insight.Replay`); None unless attention was asked for.
    """

    text: str
    score: float
    tokens: list[str] = field(default_factory=list)
    token_scores: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    source_tokens: list[str] = field(default_factory=list)
    attention: Floats | None = None
    n_best: list[Prediction] = field(default_factory=list)
    ranking_score: float = float("nan")
    stopped: str = "end"
    error: str = ""
    where: str = ""
    alternatives: list[list[tuple[str, float]]] = field(default_factory=list)
    probabilities: dict[str, float] = field(default_factory=dict)
    engine: str = ""
    replay: Any = field(default=None, compare=False, repr=False)

    @property
    def steps(self) -> Any:
        """The four steps of attention at each output token, with every number (`insight.steps.Steps`).

        Computed in NumPy when it is first asked for. Raises UsageError without `replay`, and for runs that do not read
        text, do not write a sequence, or have hard attention.
        """
        if self.replay is None:
            raise UsageError("this prediction does not know how it came about",
                             fix="ask for it with attention=True, from a run folder: "
                                 "seqloom.load(RUN).predict(INPUT, attention=True)")
        return self.replay.steps


class Step(NamedTuple):
    """What an engine says about the next token of every hypothesis.

    scores:  [B K C] log-probabilities, best first, ties to the lower id; dense [B K V] when candidates is None.
    tokens:  [B K C] full-vocabulary ids, None when dense; ids ≥ V are copied source symbols.
    wanted:  [B K W] log-probabilities of exactly the ids asked for, None when none were.
    weights: [B K S] attention, None when not asked for or when the model has none.
    """

    scores: Floats
    tokens: Ints | None
    wanted: Floats | None
    weights: Floats | None


class Searched(NamedTuple):
    """What an engine gives that searches greedily by itself: each sentence's steps up to its end symbol or its limit.

    tokens [B T]; scores [B T] log-probabilities; weights [B T S] attention, None when the model has none. What follows
    an answer's end is of no meaning.
    """

    tokens: Ints
    scores: Floats
    weights: Floats | None


State = TypeVar("State")


class Engine(Protocol[State]):
    """The waist between search and models: NumPy in and out, the state opaque. See decision 0002.

    The engine owns the memory (once per sentence, never repeated per hypothesis), the gather of states by
    `parents` and the top-k of each row. Hypotheses may change in number from step to step (1 → K).

    `name` is what results say they come from.
    """

    name: str
    end: int

    @property
    def threads(self) -> int:
        """CPU threads that it computes with."""
        ...

    def begin(self, source: Padded | int, shortlist: Ints | None = None) -> State:
        """Encode; one hypothesis (K = 1) per sentence. An int is a number of sentences, for heads without source.

        shortlist: [B L] the only ids that each sentence's answers are made of, -1 after them: their probabilities sum
        to one, all others are impossible. Ids stay those of the full vocabulary.
        """
        ...

    def step(self, state: State, tokens: Ints, parents: Ints, candidates: int | None, *,
             wanted: Ints | None = None, weights: bool = False) -> tuple[Step, State]:
        """Feed `tokens` [B K] to the hypotheses that continue rows `parents` [B K] of the previous step."""
        ...

    def keep(self, state: State, sentences: Ints) -> State:
        """Drop every sentence whose row is not listed in `sentences` [B2]."""
        ...

    def positions(self, state: State) -> Ints | None:
        """[B] positions of each sentence's memory that attention is over; those behind are padding. None without any.
        """
        ...

    def answer(self, source: Padded, state: Any = None) -> tuple[Floats, Any]:
        """Log-probabilities [B T C] of heads that answer at once: T is 1 (a label) or S (a tag for each position).

        The state that comes with them, handed in with the next steps of the same inputs, goes on from there.
        """
        ...
