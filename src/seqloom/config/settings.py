"""Which source goes with which head, and what a setting of them rules out."""

from __future__ import annotations

from collections.abc import Callable

from seqloom.config.head_sections import SETTINGS
from seqloom.config.problems import Problem, Problems
from seqloom.config.sections import (
    Config,
    LanguageHeadConfig,
    SequenceHeadConfig,
    TagsHeadConfig,
    TeacherForcingConfig,
    TextSourceConfig,
)

SCORES_OF_TEXT = ("exact_match", "bleu", "chrf", "ter", "wer", "cer", "rouge_l", "loss")
METRICS_OF: dict[str, tuple[str, ...]] = {
    "sequence": SCORES_OF_TEXT,
    "label": ("accuracy", "macro_f1", "loss"),
    "tags": ("accuracy", "span_f1", "exact_match", "loss"),
    "language": ("loss",),
}


def setting(config: Config) -> Problems:
    """Only listed pairs of source and head exist."""
    source, head = config.source.kind, config.head.kind
    if head in SETTINGS[source]:
        return
    others = [kind for kind, heads in SETTINGS.items() if head in heads]
    yield Problem(f"source.kind is {source} and head.kind is {head}, which do not go together: {source} goes with "
                  f"{', '.join(SETTINGS[source])}",
                  f"set source.kind to {' or '.join(others)}, or head.kind to {' or '.join(SETTINGS[source])}")


def metric(config: Config) -> Problems:
    """The metric that decides is one of this head."""
    known = METRICS_OF[config.head.kind]
    if config.training.metric not in ("auto", *known):
        yield Problem(f"training.metric is {config.training.metric}, but head.kind is {config.head.kind}, expected "
                      f"auto, {', '.join(known)}", "set training.metric to auto")


def tags(config: Config) -> Problems:
    """Tag t belongs to symbol t of the input."""
    if not isinstance(config.head, TagsHeadConfig) or not isinstance(config.source, TextSourceConfig):
        return
    source = config.source
    if source.features is not None and source.features.mode != "embedding":
        yield Problem("head.kind is tags and source.features is given: features are no steps that could have a tag",
                      "set source.features.mode to embedding, or leave source.features out")
    if source.reverse:
        yield Problem("head.kind is tags and source.reverse is true: tag t would stand beside the wrong symbol",
                      "set source.reverse to false")


def history(config: Config) -> Problems:
    """Teacher forcing is about a history of the answer's own tokens."""
    if not isinstance(config.head, SequenceHeadConfig) and config.training.teacher_forcing != TeacherForcingConfig():
        yield Problem(f"training.teacher_forcing is given, but head.kind is {config.head.kind}, which does not go on "
                      "from answers of its own", "leave training.teacher_forcing out")


def objective(config: Config) -> Problems:
    """A risk is about answers of which there are many, each with a probability."""
    options = config.training.objective
    if options.kind != "minimum_risk":
        return
    given = "training.objective.kind is minimum_risk"
    if not isinstance(config.head, SequenceHeadConfig):
        yield Problem(f"{given}, but head.kind is {config.head.kind}: the risk is that of whole sequences, which only "
                      "head.kind sequence writes", "leave training.objective out")
        return
    if options.candidates == 1 and not options.include_target:
        yield Problem(f"{given}, training.objective.candidates is 1 and include_target false: a single candidate has "
                      "all of the probability, and nothing is learned", "set training.objective.candidates to 8")
    if config.head.normalization != "softmax":
        yield Problem(f"{given}, but head.normalization is {config.head.normalization}: candidates may have "
                      "probability 0, whose logarithm has no gradient", "set head.normalization to softmax")
    if options.likelihood_weight == 1:
        yield Problem(f"{given}, but training.objective.likelihood_weight is 1: the risk has no weight",
                      "set training.objective.likelihood_weight to 0.3, or training.objective to likelihood")


def one_text(config: Config) -> Problems:
    """A language model reads one text in its order: what is about separate examples means nothing."""
    if not isinstance(config.head, LanguageHeadConfig):
        return
    corpora = [*config.data.train, *config.data.valid]
    asked = [("data.drop_duplicates is true", config.data.drop_duplicates, "set data.drop_duplicates to false"),
             ("data.columns is given", bool(config.data.columns) or any(corpus.columns for corpus in corpora),
              "leave it out: a text has no columns"),
             ("a corpus has a weight", any(corpus.weight != 1 for corpus in corpora),
              "leave it out; name a file twice to read it twice"),
             ("a corpus has source and target", any(corpus.path is None for corpus in corpora),
              "give text files by `path`"),
             ("training.batch_type is tokens", config.training.batch_type == "tokens",
              "set training.batch_type to sentences: batch_size counts streams of head.window symbols"),
             ("decoding.replace_unknown is true", config.decoding.replace_unknown, "set it to false"),
             ("decoding.coverage_penalty is not 0", config.decoding.coverage_penalty > 0, "set it to 0"),
             ("decoding.shortlist is true", config.decoding.shortlist, "set it to false"),
             ("decoding.max_length_ratio is given", config.decoding.max_length_ratio is not None,
              "set decoding.max_length: it counts the continuation alone")]
    for given, is_given, fix in asked:
        if is_given:
            yield Problem(f"{given}, but head.kind is language, which reads one text without a source", fix)


def characters(config: Config) -> Problems:
    """Only symbols that are made of characters have any."""
    if not isinstance(config.source, TextSourceConfig) or config.source.characters is None:
        return
    head = config.head
    shared = isinstance(head, SequenceHeadConfig) and head.share_vocabulary
    kind = head.tokenizer.kind if shared else config.source.tokenizer.kind  # type: ignore[union-attr]
    if kind in ("character", "jamo", "bytes"):
        yield Problem(f"source.characters is given, but {'head' if shared else 'source'}.tokenizer.kind is {kind}: its "
                      "symbols are no longer than a character",
                      "set source.characters to null, or choose word, bpe or unigram")


def nothing_to_copy(config: Config) -> Problems:
    """Only symbols of a text can be put into an answer."""
    if not isinstance(config.head, SequenceHeadConfig) or isinstance(config.source, TextSourceConfig):
        return
    asked = [("decoder.copy_source", config.decoder.copy_source),
             ("decoding.replace_unknown", config.decoding.replace_unknown)]
    for key, given in asked:
        if given:
            yield Problem(f"{key} is true, but source.kind is {config.source.kind}, which has no symbols to copy",
                          f"set {key} to false")


def language_ties(config: Config) -> Problems:
    """A language model has one embedding, of its own."""
    head = config.head
    if not isinstance(head, LanguageHeadConfig):
        return
    if head.tie_embeddings == "all":
        yield Problem("head.tie_embeddings is all, but head.kind is language: there is no source",
                      "set head.tie_embeddings to output")
    asked = [("head.pretrained is given", head.pretrained is not None),
             (f"head.tie_embeddings is {head.tie_embeddings}", head.tie_embeddings == "output")]
    for given, is_given in asked:
        if head.one_hot and is_given:
            yield Problem(f"{given}, but head.one_hot is true: there are no embeddings",
                          "set head.one_hot to false, or leave the other out")
    decoder = config.decoder
    if head.tie_embeddings == "output" and not head.one_hot and decoder.embedding_size != decoder.hidden_size:
        yield Problem(f"head.tie_embeddings is output, but decoder.embedding_size is {decoder.embedding_size} and the "
                      f"output layer reads {decoder.hidden_size}, expected equal sizes",
                      f"set decoder.embedding_size to {decoder.hidden_size}, or head.tie_embeddings to none")


SETTING_CHECKS: tuple[Callable[[Config], Problems], ...] = (
    setting, metric, tags, history, objective, one_text, characters, nothing_to_copy, language_ties)
