"""An output file of `predict` that is not whole yet: what it belongs to, how far it goes, and going on from there.

Beside OUT stands OUT.resume.json while OUT is being written: the runs' weights, the options and the input that its
lines answer, so that other answers never get into the same file. It goes when OUT is whole.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqloom.data.storage import read_json, write_json
from seqloom.errors import RunFolderError, UsageError

SIDECAR = ".resume.json"
SIDECAR_VERSION = 1
BLOCK = 1 << 20


@dataclass(frozen=True)
class Part:
    """output: the file; answered: inputs whose lines are whole in it; size: their bytes."""

    output: Path
    answered: int = 0
    size: int = 0

    @property
    def sidecar(self) -> Path:
        """The file beside it."""
        return self.output.with_name(self.output.name + SIDECAR)

    def finish(self) -> None:
        """The output is whole."""
        self.sidecar.unlink(missing_ok=True)


@dataclass(frozen=True)
class Survey:
    """A file of inputs: its line ends, its bytes, their checksum."""

    lines: int
    size: int
    sha256: str


def survey(path: Path) -> Survey:
    """Read a file once from end to end."""
    lines, size, digest = 0, 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            lines, size = lines + block.count(b"\n"), size + len(block)
            digest.update(block)
    return Survey(lines, size, digest.hexdigest())


def begin_part(output: Path, identity: Mapping[str, Any], *, resume: bool, format_name: str) -> Part:
    """Note whose answers `output` is going to hold, and with `resume` how many it holds already.

    Raises UsageError when what is there belongs to other runs, options or inputs, or cannot be told.
    """
    part = Part(output)
    if resume and output.exists():
        _check_same(part, identity)
        part = whole_part(output, format_name)
    write_json(part.sidecar, {"format_version": SIDECAR_VERSION, **identity})
    return part


def _check_same(part: Part, identity: Mapping[str, Any]) -> None:
    anew = "leave --resume out to write it anew, or give -o another name"
    if not part.sidecar.is_file():
        raise UsageError(f"{part.output} cannot be gone on with: there is no {part.sidecar.name} beside it, so it is "
                         "whole already, or not of `predict`", fix=anew)
    try:
        stored = read_json(part.sidecar, "format_version")
    except RunFolderError as error:
        raise UsageError(error.message, where=error.where, fix=anew) from None
    wanted = {"format_version": SIDECAR_VERSION, **identity}
    other = [name for name in wanted if stored.get(name) != wanted[name]]
    if other:
        raise UsageError(f"{part.output} was begun with {' and '.join(_difference(stored, wanted, other))}",
                         fix=f"give the same as then, or {anew}")


def _difference(stored: Mapping[str, Any], wanted: Mapping[str, Any], names: list[str]) -> list[str]:
    """What is not as it was, in words; values only where they are short."""
    found = []
    for name in names:
        was, now = stored.get(name), wanted[name]
        if isinstance(was, dict) and isinstance(now, dict):
            found += [f"{key} {was.get(key)!r} (now {now.get(key)!r})" for key in now if was.get(key) != now[key]]
        elif name in ("input", "runs", "format_version"):
            words = {"input": "other inputs", "runs": "other weights", "format_version": "another version of seqloom"}
            found.append(words[name])
        else:
            found.append(f"{name} {was!r} (now {now!r})")
    return found


def whole_part(output: Path, format_name: str) -> Part:
    """How many inputs have all their lines in an output file that may end in the middle of one.

    Of tsv the last input is answered again: whether all of its lines are there cannot be seen. Raises UsageError.
    """
    answered = size = offset = 0
    with output.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            if format_name == "tsv":
                number = line.partition(b"\t")[0]
                if number != b"%d" % (answered + 1) and (not answered or number != b"%d" % answered):
                    raise UsageError(f"the line is of input {ascii(number[:20])[1:]}, expected {answered + 1}",
                                     where=f"{output}, byte {offset + 1}", fix="leave --resume out to write it anew")
                if number != b"%d" % answered:
                    answered, size = answered + 1, offset
            else:
                answered, size = answered + 1, offset + len(line)
            offset += len(line)
    return Part(output, answered - (format_name == "tsv" and answered > 0), size)


def how_to_go_on(part: Part, answered: int) -> str:
    """What an interrupted user may do."""
    return (f"{answered:,} inputs are answered in {shlex.quote(str(part.output))}; to go on from there, add --resume "
            "to the same command")
