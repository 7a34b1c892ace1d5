"""Checkpoints: everything that training needs to go on as if it had not stopped, bit for bit.

A checkpoint folder holds model.safetensors, state.safetensors (optimiser, averages) and state.json (numbers). It is
written under another name and renamed when complete, so a crash at any moment leaves the one before or the new one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqloom.data.storage import read_json, write_json
from seqloom.errors import RunFolderError, TrainingError, UsageError
from seqloom.run import CHECKPOINTS, WEIGHTS, read_weights, write_weights

STATE = "state.safetensors"
NUMBERS = "state.json"  # written last: where it is, the checkpoint is complete
# What torch's optimisers keep for each parameter.
STATE_KEYS: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.Adadelta: {"step", "square_avg", "acc_delta"},
}


def arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as NumPy arrays on the CPU."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def write_checkpoint(folder: Path, name: str, weights: dict[str, Tensor], tensors: dict[str, Tensor],
                     numbers: dict[str, Any]) -> None:
    """checkpoints/<name>, replaced as a whole. Raises TrainingError when that fails; the one before is still there."""
    target = folder / CHECKPOINTS / name
    fresh, old = _spares(target)
    try:
        _settle(target)
        for leftover in (fresh, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        write_weights(fresh / WEIGHTS, arrays(weights))
        write_weights(fresh / STATE, arrays(tensors))
        write_json(fresh / NUMBERS, numbers)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except (OSError, UsageError) as error:
        reason = (error.message if isinstance(error, UsageError) else error.strerror) or str(error)
        raise TrainingError(f"the checkpoint cannot be written: {reason}", where=str(target),
                            fix=f"make room, then go on with: seqloom train --resume --out {folder}") from None
    shutil.rmtree(old, ignore_errors=True)


def read_checkpoint(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Weights, tensors, numbers. Raises RunFolderError when the checkpoint is missing or damaged."""
    path = folder / CHECKPOINTS / name
    if not path.exists():
        path = next((spare for spare in _spares(path) if (spare / NUMBERS).exists()), path)
    if not path.is_dir():
        finished = f"train it further with seqloom finetune {folder}, or " if (folder / WEIGHTS).is_file() else ""
        raise RunFolderError(f"{folder} has no checkpoint '{name}' to go on from",
                             fix=f"{finished}begin a new training in another --out")
    numbers = read_json(path / NUMBERS, *(("config", "data", "progress") if name == "last" else ()))
    return _tensors(path / WEIGHTS), _tensors(path / STATE), numbers


def _spares(target: Path) -> tuple[Path, Path]:
    """Where a checkpoint stands before it takes its place, and after."""
    return target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")


def _settle(target: Path) -> None:
    """After a crash between the two renames the last complete checkpoint gets its name."""
    for spare in _spares(target):
        if not target.exists() and (spare / NUMBERS).exists():
            spare.rename(target)


def _tensors(path: Path) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in read_weights(path).items()}


# --- the optimiser ---------------------------------------------------------------------------------------------------


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors; all of it is tensors in torch's own optimisers."""
    found: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                found[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back copies of what `optimizer_tensors` gave. Raises ValueError for state that is not this optimiser's."""
    stored = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            parameter = parameters[int(number)]
            if value.shape != (() if key == "step" else parameter.shape):
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {tuple(parameter.shape)}")
            state.setdefault(int(number), {})[key] = value.clone()
    expected = next(keys for kind, keys in STATE_KEYS.items() if isinstance(optimizer, kind))
    for index, values in state.items():
        if values.keys() != expected:
            raise ValueError(f"optimizer.{index} has {', '.join(sorted(values))}, expected "
                             f"{', '.join(sorted(expected))}")
    optimizer.load_state_dict({"state": state, "param_groups": stored["param_groups"]})
