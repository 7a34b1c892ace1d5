"""What is wrong with a configuration, collected so that one run reports all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from seqloom.errors import ConfigError

SHOWN_CHARACTERS = 60


class Problem(NamedTuple):
    """One thing that is wrong: what was given and expected, how to fix it, and where it stands."""

    message: str
    fix: str = ""
    where: str = ""


Problems = Iterator[Problem]


def show(value: Any) -> str:
    """A value as a message quotes it: one line, at most 60 characters or so."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        written = repr(value)
    written = f"'{value}'" if isinstance(value, str) else written
    written = "nothing" if value is None else " ".join(written.split())
    return written if len(written) <= SHOWN_CHARACTERS else written[:SHOWN_CHARACTERS] + "…"


def refusal(problems: Sequence[Problem], subject: str = "the configuration") -> ConfigError:
    """One ConfigError that tells all problems, each once."""
    first, *others = dict.fromkeys(problems)
    if not others:
        return ConfigError(first.message, fix=first.fix, where=first.where)
    told = [str(ConfigError(problem.message, fix=problem.fix, where=problem.where)) for problem in (first, *others)]
    return ConfigError(f"{len(told)} things are wrong with {subject}\n" + "\n".join(told))


def refuse(problems: Sequence[Problem], subject: str = "the configuration") -> None:
    """Raise what `refusal` makes of the problems; none, and nothing happens."""
    if problems:
        raise refusal(problems, subject)
