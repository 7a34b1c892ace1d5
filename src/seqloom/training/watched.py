"""One validation example, answered at every validation and kept: how its attention came to be (`explain --history`).

It costs one greedy answer. What cannot be answered or written is told and does not end a training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seqloom.config.sections import Config
from seqloom.data.storage import write_json
from seqloom.engines.torch import TorchEngine
from seqloom.errors import SeqloomError
from seqloom.model import Model
from seqloom.predictor import Predictor
from seqloom.progress import Reporter
from seqloom.run import watched_file
from seqloom.training.prepare import Prepared
from seqloom.types import Item, Record

LONGEST = 60  # tokens of the source: a picture of more cannot be read


def watched_example(data: Prepared) -> tuple[Record, Item] | None:
    """The first validation example that is short enough to look at, else the shortest; None without sources."""
    found = [(record, target) for record, (source, target) in zip(data.valid_records, data.valid_items, strict=False)
             if source is not None and source.length <= LONGEST]
    if found:
        return found[0]
    lengths = [(source.length, number) for number, (source, _) in enumerate(data.valid_items) if source is not None]
    if not lengths:
        return None
    number = min(lengths)[1]
    return data.valid_records[number], data.valid_items[number][1]


def watch(folder: Path, model: Model, data: Prepared, config: Config, step: int, reporter: Reporter) -> None:
    """Write history/<step>.json: source, target, answer, attention [T S] (null without)."""
    example = watched_example(data) if data.head.is_free_text else None
    if example is None:
        return
    record, target = example
    try:
        options = config.decoding.model_copy(update={"strategy": "greedy", "beam_size": 1, "n_best": 1,
                                                     "coverage_penalty": 0.0, "shortlist": False})
        predictor = Predictor(data.source, data.head, TorchEngine(model), options)
        answer = next(iter(predictor.predict_records([record], attention=True)))
        if answer.stopped == "error":
            raise SeqloomError(answer.error)
        path = watched_file(folder, step)
        path.parent.mkdir(exist_ok=True)
        write_json(path, {
            "format_version": 1, "step": step, "source_tokens": answer.source_tokens, "target_tokens": target.tokens,
            "tokens": answer.tokens, "stopped": answer.stopped,
            "probabilities": [round(float(share), 4) for share in np.exp(answer.token_scores)],
            "attention": None if answer.attention is None else [[round(float(weight), 4) for weight in row]
                                                                for row in answer.attention]})
    except (SeqloomError, OSError) as error:
        reporter.say(f"warning: the example of `explain --history` is left out at step {step}: {error}")
