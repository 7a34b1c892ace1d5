"""A vocabulary shortlist: for every source symbol the target symbols that it may become, learned from pairs.

An output layer over thousands of words is most of a decoding step's work, and for one sentence hardly any of them can
come. A sentence's list is the symbols of its own source symbols together with the most frequent ones of all (Jean et
al. 2015, "On Using Very Large Target Vocabulary for Neural Machine Translation", §3.4). Which symbols belong to which
comes from word alignment: IBM model 1 (Brown et al. 1993, §4.1), which needs nothing but pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqloom.data.storage import atomic_file
from seqloom.errors import DataError, RunFolderError
from seqloom.types import END, PADDING, UNKNOWN, Floats, Ints, Padded

FILE = "shortlist.safetensors"
COMMON, EACH = 300, 20  # most frequent symbols of all; symbols for each source symbol
ITERATIONS = 5
MOST_CELLS = 30_000_000  # source × target tokens of all pairs together that are learned from
SMALLEST_SHARE = 1e-3  # a symbol that is translated so seldom by another is not one of its symbols


@dataclass(frozen=True)
class Shortlist:
    """common: [F] symbols of every list; ids[starts[s] : starts[s + 1]] are those of the source symbol s.

    starts: [source symbols + 1]; target_size: number of target symbols.
    """

    common: Ints
    starts: Ints
    ids: Ints
    target_size: int

    def lists(self, source: Padded) -> Ints:
        """[B L] the symbols of each sentence, ascending, -1 after them. Depends on that sentence alone."""
        found = []
        starts, always = self.starts.tolist(), np.zeros(self.target_size, np.bool_)
        always[self.common] = True
        for row, length in zip(source.main.tolist(), source.lengths.tolist(), strict=True):
            allowed = always.copy()  # quicker than to sort and compare ids
            for symbol in set(row[:length]):
                allowed[self.ids[starts[symbol]:starts[symbol + 1]]] = True
            found.append(np.flatnonzero(allowed))
        lists: Ints = np.full((len(found), max(map(len, found), default=0)), -1, np.int64)
        for row, one in zip(lists, found, strict=True):
            row[: len(one)] = one
        return lists

    def save(self, folder: Path) -> None:
        """Write it into a run folder."""
        from safetensors.numpy import save

        with atomic_file(folder / FILE, "wb") as file:
            file.write(save({name: np.asarray(getattr(self, name), np.int32) for name in ("common", "starts", "ids")},
                            {"target_size": str(self.target_size)}))

    @classmethod
    def load(cls, folder: Path, source_size: int, target_size: int) -> Shortlist:
        """Read what `save` wrote. Raises RunFolderError where it is missing, damaged or of other vocabularies."""
        path = folder / FILE
        again = f"make it again: seqloom export {folder} --shortlist FILE"
        if not path.is_file():
            raise RunFolderError("the run has no vocabulary shortlist", where=str(path),
                                 fix=f"learn one: seqloom export {folder} --shortlist FILE, or predict without")
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                parts = [file.get_tensor(name).astype(np.int64) for name in ("common", "starts", "ids")]
                size = int(file.metadata()["target_size"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"the shortlist is damaged: {str(error).splitlines()[0]}", where=str(path), fix=again
                                 ) from None
        common, starts, ids = parts
        made = cls(common, starts, ids, size)
        if len(made.starts) != source_size + 1 or size != target_size:
            raise RunFolderError(f"the shortlist is of {len(made.starts) - 1} and {size} symbols, but the tokenizers "
                                 f"have {source_size} and {target_size}", where=str(path), fix=again)
        every = np.concatenate([made.common, made.ids])
        if (np.diff(made.starts) < 0).any() or made.starts[0] or made.starts[-1] != len(made.ids) \
                or every.min() < 0 or every.max() >= target_size:
            raise RunFolderError("the shortlist is damaged: it names symbols that there are not", where=str(path),
                                 fix=again)
        return made


def learn(pairs: Iterable[tuple[Ints, Ints]], source_size: int, target_size: int, *, common: int = COMMON,
          each: int = EACH) -> Shortlist:
    """Learn from pairs of ids, without start and end symbols. Raises DataError when there are none.

    At most MOST_CELLS source × target tokens are used, from the first pairs on: what they show suffices, and memory
    stays bounded.
    """
    sources: list[Ints] = []
    targets: list[Ints] = []
    cells = 0
    for source, target in pairs:
        own = np.append(np.asarray(source, np.int64), PADDING)  # padding stands for the empty word of model 1
        if cells + len(own) * len(target) > MOST_CELLS:
            break
        cells += len(own) * len(target)
        sources.append(own)
        targets.append(np.asarray(target, np.int64))
    if not cells:
        raise DataError("no pairs to learn a shortlist from", fix="give a file of pairs: --shortlist FILE")
    counts = np.bincount(np.concatenate(targets), minlength=target_size)
    frequent = np.argsort(-counts, kind="stable")[:common]
    frequent = frequent[counts[frequent] > 0]
    keys, table = _model_one(sources, targets, target_size)
    symbols, words = keys // target_size, keys % target_size
    keep = (table >= SMALLEST_SHARE) & (symbols != PADDING)
    symbols, words, table = symbols[keep], words[keep], table[keep]
    order = np.lexsort((words, -table, symbols))
    symbols, words = symbols[order], words[order]
    rank = np.arange(len(symbols)) - np.searchsorted(symbols, symbols)
    symbols, words = symbols[rank < each], words[rank < each]
    starts = np.searchsorted(symbols, np.arange(source_size + 1))
    return Shortlist(np.unique(np.append(frequent, [UNKNOWN, END])), starts, words, target_size)


def _model_one(sources: list[Ints], targets: list[Ints], target_size: int) -> tuple[Ints, Floats]:
    """Pairs of symbols that were seen together, as source · target_size + target, and t(target | source) of each."""
    # One run of cells for each target token: its sentence's source tokens.
    cells = np.concatenate([(source[None, :] * target_size + target[:, None]).reshape(-1)
                            for source, target in zip(sources, targets, strict=True)])
    lengths = np.concatenate([np.full(len(target), len(source))
                              for source, target in zip(sources, targets, strict=True)])
    first = np.cumsum(lengths) - lengths
    keys, cell = np.unique(cells, return_inverse=True)
    symbols = keys // target_size
    table: Floats = np.ones(len(keys))
    for _ in range(ITERATIONS):
        share: Floats = table[cell]
        share /= np.repeat(np.add.reduceat(share, first), lengths)
        table = np.asarray(np.bincount(cell, share, len(keys)), np.float64)
        table /= np.bincount(symbols, table)[symbols]
    return keys, table
