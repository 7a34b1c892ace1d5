"""Options that several verbs share, each written once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from seqloom.errors import UsageError

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Run folder that `seqloom train` wrote.")]
Out = Annotated[str | None, typer.Option("--out", help="Run folder to write; runs/<preset>-<n> when not given.")]
Preset = Annotated[str | None, typer.Option("--preset", "-p", help="Recipe to start from; see `seqloom presets`.")]
ConfigFile = Annotated[str | None, typer.Option("--config", "-c", help="YAML configuration.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One option of the configuration, "
                                                                                  "such as training.epochs=20.")]
Valid = Annotated[list[str] | None, typer.Option("--valid", help="Validation file; may be given several times.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing run folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
Output = Annotated[str | None, typer.Option("--output", "-o", help="File to write; standard output when not given.")]
Engine = Annotated[str, typer.Option("--engine", help="auto or torch.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
BeamSize = Annotated[int | None, typer.Option("--beam-size", "-b", help="Hypotheses kept; 1 is greedy.")]
Ensemble = Annotated[list[str] | None, typer.Option("--with", metavar="RUN", help="A further run: decode with the "
                                                                                  "average of all.")]


def decoding_options(set_options: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Decoding options from --set KEY=VALUE (with or without `decoding.`) and flags; a flag wins."""
    from seqloom.config.loading import override_value

    found: dict[str, Any] = {}
    for text in set_options or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"given --set {text}, expected KEY=VALUE", fix="for example --set length_penalty=0.6")
        name = key.strip().removeprefix("decoding.")
        found[name] = override_value(f"decoding.{name}", value.strip(), f"--set {text}")
    return {**found, **{name: value for name, value in flags.items() if value is not None}}


def warn(line: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"{line}\n")


@contextmanager
def open_output(path: str | None) -> Iterator[IO[str]]:
    """A text stream to a file or to standard output: UTF-8, \\n, whatever the terminal's locale is."""
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", errors="strict", newline="\n")
        yield sys.stdout
        return
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("w", encoding="utf-8", newline="\n") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}",
                         fix="choose a folder you may write to, on a disk with free space") from None
