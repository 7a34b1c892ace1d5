"""Training on one GPU, ready to run where there is one: `python -m benchmarks.gpu [W] [G] [--out rows.json]`.

Two models: W of docs/speed.md, and G, the shape of Wu et al. 2016 (GNMT) as far as it is recurrent: encoder and decoder
of four layers with 1,024 units, residual, vocabulary of 32,000. Batches of 4,096 target tokens, bf16 and fp32, on drawn
pairs of Multi30k's lengths; nothing is fetched. Each in two ways that compute the same: `captured`, as `seqloom train`
runs, with passes replayed as CUDA graphs, and `plain`, every step launched from Python and left to autograd. The share
of the peak counts the operations of real positions alone: 2 for each weight and position forward, 4 backward.

On a CPU (`--device cpu --quick`) it runs at tiny sizes, which measures nothing and shows that it works.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.alone import Parser, keep
from benchmarks.rows import commit
from benchmarks.work import drawn_pairs
from seqloom.config.loading import load_config
from seqloom.config.sections import Config
from seqloom.nn.decoders import RecurrentDecoder
from seqloom.progress import Reporter
from seqloom.training.gradients import Gradients
from seqloom.training.loop import Trainer
from seqloom.training.prepare import Prepared, prepare

# Peak of dense products in TFLOP/s (the makers' data sheets): bf16, and fp32 without TF32, which we do not use.
PEAKS = {"H200": (989.0, 67.0), "H100": (989.0, 67.0), "A100": (312.0, 19.5)}
MODELS: dict[str, dict[str, Any]] = {
    "W": {"embedding": 256, "encoder": 256, "decoder": 512, "layers": 1, "symbols": 8_000},
    "G": {"embedding": 1024, "encoder": 512, "decoder": 1024, "layers": 4, "symbols": 32_000},
}
QUICK: dict[str, Any] = {"embedding": 8, "encoder": 4, "decoder": 8, "symbols": 50}
WAYS = ("captured", "plain")


def configuration(sizes: dict[str, Any], folder: Path, tokens: int, precision: str, device: str) -> Config:
    """A model with input feeding, without dropout: what is measured are the passes."""
    tokenizer = {"kind": "word", "split": "space", "vocab_size": sizes["symbols"]}
    residual = sizes["layers"] > 1
    return load_config(values={
        "data": {"train": [{"path": str(folder / "train.tsv")}], "valid": [{"path": str(folder / "valid.tsv")}]},
        "source": {"tokenizer": tokenizer, "embedding_size": sizes["embedding"]},
        "encoder": {"cell": "lstm", "layers": sizes["layers"], "hidden_size": sizes["encoder"], "bidirectional": True,
                    "residual": residual, "dropout": 0.0},
        "bridge": {"kind": "copy"},
        "decoder": {"cell": "lstm", "layers": sizes["layers"], "hidden_size": sizes["decoder"], "residual": residual,
                    "embedding_size": sizes["embedding"], "dropout": 0.0,
                    "attention": {"score": "general", "combination": "tanh", "input_feeding": True}},
        "head": {"tokenizer": tokenizer},
        "training": {"batch_size": tokens, "batch_type": "tokens", "optimizer": "adam", "learning_rate": 1e-3,
                     "max_grad_norm": 5.0, "precision": precision, "epochs": 1_000_000, "device": device},
    })[0]


def write_data(folder: Path, pairs: int) -> None:
    """Drawn pairs, and a few to validate on, which is never done."""
    stream = drawn_pairs("W")
    for name, count in (("train", pairs), ("valid", 20)):
        with (folder / f"{name}.tsv").open("w", encoding="utf-8") as file:
            file.writelines(f"{' '.join(source)}\t{' '.join(target)}\n"
                            for source, target in itertools.islice(stream, count))


def trainer_of(config: Config, data: Prepared, folder: Path, way: str) -> Trainer:
    """A trainer that computes in one of the WAYS."""
    trainer = Trainer(config, data, folder, Reporter())
    if way == "plain":
        for module in trainer.model.modules():
            if isinstance(module, RecurrentDecoder):
                module.use_kernel = False
        trainer.gradients = Launched(trainer.model, data, trainer.options, trainer.device, trainer.reporter.say)
    return trainer


class Launched(Gradients):
    """Gradients whose passes are never captured."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.captures, self._pass = False, self._pass_over


def updates(trainer: Trainer) -> Iterator[None]:
    """Updates without end, each done when its turn ends; on a GPU nothing waits for the device."""
    while True:
        groups = trainer._groups()
        for group in trainer.gradients.loader.through(groups):
            trainer._update(group)
            yield
        trainer.progress.epoch += 1


def operations_each(trainer: Trainer) -> tuple[float, float]:
    """Operations of an update for each real source and each target position, without attention."""
    counts = {"source": 0, "target": 0}
    for name, parameter in trainer.model.named_parameters():
        if parameter.dim() == 2 and "embedding" not in name:
            at_source = name.startswith("encoder") or name.endswith("attention.score.memory.weight")
            counts["source" if at_source else "target"] += parameter.numel()
    return 6.0 * counts["source"], 6.0 * counts["target"]


def measure(trainer: Trainer, seconds: float, warm_up: int) -> dict[str, float]:
    """Warm up until the shapes have been met, then count tokens for so many seconds."""
    synchronize = torch.cuda.synchronize if trainer.device.type == "cuda" else (lambda: None)
    going = updates(trainer)
    for _ in range(warm_up):
        next(going)
    trainer._read()
    synchronize()
    trainer.progress.begin_interval()
    began, steps = time.perf_counter(), trainer.progress.step
    while time.perf_counter() - began < seconds or trainer.progress.step == steps:
        next(going)
    trainer._read()
    synchronize()
    passed, steps = time.perf_counter() - began, trainer.progress.step - steps
    going.close()  # type: ignore[attr-defined]
    lengths = trainer.data.lengths
    tokens = trainer.progress.tokens / passed
    of_source, of_target = operations_each(trainer)
    ratio = float((lengths[:, 0]).sum() / (lengths[:, 1] - 1).sum())  # source positions for each target token
    memory = torch.cuda.max_memory_allocated(trainer.device) / 2**20 if trainer.device.type == "cuda" else 0.0
    return {"tokens_per_second": tokens, "updates_per_second": steps / passed, "MiB": memory,
            "teraflops": tokens * (of_target + ratio * of_source) / 1e12, "waited": trainer.gradients.loader.waited}


def rows(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each model and precision, with both ways."""
    cuda = given.device == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.machine()
    peaks = next((peak for part, peak in PEAKS.items() if cuda and part in name), None)
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as place:
        folder = Path(place)
        write_data(folder, given.pairs)
        for model in given.models:
            sizes = {**MODELS[model], **(QUICK if given.quick else {})}
            for precision in given.precisions.split(","):
                config = configuration(sizes, folder, given.tokens, precision, given.device)
                own = folder / f"{model} {precision}"
                own.mkdir()
                data = prepare(config, own, Reporter())
                row: dict[str, Any] = {"model": model, "precision": precision, "device": name, "commit": commit(),
                                       "torch": torch.__version__, "batch_tokens": given.tokens}
                for way in WAYS:
                    if cuda:
                        torch.cuda.reset_peak_memory_stats()
                    trainer = trainer_of(config, data, own, way)
                    row["parameters"] = trainer.model.parameter_count()
                    row[way] = measure(trainer, given.seconds, given.warm_up)
                    del trainer
                row["ratio"] = row["captured"]["tokens_per_second"] / row["plain"]["tokens_per_second"]
                if peaks is not None:
                    row["share_of_peak"] = row["captured"]["teraflops"] / peaks[precision != "bf16"]
                yield row


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    share = f"{100 * row['share_of_peak']:.1f} % of the peak" if "share_of_peak" in row else "peak unknown"
    return (f"{row['model']} {row['precision']}: {row['captured']['tokens_per_second']:,.0f} target tokens/s, {share}, "
            f"{row['ratio']:.2f} × the plain loop ({row['plain']['tokens_per_second']:,.0f}), "
            f"{row['captured']['MiB']:,.0f} MiB, {row['parameters'] / 1e6:.1f} M parameters, {row['device']}, "
            f"torch {row['torch']}")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a line for each row, and write them where asked. Exit status 2 without a GPU."""
    parser = Parser("gpu", "Training on one GPU.")
    parser.add_argument("models", nargs="*", default=list(MODELS), help="W, G or both")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--precisions", default="bf16,fp32")
    parser.add_argument("--tokens", type=int, default=4096, help="of a batch")
    parser.add_argument("--pairs", type=int, default=60_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--warm-up", type=int, default=250, help="updates before it, in which shapes are captured")
    parser.add_argument("--quick", action="store_true", help="tiny models: the figures mean nothing")
    given = parser.parse_args(arguments)
    parser.known("model", given.models, MODELS)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here: --device cpu --quick shows that the script works")
    found = []
    for row in rows(given):
        found.append(row)
        print(line(row), flush=True)
    keep(given.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
