"""The vocabulary shortlist: what it learns, what it gives each sentence, files that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from seqloom.data import shortlist
from seqloom.data.shortlist import FILE, Shortlist, learn
from seqloom.errors import DataError, RunFolderError
from seqloom.types import END, PADDING, UNKNOWN, Ints, Padded

SOURCES, TARGETS = 14, 24  # symbols 4 … 13 become 2·s and sometimes 2·s + 1
DRAW = np.random.default_rng(1)


def pairs(count: int) -> list[tuple[Ints, Ints]]:
    found = []
    for _ in range(count):
        source = DRAW.integers(4, SOURCES - 2, DRAW.integers(2, 6))
        target = 2 * source - 4 + (DRAW.random(len(source)) < 0.2)
        found.append((source, DRAW.permutation(target)))
    return found


def padded(*rows: list[int]) -> Padded:
    width = max(map(len, rows))
    return Padded({"main": np.array([row + [PADDING] * (width - len(row)) for row in rows])},
                  np.array([len(row) for row in rows]))


def model_one(data: list[tuple[Ints, Ints]], rounds: int) -> dict[tuple[int, int], float]:
    """IBM model 1 as Brown et al. 1993 write it, eq. 14 to 16, with loops."""
    table: dict[tuple[int, int], float] = {}
    for source, target in data:
        for f in [PADDING, *source.tolist()]:
            for e in target.tolist():
                table[f, e] = 1.0
    for _ in range(rounds):
        counts = dict.fromkeys(table, 0.0)
        for source, target in data:
            own = [*source.tolist(), PADDING]
            for e in target.tolist():
                total = sum(table[f, e] for f in own)
                for f in own:
                    counts[f, e] += table[f, e] / total
        sums: dict[int, float] = {}
        for (f, _), count in counts.items():
            sums[f] = sums.get(f, 0.0) + count
        table = {pair: count / sums[pair[0]] for pair, count in counts.items()}
    return table


def test_alignment_is_model_one() -> None:
    data = pairs(30)
    keys, table = shortlist._model_one([np.append(source, PADDING) for source, _ in data],
                                       [target for _, target in data], TARGETS)
    expected = model_one(data, shortlist.ITERATIONS)
    found = dict(zip(zip((keys // TARGETS).tolist(), (keys % TARGETS).tolist(), strict=True), table.tolist(),
                     strict=True))
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[key] for key in expected], list(expected.values()), rtol=1e-9)


def test_every_symbol_finds_its_own() -> None:
    found = learn(pairs(400), SOURCES, TARGETS, common=1, each=2)
    for symbol in range(4, SOURCES - 2):
        own = found.ids[found.starts[symbol]:found.starts[symbol + 1]]
        assert set(own.tolist()) == {2 * symbol - 4, 2 * symbol - 3}
    assert found.starts[4] == 0  # special symbols have none
    assert {UNKNOWN, END} <= set(found.common.tolist())
    assert len(found.common) == 3


def test_a_sentence_has_its_list_whatever_its_neighbours() -> None:
    found = learn(pairs(400), SOURCES, TARGETS, common=2, each=2)
    together = found.lists(padded([4, 5], [4, 5, 6, 7, END], [13]))
    assert together[1].tolist() == sorted({*found.common.tolist(), *range(4, 12)})
    for row, sentence in enumerate(([4, 5], [4, 5, 6, 7, END], [13])):
        alone = found.lists(padded(sentence))[0]
        np.testing.assert_array_equal(together[row][together[row] >= 0], alone)
    assert (together[2] == -1).any()  # shorter lists end in -1
    assert found.lists(Padded({"main": np.zeros((0, 0), np.int64)}, np.zeros(0, np.int64))).shape == (0, 0)


def test_only_the_first_pairs_are_used_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "MOST_CELLS", 9)
    found = learn([(np.array([4, 5]), np.array([6, 7, 8])), (np.array([6]), np.array([9]))], SOURCES, TARGETS)
    assert 6 in found.ids
    assert 9 not in found.ids


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match=r"(?s)no pairs to learn a shortlist from.*fix: give a file"):
        learn([], SOURCES, TARGETS)


# --- files -----------------------------------------------------------------------------------------------------------


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    found = learn(pairs(50), SOURCES, TARGETS)
    found.save(tmp_path)
    again = Shortlist.load(tmp_path, SOURCES, TARGETS)
    for name in ("common", "starts", "ids"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_a_missing_one_says_how_to_learn_one(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"(?s)has no vocabulary shortlist.*fix: learn one: seqloom export"):
        Shortlist.load(tmp_path, SOURCES, TARGETS)


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    learn(pairs(50), SOURCES, TARGETS).save(tmp_path)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:-5])
    with pytest.raises(RunFolderError, match="the shortlist is damaged"):
        Shortlist.load(tmp_path, SOURCES, TARGETS)


@pytest.mark.parametrize(("changes", "message"), [
    ({"target_size": str(TARGETS + 1)}, f"is of {SOURCES} and {TARGETS + 1} symbols, but the tokenizers have"),
    ({"ids": np.array([TARGETS], np.int32), "starts": np.append(np.zeros(SOURCES, np.int32), 1).astype(np.int32)},
     "names symbols that there are not"),
    ({"starts": np.arange(SOURCES + 1, dtype=np.int32)[::-1].copy()}, "names symbols that there are not"),
])
def test_one_of_other_symbols_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    found = learn(pairs(50), SOURCES, TARGETS)
    arrays = {name: np.asarray(changes.get(name, getattr(found, name)), np.int32)
              for name in ("common", "starts", "ids")}
    save_file(arrays, tmp_path / FILE, {"target_size": str(changes.get("target_size", TARGETS))})
    with pytest.raises(RunFolderError, match=message):
        Shortlist.load(tmp_path, SOURCES, TARGETS)
