"""JoeyNMT: `python -m joeynmt train` as it is. Its batches are not bucketed by length."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import Environment
from benchmarks.peers.updates import Updates
from benchmarks.windows import task_of, windows_of

NAME, VERSION = "JoeyNMT", "2.3.0"


def environment() -> Environment:
    """Declared but not needed here: data sets, tables and plots in other forms, linters."""
    return Environment(
        f"joeynmt-{VERSION}",
        (f"joeynmt=={VERSION}", "sacrebleu==2.6.0", "portalocker==4.4.2", "regex==2026.11.15", "tabulate==0.10.0",
         "colorama==0.4.6", "lxml==6.1.3", "sentencepiece==0.2.3", "subword-nmt==0.3.8", "PyYAML==6.0.3",
         "six==1.17.0", "tqdm==4.70.1", "packaging==26.3", "pillow==13.0.0", "matplotlib==3.11.2", "contourpy==1.3.3",
         "cycler==0.12.1", "fonttools==4.68.0", "kiwisolver==1.5.1", "pyparsing==3.3.3", "python-dateutil==4.0.0",
         "tensorboard==2.21.0", "tensorboard-data-server==0.7.2", "absl-py==2.5.1", "grpcio==1.85.1",
         "Markdown==3.11.3", "protobuf==7.36.2", "Werkzeug==3.1.9"),
        modules={"importlib_metadata": "from importlib.metadata import version\n"},
        variables={"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "MPLBACKEND": "Agg"})


def supports(task: Mapping[str, Any]) -> bool:
    """Whether it can do this work."""
    return bool(task["kind"] == "training")


def options(task: dict[str, Any]) -> dict[str, Any]:
    """The work's model and training as its configuration has them."""
    data, folder = Path(task["data"]), Path(task["folder"])
    symbols = {"level": "word", "voc_min_freq": task["min_frequency"]}
    embeddings = {"embedding_dim": task["embedding"], "scale": False}
    return {
        "name": "benchmark", "joeynmt_version": VERSION, "model_dir": str(folder / "model"), "use_cuda": False,
        "random_seed": 1,
        "data": {"train": str(data / "train"), "dev": str(data / "valid"), "dataset_type": "plain",
                 "src": {"lang": "source", **symbols}, "trg": {"lang": "target", **symbols}},
        "testing": {"beam_size": 1},
        "training": {"optimizer": "adam", "learning_rate": 1e-3, "clip_grad_norm": 5.0, "batch_size": task["batch"],
                     "batch_type": "sentence", "normalization": "tokens", "epochs": 1_000_000, "updates": 1_000_000,
                     "validation_freq": 1_000_000, "logging_freq": 1_000_000, "shuffle": True, "num_workers": 0,
                     "learning_rate_min": 1e-9, "scheduling": "exponential", "decrease_factor": 1.0},
        "model": {"encoder": {"type": "recurrent", "rnn_type": "lstm", "embeddings": embeddings,
                              "hidden_size": task["encoder"], "bidirectional": True, "num_layers": 1, "dropout": 0.0},
                  "decoder": {"type": "recurrent", "rnn_type": "lstm", "embeddings": embeddings,
                              "hidden_size": task["decoder"], "num_layers": 1, "dropout": 0.0,
                              "hidden_dropout": 0.0, "init_hidden": "bridge", "input_feeding": task["feeding"],
                              "attention": "luong"}},
    }


def train(task: dict[str, Any]) -> None:
    """`python -m joeynmt train` until nobody asks for another window."""
    config = Path(task["folder"]) / "config.yaml"
    config.write_text(json.dumps(options(task)), encoding="utf-8")  # JSON is YAML
    updates = Updates(windows_of(task))
    from joeynmt.__main__ import main
    from joeynmt.training import TrainManager

    updates.count(TrainManager, "_train_step", lambda result, manager, batch: batch.ntokens)
    sys.argv = ["joeynmt", "train", str(config), "--skip-test"]
    main()


KINDS = {"training": train}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
