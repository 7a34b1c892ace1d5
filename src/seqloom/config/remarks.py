"""Options that are hardly meant: above all those that have no effect beside another. Told in notes, not refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from seqloom.config.keys import default_at, keys, value_at
from seqloom.config.problems import show
from seqloom.config.sections import Config, DecodingConfig
from seqloom.errors import ConfigError

STRATEGY = "decoding.strategy"


class Idle(NamedTuple):
    """`keys` have no effect while the value of `because` is not in use (`used` says when it is)."""

    keys: tuple[str, ...]
    because: str
    used: Callable[[Any], bool]


def _below(section: str) -> tuple[str, ...]:
    return tuple(path for path in keys() if path.startswith(f"{section}."))


def _within(section: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for name in names)


def _one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: value in values


def idle_options() -> list[Idle]:
    """Every group of options with the option it depends on."""
    forcing, attention = "training.teacher_forcing", "decoder.attention"
    return [
        Idle(_below(attention), "decoder.context", _one_of("attention")),
        Idle(("bridge.kind", *_within("decoder", "cell", "hidden_size", "embedding_size", "embedding_dropout",
                                      "dropout", "variational_dropout", "weight_dropout", "symbol_dropout",
                                      "residual")), "decoder.context", lambda value: value != "in_step"),
        Idle(("encoder.residual",), "encoder.layers", lambda layers: layers > 1),
        Idle(("decoder.residual",), "decoder.layers", lambda layers: layers > 1),
        Idle(_within(attention, "jumps"), f"{attention}.kind", _one_of("hard_monotonic")),
        Idle(_within(attention, "score_layers"), f"{attention}.score", _one_of("concat")),
        Idle(_within(attention, "hidden_size"), f"{attention}.score", _one_of("concat", "location")),
        Idle((f"{attention}.coverage_loss",), f"{attention}.coverage", bool),
        Idle(("source.tokenizer.split",), "source.tokenizer.kind", _one_of("word")),
        Idle(("head.tokenizer.split",), "head.tokenizer.kind", _one_of("word")),
        Idle(("training.betas",), "training.optimizer", _one_of("adam", "adamw")),
        Idle(("training.momentum",), "training.optimizer", _one_of("sgd")),
        Idle(_within("training.schedule", "factor", "patience"), "training.schedule.kind", _one_of("plateau")),
        Idle((f"{forcing}.slope",), f"{forcing}.decay", _one_of("linear")),
        Idle((f"{forcing}.k",), f"{forcing}.decay", _one_of("exponential", "inverse_sigmoid")),
        Idle((f"{forcing}.min_ratio",), f"{forcing}.decay", lambda value: value != "none"),
        Idle(_within("training.objective", "risk", "candidates", "candidate_search", "include_target", "sharpness",
                     "likelihood_weight"), "training.objective.kind", _one_of("minimum_risk")),
        Idle(("training.average_decay",), "training.average", _one_of("ema")),
        Idle(("training.average_count",), "training.average", _one_of("last")),
        Idle(_within("decoding", "temperature", "top_k", "top_p", "seed"), STRATEGY,
             lambda value: value not in ("auto", "beam", "greedy")),
    ]


# Parts of the configuration that only some sources and heads look at.
OPTIONAL_PARTS = ("encoder", "bridge", "decoder", "training.teacher_forcing", "training.label_smoothing",
                  "training.objective", "decoding")


def unread_keys(config: Config) -> list[str]:
    """Keys that neither the source nor the head looks at."""
    read = (*config.source.reads, *config.head.reads)
    return [key for part in OPTIONAL_PARTS for key in keys() if lies_in(key, part)
            and not any(lies_in(key, used) for used in read)]


def check_reads(config: Config, changes: Iterable[str]) -> None:
    """Raise ConfigError for decoding options that a trained run of this configuration does not look at."""
    unread = [key for name in changes if (key := f"decoding.{name}") in unread_keys(config)]
    if unread:
        raise ConfigError(f"{_without_effect(unread)}: the run answers with head.kind {config.head.kind}, which does "
                          f"not look at {'them' if unread[1:] else 'it'}", fix="leave it out")


def decoding_remarks(decoding: DecodingConfig, given: Iterable[str]) -> list[str]:
    """One sentence for each group of decoding options that are given in vain, whatever their values."""
    ranking = _within("decoding", "length_penalty", "length_penalty_kind", "coverage_penalty")
    width = Idle(("decoding.beam_size", *ranking), STRATEGY, lambda value: value not in ("greedy", "sampling"))
    single = Idle(ranking, "decoding.beam_size", lambda value: value > 1)
    told = []
    for one in (*idle_options(), width, *([single] if width.used(decoding.strategy) else [])):
        names = [key for key in one.keys if key.removeprefix("decoding.") in given]
        reason = getattr(decoding, one.because.removeprefix("decoding."), None)
        if names and one.because.startswith("decoding.") and not one.used(reason):
            told.append(f"{_without_effect(names)}, because {one.because} is {show(reason)}")
    return told


def network_parts(config: Config) -> dict[str, str]:
    """What the network is made of, for people: encoder and decoder, where the source and the head use them."""
    encoder, decoder, unread = config.encoder, config.decoder, unread_keys(config)
    found: dict[str, str] = {}
    if "encoder.hidden_size" not in unread:
        found["encoder"] = f"{encoder.layers} × {encoder.cell}, {encoder.hidden_size} units" + (
            ", both directions" if encoder.bidirectional else "")
    if "decoder.hidden_size" not in unread:
        found["decoder"] = f"{decoder.layers} × {decoder.cell}, {decoder.hidden_size} units"
        if decoder.context == "in_step":
            found["decoder"] = "none, answers in step with the encoder"
        elif "decoder.context" not in unread:
            kind = decoder.attention.normalization
            hard = "" if decoder.attention.kind == "soft" else f" {decoder.attention.kind}"
            found["decoder"] += f", attention{hard} {decoder.attention.score}" + (
                f" with {kind}" if kind != "softmax" else "") if decoder.context == "attention" else \
                f", context {decoder.context}"
    return found


def lies_in(key: str, part: str) -> bool:
    """Whether a key is this one, or in this section."""
    return key == part or key.startswith(f"{part}.")


def remarks(config: Config) -> list[str]:
    """One sentence for each group of options that differ from their defaults in vain, and for a schedule that sinks."""
    unread = unread_keys(config)
    changed = _changed(config, unread)
    told = [] if not changed else [f"{_without_effect(changed)}, because nothing of source.kind {config.source.kind} "
                                   f"and head.kind {config.head.kind} looks at {'them' if changed[1:] else 'it'}"]
    for idle in idle_options():
        reason = value_at(config, idle.because)
        changed = [] if idle.used(reason) else _changed(config, [key for key in idle.keys if key not in unread])
        if changed and idle.because not in unread:
            told.append(f"{_without_effect(changed)}, because {idle.because} is {show(reason)}")
    for part, section in (("encoder", config.encoder), ("decoder", config.decoder)):
        key = f"{part}.variational_dropout"
        if section.variational_dropout and not (section.dropout or section.embedding_dropout) and key not in unread:
            told.append(f"{_without_effect([key])}, because {part}.dropout and {part}.embedding_dropout are 0")
    held_out = _changed(config, ["data.valid_fraction", "data.valid_limit"])
    if config.data.valid and held_out:
        told.append(f"{_without_effect(held_out)}, because data.valid names validation files")
    schedule = config.training.schedule
    if schedule.kind == "inverse_square_root" and schedule.warmup_steps == 0:
        told.append("training.schedule.kind is inverse_square_root and warmup_steps is 0: the learning rate falls from "
                    "the first update; 1000 is a usual number")
    attends = "decoder.attention.kind" not in unread and config.decoder.context == "attention"
    features = getattr(config.source, "features", None)
    if attends and config.decoder.attention.kind == "hard_monotonic" and features and features.mode == "encoder":
        told.append("source.features.mode is encoder, which puts the features behind the source's symbols, and "
                    "decoder.attention.kind is hard_monotonic: an alignment that has reached them never reads a symbol "
                    "again; source.features.mode embedding adds them to every symbol")
    return told


def _changed(config: Config, names: Sequence[str]) -> list[str]:
    """Those of the keys that there are, and that differ from their default."""
    return [name for name in names if value_at(config, name) != default_at(config, name)]


def _without_effect(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'have' if len(names) > 1 else 'has'} no effect"
