"""Does an export answer as the model does? Compared on real inputs, through the same Predictor.

The reference is the torch engine; where torch is not installed int8 is compared with fp32, and fp32 with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from seqloom.config.sections import CorpusConfig
from seqloom.data.files import read_records
from seqloom.data.shortlist import FILE
from seqloom.engines.artifacts import read_manifest, read_models
from seqloom.engines.choice import torch_engine
from seqloom.engines.onnx import OnnxEngine
from seqloom.errors import DataError, SeqloomError
from seqloom.export.output import normalization_of
from seqloom.export.text_parity import differences
from seqloom.metrics import evaluate_outputs
from seqloom.predictor import Predictor
from seqloom.run import Run
from seqloom.types import Prediction, Record

# fp32: log-probabilities of one token may differ by this; an answer may differ where both are as good to this.
FP32_BOUND = 1e-3
# Of a sparse output probabilities are compared: the logarithm of one that is nearly 0 is all rounding.
SPARSE_BOUND = 1e-4
# int8: how much worse a metric may be, in points of its own scale, and how many answers may change without a metric.
INT8_BOUNDS = {"bleu": 0.5, "exact_match": 0.01, "accuracy": 0.01, "token_accuracy": 0.01}
# int8 of a language model: bits for each character more, of which fewer are better.
BITS, INT8_BITS = "bits_per_character", 0.02
INT8_CHANGED = 0.2
# One answer more or less is no sign of anything: with few inputs the bound is this many of them.
FEWEST_WORSE = 2

Say = Callable[[str], None]


class Parity(NamedTuple):
    """inputs: how many; changed: answers that differ, `ties` of them equally good; largest: difference of a token's
    log-probability; metrics by name: (reference, export), where the inputs have targets. Of a language model the
    answers are the most probable next symbols of a text. sparse: the largest difference is of a probability.
    """

    precision: str
    reference: str
    inputs: int
    changed: int
    ties: int
    largest: float
    metrics: Mapping[str, tuple[float, float]] = MappingProxyType({})
    sparse: bool = False

    def lines(self) -> list[str]:
        """What it says to people."""
        share = f"{self.changed} of {self.inputs} answers differ ({100 * self.changed / max(self.inputs, 1):.1f} %)"
        if self.ties:
            share += f", {self.ties} of them between answers that are equally good"
        found = [f"{self.precision} against {self.reference}: {share}; largest difference of a token's "
                 f"{'' if self.sparse else 'log-'}probability {self.largest:.2g}"]
        found += [f"{self.precision}: {name} {after:.4g}, {self.reference} {before:.4g}"
                  for name, (before, after) in self.metrics.items()]
        return found

    def problem(self) -> str:
        """Why the export is not good enough, or ""."""
        if self.precision == "fp32":
            if self.changed > self.ties:
                worse = self.changed - self.ties
                return f"{worse} of {self.inputs} answers differ from {self.reference}, expected none"
            bound, what = (SPARSE_BOUND, "") if self.sparse else (FP32_BOUND, "log-")
            if not self.largest <= bound:
                return f"{what}probabilities differ by {self.largest:.2g}, expected at most {bound:g}"
            return ""
        for name, (before, after) in self.metrics.items():
            if name == BITS:
                if not after - before <= INT8_BITS:
                    return f"{name} rises from {before:.4g} to {after:.4g}, expected at most {INT8_BITS} more"
                continue
            scale = 100.0 if name == "bleu" else 1.0
            bound = max(INT8_BOUNDS[name], FEWEST_WORSE * scale / max(self.inputs, 1))
            if before - after > bound:
                return f"{name} falls from {before:.4g} to {after:.4g}, expected at most {bound:.2g} less"
        if not self.metrics and self.changed > max(INT8_CHANGED * self.inputs, FEWEST_WORSE):
            return f"{self.changed} of {self.inputs} answers change, expected at most {100 * INT8_CHANGED:g} %"
        return ""


def check_parity(run: Run, exported: Run, precisions: Sequence[str], data: Sequence[CorpusConfig] | None, limit: int,
                 say: Say) -> list[Parity]:
    """Compare each precision of `exported` with the model of `run`. Raises SeqloomError when one is not good enough."""
    manifest = read_manifest(exported)
    assert manifest is not None
    engines = {precision: OnnxEngine(*read_models(exported, manifest, precision), name=f"onnx {precision}")
               for precision in precisions}
    reference: Any = torch_engine(run, "cpu", None) if find_spec("torch") is not None else engines.get("fp32")
    if reference is None:
        say("not compared: torch is not installed")
        return []
    records = list(islice(_records(run, data, say), limit))
    found = []
    for precision, engine in engines.items():
        if engine is reference:
            say(f"{precision} not compared: torch is not installed")
            continue
        parity = compare(run, reference, engine, records, precision)
        for line in parity.lines():
            say(line)
        if problem := parity.problem():
            raise SeqloomError(f"the {precision} export does not answer as the model does: {problem}",
                               fix="use --engine torch for this run" + (
                                   ", or export without --int8" if precision == "int8" else
                                   ", and report this: it is a fault of seqloom"))
        found.append(parity)
    if (exported.folder / FILE).is_file():
        found += _with_shortlist(run, exported, reference, engines, records, say)
    return found


def _with_shortlist(run: Run, exported: Run, reference: Any, engines: Mapping[str, Any], records: Sequence[Record],
                    say: Say) -> list[Parity]:
    """What the vocabulary shortlist changes. It is an option, so a loss is told and nothing is refused."""
    decoding = run.config.decoding.model_copy(update={"shortlist": True})
    found = []
    for precision, engine in engines.items():
        parity = compare(run, reference, engine, records, f"{precision} with shortlist",
                         predictor=Predictor(run.source, run.head, engine, decoding, exported))
        for line in parity.lines():
            say(line)
        if problem := parity.problem():
            say(f"warning: the shortlist costs more than it should: {problem}; learn it from more pairs, or predict "
                "without")
        found.append(parity)
    return found


def _records(run: Run, data: Sequence[CorpusConfig] | None, say: Say) -> Iterator[Record]:
    """Real inputs: given ones, validation data, training data; made-up ones where no file is there any more."""
    config = run.config.data
    choices = ((data, "the given files"), (config.valid, "validation data"), (config.train, "training data"))
    for corpora, name in choices:
        if not corpora or (corpora is not data and not all(_is_there(corpus) for corpus in corpora)):
            continue
        say(f"comparing on {name}")
        roles = [*run.source.roles, *([] if run.head.is_stream else ["target"])]
        columns = {**run.source.columns, **(config.columns or {})}
        yield from (record for record in read_records(corpora, columns, roles) if isinstance(record, Record))
        return
    say("comparing on made-up inputs: the run's data is not there any more; --data FILE gives others")
    draw = np.random.default_rng(1)
    for number in range(100):
        fields = (run.head if run.head.is_stream else run.source).made_up(draw)
        if fields is None:
            return
        yield Record(fields, "<made up>", number + 1)


def _is_there(corpus: CorpusConfig) -> bool:
    return all(Path(path).is_file() for path in (corpus.path, corpus.source, corpus.target) if path)


def compare(run: Run, reference: Any, engine: Any, records: Sequence[Record], precision: str, *,
            predictor: Predictor | None = None) -> Parity:
    """Answers of two engines to the same records, and their scores of the reference's answers.

    predictor: what answers with `engine`; as the run decodes when not given.
    """
    if not records:
        raise DataError("no usable input to compare on", fix="give a file with --data")
    if run.head.is_stream:
        found = differences(run.head, reference, engine, records, FP32_BOUND / 10)
        return Parity(precision, reference.name, found.places, found.changed, found.ties, found.largest,
                      {BITS: found.bits})
    decoding = run.config.decoding.model_copy(update={"shortlist": False})
    before = Predictor(run.source, run.head, reference, decoding, run)
    after = predictor or Predictor(run.source, run.head, engine, decoding, run)
    expected, given = (list(one.predict_records(records)) for one in (before, after))
    targets = [Record({**record.fields, "target": prediction.text}, record.path, record.line)
               for record, prediction in zip(records, expected, strict=True) if prediction.text]
    scored = [list(one.score_records(targets)) for one in (before, after)]
    sparse = normalization_of(run.config) != "softmax"
    tokens = [[np.exp(one.token_scores) if sparse else one.token_scores for one in side] for side in scored]
    largest = max((float(np.abs(one - other).max()) for one, other in zip(*tokens, strict=True) if len(one)),
                  default=0.0)
    changed = [(one, other) for one, other in zip(expected, given, strict=True) if one.tokens != other.tokens]
    ties = sum(abs(one.ranking_score - other.ranking_score) <= FP32_BOUND / 10 for one, other in changed)
    return Parity(precision, reference.name, len(records), len(changed), ties, largest,
                  _metrics(run, records, expected, given), sparse)


def _metrics(run: Run, records: Sequence[Record], expected: Sequence[Prediction],
             given: Sequence[Prediction]) -> dict[str, tuple[float, float]]:
    if not all(record.fields.get("target") for record in records):
        return {}
    names = (["exact_match"] if run.head.is_free_text else []) + [run.head.metrics[run.head.metric]]
    references = [run.head.texts_of(record) for record in records]
    before, after = (evaluate_outputs([one.text for one in answers], references, names)
                     for answers in (expected, given))
    return {name: (float(before[name]), float(after[name])) for name in names}
