"""The model card: README.md of a run folder, with front matter that model hubs read."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import yaml

from seqloom._version import __version__
from seqloom.config.remarks import network_parts
from seqloom.config.sections import Config
from seqloom.errors import counted
from seqloom.progress import duration

if TYPE_CHECKING:
    from seqloom.training.prepare import Prepared
    from seqloom.training.state import Progress

CARD = """\
---
{front}---

# {title}

A recurrent sequence model trained with [seqloom](https://github.com/seqloom/seqloom) {version}.

## Use

```python
import seqloom

model = seqloom.load("path/to/this/folder")
print(model.predict({example}).text)
```

or `seqloom predict path/to/this/folder inputs.txt{option}`.

## Model

{model}

## Data

{data}

## Training

{updates} in {time}; stopped because {finished}. The best validation was at step {best_step:,}.
Every option is in `config.yaml`, decoding defaults are in `generation_config.json`, and each validation is a line of
`metrics.jsonl`.

## Evaluation

On the validation data, with the decoding defaults:

{scores}

Signature: {signature}

## Limits

The model answers any input, also one unlike its training data. Look at validation data and at `seqloom explain` before
relying on it. Validation data chose the checkpoint, so a test set that was never looked at is the honest measure.
"""


def model_card(config: Config, data: Prepared, progress: Progress, result: dict[str, Any]) -> str:
    """The card's text."""
    scores = {name: value for name, value in result.items() if isinstance(value, float)}
    name = config.preset or "sequence-to-sequence"
    example, option = repr(data.valid_records[0].text(data.source.roles[0])), ""
    if "language" in data.source.roles:
        language = data.valid_records[0].text("language").strip()
        example, option = f"{example}, language={language!r}", f" --language {shlex.quote(language)}"
    entries = [{"type": metric, "value": round(value, 4)} for metric, value in scores.items()]
    front = yaml.safe_dump({
        "library_name": "seqloom", "pipeline_tag": "translation" if config.preset == "translate" else
        "text2text-generation", "tags": ["seqloom", "seq2seq", "attention", config.decoder.cell],
        "model-index": [{"name": name, "results": [{
            "task": {"type": "text2text-generation"}, "dataset": {"name": "validation", "type": "custom"},
            "metrics": entries}]}]}, sort_keys=False)
    return CARD.format(
        front=front, title=name, version=__version__, example=example, option=option,
        model=describe_model(config, data), data="\n".join(f"- {line.strip()}" for line in data.report.lines()),
        updates=counted(progress.step, "update"), time=duration(progress.seconds),
        finished=progress.finished or "it was stopped",
        best_step=progress.best_step,
        scores="\n".join(["| metric | value |", "|---|---|", *(f"| {key} | {value:.4g} |" for key, value in
                                                                  scores.items())]),
        signature=result.get("signature", ""))


def describe_model(config: Config, data: Prepared) -> str:
    """A few sentences on the architecture."""
    parts = "".join(f" {part.capitalize()}: {line}." for part, line in network_parts(config).items())
    return f"Reads {data.source.describe()}; answers with {data.head.describe()}.{parts}"
