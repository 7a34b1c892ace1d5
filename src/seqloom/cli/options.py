"""Options that several verbs share, each written once; and how their words become values.

Numbers that are keys of the configuration arrive as text and are checked where the configuration is, so that their
bounds are written once.
"""

from __future__ import annotations

from math import inf, nan
from typing import Annotated, Any

import typer

from seqloom.errors import UsageError
from seqloom.progress import Quiet as Silence

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Run folder that `seqloom train` wrote.")]
Out = Annotated[str | None, typer.Option("--out", metavar="RUN", help="Run folder to write; must not exist. "
                                                                      "runs/<preset>-<n> when not given.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run folder if it exists.")]
Preset = Annotated[str | None, typer.Option("--preset", "-p", metavar="NAME",
                                            help="Recipe to start from; `seqloom presets` lists them.")]
ConfigFile = Annotated[str | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration in YAML.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=(
    "One option of the configuration, as in training.batch_size=32; may be repeated."))]
SetDecoding = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=(
    "One decoding option, as in length_penalty=0.6; may be repeated."))]
Source = Annotated[list[str] | None, typer.Option("--source", metavar="FILE", help=(
    "Parallel text: the file of sources, one a line. May be repeated, as --target must be then."))]
Target = Annotated[list[str] | None, typer.Option("--target", metavar="FILE",
                                                  help="Parallel text: the file of targets, one a line.")]
Valid = Annotated[list[str] | None, typer.Option("--valid", metavar="FILE", help=(
    "Validation file; may be repeated. A part of the training data is held out when not given."))]
ValidSource = Annotated[list[str] | None, typer.Option("--valid-source", metavar="FILE",
                                                       help="Parallel text: validation sources.")]
ValidTarget = Annotated[list[str] | None, typer.Option("--valid-target", metavar="FILE",
                                                       help="Parallel text: validation targets.")]
Epochs = Annotated[str | None, typer.Option("--epochs", metavar="N", help="At most this many passes over the data.")]
Steps = Annotated[str | None, typer.Option("--max-steps", metavar="N", help="At most this many updates.")]
Minutes = Annotated[str | None, typer.Option("--max-minutes", metavar="N", help=(
    "Stop after this many minutes, as if training had ended."))]
Seed = Annotated[str | None, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
Precision = Annotated[str | None, typer.Option("--precision", metavar="NAME", help="auto, fp32 or bf16.")]
TrainingDevice = Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
Resume = Annotated[bool, typer.Option("--resume", help=(
    "Go on with the file of -o where it was interrupted: same run, options and inputs."))]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE",
                                            help="File to write; standard output when not given.")]
InputFormat = Annotated[str | None, typer.Option("--input-format", metavar="NAME", help=(
    "tsv (plain text too), csv, jsonl or conllu; told by the file's name when not given."))]
Engine = Annotated[str, typer.Option("--engine", metavar="NAME", help=(
    "What runs the model: auto, onnx, onnx-int8 or torch."))]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
Threads = Annotated[str | None, typer.Option("--threads", metavar="N", help="CPU threads; all cores when not given.")]
BeamSize = Annotated[str | None, typer.Option("--beam-size", "-b", metavar="N", help="Hypotheses kept; 1 is greedy.")]
Shortlist = Annotated[bool, typer.Option("--shortlist", help=(
    "Choose among each input's likely symbols only: faster, see seqloom export --shortlist."))]
Language = Annotated[str | None, typer.Option("--language", "-l", metavar="NAME", help=(
    "Language of all inputs, for a run that was trained on several, when no column says it."))]
Languages = Annotated[list[str] | None, typer.Option("--language", "-l", metavar="NAME", help=(
    "Language of all files, or of each in turn (repeated), for a run that was trained on several."))]
Ensemble = Annotated[list[str] | None, typer.Option("--with", metavar="RUN", help=(
    "A further run, to answer together with the first; may be repeated. Each reads in its own way, and they may know "
    "different symbols; answers are made of the first one's."))]


def whole_number(option: str, text: str | None, least: int) -> int | None:
    """The number that an option was given. Raises UsageError."""
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise UsageError(f"{option}: given '{text}', expected a whole number from {least}", fix="correct it")
    return value


def positive_number(option: str, text: str | None) -> float | None:
    """The number above 0 that an option was given. Raises UsageError."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 < value < inf:
        raise UsageError(f"{option}: given '{text}', expected a number above 0", fix="correct it")
    return value


def decoding_options(set_options: list[str] | None, **flags: Any) -> dict[str, Any]:
    """Decoding options from --set KEY=VALUE (with or without `decoding.`) and flags; a flag wins. Raises UsageError."""
    from seqloom.config.loading import override_value

    found: dict[str, Any] = {}
    for text in set_options or []:
        key, equals, value = text.partition("=")
        name = key.strip().removeprefix("decoding.")
        if not equals or not name:
            raise UsageError(f"--set {text}: expected KEY=VALUE", fix="for example --set length_penalty=0.6")
        if "." in name:
            raise UsageError(f"--set {text}: only decoding options can be set for a run that is trained",
                             fix="give one of them, as in length_penalty=0.6; docs/config.md has the list")
        found[name] = override_value(f"decoding.{name}", value.strip(), f"--set {text}")
    for name, text in flags.items():
        if text is not None:
            found[name] = override_value(f"decoding.{name}", text, f"--{name.replace('_', '-')}")
    return found


def training_options(**flags: str | None) -> dict[str, Any]:
    """Values of the section `training` from flags that were given."""
    from seqloom.config.loading import override_value

    return {name: override_value(f"training.{name}", text, f"--{name.replace('_', '-')}")
            for name, text in flags.items() if text is not None}


def pairs(sources: list[str] | None, targets: list[str] | None, first: str = "--source",
          second: str = "--target") -> list[tuple[str, str]]:
    """Parallel text files, side by side. Raises UsageError when one lacks its partner."""
    left, right = sources or [], targets or []
    if len(left) != len(right):
        raise UsageError(f"{first} is given {times(len(left))} but {second} {times(len(right))}",
                         fix=f"give {first} and {second} equally often, in the same order")
    return list(zip(left, right, strict=True))


def silence(quiet: bool) -> Silence:
    """What --quiet asks of a reporter: nothing but warnings."""
    return "warnings" if quiet else False


def times(count: int) -> str:
    """How often, in words."""
    return {0: "not at all", 1: "once", 2: "twice"}.get(count, f"{count} times")


def unicode_text(name: str, text: str) -> str:
    """The same text. Raises UsageError when the shell gave bytes that are not UTF-8."""
    if is_foreign(text):
        raise UsageError(f"{name} is not UTF-8: {text!a}", fix="set a UTF-8 locale, or give the input in a file")
    return text


def is_foreign(text: str) -> bool:
    """Whether a text holds bytes that are not UTF-8, as Python passes them on from the system."""
    return any("\udc80" <= character <= "\udcff" for character in text)
