"""Claims about scores: which one, and whether the most similar vector wins."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqloom.claims.claim import Claim
from seqloom.claims.lab import Lab, Split, Trained
from seqloom.claims.tables import Check, Table, at_least

SCORES = ("dot", "general", "concat")
EARLY, END = "after a third", "at the end"
LOOKED = "another key wins"
INPUTS = 20  # answers that are looked into


def _train(lab: Lab, split: Split, seed: int, score: str, updates: int, **further: Any) -> Trained:
    attention = {"score": score, "input_feeding": False}
    return lab.train(split, seed, updates, {"decoder": {"attention": attention}}, **further)


def _scores(lab: Lab) -> Table:
    table = Table("quality of", [], [EARLY, END])
    for seed in lab.seeds():
        split = lab.split("lookup", (3, 8), seed=seed)
        (pairs,) = split.tests.values()
        for score in SCORES:
            run = _train(lab, split, seed, score, 330, validations=3)
            table.add(score, EARLY, max(0.0, 1 - run.rows[0][run.measure]))
            table.add(score, END, run.quality(pairs))
    return table


def _judge_scores(table: Table) -> list[Check]:
    ends = [table.mean(score, END) for score in SCORES]
    early = [table.mean(score, EARLY) for score in SCORES]
    return [
        Check("At the end the best and the worst differ by less than 0.05.", max(ends) - min(ends) < 0.05,
              f"{max(ends) - min(ends):.3f}"),
        Check("After a third of the updates they do, too.", max(early) - min(early) < 0.05,
              f"{max(early) - min(early):.3f}"),
    ]


def _cosine(lab: Lab) -> Table:
    table = Table("of the steps in which the model writes, share where", [], [LOOKED])
    for seed in lab.seeds():
        split = lab.split("lookup", (3, 8), seed=seed)
        sources = [source for pairs in split.tests.values() for source, _ in pairs][:INPUTS]
        for score in ("dot", "general"):
            run = _train(lab, split, seed, score, 300)
            steps = [step.attention for source in sources for step in run.predictor.predict(source).steps.steps]
            table.add(score, LOOKED, float(np.mean([one.weights.argmax() != one.cosines.argmax() for one in steps])))
    return table


def _judge_cosine(table: Table) -> list[Check]:
    return [at_least(f"{score}: in 0.01 or more of the steps the highest weight is not on the highest cosine.",
                     table, (score, LOOKED), 0.01) for score in table.rows]


LOOKING_CLAIMS = {
    "scores": Claim(
        "Which score there is, dot, general or concat, decides little.",
        ("Luong et al. 2015, §3.1 (the three; they found dot good for global attention)",
         "Britz et al. 2017 (a score like concat slightly but consistently better)"),
        "Words replaced by their entries in a dictionary, 3 to 8 of them; GRUs of 64; 330 updates.",
        _scores, _judge_scores),
    "cosine": Claim(
        "The most similar vector need not win the dot product.",
        ("the definition: q · k = |q| · |k| · cosine, so a long key can win over a more similar one",),
        f"Words replaced by their entries in a dictionary, 3 to 8 of them; GRUs of 64; 300 updates; {INPUTS} answers, "
        "of whose steps the highest weight and the highest cosine of query and key are compared.",
        _cosine, _judge_cosine),
}
