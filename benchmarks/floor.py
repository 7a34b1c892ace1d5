"""What the matrix products of one update take by themselves, at the best rate that this machine shows for each shape.

    python -m benchmarks.floor task.json        (the training suite calls it; prints one JSON object)

The best of 20 times of each product over the libraries at hand is multiplied by how often an update needs it; the sum
is the floor. Everything that is not bound to a step is one product: input projections, keys, output layer, and the
weight gradients of the recurrent steps. Element-wise work, softmax, copies and the optimiser are left out.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.windows import task_of

REPEATS = 20


class Product(NamedTuple):
    """`times` products [rows inner] · [inner columns], of `batch` matrices each."""

    rows: int
    inner: int
    columns: int
    times: int
    batch: int = 1


def layer(rows: int, inputs: int, outputs: int) -> list[Product]:
    """A linear layer over all rows at once: forward, gradient of the input, gradient of the weight."""
    return [Product(rows, inputs, outputs, 1), Product(rows, outputs, inputs, 1), Product(outputs, rows, inputs, 1)]


def recurrence(batch: int, steps: int, inputs: int, outputs: int) -> list[Product]:
    """A linear layer in a loop: forward and the gradient of the input at each step, that of the weight at the end."""
    return [Product(batch, inputs, outputs, steps), Product(batch, outputs, inputs, steps),
            Product(outputs, batch * steps, inputs, 1)]


def products(task: Mapping[str, Any]) -> list[Product]:
    """Every matrix product of one update; S and T are mean lengths with </s>, rounded."""
    B, S, T = task["batch"], round(task["source_length"]) + 1, round(task["target_length"]) + 1
    E, N, H, V = task["embedding"], task["encoder"], task["decoder"], task["target_symbols"] + 4
    M = 2 * N
    found = layer(B * S, E, 8 * N)  # both directions' gates from the embedded source
    found += 2 * recurrence(B, S, N, 4 * N)
    found += layer(B * S, M, H)  # keys
    found += layer(B * T, E, 4 * H)  # gates from the embedded target
    found += layer(B * T, H, V)  # output layer
    if task["feeding"]:
        found += recurrence(B, T, 2 * H, 4 * H)  # gates from state and fed result
        found += recurrence(B, T, M + H, H)  # the tanh layer
        found += [Product(1, H, S, 2 * T, B), Product(1, S, M, 2 * T, B)]  # scores, values; their step gradients
        found += [Product(S, T, H, 1, B), Product(S, T, M, 1, B)]  # gradients of keys and memory
    else:
        found += recurrence(B, T, H, 4 * H)
        found += layer(B * T, M + H, H)
        for inner in (H, M):
            found += [Product(T, inner, S, 1, B), Product(T, S, inner, 1, B), Product(S, T, inner, 1, B)]
    return found


def operations(found: list[Product]) -> float:
    """Floating-point operations of these products."""
    return sum(2.0 * one.rows * one.inner * one.columns * one.times * one.batch for one in found)


def best_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Best of so many runs."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return best


@contextmanager
def library(name: str) -> Iterator[Any]:
    """Inside, products run in this library; yields the type of their operands."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if name == "fp32 oneDNN" else "highest")
    try:
        yield torch.bfloat16 if name == "bf16" else torch.float32
    finally:
        torch.set_float32_matmul_precision(before)


def libraries(precision: str) -> list[str]:
    """Those that give at least this precision."""
    from seqloom.nn.kernels.precision import onednn_keeps_fp32

    names = ["fp32 default", *(["fp32 oneDNN"] if onednn_keeps_fp32() else [])]
    return [*names, "bf16"] if precision == "bf16" else names


def floor_seconds(task: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of an update's products for fp32 and for bf16, and their GFLOP."""
    import torch

    torch.set_num_threads(task["threads"])
    found = products(task)
    times: dict[str, dict[Product, float]] = {}
    for name in libraries("bf16"):
        with library(name) as dtype:
            times[name] = {one: _time(one, dtype, task.get("repeats", REPEATS)) for one in dict.fromkeys(found)}
    sums = {precision: sum(one.times * min(times[name][one] for name in libraries(precision)) for one in found)
            for precision in ("fp32", "bf16")}
    return {**sums, "gflop": operations(found) / 1e9}


def _time(one: Product, dtype: Any, repeats: int) -> float:
    import torch

    shape = () if one.batch == 1 else (one.batch,)
    left = torch.randn(*shape, one.rows, one.inner).to(dtype)
    right = torch.randn(*shape, one.inner, one.columns).to(dtype)
    return best_seconds(lambda: torch.matmul(left, right), repeats)


if __name__ == "__main__":
    print(json.dumps(floor_seconds(task_of(sys.argv))))
