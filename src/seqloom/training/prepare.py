"""From files to what training reads: examined, split, tokenised once into memory-mapped arrays, and batched.

The files are streamed several times (hold-out, examination, one pass for each tokenizer, encoding) and never held in
memory; everything is a function of the files, the configuration and the seed, so a resumed run prepares the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from seqloom.config.sections import Config
from seqloom.data.batching import Batches, group_by_budget, pad
from seqloom.data.cache import ExampleStore, ExampleWriter
from seqloom.data.doctor import Examination, Quarantine
from seqloom.data.fingerprints import Marks
from seqloom.data.report import Report
from seqloom.errors import DataError, counted
from seqloom.heads import head_class
from seqloom.heads.base import Example
from seqloom.progress import Reporter
from seqloom.run import QUARANTINE, Run
from seqloom.sources import source_class
from seqloom.training.corpora import Corpora, Locations
from seqloom.training.streams import prepare_stream
from seqloom.types import Batch, Ints, Item, Record

VALID_TOKENS = 8192  # source and target tokens of a validation batch with gold history


@dataclass
class Prepared:
    """Data as training reads it.

    lengths: [N 2] source and target positions of every training example, <s> and </s> among them.
    fingerprint: of all examples, their order, and their weights; a resumed run must find the same.
    """

    source: Any
    head: Any
    store: ExampleStore
    lengths: Ints
    batches: Batches
    valid_records: list[Record]
    valid_items: list[tuple[Item | None, Item]]
    valid_batches: list[Ints]
    report: Report
    metric: str
    fingerprint: str
    locations: Locations

    carries_state: ClassVar[bool] = False

    def batch(self, indices: Ints) -> Batch:
        """The padded batch of these examples (NumPy)."""
        return Batch(*self.store.padded(indices), indices)

    def is_first(self, indices: Ints) -> bool:
        """No batch goes on from another."""
        return True

    def valid(self) -> Iterator[Batch]:
        """The padded validation batches (NumPy)."""
        for indices in self.valid_batches:
            sources, targets = zip(*(self.valid_items[index] for index in indices), strict=True)
            given = [source for source in sources if source is not None]
            yield Batch(pad(given) if given else None, pad(targets), indices)

    def likelihood(self, loss: float, count: float) -> dict[str, float]:
        """What the loss of the validation data says beyond itself, for people: nothing."""
        return {}

    def describe_plan(self, config: Config) -> str:
        """How much is read in an epoch."""
        return (f"{counted(len(self.store), 'example')} in {counted(self.batches.count(0), 'batch', 'batches')} of "
                f"{counted(config.training.batch_size, config.training.batch_type[:-1])}")

    def where(self, index: int) -> str:
        """file:line of an example."""
        return self.locations.where(index)


def prepare(config: Config, folder: Path, reporter: Reporter, *, run: Run | None = None) -> Prepared:
    """Read, examine, tokenise. `run`: a run to go on with, whose tokenizers serve unchanged.

    Raises DataError when files cannot be read or nothing usable is left.
    """
    if head_class(config.head.kind).is_stream:
        return cast("Prepared", prepare_stream(config, folder, reporter, run=run))  # it has all that is asked for
    corpora = Corpora(config, roles_of(config), dict(config.source.columns))
    for note in corpora.notes():
        reporter.say(f"note: {note}")
    with Quarantine(folder / QUARANTINE) as quarantine:
        examination = Examination(quarantine=quarantine, answers_steps=config.head.answers_steps)
        for number, (record, _) in enumerate(corpora.train()):
            examination.take(record)
            reporter.progress("reading", number, None)
        left_out = examination.leave_out_duplicates() if config.data.drop_duplicates else None
        source, head = (run.source, run.head) if run is not None else fit(config, corpora, left_out)
        encoder = _Encoder(config, source, head, examination)
        digest = blake2b(digest_size=16)
        store, locations = _encode_training(corpora, encoder, left_out, folder / "cache", reporter, digest)
        valid_records, valid_items = _encode_valid(corpora, encoder, digest)
        report = examination.report()
    lengths = store.lengths()
    batches = Batches(lengths, batch_size=config.training.batch_size, batch_type=config.training.batch_type,
                      seed=config.training.seed, weights=locations.weights())
    sizes = np.asarray([target.length + (0 if source is None else source.length) for source, target in valid_items],
                       np.int64)
    return Prepared(
        source, head, store, lengths, batches, valid_records, valid_items,
        list(group_by_budget(sizes, VALID_TOKENS)), report, metric=_metric(config, head),
        fingerprint=digest.hexdigest(), locations=locations)


def examine(config: Config, reporter: Reporter) -> Report:
    """The report on the configured files alone; with validation files, the unknown symbols of a fresh tokenizer too."""
    corpora = Corpora(config, roles_of(config), dict(config.source.columns), hold_out=False)
    for note in corpora.notes():
        reporter.say(f"note: {note}")
    examination = Examination(answers_steps=config.head.answers_steps)
    for number, _ in enumerate(examination.train(corpora.read(config.data.train))):
        reporter.progress("reading", number, None)
    if config.data.drop_duplicates:
        examination.leave_out_duplicates()
    if config.data.valid:
        source, head = fit(config, corpora, None)
        encoders = {name: side.tokenizer.encode for name, side in (("source", source), ("target", head))
                    if side.has_symbols}
        examination.add_unknown(examination.valid(corpora.read(config.data.valid)), encoders)
    reporter.finish()
    return examination.report()


def roles_of(config: Config) -> tuple[str, ...]:
    """What a training record must have."""
    return (*config.source.roles, *config.head.roles)


def fit(config: Config, corpora: Corpora, left_out: Marks | None) -> tuple[Any, Any]:
    """Tokenizers from the training part alone. left_out: see `Examination.leave_out_duplicates`."""

    def records() -> Iterator[Record]:
        return (record for record, _ in _usable(corpora, left_out))

    head = head_class(config.head.kind).fit(config, records())
    source = source_class(config.source.kind).fit(config.source, records(), head.shared_tokenizer)
    head.adopt(source)
    return source, head


def _usable(corpora: Corpora, left_out: Marks | None) -> Iterator[tuple[Record, float]]:
    """The training records that are neither bad nor left out, with their weights."""
    number = -1
    for record, weight in corpora.train():
        if isinstance(record, Record):
            number += 1
            if left_out is None or not left_out[number]:
                yield record, weight


class _Encoder:
    """Records as numbers; what is too long or cannot be encoded is set aside with the reason."""

    def __init__(self, config: Config, source: Any, head: Any, examination: Examination) -> None:
        self.config, self.source, self.head, self.examination = config, source, head, examination

    def training(self, records: Iterable[Record]) -> Iterator[Example]:
        """Training examples, none of them too long."""
        data = self.config.data
        for example in self.head.examples(self.source, records, self.examination.set_aside):
            tokens = 0 if example.source is None else self.source.measure(example.source)
            for side, count, most in (("source", tokens, data.max_source_length),
                                      ("target", len(example.target.tokens), data.max_target_length)):
                if count > most:
                    self.examination.set_aside(example.record, f"too long: {count:,} {side} tokens, at most {most:,}")
                    break
            else:
                yield example

    def valid(self, records: Iterable[Record]) -> Iterator[Example]:
        """Validation examples of any length."""
        return self.head.examples(  # type: ignore[no-any-return]
            self.source, records, lambda record, reason: self.examination.set_aside(record, reason, "valid"))


def _encode_training(corpora: Corpora, encoder: _Encoder, left_out: Marks | None, folder: Path,
                     reporter: Reporter, digest: blake2b) -> tuple[ExampleStore, Locations]:
    locations = Locations()
    weights: deque[float] = deque([1.0], maxlen=1)  # of the record that was read last

    def records() -> Iterator[Record]:
        for number, (record, weight) in enumerate(_usable(corpora, left_out)):
            reporter.progress("encoding", number, None)
            weights.append(weight)
            yield record

    with ExampleWriter(folder) as writer:
        for record, source, target in encoder.training(records()):
            writer.add(None if source is None else _compact(source), _compact(target))
            locations.add(record, weights[0])
            _note(digest, (source, target), str(weights[0]))
        store = writer.finish()
    if not len(store):
        raise DataError("no training example is usable", where=encoder.config.data.train[0].path or "",
                        fix="see what is wrong with the data: seqloom doctor")
    return store, locations


def _encode_valid(corpora: Corpora, encoder: _Encoder,
                  digest: blake2b) -> tuple[list[Record], list[tuple[Item | None, Item]]]:
    records, items = [], []
    for record, source, target in encoder.valid(encoder.examination.valid(corpora.valid())):
        records.append(record)
        items.append((source, target))
        _note(digest, (source, target), *encoder.head.texts_of(record))
        for name, side, item in (("source", encoder.source, source), ("target", encoder.head, target)):
            if side.has_symbols and item is not None:
                encoder.examination.add_encoded(name, item.fields["main"], record.where)
    if not records:
        raise DataError("no validation example is usable", fix="see what is wrong with the data: seqloom doctor")
    return records, items


def _note(digest: blake2b, pair: tuple[Item | None, Item], *texts: str) -> None:
    """Add an example to the fingerprint of the data."""
    for item in (item for item in pair if item is not None):
        for name, values in sorted(item.fields.items()):
            digest.update(f"{name} {_name(values.dtype)} {values.shape};".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    digest.update(repr(texts).encode("utf-8", "backslashreplace"))


_name = cache(str)  # of a NumPy type, which puts it together anew every time


def _compact(item: Item) -> Item:
    """Ids and numbers as 4 bytes instead of 8; bytes stay."""
    return Item({name: array if array.dtype == np.uint8 else array.astype(
        np.int32 if array.dtype.kind in "iu" else np.float32) for name, array in item.fields.items()})


def _metric(config: Config, head: Any) -> str:
    if config.training.metric == "auto":
        return str(head.metric)
    head.check_metrics([config.training.metric])
    return config.training.metric
