"""The program and its verbs. What a verb needs is imported when it runs, so that `--help` comes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer
import typer.main

from seqloom._version import __version__
from seqloom.cli.answering import encode, predict, score
from seqloom.cli.claims import claims
from seqloom.cli.explain import explain
from seqloom.cli.exporting import export
from seqloom.cli.layout import Program, Verb
from seqloom.cli.learning import average, doctor, finetune, presets, train
from seqloom.cli.looking import curves, demo, evaluate, info
from seqloom.cli.tuning import tune_decoding

GROUPS = {
    "Make a model": ("train", "finetune", "average", "export", "demo"),
    "Use it": ("predict", "score", "encode"),
    "Judge it": ("evaluate", "tune-decoding", "explain", "curves", "info", "claims"),
    "Before all that": ("doctor", "presets"),
}

EXAMPLES: dict[Callable[..., Any], str] = {
    train: """\
seqloom train pairs.tsv --preset g2p --out runs/g2p
seqloom train --source train.en --target train.de --preset translate --set training.epochs=20
seqloom train config.yaml --max-minutes 30
seqloom train --resume --out runs/g2p""",
    finetune: "seqloom finetune runs/g2p more.tsv --out runs/g2p-more --epochs 5",
    average: "seqloom average runs/a runs/b runs/c --out runs/mean",
    export: """\
seqloom export runs/g2p g2p-onnx
seqloom export runs/g2p g2p-int8 --int8 --data test.tsv""",
    demo: """\
seqloom demo                          # dates → ISO 8601
seqloom demo --task classify          # a review → does it recommend? Negations and concessions decide
seqloom demo --task tag               # words → parts of speech, where many words have several
seqloom demo --task summarize         # a report of a match → who beat whom; names are copied
seqloom demo --task caption           # drawn shapes → what a grammar says of them
seqloom demo --task speech            # the tones of a telephone → the keys that were dialled
seqloom demo --task lm                # the beginning of a line → how a rhyme may go on
seqloom demo --task frames            # frames of a moving shape → where it moves, frame by frame
seqloom demo --task vectors           # a vector → which of three shells it lies in""",
    predict: """\
seqloom predict runs/g2p                                  # a dialogue
seqloom predict runs/g2p words.txt > out.txt
seqloom predict runs/g2p words.txt --format tsv --n-best 5
seqloom predict runs/a --with runs/b words.txt            # both models together""",
    score: "seqloom score runs/g2p pairs.tsv > scores.tsv",
    encode: "seqloom encode runs/g2p words.txt -o states.npz",
    evaluate: """\
seqloom evaluate runs/g2p test.tsv --json
seqloom evaluate runs/a test.tsv --compare runs/b --metric bleu
seqloom evaluate runs/en-de --source test.en --target test.de --tokenize none -o out.txt""",
    tune_decoding: """\
seqloom tune-decoding runs/en-de dev.tsv --metric bleu
seqloom tune-decoding runs/g2p dev.tsv --beam-sizes 1,5 --coverage-penalties none --apply""",
    explain: """\
seqloom explain runs/g2p phone
seqloom explain runs/g2p phone -o phone.html --alternatives 5
seqloom explain runs/en-de "a dog runs" --steps -o steps.html
seqloom explain runs/g2p phone --gates --with runs/gru -o gates.html
seqloom explain runs/g2p phone --force 1=p -o whatif.html
seqloom explain runs/g2p --history -o history.html""",
    curves: "seqloom curves runs/g2p -o curves.svg --keys train_loss,valid_loss",
    info: "seqloom info runs/g2p",
    claims: """\
seqloom claims --only long-inputs
seqloom claims --out docs/claims.md
seqloom claims --full pairs.tsv --only reversal --json""",
    doctor: "seqloom doctor train.tsv --valid valid.tsv --preset g2p",
    presets: "seqloom presets",
}

def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"seqloom {__version__}")
        raise typer.Exit


def _options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                          help="Show the version and leave."),
             debug: bool = typer.Option(False, "--debug", help="Show where in the code an error came from. "
                                                               "Stands anywhere, after any verb.")) -> None:
    """Options of the program itself; `debug` is taken by `main` before they are read."""


def _program() -> typer.Typer:
    """The program without verbs."""
    program = typer.Typer(
        cls=Program, name="seqloom", add_completion=False, rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        help="Recurrent encoder-decoders with attention: from a file of examples to a model you run, inspect and ship.")
    program.callback()(_options)
    return program


def _add(program: typer.Typer, verbs: Iterable[Callable[..., Any]]) -> None:
    for verb in verbs:
        program.command(cls=Verb, epilog=EXAMPLES[verb])(verb)
    if predict in verbs:
        program.command("translate", cls=Verb, hidden=True, help="The same as predict.",
                        epilog=EXAMPLES[predict])(predict)


Program.groups = GROUPS


def command(verb: str = "") -> Any:
    """The program as click runs it: with one verb alone, which takes less time to set up, or with all of them."""
    program = _program()
    wanted = "predict" if verb == "translate" else verb
    _add(program, [one for one in EXAMPLES if one.__name__.replace("_", "-") == wanted] or EXAMPLES)
    return typer.main.get_command(program)
