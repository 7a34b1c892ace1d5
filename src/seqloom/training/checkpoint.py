"""Checkpoints: everything that training needs to go on as if it had not stopped, bit for bit.

A checkpoint folder holds model.safetensors, state.safetensors (optimiser, averages) and state.json (numbers). It is
written under another name and renamed when complete, so a crash leaves the previous one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqloom.data.storage import read_json, write_json
from seqloom.errors import RunFolderError
from seqloom.run import CHECKPOINTS, WEIGHTS, read_weights, write_weights

STATE = "state.safetensors"
NUMBERS = "state.json"


def arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as NumPy arrays on the CPU."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def write_checkpoint(folder: Path, name: str, weights: dict[str, Tensor], tensors: dict[str, Tensor],
                     numbers: dict[str, Any]) -> None:
    """checkpoints/<name>, replaced as a whole."""
    target = folder / CHECKPOINTS / name
    fresh, old = target.with_name(f".{name}.new"), target.with_name(f".{name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    write_weights(fresh / WEIGHTS, arrays(weights))
    write_weights(fresh / STATE, arrays(tensors))
    write_json(fresh / NUMBERS, numbers)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def read_checkpoint(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Weights, tensors, numbers. Raises RunFolderError when the checkpoint is missing or damaged."""
    path = folder / CHECKPOINTS / name
    if not path.exists():  # a crash between the two renames
        for spare in (path.with_name(f".{name}.new"), path.with_name(f".{name}.old")):
            if (spare / NUMBERS).exists():
                path = spare
                break
    if not path.is_dir():
        raise RunFolderError(f"{folder} has no checkpoint '{name}' to go on from",
                             fix="start again with --overwrite, or give another --out")
    numbers = read_json(path / NUMBERS)
    weights, tensors = read_weights(path / WEIGHTS), read_weights(path / STATE)
    return ({key: torch.from_numpy(value) for key, value in weights.items()},
            {key: torch.from_numpy(value) for key, value in tensors.items()}, numbers)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors; all of it is tensors in torch's own optimisers."""
    found: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                found[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    stored = optimizer.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": stored["param_groups"]})
