"""What if: another token forced, gold history, the source reversed, an attention weight edited; decoded again.

Both courses are greedy, by the NumPy reference, so that nothing but the change tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seqloom.config.sections import DecodingConfig
from seqloom.errors import UsageError
from seqloom.insight import Replay
from seqloom.insight.network import Edit, Encoded, Network, StepTrace
from seqloom.search.request import target_limits
from seqloom.types import END, PADDING, SPECIAL_NAMES, START, UNKNOWN, Floats, Item

BRANCHED_STEPS, BRANCHES = 40, 3  # alternatives are followed at so many steps, so many at each
MOST_STEPS = 1000  # decoder steps of all branches together: some ten seconds with a large vocabulary


class Limits(NamedTuple):
    """How the search of the run is bound: the most tokens, the fewest, and whether the unknown symbol may come."""

    most: int
    least: int
    allow_unknown: bool

    def order(self, seen: StepTrace, step: int) -> list[int]:
        """What can be written at a step from 0, likeliest first, ties to the lower id."""
        never = {PADDING, START, *([] if self.allow_unknown else [UNKNOWN]), *([END] if step < self.least else [])}
        found = np.argsort(-seen.log_probabilities, kind="stable")
        return [int(number) for number in found if number not in never]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different. Steps and positions count from 0.

    forced: token by step; gold: the text whose tokens are the history; edits: (step, position) → weight.
    """

    forced: Mapping[int, str] = field(default_factory=dict)
    gold: str | None = None
    reverse: bool = False
    edits: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def told(self, columns: Sequence[str]) -> list[str]:
        """In words, one for each change."""
        lines = [f"token {step + 1} forced to be {token}" for step, token in sorted(self.forced.items())]
        lines += [f"gold history: {self.gold}"] if self.gold is not None else []
        lines += ["source read the other way round"] if self.reverse else []
        return lines + [f"weight of token {step + 1} on {columns[place] if place < len(columns) else place + 1} "
                        f"set to {weight:g}" for (step, place), weight in sorted(self.edits.items())]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One greedy answer: tokens [T] with the end symbol where it came, their probabilities [T], weights [T S].

    best: the model's own choice at each step, which differs from the token where that was forced; forced: which were;
    history: the token that each step read.
    """

    source_tokens: list[str]
    tokens: list[str]
    ids: list[int]
    probabilities: list[float]
    best: list[str]
    forced: list[int]
    history: list[str]
    weights: Floats | None
    text: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One likely token that was not written, at a step from 0, and the answer that would have come of it."""

    step: int
    token: str
    probability: float
    course: Course


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """Before and after a change; `changed`: steps of `after` whose token is another one than before."""

    changes: list[str]
    before: Course
    after: Course
    changed: list[int]
    gold: list[str] | None
    branches: list[Branch]

    def right(self, course: Course) -> float | None:
        """Share of gold positions, the end included, with the same token; None without a gold answer."""
        if self.gold is None:
            return None
        return sum(a == b for a, b in zip(self.gold, course.tokens, strict=False)) / len(self.gold)


def what_if(replay: Replay, change: Change, options: DecodingConfig | None = None) -> WhatIf:
    """Decode without and with the change; `options` say how long an answer may be.

    Raises UsageError for a token, step, position or weight that is not there.
    """
    network, head, item = replay.network, replay.run.head, replay.item
    options = options or replay.run.config.decoding
    limits = Limits(int(target_limits(options, np.asarray([item.length]), 1)[0]), options.min_length,
                    options.allow_unknown)
    before = decode(network, head, item, replay.source_tokens, limits)
    other, names = (reversed_item(item, replay.source_tokens)) if change.reverse else (item, replay.source_tokens)
    own = head.copied_tokens(item)
    gold = None if change.gold is None else _gold_ids(head, change.gold, item)
    forced = {step: _id_of(head, own, token) for step, token in change.forced.items()}
    edits = _edits(network, change, len(network.encode(other).values))
    _check_steps([*change.forced, *(step for step, _ in change.edits)], limits.most)
    after = decode(network, head, other, names, limits, forced=forced, gold=gold, edits=edits)
    late = [step for step in [*forced, *edits] if step >= len(after.tokens)]
    if late:
        raise UsageError(f"step {max(late) + 1} is past the end of the answer, which has {len(after.tokens)}",
                         fix="give an earlier step")
    changed = [step for step, token in enumerate(after.tokens)
               if step >= len(before.tokens) or before.tokens[step] != token]
    shown = None if gold is None else [*(head.token(number, own) for number in gold), SPECIAL_NAMES[END]]
    return WhatIf(change.told(names), before, after, changed, shown, branches_of(replay, before, limits))


def decode(network: Network, head: Any, item: Item, names: list[str], limits: Limits, *,
           forced: Mapping[int, int] | None = None, gold: Sequence[int] | None = None,
           edits: Mapping[int, Edit] | None = None, encoded: Encoded | None = None) -> Course:
    """Greedy, ties to the lower id. With `gold` each step reads the gold token before it, and there are as many steps
    as gold has tokens, and one for the end."""
    encoded = network.encode(item) if encoded is None else encoded
    keys, state, own = network.keys(encoded), network.begin(encoded), head.copied_tokens(item)
    history, best, shares, rows, read = START, [], [], [], []
    ids: list[int] = []
    steps = limits.most if gold is None else len(gold) + 1
    while len(ids) < steps:
        step = len(ids)
        seen, state = network.step(encoded, keys, state, history, (edits or {}).get(step))
        choice = limits.order(seen, step)[0]
        token = (forced or {}).get(step, choice)
        read.append(history)
        best.append(choice)
        ids.append(token)
        shares.append(float(seen.log_probabilities[token]))
        rows.append(seen.weights)
        if gold is None and token == END:
            break
        history = token if gold is None or step in (forced or {}) else gold[step] if step < len(gold) else END

    def named(number: int) -> str:
        return SPECIAL_NAMES[number] if number < len(SPECIAL_NAMES) else str(head.token(number, own))

    tokens = [named(number) for number in ids]
    weights = [row for row in rows if row is not None]
    plain = ids[: ids.index(END)] if END in ids else ids
    return Course(names, tokens, ids, [float(np.exp(share)) for share in shares], [named(one) for one in best],
                  sorted(forced or {}), [named(one) for one in read], np.stack(weights) if weights else None,
                  head.tokenizer.decode([named(one) for one in plain]), float(sum(shares)))


def branches_of(replay: Replay, before: Course, limits: Limits) -> list[Branch]:
    """For each of the first steps the likeliest other tokens, and the answers that follow from them."""
    network, head, item, encoded = replay.network, replay.run.head, replay.item, replay.encoded
    keys, state, history, found = network.keys(encoded), network.begin(encoded), START, []
    taken = 0
    for step, written in enumerate(before.ids[:BRANCHED_STEPS]):
        seen, state = network.step(encoded, keys, state, history)
        if taken > MOST_STEPS:
            break
        others = [one for one in limits.order(seen, step) if one != written][:BRANCHES]
        for other in others:
            course = decode(network, head, item, replay.source_tokens, limits,
                            forced={**dict(enumerate(before.ids[:step])), step: other}, encoded=encoded)
            taken += len(course.tokens)
            found.append(Branch(step, course.tokens[step], course.probabilities[step], course))
        history = written
    return found


def reversed_item(item: Item, names: list[str]) -> tuple[Item, list[str]]:
    """The text's symbols in the other order; features stay in front (or behind), </s> stays last."""
    first, last = item.leading_features, item.length - 1
    order = [*range(first), *reversed(range(first, last)), last]
    fields = {name: array[order] if name in ("main", "copy", "characters") else array
              for name, array in item.fields.items()}
    return (Item(fields, [item.tokens[place] for place in order], item.leading_features),
            [*(names[place] for place in order), *names[item.length:]])


def _gold_ids(head: Any, text: str, item: Item) -> list[int]:
    if not text:
        raise UsageError("--gold is empty", fix="give the right answer as text")
    return [int(number) for number in head.read_text(text, item, "--gold").fields["main"][1:-1]]


def _id_of(head: Any, own: list[str], token: str) -> int:
    """The id of a token as it is shown. Raises UsageError for one that the run cannot write."""
    if token in SPECIAL_NAMES and SPECIAL_NAMES.index(token) in (UNKNOWN, END):
        return SPECIAL_NAMES.index(token)
    number = int(head.tokenizer.id(token))
    if number != UNKNOWN:
        return number
    if token in own:
        return int(head.size) + own.index(token)
    known = " ".join(head.symbols[:20])
    raise UsageError(f"'{token}' is no symbol that this run writes", fix=f"choose one of its {head.size}: {known} …")


def _check_steps(steps: Sequence[int], most: int) -> None:
    wrong = [step for step in steps if not 0 <= step < most]
    if wrong:
        raise UsageError(f"step {wrong[0] + 1} is outside 1 … {most} (decoding.max_length)", fix="count steps from 1")


def _edits(network: Network, change: Change, S: int) -> dict[int, Edit]:
    if change.edits and network.context != "attention":
        raise UsageError("this run has no attention weights that could be edited",
                         fix="leave --edit out, or train with decoder.context: attention")
    by_step: dict[int, dict[int, float]] = {}
    for (step, place), weight in change.edits.items():
        if not 0 <= place < S:
            raise UsageError(f"source position {place + 1} is outside 1 … {S}", fix="count positions from 1")
        by_step.setdefault(step, {})[place] = weight
    for given in by_step.values():
        total = sum(given.values())
        if not all(0 <= weight <= 1 for weight in given.values()) or total > 1 + 1e-9 or (
                len(given) == S and total < 1 - 1e-9):
            raise UsageError(f"edited weights of one step are {', '.join(f'{x:g}' for x in given.values())}, expected "
                             "numbers from 0 to 1 that sum to at most 1, and to 1 where they are all",
                             fix="the weights of a step sum to 1")
    return {step: _edit(given) for step, given in by_step.items()}


def _edit(given: Mapping[int, float]) -> Edit:
    """Set some weights; the others share what is left, in their old proportions."""

    def edited(weights: Floats) -> Floats:
        rest = weights.copy()
        rest[list(given)] = 0
        left, whole = max(weights.sum() - sum(given.values()), 0.0), rest.sum()
        others = np.ones(len(rest))
        others[list(given)] = 0
        rest = rest * (left / whole) if whole > 0 else others * (left / max(others.sum(), 1))
        for place, weight in given.items():
            rest[place] = weight
        result: Floats = rest
        return result

    return edited
