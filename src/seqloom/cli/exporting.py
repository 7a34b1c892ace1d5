"""The verb that makes a model deployable: export."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import Overwrite, Quiet, RunFolder, silence


def export(
    run: RunFolder,
    out: Annotated[str | None, typer.Argument(metavar="OUT", help=(
        "Folder to write, which predicts without model.safetensors; into the run itself when not given."))] = None,
    int8: Annotated[bool, typer.Option("--int8", help="In whole numbers: a quarter of the size, faster, less exact.")
                    ] = False,
    data: Annotated[list[str] | None, typer.Option("--data", metavar="FILE", help=(
        "Compare answers and metrics on this file, in the columns of the training data (with a source alone, answers "
        "only); may be repeated. When not given, the run's validation files, or else its training files."))] = None,
    shortlist: Annotated[list[str] | None, typer.Option("--shortlist", metavar="FILE", help=(
        "Learn a vocabulary shortlist from the pairs of this file, which decoding.shortlist then uses: faster with a "
        "large vocabulary; may be repeated. The word train stands for the run's own training data."))] = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not compare the export with the model.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as ONNX graphs, which run without torch

    Ends with a comparison on real inputs, and fails when the export does not answer as the model does.
    """
    from seqloom.config.sections import CorpusConfig
    from seqloom.export import export_run
    from seqloom.progress import reporter_for

    reporter = reporter_for(quiet=silence(quiet))
    export_run(run, out, int8=int8, overwrite=overwrite, check=not no_check, say=reporter.say,
               data=[CorpusConfig(path=path) for path in data] if data else None, shortlist=shortlist)
