"""Sparse distributions and local windows where they make no sense: refused before any data is read."""

from __future__ import annotations

from collections.abc import Callable

from seqloom.config.problems import Problem, Problems
from seqloom.config.sections import Config, SequenceHeadConfig, TextSourceConfig


def sparse_output(config: Config) -> Problems:
    """A pointer-generator's loss is the logarithm of a mixture, which has no Fenchel-Young loss."""
    head = config.head
    if isinstance(head, SequenceHeadConfig) and head.normalization != "softmax" and config.decoder.copy_source:
        yield Problem(f"head.normalization is {head.normalization}, but decoder.copy_source is true: a copying model "
                      "is trained on the logarithm of a mixture, which would often be that of 0",
                      "set head.normalization to softmax (decoder.attention.normalization may be sparse), or "
                      "decoder.copy_source to false")


def local_window(config: Config) -> Problems:
    """A window has a meaning where positions of the source stand in one line."""
    window = config.decoder.attention.local_window
    if window is None or not isinstance(config.head, SequenceHeadConfig) or config.decoder.context != "attention":
        return
    name, fix = f"decoder.attention.local_window is {window}", "leave decoder.attention.local_window out"
    if config.source.kind == "image":
        yield Problem(f"{name}, but source.kind is image, whose regions stand in no line", fix)
    if isinstance(config.source, TextSourceConfig) and config.source.features is not None \
            and config.source.features.mode == "encoder":
        yield Problem(f"{name}, but source.features.mode is encoder: features stand behind the text, out of most "
                      "windows", f"set source.features.mode to embedding, or {fix}")


ATTENTION_CHECKS: tuple[Callable[[Config], Problems], ...] = (sparse_output, local_window)
