"""seqloom evaluate --confusion: the picture, the figures, and the most frequent mistakes in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import Command, write

import seqloom

TINY = ["source.tokenizer=word", "encoder.hidden_size=4", "source.embedding_size=4", "training.max_steps=3",
        "training.threads=1", "data.valid_fraction=0.3"]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.tsv and run, which answers with a label."""
    folder = tmp_path_factory.mktemp("labels")
    texts = ("a b", "a c", "b", "c", "b b", "c c", "a", "b c")
    lines = [f"{text}\t{'긍정' if 'b' in text else '부정'}" for text in texts]
    seqloom.train(write(folder / "data.tsv", *lines), out=folder / "run", overrides=["head=label", *TINY])
    return folder


def test_the_picture_and_the_figures(labels: Path, tmp_path: Path, cli: Command) -> None:
    picture = tmp_path / "confusion.svg"
    done = cli("evaluate", labels / "run", labels / "data.tsv", "--confusion", picture, "--json")
    scores = json.loads(done.out)
    assert scores["confusion"]["labels"] == ["긍정", "부정"]
    counts = scores["confusion"]["counts"]
    assert sum(map(sum, counts)) == scores["count"] == 8
    assert (counts[0][0] + counts[1][1]) / 8 == pytest.approx(scores["accuracy"])
    drawn = picture.read_text(encoding="utf-8")
    assert "긍정" in drawn
    assert f"run · data.tsv · accuracy {scores['accuracy']:.4f}" in drawn
    words = cli("evaluate", labels / "run", labels / "data.tsv").out
    assert ("most confused" in words) == (counts[0][0] + counts[1][1] < 8)
    assert "row_shares" not in words


def test_what_cannot_be_drawn(labels: Path, tmp_path: Path, cli: Command) -> None:
    data = labels / "data.tsv"
    done = cli("evaluate", labels / "run", data, "--confusion", tmp_path / "x.pdf")
    done.explained("cannot tell the format")
    run = seqloom.train(data, out=tmp_path / "run", overrides=[
        *TINY, "decoder.hidden_size=4", "decoder.embedding_size=4", "decoding.max_length=3"])
    assert "confusion" not in seqloom.evaluate(run, data).scores
    cli("evaluate", run, data, "--confusion", tmp_path / "c.svg").explained("--confusion is about classes")
