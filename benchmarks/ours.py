"""seqloom as an entrant: `python -m benchmarks.ours task.json`.

Training goes through the real Trainer, with its data, clipping, optimiser and bookkeeping: the windows are cut in what
it tells a Reporter. Prediction reads texts, searches with the run's engine, and gives texts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.windows import Windows, task_of, windows_of
from seqloom.config.loading import load_config
from seqloom.config.sections import Config
from seqloom.progress import Reporter

ENDLESS = 1_000_000_000


def configuration(task: dict[str, Any]) -> Config:
    """The work's model and training as a configuration: no dropout, no smoothing, gradients clipped at 5, as all."""
    data = Path(task["data"])
    tokenizer = {"kind": "word", "split": "space", "min_frequency": task["min_frequency"]}
    values = {
        "data": {part: [{side: str(data / f"{part}.{side}") for side in ("source", "target")}]
                 for part in ("train", "valid")},
        "source": {"tokenizer": tokenizer, "embedding_size": task["embedding"]},
        "encoder": {"cell": "lstm", "layers": 1, "hidden_size": task["encoder"], "bidirectional": True},
        "bridge": {"kind": "copy"},
        "decoder": {"cell": "lstm", "layers": 1, "hidden_size": task["decoder"], "embedding_size": task["embedding"],
                    "attention": {"score": "general", "combination": "tanh", "input_feeding": task["feeding"]}},
        "head": {"tokenizer": tokenizer},
        "training": {"batch_size": task["batch"], "batch_type": "sentences", "optimizer": "adam",
                     "learning_rate": 1e-3, "max_grad_norm": 5.0, "precision": task["precision"], "epochs": 100_000,
                     "validate_every": ENDLESS, "patience": None, "device": "cpu", "threads": task["threads"]},
    }
    return load_config(values=values)[0]


# --- training --------------------------------------------------------------------------------------------------------


class WindowReporter(Reporter):
    """The trainer reports every update; here that is where a window may end."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.tokens: Callable[[], int] = lambda: 0

    def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
        """An update is done, or something else goes on."""
        if what == "training":
            self.windows.done(self.tokens())


def train(task: dict[str, Any]) -> None:
    """Train until nobody asks for another window."""
    windows = windows_of(task)
    from seqloom.training.loop import Trainer
    from seqloom.training.prepare import prepare
    from seqloom.training.session import set_threads

    config, folder, reporter = configuration(task), Path(task["folder"]) / "run", WindowReporter(windows)
    folder.mkdir()
    set_threads(config)
    trainer = Trainer(config, prepare(config, folder, reporter), folder, reporter)
    windows.facts["parameters"] = trainer.model.parameter_count()
    reporter.tokens = lambda: trainer.progress.tokens
    trainer.run()


# --- prediction ------------------------------------------------------------------------------------------------------


def make_run(task: dict[str, Any]) -> None:
    """A run folder with random weights that never end an answer by themselves."""
    import torch

    from seqloom.export import export_run
    from seqloom.model import build_model, stored_weights
    from seqloom.run import WEIGHTS, write_description, write_weights
    from seqloom.training.checkpoint import arrays
    from seqloom.training.prepare import prepare
    from seqloom.types import END

    config, folder = configuration(task), Path(task["run"])
    folder.mkdir(parents=True)
    data = prepare(config, folder, Reporter())
    model = build_model(config, data.source, data.head, seed=1)
    with torch.no_grad():
        model.head.output.bias[END] = -1e4  # type: ignore[union-attr, operator]
    write_description(folder, config, data.source, data.head)
    write_weights(folder / WEIGHTS, arrays(stored_weights(model)))
    # Not compared with torch: that takes a while, and random weights say nothing.
    export_run(folder, int8=True, check=False, shortlist=["train"])


def predict(task: dict[str, Any]) -> None:
    """Answer the test sentences, each as long as its reference, until nobody asks again."""
    windows = windows_of(task)
    started = time.perf_counter()
    import seqloom

    predictor = seqloom.load(task["run"], engine=task["engine"], device="cpu", threads=task["threads"])
    windows.facts["load"] = time.perf_counter() - started
    sources = (Path(task["data"]) / "test.source").read_text(encoding="utf-8").splitlines()
    targets = (Path(task["data"]) / "test.target").read_text(encoding="utf-8").splitlines()
    sources, targets = sources[: task["sentences"]], targets[: task["sentences"]]
    steps = [len(target.split()) + 1 for target in targets]
    options = predictor.options({"beam_size": task["beam"], "max_length": max(steps), "shortlist": task["shortlist"]})
    windows.facts["words"] = sum(map(len, map(str.split, answers(predictor, sources, steps, options, task))))
    windows.serve(lambda: len(answers(predictor, sources, steps, options, task)), least=task["least_seconds"])


def answers(predictor: Any, sources: list[str], steps: list[int], options: Any, task: dict[str, Any]) -> list[str]:
    """As Predictor does it, but in batches of so many sentences, and each answer so many steps long."""
    import numpy as np

    from seqloom.data.batching import pad
    from seqloom.engines.parallel import spread
    from seqloom.search import search
    from seqloom.types import Record

    items = [predictor.source.read(Record({"source": text})) for text in sources]
    order = np.argsort([-item.length for item in items], kind="stable")
    texts = [""] * len(items)
    shortlist = predictor.shortlist(options)

    def answer(engine: Any, group: Any) -> Any:
        padded = pad([items[index] for index in group])
        return search(engine, padded, options, lines=group, limits=np.asarray([steps[index] for index in group]),
                      shortlist=None if shortlist is None else shortlist.lists(padded))

    groups = [order[begin:begin + task["rows"]] for begin in range(0, len(order), task["rows"])]
    # One by one is one after the other: what is asked then is how long a sentence takes.
    found = spread(predictor.engine, groups, answer) if task["rows"] > 1 and task["spread"] else \
        (answer(predictor.engine, group) for group in groups)
    for group, best in zip(groups, found, strict=True):
        for index, hypotheses in zip(group, best, strict=True):
            item = items[index]
            texts[index] = predictor.head.prediction(hypotheses[0], item, item.tokens, options).text
    return texts


KINDS = {"training": train, "make_run": make_run, "prediction": predict}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
