"""Splits of pairs: no sentence on two sides of one, nothing lost, the same parts for the same seed."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from source_tree import ROOT

if str(ROOT) not in sys.path:  # benchmarks/ is no part of the package, and `pytest` alone does not look here
    sys.path.append(str(ROOT))

from benchmarks import splits


def pairs_of(count: int, *, seed: int = 1) -> list[splits.Pair]:
    """Pairs of few sentences, so that many are linked, some through several others."""
    draw = random.Random(seed)
    return list(dict.fromkeys((f"Tom {draw.randrange(count)}.", f"톰 {draw.randrange(count)}!") for _ in range(count)))


@pytest.mark.parametrize("seed", range(5))
def test_no_sentence_stands_in_two_parts(seed: int) -> None:
    pairs = pairs_of(300, seed=seed)
    parts = splits.split(pairs, dev=40, test=40, seed=seed)
    assert Counter(pair for part in parts.values() for pair in part) == Counter(pairs)
    for side in (0, 1):
        seen = [{splits.key(pair[side]) for pair in part} for part in parts.values()]
        assert sum(map(len, seen)) == len(set.union(*seen))


def test_parts_are_as_large_as_asked_and_repeat_by_seed() -> None:
    pairs = pairs_of(2_000)
    parts = splits.split(pairs, dev=100, test=50, seed=3)
    assert 98 <= len(parts["dev"]) <= 100
    assert 48 <= len(parts["test"]) <= 50
    assert splits.split(pairs, dev=100, test=50, seed=3) == parts
    assert splits.split(pairs, dev=100, test=50, seed=4) != parts


@pytest.mark.parametrize(("one", "other", "same"), [
    ("Run!", "run.", True), ("Don't  go", "dont go", True), ("가.", "가", True), ("가", "가", True),
    ("Run", "Ran", False), ("?", "!", False), ("3.", "4.", False)])
def test_sentences_are_the_same_by_their_letters_and_digits(one: str, other: str, same: bool) -> None:
    assert (splits.key(one) == splits.key(other)) == same


def test_pairs_are_linked_through_others() -> None:
    pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("A!", "2"), ("d", "a")]
    assert splits.linked(pairs) == [[pairs[0], pairs[1], pairs[3]], [pairs[2]], [pairs[4]]]


def test_the_command_writes_two_columns_and_says_what_is_there(tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "pairs.txt"
    lines = [f"{first}\t{second}\tsomebody" for first, second in pairs_of(100)]
    source.write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    assert not splits.main([str(source), str(tmp_path / "out"), "--dev", "10", "--test", "10"])
    written = {name: (tmp_path / "out" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
               for name in splits.PARTS}
    assert sorted(line for part in written.values() for line in part) == sorted(pair.rpartition("\t")[0]
                                                                                for pair in lines)
    said = capsys.readouterr().out.splitlines()
    assert [f"{len(part):,} pairs of " in line for part, line in zip(written.values(), said, strict=True)] == [True] * 3


def test_what_cannot_be_split_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="3 pairs in 3 groups are too few for dev 2, test 2 and some to train on"):
        splits.split([("a", "1"), ("b", "2"), ("c", "3")], dev=2, test=2, seed=1)
    broken = tmp_path / "broken.txt"
    broken.write_text("a\t1\nb\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        splits.main([str(broken), str(tmp_path / "out")])
    assert "broken.txt:2: two columns with a tab between are expected" in capsys.readouterr().err
