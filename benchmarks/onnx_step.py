"""One decoding step and one encoding of model W in ONNX Runtime, fp32 and int8, and int8's size: a quick look.

Model W of docs/speed.md with random weights: 1-layer BiLSTM 256+256, LSTM 512, general attention, input feeding,
vocabulary 8,000. Sources of 14 words, 10 candidates. Prints the minimum of many short repeats, which a busy machine
disturbs least; with one thread it is CPU time, which waiting for other work does not lengthen. The contest with other
toolkits is a different script. Run: python -m benchmarks.onnx_step [threads]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from seqloom.config.sections import Config
from seqloom.engines.onnx import OnnxEngine, available_cores
from seqloom.export.graphs import builder_class
from seqloom.export.weights import Weights
from seqloom.types import START, Padded

VOCABULARY, LENGTH, CANDIDATES = 8000, 14, 10
ENCODED, EMBEDDED, HIDDEN = 256, 256, 512
REPEATS, SECONDS = 100, 12.0
SHAPES = ((1, 1), (1, 5), (64, 1), (64, 5))


def random_weights(config: Config) -> Weights:
    """Weights of model W, drawn small."""
    draw = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.embedding.weight": (VOCABULARY, EMBEDDED),
        "head.decoder.embedding.weight": (VOCABULARY, EMBEDDED),
        "head.decoder.context.attention.score.weight": (HIDDEN, 2 * ENCODED),
        "head.decoder.context.combination.weight": (HIDDEN, 2 * ENCODED + HIDDEN),
        "head.output.weight": (VOCABULARY, HIDDEN), "head.output.bias": (VOCABULARY,)}
    for name in ("hidden", "cell"):
        shapes[f"head.decoder.bridge.{name}.weight"] = (HIDDEN, 2 * ENCODED)
        shapes[f"head.decoder.bridge.{name}.bias"] = (HIDDEN,)
    cells = [(f"encoder.recurrent.layers.0.cells.{direction}", EMBEDDED, ENCODED) for direction in range(2)]
    for name, inputs, hidden in [*cells, ("head.decoder.recurrent.layers.0.cells.0", EMBEDDED + HIDDEN, HIDDEN)]:
        shapes |= {f"{name}.weight_input": (4 * hidden, inputs), f"{name}.weight_hidden": (4 * hidden, hidden),
                   f"{name}.bias_input": (4 * hidden,), f"{name}.bias_hidden": (4 * hidden,)}
    arrays = {name: (0.05 * draw.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
    return Weights(arrays, config, "model W")


def fastest(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Milliseconds of the fastest of many repeats."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    for repeat in range(REPEATS):
        began = clock()
        work()
        best = min(best, clock() - began)
        if repeat > 20 and time.perf_counter() > end:
            break
    return 1e3 * best


def main(threads: int) -> None:
    """Print a table."""
    config = Config.model_validate({"decoder": {"hidden_size": HIDDEN, "embedding_size": EMBEDDED}})
    draw = np.random.default_rng(1)
    clock = time.process_time if threads == 1 else time.perf_counter
    print(f"milliseconds{' of CPU time' if threads == 1 else ''}, fastest of up to {REPEATS}, "
          f"{threads} of {available_cores()} cores")
    print(f"{'':10}" + "".join(f"{f'encode {B}':>12}" for B in (1, 64)) +
          "".join(f"{f'step {B}×{K}':>12}" for B, K in SHAPES) + f"{'MB':>8}")
    for int8 in (False, True):
        weights = random_weights(config)
        models = builder_class(config)(config, weights, VOCABULARY, int8=int8).serialised({}, "weights.safetensors")
        engine = OnnxEngine(*models, threads=threads)
        row = []
        for B in (1, 64):
            source = Padded({"main": draw.integers(4, VOCABULARY, (B, LENGTH))}, np.full(B, LENGTH))
            row.append(fastest(clock, partial(engine.begin, source)))
        for B, K in SHAPES:
            source = Padded({"main": draw.integers(4, VOCABULARY, (B, LENGTH))}, np.full(B, LENGTH))
            first = engine.begin(source)
            _, state = engine.step(first, np.full((B, K), START), np.zeros((B, K), np.int64), CANDIDATES)
            tokens, parents = draw.integers(4, VOCABULARY, (B, K)), np.tile(np.arange(K), (B, 1))
            row.append(fastest(clock, partial(engine.step, state, tokens, parents, CANDIDATES)))
        print(f"{'int8' if int8 else 'fp32':10}" + "".join(f"{value:12.2f}" for value in row) +
              f"{models.size / 1e6:8.1f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else available_cores())
