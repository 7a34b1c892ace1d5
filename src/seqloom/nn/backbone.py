"""A pretrained network in place of our own convolutions: one of transformers' vision models, which gives regions.

What is not covered: export to ONNX, and models that need more than pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqloom.errors import ConfigError, MissingExtraError

FIX = "give the folder of a model that transformers' save_pretrained wrote, or a name such as microsoft/resnet-18"


class ChannelAffine(nn.Module):
    """y = x · weight + bias for each channel: a batch normalisation whose statistics stay as they were learned.

    Its numbers are parameters, so that a run's weights hold all of the network, and no answer depends on the batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> ChannelAffine:
        """The same function as a batch normalisation in evaluation mode (Ioffe & Szegedy 2015, algorithm 2)."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        made = cls(norm.num_features)
        with torch.no_grad():
            made.weight.copy_(norm.weight / torch.sqrt(norm.running_var + norm.eps))
            made.bias.copy_(norm.bias - norm.running_mean * made.weight)
        return made

    def forward(self, values: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return values * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def without_batch_norms(module: nn.Module) -> nn.Module:
    """Every batch normalisation inside replaced by its ChannelAffine."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, ChannelAffine.of(child))
        else:
            without_batch_norms(child)
    return module


class Backbone(nn.Module):
    """Pictures [B C H W] from −1 to 1 → regions [B D h w] of a vision model.

    The last hidden state is taken: a map of a convolutional network as it is, the patches of a transformer without
    what stands in front of them (class tokens). mean, deviation: [C] what the model expects pictures from 0 to 1 to be
    normalised with. A frozen one stays in evaluation mode: nothing of it is dropped at random.
    """

    def __init__(self, model: nn.Module, mean: list[float], deviation: list[float], height: int, width: int, *,
                 frozen: bool) -> None:
        super().__init__()
        self.model = without_batch_norms(model)
        self.mean, self.deviation = mean, deviation
        self.frozen = frozen
        patch: Any = getattr(model.config, "patch_size", None)
        self.patches = (height // patch, width // patch) if isinstance(patch, int) else None
        with torch.no_grad():
            found = self.eval()(torch.zeros(1, len(mean), height, width))
        self.output_size, self.grid = int(found.shape[1]), (int(found.shape[2]), int(found.shape[3]))
        self.freeze()

    def freeze(self) -> None:
        """Take a frozen model's parameters out of training."""
        self.model.requires_grad_(not self.frozen)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        mean, deviation = (pictures.new_tensor(part).view(1, -1, 1, 1) for part in (self.mean, self.deviation))
        found: Tensor = self.model(pixel_values=((pictures + 1) / 2 - mean) / deviation).last_hidden_state
        if found.dim() == 4:
            return found
        assert self.patches is not None
        rows, columns = self.patches
        return found[:, -rows * columns:].transpose(1, 2).reshape(len(found), -1, rows, columns)


def describe(name: str) -> dict[str, Any]:
    """What is needed to build a model again without its weights, as JSON has it. Raises as `pretrained_model`."""
    transformers = _library()
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(name, error) from None
    described: dict[str, Any] = {"model": {**config.to_dict(), "model_type": config.model_type}}
    path = Path(name) / "preprocessor_config.json"
    try:
        images = transformers.AutoImageProcessor.from_pretrained(name) if not Path(name).is_dir() or path.is_file() \
            else None
    except (OSError, ValueError, KeyError, ImportError):
        images = None
    described["mean"] = list(getattr(images, "image_mean", None) or [0.5] * 3)
    described["deviation"] = list(getattr(images, "image_std", None) or [0.5] * 3)
    return described


def build(described: dict[str, Any], height: int, width: int, *, frozen: bool) -> Backbone:
    """The model that `describe` told of, with random weights."""
    transformers = _library()
    options = dict(described["model"])
    config = transformers.AutoConfig.for_model(options.pop("model_type"), **options)
    model = transformers.AutoModel.from_config(config)
    return Backbone(model, described["mean"], described["deviation"], height, width, frozen=frozen)


def insert(backbone: Backbone, name: str) -> None:
    """Copy the pretrained weights in. Raises ConfigError where there are none that could be read safely."""
    transformers = _library()
    try:  # safetensors alone: other files of weights are pickles
        model = transformers.AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(name, error) from None
    backbone.model.load_state_dict(without_batch_norms(model).state_dict())


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtraError("transformers", "backbone", "a pretrained backbone") from None
    library: Any = transformers
    library.utils.logging.disable_progress_bar()  # one of ours runs
    return library


def _unusable(name: str, error: BaseException) -> ConfigError:
    return ConfigError(f"source.backbone: {name} cannot be used: {str(error).splitlines()[0][:200]}", fix=FIX)
