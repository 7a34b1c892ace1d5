"""Training of a unigram model over pieces of words (Kudo 2018, "Subword Regularization", §3.2), in NumPy.

It stands here because training must give the same pieces for the same data: the library's trainer walks hash tables
whose order changes from run to run, so scores differ and, where pieces tie, pieces too. Segmenting is the library's.

EM over all segmentations of the distinct words, weighted by their counts; after every few rounds the pieces whose
removal would cost the likelihood least are dropped, until the wanted number is left. Characters are never dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from seqloom.types import Bools, Floats, Ints

LONGEST_PIECE = 16            # characters
MOST_CHARACTERS = 500_000     # of distinct words; rarer words beyond are not trained on, to bound time and memory
SEEDS_PER_PIECE = 10          # pieces to start from, for each wanted one
EM_ROUNDS = 2                 # between two prunings
KEPT = 0.75                   # share of the pieces that a pruning keeps
LEAST = 0.5                   # expected count under which a piece is dropped (as SentencePiece does)


class Lattice(NamedTuple):
    """All segmentations of W strings of n characters each.

    rows: [W] which strings these are. edges: [W n M] number of the piece of m + 1 characters that ends with character
    j, or, where there is none, the number behind the last piece (whose score is −inf).
    """

    rows: Ints
    edges: Ints


def train_unigram(words: Mapping[str, int], characters: Sequence[str], limit: int,
                  minimum: int) -> tuple[list[str], list[float]]:
    """Pieces and their log-probabilities (nats, 6 decimals), best first, ties by piece.

    words: count of each distinct word. characters: the alphabet, all of it kept; other characters cut a word in two.
    limit: most pieces, characters included. minimum: least count of a piece of two or more characters.
    """
    strings, counts = training_strings(words, frozenset(characters))
    if not strings:
        return [], []
    seeds = seed_counts(strings, counts, minimum)
    wanted = max(0, limit - len(characters))
    ranked = sorted(seeds, key=lambda piece: (-seeds[piece] * len(piece), piece))[: SEEDS_PER_PIECE * wanted]
    pieces = [*characters, *ranked]
    single = np.arange(len(pieces)) < len(characters)
    corpus = list(lattices(strings, pieces))
    insides = list(lattices(pieces, pieces, whole=False))
    weights = np.asarray(counts, np.float64)
    seen = Counter(seeds)
    for string, count in zip(strings, counts, strict=True):
        for character in string:
            seen[character] += count
    scores = log_shares(np.array([seen[piece] for piece in pieces], np.float64), single)
    while True:
        for _ in range(EM_ROUNDS):
            expected = expected_counts(corpus, weights, scores)
            scores = log_shares(expected, single)
        alive = np.flatnonzero(~single & np.isfinite(scores))
        if len(alive) <= wanted:
            break
        loss = expected[alive] * (scores[alive] - scores_without(insides, scores)[alive])
        # Rounded, so that the last bits of a sum never decide; equal losses keep the piece that stands first.
        order = np.lexsort((alive, -np.round(loss, 6)))
        scores[alive[order[max(wanted, int(KEPT * len(alive))):]]] = -np.inf
    rounded = np.round(scores, 6)
    best = sorted(np.flatnonzero(np.isfinite(rounded)), key=lambda number: (-rounded[number], pieces[number]))
    return [pieces[number] for number in best], [float(rounded[number]) for number in best]


def training_strings(words: Mapping[str, int], alphabet: frozenset[str]) -> tuple[list[str], list[int]]:
    """Distinct strings of known characters, at most MOST_CHARACTERS in sum, and their counts; most frequent first."""
    found: Counter[str] = Counter()
    for word, count in words.items():
        known = "".join(character if character in alphabet else "\0" for character in word)
        for part in known.split("\0"):
            if part:
                found[part] += count
    strings: list[str] = []
    total = 0
    for string in sorted(found, key=lambda s: (-found[s], s)):
        total += len(string)
        if total > MOST_CHARACTERS and strings:
            break
        strings.append(string)
    return strings, [found[string] for string in strings]


def seed_counts(strings: Sequence[str], counts: Sequence[int], minimum: int) -> dict[str, int]:
    """Every substring of 2 to LONGEST_PIECE characters seen at least `minimum` times, with its count.

    Grown one character at a time: a substring is frequent only if its beginning is, so most rare ones are never stored.
    """
    seeds: dict[str, int] = {}
    starts = [list(range(len(string))) for string in strings]
    for length in range(2, LONGEST_PIECE + 1):
        found: Counter[str] = Counter()
        for string, count, open_starts in zip(strings, counts, starts, strict=True):
            for start in open_starts:
                if start + length <= len(string):
                    found[string[start:start + length]] += count
        frequent = {piece: count for piece, count in found.items() if count >= minimum}
        if not frequent:
            break
        seeds.update(frequent)
        for row, string in enumerate(strings):
            if starts[row]:
                starts[row] = [start for start in starts[row] if string[start:start + length] in frequent]
    return seeds


def lattices(strings: Sequence[str], pieces: Sequence[str], *, whole: bool = True) -> Iterator[Lattice]:
    """Lattices of the strings, one for each length; `whole=False` leaves out the edge that is the string itself."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    none = len(pieces)
    by_length: dict[int, list[int]] = {}
    for row, string in enumerate(strings):
        by_length.setdefault(len(string), []).append(row)
    for n, rows in sorted(by_length.items()):
        widest = min(n, LONGEST_PIECE)
        edges = np.full((len(rows), n, widest), none, np.int32)
        for place, row in enumerate(rows):
            string = strings[row]
            edges[place] = [[numbers.get(string[j - m:j + 1], none) if m <= j else none for m in range(widest)]
                            for j in range(n)]
        if not whole and widest == n:
            edges[:, n - 1, n - 1] = none
        yield Lattice(np.asarray(rows), edges)


def forward(edges: Floats) -> Floats:
    """Log-probability sum of all segmentations of each prefix: edge scores [W n M] → [W n+1] (nats)."""
    W, n, M = edges.shape
    prefixes = np.full((W, n + 1), -np.inf)
    prefixes[:, 0] = 0.0
    for j in range(n):
        m = min(j + 1, M)
        prefixes[:, j + 1] = np.logaddexp.reduce(prefixes[:, j::-1][:, :m] + edges[:, j, :m], axis=1)
    return prefixes


def backward(edges: Floats) -> Floats:
    """Log-probability sum of all segmentations of each suffix: edge scores [W n M] → [W n+1] (nats)."""
    W, n, M = edges.shape
    suffixes = np.full((W, n + 1), -np.inf)
    suffixes[:, n] = 0.0
    for i in range(n - 1, -1, -1):
        steps = np.arange(min(M, n - i))
        suffixes[:, i] = np.logaddexp.reduce(edges[:, i + steps, steps] + suffixes[:, i + 1 + steps], axis=1)
    return suffixes


def expected_counts(corpus: Sequence[Lattice], counts: Floats, scores: Floats) -> Floats:
    """E-step: how often each piece is expected over all segmentations of all strings [pieces]."""
    padded = np.append(scores, -np.inf)
    expected = np.zeros(len(padded))
    for rows, numbers in corpus:
        edges = padded[numbers]
        prefixes, suffixes = forward(edges), backward(edges)
        through = np.zeros_like(edges)
        for j in range(edges.shape[1]):
            m = min(j + 1, edges.shape[2])
            rest = suffixes[:, j + 1] - suffixes[:, 0]
            through[:, j, :m] = np.exp(prefixes[:, j::-1][:, :m] + edges[:, j, :m] + rest[:, None])
        through *= counts[rows][:, None, None]
        expected += np.bincount(numbers.ravel(), through.ravel(), len(padded))
    return expected[:-1]


def scores_without(insides: Sequence[Lattice], scores: Floats) -> Floats:
    """Log-probability of each piece's text once the piece itself is gone [pieces]; −inf for characters."""
    padded = np.append(scores, -np.inf)
    alternatives = np.empty(len(scores))
    for rows, numbers in insides:
        alternatives[rows] = forward(padded[numbers])[:, -1]
    return alternatives


def log_shares(expected: Floats, single: Bools) -> Floats:
    """M-step: log of the share of each piece; pieces below LEAST are dropped (−inf), characters kept at LEAST."""
    kept = np.where(single, np.maximum(expected, LEAST), np.where(expected < LEAST, 0.0, expected))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(kept) - np.log(kept.sum()), np.float64)
