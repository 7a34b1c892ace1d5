"""The four steps as a document: what JSON holds, and what the page is drawn from. Arrays are still arrays here."""

from __future__ import annotations

import math
from typing import Any

from seqloom.insight.steps import AttentionStep, OutputStep, Steps
from seqloom.plots.labels import visible
from seqloom.types import Prediction

STEPS_FORMAT = 1


def steps_record(steps: Steps, prediction: Prediction, input_text: str | None) -> dict[str, Any]:
    """Everything of `steps` by the names of docs/notation.md; see docs/seeing.md for the keys."""
    return {
        "format_version": STEPS_FORMAT, "kind": "steps", "input": input_text, "text": prediction.text,
        "score": prediction.score, "stopped": prediction.stopped, "engine": prediction.engine,
        "source_tokens": steps.source_tokens, "tokens": steps.tokens, "context": steps.context, "note": steps.note,
        "attention": None if steps.values is None else {
            "score": steps.score, "formula": steps.formula, "bilinear": steps.bilinear, "query": steps.query,
            "values": steps.values, "keys": steps.keys, "parameters": steps.parameters,
            "coverage_weight": steps.coverage_weight, "combination": steps.combination,
            "normalization": steps.normalization, "local_window": steps.local_window},
        "summary": steps.summary, "copy_ids": steps.copy_ids,
        "output_layer": {"weights": steps.rows, "biases": steps.biases, "normalization": steps.output_normalization},
        "steps": [_step(step) for step in steps.steps]}


def _step(step: OutputStep) -> dict[str, Any]:
    return {
        "history": step.history, "token": step.token, "id": step.number, "probability": step.probability,
        "state": step.state, "attention": None if step.attention is None else _attention(step.attention),
        "outputs": step.outputs, "copy_gate": step.copy_gate, "highest_logit": step.highest, "rest": step.rest,
        "threshold": step.threshold,
        "candidates": [{"token": one.token, "id": one.number, "logit": one.logit, "probability": one.probability,
                        "generated": one.generated, "copied": one.copied} for one in step.candidates]}


def _attention(step: AttentionStep) -> dict[str, Any]:
    return {"query": step.query, "asking": step.asking, "scores": step.scores, "cosines": step.cosines,
            "norms": step.norms, "weights": step.weights, "value": step.value, "last": step.last,
            "coverage": step.coverage, "threshold": step.threshold, "centre": step.centre,
            "highest_weight_is_not_highest_cosine": step.disagrees}


def labelled(record: dict[str, Any]) -> dict[str, Any]:
    """The record with every token as people can see it."""
    steps = [{**step, "token": visible(step["token"]), "history": visible(step["history"]),
              "candidates": [{**one, "token": visible(one["token"])} for one in step["candidates"]]}
             for step in record["steps"]]
    return {**record, "source_tokens": [visible(token) for token in record["source_tokens"]],
            "tokens": [visible(token) for token in record["tokens"]], "steps": steps,
            "score": None if math.isnan(record["score"]) else record["score"]}
