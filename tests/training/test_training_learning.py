"""What a model must be able to learn, and what one cannot: copying, reversing, answering in step."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seqloom
from training_helpers import letters, merged, write_pairs

pytestmark = pytest.mark.slow

MODEL: dict[str, Any] = {
    "source": {"embedding_size": 32}, "encoder": {"cell": "lstm", "hidden_size": 48},
    "decoder": {"cell": "lstm", "hidden_size": 64, "embedding_size": 32},
    "training": {"epochs": 8, "batch_size": 32, "learning_rate": 0.005, "threads": 1, "device": "cpu",
                 "patience": None, "metric": "exact_match"},
    "decoding": {"max_length": 12, "beam_size": 1},
}
IN_STEP: dict[str, Any] = {"encoder": {"cell": "lstm", "hidden_size": 48, "bidirectional": False},
                           "decoder": {"context": "in_step", "layers": 1}}


def learned(folder: Path, target: Callable[[str], str], **sections: Any) -> tuple[float, float]:
    """Exact match on 200 sources never seen, of 3 to 8 of ten letters, and seconds of processor time."""
    sources = letters(3200, seed=4, alphabet="abcdefghij", shortest=3, longest=8)
    for name, part in (("train", sources[:2800]), ("valid", sources[2800:3000]), ("test", sources[3000:])):
        write_pairs(folder / f"{name}.tsv", part, [target(source) for source in part])
    began = time.process_time()
    out = seqloom.train(folder / "train.tsv", valid=folder / "valid.tsv", out=folder / "run",
                        values=merged(MODEL, sections))
    seconds = time.process_time() - began
    return float(seqloom.evaluate(out, folder / "test.tsv", metrics=["exact_match"]).scores["exact_match"]), seconds


def backwards(source: str) -> str:
    return source[::-1]


def capitals(source: str) -> str:
    return source.upper()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("target", [capitals, backwards], ids=["copy", "reverse"])
def test_attention_learns_to_copy_and_to_reverse(target: Callable[[str], str], cell: str, tmp_path: Path) -> None:
    """≥ 99 % in less than a minute of one core."""
    right, seconds = learned(tmp_path, target, encoder={"cell": cell}, decoder={"cell": cell})
    assert right >= 0.99
    assert seconds < 60


def test_one_network_in_step_learns_to_tag_but_not_to_reverse(tmp_path: Path) -> None:
    """It answers position t when it has read t: the last symbol of the source comes too late for the first answer."""
    for name, target, low, high in (("tag", capitals, 0.99, 1.0), ("reverse", backwards, 0.0, 0.1)):
        (tmp_path / name).mkdir()
        right, _ = learned(tmp_path / name, target, **IN_STEP, training={"epochs": 10})
        assert low <= right <= high, name


def test_scheduled_sampling_and_averages_learn_too(tmp_path: Path) -> None:
    """Own history for up to half of the tokens, and the moving average is what is evaluated."""
    options = {"teacher_forcing": {"decay": "linear", "slope": 0.001, "min_ratio": 0.5}, "average": "ema",
               "average_decay": 0.99, "accumulate": 2}
    right, _ = learned(tmp_path, backwards, training=options)
    assert right >= 0.95
