"""CTranslate2: it runs no recurrent models, so a Transformer of as many parameters stands in for one.

Random weights; three layers on each side, as wide as the work's embeddings, their inner size chosen for the number of
parameters. It knows one length for a whole call, so sentences whose answers are of equal length are answered together.
Where there are batches each core answers one of its own; single sentences have all cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import Environment
from benchmarks.peers.limits import lines_of, steps_of
from benchmarks.windows import task_of, windows_of

NAME, VERSION = "CTranslate2", "4.8.5"
LAYERS, WIDTH_OF_A_HEAD = 3, 64
SPECIAL = ("<blank>", "<unk>", "<s>", "</s>")
# Computations that are measured: each is an entrant of its own.
VARIANTS = ("float32", "int8")


def environment() -> Environment:
    """All that its wheel needs."""
    return Environment(f"ctranslate2-{VERSION}", (f"ctranslate2=={VERSION}", "PyYAML==6.0.3", "setuptools==80.9.0"))


def supports(task: Mapping[str, Any]) -> bool:
    """Whether it can do this work."""
    return bool(task["kind"] == "prediction")


def recurrent_parameters(task: Mapping[str, Any]) -> int:
    """Parameters of the work's own model: embeddings, LSTMs, general attention, tanh layer, output layer."""
    E, N, H = task["embedding"], task["encoder"], task["decoder"]
    source, target = task["source_symbols"] + len(SPECIAL), task["target_symbols"] + len(SPECIAL)
    encoder = 2 * (4 * N * (E + N) + 8 * N)
    decoder = 4 * H * (E + 2 * H) + 8 * H + H * 2 * N + H * (2 * N + H)
    return int((source + target) * E + encoder + decoder + target * (H + 1))


def make_model(task: Mapping[str, Any], folder: Path) -> int:
    """Write a Transformer with random weights; its parameters. Raises ValueError where it cannot be that small."""
    import numpy as np
    from ctranslate2.specs import transformer_spec

    E, wanted = task["embedding"], recurrent_parameters(task)
    sides = [[*SPECIAL, *(Path(task["data"]) / f"{side}.symbols").read_text(encoding="utf-8").splitlines()]
             for side in ("source", "target")]
    sizes = [len(side) for side in sides]
    fixed = E * (sizes[0] + 2 * sizes[1]) + LAYERS * 12 * E * E
    inner = max(8, round((wanted - fixed) / (4 * LAYERS * E) / 8) * 8)
    spec = transformer_spec.TransformerSpec.from_config(LAYERS, max(1, E // WIDTH_OF_A_HEAD))
    draw, count = np.random.default_rng(1), 0

    def random(*shape: int) -> Any:
        nonlocal count
        array = (draw.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)
        count += array.size
        return array

    def normal(norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(E, np.float32), np.zeros(E, np.float32)

    def affine(layer: Any, outputs: int, inputs: int = E) -> None:
        layer.weight, layer.bias = random(outputs, inputs), np.zeros(outputs, np.float32)

    for side, size in ((spec.encoder, sizes[0]), (spec.decoder, sizes[1])):
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight = random(size, E)
        normal(side.layer_norm)
        for layer in side.layer:
            attentions = [(layer.self_attention, (3 * E, E))]
            if side is spec.decoder:
                attentions.append((layer.attention, (E, 2 * E, E)))
            for attention, outputs in attentions:
                normal(attention.layer_norm)
                for linear, rows in zip(attention.linear, outputs, strict=True):
                    affine(linear, rows)
            normal(layer.ffn.layer_norm)
            affine(layer.ffn.linear_0, inner)
            affine(layer.ffn.linear_1, E, inner)
    affine(spec.decoder.projection, sizes[1])
    for side, register in zip(sides, (spec.register_source_vocabulary, spec.register_target_vocabulary), strict=True):
        register(side)
    spec.validate()
    spec.save(str(folder))
    return count


def predict(task: dict[str, Any]) -> None:
    """Translate the test sentences, each answer as long as its reference, until nobody asks again."""
    windows = windows_of(task)
    folder = Path(task["folder"]) / "model"
    folder.mkdir()
    windows.facts["parameters"] = make_model(task, folder)
    started = time.perf_counter()
    import ctranslate2

    workers = task["threads"] if task["rows"] > 1 else 1
    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type=task["variant"], inter_threads=workers,
        intra_threads=task["threads"] // workers, max_queued_batches=-1)
    windows.facts["load"] = time.perf_counter() - started
    sources, limits = [line.split() for line in lines_of(task, "source")], steps_of(task)
    groups: dict[int, list[list[str]]] = {}
    for source, limit in zip(sources, limits, strict=True):
        groups.setdefault(limit, []).append([*source, SPECIAL[3]])
    # Within a group the longest come first, as its own batching has them.
    batches = [(limit, sorted(group, key=len, reverse=True)[begin:begin + task["rows"]])
               for limit, group in groups.items() for begin in range(0, len(group), task["rows"])]

    def work() -> float:
        found: list[Any] = []
        for limit, batch in batches:
            answers = translator.translate_batch(batch, asynchronous=workers > 1, beam_size=task["beam"],
                                                 min_decoding_length=limit, max_decoding_length=limit)
            found += answers
        if workers > 1:
            found = [answer.result() for answer in found]
        windows.facts["words"] = sum(len(answer.hypotheses[0]) for answer in found)
        return float(len(found))

    windows.serve(work, least=task["least_seconds"])


KINDS = {"prediction": predict}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
