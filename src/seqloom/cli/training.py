"""What `seqloom train`, `finetune` and `doctor` do once their options are read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqloom import api
from seqloom.api import training_session
from seqloom.cli.options import silence
from seqloom.cli.streams import say
from seqloom.config.loading import dump_config, load_config, update_config
from seqloom.errors import UsageError
from seqloom.progress import PlainReporter, Reporter, reporter_for
from seqloom.run import open_run


@dataclass(frozen=True)
class Request:
    """The options of `seqloom train`, and those of the verbs that read the same data, as given."""

    files: list[str]
    pairs: list[tuple[str, str]]
    valid: list[str]
    valid_pairs: list[tuple[str, str]]
    preset: str | None = None
    config: str | None = None
    overrides: list[str] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    out: str | None = None
    resume: bool = False
    overwrite: bool = False
    print_config: bool = False
    dry_run: bool = False
    quiet: bool = False


def run_training(request: Request) -> None:
    """Configuration, then one of: print it, show the plan, resume, train."""
    if request.print_config and request.dry_run:
        raise UsageError("--print-config and --dry-run are both given", fix="ask for one of them")
    if request.resume:
        _resume(request)
        return
    files, config_file = _configuration_file(request)
    config, notes = load_config(config_file, preset=request.preset, overrides=request.overrides,
                                values=_values(request, files))
    reporter = reporter_for(quiet=silence(request.quiet))
    for note in notes:
        reporter.say(f"note: {note}")
    if request.print_config:
        say(dump_config(config, comments=True).rstrip("\n"))
        return
    if not config.data.train:
        raise UsageError("no training data is given",
                         fix="seqloom train FILE…, or --source FILE --target FILE, or data.train in the configuration")
    session = training_session()
    if request.dry_run:
        session.plan_run(config, Reporter() if request.quiet else _OutputReporter())
        return
    say(session.train_run(config, request.out, overwrite=request.overwrite, reporter=reporter))


class _OutputReporter(PlainReporter):
    """The plan is the result of --dry-run: what is said goes to standard output."""

    def say(self, line: str) -> None:
        say(line)


def _resume(request: Request) -> None:
    if request.out is None:
        raise UsageError("--resume needs to know the run", fix="seqloom train --resume --out RUN")
    given = [name for name, values in (
        ("files", request.files), ("--source", request.pairs), ("--valid", request.valid),
        ("--valid-source", request.valid_pairs), ("--preset", request.preset), ("--config", request.config),
        ("--overwrite", request.overwrite), ("--dry-run", request.dry_run)) if values]
    if given:
        raise UsageError(f"--resume goes on with the run's own data and configuration; given: {', '.join(given)}",
                         fix="leave them out; `seqloom finetune` trains on with other data")
    config = None
    reporter = reporter_for(quiet=silence(request.quiet))
    if request.overrides or request.flags or request.print_config:
        config, notes = update_config(open_run(request.out).config, overrides=request.overrides,
                                      values={"training": request.flags} if request.flags else None)
        for note in notes:
            reporter.say(f"note: {note}")
        if request.print_config:
            say(dump_config(config, comments=True).rstrip("\n"))
            return
    say(training_session().resume_run(request.out, config, reporter=reporter))


def run_finetuning(run: str, request: Request, *, language: str | None) -> None:
    """Train on with new data, all of it in this language, into a new run."""
    values = _values(request, request.files)
    if not values.get("data", {}).get("train"):
        raise UsageError("no training data is given", fix="seqloom finetune RUN FILE…, or --source FILE --target FILE")
    say(api.finetune(run, out=request.out, overrides=request.overrides, values=values, language=language,
                     overwrite=request.overwrite, quiet=silence(request.quiet)))


def run_doctor(request: Request, *, json_output: bool) -> int:
    """Print the report on data files; the exit code: 2 when not one line of the training data could be used."""
    files, config_file = _configuration_file(request)
    reporter = reporter_for()
    report = api.doctor(preset=request.preset, config=config_file, overrides=request.overrides,
                        values=_values(request, files), reporter=reporter)
    reporter.finish()
    say(json.dumps(report.to_json(), ensure_ascii=False, indent=1) if json_output else "\n".join(report.lines()))
    return 0 if report.train.usable else 2


def _configuration_file(request: Request) -> tuple[list[str], str | None]:
    """Training files and the configuration file, which may stand among them as the only one."""
    yaml_files = [file for file in request.files if Path(file).suffix in (".yaml", ".yml")]
    if not yaml_files:
        return request.files, request.config
    if len(request.files) > 1 or request.config is not None:
        raise UsageError(f"{yaml_files[0]} is a configuration and stands among other files",
                         fix=f"name the data files and --config {yaml_files[0]}")
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
