"""Verbs that make runs: train, finetune, average; and look at data before: doctor, presets."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import ConfigFile, Out, Overwrite, Preset, Quiet, Set, Threads, Valid
from seqloom.errors import UsageError

Files = Annotated[list[str] | None, typer.Argument(
    metavar="FILE…", help="Training files (.tsv, .csv, .jsonl, .conllu, plain or .gz), or one configuration (.yaml).")]
Sides = Annotated[list[str] | None, typer.Option(help="One side of parallel text; goes with the other option.")]
Steps = Annotated[int | None, typer.Option("--max-steps", min=1, help="At most this many updates.")]


def train(
    files: Files = None,
    preset: Preset = None,
    out: Out = None,
    valid: Valid = None,
    source: Sides = None,
    target: Sides = None,
    valid_source: Sides = None,
    valid_target: Sides = None,
    config: ConfigFile = None,
    set_options: Set = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many passes over the data.")] = None,
    max_steps: Steps = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time, as if training had ended.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    threads: Threads = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Overwrite = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print every option and leave.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the data, show the plan, and leave.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on examples: seqloom train pairs.tsv --preset g2p --out runs/g2p"""
    from seqloom.cli.training import Request, run_training

    flags = {"epochs": epochs, "max_steps": max_steps, "max_minutes": max_minutes, "seed": seed, "device": device,
             "threads": threads, "precision": precision}
    run_training(Request(
        files=files or [], pairs=pairs(source, target, "--source", "--target"), valid=valid or [],
        valid_pairs=pairs(valid_source, valid_target, "--valid-source", "--valid-target"), preset=preset, config=config,
        overrides=set_options or [], flags={name: value for name, value in flags.items() if value is not None}, out=out,
        resume=resume, overwrite=overwrite, print_config=print_config, dry_run=dry_run, quiet=quiet))


def finetune(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run to begin with.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="New training files.")],
    out: Out = None,
    valid: Valid = None,
    set_options: Set = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train on from a run's weights, with new data, into a new run."""
    from seqloom import api

    folder = api.finetune(run, *files, out=out, valid=valid or (), overrides=set_options or [], overwrite=overwrite,
                          quiet=quiet)
    typer.echo(folder)


def average(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Two runs or more, of one configuration.")],
    out: Annotated[str, typer.Option("--out", help="Run folder to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Make a run whose weights are the mean of several runs'."""
    from seqloom import api

    typer.echo(api.average(runs, out, overwrite=overwrite))


def doctor(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Data files to look at.")],
    valid: Valid = None,
    preset: Preset = None,
    config: ConfigFile = None,
    set_options: Set = None,
    json_output: Annotated[bool, typer.Option("--json", help="Everything found, as JSON.")] = False,
) -> None:
    """Say what is wrong with data, with file and line: bad lines, lengths, duplicates, overlap, unknown symbols."""
    import json

    from seqloom import api
    from seqloom.progress import reporter_for

    report = api.doctor(*files, valid=valid or (), preset=preset, config=config, overrides=set_options or [],
                        reporter=reporter_for())
    typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=1) if json_output else "\n".join(report.lines()))


def presets() -> None:
    """List the recipes that come with seqloom."""
    from seqloom.config.loading import preset_names, preset_summary

    for name in preset_names():
        typer.echo(f"{name:<11} {preset_summary(name)}")


def pairs(sources: list[str] | None, targets: list[str] | None, first: str, second: str) -> list[tuple[str, str]]:
    """Parallel text files, side by side. Raises UsageError when one lacks its partner."""
    left, right = sources or [], targets or []
    if len(left) != len(right):
        raise UsageError(f"{len(left)} files for {first} but {len(right)} for {second}",
                         fix=f"give {first} and {second} equally often, in the same order")
    return list(zip(left, right, strict=True))

