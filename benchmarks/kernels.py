"""The kernels of training beside their plain references: `python -m benchmarks.kernels [W] [C] [--threads 2]`.

One decoder (forward and backward over a batch of known targets) and one output layer with cross-entropy, of the sizes
of models W and C. The two take turns, and the fastest of many turns counts: neighbours only ever make a turn slower.
With one thread, the processor's time is counted instead of the wall's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqloom.config.sections import Config
from seqloom.nn.decoders import RecurrentDecoder
from seqloom.nn.kernels.cross_entropy import linear_cross_entropy, linear_cross_entropy_reference
from seqloom.nn.kernels.precision import fast_fp32
from seqloom.nn.memory import Memory, real_positions

SECONDS = 3.0  # for each line of the table


class Sizes(NamedTuple):
    """Sentences, source and target positions, embedding, state, symbols."""

    batch: int
    source: int
    target: int
    embedding: int
    hidden: int
    symbols: int


MODELS = {"W": Sizes(64, 14, 15, 256, 512, 8000), "C": Sizes(32, 8, 7, 128, 256, 44)}
DECODERS = {
    "lstm, general": {"cell": "lstm", "attention": {"score": "general"}},
    "lstm, concat": {"cell": "lstm", "attention": {"score": "concat"}},
    "gru, general": {"cell": "gru", "attention": {"score": "general"}},
    "gru, concat, query previous": {"cell": "gru", "attention": {"score": "concat", "query": "previous"}},
}


@contextmanager
def precision(name: str) -> Iterator[None]:
    """fp32: torch's defaults; fast fp32: the faster library; bf16: products in bf16."""
    if name == "fast fp32":
        with fast_fp32():
            yield
    else:
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            yield


PRECISIONS = ("fp32", "fast fp32", "bf16")


def decoder_turns(sizes: Sizes, options: dict[str, object]) -> dict[str, Callable[[], Tensor]]:
    """What one turn computes, by steps and by the kernel."""
    config = Config.model_validate({
        "bridge": {"kind": "zero"},
        "decoder": {"hidden_size": sizes.hidden, "embedding_size": sizes.embedding, **options}})
    decoder = RecurrentDecoder(sizes.symbols, sizes.hidden, True, config)
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(sizes.batch, sizes.source, sizes.hidden, generator=draw).requires_grad_()
    lengths = torch.randint(sizes.source // 2, sizes.source + 1, (sizes.batch,), generator=draw)
    hidden = torch.zeros(sizes.batch, 1, sizes.hidden)
    memory = Memory(values, real_positions(lengths, sizes.source), hidden, hidden)
    tokens = torch.randint(4, sizes.symbols, (sizes.batch, sizes.target), generator=draw)

    def turn(kernel: bool) -> Tensor:
        decoder.zero_grad()
        decoder.use_kernel = kernel
        ready, state = decoder.begin(memory)
        return decoder.unroll(ready, state, tokens).values.sum()

    return {"reference": lambda: turn(False), "kernel": lambda: turn(True)}


def loss_turns(sizes: Sizes) -> dict[str, Callable[[], Tensor]]:
    """The same for the output layer."""
    layer = nn.Linear(sizes.hidden, sizes.symbols)
    draw = torch.Generator().manual_seed(1)
    values = torch.randn(sizes.batch * sizes.target, sizes.hidden, generator=draw).requires_grad_()
    targets = torch.randint(sizes.symbols, values.shape[:1], generator=draw)

    def turn(function: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
        layer.zero_grad()
        return function(values, layer.weight, layer.bias, targets, 0.1)[0]

    return {"reference": lambda: turn(linear_cross_entropy_reference), "kernel": lambda: turn(linear_cross_entropy)}


def fastest(turns: dict[str, Callable[[], Tensor]], name: str) -> dict[str, float]:
    """Milliseconds of the fastest turn, forward and backward, of each."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    best = dict.fromkeys(turns, float("inf"))
    end, rounds = time.monotonic() + SECONDS, 0
    with precision(name):
        while rounds < 3 or time.monotonic() < end:
            for key, turn in turns.items():
                begin = clock()
                turn().backward()
                best[key] = min(best[key], 1000 * (clock() - begin))
            rounds += 1
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="W, C or both")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    unknown = [name for name in given.models if name not in MODELS]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}: there are {', '.join(MODELS)}")
    torch.set_num_threads(given.threads)
    print(f"milliseconds for forward and backward, {given.threads} threads, torch {torch.__version__}")
    print(f"{'model':6}{'part':30}{'precision':12}{'reference':>10}{'kernel':>10}{'times':>7}")
    for model in given.models:
        sizes = MODELS[model]
        parts = {name: decoder_turns(sizes, options) for name, options in DECODERS.items()}
        for part, turns in {**parts, "output and cross-entropy": loss_turns(sizes)}.items():
            for name in PRECISIONS:
                best = fastest(turns, name)
                print(f"{model:6}{part:30}{name:12}{best['reference']:10.2f}{best['kernel']:10.2f}"
                      f"{best['reference'] / best['kernel']:7.2f}", flush=True)


if __name__ == "__main__":
    main()
