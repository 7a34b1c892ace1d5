"""Validation: the live model, measured as it will be used (free-running, through the Predictor) and with gold history.

The difference between the two token accuracies is what teacher forcing hides (exposure bias, Bengio et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from seqloom.config.sections import Config
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.errors import SeqloomError
from seqloom.evaluation import by_language, compared
from seqloom.metrics import METRICS, degeneration_rates
from seqloom.model import Model
from seqloom.predictor import Predictor
from seqloom.progress import Reporter, duration
from seqloom.training.prepare import Prepared
from seqloom.types import END, Batch

# Not measured at every validation: they take longer than the rest together, or say the same.
SELDOM = ("ter", "rouge_1", "rouge_2", "rouge_l")
SHOWN_WAIT = 1.0  # seconds between two validations in which training stood and waited for data
LOWER_IS_BETTER = ("loss", *(name for name, metric in METRICS.items() if metric.better == "lower"))


def validate(model: Model, data: Prepared, config: Config, reporter: Reporter) -> dict[str, Any]:
    """One row for metrics.jsonl: loss and token accuracy with gold history, metrics free-running and greedy.

    Where the model has diverged, so that there is nothing to measure, what is missing is NaN or not there.
    """
    row: dict[str, Any] = gold_history(model, data)
    if not data.head.metrics:
        return row
    try:
        if not math.isfinite(row["valid_loss"]):
            raise SeqloomError("the validation loss is not finite")
        row.update(free_running(model, data, config, reporter))
    except SeqloomError as error:
        if type(error) is not SeqloomError:  # bad usage, or a signal
            raise
        free = ("free_token_accuracy",) if data.head.is_free_text else ()
        row.update({name: math.nan for name in (*free, data.metric) if name != "loss"})
    if data.head.is_free_text:
        row["accuracy_gap"] = row["gold_token_accuracy"] - row["free_token_accuracy"]
    return row


def free_running(model: Model, data: Prepared, config: Config, reporter: Reporter) -> dict[str, Any]:
    """Metrics of what the model writes by itself, greedily. Raises SeqloomError when that is no distribution."""
    greedy = config.decoding.model_copy(update={"strategy": "greedy", "beam_size": 1, "n_best": 1,
                                                "coverage_penalty": 0.0, "shortlist": False})
    predictor = Predictor(data.source, data.head, TorchEngine(model), greedy)
    predictions = []
    for number, prediction in enumerate(predictor.predict_records(data.valid_records), 1):
        predictions.append(prediction)
        reporter.progress("validation", number, len(data.valid_records))
    outputs = [prediction.text for prediction in predictions]
    references = [data.head.texts_of(record) for record in data.valid_records]
    names = [name for name in data.head.usual_metrics if name not in SELDOM or name == data.metric]
    row: dict[str, Any] = compared(data.head, outputs, references, names)
    row.pop("signature")
    shown = [data.metric if data.metric != "loss" else names[0]]
    told = by_language(data.head, data.valid_records, outputs, references, shown)
    row.update({f"macro_{name}": value for name, value in told.pop("macro", {}).items()}, **told)
    if data.head.is_free_text:
        gold_tokens = [target.tokens for _, target in data.valid_items]
        own_tokens = [prediction.tokens for prediction in predictions]
        ended = [prediction.stopped == "end" for prediction in predictions]
        row["free_token_accuracy"] = free_token_accuracy(own_tokens, gold_tokens, ended)
        row.update(degeneration_rates(own_tokens, [record.text("source") for record in data.valid_records],
                                      gold_tokens))
    return row


@torch.no_grad()
def gold_history(model: Model, data: Prepared) -> dict[str, float]:
    """valid_loss in nats for each target token, and the share of tokens that are the best guess, gold history given."""
    model.eval()
    device = next(model.parameters()).device
    total = correct = count = 0.0
    state: Any = None
    for given in data.valid():
        batch = Batch(None if given.source is None else to_tensors(given.source, device),
                      to_tensors(given.target, device), given.indices)
        loss = model(batch, None, state)
        state = loss.state
        total, correct, count = total + float(loss.total), correct + float(loss.correct), count + float(loss.count)
    return {"valid_loss": total / max(count, 1), "gold_token_accuracy": correct / max(count, 1),
            **data.likelihood(total, count)}


def free_token_accuracy(outputs: Sequence[Sequence[str]], references: Sequence[Sequence[str]],
                        ended: Sequence[bool]) -> float:
    """Share of reference positions, the end included, at which the free-running output has the same token.

    ended: whether the output has an end, or the maximum length cut it.
    """
    right = positions = 0
    for output, reference, has_end in zip(outputs, references, ended, strict=True):
        gold, own = [*reference, END], [*output, *([END] if has_end else [])]
        right += sum(a == b for a, b in zip(gold, own, strict=False))
        positions += len(gold)
    return right / max(positions, 1)


def validation_line(row: dict[str, Any], metric: str, best: bool) -> str:
    """One validation as one line."""
    shown = ["before the first update:"]
    if row["step"]:
        shown = [f"epoch {row['epoch']:.1f}", f"step {row['step']:,}", f"loss {row['train_loss']:.3f}"]
        if "train_risk" in row:
            shown.append(f"risk {row['train_risk']:.3f}")
    shown.append(f"valid {row['valid_loss']:.3f}")
    if metric != "loss":
        macro = f" (mean of languages {row[f'macro_{metric}']:.4g})" if f"macro_{metric}" in row else ""
        shown.append(f"{metric} {row[metric]:.4g}{macro}")
    free = f" free {row['free_token_accuracy']:.3f}" if "free_token_accuracy" in row else ""
    shown.append(f"accuracy gold {row['gold_token_accuracy']:.3f}{free}")
    if row["step"]:
        shown += [f"{row['tokens_per_second']:,.0f} tokens/s", duration(row["seconds"])]
    if row.get("data_wait_seconds", 0.0) >= SHOWN_WAIT:
        shown.append(f"waited {row['data_wait_seconds']:.1f} s for data")
    return "  ".join(shown) + ("  *best" if best else "")
