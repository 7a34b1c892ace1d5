"""The model: a source's encoder and a head's module. All initialisation is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqloom.config.sections import Config
from seqloom.errors import RunFolderError
from seqloom.nn.cells import Cell, LongShortTermMemory
from seqloom.nn.memory import Memory
from seqloom.types import PADDING, Batch, Loss, Padded


class Model(nn.Module):
    """Batch → Memory → Loss; without an encoder there is no memory.

    The engine for prediction uses `encode` and of the head `begin` and `step`, or `answer`.
    """

    def __init__(self, encoder: nn.Module | None, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def encode(self, source: Padded, before: Memory | None = None) -> Memory:
        """The memory of a padded source (torch tensors); `before`: of what stood in front of it, to go on from."""
        reader = self.head.encode if self.encoder is None else self.encoder  # without a source the head reads the text
        memory: Memory = reader(source) if before is None else reader(source, before)  # type: ignore[operator]
        return memory

    def begin(self, source: Padded) -> Any:
        """What the head's steps need, and the state before the first of them."""
        if self.encoder is None:
            return self.head.begin(source)  # type: ignore[operator]
        return self.head.begin(self.encode(source))  # type: ignore[operator]

    def forward(self, batch: Batch, own: Tensor | None = None, state: Any = None) -> Loss:
        """Loss of a batch (torch tensors); `own`: see SequenceModule.loss; `state`: see Loss.state."""
        if batch.source is None:
            loss: Loss = self.head.loss(state, batch.target)  # type: ignore[operator]
        else:
            loss = self.head.loss(self.encode(batch.source), batch.target, own)  # type: ignore[operator]
        return loss

    def parameter_count(self) -> int:
        """Number of trained numbers, each shared one counted once."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_model(config: Config, source: Any, head: Any, *, seed: int | None = None) -> Model:
    """Build, initialise and tie. With a seed, the same numbers every time and elsewhere untouched random state."""
    if seed is None:
        return _build(config, source, head)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach into every GPU
        return _build(config, source, head)


def _build(config: Config, source: Any, head: Any) -> Model:
    encoder = source.build(config)
    module = head.build(config, encoder)
    model = Model(encoder, module)
    _initialise(model)
    head.tie(model)
    return model


def _initialise(model: Model) -> None:
    """Xavier for what multiplies inputs, orthogonal for what multiplies states, normal embeddings, forget gates open.

    Glorot & Bengio 2010, eq. 16; convolutions: He et al. 2015, eq. 10; Saxe et al. 2014; forget bias 1: Jozefowicz et
    al. 2015, §5.
    """
    for module in model.modules():
        if isinstance(module, Cell):
            for weight in module.weight_input.chunk(len(module.gate_names)):
                nn.init.xavier_uniform_(weight)
            for weight in module.weight_hidden.chunk(len(module.gate_names)):
                nn.init.orthogonal_(weight)
            nn.init.zeros_(module.bias_input)
            nn.init.zeros_(module.bias_hidden)
            if isinstance(module, LongShortTermMemory):
                forget = module.gate_names.index("forget")
                with torch.no_grad():
                    module.bias_input.chunk(len(module.gate_names))[forget].fill_(1.0)
        elif isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
            with torch.no_grad():
                module.weight[PADDING].zero_()


def insert_pretrained(model: Model, source: Any, head: Any, *, fresh: bool = True) -> list[str]:
    """Pretrained weights into a fresh model, frozen where asked; of any other only the freezing. Returns reports."""
    return [*source.insert_pretrained(model.encoder, fresh=fresh), *head.insert_pretrained(model.head, fresh=fresh)]


def stored_weights(model: Model) -> dict[str, Tensor]:
    """Weights by name, each shared one once, contiguous, on the CPU: what a run folder keeps."""
    seen: set[int] = set()
    weights: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=True):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            weights[name] = parameter.detach().to("cpu", torch.float32).contiguous()
    return weights


def load_weights(model: Model, weights: dict[str, Tensor], where: str) -> None:
    """Copy stored weights in. Raises RunFolderError when names or sizes are not this model's."""
    own = dict(model.named_parameters(remove_duplicate=True))
    _same_names(own.keys(), weights.keys(), where)
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != weights[name].shape:
                raise RunFolderError(
                    f"{name} has shape {tuple(weights[name].shape)}, the configuration says {tuple(parameter.shape)}",
                    where=where, fix="config.yaml or the tokenizers were changed after training: restore them")
            parameter.copy_(weights[name])


def _same_names(expected: Any, given: Any, where: str) -> None:
    missing: Sequence[str] = sorted(set(expected) - set(given))
    extra: Sequence[str] = sorted(set(given) - set(expected))
    if missing or extra:
        raise RunFolderError(
            f"weights do not fit the configuration: missing {list(missing)[:3]}, unexpected {list(extra)[:3]}",
            where=where, fix="config.yaml was changed after training, or files of two runs are mixed: restore them")
