"""What Python code calls: train, resume, finetune, load, evaluate, average, doctor. The command line calls the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqloom.config.keys import keys, value_at
from seqloom.config.loading import load_config, update_config
from seqloom.config.sections import Config, CorpusConfig
from seqloom.data.report import Report
from seqloom.errors import MissingExtraError, UsageError
from seqloom.predictor import Predictor, load_predictor
from seqloom.progress import Quiet, Reporter, reporter_for
from seqloom.run import WEIGHTS, Run, create_run_folder, open_run, write_description, write_weights

if TYPE_CHECKING:
    from seqloom.evaluation import Evaluation

Files = str | Path | Sequence[str | Path]
# Options of the network that matter in training alone.
ONLY_TRAINED = {"dropout", "embedding_dropout", "variational_dropout", "weight_dropout", "symbol_dropout",
                "pretrained", "class_weights", "alignment_loss", "coverage_loss"}


def load(run: str | Path | Sequence[str | Path], *, engine: str = "auto", device: str = "auto",
         threads: int | None = None, say: Callable[[str], None] | None = None) -> Predictor:
    """Open a run folder; several answer together, their distributions averaged at every step.

    Runs of different vocabularies too where symbols are spelled and not learned; answers are then made of the first
    one's, and every run reads the input in its own way.

    engine: auto, onnx, onnx-int8 or torch. device: auto, cpu, cuda, … threads: CPU threads, all cores when not given.
    say: told, in a sentence, when auto has to take torch although the run has an export, and of runs that know only
    some of the symbols that answers are made of.
    Raises RunFolderError for a missing or damaged folder, UsageError for runs that do not fit together.
    """
    if isinstance(run, (str, Path)):
        return load_predictor(run, engine=engine, device=device, threads=threads, say=say)
    from seqloom.together import together

    members = [load_predictor(one, engine=engine, device=device, threads=threads, say=say) for one in run]
    if not members:
        raise UsageError("an ensemble of no runs", fix="give one run folder or more")
    return together(members, [str(one) for one in run], say)


def train(*data: str | Path, preset: str | None = None, out: str | Path | None = None, valid: Files = (),
          config: str | Path | None = None, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None,
          overwrite: bool = False, quiet: Quiet = True, **training: Any) -> Path:
    """Train on files of examples; returns the run folder.

    data: training files (.tsv, .csv, .jsonl, plain or .gz). preset: see `seqloom presets`. valid: validation files;
    without them a part of the training data is held out. config: a YAML file. overrides: texts "training.epochs=20".
    values: the same as a nested mapping. training: keys of the section `training`, such as epochs=20, seed=2,
    max_minutes=5. quiet: say nothing on stderr; "warnings": nothing but those.
    Raises ConfigError, DataError, UsageError before training; TrainingError, Interrupted in it.
    """
    given = with_files(data, valid, values, training)
    loaded, notes = load_config(config, preset=preset, overrides=overrides, values=given, values_from="the arguments")
    reporter = reporter_for(quiet=quiet)
    for note in notes:
        reporter.say(f"note: {note}")
    folder: Path = training_session().train_run(loaded, out, overwrite=overwrite, reporter=reporter)
    return folder


def resume(run: str | Path, *, overrides: Sequence[str] = (), quiet: Quiet = True) -> Path:
    """Go on with an interrupted run, exactly where it stopped; with more epochs also with a finished one.

    Raises RunFolderError without a checkpoint, UsageError for changes that would make another run of it.
    """
    config = update_config(open_run(run).config, overrides=overrides)[0] if overrides else None
    folder: Path = training_session().resume_run(run, config, reporter=reporter_for(quiet=quiet))
    return folder


def finetune(run: str | Path, *data: str | Path, out: str | Path | None = None, valid: Files = (),
             overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None, language: str | None = None,
             overwrite: bool = False, quiet: Quiet = True, **training: Any) -> Path:
    """Train on from a run's weights on new data, into a new run: fresh optimiser, the run's tokenizers and options.

    Where the run's learning rate fell with the root of its updates, it stays where it ended, unless another is given.
    Symbols that the run does not know are unknown; the report says how many. language: that of all new files, for a run
    that was trained on several. Other arguments, and what is raised, as in `train`; without validation files a part of
    the new data is held out.
    """
    start = open_run(run)
    given = with_files(data, valid, values, training)
    given["data"] = {"train": [], "valid": [], **given.get("data", {})}
    if language is not None:
        for part in ("train", "valid"):
            given["data"][part] = [{"language": language, **corpus} for corpus in given["data"][part]]
    begun = _rate_of_the_end(start)
    config, notes = update_config(begun, overrides=overrides, values=given)
    reporter = reporter_for(quiet=quiet)
    rate = config.training.learning_rate
    if rate is not None and rate == begun.training.learning_rate != start.config.training.learning_rate:
        notes = [*notes, f"the learning rate is {rate:.3g}, as at the end of {start.folder}"]
    for note in notes:
        reporter.say(f"note: {note}")
    folder: Path = training_session().train_run(config, out, overwrite=overwrite, reporter=reporter, start_from=start)
    return folder


def _rate_of_the_end(run: Run) -> Config:
    """The run's configuration; a falling rate is not begun anew, which would undo what it has learned."""
    training = run.config.training
    rates = [row["learning_rate"] for row in run.metrics() if isinstance(row.get("learning_rate"), float)]
    if training.schedule.kind != "inverse_square_root" or not rates or rates[-1] <= 0:
        return run.config
    schedule = training.schedule.model_copy(update={"kind": "constant", "warmup_steps": 0})
    return run.config.model_copy(update={"training": training.model_copy(update={
        "learning_rate": rates[-1], "schedule": schedule})})


def evaluate(run: str | Path | Predictor, *data: str | Path, metrics: Sequence[str] | None = None,
             tokenize: str = "13a", options: Mapping[str, Any] | None = None, languages: Sequence[str] = (),
             dynamic: float | None = None, quiet: Quiet = True) -> Evaluation:
    """Predict test files with a run and compare with their targets; `.scores` holds the keys of `--json`.

    tokenize: sacreBLEU's tokenizer. options: decoding options such as {"beam_size": 1}. languages: one for all files,
    or one for each. dynamic: the learning rate of a language model that goes on learning from the text while it is
    scored. Raises DataError, UsageError.
    """
    from seqloom.evaluation import evaluate_files

    predictor = run if isinstance(run, Predictor) else load(run, engine="auto" if dynamic is None else "torch")
    return evaluate_files(predictor, corpora_of(data, languages=languages), metrics=metrics, tokenize=tokenize,
                          options=predictor.options(options or {}), dynamic=dynamic, reporter=reporter_for(quiet=quiet))


def average(runs: Sequence[str | Path], out: str | Path, *, overwrite: bool = False, quiet: Quiet = True) -> Path:
    """A run whose weights are the mean of these runs' (or checkpoints' of one run); returns its folder.

    Raises UsageError when the runs differ in configuration or vocabulary.
    """
    opened = [open_run(run) for run in runs]
    if len(opened) < 2:
        raise UsageError(f"{len(opened)} run given, expected two or more", fix="seqloom average RUN RUN … --out FOLDER")
    first = opened[0]
    weights = first.weights()
    sums = {name: array.astype("float64") for name, array in weights.items()}
    for run, opened_run in zip(runs[1:], opened[1:], strict=True):
        _check_same_symbols(first, opened_run, str(runs[0]), str(run))
        _check_same_network(first, opened_run, str(runs[0]), str(run))
        other = opened_run.weights()
        if {name: array.shape for name, array in other.items()} != {n: a.shape for n, a in weights.items()}:
            raise UsageError(f"{runs[0]} and {run} have weights of different shapes",
                             fix="average runs that were trained with one configuration")
        for name, array in other.items():
            sums[name] += array
    from seqloom.training.exporting import export_finished

    folder = create_run_folder(out, None, overwrite=overwrite)
    write_description(folder, first.config, first.source, first.head)
    write_weights(folder / WEIGHTS, {name: (total / len(opened)).astype("float32") for name, total in sums.items()})
    export_finished(folder, reporter_for(quiet=quiet))
    return folder


def doctor(*data: str | Path, valid: Files = (), preset: str | None = None, config: str | Path | None = None,
           overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None,
           reporter: Reporter | None = None) -> Report:
    """What is wrong with data files, without training: the report, with file:line of every finding.

    Arguments as in `train`. With validation files the share of unknown symbols is measured too, with the tokenizers of
    the preset or config. Raises DataError when a file cannot be read at all.
    """
    from seqloom.training.prepare import examine

    loaded, _ = load_config(config, preset=preset, overrides=overrides, values=with_files(data, valid, values))
    return examine(loaded, reporter or Reporter())


# --- helpers ---------------------------------------------------------------------------------------------------------


def training_session() -> Any:
    """The module seqloom.training.session. Raises MissingExtraError where what training needs is not installed."""
    try:
        from seqloom.training import session
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("seqloom"):
            raise
        raise MissingExtraError(error.name, "train", "training") from None
    return session


def with_files(train_files: Iterable[str | Path], valid: Files, values: Mapping[str, Any] | None,
               training: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Nested configuration values with these files as data.train and data.valid, and these keys of `training`."""
    given: dict[str, Any] = {key: dict(value) if isinstance(value, Mapping) else value
                             for key, value in (values or {}).items()}
    if training:
        given["training"] = {**given.get("training", {}), **training}
    valid_files = [valid] if isinstance(valid, (str, Path)) else list(valid)
    for key, files in (("train", list(train_files)), ("valid", valid_files)):
        if files:
            given.setdefault("data", {})[key] = [{"path": str(file)} for file in files]
    return given


def corpora_of(files: Iterable[str | Path], pairs: Iterable[tuple[str, str]] = (), *,
               languages: Sequence[str] = ()) -> list[CorpusConfig]:
    """Files, and pairs of parallel files, as the configuration has them; languages: none, one, or one for each.

    Raises UsageError for another number of languages.
    """
    found = list(chain((CorpusConfig(path=str(file)) for file in files),
                       (CorpusConfig(source=source, target=target) for source, target in pairs)))
    repeated = len(found) if len(languages) == 1 else 1
    said: list[str | None] = [*languages] * repeated if languages else [None] * len(found)
    if len(said) != len(found):
        raise UsageError(f"{len(said)} languages for {len(found)} files", fix="give one for all files, or one for each")
    return [corpus.model_copy(update={"language": language}) for corpus, language in zip(found, said, strict=True)]


def _check_same_symbols(first: Any, other: Any, first_name: str, other_name: str) -> None:
    for side in ("source", "head"):
        one, second = getattr(first, side), getattr(other, side)
        if (one.size, one.symbols) != (second.size, second.symbols):
            raise UsageError(f"{first_name} and {other_name} have different {'target' if side == 'head' else 'source'} "
                             "vocabularies", fix="use runs that were trained on the same data with the same tokenizers")
    if first.source.reading != other.source.reading:
        raise UsageError(f"{first_name} and {other_name} read their inputs in different ways",
                         fix="use runs of one configuration of the source, trained on the same data")


def _check_same_network(first: Run, other: Run, first_name: str, other_name: str) -> None:
    """Raise UsageError for weights of one shape that are used differently, such as two kinds of attention."""
    differing = [key for key in keys() if key.partition(".")[0] in ("encoder", "bridge", "decoder", "head")
                 and key.rpartition(".")[2] not in ONLY_TRAINED
                 and value_at(first.config, key) != value_at(other.config, key)]
    if differing:
        raise UsageError(f"{first_name} and {other_name} were configured differently: {', '.join(differing[:5])}",
                         fix="average runs that were trained with one configuration")
