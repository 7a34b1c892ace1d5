"""Courses of the same training in different ways: python -m benchmarks.curves train.tsv valid.tsv --epochs 5

    kernels     fp32 as `seqloom train` computes it
    reference   fp32 step by step: plain layers, no kernel, cross-entropy of torch, torch's default library
    bf16        as kernels, with bf16 products

One seed, one order of batches, no dropout (the ways draw their masks in different orders): kernels and reference are
then to agree to rounding, as far as training does not blow rounding up, and bf16 to stay within what another seed
changes, which `--seeds 1,2,3` shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.alone import Parser, keep
from seqloom.config.loading import load_config
from seqloom.nn import output
from seqloom.nn.decoders import RecurrentDecoder
from seqloom.nn.kernels import precision
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy_reference
from seqloom.nn.kernels.fenchel_young import linear_fenchel_young_reference
from seqloom.nn.recurrent import RecurrentLayer
from seqloom.progress import Reporter
from seqloom.training.loop import Trainer
from seqloom.training.prepare import prepare
from seqloom.training.session import set_threads

WAYS = ("kernels", "reference", "bf16")
NO_DROPOUT = {"encoder.dropout": "0", "encoder.embedding_dropout": "0", "decoder.dropout": "0",
              "decoder.embedding_dropout": "0"}
SHOWN = ("step", "train_loss", "valid_loss", "gold_token_accuracy", "exact_match", "wer", "bleu")

Curve = list[dict[str, Any]]


@contextmanager
def references(trainer: Trainer) -> Iterator[None]:
    """Inside, this trainer computes everything by the plain references."""
    for module in trainer.model.modules():
        if isinstance(module, RecurrentLayer):
            module.plain = True
        if isinstance(module, RecurrentDecoder):
            module.use_kernel = False
            module.is_sequential = lambda: True  # type: ignore[method-assign]

    def reference(values: Any, weight: Any, bias: Any, targets: Any, smoothing: float, counted: Any,
                  normalization: str) -> Any:
        assert counted is None
        if normalization != "softmax":
            return linear_fenchel_young_reference(values, weight, bias, targets, smoothing, normalization)
        return linear_cross_entropy_reference(values, weight, bias, targets, smoothing)

    with mock.patch.object(output, "linear_cross_entropy", reference), \
            mock.patch.object(precision, "serving_library", return_value="the default library"):
        yield


def curve(given: argparse.Namespace, way: str, seed: int) -> Curve:
    """The rows of metrics.jsonl of one training."""
    changes = {**({} if given.dropout else NO_DROPOUT), "training.seed": str(seed),
               "training.epochs": str(given.epochs), "training.precision": "bf16" if way == "bf16" else "fp32",
               **dict(text.split("=", 1) for text in given.set)}
    values = {"data": {"train": [{"path": given.train}], "valid": [{"path": given.valid}]}}
    overrides = [f"{key}={text}" for key, text in changes.items()]
    config = load_config(values=values, preset=given.preset, overrides=overrides)[0]
    set_threads(config)
    with tempfile.TemporaryDirectory(prefix="seqloom-benchmark-") as place:
        folder = Path(place)
        trainer = Trainer(config, prepare(config, folder, Reporter()), folder, Reporter())
        if way == "reference":
            with references(trainer):
                trainer.run()
        else:
            trainer.run()
        return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def table(curves: dict[str, Curve]) -> str:
    """The courses side by side, a line for each validation, and the largest difference of a loss from the first."""
    first, *others = curves
    names = [name for name in SHOWN if name in curves[first][0]]
    lines = [f"{'':14}" + "".join(f"{name:>22}" for name in names)]
    for number, rows in enumerate(zip(*curves.values(), strict=False), 1):
        lines += [f"{number:3} {way:10}" + "".join(f"{row[name]:22.6g}" for name in names)
                  for way, row in zip(curves, rows, strict=True)]
    for other in others:
        difference = max(abs(one[name] - two[name]) for one, two in zip(curves[first], curves[other], strict=False)
                         for name in ("train_loss", "valid_loss"))
        lines.append(f"{other}: largest difference of a loss from {first} {difference:.2g}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Train in every way with every seed, and print the table."""
    parser = Parser("curves", "Courses of training.")
    parser.add_argument("train")
    parser.add_argument("valid")
    parser.add_argument("--preset", default="g2p")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--seeds", default="1", help="with commas; the reference takes the first alone")
    parser.add_argument("--dropout", action="store_true", help="keep the preset's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args(arguments)
    ways = parser.known("way", given.ways.split(","), WAYS)
    curves: dict[str, Curve] = {}
    for number, seed in enumerate(map(int, given.seeds.split(","))):
        for way in ways:
            if not number or way != "reference":
                curves[f"{way} {seed}" if number else way] = curve(given, way, seed)
    print(table(curves), flush=True)
    keep(given.out, curves)
    return 0


if __name__ == "__main__":
    sys.exit(main())
