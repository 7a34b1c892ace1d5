"""Claims about data: more of it, and less of what is wrong in it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from seqloom.claims.claim import ATTENTION, Claim
from seqloom.claims.lab import Lab
from seqloom.claims.tables import Check, Table, more
from seqloom.claims.tasks import Pair

AMOUNTS, WRONG = (0.1, 0.3, 1.0), (0.0, 0.1, 0.3)
PAIRS = 1000


def mismatch(pairs: list[Pair], share: float) -> list[Pair]:
    """The same pairs, but in this share of them, spread evenly, each target has moved on to the next of them."""
    count = round(share * len(pairs))
    places = [number * len(pairs) // count for number in range(count)] if count > 1 else []
    found = list(pairs)
    for place, following in zip(places, [*places[1:], *places[:1]], strict=True):
        found[place] = (pairs[place][0], pairs[following][1])
    return found


def _amount(share: float) -> str:
    return f"{100 * share:.0f} % of the pairs"


def _wrong(share: float) -> str:
    return f"all, {100 * share:.0f} % mismatched" if share else _amount(1.0)


def _data(lab: Lab) -> Table:
    table = Table("trained on", [], ["quality"])
    for seed in lab.seeds():
        split = lab.split("lookup", (3, 6), seed=seed, examples=PAIRS)
        (pairs,) = split.tests.values()
        trials = {_amount(share): split.train[:max(2, round(share * len(split.train)))] for share in AMOUNTS}
        trials |= {_wrong(share): mismatch(split.train, share) for share in WRONG[1:]}
        for name, train in trials.items():
            run = lab.train(replace(split, train=train), seed, 250, ATTENTION)
            table.add(name, "quality", run.quality(pairs))
    return table


def _judge_data(table: Table) -> list[Check]:
    less = [more(f"{_amount(high)} teach more than {_amount(low)}: 0.02 or more.", table, (_amount(high), "quality"),
                 (_amount(low), "quality"), 0.02) for low, high in pairwise(AMOUNTS)]
    wrong = [more(f"{100 * high:.0f} % mismatched pairs cost 0.02 or more against {100 * low:.0f} %.", table,
                  (_wrong(low), "quality"), (_wrong(high), "quality"), 0.02)
             for low, high in pairwise(WRONG)]
    return [*less, *wrong]


QUALITY_CLAIMS = {
    "data": Claim(
        "Quality follows the amount of the data and its quality.",
        ("Koehn and Knowles 2017, challenge 2 (amount of training data)",
         "Khayrallah and Koehn 2018 (kinds of noise, misaligned sentences among them)"),
        f"Words replaced by their entries in a dictionary, 3 to 6 of them, {PAIRS} pairs; GRUs of 64 with attention; "
        "250 updates whatever the amount.",
        _data, _judge_data),
}
