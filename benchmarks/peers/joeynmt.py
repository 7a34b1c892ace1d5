"""JoeyNMT: `python -m joeynmt train` as it is, and what `python -m joeynmt test` does with a data set. Its batches are
not bucketed by length, and its greedy search goes on with answers that have ended."""

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
    return task["kind"] in ("training", "prediction")


def options(task: dict[str, Any]) -> dict[str, Any]:
    """The work's model and training as its configuration has them."""
    data, folder = Path(task["data"]), Path(task["folder"])
    symbols = {"level": "word", "voc_min_freq": task["min_frequency"]}
    embeddings = {"embedding_dim": task["embedding"], "scale": False}
    return {
        "name": "benchmark", "joeynmt_version": VERSION, "model_dir": str(folder / "model"), "use_cuda": False,
        "random_seed": 1,
        "data": {"train": str(data / "train"), "dev": str(data / "valid"), "test": task.get("test"),
                 "dataset_type": "plain",
                 "src": {"lang": "source", **symbols}, "trg": {"lang": "target", **symbols}},
        "testing": {"beam_size": task.get("beam", 1), "batch_size": task.get("rows", 64), "batch_type": "sentence",
                    "beam_alpha": 1.0, "max_output_length": 200, "eval_metrics": []},
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


# --- prediction ------------------------------------------------------------------------------------------------------


def predict(task: dict[str, Any]) -> None:
    """`joeynmt test` of the test sentences, each answer as long as its reference, until nobody asks again."""
    windows = windows_of(task)
    folder, limits = Path(task["folder"]), steps_of(task)
    for side in ("source", "target"):
        text = "".join(f"{line}\n" for line in lines_of(task, side))
        (folder / f"test.{side}").write_text(text, encoding="utf-8")
    values = options({**task, "test": str(folder / "test")})
    make_model(values)
    started = time.perf_counter()
    from joeynmt import prediction
    from joeynmt.config import parse_global_args

    args = parse_global_args(values, rank=0, mode="test")
    model, _, _, data = prediction.prepare(args, rank=0, mode="test")
    windows.facts["load"] = time.perf_counter() - started
    force_lengths(model, limits)

    def work() -> float:
        _, _, _, found, _, _ = prediction.predict(model=model, data=data, device=args.device, n_gpu=0,
                                                  args=args.test, autocast=args.autocast)
        windows.facts["words"] = sum(map(len, found))  # the end is one
        return float(len(found))

    windows.serve(work, least=task["least_seconds"])


def make_model(values: dict[str, Any]) -> None:
    """A model with random weights, which its `load_checkpoint` then finds, and the vocabularies."""
    import torch
    from joeynmt import prediction
    from joeynmt.config import parse_global_args

    torch.manual_seed(1)
    args = parse_global_args(json.loads(json.dumps(values)), rank=0, mode="train")
    args.model_dir.mkdir(parents=True)
    model, *_ = prediction.prepare(args, rank=0, mode="train")
    (args.model_dir / "best.ckpt").touch()  # it looks for a file before it reads it
    prediction.load_checkpoint = lambda path, map_location: {"model_state": model.state_dict()}


def force_lengths(model: Any, limits: list[int]) -> None:
    """End every answer at its own limit, where the program knows one limit for all."""
    forced, forward = Limits(model.eos_index), model.forward

    def limited(return_type: str, **given: Any) -> Any:
        found = forward(return_type=return_type, **given)
        if return_type == "encode":
            forced.begin(found[0], [limits[number] for number in given["indices"].tolist()])
        else:
            forced.apply(found[0], given["encoder_output"])
        return found

    model.forward = limited


KINDS = {"training": train, "prediction": predict}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
