"""Sources: what is read, one section for each kind; `SourceConfig` at the foot is the union of them.

A section says with `roles` and `columns` which columns a record must have, and with `reads` which other keys of the
configuration its encoder looks at (a section's path stands for all of its keys); the others are told to be idle.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from seqloom.config.base import (
    Column,
    Positive,
    PretrainedConfig,
    Section,
    SourceSection,
    TokenizerConfig,
    kind_or,
    text,
)
from seqloom.config.media_sections import (
    AudioSourceConfig,
    FeaturesSourceConfig,
    FramesSourceConfig,
    ImageSourceConfig,
)


class FeaturesConfig(Section):
    column: Column = Field(description="Column of the features, a number from 1 or a name in the header.")
    separator: str = text(";", "What stands between two features.", min_length=1)
    mode: Literal["symbols", "encoder", "embedding"] = text(
        "symbols", "symbols: put before the source as symbols of their own; encoder: embedded apart, attended beside; "
                   "embedding: added to every source position.")


class CharactersConfig(Section):
    embedding_size: Positive = text(32, "Size of a character's embedding.")
    hidden_size: Positive = text(32, "State size of each direction of the encoder that reads a word's characters.")
    max_length: Positive = text(30, "Characters of a word that are read: its first half and its last, when longer.")
    min_frequency: Positive = text(2, "Characters seen less often in training are unknown.")


class TextSourceConfig(SourceSection):
    """Text, as symbols."""

    kind: Literal["text"] = "text"
    tokenizer: TokenizerConfig = text(TokenizerConfig(), "Tokenizer of the source.")
    embedding_size: Positive = text(256, "Size of a source embedding.")
    pretrained: PretrainedConfig | None = text(None, "Start the embeddings from these vectors.")
    symbol_dropout: float = text(0.0, "Share of symbols whose embeddings are dropped everywhere in a batch (Merity et "
                                      "al. 2018, §4.3).", ge=0, lt=1)
    reverse: bool = text(False, "Read the source backwards (Sutskever et al. 2014, §3.3).")
    features: FeaturesConfig | None = text(None, "Features beside the source, as in inflection.")
    characters: CharactersConfig | None = text(
        None, "Read the characters of each symbol too, in the case they are written in, and put what they say beside "
              "its embedding (Lample et al. 2016, §4.1).")

    language: Literal["symbol", "embedding"] | None = text(
        None, "How the model is told the language of a line, in training on several. symbol: one of its own, before "
              "the source (Johnson et al. 2017, §3); embedding: added to every source position. Empty: not at all.")

    @property
    def roles(self) -> tuple[str, ...]:
        given = (("features", self.features), ("language", self.language))
        return ("source", *(role for role, option in given if option is not None))

    @property
    def columns(self) -> dict[str, Column]:
        return {} if self.features is None else {"features": self.features.column}


class NoSourceConfig(SourceSection):
    """No source: what a language model goes on from is text of its own."""

    kind: Literal["none"] = "none"
    reads: ClassVar[tuple[str, ...]] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        return ("text",)


SourceConfig = Annotated[
    Annotated[TextSourceConfig, Tag("text")]
    | Annotated[FeaturesSourceConfig, Tag("features")]
    | Annotated[AudioSourceConfig, Tag("audio")]
    | Annotated[ImageSourceConfig, Tag("image")]
    | Annotated[FramesSourceConfig, Tag("frames")]
    | Annotated[NoSourceConfig, Tag("none")],
    Discriminator(kind_or("text"))]
