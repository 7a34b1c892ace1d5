"""Claims about order: reading backwards, the summary at every step, and what a single network cannot do."""

from __future__ import annotations

from seqloom.claims.claim import ATTENTION, EVERY_STEP, FIXED, WITH, WITHOUT, Claim
from seqloom.claims.lab import Lab
from seqloom.claims.tables import Check, Table, alike, at_least, more
from seqloom.errors import DataError

READ = ("forwards", "backwards")


def _reversal(lab: Lab) -> Table:
    table = Table("quality when read", [], [])
    for seed in lab.seeds():
        split = lab.split("copy", (3, 8), seed=seed)
        for name, context in ((WITHOUT, FIXED), (WITH, ATTENTION)):
            for column, backwards in zip(READ, (False, True), strict=True):
                run = lab.train(split, seed, 300, context, {"source": {"reverse": backwards}})
                (pairs,) = split.tests.values()
                table.add(name, column, run.quality(pairs))
    return table


def _judge_reversal(table: Table) -> list[Check]:
    forwards, backwards = READ
    return [
        more("Without attention reading backwards is better by 0.03 or more.", table, (WITHOUT, backwards),
             (WITHOUT, forwards), 0.03),
        alike("With attention it changes less than 0.03.", table, (WITH, backwards), (WITH, forwards), 0.03),
    ]


def _context(lab: Lab) -> Table:
    table = Table("summary", [], ["quality"])
    for seed in lab.seeds():
        split = lab.split("copy", (2, 8), seed=seed)
        for name, context in (("as first state", FIXED), ("at every step", EVERY_STEP), (WITH, ATTENTION)):
            (pairs,) = split.tests.values()
            table.add(name, "quality", lab.train(split, seed, 300, context).quality(pairs))
    return table


def _judge_context(table: Table) -> list[Check]:
    first, every, attention = (table.mean(row, "quality") for row in ("as first state", "at every step", WITH))
    return [
        more("The summary at every step is better than as first state alone by 0.01 or more.", table,
             ("at every step", "quality"), ("as first state", "quality"), 0.01),
        Check("It helps a little: by less than half of what attention brings.", every - first < (attention - first) / 2,
              f"{every - first:+.2f} and {attention - first:+.2f}"),
    ]


SINGLE = ("tags of one RNN", "one RNN in step", "encoder-decoder")
ORDERS = {"same": ("copy", (4, 8)), "reversed": ("reverse", (4, 8)), "twice as long": ("twice", (4, 8)),
          "half as long": ("half", (4, 8)), "sum": ("arithmetic", (1, 1))}


def _single(lab: Lab) -> Table:
    table = Table("quality of", [], [])
    for seed in lab.seeds(2):
        for column, (task, lengths) in ORDERS.items():
            split = lab.split(task, lengths, seed=seed)
            (pairs,) = split.tests.values()
            for row, head, context in (
                    (SINGLE[0], "tags", {}), (SINGLE[1], "sequence", {"decoder": {"context": "in_step"}}),
                    (SINGLE[2], "sequence", ATTENTION)):
                try:
                    quality = lab.train(split, seed, 200, context, head=head).quality(pairs)
                except DataError:  # the data is refused: not as many answers as inputs
                    quality = 0.0
                table.add(row, column, quality)
    return table


def _judge_single(table: Table) -> list[Check]:
    can = [at_least(f"Where order and length stay, {row} is right: 0.90 or more.", table, (row, "same"), 0.9)
           for row in SINGLE[:2]]
    cannot = [more(f"{column.capitalize()}: {row} stays 0.30 or more below an encoder-decoder with attention.", table,
                   (SINGLE[2], column), (row, column), 0.3)
              for column in list(ORDERS)[1:] for row in SINGLE[:2]]
    return [*can, *cannot]


ORDER_CLAIMS = {
    "reversal": Claim(
        "Reading the source backwards helps without attention, and not with it.",
        ("Sutskever et al. 2014, §3.3 (reversing the source sentences)",),
        "Letters to be copied, 3 to 8 of them; GRUs of 64, one direction; 300 updates.",
        _reversal, _judge_reversal),
    "context": Claim(
        "The summary at every step helps a little.",
        ("Cho et al. 2014, Learning phrase representations using RNN encoder-decoder, §2.2, have it and compare "
         "nothing; that it helps is what textbooks say",),
        "Letters to be copied, 2 to 8 of them; GRUs of 64, one direction; 300 updates.",
        _context, _judge_context),
    "single-rnn": Claim(
        "A single RNN can change neither order nor length.",
        ("Sutskever et al. 2014, §2",),
        "Letters to be copied, reversed, doubled, or every second left out, 4 to 8 of them, and sums of two "
        "digits; a GRU of 64 that answers with a tag for each letter, the same that ends where it wants "
        "(`decoder.context: in_step`), and an encoder-decoder with attention; 200 updates. Tags for a target of "
        "another length are refused as data: that counts as 0.",
        _single, _judge_single, not_on_real="it needs pairs of equal length beside those of other lengths"),
}
