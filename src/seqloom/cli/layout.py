"""How the program and its verbs look in --help; the words are those of the options and the docstrings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

from seqloom.errors import UsageError

WITHOUT_SHORT = "    "  # as wide as "-o, ": long names stand below each other


class Verb(TyperCommand):
    """A verb: usage, what it does, arguments, options, examples."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """RUN, [FILE], [FILE…]: brackets around what may be left out."""
        arguments = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        return ["[OPTIONS]", *(_argument(parameter) for parameter in arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Two columns: name and value, words and default."""
        shown = [parameter for parameter in self.get_params(ctx) if not getattr(parameter, "hidden", False)]
        arguments = [(str(parameter.metavar), str(getattr(parameter, "help", "") or "")) for parameter in shown
                     if parameter.param_type_name == "argument"]
        options = [_record(parameter) for parameter in shown if parameter.param_type_name == "option"]
        for title, records in (("Arguments", arguments), ("Options", options)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Commands to copy, one a line."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Program(TyperGroup):
    """The program: verbs in groups by what they are for, and the nearest one for a verb that does not exist."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {}

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """VERB and what follows it."""
        return ["VERB", "[OPTIONS]", "[ARGUMENTS]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Verbs first, then the program's own options."""
        width = max(len(name) for names in self.groups.values() for name in names)
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", _first_line(self.commands[name])) for name in names])
        with formatter.section("Options"):
            formatter.write_dl([_record(parameter) for parameter in self.get_params(ctx)])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb of that name. Raises UsageError naming the nearest."""
        found = super().get_command(ctx, cmd_name)
        if found is None and not ctx.resilient_parsing:
            near = get_close_matches(cmd_name, self.commands, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown verb '{cmd_name}'{meant}", fix=f"the verbs are: {', '.join(self.commands)}")
        return found


def _first_line(command: Any) -> str:
    return str(command.help or "").strip().partition("\n")[0].rstrip(".")


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar)
    return name if parameter.required else f"[{name}]"


def _record(parameter: Any) -> tuple[str, str]:
    """("-o, --output FILE", help) of an option."""
    short = [name for name in parameter.opts if not name.startswith("--")]
    long = [name for name in parameter.opts if name.startswith("--")]
    names = ", ".join([*short, *long])
    metavar = "" if parameter.is_flag or parameter.metavar is None else f" {parameter.metavar}"
    words = str(getattr(parameter, "help", "") or "")
    default = parameter.default
    if isinstance(default, str) and default:
        words = f"{words} [default: {default}]"
    return f"{'' if short else WITHOUT_SHORT}{names}{metavar}", words
