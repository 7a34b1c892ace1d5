"""The program as a user meets it: in this process, where it is fast, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

CHARACTERS = ("--set", "source.tokenizer=character", "--set", "head.tokenizer=character")
TINY = (*CHARACTERS, "--set", "source.embedding_size=8", "--set", "decoder.embedding_size=8",
        "--set", "encoder.hidden_size=8", "--set", "decoder.hidden_size=16", "--set", "training.batch_size=16",
        "--set", "decoding.max_length=12", "--quiet")


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def refused(self, *words: str) -> None:
        """Bad usage, config or data: exit code 2, an error and how to fix it, no traceback, nothing else."""
        assert self.code == 2, self.err
        assert self.out == ""
        self.explained(*words)

    def explained(self, *words: str) -> None:
        """An error in the house's form."""
        assert "error: " in self.err
        assert "\n  fix: " in self.err, self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in self.err, self.err


Command = Callable[..., Done]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment with changes; None takes a name away."""
    found = {**os.environ, **changes}
    return {name: value for name, value in found.items() if value is not None}


def process(*arguments: object, stdin: bytes | None = b"", before: str = "", **options: Any) -> Done:
    """A fresh process. `before` is Python code that runs in it first."""
    code = f"{before}\nfrom seqloom.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], input=stdin, capture_output=True,
                          timeout=240, **options)
    return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))
