"""Options that contradict each other, refused before any data is read; and options that have no effect, told.

A check is a function from a Config to the problems it finds, listed at the foot. Sizes: the memory has
encoder.hidden_size for each direction; the output layer reads decoder.hidden_size after a tanh combination and with
context `initial`, decoder.hidden_size + memory with combination `concat` and with context `every_step`.

Not checked here, because only the data can tell: whether columns exist, whether pretrained vectors have the embedding's
size (any tokenizer may have them; their coverage is reported), whether there is training data at all. The plateau
schedule and early stopping always have validations: without data.valid a part of the training data is held out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps

from seqloom.config.attention_checks import ATTENTION_CHECKS
from seqloom.config.hard_attention_checks import hard_attention
from seqloom.config.keys import ROLES
from seqloom.config.language_checks import LANGUAGE_CHECKS
from seqloom.config.media_checks import MEDIA_CHECKS
from seqloom.config.problems import Problem, Problems, refuse, show
from seqloom.config.sections import (
    Config,
    CorpusConfig,
    DecodingConfig,
    FeaturesConfig,
    SequenceHeadConfig,
    TextSourceConfig,
    TokenizerConfig,
)
from seqloom.config.settings import SETTING_CHECKS

PATH = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+")
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
WITHOUT_NUMBERED_COLUMNS = tuple(
    f".{kind}{packed}" for kind in ("csv", "json", "jsonl", "conllu") for packed in ("", ".gz"))
TSV_COLUMNS: dict[str, int] = {"source": 1, "target": 2}  # elsewhere a header or the keys say which


def check_config(config: Config, places: Mapping[str, str] | None = None) -> None:
    """Raise a ConfigError that tells every contradiction: what was given, what was expected, how to fix it.

    places: where each key was given, by path; the message then says so for every key it names.
    """
    found = [problem for check in CHECKS for problem in check(config)]
    refuse([problem._replace(where=_places_of(problem.message, places or {})) for problem in found])


def _places_of(message: str, places: Mapping[str, str]) -> str:
    named = [places[path] for path in PATH.findall(message) if path in places]
    return ", ".join(dict.fromkeys(named))


def check_decoding(decoding: DecodingConfig, *, attention: bool = True) -> None:
    """The same for decoding options alone; `attention`: whether the model has weights over the source."""
    found = [problem for check in DECODING_CHECKS for problem in check(decoding)]
    refuse([*found, *([] if attention else needs_attention(decoding, "the model has none"))], "the decoding options")


def memory_size(config: Config) -> int:
    """Size of one position of the memory."""
    return config.source.memory_size(config.encoder)


def features_of(config: Config) -> FeaturesConfig | None:
    """The features beside a text source, where there are any."""
    return config.source.features if isinstance(config.source, TextSourceConfig) else None


def output_size(config: Config) -> int:
    """Size of what the output layer reads."""
    decoder = config.decoder
    if decoder.context == "in_step":
        return memory_size(config)
    wide = decoder.context == "every_step" or (
        decoder.context == "attention" and decoder.attention.combination == "concat")
    return decoder.hidden_size + (memory_size(config) if wide else 0)


# --- data ------------------------------------------------------------------------------------------------------------


def corpora(config: Config) -> Problems:
    """A corpus is one file, or one file for each side."""
    for name, corpus in _corpora(config):
        given = [key for key in ("path", "source", "target") if getattr(corpus, key)]
        if given not in (["path"], ["source", "target"]):
            yield Problem(f"{name}: given {' and '.join(given) or 'no file'}, expected path, or source and target",
                          "give `path` for a file with both sides, or `source` and `target` for two parallel files")


def columns(config: Config) -> Problems:
    """Roles are known, and columns count from 1."""
    named = [("data.columns", config.data.columns), *((f"{name}.columns", corpus.columns)
                                                      for name, corpus in _corpora(config))]
    for name, mapping in named:
        for role, column in (mapping or {}).items():
            if role not in ROLES:
                yield Problem(f"{name}: unknown role '{role}', expected one of: {', '.join(ROLES)}", "correct the role")
            yield from _counted(f"{name}.{role}", column)
            features = features_of(config)
            if role == "features" and (features is None or features.column != column):
                given = "is not set" if features is None else f"is {show(features.column)}"
                yield Problem(f"{name}.features is {show(column)}, but source.features.column {given}",
                              f"set source.features.column to {show(column)}, and leave it out of {name}")
    options = features_of(config)
    if options is not None:
        yield from _counted("source.features.column", options.column)


def features(config: Config) -> Problems:
    """Features need a column of their own."""
    options = features_of(config)
    if options is None:
        return
    for name, corpus in list(_corpora(config)) or [("the data", CorpusConfig(path="pairs.tsv"))]:
        if corpus.path is None:
            yield Problem(f"source.features needs a column, but {name} is two parallel text files",
                          "put source, features and target into one .tsv file")
            continue
        given = {**(config.data.columns or {}), **(corpus.columns or {})}
        numbered = not corpus.path.lower().endswith(WITHOUT_NUMBERED_COLUMNS)
        for role, default in TSV_COLUMNS.items():
            taken = given.get(role, default if numbered else None)
            if taken == options.column:
                said = "" if role in given else " (the default)"
                yield Problem(f"source.features.column is {show(options.column)}, which is the {role}'s column{said} "
                              f"of {name}", "say which column is which, as in data.columns: {source: 1, target: 3} "
                              "and source.features.column: 2")


def _corpora(config: Config) -> Iterator[tuple[str, CorpusConfig]]:
    for side, listed in (("train", config.data.train), ("valid", config.data.valid)):
        for number, corpus in enumerate(listed):
            yield f"data.{side}.{number}", corpus


def _counted(name: str, column: int | str) -> Problems:
    if isinstance(column, int) and column < 1:
        yield Problem(f"{name}: given {column}, expected a number from 1, or a name in the header",
                      "count columns from 1")


# --- network ---------------------------------------------------------------------------------------------------------


def of_sequences(check: Callable[[Config], Problems]) -> Callable[[Config], Problems]:
    """The check, where there is a decoder that reads a memory."""

    @wraps(check)
    def checked(config: Config) -> Problems:
        if isinstance(config.head, SequenceHeadConfig):
            yield from check(config)

    return checked


@of_sequences
def bridge(config: Config) -> Problems:
    """A copied state fits as it is: the same size, the same layers, the same kind of state."""
    if config.bridge.kind != "copy" or config.decoder.context == "in_step":
        return
    encoder, decoder = config.encoder, config.decoder
    fix = "set bridge.kind to affine, or make both sides equal"
    if memory_size(config) != decoder.hidden_size:
        directions = " in each of two directions" if encoder.bidirectional else ""
        yield Problem(f"bridge.kind is copy, but encoder.hidden_size is {encoder.hidden_size}{directions} "
                      f"({memory_size(config)} together) and decoder.hidden_size is {decoder.hidden_size}, "
                      f"expected equal sizes", fix)
    if encoder.layers != decoder.layers:
        yield Problem(f"bridge.kind is copy, but encoder.layers is {encoder.layers} and decoder.layers is "
                      f"{decoder.layers}, expected as many layers on both sides", fix)
    if encoder.cell != decoder.cell and "lstm" in (encoder.cell, decoder.cell):
        yield Problem(f"bridge.kind is copy, but encoder.cell is {encoder.cell} and decoder.cell is {decoder.cell}: "
                      f"only one of them has a cell state to copy", fix)


@of_sequences
def unreached(config: Config) -> Problems:
    """Something of the source must reach the decoder."""
    if config.decoder.context == "initial" and config.bridge.kind == "zero" and not config.decoder.first_input:
        yield Problem("decoder.context is initial and bridge.kind is zero: nothing of the source reaches the decoder",
                      "set bridge.kind to affine, or decoder.context to attention or every_step")
    options = features_of(config)
    apart = options is not None and options.mode == "encoder"
    if config.decoder.context == "in_step" and apart:
        yield Problem("decoder.context is in_step and source.features.mode is encoder: features stand behind the text, "
                      "where no step reads them", "set source.features.mode to embedding")


@of_sequences
def dot_scores(config: Config) -> Problems:
    """A dot product needs two vectors of the same size."""
    decoder = config.decoder
    if (decoder.context == "attention" and decoder.attention.score in ("dot", "scaled_dot")
            and decoder.hidden_size != memory_size(config)):
        yield Problem(f"decoder.attention.score is {decoder.attention.score}, but the query has decoder.hidden_size "
                      f"{decoder.hidden_size} and the memory {memory_size(config)} (encoder.hidden_size times "
                      f"directions), expected equal sizes",
                      "set decoder.attention.score to general, or make the sizes equal")


@of_sequences
def attention_options(config: Config) -> Problems:
    """What only attention can do is not asked of another context."""
    context = config.decoder.context
    if context == "attention":
        return
    asked = [("decoder.copy_source", config.decoder.copy_source),
             ("decoder.attention.coverage", config.decoder.attention.coverage)]
    for key, given in asked:
        if given:
            yield Problem(f"{key} is true, but decoder.context is {context}: it needs attention",
                          f"set decoder.context to attention, or {key} to false")
    if context != "in_step":  # the baseline in step reads one source position per answer: those are its weights
        yield from needs_attention(config.decoding, f"decoder.context is {context}")


def needs_attention(decoding: DecodingConfig, found: str) -> Problems:
    """Decoding options that read attention weights."""
    if decoding.replace_unknown:
        yield Problem(f"decoding.replace_unknown is true, but {found}: it needs attention weights",
                      "set decoding.replace_unknown to false")
    if decoding.coverage_penalty > 0:
        yield Problem(f"decoding.coverage_penalty is {decoding.coverage_penalty}, but {found}: it needs attention "
                      f"weights", "set decoding.coverage_penalty to 0")


@of_sequences
def in_step(config: Config) -> Problems:
    """The baseline in step is one RNN that has read no further than the position it answers."""
    if config.decoder.context != "in_step":
        return
    if config.encoder.bidirectional:
        yield Problem("decoder.context is in_step, but encoder.bidirectional is true: position t would be answered "
                      "with what follows it", "set encoder.bidirectional to false")
    if config.decoder.layers != 1:
        yield Problem(f"decoder.context is in_step, but decoder.layers is {config.decoder.layers}: there is no decoder",
                      "set encoder.layers instead, and decoder.layers to 1")
    if config.decoder.first_input:
        yield Problem("decoder.first_input is true, but decoder.context is in_step: there is no decoder",
                      "set decoder.first_input to false")


def ties(config: Config) -> Problems:
    """Shared matrices have the same shape, and are trained."""
    head, decoder = config.head, config.decoder
    if not isinstance(head, SequenceHeadConfig) or head.tie_embeddings == "none":
        return
    name = f"head.tie_embeddings is {head.tie_embeddings}"
    if decoder.context == "in_step":
        yield Problem(f"{name}, but decoder.context is in_step, which has no target embeddings",
                      "set head.tie_embeddings to none")
    elif decoder.embedding_size != output_size(config):
        narrow = "" if output_size(config) == decoder.hidden_size else \
            " (decoder.hidden_size and the memory side by side; decoder.attention.combination: tanh would keep " \
            "decoder.hidden_size)"
        yield Problem(f"{name}, but decoder.embedding_size is {decoder.embedding_size} and the output layer reads "
                      f"{output_size(config)}{narrow}, expected equal sizes",
                      f"set decoder.embedding_size{' and source.embedding_size' * (head.tie_embeddings == 'all')} to "
                      f"{output_size(config)}, or head.tie_embeddings to none")
    tied = [("head.pretrained", head.pretrained)]
    if head.tie_embeddings == "all":
        if not isinstance(config.source, TextSourceConfig):
            yield Problem(f"{name}, but source.kind is {config.source.kind}, which has no embeddings",
                          "set head.tie_embeddings to output")
            return
        yield from _three_way(config, config.source, head, name)
        tied.append(("source.pretrained", config.source.pretrained))
    for key, vectors in tied:
        if vectors is not None and vectors.freeze:
            yield Problem(f"{name}, but {key}.freeze is true: the output layer would never learn",
                          f"set {key}.freeze to false, or head.tie_embeddings to none")


def _three_way(config: Config, source: TextSourceConfig, head: SequenceHeadConfig, name: str) -> Problems:
    if not head.share_vocabulary:
        yield Problem(f"{name}, but head.share_vocabulary is false: the two sides have different symbols",
                      "set head.share_vocabulary to true, or head.tie_embeddings to output")
    if source.embedding_size != config.decoder.embedding_size:
        yield Problem(f"{name}, but source.embedding_size is {source.embedding_size} and decoder.embedding_size "
                      f"is {config.decoder.embedding_size}, expected equal sizes", "make them equal")
    if source.features is not None and source.features.mode != "encoder":
        yield Problem(f"{name}, but source.features are symbols of the source only",
                      "set head.tie_embeddings to output")
    vectors = [side.pretrained.path for side in (source, head) if side.pretrained is not None]
    if len(set(vectors)) > 1:
        yield Problem(f"{name}, but source.pretrained.path is {vectors[0]} and head.pretrained.path is {vectors[1]}: "
                      f"there is one matrix only", "give the same vectors for both, or for one side only")


def shared_vocabulary(config: Config) -> Problems:
    """One tokenizer for both sides: the source's own settings would not count."""
    if not isinstance(config.head, SequenceHeadConfig) or not config.head.share_vocabulary:
        return
    if not isinstance(config.source, TextSourceConfig):
        yield Problem(f"head.share_vocabulary is true, but source.kind is {config.source.kind}, which has no symbols",
                      "set head.share_vocabulary to false")
        return
    source, target = config.source.tokenizer, config.head.tokenizer
    if source not in (target, TokenizerConfig()):
        pairs = {name: (getattr(source, name), getattr(target, name)) for name in TokenizerConfig.model_fields}
        differing = ", ".join(f"{name} ({show(ours)} and {show(theirs)})"
                              for name, (ours, theirs) in pairs.items() if ours != theirs)
        yield Problem(f"head.share_vocabulary is true, but source.tokenizer and head.tokenizer differ in {differing}",
                      "leave source.tokenizer out (the target's settings count), make them equal, or set "
                      "head.share_vocabulary to false"
                      + (" and head.tie_embeddings to output" if config.head.tie_embeddings == "all" else ""))


# --- training --------------------------------------------------------------------------------------------------------


def teacher_forcing(config: Config) -> Problems:
    """The range of k depends on the decay (Bengio et al. 2015, §2.4)."""
    options = config.training.teacher_forcing
    if options.decay == "exponential" and options.k >= 1:
        yield Problem(f"training.teacher_forcing.k is {options.k:g}, expected k < 1 for decay exponential (ratio·k^i)",
                      "set k to 0.9999, for example")
    if options.decay == "inverse_sigmoid" and options.k < 1:
        yield Problem(f"training.teacher_forcing.k is {options.k:g}, expected k ≥ 1 for decay inverse_sigmoid "
                      f"(ratio·k/(k + exp(i/k)))",
                      "set k to 2000, for example: half the share is gone at update k·ln k")
    if options.min_ratio > options.ratio:
        yield Problem(f"training.teacher_forcing.min_ratio is {options.min_ratio} and ratio {options.ratio}, expected "
                      f"min_ratio at most ratio", "lower min_ratio")


def device(config: Config) -> Problems:
    """The device is one that can be named."""
    if not DEVICES.fullmatch(config.training.device):
        yield Problem(f"training.device: given '{config.training.device}', expected auto, cpu, cuda, cuda:1 or mps",
                      "set training.device to auto: it takes a GPU where there is one")


# --- decoding --------------------------------------------------------------------------------------------------------


def answers(decoding: DecodingConfig) -> Problems:
    """A search cannot give more answers than it keeps."""
    strategy = "beam" if decoding.strategy == "auto" else decoding.strategy
    if decoding.n_best > 1 and strategy == "greedy":
        yield Problem(f"decoding.n_best is {decoding.n_best}, but decoding.strategy is greedy, which finds one answer",
                      "set decoding.strategy to beam and decoding.beam_size to at least n_best")
    elif decoding.n_best > decoding.beam_size and strategy == "beam":
        yield Problem(f"decoding.n_best is {decoding.n_best}, but decoding.beam_size is {decoding.beam_size}, expected "
                      f"n_best at most beam_size", f"set decoding.beam_size to {decoding.n_best}")


def lengths(decoding: DecodingConfig) -> Problems:
    """The shortest answer is not longer than the longest; equal, every answer is cut there, without an end."""
    if decoding.min_length > decoding.max_length:
        yield Problem(f"decoding.min_length is {decoding.min_length} and decoding.max_length {decoding.max_length}, "
                      f"expected min_length at most max_length",
                      "lower min_length or raise max_length")


def decoding_defaults(config: Config) -> Problems:
    """The decoding section's own contradictions."""
    for check in DECODING_CHECKS:
        yield from check(config.decoding)


DECODING_CHECKS: tuple[Callable[[DecodingConfig], Problems], ...] = (answers, lengths)

CHECKS: tuple[Callable[[Config], Problems], ...] = (
    *SETTING_CHECKS, *MEDIA_CHECKS, *LANGUAGE_CHECKS, corpora, columns, features, bridge, unreached, dot_scores,
    attention_options, *ATTENTION_CHECKS, hard_attention, in_step, ties, shared_vocabulary, teacher_forcing, device,
    decoding_defaults,
)
