"""Heads: what is answered, one section for each kind; `HeadConfig` and the table of settings are at the foot.

A section says with `roles` which columns a record must have beside the source's, and with `reads` which other keys of
the configuration it looks at (a section's path stands for all of its keys); the others are told to be idle.
`answers_steps`: each step of the source has an answer, so its symbols may not be cut smaller.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Tag

from seqloom.config.base import (
    Dropout,
    NormalizationName,
    Positive,
    PretrainedConfig,
    Section,
    TokenizerConfig,
    kind_or,
    text,
)

Tie = Literal["none", "output", "all"]


class HeadSection(Section):
    """What all heads have."""

    reads: ClassVar[tuple[str, ...]] = ()
    answers_steps: ClassVar[bool] = False

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that reading needs beside the source's."""
        return ("target",)


class SequenceHeadConfig(HeadSection):
    """A sequence of symbols, one after the other until an end."""

    reads: ClassVar[tuple[str, ...]] = ("bridge", "decoder", "training.teacher_forcing", "training.label_smoothing",
                                        "training.objective", "decoding")
    kind: Literal["sequence"] = "sequence"
    tokenizer: TokenizerConfig = text(TokenizerConfig(), "Tokenizer of the target.")
    pretrained: PretrainedConfig | None = text(None, "Start the target embeddings from these vectors.")
    share_vocabulary: bool = text(False, "One tokenizer for both sides, trained on both; the target's settings count.")
    tie_embeddings: Tie = text(
        "none", "output: target embedding = output layer; all: also = source embedding (needs share_vocabulary).")
    normalization: NormalizationName = text(
        "softmax", "From the output layer to probabilities, and with it the loss: softmax with cross-entropy; "
                   "sparsemax and entmax15 with their Fenchel-Young losses (Peters et al. 2019, §3.3), where most "
                   "symbols have probability 0.")
    alignment_loss: float = text(
        0.0, "Weight of a second loss, connectionist temporal classification of the memory (Graves et al. 2006), in "
             "training only: for speech, where the target follows the order of the source.", ge=0)


class LabelHeadConfig(HeadSection):
    """One label for the whole input."""

    kind: Literal["label"] = "label"
    reads: ClassVar[tuple[str, ...]] = ("training.label_smoothing", "decoding.batch_tokens")
    pooling: Literal["last", "mean", "max", "attention"] = text(
        "last", "What of the memory is read: the encoder's last state, the mean or the largest values over positions, "
                "or a weighted mean with learned weights (Lin et al. 2017, eq. 5, one row).")
    class_weights: Literal["none", "balanced"] = text(
        "none", "balanced: each label's loss is weighted by examples / (labels · its examples).")
    dropout: Dropout = text(0.0, "Dropout before the output layer.")


class TagsHeadConfig(HeadSection):
    """One tag for each step of the input."""

    kind: Literal["tags"] = "tags"
    answers_steps = True
    reads: ClassVar[tuple[str, ...]] = ("training.label_smoothing", "decoding.batch_tokens")
    dropout: Dropout = text(0.0, "Dropout before the output layer.")


class LanguageHeadConfig(HeadSection):
    """A language model: the next symbol of a text, without a source."""

    kind: Literal["language"] = "language"
    reads: ClassVar[tuple[str, ...]] = (
        *(f"decoder.{name}" for name in ("cell", "layers", "hidden_size", "embedding_size", "embedding_dropout",
                                         "dropout", "variational_dropout", "weight_dropout", "symbol_dropout",
                                         "residual")), "training.label_smoothing", "decoding")
    tokenizer: TokenizerConfig = text(TokenizerConfig(kind="character"), "Tokenizer of the text.")
    one_hot: bool = text(False, "Feed symbols as one-hot vectors in place of embeddings.")
    pretrained: PretrainedConfig | None = text(None, "Start the embeddings from these vectors.")
    tie_embeddings: Tie = text("none", "output: the embedding is the output layer too.")
    window: Positive = text(100, "Symbols after which back-propagation is cut off; the state goes on. A batch is one "
                                 "window of each of training.batch_size streams.")

    @property
    def roles(self) -> tuple[str, ...]:
        return ()


HeadConfig = Annotated[
    Annotated[SequenceHeadConfig, Tag("sequence")]
    | Annotated[LabelHeadConfig, Tag("label")]
    | Annotated[TagsHeadConfig, Tag("tags")]
    | Annotated[LanguageHeadConfig, Tag("language")],
    Discriminator(kind_or("sequence"))]

# The settings there are: source → heads. Every other pair is refused by name.
SETTINGS: dict[str, tuple[str, ...]] = {
    "text": ("sequence", "label", "tags"),
    "image": ("sequence", "label"),
    "audio": ("sequence", "label"),
    "features": ("sequence", "label", "tags"),
    "frames": ("sequence", "label", "tags"),
    "none": ("language",),
}
