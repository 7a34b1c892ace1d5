"""Pronunciation in 15 languages, SIGMORPHON 2020 task 1: python -m benchmarks.g2p DATA RUNS [options]

DATA  the folder with train/LLL_train.tsv, dev/ and test/, as ../shared/data/sigmorphon2020_g2p; RUNS  a folder for run
folders, one for each language by its name; those that are there are not trained again. With --multilingual one run,
RUNS/multilingual, learns all languages. Word error is 1 − exact match, phone error counts edits over phones; both in %.
Writes RUNS/<name>.json and prints the table in Markdown. With --with FOLDER each language's run answers together with
the run of that language in FOLDER, with --with-all RUN together with a run of all languages; both may be repeated.
With --set KEY=VALUE another recipe than the preset is trained, for a table of with and without.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import seqloom

LANGUAGES = ("ady", "arm", "bul", "dut", "fre", "geo", "gre", "hin", "hun", "ice", "jpn", "kor", "lit", "rum", "vie")
PARTS = ("dev", "test")
PRESET = "g2p"
MULTILINGUAL = "multilingual"
# One model of 15 languages has more to hold than one of 3,600 words, and 54,000 words to learn it from.
OF_MANY: dict[str, Any] = {
    "source": {"language": "embedding"},
    "encoder": {"layers": 2, "hidden_size": 192},
    "decoder": {"hidden_size": 384},
    "training": {"batch_size": 64, "learning_rate": 0.002, "average_decay": 0.999, "precision": "bf16",
                 "schedule": {"kind": "inverse_square_root", "warmup_steps": 800}},
}
Scores = dict[str, dict[str, dict[str, float]]]  # language → part → word_error, phone_error in %


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, evaluate, write and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.g2p", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--languages", default=",".join(LANGUAGES), help="some of them, with commas (default: all)")
    parser.add_argument("--multilingual", action="store_true", help="one run for all of them")
    parser.add_argument("--with", dest="others", type=Path, action="append", default=[], metavar="FOLDER",
                        help="further run folders to answer together with; may be repeated")
    parser.add_argument("--with-all", type=Path, action="append", default=[], metavar="RUN",
                        help="a run of all languages to answer together with; may be repeated")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="one option of what is trained now; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="of what is trained now (default: 1)")
    parser.add_argument("--max-minutes", type=float, help="of one training")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-training", action="store_true", help="only what is trained already")
    given = parser.parse_args(arguments)
    languages = [name for name in given.languages.split(",") if name]
    unknown = [name for name in languages if not file_of(given.data, "train", name).is_file()]
    if unknown or not languages:
        parser.error(f"no such file: {file_of(given.data, 'train', (unknown or ['LLL'])[0])}")
    training = {name: value for name, value in (("max_minutes", given.max_minutes), ("threads", given.threads))
                if value is not None}
    if not given.no_training:
        train_missing(given.data, given.runs, languages, multilingual=given.multilingual, seed=given.seed,
                      training=training, overrides=given.overrides)
    if given.multilingual:
        scores = scores_of_one(given.data, given.runs / MULTILINGUAL, languages)
    else:
        there = [name for name in languages if all((folder / name).is_dir() for folder in (given.runs, *given.others))]
        scores = {name: scores_of(given.data, [folder / name for folder in (given.runs, *given.others)], name,
                                  of_all=given.with_all) for name in there}
    if not scores:
        parser.error(f"{given.runs} has no run of these languages")
    name = MULTILINGUAL if given.multilingual else "ensemble" if given.others or given.with_all else "single"
    found = {"languages": scores, "macro": macro(scores)}
    (given.runs / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(scores))
    return 0


def file_of(data: Path, part: str, language: str) -> Path:
    """One file of the task."""
    return data / part / f"{language}_{part}.tsv"


def train_missing(data: Path, runs: Path, languages: Sequence[str], *, multilingual: bool, seed: int,
                  training: dict[str, Any], overrides: Sequence[str] = ()) -> None:
    """Train the runs whose folders are not there, with the preset and `overrides`; one of all with OF_MANY between."""
    seeded = {"training": {"seed": seed}}
    if multilingual:
        if not (runs / MULTILINGUAL).exists():
            files = {key: [{"path": str(file_of(data, part, name)), "language": name} for name in languages]
                     for key, part in (("train", "train"), ("valid", "dev"))}
            seqloom.train(preset=PRESET, out=runs / MULTILINGUAL, quiet=False,
                          values={**OF_MANY, "training": {**OF_MANY["training"], **seeded["training"]}, "data": files},
                          overrides=overrides, **training)
        return
    for name in languages:
        if not (runs / name).exists():
            seqloom.train(file_of(data, "train", name), valid=file_of(data, "dev", name), preset=PRESET,
                          out=runs / name, values=seeded, overrides=overrides, quiet=False, **training)


def scores_of(data: Path, runs: Sequence[Path], language: str, *, of_all: Sequence[Path] = ()
              ) -> dict[str, dict[str, float]]:
    """Part → errors of a run of one language, or of several together, with runs of all languages too."""
    model = seqloom.load([*runs, *of_all]).in_language(language if of_all else None)
    return {part: errors(seqloom.evaluate(model, file_of(data, part, language), metrics=["exact_match", "wer"]).scores)
            for part in PARTS}


def scores_of_one(data: Path, run: Path, languages: Sequence[str]) -> Scores:
    """Language → part → errors of one run of all languages."""
    model, found = seqloom.load(run), {name: {} for name in languages}
    for part in PARTS:
        each = seqloom.evaluate(model, *(file_of(data, part, name) for name in languages), languages=languages,
                                metrics=["exact_match", "wer"]).scores["languages"]
        for name in languages:
            found[name][part] = errors(each[name])
    return found


def errors(scores: dict[str, Any]) -> dict[str, float]:
    """Word and phone error in %, of what `evaluate` says."""
    return {"word_error": 100 * (1 - scores["exact_match"]), "phone_error": 100 * scores["wer"]}


def macro(scores: Scores) -> dict[str, dict[str, float]]:
    """Part → means over languages."""
    return {part: {name: mean(one[part][name] for one in scores.values()) for name in ("word_error", "phone_error")}
            for part in PARTS}


def mean(values: Iterable[float]) -> float:
    """Arithmetic mean."""
    given = list(values)
    return sum(given) / len(given)


def table(scores: Scores) -> str:
    """Markdown: word and phone error by language, and the mean."""
    lines = ["| | dev word error | dev phone error | test word error | test phone error |", "|---|---|---|---|---|"]
    for name, parts in [*scores.items(), (f"mean of {len(scores)}", macro(scores))]:
        cells = " | ".join(f"{parts[part][kind]:.2f}" for part in PARTS for kind in ("word_error", "phone_error"))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
