"""Languages of a model that is trained on several: every corpus has one or a column that says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from seqloom.config.problems import Problem, Problems
from seqloom.config.sections import Config, CorpusConfig, TagsHeadConfig, TextSourceConfig

NAMED_COLUMNS = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz")  # the data may have `language` itself


def languages(config: Config) -> Problems:
    """A language is given where the source reads one, once, and nowhere else."""
    reads = isinstance(config.source, TextSourceConfig) and config.source.language is not None
    columns = config.data.columns or {}
    if not reads and "language" in columns:
        yield _unread("data.columns.language is given", config)
    for name, corpus in _corpora(config):
        own = corpus.columns or {}
        if corpus.language is not None and not corpus.language.strip():
            yield Problem(f"{name}.language is blank", "write a name, as in fra")
        elif not reads and (corpus.language is not None or "language" in own):
            yield _unread(f"{name} has a language", config)
        elif corpus.language is not None and "language" in own:
            yield Problem(f"{name} has a language, '{corpus.language}', and a column of languages",
                          "keep the one that is right")
        elif reads and corpus.language is None and not {"language"} & {*own, *columns} and \
                not (corpus.path or "").lower().endswith(NAMED_COLUMNS):
            yield Problem(f"{name} has no language, and source.language is set",
                          "give it one, as in `language: fra`, or name the column that has it: columns: {language: 3} "
                          "(seqloom finetune: --language fra)")


def language_of_tags(config: Config) -> Problems:
    """A symbol in front of the source has no tag."""
    if isinstance(config.source, TextSourceConfig) and config.source.language == "symbol" and \
            isinstance(config.head, TagsHeadConfig):
        yield Problem("head.kind is tags and source.language is symbol: the symbol is no step that could have a tag",
                      "set source.language to embedding")


def _unread(given: str, config: Config) -> Problem:
    if isinstance(config.source, TextSourceConfig):
        return Problem(f"{given}, but source.language is empty: the model would not be told",
                       "set source.language to embedding or symbol")
    return Problem(f"{given}, but source.kind is {config.source.kind}, which reads no language", "leave it out")


def _corpora(config: Config) -> Iterator[tuple[str, CorpusConfig]]:
    for side, listed in (("train", config.data.train), ("valid", config.data.valid)):
        for number, corpus in enumerate(listed):
            yield f"data.{side}.{number}", corpus


LANGUAGE_CHECKS: tuple[Callable[[Config], Problems], ...] = (languages, language_of_tags)
