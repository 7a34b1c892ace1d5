"""The main job once, on built-in data: train, evaluate, predict, draw. What `make demo` runs."""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path

from seqloom.api import evaluate, load, training_session
from seqloom.config.loading import load_config
from seqloom.config.sections import CorpusConfig
from seqloom.data.dates import LOCALES, write_dates
from seqloom.data.files import read_records
from seqloom.data.generated import TASKS, task_named
from seqloom.evaluation import Evaluation
from seqloom.plots import write_attention, write_confusion
from seqloom.plots.labels import columns_of
from seqloom.progress import duration, reporter_for
from seqloom.run import create_run_folder
from seqloom.types import Prediction, Record

EXAMPLES = ("Friday, March 5, 2021", "5. März 2021", "2021년 3월 5일 금요일", "5 de marzo de 2021", "2021年3月5日")

NEXT = """\
Try next:
  seqloom predict {run}                          # a dialogue: type a date
  seqloom explain {run} "12 juin 1999" -o attention.html
  seqloom explain {run} "12 juin 1999" --alternatives 3
  seqloom evaluate {run} {run}/test.tsv --json
  seqloom curves {run} -o curves.html
  seqloom train YOUR.tsv --preset g2p --out runs/mine   # presets: seqloom presets
"""


DATES = "dates"
SHOWN = 5  # answers of a task's test part


def run_task(name: str, out: str | None = None, *, overwrite: bool = False, quiet: bool = False) -> Path:
    """Train a built-in task, by its name or its module's, into `out` (runs/<name> when not given); prints results.

    Returns the run folder.

    Raises UsageError for a task that is not there.
    """
    if name == DATES:
        return run_demo(out or f"runs/{name}", overwrite=overwrite, quiet=quiet)
    name = task_named(name)
    task = TASKS[name]
    session = training_session()
    folder = create_run_folder(out or f"runs/{name}", name, overwrite=overwrite)
    files = task.write(folder)
    data = {"train": [{"path": str(files["train"])}], "valid": [{"path": str(files["valid"])}]}
    config, _ = load_config(preset=task.preset, values={**task.values, "data": data})
    began = time.monotonic()
    session.train_run(config, folder, reporter=reporter_for(quiet=quiet), made=True)
    seconds = time.monotonic() - began
    evaluation = evaluate(folder, files["test"], quiet=quiet)
    scores = evaluation.scores
    say = sys.stdout.write
    say(f"\n{task.title}, trained in {duration(seconds)}.\n")
    say(f"Held-out test: {task.measure} {float(scores[task.measure]):.4f} of {scores['count']:,}.\n\n")
    model = load(folder)
    shown = _shown(files["test"], text_alone=model.head.is_stream)
    answers = list(model.predict_records(shown, attention=True))
    for record, answer in zip(shown, answers, strict=True):
        given, first_line = record.text(model.source.roles[0]), answer.text.partition("\n")[0]
        say(f"  {given}  →  {first_line}   (it is: {record.text('target')})\n")
    for line in _pictures(folder, evaluation, shown, answers):
        say(f"\n{line}\n")
    say(f"\nTry next:\n  seqloom predict {folder} {folder}/{files['test'].name}\n"
        f"  seqloom evaluate {folder} {folder}/{files['test'].name} --json\n")
    return folder


def _shown(path: Path, *, text_alone: bool) -> list[Record]:
    """The first examples of a test file; of a text the first half of each line, with the other half as its target."""
    roles = ("text",) if text_alone else ("source", "target")
    found = read_records([CorpusConfig(path=str(path))], None, roles)
    records = [record for record in islice(found, SHOWN) if isinstance(record, Record)]
    if not text_alone:
        return records
    halves = [(record, record.text("text"), len(record.text("text")) // 2) for record in records]
    return [Record({"text": text[:middle], "target": text[middle:]}, record.path, record.line)
            for record, text, middle in halves]


def _pictures(folder: Path, evaluation: Evaluation, shown: list[Record], answers: list[Prediction]) -> list[str]:
    """Draw what there is to draw of these answers; a line for each picture."""
    lines = []
    if answers and answers[0].attention is not None:
        picture = folder / "attention.html"
        write_attention(answers[0], picture, input_text=shown[0].text("source"))
        lines.append(f"Attention of the first: {picture}")
    if evaluation.confusion is not None:
        picture = folder / "confusion.svg"
        write_confusion(evaluation.confusion, picture, title=f"{folder.name} · test")
        lines.append(f"What was taken for what: {picture}")
    return lines


def run_demo(out: str, *, overwrite: bool = False, quiet: bool = False) -> Path:
    """Train the preset `dates` into `out`; prints results on standard output. Returns the run folder."""
    session = training_session()
    folder = create_run_folder(out, "dates", overwrite=overwrite)
    files = write_dates(folder)
    values = {"data": {"train": [{"path": str(files["train"])}], "valid": [{"path": str(files["valid"])}]}}
    config, _ = load_config(preset="dates", values=values)
    began = time.monotonic()
    session.train_run(config, folder, reporter=reporter_for(quiet=quiet), made=True)
    seconds = time.monotonic() - began
    evaluation = evaluate(folder, files["test"], quiet=quiet)
    scores = evaluation.scores
    say = sys.stdout.write
    say(f"\nDates in {len(LOCALES)} languages and regions → ISO 8601, trained in {duration(seconds)}.\n")
    say(f"Held-out test: {100 * scores['exact_match']:.2f} % of {scores['count']:,} dates exactly right.\n\n")
    model = load(folder)
    width = max(map(columns_of, EXAMPLES))
    for example, prediction in zip(EXAMPLES, model.predict(list(EXAMPLES)), strict=True):
        say(f"  {example}{' ' * (width - columns_of(example))}  →  {prediction.text}\n")
    picture = folder / "attention.html"
    write_attention(model.predict(EXAMPLES[2], alternatives=3), picture, input_text=EXAMPLES[2])
    say(f"\nAttention of “{EXAMPLES[2]}”: {picture}\n\n{NEXT.format(run=folder)}")
    return folder
