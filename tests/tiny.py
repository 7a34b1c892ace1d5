"""Tiny models of every kind, for tests of the networks and of what stands on them: six letters, states of six numbers.

Weights are drawn wide and biases are not zero, so that no part of a model is idle and no two answers are nearly alike;
models that can copy mostly do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from seqloom.config.checks import check_config
from seqloom.config.sections import Config
from seqloom.data.batching import pad
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.heads.sequence import Head
from seqloom.model import Model, build_model
from seqloom.nn.cells import ReluRecurrence
from seqloom.predictor import Predictor
from seqloom.sources.text import Source
from seqloom.types import Batch, Item, Padded, Record

SIZE = 6  # of the decoder's state, and of the memory where they have to be equal
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On shared cores two threads wait for each other many times as long as a tiny product takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def record(source: str, target: str = "", features: str = "", line: int = 0) -> Record:
    return Record({"source": source, "target": target, "features": features}, "tiny.tsv", line)


# Both sides learn their symbols from these.
TRAINING = [
    record("a b c", "c b a", "PST;SG"),
    record("b c d e", "e d c b", "PRS"),
    record("f a", "a f", "PST;PL;3"),
    record("e e f b a", "a b f e e", "SG"),
]
# What models are tried on: all lengths, symbols that the target does not know (x, y), an unknown feature, no feature.
TRIALS = [
    record("a b c", "c b a", "PST;SG"),
    record("x", "x", ""),
    record("b cafe x e d y x", "x y d", "PRS"),
    record("f a", "a f", "PST;PL;3;NEW"),
    record("e y f b a", "a b y e y f", "SG"),
    record("c d", "d c d c d c d", "PL"),
    record("d d e", "e", "PST"),
    record("a b c d e f", "f", "SG;3"),
]


def config_of(values: Mapping[str, Any]) -> Config:
    """A configuration from nested values, refused where `seqloom train` would refuse it."""
    config = Config.model_validate(values)
    check_config(config)
    return config


def settings(*, cell: str = "lstm", decoder_cell: str = "", score: str = "general", score_layers: int = 1,
             context: str = "attention", combination: str = "tanh", query: str = "current", feeding: bool = True,
             bridge: str = "affine", layers: int = 1, bidirectional: bool = False, copying: bool = False,
             coverage: bool = False, features: str = "none", residual: bool = False, tie: str = "none",
             smoothing: float = 0.0, characters: bool = False, normalization: str = "softmax",
             window: int | None = None, output: str = "softmax", kind: str = "soft", jumps: int = 4,
             **sections: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values of a tiny configuration; `sections` are further values, such as decoding={...}."""
    equal = score in ("dot", "scaled_dot") or bridge == "copy"
    memory = SIZE if equal else 8
    wide = context == "every_step" or (context == "attention" and combination == "concat")
    embedding = 5 if tie == "none" else memory if context == "in_step" else SIZE + memory * wide
    values: dict[str, Any] = {
        "source": {"embedding_size": embedding if tie == "all" else 4},
        "encoder": {"cell": cell, "layers": layers, "hidden_size": memory // (1 + bidirectional),
                    "bidirectional": bidirectional, "residual": residual},
        "bridge": {"kind": bridge},
        "decoder": {"cell": decoder_cell or cell, "layers": 1 if context == "in_step" else layers, "hidden_size": SIZE,
                    "embedding_size": embedding, "context": context, "copy_source": copying, "residual": residual,
                    "attention": {"score": score, "score_layers": score_layers, "hidden_size": 7, "query": query,
                                  "combination": combination, "input_feeding": feeding, "coverage": coverage,
                                  "normalization": normalization, "local_window": window,
                                  "kind": kind, "jumps": jumps}},
        "head": {"tie_embeddings": tie, "share_vocabulary": tie == "all", "normalization": output},
        "training": {"label_smoothing": smoothing},
        "decoding": {"max_length": 6},
    }
    if features != "none":
        values["source"]["features"] = {"column": 3, "mode": features}
    if characters:
        values["source"]["characters"] = {"embedding_size": 3, "hidden_size": 2, "max_length": 3}
    for name, given in sections.items():
        values[name] = {**values.get(name, {}), **given}
    return values


class Tiny(NamedTuple):
    """A model with what reads its inputs and outputs."""

    config: Config
    source: Source
    head: Head
    model: Model

    def item(self, example: Record) -> Item:
        return self.head.link(self.source.read(example))

    def items(self, examples: Sequence[Record]) -> list[Item]:
        return [self.item(example) for example in examples]

    def padded(self, examples: Sequence[Record]) -> Padded:
        """Sources as an engine gets them."""
        return pad(self.items(examples))

    def batch(self, examples: Sequence[Record]) -> Batch:
        """What the model gets in training."""
        sources = self.items(examples)
        targets = [self.head.read(example, source) for example, source in zip(examples, sources, strict=True)]
        return Batch(to_tensors(pad(sources), CPU), to_tensors(pad(targets), CPU), np.arange(len(examples)))

    def engine(self) -> TorchEngine:
        return TorchEngine(self.model)

    def predictor(self) -> Predictor:
        return Predictor(self.source, self.head, self.engine(), self.config.decoding)


def tiny(values: Mapping[str, Any] | None = None, *, seed: int = 1, dtype: torch.dtype = torch.float32,
         training: Sequence[Record] = TRAINING, **options: Any) -> Tiny:
    """A model of a configuration, or of the options of `settings`; see the head of this file for its weights."""
    config = config_of(settings(**options) if values is None else values)
    head = Head.fit(config, training)
    source = Source.fit(config.source, training, head.shared_tokenizer)
    model = build_model(config, source, head, seed=seed).to(dtype)
    randomise(model, seed, spread=0.7)
    with torch.no_grad():
        if config.decoder.copy_source:
            model.head.decoder.copy_gate.bias.fill_(-1.0)  # type: ignore[union-attr, operator]
        for module in model.modules():
            if isinstance(module, ReluRecurrence):  # so that states neither grow without bound nor are all zero
                module.weight_hidden.mul_(0.4)
                module.bias_input.abs_().add_(0.5)
    return Tiny(config, source, head, model)


def randomise(module: torch.nn.Module, seed: int = 1, spread: float = 0.4) -> None:
    """Every parameter from a normal distribution, biases and the padding's embedding too."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) * spread)


def normal(*shape: int, seed: int = 1) -> Tensor:
    """Random numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(result: Tensor, module: torch.nn.Module) -> dict[str, Tensor]:
    """Gradient of a number by every parameter; zeros where it does not depend on one."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(result, parameters, allow_unused=True, retain_graph=True)
    return {name: torch.zeros_like(parameter) if gradient is None else gradient
            for name, parameter, gradient in zip(names, parameters, found, strict=True)}
