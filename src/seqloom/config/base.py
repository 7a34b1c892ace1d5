"""What all sections of the configuration are made of, and the parts that sources and heads share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from seqloom.config.names import listed

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(gt=0)]
Column = int | str
CellName = Annotated[str, listed("nn/cells.py", "CELLS")]
ScoreName = Annotated[str, listed("nn/scores.py", "SCORES")]
NormalizationName = Annotated[str, listed("nn/normalization.py", "NORMALIZATIONS")]
TokenizerName = Annotated[str, listed("data/tokenizers.py", "TOKENIZERS")]
StrategyName = Annotated[str, listed("search/__init__.py", "STRATEGIES", "auto")]


class Section(BaseModel):
    """A typed part of the configuration: immutable; an unknown key and a number that is not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


def text(default: Any, description: str, **bounds: Any) -> Any:
    """A field with its text beside it."""
    return Field(default, description=description, **bounds)


def kind_or(default: str) -> Callable[[Any], str]:
    """What chooses between sections that differ by `kind`: the kind that is given, or the default."""

    def kind(value: Any) -> str:
        given = value.get("kind", default) if isinstance(value, dict) else getattr(value, "kind", default)
        return given if isinstance(given, str) else repr(given)

    return kind


class TokenizerConfig(Section):
    kind: TokenizerName = text(
        "word", "How text becomes symbols. jamo takes Hangul syllables apart, without loss.")
    split: Literal["space", "punctuation"] = text(
        "space", "word only: split at white space, or also between words and punctuation.")
    normalization: Literal["none", "NFC", "NFD", "NFKC", "NFKD"] = text("NFC", "Unicode normal form, applied first.")
    lowercase: bool = text(False, "Lower-case the text.")
    min_frequency: Positive = text(1, "Symbols seen less often in training are unknown.")
    vocab_size: Positive | None = text(None, "At most this many symbols; the number of pieces for bpe and unigram.")

    @property
    def spelling(self) -> dict[str, Any] | None:
        """What says into which symbols a text is cut, whichever of them are known; None where training text says it."""
        learned = self.kind in ("bpe", "unigram")
        return None if learned else self.model_dump(exclude={"min_frequency", "vocab_size"})


class PretrainedConfig(Section):
    path: str = Field(description="Vectors: GloVe text, word2vec text or binary, fastText .vec; plain or .gz.")
    freeze: bool = text(False, "Keep the vectors as they are.")


class SourceSection(Section):
    """What all sources have."""

    reads: ClassVar[tuple[str, ...]] = ("encoder",)

    @property
    def roles(self) -> tuple[str, ...]:
        """Columns that reading needs."""
        return ("source",)

    @property
    def columns(self) -> dict[str, Column]:
        """Columns that the section itself names."""
        return {}

    def memory_size(self, encoder: Any) -> int:
        """Size of one position of the memory, with this encoder section."""
        return int(encoder.hidden_size) * (2 if encoder.bidirectional else 1)
