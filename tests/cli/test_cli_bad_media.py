"""What can be wrong with pictures, sounds, frames and tags: each source × train, predict, evaluate, as commands.

Training sets the line aside with file:line and goes on, prediction keeps the line and answers it with an empty one,
evaluation says which it was.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from cli_helpers import Command, write
from PIL import Image

from media import MEDIA, records

BOMB = (30_000, 30_000)  # 900 million pixels in a few kilobytes
COMMON = ["training.max_steps=1", "training.threads=1", "training.batch_size=2", "encoder.hidden_size=4",
          "encoder.bidirectional=false"]


class Bad(NamedTuple):
    """A file that cannot be read: what makes it in a folder, its name, and words of the reason."""

    make: Callable[[Path], object]
    name: str
    reason: str


class Case(NamedTuple):
    """A source with a head: targets of good examples, and all that can be wrong."""

    media: str
    head: str
    targets: list[str]
    bad: list[Bad]
    more: tuple[str, ...] = ()


def cut(name: str, size: int) -> Callable[[Path], object]:
    """The first bytes of the first good file."""
    return lambda folder: (folder / f"cut{Path(name).suffix}").write_bytes((folder / name).read_bytes()[:size])


def silence(name: str, samples: int) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        with wave.open(str(folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(b"\0\0" * samples)

    return make


def array(name: str, values: object) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, np.asarray(values, np.float32))


def nothing(folder: Path) -> None:
    """The file is missing."""


def text(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("hello", encoding="utf-8")


PICTURES = [
    Bad(cut("0.png", 100), "cut.png", "cannot be decoded: image file is truncated"),
    Bad(text("text.png"), "text.png", "is no picture in a known format"),
    Bad(lambda folder: Image.new("1", BOMB).save(folder / "bomb.png"), "bomb.png", "far more than 50,000,000 pixels"),
    Bad(lambda folder: Image.new("1", (8_000, 8_000)).save(folder / "big.png"), "big.png",
        "8,000 × 8,000 pixels, at most 50,000,000 are decoded"),
    Bad(nothing, "gone.png", "there is no picture"),
]
FRAMES = [
    Bad(cut("0.tiff", 300), "cut.tiff", "cannot be decoded"),
    Bad(lambda folder: Image.new("1", BOMB).save(folder / "bomb.tiff", compression="group4"), "bomb.tiff",
        "far more than 50,000,000 pixels"),
    Bad(lambda folder: (folder / "empty").mkdir(), "empty", "is empty"),
    Bad(nothing, "gone", "there is no picture"),
]
SOUNDS = [
    Bad(cut("0.wav", 200), "cut.wav", "is truncated: the sound ends before"),
    Bad(text("text.wav"), "text.wav", "cannot be read as sound"),
    Bad(silence("zero.wav", 0), "zero.wav", "has no sound in it: its length is zero"),
    Bad(silence("short.wav", 10), "short.wav", "is shorter than one frame: 10 samples"),
    Bad(silence("long.wav", 8000 * 61), "long.wav", "61.0 s long (1 channel), at most 60 s are read"),
    Bad(nothing, "gone.wav", "there is no sound"),
]
NUMBERS = [
    Bad(array("nan.npy", [[1, 2, np.nan, 4, 5]]), "nan.npy", "has 1 number not finite, the first is nan in frame 0"),
    Bad(array("wide.npy", np.ones((2, 9))), "wide.npy", "has 9 dimensions, expected 5"),
    Bad(array("none.npy", np.ones((0, 5))), "none.npy", "has shape [0, 5]"),
    Bad(cut("0.npy", 100), "cut.npy", "cannot be read as .npy"),
    Bad(nothing, "gone.npy", "there is no array"),
]
TAGS = ["a b a b a b a", "b", "a a b b", "b a b a b a b a b", "a b"]  # as many as media.LENGTHS says
SEQUENCE = ("decoder.hidden_size=4", "decoder.embedding_size=4", "decoding.max_length=3")
CASES = {
    "image-sequence": Case("image", "sequence", ["a b", "b a", "a", "b", "a a"], PICTURES, SEQUENCE),
    "image-label": Case("image", "label", ["x", "y", "x", "y", "x"], PICTURES[:1]),
    "audio-sequence": Case("audio", "sequence", ["a b", "b a", "a", "b", "a a"], SOUNDS, SEQUENCE),
    "audio-label": Case("audio", "label", ["x", "y", "x", "y", "x"], SOUNDS[2:3]),
    "features-tags": Case("features", "tags", TAGS, NUMBERS),
    "features-label": Case("features", "label", ["x", "y", "x", "y", "x"], NUMBERS[:1]),
    "frames-tags": Case("frames", "tags", TAGS, FRAMES),
    "frames-sequence": Case("frames", "sequence", ["a b", "b a", "a", "b", "a a"], FRAMES[:1], SEQUENCE),
}


def options_of(case: Case) -> list[str]:
    given = [*COMMON, *case.more, f"source={json.dumps(MEDIA[case.media].options)}", f"head={case.head}"]
    return [word for one in given for word in ("--set", one)]


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_costs_its_own_line_alone(name: str, tmp_path: Path, cli: Command) -> None:
    case = CASES[name]
    good = [f"{one.text('source')}\t{one.text('target')}" for one in records(tmp_path, case.media, case.targets)]
    for bad in case.bad:
        bad.make(tmp_path)
    lines = [good[0], *(f"{bad.name}\t{case.targets[0]}" for bad in case.bad), *good[1:]]
    data, valid = write(tmp_path / "data.tsv", *lines), write(tmp_path / "valid.tsv", *good[:2])
    done = cli("train", data, "--valid", valid, "--out", tmp_path / "run", *options_of(case))
    assert done.code == 0, done.err
    quarantine = (tmp_path / "run" / "quarantine.tsv").read_text(encoding="utf-8")
    aside = [line.split("\t") for line in quarantine.splitlines()]
    assert [where for where, *_ in aside] == [f"{data}:{number}" for number in range(2, 2 + len(case.bad))]
    for (_, reason, _), bad in zip(aside, case.bad, strict=True):
        assert bad.reason in reason
    assert f"train: {len(lines):,} lines, {len(good):,} usable, {len(case.bad):,} bad" in done.err

    done = cli("predict", tmp_path / "run", data, "--format", "jsonl", "--threads", "1")
    assert "not seen in training" not in done.err  # bytes of pictures are no symbols
    assert done.code == 0
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [("error" in answer) for answer in answers] == [False, *[True] * len(case.bad), *[False] * len(good[1:])]
    for answer, bad, number in zip(answers[1:], case.bad, range(2, 100), strict=False):
        assert bad.reason in answer["error"]
        assert answer["where"] == f"{data}:{number}"
        assert f"warning: {data}:{number}: " in done.err
    plain = cli("predict", tmp_path / "run", data, "--threads", "1").out.splitlines()
    assert plain == [answer["text"] for answer in answers]

    done = cli("evaluate", tmp_path / "run", data, "--json", "--threads", "1")
    assert json.loads(done.out)["count"] == len(lines)
    assert f"{len(case.bad)} input{'s' * (len(case.bad) > 1)} could not be read: a wrong answer each" in done.err
    for number, bad in enumerate(case.bad[:3], 2):
        assert f"{data}:{number}: " in done.err
        assert bad.reason in done.err


def test_targets_that_do_not_fit(tmp_path: Path, cli: Command) -> None:
    """Tags that are too few, and a tag that training had not, in training, validation, prediction and evaluation."""
    case = CASES["features-tags"]
    good = [f"{one.text('source')}\t{one.text('target')}" for one in records(tmp_path, case.media, case.targets)]
    data = write(tmp_path / "data.tsv", *good, "0.npy\ta b a")
    valid = write(tmp_path / "valid.tsv", good[0], "1.npy\tnew", "2.npy\ta")
    done = cli("train", data, "--valid", valid, "--out", tmp_path / "run", *options_of(case))
    assert done.code == 0
    assert "other counts" in (tmp_path / "run" / "quarantine.tsv").read_text(encoding="utf-8")
    assert f"other counts ({data}:6); the first: 3 tags for 7 steps of the input" in done.err
    assert f"unknown tag ({valid}:2); the first: 'new' is not in the training data, which has a, b" in done.err
    assert f"other counts ({valid}:3); the first: 1 tag for 4 steps of the input" in done.err
    assert cli("predict", tmp_path / "run", valid, "--threads", "1").out.count("\n") == 3
    done = cli("evaluate", tmp_path / "run", valid, "--json", "--threads", "1")
    scores = json.loads(done.out)
    assert (scores["count"], scores["bad_lines"]) == (2, 1)
    assert f"{valid}:3: other counts: 1 tag for 4 steps of the input; the line is left out" in done.err
    assert f"{valid}:2: 'new'" in done.err
    assert "span_f1" not in scores  # a and b are no entities
    cli("evaluate", tmp_path / "run", valid, "--metrics", "span_f1").refused(
        "span_f1 would be the same whatever these tags are", "use one of: accuracy, exact_match")
    cli("train", data, "--valid", valid, "--out", tmp_path / "chosen", *options_of(case), "--set",
        "training.metric=span_f1").refused("span_f1 would be the same whatever these tags are")
    done = cli("score", tmp_path / "run", valid, "--threads", "1")
    assert done.out.splitlines()[1:] == ["\t\t", "\t\t"]
    assert f"{valid}:3: other counts" in done.err


def test_a_label_that_training_had_not(tmp_path: Path, cli: Command) -> None:
    case = CASES["features-label"]
    good = [f"{one.text('source')}\t{one.text('target')}" for one in records(tmp_path, case.media, case.targets)]
    valid = write(tmp_path / "valid.tsv", good[0], "1.npy\tnew")
    data = write(tmp_path / "data.tsv", *good)
    done = cli("train", data, "--valid", valid, "--out", tmp_path / "run", *options_of(case))
    assert done.code == 0
    assert f"unknown label ({valid}:2); the first: 'new' is not in the training data, which has x, y" in done.err
    done = cli("score", tmp_path / "run", valid, "--threads", "1")
    assert done.out.splitlines()[1] == "\t\t"
    assert f"{valid}:2: unknown label: 'new'" in done.err
