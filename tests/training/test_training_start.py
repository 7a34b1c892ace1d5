"""Training on from a run's weights: what they are worth is measured first, and they stay if nothing is better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import seqloom
from seqloom.run import open_run
from tiny import one_thread

__all__ = ["one_thread"]

TINY = ["encoder.hidden_size=8", "decoder.hidden_size=16", "source.embedding_size=8", "decoder.embedding_size=8",
        "training.threads=1", "training.batch_size=8", "decoding.max_length=6", "source.tokenizer=character",
        "head.tokenizer=character"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("start")
    (made / "data.tsv").write_text("".join(f"{a}{b}\t{b}{a}\n" for a in "abcdef" for b in "abcdef"), encoding="utf-8")
    seqloom.train(made / "data.tsv", out=made / "run", overrides=TINY, epochs=4, learning_rate=0.01)
    return made


def test_the_start_is_the_first_row_and_is_kept_if_nothing_is_better(folder: Path, tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    before = open_run(folder / "run")
    made = seqloom.finetune(folder / "run", folder / "data.tsv", valid=folder / "data.tsv", out=tmp_path / "worse",
                            epochs=2, learning_rate=5.0, optimizer="sgd", max_grad_norm=0, quiet=False)
    rows = open_run(made).metrics()
    assert rows[0]["step"] == 0
    assert "train_loss" not in rows[0]
    assert rows[0]["best"]
    assert not any(row["best"] for row in rows[1:])
    kept = open_run(made).weights()
    assert all(np.array_equal(array, kept[name]) for name, array in before.weights().items())
    told = capsys.readouterr().err
    assert "before the first update:  valid " in told
    assert "nothing was better than the weights it began with, which are kept" in told


def test_what_is_better_is_taken(folder: Path, tmp_path: Path) -> None:
    made = seqloom.finetune(folder / "run", folder / "data.tsv", valid=folder / "data.tsv", out=tmp_path / "better",
                            epochs=3, learning_rate=0.01)
    rows = open_run(made).metrics()
    assert rows[0]["step"] == 0
    best = [row for row in rows if row["best"]][-1]
    assert best["step"] > 0
    assert best["valid_loss"] < rows[0]["valid_loss"]


def test_a_rate_that_fell_stays_there(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Updates are not counted anew (Vaswani et al. 2017, eq. 3: √(2/8) = 0.5), unless a rate is given."""
    falling = ["training.schedule={kind: inverse_square_root, warmup_steps: 2}", "training.batch_size=9"]
    run = seqloom.train(folder / "data.tsv", valid=folder / "data.tsv", out=tmp_path / "run",
                        overrides=[*TINY, *falling], epochs=2, learning_rate=0.01)
    assert open_run(run).metrics()[-1]["step"] == 8
    more = seqloom.finetune(run, folder / "data.tsv", out=tmp_path / "more", epochs=1, quiet=False)
    training = open_run(more).config.training
    assert training.learning_rate == pytest.approx(0.005)
    assert (training.schedule.kind, training.schedule.warmup_steps) == ("constant", 0)
    assert f"note: the learning rate is 0.005, as at the end of {run}" in capsys.readouterr().err
    own = seqloom.finetune(run, folder / "data.tsv", out=tmp_path / "own", epochs=1, learning_rate=0.02, quiet=False)
    assert open_run(own).config.training.learning_rate == 0.02
    assert "the learning rate is" not in capsys.readouterr().err


def test_a_training_from_the_beginning_has_no_such_row(folder: Path) -> None:
    assert open_run(folder / "run").metrics()[0]["step"] > 0
