"""Validation measures the model as it is used: free-running, through the Predictor, beside the gold history."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqloom
from seqloom.data.files import read_records
from seqloom.errors import SeqloomError, UsageError
from seqloom.metrics import evaluate_outputs
from seqloom.predictor import Predictor
from seqloom.run import open_run
from seqloom.training import validation
from seqloom.training.session import plan_run, train_run
from seqloom.training.validation import free_token_accuracy, gold_history, validate, validation_line
from seqloom.types import Record
from training_helpers import Files, Told, configuration, rows_of, trainer_of

# What other people's scripts read from metrics.jsonl.
KEYS = """step epoch seconds train_loss learning_rate tokens_per_second teacher_forcing_ratio clipped_share bad_updates
split_batches data_wait_seconds valid_loss gold_token_accuracy count exact_match cer wer substitutions insertions
deletions bleu chrf free_token_accuracy accuracy_gap empty_rate repeated_rate identical_rate unknown_rate
best""".split()


@pytest.fixture(scope="module")
def trained(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs; the best of them by loss."""
    config = configuration(*files, training={"metric": "loss", "learning_rate": 0.02})
    return train_run(config, tmp_path_factory.mktemp("trained") / "run")


def best_row(run: Path) -> dict[str, Any]:
    return [row for row in rows_of(run) if row["best"]][-1]


def test_the_keys_of_a_row(trained: Path) -> None:
    for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert sorted(row) == sorted(KEYS)
        assert all(isinstance(value, (int, float)) for value in row.values())
        assert all(0 <= row[key] <= 1 for key in KEYS if key.endswith(("_accuracy", "_rate", "_share")) and
                   key != "learning_rate")
    assert [(row["step"], row["epoch"]) for row in rows_of(trained)] == [(6, 1.0), (12, 2.0), (18, 3.0)]


def test_another_metric_is_measured_when_it_decides(files: Files, tmp_path: Path) -> None:
    out = train_run(configuration(*files, training={"metric": "rouge_l", "epochs": 1}), tmp_path / "run")
    assert "rouge_l" in rows_of(out)[0]


def test_the_loss_is_what_scoring_the_targets_gives(trained: Path, files: Files) -> None:
    """Nats for each target token, </s> among them."""
    model = seqloom.load(trained)
    pairs = [line.split("\t") for line in files.valid.read_text(encoding="utf-8").splitlines()]
    scored = model.score([source for source, _ in pairs], [target for _, target in pairs])
    tokens = sum(len(target.split()) + 1 for _, target in pairs)
    assert best_row(trained)["valid_loss"] == pytest.approx(-sum(one.score for one in scored) / tokens, rel=1e-4)


def test_the_metrics_are_those_of_greedy_predictions(trained: Path, files: Files) -> None:
    row = best_row(trained)
    pairs = [line.split("\t") for line in files.valid.read_text(encoding="utf-8").splitlines()]
    found = seqloom.load(trained).predict([source for source, _ in pairs], beam_size=1)
    expected = evaluate_outputs([one.text for one in found], [[target] for _, target in pairs],
                                ["exact_match", "cer", "wer", "chrf"], tokenize="none")
    expected.pop("signature")
    assert {key: row[key] for key in expected} == pytest.approx(expected)
    right = total = 0
    for one, (_, target) in zip(found, pairs, strict=True):
        gold, own = [*target.split(), "</s>"], [*one.tokens, *(["</s>"] if one.stopped == "end" else [])]
        right += sum(own[position] == token for position, token in enumerate(gold) if position < len(own))
        total += len(gold)
    assert row["free_token_accuracy"] == pytest.approx(right / total)
    assert row["accuracy_gap"] == pytest.approx(row["gold_token_accuracy"] - right / total)


def test_validation_goes_through_the_predictor(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedily, whatever the run's own decoding says."""
    calls = []
    original = Predictor.predict_records

    def predict_records(self: Predictor, records: Any, *rest: Any, **options: Any) -> Any:
        calls.append((self.decoding.strategy, self.decoding.beam_size, self.decoding.n_best, list(records)))
        return original(self, calls[-1][3], *rest, **options)

    monkeypatch.setattr(Predictor, "predict_records", predict_records)
    config = configuration(*files, decoding={"beam_size": 3, "n_best": 2})
    trainer = trainer_of(config, tmp_path / "run")
    validate(trainer.model, trainer.data, config, Told())
    ((strategy, beam, best, records),) = calls
    assert (strategy, beam, best) == ("greedy", 1, 1)
    corpus = config.data.valid
    assert records == [record for record in read_records(corpus, None, ("source", "target"))
                       if isinstance(record, Record)]


@pytest.mark.parametrize(("outputs", "ended", "expected"), [
    (["a b c"], [True], 4 / 4), (["a b"], [True], 2 / 4), (["a b c d"], [True], 3 / 4), (["a x c"], [True], 3 / 4),
    (["a b c"], [False], 3 / 4), ([""], [True], 0 / 4), (["b c"], [True], 0 / 4)])
def test_free_token_accuracy_by_hand(outputs: list[str], ended: list[bool], expected: float) -> None:
    """Position by position against "a b c </s>"; an output that was cut has no </s>."""
    assert free_token_accuracy([output.split() for output in outputs], [["a", "b", "c"]], ended) == expected


def test_accuracy_is_over_all_positions_not_a_mean_of_means() -> None:
    assert free_token_accuracy([["a"], ["x"]], [["a"], ["a", "b", "c"]], [True, True]) == 2 / 6
    assert free_token_accuracy([], [], []) == 0


def test_gold_accuracy_counts_what_is_most_probable(files: Files, tmp_path: Path) -> None:
    """A model that always says one symbol is right wherever that stands."""
    trainer = trainer_of(configuration(*files), tmp_path / "run")
    token = trainer.data.head.tokenizer.id("a")
    with torch.no_grad():
        trainer.model.head.output.weight.zero_()  # type: ignore[union-attr, operator]
        trainer.model.head.output.bias.zero_()  # type: ignore[union-attr, operator]
        trainer.model.head.output.bias[token] = math.log(10.0)  # type: ignore[union-attr, index, operator]
    gold = [target.fields["main"][1:] for _, target in trainer.data.valid_items]
    positions, right = sum(map(len, gold)), sum(int((ids == token).sum()) for ids in gold)
    found = gold_history(trainer.model, trainer.data)
    V = trainer.data.head.tokenizer.size
    expected = (right * -math.log(10 / (9 + V)) + (positions - right) * math.log(9 + V)) / positions
    assert found["gold_token_accuracy"] == pytest.approx(right / positions)
    assert found["valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_model_that_diverged_has_a_row_all_the_same(files: Files, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(*files)
    trainer = trainer_of(config, tmp_path / "run")
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(math.nan)
    row = validate(trainer.model, trainer.data, config, Told())
    assert np.isnan([row["valid_loss"], row["free_token_accuracy"], row["accuracy_gap"], row["cer"]]).all()

    def running(error: type[SeqloomError]) -> Any:
        def free_running(*arguments: Any) -> None:
            raise error("no distribution")

        return free_running

    trainer = trainer_of(config, tmp_path / "other")
    monkeypatch.setattr(validation, "free_running", running(SeqloomError))
    row = validate(trainer.model, trainer.data, config, Told())
    assert math.isfinite(row["valid_loss"])
    assert math.isnan(row["cer"])
    monkeypatch.setattr(validation, "free_running", running(UsageError))
    with pytest.raises(UsageError, match="no distribution"):
        validate(trainer.model, trainer.data, config, Told())


def test_one_line_for_each_validation(files: Files, tmp_path: Path) -> None:
    row = {"epoch": 2.0, "step": 1234, "train_loss": 0.5, "valid_loss": 0.75, "bleu": 12.3456, "seconds": 75.0,
           "gold_token_accuracy": 0.8, "free_token_accuracy": 0.7, "tokens_per_second": 9876.5}
    assert validation_line(row, "bleu", True) == (
        "epoch 2.0  step 1,234  loss 0.500  valid 0.750  bleu 12.35  accuracy gold 0.800 free 0.700  9,876 tokens/s  "
        "1 min 15 s  *best")
    assert "bleu" not in validation_line(row, "loss", False)
    told = Told()
    train_run(configuration(*files, training={"epochs": 2}), tmp_path / "run", reporter=told)
    assert len([line for line in told.lines if line.startswith("epoch ")]) == 2


def test_the_plan_without_training(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is said before the first update, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    told = Told()
    plan_run(configuration(*files), told)
    text = "\n".join(told.lines)
    assert "train: 24 lines, 24 usable, 0 bad." in text
    assert "plan: 24 examples in 6 batches of 4 sentences" in text
    assert "at most 3 epochs; best by cer" in text
    assert "reads 10 symbols (word), answers with 10 symbols (word)" in text
    assert list(tmp_path.iterdir()) == []


def test_the_model_card(trained: Path) -> None:
    """Front matter that hubs read, and the scores with their signature."""
    import yaml

    text = (trained / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    entry = yaml.safe_load(front)["model-index"][0]["results"][0]
    assert {metric["type"] for metric in entry["metrics"]} == {"exact_match"}
    assert "18 updates in" in body
    assert "stopped because 3 epochs are done" in body
    assert f"The best validation was at step {best_row(trained)['step']}" in body
    assert "Signature: exact_match|nrefs:1" in body
    assert open_run(trained).config.encoder.cell in body
    assert all(len(line) <= 500 for line in body.splitlines())
