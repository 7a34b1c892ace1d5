"""yoyodyne: `yoyodyne fit` as it is. It has no input feeding, and its batches are not bucketed by length."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import Environment
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
    return bool(task["kind"] == "training" and task["min_frequency"] == 1)


def options(task: dict[str, Any]) -> dict[str, Any]:
    """The work's model and training as its configuration has them."""
    data, folder = Path(task["data"]), Path(task["folder"])
    table = folder / "train.tsv"
    sides = [(data / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("source", "target")]
    table.write_text("".join(f"{source}\t{target}\n" for source, target in zip(*sides, strict=True)), encoding="utf-8")
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


def train(task: dict[str, Any]) -> None:
    """`yoyodyne fit` until nobody asks for another window."""
    from yoyodyne.cli.main import python_interface
    from yoyodyne.models import BaseModel

    updates = Updates(windows_of(task))
    updates.count(BaseModel, "training_step", lambda result, model, batch, *rest: (~batch.target.mask).sum())
    config = Path(task["folder"]) / "config.yaml"
    config.write_text(json.dumps(options(task)), encoding="utf-8")  # JSON is YAML
    python_interface(["fit", "--config", str(config)])


KINDS = {"training": train}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
