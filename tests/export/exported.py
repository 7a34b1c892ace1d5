"""Tiny models, stored and exported, for the tests of both."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pairs import Case, covering_cases
from seqloom.engines.onnx import OnnxEngine
from seqloom.errors import ConfigError
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.graphs import builder_class
from seqloom.export.scores import EXPORTED_SCORES
from seqloom.export.weights import Weights
from seqloom.model import stored_weights
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.run import WEIGHTS, write_description, write_weights
from tiny import Tiny, config_of, settings, tiny

FACTORS: dict[str, list[Any]] = {
    "context": ["attention", "every_step", "initial", "in_step"],
    "cell": list(EXPORTED_CELLS),
    "decoder_cell": list(EXPORTED_CELLS),
    "score": list(EXPORTED_SCORES),
    "score_layers": [1, 2],
    "combination": ["tanh", "concat"],
    "query": ["current", "previous"],
    "feeding": [True, False],
    "bridge": ["affine", "copy", "zero"],
    "layers": [1, 2],
    "bidirectional": [False, True],
    "residual": [False, True],
    "copying": [False, True],
    "kind": ["soft", "hard", "hard_monotonic"],
    "jumps": [4, 0],
    "coverage": [False, True],
    "features": ["none", "symbols", "encoder", "embedding"],
    "tie": ["none", "output", "all"],
    "characters": [False, True],
    "normalization": list(NORMALIZATIONS),
    "window": [None, 2],
    "output": list(NORMALIZATIONS),
}


def valid(case: Case) -> bool:
    try:
        config_of(settings(**case))  # type: ignore[arg-type]
    except ConfigError:
        return False
    return True


def name_of(case: Case) -> str:
    return "-".join(str(value) if isinstance(value, str) else f"{name}={value}" for name, value in case.items())


CASES, _ = covering_cases(FACTORS, valid)


@cache
def built(name: str) -> tuple[Tiny, OnnxEngine]:
    """Each model and its fp32 export once for all of its tests."""
    task = tiny(**next(case for case in CASES if name_of(case) == name))  # type: ignore[arg-type]
    return task, onnx_engine(task)


def arrays(task: Tiny) -> dict[str, Any]:
    """The weights as a run folder keeps them."""
    return {name: weight.numpy() for name, weight in stored_weights(task.model).items()}


def onnx_engine(task: Tiny, *, int8: bool = False, threads: int = 1) -> OnnxEngine:
    """An engine over a model's graphs, without files."""
    weights = Weights(arrays(task), task.config, "tiny")
    builder = builder_class(task.config)(task.config, weights, task.head.size, int8=int8)
    engine = OnnxEngine(*builder.serialised({}, "weights.safetensors"), threads=threads)
    weights.check_all_taken()
    return engine


def stored(task: Tiny, folder: Path) -> Path:
    """The model as a run folder, without an export."""
    folder.mkdir(parents=True)
    write_description(folder, task.config, task.source, task.head)
    write_weights(folder / WEIGHTS, arrays(task))
    return folder
