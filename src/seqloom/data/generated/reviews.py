"""Text → label: short reviews by a small grammar, and whether they recommend. The order of words decides.

    review → clause | clause "but" clause | "although" clause "," clause | clause "although" clause
           | "nobody can say that" clause
    clause → thing "was" ["not"] [degree] quality | "i" ["did not"] verb thing

Of two clauses the one that is not conceded counts: the last one with "but", the main one with "although". "not" and
"nobody can say that" turn a clause round. So reviews of the same words have different labels (the plot was dull but the
cast was funny; the plot was funny but the cast was dull), and a bag of words cannot tell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqloom.data.generated import pick, write_texts

LABELS = ("no", "yes")
THINGS = ("plot", "cast", "music", "ending", "dialogue", "story", "camera", "hero", "villain", "pace", "first half",
          "last scene", "script", "title song", "director", "scenery")
QUALITIES = ("dull", "flat", "weak", "tiresome", "clumsy", "noisy", "stale", "hollow"), \
            ("funny", "fresh", "moving", "clever", "lively", "bright", "gripping", "charming")
VERBS = (("hated", "hate"), ("regretted", "regret"), ("endured", "endure")), \
        (("liked", "like"), ("loved", "love"), ("enjoyed", "enjoy"))
DEGREES = ("", "", "very", "rather", "quite", "truly", "really")


def clause(generator: np.random.Generator) -> tuple[str, bool]:
    """A clause, and whether it praises."""
    kind, turned = bool(generator.integers(2)), bool(generator.random() < 0.4)
    thing = f"the {pick(generator, THINGS)}"
    if generator.random() < 0.3:
        past, base = VERBS[kind][int(generator.integers(len(VERBS[kind])))]
        words = f"i {f'did not {base}' if turned else past} {thing}"
    else:
        parts = (thing, "was", "not" if turned else "", pick(generator, DEGREES), pick(generator, QUALITIES[kind]))
        words = " ".join(part for part in parts if part)
    return words, kind != turned


def draw(generator: np.random.Generator) -> tuple[str, str]:
    """A review and its label."""
    (first, one), (second, two) = clause(generator), clause(generator)
    words, praises = (
        (first, one), (f"{first} but {second}", two), (f"although {first} , {second}", two),
        (f"{first} although {second}", one), (f"nobody can say that {first}", not one),
    )[int(generator.choice(5, p=[0.15, 0.3, 0.2, 0.2, 0.15]))]
    return words, LABELS[praises]


def write(folder: str | Path, train: int = 6000, valid: int = 400, test: int = 1000,
          seed: int = 1) -> dict[str, Path]:
    """Write <split>.tsv (review, tab, label); the manifests by split. A review that is in one split is in no other."""
    return write_texts(folder, {"train": train, "valid": valid, "test": test}, draw, seed)
