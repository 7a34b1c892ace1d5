"""Write the pages that are generated: config.md from the configuration sections, cli.md from the command line's help.

    make docs                        # write them
    pytest tests/test_docs.py        # fails when they are stale
"""

from __future__ import annotations

from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from seqloom.cli.app import app
from seqloom.config import reference

FOLDER = Path(__file__).parent
CLI_HEAD = """<!-- Generated: make docs. A test fails when it is stale. -->
# Command line

What `seqloom --help` and `seqloom VERB --help` print. Exit status: 0 done, 1 the run failed, 2 bad usage, configuration
or data; 128 + n after signal n (130 after Ctrl-C), when what was done has been saved.
"""


def help_text(*verb: str) -> str:
    """What the command line prints, at a fixed width and without colours."""
    width = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "FORCE_COLOR": None, "TERM": "dumb"}
    shown = CliRunner().invoke(app, [*verb, "--help"], prog_name="seqloom", env=width, catch_exceptions=False)
    return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())


def verbs() -> list[str]:
    """Names of the commands that the main help lists."""
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    return [name for name, verb in command.commands.items() if not verb.hidden]


def cli_page() -> str:
    """Everything that `--help` says."""
    parts = [f"## seqloom {verb}\n\n```text\n{help_text(verb)}\n```\n" for verb in verbs()]
    return "\n".join([CLI_HEAD, f"```text\n{help_text()}\n```\n", *parts])


def main() -> None:
    for name, text in {"config.md": reference.page(), "cli.md": cli_page()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
