"""Verbs that make runs: train, finetune, average; and look at data before: doctor, presets."""

from __future__ import annotations

from typing import Annotated

import typer

from seqloom.cli.options import (
    ConfigFile,
    Epochs,
    Minutes,
    Out,
    Overwrite,
    Precision,
    Preset,
    Quiet,
    Seed,
    Set,
    Source,
    Steps,
    Target,
    Threads,
    TrainingDevice,
    Valid,
    ValidSource,
    ValidTarget,
    pairs,
    silence,
    training_options,
)
from seqloom.cli.streams import say

Files = Annotated[list[str] | None, typer.Argument(metavar="FILE…", help=(
    "Training files (.tsv, .csv, .jsonl, .conllu, also .gz), or one configuration (.yaml)."))]
FilesLanguage = Annotated[str | None, typer.Option("--language", "-l", metavar="NAME", help=(
    "Language of all new files, for a run that was trained on several, when no column says it."))]
NewFiles = Annotated[list[str] | None, typer.Argument(metavar="FILE…", help="New training files.")]


def train(
    files: Files = None,
    preset: Preset = None,
    out: Out = None,
    valid: Valid = None,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    config: ConfigFile = None,
    set_options: Set = None,
    epochs: Epochs = None,
    max_steps: Steps = None,
    max_minutes: Minutes = None,
    seed: Seed = None,
    device: TrainingDevice = None,
    threads: Threads = None,
    precision: Precision = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")] = False,
    overwrite: Overwrite = False,
    print_config: Annotated[bool, typer.Option("--print-config", help=(
        "Print the whole configuration, ready for --config, and leave."))] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=(
        "Read the data, print the report and the plan, and leave."))] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on examples.

    An example a line: input, tab, output. Options win over the configuration file, and that over the preset. Ctrl-C
    saves what was done. The run folder's name is printed on standard output, all else on standard error.
    """
    from seqloom.cli.training import Request, run_training

    run_training(Request(
        files=files or [], pairs=pairs(source, target), valid=valid or [],
        valid_pairs=pairs(valid_source, valid_target, "--valid-source", "--valid-target"), preset=preset, config=config,
        overrides=set_options or [], out=out, resume=resume, overwrite=overwrite, print_config=print_config,
        dry_run=dry_run, quiet=quiet,
        flags=training_options(epochs=epochs, max_steps=max_steps, max_minutes=max_minutes, seed=seed, device=device,
                               threads=threads, precision=precision)))


def finetune(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run to begin with; it is not changed.")],
    files: NewFiles = None,
    out: Out = None,
    valid: Valid = None,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    language: FilesLanguage = None,
    set_options: Set = None,
    epochs: Epochs = None,
    max_steps: Steps = None,
    max_minutes: Minutes = None,
    seed: Seed = None,
    device: TrainingDevice = None,
    threads: Threads = None,
    precision: Precision = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train on from a run's weights, with new data, into a new run.

    The new run keeps the old one's symbols and options, but for what is given here; the optimiser starts afresh.
    """
    from seqloom.cli.training import Request, run_finetuning

    run_finetuning(run, Request(
        files=files or [], pairs=pairs(source, target), valid=valid or [],
        valid_pairs=pairs(valid_source, valid_target, "--valid-source", "--valid-target"),
        overrides=set_options or [], out=out, overwrite=overwrite, quiet=quiet,
        flags=training_options(epochs=epochs, max_steps=max_steps, max_minutes=max_minutes, seed=seed, device=device,
                               threads=threads, precision=precision)), language=language)


def average(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Two runs or more, of one configuration.")],
    out: Annotated[str, typer.Option("--out", metavar="RUN", help="Run folder to write; required.")],
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Make a run whose weights are the mean of several runs'."""
    from seqloom import api

    say(api.average(runs, out, overwrite=overwrite, quiet=silence(quiet)))


def doctor(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE…", help="Data files to look at.")] = None,
    valid: Annotated[list[str] | None, typer.Option("--valid", metavar="FILE", help=(
        "Validation file, to look at too: its overlap with the others, its unknown symbols; may be repeated."))] = None,
    source: Source = None,
    target: Target = None,
    valid_source: ValidSource = None,
    valid_target: ValidTarget = None,
    preset: Preset = None,
    config: ConfigFile = None,
    set_options: Set = None,
    json_output: Annotated[bool, typer.Option("--json", help="Everything found, as one JSON object.")] = False,
) -> int:
    """Say what is wrong with data, with file and line.

    Bad lines, lengths, duplicates, and, with validation files, overlap and unknown symbols. The preset or configuration
    says how the data would be read. Exit code 2 when not one line could be used.
    """
    from seqloom.cli.training import Request, run_doctor

    return run_doctor(Request(
        files=files or [], pairs=pairs(source, target), valid=valid or [],
        valid_pairs=pairs(valid_source, valid_target, "--valid-source", "--valid-target"), preset=preset,
        config=config, overrides=set_options or []), json_output=json_output)


def presets() -> None:
    """List the recipes that come with seqloom."""
    from seqloom.config.loading import preset_names, preset_summary

    for name in preset_names():
        say(f"{name:<11} {preset_summary(name)}")
