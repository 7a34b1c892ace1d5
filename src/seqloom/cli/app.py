"""The program and its verbs. What a verb needs is imported when it runs, so that `--help` comes at once."""

from __future__ import annotations

import typer

from seqloom._version import __version__
from seqloom.cli.answering import encode, predict, score
from seqloom.cli.learning import average, doctor, finetune, presets, train
from seqloom.cli.looking import curves, demo, evaluate, explain, info

app = typer.Typer(
    name="seqloom", add_completion=False, no_args_is_help=True, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Recurrent encoder-decoders with attention: from a file of examples to a model you run, inspect and ship. "
         "Every verb has --help; --debug shows tracebacks.")


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"seqloom {__version__}")
        raise typer.Exit


@app.callback()
def _program(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                          help="Show the version and leave.")) -> None:
    """Options of the program itself."""


for verb in (train, predict, evaluate, explain, doctor, finetune, score, encode, average, info, curves, presets, demo):
    app.command()(verb)
app.command("translate", hidden=True, help="The same as predict.")(predict)
