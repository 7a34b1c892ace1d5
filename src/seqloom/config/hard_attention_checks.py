"""What hard attention cannot be together with: the alignment is summed over, so nothing may be read from it."""

from __future__ import annotations

from seqloom.config.problems import Problem, Problems
from seqloom.config.sections import Config, SequenceHeadConfig, TeacherForcingConfig


def hard_attention(config: Config) -> Problems:
    """The decoder's state must not depend on the alignment, and the softmax is over positions alone."""
    options = config.decoder.attention
    if not isinstance(config.head, SequenceHeadConfig) or config.decoder.context != "attention" \
            or options.kind == "soft":
        return
    asked = [
        ("decoder.attention.input_feeding is true", options.input_feeding,
         "the state would depend on the alignment", "set decoder.attention.input_feeding to false"),
        ("decoder.attention.coverage is true", options.coverage,
         "the scores would depend on the alignment", "set decoder.attention.coverage to false"),
        ("decoder.attention.score is location", options.score == "location",
         "the scores would depend on the alignment", "set decoder.attention.score to general or concat"),
        ("decoder.attention.query is previous", options.query == "previous",
         "what is asked and what is written from have to be the same state", "set decoder.attention.query to current"),
        ("decoder.attention.local_window is given", options.local_window is not None,
         "which position is read is learned, not kept near a centre", "leave decoder.attention.local_window out"),
        (f"decoder.attention.normalization is {options.normalization}", options.normalization != "softmax",
         "sums over alignments are of softmax probabilities", "set decoder.attention.normalization to softmax"),
        (f"head.normalization is {config.head.normalization}", config.head.normalization != "softmax",
         "sums over alignments are of softmax probabilities", "set head.normalization to softmax"),
        ("source.reverse is true", getattr(config.source, "reverse", False) and options.kind == "hard_monotonic",
         "it reads forwards only, and the answer would begin with the source's end", "set source.reverse to false"),
        ("training.teacher_forcing is given", config.training.teacher_forcing != TeacherForcingConfig(),
         "its loss is over alignments of the gold history", "leave training.teacher_forcing out"),
    ]
    for given, is_given, reason, fix in asked:
        if is_given:
            yield Problem(f"{given}, but decoder.attention.kind is {options.kind}: {reason}",
                          f"{fix}, or decoder.attention.kind to soft")
