"""Encoders: a padded source becomes a Memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from seqloom.config.sections import EncoderConfig
from seqloom.nn.characters import CharacterEncoder
from seqloom.nn.dropout import drop, drop_symbols, symbol_factors
from seqloom.nn.memory import Memory, real_positions, states_after
from seqloom.nn.recurrent import RecurrentStack
from seqloom.types import PADDING, Padded


class FeatureEncoder(nn.Module):
    """Features beside a source, without order: embedded, one tanh layer, attended next to the source positions.

    Their mean is added to the encoder's last states (cf. Wu et al. 2021, §3, who embed features apart from letters).
    """

    def __init__(self, symbols: int, embedding_size: int, memory_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding_size, padding_idx=PADDING)
        self.transform = nn.Linear(embedding_size, memory_size)

    def forward(self, memory: Memory, source: Padded) -> Memory:
        """The memory with each row's features right after its last real position."""
        ids = source.fields["features"]
        lengths = source.fields["features_lengths"]
        mask = real_positions(lengths, ids.shape[1])
        features = torch.tanh(self.transform(self.embedding(ids))) * mask.unsqueeze(2)
        mean = features.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        B, F, M = features.shape
        places = source.lengths.unsqueeze(1) + torch.arange(F, device=ids.device)
        values = functional.pad(memory.values, (0, 0, 0, F))
        values = values.scatter(1, places.unsqueeze(2).expand(B, F, M), features.to(values.dtype))
        copy_ids = memory.copy_ids
        if copy_ids is not None:
            copy_ids = functional.pad(copy_ids, (0, F)).scatter(1, places, torch.full_like(ids, -1))
        return memory._replace(values=values, mask=real_positions(source.lengths + lengths, values.shape[1]),
                               hidden=memory.hidden + mean.unsqueeze(1), copy_ids=copy_ids)


class TextEncoder(nn.Module):
    """Embedding and recurrent stack over ids [B S]; with characters [B S W], what they say of a symbol stands beside
    its embedding. The embeddings of a language [B S] and of what is `added` [B F] are added to that of each symbol.
    """

    def __init__(self, symbols: int, embedding_size: int, config: EncoderConfig, *, features: bool = False,
                 characters: CharacterEncoder | None = None, symbol_dropout: float = 0.0, plain: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding_size, padding_idx=PADDING)
        self.characters = characters
        self.recurrent = RecurrentStack.configured(
            config, embedding_size + (0 if characters is None else characters.output_size), plain=plain)
        self.memory_size = self.recurrent.output_size
        self.features = FeatureEncoder(symbols, embedding_size, self.memory_size) if features else None
        self.embedding_dropout = config.embedding_dropout
        self.dropout = config.dropout
        self.symbol_dropout = symbol_dropout
        self.variational = config.variational_dropout

    def forward(self, source: Padded, before: Memory | None = None) -> Memory:
        """`before`: the memory of the symbols in front of these, for symbols that come one by one."""
        ids = source.main
        mask = real_positions(source.lengths, ids.shape[1])
        embedded = drop(self.embed(source), self.embedding_dropout, self.training, variational=self.variational)
        outputs, hidden, cell = self.recurrent(embedded, mask, states_after(before))
        values = drop(outputs, self.dropout, self.training, variational=self.variational)
        memory = Memory(values, mask, hidden, cell, source.fields.get("copy"))
        return memory if self.features is None else self.features(memory, source)

    def embed(self, source: Padded) -> Float[Tensor, "B S E"]:
        """What is read at each position: embeddings, with what stands beside them."""
        factors = symbol_factors(self.embedding.weight, self.embedding.num_embeddings, self.symbol_dropout,
                                 self.training)
        embedded: Tensor = drop_symbols(self.embedding(source.main), source.main, factors)
        if "language" in source.fields:
            embedded = embedded + self.embedding(source.fields["language"])
        if "added" in source.fields:
            real = real_positions(source.fields["added_lengths"], source.fields["added"].shape[1])
            embedded = embedded + (self.embedding(source.fields["added"]) * real.unsqueeze(2)).sum(1, keepdim=True)
        if self.characters is None:
            return embedded
        return torch.cat([embedded, self.characters(source.fields["characters"])], 2)
