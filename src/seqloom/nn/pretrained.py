"""Vectors that were learned elsewhere, in embeddings."""

from __future__ import annotations

import torch
from torch import nn

from seqloom.types import Bools, Floats


def insert_vectors(embedding: nn.Embedding, vectors: Floats, found: Bools, first: int) -> None:
    """Row r of `vectors` [V E] becomes the embedding of id first + r, where `found` [V] says that there is one."""
    with torch.no_grad():
        rows = torch.nonzero(torch.from_numpy(found)).squeeze(1)
        embedding.weight[first + rows] = torch.from_numpy(vectors)[rows].to(embedding.weight)
