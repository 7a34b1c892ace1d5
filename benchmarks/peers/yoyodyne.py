"""yoyodyne: `yoyodyne fit` as it is, and the prediction steps of `yoyodyne predict` without Lightning and its extra
process around them. It has no input feeding, and its batches are not bucketed by length."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import Environment
from benchmarks.peers.limits import Limits, lines_of, steps_of
from benchmarks.peers.updates import Updates
from benchmarks.windows import task_of, windows_of

NAME, VERSION = "yoyodyne", "0.5.27"
REMARK = "theirs has no input feeding"


def environment() -> Environment:
    """Declared but not needed here: torchaudio, torchvision; wandb, of which it asks only whether it runs."""
    return Environment(
        f"yoyodyne-{VERSION}",
        (f"yoyodyne=={VERSION}", "lightning==2.6.6", "lightning-utilities==0.15.3", "pytorch-lightning==2.6.6",
         "torchmetrics==1.9.0", "jsonargparse==4.53.0", "typeshed-client==2.14.0", "docstring-parser==0.18.0",
         "omegaconf==2.4.0", "antlr4-python3-runtime==4.9.3", "maxwell==0.2.6", "rich==15.0.0", "PyYAML==6.0.3",
         "tqdm==4.70.1", "packaging==26.3", "importlib-resources==7.1.0", "Pygments==2.21.0", "markdown-it-py==4.3.0",
         "mdurl==0.1.2"),
        modules={"wandb": "run = None\n"})


def supports(task: Mapping[str, Any]) -> bool:
    """Whether it can do this work: it knows no minimum frequency, so words are not for it."""
    return bool(task["kind"] in ("training", "prediction") and task["min_frequency"] == 1)


def options(task: dict[str, Any]) -> dict[str, Any]:
    """The work's model and training as its configuration has them."""
    folder = Path(task["folder"])
    table = training_table(task)
    encoder = {"embedding_size": task["embedding"], "hidden_size": task["encoder"], "layers": 1, "dropout": 0.0,
               "bidirectional": True}
    return {
        "seed_everything": 1,
        "data": {"model_dir": str(folder), "train": str(table), "source_sep": " ", "target_sep": " ",
                 "batch_size": task["batch"]},
        "model": {"class_path": "yoyodyne.models.SoftAttentionLSTMModel",
                  "init_args": {"embedding_size": task["embedding"], "decoder_hidden_size": task["decoder"],
                                "decoder_layers": 1, "decoder_dropout": 0.0,
                                "source_encoder": {"class_path": "yoyodyne.models.modules.LSTMEncoder",
                                                   "init_args": encoder}}},
        "trainer": {"accelerator": "cpu", "max_epochs": 1_000_000, "gradient_clip_val": 5.0, "logger": False,
                    "enable_model_summary": False, "enable_progress_bar": False, "limit_val_batches": 0,
                    "num_sanity_val_steps": 0},
    }


def training_table(task: dict[str, Any]) -> Path:
    """The training pairs as it reads them."""
    data, table = Path(task["data"]), Path(task["folder"]) / "train.tsv"
    sides = [(data / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("source", "target")]
    table.write_text("".join(f"{source}\t{target}\n" for source, target in zip(*sides, strict=True)), encoding="utf-8")
    return table


def train(task: dict[str, Any]) -> None:
    """`yoyodyne fit` until nobody asks for another window."""
    from yoyodyne.cli.main import python_interface
    from yoyodyne.models import BaseModel

    updates = Updates(windows_of(task))
    updates.count(BaseModel, "training_step", lambda result, model, batch, *rest: (~batch.target.mask).sum())
    config = Path(task["folder"]) / "config.yaml"
    config.write_text(json.dumps(options(task)), encoding="utf-8")  # JSON is YAML
    python_interface(["fit", "--config", str(config)])


# --- prediction ------------------------------------------------------------------------------------------------------


def predict(task: dict[str, Any]) -> None:
    """The prediction steps of the test words, each answer as long as its reference, until nobody asks again."""
    windows = windows_of(task)
    folder, limits = Path(task["folder"]), steps_of(task)
    table = folder / "test.tsv"
    table.write_text("".join(f"{source}\t{target}\n" for source, target in
                             zip(lines_of(task, "source"), lines_of(task, "target"), strict=True)), encoding="utf-8")
    training_table(task)
    started = time.perf_counter()
    import torch

    torch.manual_seed(1)
    data, model, mapper, loader = load(task, folder, max(limits))
    windows.facts["load"] = time.perf_counter() - started
    current: list[int] = []
    force_lengths(model, current)

    def work() -> float:
        texts = []
        for number, batch in enumerate(loader):
            current[:] = limits[number * task["rows"]:(number + 1) * task["rows"]]
            found = model.predict_step(batch, number)
            best = found[0][:, 0] if task["beam"] > 1 else found
            texts += [data.target_sep.join(mapper.decode_target(one)) for one in best]
        windows.facts["words"] = sum(min(len(text.split()) + 1, limit)  # the end is one
                                     for text, limit in zip(texts, limits, strict=True))
        return float(len(texts))

    with torch.inference_mode():
        windows.serve(work, least=task["least_seconds"])


def load(task: dict[str, Any], folder: Path, longest: int) -> tuple[Any, Any, Any, Any]:
    """Its data module, a model with random weights, what turns ids to symbols, and the test words in batches."""
    from torch.utils.data import DataLoader
    from yoyodyne import data, models, trainers
    from yoyodyne.models.modules import LSTMEncoder

    module = data.DataModule(model_dir=str(folder), train=str(folder / "train.tsv"), predict=str(folder / "test.tsv"),
                             source_sep=" ", target_sep=" ", batch_size=task["rows"])
    sizes = {"embedding_size": task["embedding"]}
    encoder = LSTMEncoder(hidden_size=task["encoder"], layers=1, dropout=0.0, bidirectional=True, **sizes)
    model = models.SoftAttentionLSTMModel(
        source_encoder=encoder, decoder_hidden_size=task["decoder"], decoder_layers=1, decoder_dropout=0.0,
        beam_width=task["beam"], target_vocab_size=module.target_vocab_size, vocab_size=module.vocab_size,
        max_target_length=longest, **sizes).eval()
    model.trainer = trainers.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False,
                                     enable_progress_bar=False, enable_model_summary=False)
    usual = module.predict_dataloader()
    loader = DataLoader(usual.dataset, batch_size=task["rows"], collate_fn=usual.collate_fn)
    return module, model, data.Mapper(module.index), loader


def force_lengths(model: Any, current: list[int]) -> None:
    """End every answer at its own limit, of `current` for the batch at hand."""
    from yoyodyne import special

    forced, begin, step = Limits(special.END_IDX), model.decoder.get_context, model.decode_step

    def limited_begin(sequence: Any, encoded: Any) -> Any:
        context = begin(sequence, encoded)
        forced.begin(context, current)
        return context

    def limited_step(symbol: Any, context: Any, mask: Any, state: Any) -> Any:
        logits, state = step(symbol, context, mask, state)
        forced.apply(logits, context)
        return logits, state

    model.decoder.get_context, model.decode_step = limited_begin, limited_step


KINDS = {"training": train, "prediction": predict}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
