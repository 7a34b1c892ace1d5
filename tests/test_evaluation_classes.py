"""evaluate_files where the answers are classes: targets that cannot be, and confusions."""

from __future__ import annotations

from pathlib import Path

import pytest

import seqloom
from seqloom.errors import DataError
from tiny import one_thread

__all__ = ["one_thread"]

TAGS = ["a b c\tX Y X", "b a\tY X", "c c\tX X", "a\tX", "b b\tY Y", "c b a\tX Y X", "a a b\tX X Y", "c a\tX X"]
LABELS = [f"{text}\t{'긍정' if 'b' in text else '부정'}" for text in ("a b", "a c", "b", "c", "b b", "c c", "a", "b c")]
SMALL = ["source.tokenizer=word", "encoder.hidden_size=4", "source.embedding_size=4", "training.max_steps=3",
         "training.threads=1", "data.valid_fraction=0.3"]


def run_of(folder: Path, head: str, lines: list[str]) -> Path:
    (folder / f"{head}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return seqloom.train(folder / f"{head}.tsv", out=folder / head, overrides=[f"head={head}", *SMALL])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("classes")
    run_of(made, "tags", TAGS)
    run_of(made, "label", LABELS)
    return made


def test_tags_that_are_too_few_or_too_many_leave_their_line_out(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("a b\tX Y\na b\tX\na\tX X X\nb a\tY Z\n", encoding="utf-8")
    found = seqloom.evaluate(folder / "tags", path)
    assert (found.scores["count"], found.scores["bad_lines"]) == (2, 2)
    assert found.notes[:2] == [f"{path}:2: other counts: 1 tag for 2 steps of the input; the line is left out",
                               f"{path}:3: other counts: 3 tags for 1 step of the input; the line is left out"]
    assert found.notes[2] == ("1 right answer is of no class that the run has learned: an answer to it is wrong "
                              f"({path}:4: 'Z')")
    assert found.confusion is not None
    answers = [tag for prediction in found.predictions for tag in prediction.tokens]
    table = {(right, answer): int(count) for right, row in zip(found.confusion.labels, found.confusion.counts,
                                                               strict=True)
             for answer, count in zip(found.confusion.labels, row, strict=True)}
    for pair in zip(["X", "Y", "Y", "Z"], answers, strict=True):
        table[pair] -= 1
    assert not any(table.values())
    path.write_text("a b\tX\n" * 5, encoding="utf-8")
    with pytest.raises(DataError, match=r"no usable test example; .*:3: other counts: 1 tag for 2 steps"):
        seqloom.evaluate(folder / "tags", path)


def test_many_bad_lines_are_counted(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("a b\tX\n" * 5 + "a\tX\n", encoding="utf-8")
    assert seqloom.evaluate(folder / "tags", path).notes[-1] == "5 such lines were left out in all"


def test_a_label_that_training_had_not_is_wrong_and_said(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("a b\t긍정\nb\t모름\n", encoding="utf-8")
    found = seqloom.evaluate(folder / "label", path)
    assert found.scores["count"] == 2
    assert found.notes == [("1 right answer is of no class that the run has learned: an answer to it is wrong "
                            f"({path}:2: '모름')")]
    assert found.scores["confusion"]["labels"][0] == "긍정"
    assert sum(map(sum, found.scores["confusion"]["counts"])) == 2
