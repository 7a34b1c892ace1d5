"""Real data sets → files that `seqloom train` reads: python -m benchmarks.manifests TASK DATA OUT

TASK  fsdd | an4 | nlvr | im2latex;  DATA  the folder of that set, as ../shared/data holds it;  OUT  a new folder.
Every task writes manifests (path, tab, answer) and the files they name. Nothing is left out but what is said.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIGN = re.compile(r"\\[A-Za-z]+|\\.|\S")  # of LaTeX: a command, an escaped character, or one character
INK = 200      # a page is darker than this where there is ink
MARGIN = 8     # pixels around the ink
SHRINK = 2     # pages of 200 dots an inch become half as large


def main(arguments: list[str] | None = None) -> int:
    """Write one task's files and say how many lines each manifest has."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.manifests", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for path, count in TASKS[given.task](given.data, given.out):
        sys.stdout.write(f"{path}: {count:,} lines\n")
    return 0


Written = Iterable[tuple[Path, int]]


def _write(path: Path, lines: list[tuple[str, str]]) -> tuple[Path, int]:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in lines), encoding="utf-8", newline="\n")
    return path, len(lines)


def _unpack(archive: Path, out: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(out, filter="data")


def fsdd(data: Path, out: Path) -> Written:
    """Recordings → the digit's name. The official split: recordings 0 to 4 of each speaker and digit are the test."""
    _unpack(data / "recordings.tar.gz", out)
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for path in sorted((out / "recordings").glob("*.wav")):
        digit, _, number = path.stem.split("_")
        splits["test" if int(number) < 5 else "train"].append((f"recordings/{path.name}", DIGITS[int(digit)]))
    return [_write(out / f"{split}.tsv", lines) for split, lines in splits.items()]


def an4(data: Path, out: Path) -> Written:
    """MFCC frames (big-endian floats behind their number, 13 a frame) as .npy → words in small letters."""
    with tarfile.open(data / "feat.tar.gz") as packed:
        for member in packed:
            file = packed.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            content = file.read()
            count = int.from_bytes(content[:4], "big")
            values = np.frombuffer(content[4:], ">f4")
            if len(values) != count:
                raise SystemExit(f"{member.name}: {len(values)} numbers, its header says {count}")
            path = out / Path(member.name).with_suffix(".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values.reshape(-1, 13).astype("<f4"))
    written = []
    for split in ("train", "test"):
        names = (data / "etc" / f"an4_{split}.fileids").read_text().split()
        texts = (data / "etc" / f"an4_{split}.transcription").read_text().splitlines()
        words = [text.rpartition("(")[0].replace("<s>", "").replace("</s>", "").strip().lower() for text in texts]
        written.append(_write(out / f"{split}.tsv", [(f"feat/{name}.npy", word) for name, word in
                                                     zip(names, words, strict=True)]))
    return written


def nlvr(data: Path, out: Path) -> Written:
    """Pictures → the sentence that a person wrote of them, where it is true. Train: hidden and test; test: dev."""
    _unpack(data / "images_perm0.tar", out)
    lines: dict[str, list[tuple[str, str]]] = {}
    for split in ("hidden", "test", "dev"):
        with gzip.open(data / f"{split}.json.gz", "rt", encoding="utf-8") as file:
            examples = [json.loads(line) for line in file]
        words = [" ".join(re.findall(r"\w+|[^\w\s]", example["sentence"].lower())) for example in examples]
        lines[split] = [(f"{split}/{split}-{example['identifier']}-0.png", text)
                        for example, text in zip(examples, words, strict=True) if example["label"] == "true"]
    return [_write(out / "train.tsv", lines["hidden"] + lines["test"]), _write(out / "test.tsv", lines["dev"])]


def im2latex(data: Path, out: Path) -> Written:
    """Rendered formulas, cut to their ink and half as large → signs of LaTeX with spaces between them."""
    from PIL import Image

    empty: set[str] = set()
    (out / "images").mkdir(exist_ok=True)
    with tarfile.open(data / "images.tar.gz") as packed:
        for member in packed:
            file = packed.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            drawn = Image.open(file).convert("RGBA")  # the ground is transparent
            page = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("L")
            box = page.point(lambda value: 255 * (value < INK)).getbbox()
            if box is None:
                empty.add(Path(member.name).name)
                continue
            cut = page.crop((max(0, box[0] - MARGIN), max(0, box[1] - MARGIN), box[2] + MARGIN, box[3] + MARGIN))
            small = cut.resize((max(1, cut.width // SHRINK), max(1, cut.height // SHRINK)), Image.Resampling.BILINEAR)
            small.save(out / "images" / Path(member.name).name)
    formulas = (data / "formulas.lst").read_text(encoding="utf-8").split("\n")
    written = []
    for split, name in (("train", "train"), ("validate", "valid"), ("test", "test")):
        rows = [line.split() for line in (data / f"{split}.lst").read_text().splitlines()]
        lines = [(f"images/{image}.png", " ".join(SIGN.findall(formulas[int(number)]))) for number, image, _ in rows]
        written.append(_write(out / f"{name}.tsv", [line for line in lines if Path(line[0]).name not in empty]))
    sys.stdout.write(f"left out: {len(empty)} empty pages ({', '.join(sorted(empty))})\n")
    return written


TASKS: dict[str, Callable[[Path, Path], Written]] = {"fsdd": fsdd, "an4": an4, "nlvr": nlvr, "im2latex": im2latex}

if __name__ == "__main__":
    raise SystemExit(main())
