"""Which rivals there are. Each entry is a module of `peers/` with NAME, VERSION, `environment()` and `supports()`;
REMARK, where it has one, stands in its rows; each of VARIANTS, where it has some, is an entrant of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from benchmarks.contest import Entrant
from benchmarks.environments import InstallError, installed
from benchmarks.peers import ctranslate2, eole, joeynmt, opennmt, yoyodyne

RIVALS: dict[str, ModuleType] = {
    "opennmt": opennmt,
    "eole": eole,
    "joeynmt": joeynmt,
    "yoyodyne": yoyodyne,
    "ctranslate2": ctranslate2,
}


def chosen(text: str) -> tuple[str, ...]:
    """Names from a command line: all, plain, or some of plain and the rivals. Raises ValueError."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if names == ("all",):
        return ("plain", *RIVALS)
    unknown = [name for name in names if name not in ("plain", "none", *RIVALS)]
    if unknown or not names:
        raise ValueError(f"unknown peers '{text}': give all, none, or some of plain, {', '.join(RIVALS)}")
    return tuple(name for name in names if name != "none")


# An entrant that is ready to be started, or (name, version, why it cannot be).
Found = Entrant | tuple[str, str, str]


def entrants(name: str, task: Mapping[str, Any], torch: str, say: Callable[[str], None]) -> list[Found]:
    """What goes by this name on the command line; nothing where the rival cannot do this kind of work at all."""
    if name == "plain":
        return list(plain_entrants(task, torch))
    rival = RIVALS[name]
    if not rival.supports(task):
        return []
    environment = rival.environment()
    say(f"  {rival.NAME} {rival.VERSION}: its environment")
    try:
        python = installed(environment)
    except InstallError as error:
        return [(rival.NAME, rival.VERSION, f"it could not be installed: {error}")]
    remark, variants = getattr(rival, "REMARK", ""), getattr(rival, "VARIANTS", ())
    if variants:
        return [Entrant(f"{rival.NAME} {variant}", rival.VERSION, rival.__name__, {**task, "variant": variant}, python,
                        environment.variables, remark) for variant in variants]
    return [Entrant(rival.NAME, rival.VERSION, rival.__name__, task, python, environment.variables, remark)]


def plain_entrants(task: Mapping[str, Any], torch: str) -> list[Entrant]:
    """The two plain loops; decoding does not differ between them, so there it is one."""
    styles = {"bucketed": "plain loop"}
    if task["kind"] == "training":
        styles = {"tutorial": "plain loop, tutorial", "bucketed": "plain loop, bucketed"}
    return [Entrant(name, f"torch {torch}", "benchmarks.peers.plain", {**task, "style": style}, sys.executable)
            for style, name in styles.items()]
