"""docs/cli.md, made from the program itself: python -m seqloom.cli.reference > docs/cli.md"""

from __future__ import annotations

import sys

from seqloom.cli.app import command

WIDTH = 100

HEAD = """\
<!-- Generated: make docs. A test fails when it is stale. -->
# Command line

What `seqloom --help` and `seqloom VERB --help` print. The keys of `--set` and of configuration files are in
[config.md](config.md).

Results go to standard output, everything else to standard error. `predict` and `score` write one line for each input
line, in the order of the input, whatever is wrong with it; line ends and tabs inside an answer are written `\\n` and
`\\t`. Input is UTF-8, plain or gzipped.

| exit code | meaning |
|---|---|
| 0 | done; lines that could not be read are counted on standard error |
| 1 | the run failed, or not one input line could be read |
| 2 | wrong usage, configuration or data; nothing was written |
| 130, 143 | stopped by Ctrl-C or SIGTERM; training has saved what was done and says how to go on |
"""


def page() -> str:
    """The whole page, in Markdown."""
    program = command()
    root = program.make_context("seqloom", ["--help"], resilient_parsing=True, terminal_width=WIDTH,
                                max_content_width=WIDTH)
    parts = [HEAD, f"```text\n{root.get_help().rstrip()}\n```\n"]
    for name, verb in program.commands.items():
        if not verb.hidden:
            context = verb.make_context(name, [], parent=root, resilient_parsing=True)
            parts.append(f"## seqloom {name}\n\n```text\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
