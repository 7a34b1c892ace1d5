"""How the passes of a training are computed, in words, for the plan at its start: which kernel serves, or why none."""

from __future__ import annotations

import torch
from torch import nn

from seqloom.config.sections import TrainingConfig
from seqloom.nn.decoders import RecurrentDecoder
from seqloom.nn.kernels import input_feeding
from seqloom.nn.kernels.precision import serving_library
from seqloom.nn.recurrent import RecurrentLayer, whole_sequence_refusal
from seqloom.training.captured import capture_refusal


def ways(model: nn.Module, options: TrainingConfig, device: torch.device, *, small: bool,
         bf16: bool) -> list[str]:
    """The parts of the line, from what is fastest to why something is not."""
    decoders = [module for module in model.modules() if isinstance(module, RecurrentDecoder)]
    inside = {layer for decoder in decoders for layer in decoder.modules()}
    reader = "layers" if getattr(model, "encoder", None) is None else "encoder"
    found = [_layers(reader, [layer for layer in model.modules()
                              if isinstance(layer, RecurrentLayer) and layer not in inside]),
             *(_decoder(decoder, options) for decoder in decoders)]
    if device.type == "cuda":
        reason = capture_refusal(model)
        found.append(f"no CUDA graphs ({reason})" if reason else "CUDA graphs")
    elif device.type == "cpu":
        found.append("products in oneDNN" if bf16 else f"products in {serving_library(small=small)}")
    return [part for part in found if part]


def _layers(what: str, layers: list[RecurrentLayer]) -> str:
    """Those of an encoder, or of a language model, which has none."""
    if not layers:
        return ""
    reason = next(filter(None, map(whole_sequence_refusal, layers)), "")
    return f"{what} step by step, which is slow ({reason})" if reason else f"{what} in one call"


def _decoder(decoder: RecurrentDecoder, options: TrainingConfig) -> str:
    if not decoder.is_sequential():
        way = "decoder in one call"
    elif not decoder.use_kernel:
        way = "decoder step by step, which is slow (its kernel is switched off)"
    elif reason := input_feeding.refusal(decoder.context, decoder.recurrent):
        way = f"decoder step by step, which is slow ({reason})"
    else:
        way = "decoder in its kernel"
    forcing = options.teacher_forcing
    always = forcing.ratio >= 1 and forcing.decay == "none" and forcing.stop_after_epoch is None and (
        forcing.stop_at_accuracy is None)
    return way if always or "step by step" in way else f"{way}, step by step where it reads its own history"
