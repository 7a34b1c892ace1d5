"""Claims about cells: a plain RNN forgets, gates help."""

from __future__ import annotations

from seqloom.claims.claim import Claim
from seqloom.claims.lab import Lab
from seqloom.claims.tables import Check, Table, more

GROUPS = ((2, 10), (11, 20), (21, 30), (31, 40))
CELLS = {"plain RNN": "rnn_tanh", "LSTM": "lstm", "GRU": "gru"}


def _gates(lab: Lab) -> Table:
    table = Table("quality of", [], [])
    for seed in lab.seeds():
        split = lab.split("recall", (2, 40), GROUPS, seed=seed)
        for name, cell in CELLS.items():
            run = lab.train(split, seed, 400, {"encoder": {"cell": cell}}, head="label")
            for group, pairs in split.tests.items():
                table.add(name, group, run.quality(pairs))
    return table


def _judge_gates(table: Table) -> list[Check]:
    first, last = table.columns[0], table.columns[-1]
    plain, *gated = CELLS
    return [
        more("The plain RNN loses 0.20 or more from the shortest to the longest inputs.", table, (plain, first),
             (plain, last), 0.2),
        *(more(f"On the longest inputs {name} is better by 0.20 or more.", table, (name, last), (plain, last), 0.2)
          for name in gated),
    ]


MEMORY_CLAIMS = {
    "gates": Claim(
        "A plain RNN forgets; gates help.",
        ("Bengio, Simard and Frasconi 1994", "Hochreiter and Schmidhuber 1997", "Chung et al. 2014"),
        "Which letter was the first of 2 to 40? One label from the last state; cells of 64; 400 updates.",
        _gates, _judge_gates, axis="letters", not_on_real="its answer must stand at the beginning"),
}
