"""predict --stream from a pipe where a step is a frame: a picture's path, or the numbers of a frame in the line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

import seqloom
from media import MEDIA, records
from seqloom.types import Prediction

TAGS = ["a b a b a b a", "b", "a a b b", "b a b a b a b a b", "a b"]  # as many as media.LENGTHS says


def trained(folder: Path, name: str) -> tuple[Path, list[str]]:
    """A run whose answers differ from step to step, and the files of its inputs."""
    made = records(folder, name, TAGS)
    data = folder / "data.tsv"
    data.write_text("".join(f"{one.text('source')}\t{one.text('target')}\n" for one in made), encoding="utf-8")
    run = seqloom.train(data, valid=data, out=folder / "run", values={
        "source": MEDIA[name].options, "head": {"kind": "tags"}, "encoder": {"hidden_size": 16, "bidirectional": False},
        "training": {"max_steps": 30, "learning_rate": 0.02, "threads": 1, "batch_size": 5}})
    return run, [str(folder / one.text("source")) for one in made]


def streamed(run: Path, inputs: list[list[str]], *options: str) -> list[list[str]]:
    """Answers to each step; the next one is written when the answer to the one before has come."""
    command = [sys.executable, "-m", "seqloom", "predict", str(run), "--stream", "--threads", "1", "--quiet", *options]
    found: list[list[str]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for steps in inputs:
            found.append([])
            for step in steps:
                process.stdin.write(f"{step}\n")
                process.stdin.flush()
                found[-1].append(process.stdout.readline().rstrip("\n"))
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "\n"
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    return found


def whole(run: Path, files: list[str]) -> list[Prediction]:
    answers = seqloom.load(run, threads=1).predict(files)
    assert all(answer.stopped != "error" for answer in answers), [answer.error for answer in answers]
    return list(answers)


def test_frames_of_a_video_one_by_one(tmp_path: Path) -> None:
    run, files = trained(tmp_path, "frames")
    inputs = []
    for number, file in enumerate(files):
        paths = []
        with Image.open(file) as image:
            for page, frame in enumerate(ImageSequence.Iterator(image)):
                path = tmp_path / f"frame-{number}-{page}.png"
                frame.save(path)
                paths.append(str(path))
        inputs.append(paths)
    expected = [answer.tokens for answer in whole(run, files)]
    assert len({tag for tags in expected for tag in tags}) > 1
    assert streamed(run, inputs) == expected


def test_frames_of_numbers_one_by_one_in_the_line_or_as_files(tmp_path: Path) -> None:
    run, files = trained(tmp_path, "features")
    answers = whole(run, files)
    expected = [answer.tokens for answer in answers]
    assert len({tag for tags in expected for tag in tags}) > 1
    arrays = [np.load(file) for file in files]
    written = [[" ".join(repr(float(value)) for value in frame) for frame in frames] for frames in arrays]
    assert streamed(run, written) == expected
    saved = []
    for number, frames in enumerate(arrays):
        saved.append([str(tmp_path / f"step-{number}-{step}.npy") for step in range(len(frames))])
        for path, frame in zip(saved[-1], frames, strict=True):
            np.save(path, frame)
    found = streamed(run, saved, "--format", "jsonl")
    for answer, lines in zip(answers, found, strict=True):
        scores = [json.loads(line)["score"] for line in lines]
        assert scores == pytest.approx([float(score) for score in answer.token_scores], abs=1e-4)


def test_a_frame_that_cannot_be_read_keeps_its_line(tmp_path: Path) -> None:
    run, files = trained(tmp_path, "features")
    frames = [" ".join(repr(float(value)) for value in frame) for frame in np.load(files[0])]
    steps = [frames[0], "1 2 3", "gone.npy", "nan 1 2 3 4", str(files[0]), *frames[1:]]
    path = tmp_path / "steps.txt"
    path.write_text("".join(f"{step}\n" for step in steps), encoding="utf-8")
    command = [sys.executable, "-m", "seqloom", "predict", str(run), str(path), "--stream", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    expected = whole(run, files[:1])[0].tokens
    assert done.stdout.splitlines() == [expected[0], "", "", "", "", *expected[1:]]
    assert f"{path}:2: the line has 3 dimensions, expected 5" in done.stderr
    assert f"{path}:3: there is no array" in done.stderr
    assert f"{path}:4: the line has 1 number not finite" in done.stderr
    assert f"{path}:5: a step of {len(frames)} frames, expected one" in done.stderr
    assert done.returncode == 0
