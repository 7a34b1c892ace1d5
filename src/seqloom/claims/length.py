"""Claims about long inputs and the vector of fixed size."""

from __future__ import annotations

from seqloom.claims.claim import ATTENTION, FIXED, WITH, WITHOUT, Claim
from seqloom.claims.lab import Lab
from seqloom.claims.tables import Check, Table, more

STATES, STATES_WITH = (32, 64, 128, 256, 512), (32, 128)


def _long_inputs(lab: Lab) -> Table:
    table = Table("quality of", [], [])
    for seed in lab.seeds():
        split = lab.split("reverse", (2, 20), [(2, 5), (6, 10), (11, 15), (16, 20)], seed=seed)
        for name, context in ((WITHOUT, FIXED), (WITH, ATTENTION)):
            run = lab.train(split, seed, 300, context)
            for group, pairs in split.tests.items():
                table.add(name, group, run.quality(pairs))
    return table


def _judge_long_inputs(table: Table) -> list[Check]:
    first, last = table.columns[0], table.columns[-1]
    return [
        more("On the longest inputs attention is better by 0.20 or more.", table, (WITH, last), (WITHOUT, last), 0.2),
        more("Without it quality falls by 0.20 or more from the shortest to the longest inputs.", table,
             (WITHOUT, first), (WITHOUT, last), 0.2),
        Check("With it quality falls by less than half as much.",
              table.mean(WITH, first) - table.mean(WITH, last)
              < (table.mean(WITHOUT, first) - table.mean(WITHOUT, last)) / 2,
              f"{table.mean(WITH, first) - table.mean(WITH, last):.2f} and "
              f"{table.mean(WITHOUT, first) - table.mean(WITHOUT, last):.2f}"),
    ]


def _fixed_vector(lab: Lab) -> Table:
    table = Table("quality with a state of", [], [])
    split = lab.split("copy", (2, 14), [(2, 4), (5, 7), (8, 10), (11, 14)])
    for name, context, sizes in ((WITHOUT, FIXED, STATES), (WITH, ATTENTION, STATES_WITH)):
        for size in sizes:
            state = min(size, lab.scale.largest)
            run = lab.train(split, 1, 250, context, {
                "encoder": {"hidden_size": state}, "decoder": {"hidden_size": state},
                "training": {"batch_size": 32, "learning_rate": 0.005 if size < 256 else 0.002}})
            for group, pairs in split.tests.items():
                table.add(f"{size}, {name}", group, run.quality(pairs))
    return table


def _judge_fixed_vector(table: Table) -> list[Check]:
    first, middle, last = table.columns[0], table.columns[1], table.columns[-1]
    small, large = (f"{size}, {WITHOUT}" for size in (STATES[0], STATES[-1]))
    falls = [more(f"A vector of {size} numbers loses 0.15 or more from the shortest to the longest inputs.", table,
                  (f"{size}, {WITHOUT}", first), (f"{size}, {WITHOUT}", last), 0.15) for size in STATES]
    return [
        *falls,
        more(f"{STATES[-1]} numbers hold more than {STATES[0]}: better by 0.10 or more on the second shortest inputs.",
             table, (large, middle), (small, middle), 0.1),
        more(f"A state of {STATES_WITH[-1]} with attention is better than one of {STATES[-1]} without by 0.10 or more "
             "on the longest inputs.", table, (f"{STATES_WITH[-1]}, {WITH}", last), (large, last), 0.1),
    ]


def _short_to_long(lab: Lab) -> Table:
    table = Table("quality of", [], [])
    for seed in lab.seeds():
        split = lab.split("reverse", (2, 8), [(2, 4), (5, 8), (9, 12), (13, 16)], seed=seed)
        for name, context in ((WITHOUT, FIXED), (WITH, ATTENTION)):
            run = lab.train(split, seed, 400, context)
            for group, pairs in split.tests.items():
                table.add(name, group, run.quality(pairs))
    return table


def _judge_short_to_long(table: Table) -> list[Check]:
    trained, longest = table.columns[1], table.columns[-1]
    return [more(f"With {name}: quality falls by 0.30 or more from the longer half of the trained lengths to the "
                 "longest tested ones.", table, (name, trained), (name, longest), 0.3) for name in (WITHOUT, WITH)]


LENGTH_CLAIMS = {
    "long-inputs": Claim(
        "Attention helps with long inputs.",
        ("Bahdanau et al. 2015, §5.2.2 (long sentences)",
         "Koehn and Knowles 2017, challenge 4 (very long sentences stay hard with attention, too)"),
        "Letters to be written backwards, 2 to 20 of them; GRUs of 64, one direction; 300 updates.",
        _long_inputs, _judge_long_inputs, axis="letters"),
    "fixed-vector": Claim(
        "A vector of fixed size holds ever less of an input as it grows.",
        ("Bahdanau et al. 2015, §1", "Cho et al. 2014, On the properties of neural machine translation",
         "Pouget-Abadie et al. 2014, Overcoming the curse of sentence length"),
        "Letters to be copied, 2 to 14 of them; GRUs of one direction with states of 32 to 512 numbers; 250 updates "
        "of 32 examples. One seed.",
        _fixed_vector, _judge_fixed_vector, axis="letters"),
    "short-to-long": Claim(
        "What was trained on short inputs fails on longer ones, with attention too.",
        ("Pouget-Abadie et al. 2014 (sentences longer than those of the training)",
         "Lake and Baroni 2018 (SCAN, split by length)"),
        "Letters to be written backwards: trained on 2 to 8, tested on up to 16; GRUs of 64; 400 updates.",
        _short_to_long, _judge_short_to_long, axis="letters"),
}
