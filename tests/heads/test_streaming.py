"""predict --stream: each answer comes before the next step is there, and all are those of the whole input."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

import seqloom
from seqloom.errors import UsageError
from seqloom.predictor import Stepper

SMALL = ["head=tags", "encoder.bidirectional=false", "encoder.hidden_size=16", "source.embedding_size=8",
         "training.epochs=2", "training.batch_size=16", "training.learning_rate=0.02", "training.threads=1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(3)
    lines = []
    for _ in range(80):
        letters = [draw.choice("abcdef") for _ in range(draw.randint(1, 5))]
        lines.append(f"{' '.join(letters)}\t{' '.join('V' if one in 'ae' else 'C' for one in letters)}\n")
    path = tmp_path_factory.mktemp("stream") / "data.tsv"
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    return seqloom.train(data, out=data.parent / "run", overrides=SMALL)


def command(run: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "seqloom", "predict", str(run), "--stream", "--threads", "1", *options]


def test_each_answer_comes_before_the_next_step(run: Path) -> None:
    whole = [seqloom.load(run).predict(text).tokens for text in ("a b c d", "e f")]
    with subprocess.Popen(command(run), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for symbols, tags in zip(("abcd", "ef"), whole, strict=True):
            for symbol, tag in zip(symbols, tags, strict=True):
                process.stdin.write(f"{symbol}\n")
                process.stdin.flush()
                assert process.stdout.readline() == f"{tag}\n"  # nothing more was given than this step
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "\n"
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_bad_step_keeps_its_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "steps.txt").write_text("a\nb c\nb\n", encoding="utf-8")
    done = subprocess.run(command(run, str(tmp_path / "steps.txt")), capture_output=True, text=True, timeout=120)
    first, second = seqloom.load(run).predict("a b").tokens
    assert done.stdout == f"{first}\n\n{second}\n"
    assert f"warning: {tmp_path / 'steps.txt'}:2: a step of 2 symbols, expected one" in done.stderr
    assert done.returncode == 0


def test_what_cannot_be_streamed(run: Path, data: Path, tmp_path: Path) -> None:
    both = seqloom.train(data, out=tmp_path / "both", overrides=[*SMALL, "encoder.bidirectional=true",
                                                                 "training.epochs=1"])
    with pytest.raises(UsageError, match="the run reads its inputs in both directions, so no answer is there before"):
        Stepper(seqloom.load(both))
    reverse = seqloom.train(data, out=tmp_path / "reverse", overrides=[
        "encoder.bidirectional=false", "source.reverse=true", "encoder.hidden_size=8", "decoder.hidden_size=8",
        "training.max_steps=1", "decoding.beam_size=1"])
    with pytest.raises(UsageError, match=r"source.kind text cannot be read step by step as this run reads it"):
        Stepper(seqloom.load(reverse))
    done = subprocess.run(command(run, "--resume", "-o", str(tmp_path / "x"), str(data)), capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 2
    assert "--resume and --stream are both given" in done.stderr
