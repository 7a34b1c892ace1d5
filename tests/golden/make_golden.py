"""Makes the golden run of the present version: tests/golden/<version>/letters, with expected.jsonl beside it.

    python tests/golden/make_golden.py

To be run once for each release, before it, and never again for that version: what a later seqloom must go on predicting
is what this one predicted.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import seqloom

FOLDER = Path(__file__).parent
LETTERS = "abcde"
INPUTS = ["ab", "cde", "eda", "bb", "a", "deca", "q", "한글"]  # the last four are unlike the training data
VALUES = {
    "source": {"tokenizer": {"kind": "character"}, "embedding_size": 6},
    "encoder": {"cell": "lstm", "hidden_size": 6},
    "decoder": {"cell": "lstm", "hidden_size": 12, "embedding_size": 6},
    "head": {"tokenizer": {"kind": "character"}},
    "training": {"epochs": 14, "batch_size": 8, "learning_rate": 0.02, "label_smoothing": 0.1, "validate_every": 60,
                 "threads": 1, "device": "cpu"},
    "decoding": {"beam_size": 3, "max_length": 8},
}


def make(folder: Path) -> None:
    """Train on letters written backwards as capitals, and keep what makes a run."""
    words = ["".join(letters) for size in (2, 3) for letters in itertools.product(LETTERS, repeat=size)]
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        Path("letters.tsv").write_text("".join(f"{word}\t{word[::-1].upper()}\n" for word in words), encoding="utf-8")
        seqloom.train("letters.tsv", out="letters", values=VALUES)
        shutil.rmtree("letters/checkpoints")
        Path("letters/data_report.json").unlink()
        shutil.copytree("letters", folder / "letters")
    with (folder / "expected.jsonl").open("w", encoding="utf-8") as file:
        for entry in expectations(folder / "letters"):
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def expectations(run: Path) -> list[dict[str, object]]:
    """For each input: the answer of the run's own search, the greedy one, and the score of a given target."""
    model = seqloom.load(run)
    return [{"input": text, "text": beam.text, "score": beam.score, "greedy_text": greedy.text,
             "greedy_score": greedy.score, "target": "CBA", "target_score": given.score}
            for text, beam, greedy, given in zip(INPUTS, model.predict(INPUTS), model.predict(INPUTS, beam_size=1),
                                                 model.score(INPUTS, ["CBA"] * len(INPUTS)), strict=True)]


if __name__ == "__main__":
    target = FOLDER / seqloom.__version__
    target.mkdir()
    make(target)
