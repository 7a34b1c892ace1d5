"""The one door from raw input to raw answer: command line, Python, server, plots, evaluation and validation use it.

Inputs are read in windows of bounded size, sorted by length into batches under a token budget, answered, and handed
out in input order: constant memory, and an answer for every input, whatever is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from seqloom.config.problems import show
from seqloom.config.sections import DecodingConfig
from seqloom.data.batching import group_by_budget
from seqloom.data.lines import MAXIMUM_LINE, TOO_LONG
from seqloom.data.shortlist import Shortlist
from seqloom.engines.choice import open_engine
from seqloom.engines.parallel import spread
from seqloom.errors import DataError, UsageError
from seqloom.insight import Replay
from seqloom.run import Run, open_run
from seqloom.sources.text import inputs_of
from seqloom.types import BadRecord, Item, Prediction, Record

# Read, sorted and answered together: at most so many inputs, and of long ones not many more characters than this.
WINDOW = 10_000
WINDOW_CHARACTERS = 4_000_000
Input = str | Mapping[str, str]
Notice = Callable[[Record, Item], None]
Ready = Callable[[int], bool]


class Predictor:
    """Answers inputs with a source, a head and an engine. `decoding` holds the defaults of every call; `attends` says
    whether there is attention over what the source reads, which some of them need."""

    def __init__(self, source: Any, head: Any, engine: Any, decoding: DecodingConfig, run: Run | None = None) -> None:
        self.source = source
        self.head = head
        self.engine = engine
        self.decoding = decoding
        self.run = run
        self.attends = run is None or run.config.decoder.context in ("attention", "in_step")
        self._shortlist: Shortlist | None = None

    # --- for people ---

    def predict(self, inputs: Input | Iterable[Input], *, attention: bool | None = None, alternatives: int = 0,
                prefix: str | Sequence[str] | None = None, language: str | None = None, **options: Any) -> Any:
        """Answer one input (→ Prediction) or several (→ list of Prediction, same order).

        An input is text, or a mapping with the source's columns. `options` are keys of the decoding section, such as
        beam_size=5. `attention` (default: for one input) keeps the attention weights, `alternatives` the K best
        tokens of each step. A forced `prefix` is text that every answer starts with. `language` is that of all inputs,
        for a run that was trained on several. An input that cannot be read gives a Prediction with `stopped="error"`.
        Raises ConfigError for an unknown option, UsageError for an unknown language.
        """
        if language is not None:
            return self.in_language(language).predict(inputs, attention=attention, alternatives=alternatives,
                                                      prefix=prefix, **options)
        single = isinstance(inputs, (str, Mapping))
        if not isinstance(inputs, Iterable):
            raise UsageError(f"the inputs are {show(inputs)}, expected one (text or a mapping) or several of them",
                             fix="give text, a mapping, or a list")
        given: list[Input] = [inputs] if single else list(inputs)  # type: ignore[list-item]
        chosen = self.options(options)
        wanted = single if attention is None else attention
        prefixes = None
        if prefix is not None:
            prefixes = [prefix] * len(given) if isinstance(prefix, str) else list(prefix)
            if len(prefixes) != len(given):
                raise UsageError(f"{len(prefixes)} prefixes for {len(given)} inputs", fix="give one prefix for each")
        records = [Record(inputs_of(value, self.source.roles), "<input>", number)
                   for number, value in enumerate(given, 1)]
        results = list(self.predict_records(records, chosen, attention=wanted, alternatives=alternatives,
                                            prefixes=prefixes))
        return results[0] if single else results

    def options(self, changes: Mapping[str, Any]) -> DecodingConfig:
        """The decoding defaults with these changes, checked."""
        from seqloom.config.loading import change_decoding
        from seqloom.config.remarks import check_reads

        if self.run is not None:
            check_reads(self.run.config, changes)
        return change_decoding(self.decoding, changes, attention=self.attends) if changes else self.decoding

    def score(self, inputs: Sequence[Input], targets: Sequence[str], *, attention: bool = False) -> list[Prediction]:
        """Log-probability of each given target for its input; one Prediction for each pair."""
        if len(inputs) != len(targets):
            raise UsageError(f"{len(inputs)} inputs but {len(targets)} targets", fix="give one target for each input")
        records = [Record({**inputs_of(value, self.source.roles), "target": target}, "<input>", number)
                   for number, (value, target) in enumerate(zip(inputs, targets, strict=True), 1)]
        return list(self.score_records(records, attention=attention))

    def encode(self, inputs: Sequence[Input]) -> list[dict[str, Any]]:
        """What the encoder makes of each input: summary [N], states [S M], mask [S], tokens."""
        records = [Record(inputs_of(value, self.source.roles), "<input>", number)
                   for number, value in enumerate(inputs, 1)]
        items = [self._read(record) for record in records]
        encoded: list[dict[str, Any]] = []
        from seqloom.data.batching import pad

        for item, record in zip(items, records, strict=True):
            one = self.engine.encode(pad([item]))
            encoded.append({"tokens": self.source.memory_tokens(item, record), "summary": one.summary[0],
                            "states": one.states[0], "mask": one.mask[0]})
        return encoded

    def in_language(self, language: str | None) -> Predictor:
        """The same for inputs in this language, which need not say it themselves; None: as it is.

        Raises UsageError for a language that the run was not trained on, and for runs without languages.
        """
        if language is None:
            return self
        told = copy(self)
        told.source = self.source.in_language(language)
        return told

    # --- streams ---

    def predict_records(self, records: Iterable[Record | BadRecord], options: DecodingConfig | None = None, *,
                        attention: bool = False, alternatives: int = 0, prefixes: Iterable[str] | None = None,
                        first: int = 0, ready: Ready | None = None, notice: Notice | None = None
                        ) -> Iterator[Prediction]:
        """One Prediction for each record, in order, in constant memory.

        first:  number of the first record, from 0: with the seed it names a line's random numbers.
        ready:  asked with the number of records that wait for their answers, says whether the next one is there
                already. If not, those are answered first: nobody's answer waits for another's input.
        notice: told every record that could be read, with its numbers.
        """
        chosen = options or self.decoding
        starts = iter(prefixes) if prefixes is not None else None
        seen = first
        for window in windows(records, ready, self.source.window):
            texts = None if starts is None else list(islice(starts, len(window)))
            yield from self._answer_window(window, chosen, seen, attention, alternatives, texts, notice)
            seen += len(window)

    def score_records(self, records: Iterable[Record | BadRecord], *, attention: bool = False, candidates: int = 0,
                      ready: Ready | None = None, notice: Notice | None = None) -> Iterator[Prediction]:
        """The given target of each record as a Prediction: its score, token scores, attention, alternatives."""
        for window in windows(records, ready, self.source.window):
            yield from self._score_window(window, attention, candidates, notice)

    # --- windows ---

    def _read(self, record: Record | BadRecord) -> Item:
        """The numbers of a record. Raises DataError."""
        if isinstance(record, BadRecord):
            raise DataError(record.reason, where=record.where)
        if any(len(text) > MAXIMUM_LINE for text in record.fields.values()):
            raise DataError(TOO_LONG, where=record.where, fix="split it into several inputs")
        item: Item = self.head.link(self.source.read(record))
        return item

    def _readable(self, window: list[Record | BadRecord], results: list[Prediction | None], notice: Notice | None
                  ) -> list[tuple[int, Item]]:
        """Positions and numbers of the good records; each bad one is answered with its error here."""
        readable = []
        for position, record in enumerate(window):
            try:
                item = self._read(record)
            except DataError as error:
                results[position] = failed(error.message, record.where)
                continue
            readable.append((position, item))
            if notice is not None and isinstance(record, Record):
                notice(record, item)
        return readable

    def _answer_window(self, window: list[Record | BadRecord], options: DecodingConfig, seen: int, attention: bool,
                       alternatives: int, prefixes: list[str] | None, notice: Notice | None) -> Iterator[Prediction]:
        results: list[Prediction | None] = [None] * len(window)
        readable = self._readable(window, results, notice)
        shortlist = self.shortlist(options)
        listed = {} if shortlist is None else {"shortlist": shortlist}  # heads without a vocabulary know none
        lengths = np.asarray([item.length for _, item in readable], np.int64)
        groups = [[readable[index] for index in group] for group in group_by_budget(lengths, options.batch_tokens)]

        def search(engine: Any, group: list[tuple[int, Item]]) -> Any:
            starts = None if prefixes is None else [self.head.prefix_ids(prefixes[number], item)
                                                    for number, item in group]
            return self.head.answer(engine, [item for _, item in group], options, attention=attention, prefixes=starts,
                                    lines=seen + np.asarray([number for number, _ in group]), **listed)

        for group, found in zip(groups, spread(self.engine, groups, search), strict=True):
            for (position, item), hypotheses in zip(group, found, strict=True):
                record = window[position]
                assert isinstance(record, Record)
                tokens = self.source.memory_tokens(item, record)
                answers = [replace(
                    self.head.prediction(hypothesis, item, tokens, options, attention=attention),
                    where=record.where, engine=self.engine.name,
                    replay=Replay(self.run, item, tokens, hypothesis) if attention and self.run is not None else None)
                    for hypothesis in hypotheses]
                best = answers[0]
                if alternatives:
                    best = replace(best, alternatives=self.head.alternatives(
                        self.engine, item, hypotheses[0], alternatives))
                results[position] = replace(best, n_best=answers) if options.n_best > 1 else best
        yield from (result for result in results if result is not None)

    def shortlist(self, options: DecodingConfig) -> Shortlist | None:
        """The run's vocabulary shortlist where the options ask for it. Raises RunFolderError where there is none."""
        if not options.shortlist:
            return None
        if self._shortlist is None:
            if self.run is None:
                raise UsageError("a shortlist belongs to a run folder, and this model is in none",
                                 fix="predict without a shortlist")
            self._shortlist = Shortlist.load(self.run.folder, self.source.size, self.head.size)
        return self._shortlist

    def _score_window(self, window: list[Record | BadRecord], attention: bool, candidates: int,
                      notice: Notice | None) -> Iterator[Prediction]:
        results: list[Prediction | None] = [None] * len(window)
        readable, targets = [], []
        for position, item in self._readable(window, results, notice):
            record = window[position]
            assert isinstance(record, Record)
            try:
                targets.append(self.head.read(record, item))
                readable.append((position, item))
            except DataError as error:
                results[position] = failed(error.message, record.where)
        lengths = np.asarray([item.length + target.length for (_, item), target in zip(readable, targets, strict=True)],
                             np.int64)
        for group in group_by_budget(lengths, self.decoding.batch_tokens):
            batch = [readable[index][1] for index in group]
            given = [targets[index] for index in group]
            found = self.head.score(self.engine, batch, given, lines=np.asarray([readable[i][0] for i in group]),
                                    attention=attention, candidates=candidates)
            for index, item, scored in zip(group, batch, found, strict=True):
                position = readable[index][0]
                record = window[position]
                assert isinstance(record, Record)
                results[position] = replace(
                    scored, text=self.head.texts_of(record)[0], where=record.where, engine=self.engine.name,
                    source_tokens=self.source.memory_tokens(item, record))
        yield from (result for result in results if result is not None)


class Stepper:
    """Answers one input step by step: each answer knows the steps so far and none that follows.

    Raises UsageError for a run whose answers need what follows, or that does not answer each step.
    """

    def __init__(self, predictor: Predictor) -> None:
        run = predictor.run
        if run is not None and run.config.encoder.bidirectional and "encoder" in run.config.source.reads:
            raise UsageError("the run reads its inputs in both directions, so no answer is there before the last step",
                             fix="train with --set encoder.bidirectional=false")
        if not predictor.source.reads_steps:
            raise UsageError(f"source.kind {predictor.source.kind} cannot be read step by step as this run reads it",
                             fix="leave --stream out")
        self.predictor = predictor
        self.role: str = predictor.source.roles[0]
        self.state: Any = None

    def restart(self) -> None:
        """The next step is the first of another input."""
        self.state = None

    def step(self, record: Record) -> Prediction:
        """The answer to one more step. Raises DataError for one that cannot be read; the input goes on behind it."""
        own = self.predictor
        item = own.source.read_step(record)
        answer, self.state = own.head.streamed(own.engine, item, self.state)
        found: Prediction = own.head.prediction(answer, item, item.tokens, own.decoding)
        return replace(found, where=record.where, engine=own.engine.name)


def windows(records: Iterable[Record | BadRecord], ready: Ready | None = None, most: int = WINDOW
            ) -> Iterator[list[Record | BadRecord]]:
    """Records in lists of bounded size, at most `most`; the next list is read when it is asked for.

    `ready`: see predict_records.
    """
    window: list[Record | BadRecord] = []
    characters = 0
    for record in records:
        window.append(record)
        characters += len(record.text) if isinstance(record, BadRecord) else sum(map(len, record.fields.values()))
        full = len(window) >= min(WINDOW, most) or characters >= WINDOW_CHARACTERS
        if full or (ready is not None and not ready(len(window))):
            yield window
            window, characters = [], 0
    if window:
        yield window


def failed(reason: str, where: str) -> Prediction:
    """The answer to an input that cannot be read: empty, with the reason."""
    return Prediction(text="", score=float("nan"), stopped="error", error=reason, where=where)


def load_predictor(folder: str | Path, *, engine: str = "auto", device: str = "auto", threads: int | None = None,
                   say: Callable[[str], None] | None = None) -> Predictor:
    """Open a run folder and choose an engine; see engines.choice. Raises RunFolderError, MissingExtraError."""
    run = open_run(folder)
    return Predictor(run.source, run.head, open_engine(run, engine, device, threads, say=say), run.config.decoding, run)
