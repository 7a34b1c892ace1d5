"""What a source of text tells of itself."""

from __future__ import annotations

from seqloom.config.base import TokenizerConfig
from seqloom.config.sections import TextSourceConfig
from seqloom.data.tokenizers import fit_tokenizer
from seqloom.sources.text import Source
from seqloom.types import Record


def test_a_shared_tokenizer_is_the_one_that_is_told() -> None:
    """The target's settings count where one tokenizer serves both sides, whatever the source's own say."""
    shared = fit_tokenizer(TokenizerConfig(kind="character"), ["ab", "bc"])
    source = Source.fit(TextSourceConfig(), [Record({"source": "ab"}, "data.tsv", 1)], shared)
    assert source.describe() == "7 symbols (character)"
