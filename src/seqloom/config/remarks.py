"""Options that are hardly meant: above all those that have no effect beside another. Told in notes, not refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from seqloom.config.keys import keys
from seqloom.config.problems import show
from seqloom.config.sections import Config


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
                                      "dropout", "residual")), "decoder.context", lambda value: value != "in_step"),
        Idle(_within(attention, "score_layers", "hidden_size"), f"{attention}.score", _one_of("concat")),
        Idle((f"{attention}.coverage_loss",), f"{attention}.coverage", bool),
        Idle(("source.tokenizer.split",), "source.tokenizer.kind", _one_of("word")),
        Idle(("head.tokenizer.split",), "head.tokenizer.kind", _one_of("word")),
        Idle(("training.betas",), "training.optimizer", _one_of("adam", "adamw")),
        Idle(("training.momentum",), "training.optimizer", _one_of("sgd")),
        Idle(_within("training.schedule", "factor", "patience"), "training.schedule.kind", _one_of("plateau")),
        Idle((f"{forcing}.slope",), f"{forcing}.decay", _one_of("linear")),
        Idle((f"{forcing}.k",), f"{forcing}.decay", _one_of("exponential", "inverse_sigmoid")),
        Idle((f"{forcing}.min_ratio",), f"{forcing}.decay", lambda value: value != "none"),
        Idle(("training.average_decay",), "training.average", _one_of("ema")),
        Idle(("training.average_count",), "training.average", _one_of("last")),
        Idle(_within("decoding", "temperature", "top_k", "top_p", "seed"), "decoding.strategy",
             lambda value: value not in ("auto", "beam", "greedy")),
    ]


def value_at(config: Config, path: str) -> Any:
    """The value of a key; None where a section on the way is empty."""
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def remarks(config: Config) -> list[str]:
    """One sentence for each group of options that differ from their defaults in vain, and for a schedule that sinks."""
    told = []
    for idle in idle_options():
        reason = value_at(config, idle.because)
        if idle.used(reason):
            continue
        changed = [key for key in idle.keys if value_at(config, key) != keys()[key].default]
        if changed:
            have = "have" if len(changed) > 1 else "has"
            told.append(f"{', '.join(changed)} {have} no effect, because {idle.because} is {show(reason)}")
    schedule = config.training.schedule
    if schedule.kind == "inverse_square_root" and schedule.warmup_steps == 0:
        told.append("training.schedule.kind is inverse_square_root and warmup_steps is 0: the learning rate falls from "
                    "the first update; 1000 is a usual number")
    return told
