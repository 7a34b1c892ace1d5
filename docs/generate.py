"""Write the pages that are generated: config.md from the configuration sections, cli.md from the command line's help.

    make docs                        # write them
    pytest tests/test_docs.py        # fails when they are stale
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from seqloom.config import reference

FOLDER = Path(__file__).parent
CLI_HEAD = """<!-- Generated: make docs. A test fails when it is stale. -->
# Command line

What `seqloom --help` and `seqloom VERB --help` print. Exit status: 0 done, 1 the run failed, 2 bad usage, configuration
or data; 130 after Ctrl-C, when what was done has been saved.
"""


def help_text(*verb: str) -> str:
    """What the command line prints, at a fixed width and without colours."""
    plain = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    others = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    done = subprocess.run([sys.executable, "-m", "seqloom", *verb, "--help"], capture_output=True, encoding="utf-8",
                          env={**others, **plain}, check=True, timeout=60)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def verbs(text: str) -> list[str]:
    """Names in the list of commands of the main help."""
    return re.findall(r"^[│\s] (?: *)([a-z]+) {2,}\S", text.partition("Commands")[2], re.MULTILINE)


def cli_page() -> str:
    """Everything that `--help` says."""
    main_help = help_text()
    parts = [f"```text\n{main_help}\n```\n"]
    parts += [f"## seqloom {verb}\n\n```text\n{help_text(verb)}\n```\n" for verb in verbs(main_help)]
    return "\n".join([CLI_HEAD, *parts])


def main() -> None:
    for name, text in {"config.md": reference.page(), "cli.md": cli_page()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
