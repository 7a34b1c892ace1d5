"""What `seqloom train` does once its options are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from seqloom.errors import UsageError


@dataclass(frozen=True)
class Request:
    """The options of `seqloom train`, as given."""

    files: list[str]
    pairs: list[tuple[str, str]]
    valid: list[str]
    valid_pairs: list[tuple[str, str]]
    preset: str | None
    config: str | None
    overrides: list[str]
    flags: dict[str, Any]
    out: str | None
    resume: bool
    overwrite: bool
    print_config: bool
    dry_run: bool
    quiet: bool


def run_training(request: Request) -> None:
    """Configuration, then one of: print it, show the plan, resume, train."""
    from seqloom.config.loading import dump_config, load_config
    from seqloom.progress import reporter_for

    if request.resume:
        _resume(request)
        return
    files, config_file = _configuration_file(request)
    config, notes = load_config(config_file, preset=request.preset, overrides=request.overrides,
                                values=_values(request, files))
    if request.print_config:
        typer.echo(dump_config(config, comments=True), nl=False)
        return
    reporter = reporter_for(quiet=request.quiet)
    for note in notes:
        reporter.say(f"note: {note}")
    from seqloom.training.session import plan_run, train_run

    if request.dry_run:
        plan_run(config, reporter_for())
        return
    typer.echo(train_run(config, request.out, overwrite=request.overwrite, reporter=reporter))


def _resume(request: Request) -> None:
    from seqloom.config.loading import update_config
    from seqloom.progress import reporter_for
    from seqloom.run import open_run
    from seqloom.training.session import resume_run

    if request.out is None:
        raise UsageError("--resume needs to know the run", fix="seqloom train --resume --out RUN")
    if request.files or request.pairs or request.preset or request.config:
        raise UsageError("--resume goes on with the run's own data and configuration",
                         fix="leave out files, --preset and --config; `finetune` trains on with other data")
    config = None
    if request.overrides or request.flags:
        config = update_config(open_run(request.out).config, overrides=request.overrides,
                               values={"training": request.flags} if request.flags else None)[0]
    typer.echo(resume_run(request.out, config, reporter=reporter_for(quiet=request.quiet)))


def _configuration_file(request: Request) -> tuple[list[str], str | None]:
    """Training files and the configuration file, which may stand among them as the only one."""
    yaml_files = [file for file in request.files if Path(file).suffix in (".yaml", ".yml")]
    if not yaml_files:
        return request.files, request.config
    if len(request.files) > 1 or request.config is not None:
        raise UsageError(f"{yaml_files[0]} is a configuration and stands among other files",
                         fix=f"seqloom train FILE… --config {yaml_files[0]}")
    return [], yaml_files[0]


def _values(request: Request, files: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    parts = (("train", files, request.pairs), ("valid", request.valid, request.valid_pairs))
    for key, paths, pairs in parts:
        corpora: list[dict[str, str]] = [{"path": path} for path in paths]
        corpora += [{"source": source, "target": target} for source, target in pairs]
        if corpora:
            values.setdefault("data", {})[key] = corpora
    if request.flags:
        values["training"] = request.flags
    return values
