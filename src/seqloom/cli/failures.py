"""What ended a command → what the user reads, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

import typer

from seqloom.cli.streams import Terminated, silence_output
from seqloom.errors import Interrupted, SeqloomError, UsageError

# Typer carries its own copy of click in some versions; what it exports leads to the right class in all of them.
CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad allocation")


class Outcome(NamedTuple):
    """How a command ended: text for standard error ("" for silence), exit code."""

    message: str
    code: int


def outcome_of(error: BaseException, verb: str = "") -> Outcome:
    """The outcome that an exception stands for, in a command with this verb."""
    if isinstance(error, CLICK_ERROR):
        error = translated(error, verb)
    match error:
        case SystemExit(code=code):
            return Outcome("" if code is None or isinstance(code, int) else str(code),
                           code if isinstance(code, int) else 0 if code is None else 1)
        case typer.Exit():
            return Outcome("", error.exit_code)
        case Interrupted():
            return Outcome(f"interrupted: {error}", error.exit_code)
        case SeqloomError():
            return Outcome(f"error: {error}", error.exit_code)
        case KeyboardInterrupt() | typer.Abort():
            return Outcome("interrupted", 130)
        case Terminated():
            return Outcome("terminated", 143)
        case BrokenPipeError():  # the reader has gone (| head): there is nobody to tell
            silence_output()
            return Outcome("", 0)
        case MemoryError():
            return _no_memory()
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            return Outcome(f"error: {error.strerror or error}{where}\n"
                           "  fix: see that the disk is not full and that the files are still there", 1)
        case RuntimeError() if any(words in str(error).lower() for words in OUT_OF_MEMORY):
            return _no_memory()
    kind, text = type(error).__name__, str(error).strip()
    return Outcome(f"error: {kind}: {text}\n  fix: this is a fault of seqloom; please report it with what the same "
                   "command says with --debug", 1)


def _no_memory() -> Outcome:
    return Outcome("error: out of memory\n  fix: lower training.batch_size, decoding.batch_tokens or "
                   "decoding.beam_size, or the lengths allowed in data", 1)


# --- click's words in ours -------------------------------------------------------------------------------------------


def translated(error: Any, verb: str) -> SeqloomError:
    """An error of click in the words of this program: what was given, what was expected, how to fix it."""
    context = getattr(error, "ctx", None)
    name = getattr(error, "option_name", None)
    if name is not None and type(error).__name__ == "NoSuchOption":
        return unknown_option(name, context)
    parameter = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and parameter is not None:
        shown = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
        return UsageError(f"{shown.rstrip('…')} is missing", fix=usage_of(context))
    message = str(error.format_message()).strip().rstrip(".")
    return UsageError(f"{message[:1].lower()}{message[1:]}",
                      fix=usage_of(context) if context is not None else f"see {' '.join(['seqloom', verb])} --help")


def usage_of(context: Any) -> str:
    """One line: how the command is written, and where to read more."""
    line = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
    return f"{line} (see {context.command_path} --help)"


def unknown_option(name: str, context: Any) -> UsageError:
    """The error of an option that a verb lacks, with what it may have been meant to be."""
    options = {option for parameter in context.command.params if parameter.param_type_name == "option"
               for option in parameter.opts}
    known = sorted({*options, "--help", "--debug"})
    near = get_close_matches(name, known, 1, 0.7)
    fix = f"did you mean {near[0]}?" if near else f"see {context.command_path} --help"
    if not near and "--set" in options:
        only = "" if context.info_name in ("train", "finetune", "doctor") else "decoding."
        paths = [path for path in config_keys(name.lstrip("-").replace("-", "_")) if path.startswith(only)]
        if paths:
            fix = f"write it as --set {paths[0]}=VALUE"
    return UsageError(f"unknown option '{name}'", fix=fix)


def config_keys(name: str) -> Iterable[str]:
    """Keys of the configuration that go by this name, in ours or in another toolkit's words."""
    from seqloom.config.aliases import ALIASES
    from seqloom.config.keys import keys

    own = [path for path in keys() if path.rpartition(".")[2] == name]
    return own or (ALIASES[name].keys if name in ALIASES else ())
