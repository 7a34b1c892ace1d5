"""Text → its summary: reports of matches, and who beat whom in a sentence. Names must be copied.

The sentences of a report stand in any order, half of them do not matter and name others, and the result is told from
either side (won by 3 to 1, or lost by 1 to 3). Names are made of syllables, and those of the valid and test parts are
in no training text: what is not copied from the source cannot be right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqloom.data.generated import pick, write_texts

STARTS = ("Bar", "Cal", "Dun", "Fel", "Gor", "Har", "Kel", "Lor", "Mar", "Nor", "Pel", "Ros", "Sal", "Tor", "Ver",
          "Wen")
MIDDLES = ("", "", "a", "e", "i", "o", "an", "el", "in", "or")
ENDS = ("bury", "dale", "field", "ford", "ham", "minster", "port", "stead", "ton", "wick", "mouth", "gate")
HELD_OUT = 4  # of so many names one belongs to valid and test
SIDE_NOTES = ("it rained from the first minute .", "{count} people had come .", "the lights went out at half time .",
              "{other} had withdrawn {count} days before .", "nobody was hurt .", "the next match will be in {other} .",
              "tickets had been sold out for {count} days .", "{other} will meet the winner in spring .")
RESULTS = ("{winner} won by {high} to {low} against {loser} .", "{loser} lost to {winner} by {low} to {high} .",
           "in the end {winner} were {high} to {low} ahead of {loser} .",
           "{loser} could not prevent that {winner} won by {high} to {low} .")
PLACES = ("the match was played in {place} .", "{place} welcomed the two sides .", "both had travelled to {place} .")


def names(held_out: bool) -> list[str]:
    """All names of one part: those of training, or the others."""
    made = [f"{start}{middle}{end}" for start in STARTS for middle in sorted(set(MIDDLES)) for end in ENDS]
    shuffled = np.random.default_rng(0).permutation(len(made))
    return [made[number] for place, number in enumerate(shuffled) if (place % HELD_OUT == 0) == held_out]


TRAINING, HELD = names(False), names(True)


def draw(generator: np.random.Generator, split: str = "train") -> tuple[str, str]:
    """A report and its summary."""
    own = TRAINING if split == "train" else HELD
    drawn = [own[number] for number in generator.choice(len(own), 4, replace=False).tolist()]
    low = int(generator.integers(0, 5))
    facts = {**dict(zip(("winner", "loser", "place", "other"), drawn, strict=True)), "low": str(low),
             "high": str(low + int(generator.integers(1, 5)))}
    notes = [SIDE_NOTES[number] for number in generator.choice(len(SIDE_NOTES), int(generator.integers(1, 4)),
                                                               replace=False)]
    told = [pick(generator, RESULTS), pick(generator, PLACES), *notes]
    body = [told[number].format(**facts, count=int(generator.integers(10, 100)))
            for number in generator.permutation(len(told))]
    summary = "{winner} beat {loser} {high} to {low} in {place} .".format(**facts)
    return " ".join(body), summary


def write(folder: str | Path, train: int = 4000, valid: int = 200, test: int = 400,
          seed: int = 1) -> dict[str, Path]:
    """Write <split>.tsv (report, tab, summary); the manifests by split."""
    return write_texts(folder, {"train": train, "valid": valid, "test": test}, draw, seed, by_split=True)
