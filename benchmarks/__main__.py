"""Command line: python -m benchmarks [training|prediction|scale] [--peers all|plain|none|name,…] [--quick]"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import prediction, rivals, scale, training
from benchmarks.rows import RESULTS, cores, table, write_rows
from benchmarks.settings import QUICK, Settings, versions
from benchmarks.work import SHAPES

SUITES = {"training": training.run, "prediction": prediction.run, "scale": scale.run}


def main(arguments: list[str] | None = None) -> int:
    """Run suites, write their rows, print their tables. Exit status 1 where ours could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Timings of seqloom beside its rivals.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(SUITES)}; all without one")
    parser.add_argument("--peers", default="all",
                        help=f"all, none, or some of plain, {', '.join(rivals.RIVALS)}, with commas (default: all)")
    parser.add_argument("--works", default=",".join(SHAPES), help="W, C or both (default: W,C)")
    parser.add_argument("--engines", help=f"ours that predict, with commas: {', '.join(prediction.ENGINES)}")
    parser.add_argument("--manners", help="of prediction, sentences in a batch × beam size: 64x1,64x5,1x1,1x5")
    parser.add_argument("--rounds", type=int, help="windows of each entrant (default: 5)")
    parser.add_argument("--seconds", type=float, help="length of a training window (default: 10)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, seconds in all: the figures mean nothing")
    parser.add_argument("--out", type=Path, help=f"folder for the results (default: {RESULTS.parent.name}/results)")
    given = parser.parse_args(arguments)
    try:
        settings = settings_of(given)
    except ValueError as error:
        parser.error(str(error))
    if given.quick and given.out is None:
        parser.error("--quick measures nothing, so its rows do not go where results are: give --out FOLDER")
    failed = False
    for name in given.suites or SUITES:
        started = time.monotonic()
        rows = SUITES[name](settings, say)
        write_rows(rows, (given.out or RESULTS) / f"{name}.json")
        print(table(rows), flush=True)
        say(f"{name}: {(time.monotonic() - started) / 60:.0f} minutes")
        failed = failed or any(row.ours is None for row in rows)
    return int(failed)


def settings_of(given: argparse.Namespace) -> Settings:
    """The settings that the command line asks for. Raises ValueError saying what is unknown."""
    unknown = [name for name in given.suites if name not in SUITES]
    if unknown:
        raise ValueError(f"unknown suite '{unknown[0]}': give {', '.join(SUITES)}")
    works = tuple(given.works.split(","))
    if not set(works) <= set(SHAPES):
        raise ValueError(f"unknown works '{given.works}': give {', '.join(SHAPES)}")
    engines = tuple(given.engines.split(",")) if given.engines else Settings.engines
    if not set(engines) <= set(prediction.ENGINES):
        raise ValueError(f"unknown engines '{given.engines}': give some of {', '.join(prediction.ENGINES)}")
    changes: dict[str, Any] = {"manners": manners_of(given.manners)} if given.manners else {}
    changes |= {name: getattr(given, name) for name in ("rounds", "seconds") if getattr(given, name) is not None}
    return Settings(**{**(QUICK if given.quick else {}), **changes, "peers": rivals.chosen(given.peers),
                       "works": works, "engines": engines})


def manners_of(text: str) -> tuple[tuple[int, int], ...]:
    """Manners of prediction from a command line: 64x5 is beams of 5 in batches of 64. Raises ValueError."""
    found = [re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", part) for part in text.split(",")]
    if not all(found):
        raise ValueError(f"unknown manners '{text}': give sentences in a batch × beam size, such as 64x1,1x5")
    return tuple((int(match[1]), int(match[2])) for match in found if match)


def say(line: str) -> None:
    """Progress, where the table does not go."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    say(f"{cores()} cores, {', '.join(f'{name} {version}' for name, version in versions().items())}")
    raise SystemExit(main())
