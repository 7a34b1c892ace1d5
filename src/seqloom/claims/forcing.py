"""Claims about teacher forcing, and about errors that lead to errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from seqloom.claims.claim import ATTENTION, FIXED, WITH, WITHOUT, Claim
from seqloom.claims.lab import Lab, Trained
from seqloom.claims.tables import Check, Table, more
from seqloom.claims.tasks import Pair

UPDATES, VALIDATIONS = 400, 8
WHOLE, END, GAP = "right on the way", "right at the end", "gap at the end"
ALWAYS, SCHEDULED, NEVER = "always", "scheduled sampling", "never"


def _forcing(lab: Lab) -> Table:
    fall = {"ratio": 1.0, "decay": "linear", "slope": 1.25 / max(1, UPDATES * lab.scale.updates)}
    ways: dict[str, Mapping[str, Any]] = {ALWAYS: {"ratio": 1.0}, SCHEDULED: fall, NEVER: {"ratio": 0.0}}
    table = Table("gold history", [], [WHOLE, END, GAP])
    for seed in lab.seeds():
        split = lab.split("copy", (3, 8), seed=seed)
        for name, way in ways.items():
            run = lab.train(split, seed, UPDATES, FIXED, {"training": {"teacher_forcing": way}},
                            validations=VALIDATIONS)
            table.add(name, WHOLE, fmean(row["free_token_accuracy"] for row in run.rows))
            table.add(name, END, run.rows[-1]["free_token_accuracy"])
            table.add(name, GAP, run.rows[-1]["accuracy_gap"])
    return table


def _judge_forcing(table: Table) -> list[Check]:
    return [
        more("It speeds learning: on the way, always is ahead of never by 0.05 or more.", table, (ALWAYS, WHOLE),
             (NEVER, WHOLE), 0.05),
        Check("It leaves a gap of 0.03 or more between gold and own history.", table.mean(ALWAYS, GAP) >= 0.03,
              f"{table.mean(ALWAYS, GAP):.2f}"),
        more("Scheduled sampling narrows the gap, by 0.01 or more.", table, (ALWAYS, GAP), (SCHEDULED, GAP), 0.01),
        more("None at all is slow: at the end, too, never is 0.05 or more behind scheduled sampling.", table,
             (SCHEDULED, END), (NEVER, END), 0.05),
    ]


PLACE = 2  # tokens of the answer that are given; the last of them is the wrong one
RIGHT_BEFORE, WRONG_BEFORE = "after right tokens", "after a wrong one"


def _chain(lab: Lab) -> Table:
    table = Table("share of the rest that is right", [], [RIGHT_BEFORE, WRONG_BEFORE])
    for seed in lab.seeds():
        split = lab.split("copy", (6, 8), seed=seed)
        pairs = [pair for pairs in split.tests.values() for pair in pairs if len(pair[1].split()) > PLACE]
        for name, context in ((WITHOUT, FIXED), (WITH, ATTENTION)):
            run = lab.train(split, seed, 400, context)
            table.add(name, RIGHT_BEFORE, _rest_right(run, pairs, [target.split()[:PLACE] for _, target in pairs]))
            table.add(name, WRONG_BEFORE, _rest_right(run, pairs, _spoilt(pairs)))
    return table


def _spoilt(pairs: Sequence[Pair]) -> list[list[str]]:
    """Beginnings of the targets whose last token is the one that stands there in the next pair, or in one after it."""
    found = []
    for number, (_, target) in enumerate(pairs):
        right = target.split()[:PLACE]
        others = (pairs[(number + step) % len(pairs)][1].split()[PLACE - 1] for step in range(1, len(pairs)))
        found.append([*right[:-1], next((token for token in others if token != right[-1]), right[-1])])
    return found


def _rest_right(run: Trained, pairs: Sequence[Pair], beginnings: Sequence[Sequence[str]]) -> float:
    """The share of the tokens behind the beginning that stand in their place."""
    answers = run.answers(pairs, prefix=[" ".join(beginning) for beginning in beginnings])
    right = total = 0
    for (_, target), answer in zip(pairs, answers, strict=True):
        wanted, written = target.split()[PLACE:], answer.text.split()[PLACE:]
        right += sum(one == other for one, other in zip(wanted, written, strict=False))
        total += len(wanted)
    return right / total


def _judge_chain(table: Table) -> list[Check]:
    return [more(f"With {name}: behind one wrong token 0.10 or more of the rest is lost.", table, (name, RIGHT_BEFORE),
                 (name, WRONG_BEFORE), 0.1) for name in (WITHOUT, WITH)]


FORCING_CLAIMS = {
    "teacher-forcing": Claim(
        "Teacher forcing speeds learning and leaves a gap; scheduled sampling narrows it; none at all is slow.",
        ("Williams and Zipser 1989", "Bengio et al. 2015, §2.4 (scheduled sampling)"),
        f"Letters to be copied, 3 to 8 of them, without attention; GRUs of 64; {UPDATES} updates with gold history "
        "always, falling in a line to none after 4/5 of the updates, or never. Accuracies of tokens on validation "
        f"data, running freely; on the way is the mean of {VALIDATIONS} validations; the gap is that with gold history "
        "minus that.",
        _forcing, _judge_forcing),
    "error-chain": Claim(
        "One wrong word leads to more.",
        ("Bengio et al. 2015, abstract (errors pile up along the sequence)", "Ranzato et al. 2016 (exposure bias)"),
        "Letters to be copied, 6 to 8 of them; GRUs of 64; 400 updates. The decoder is given the first two letters, "
        "the second of them right or wrong, and writes the rest.",
        _chain, _judge_chain, not_on_real="it compares answers token by token in their places"),
}
