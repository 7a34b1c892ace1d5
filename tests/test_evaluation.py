"""evaluate_files, with a predictor whose answers and probabilities are written down here: every number by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import seqloom
from seqloom.config.sections import CorpusConfig, DecodingConfig, SequenceHeadConfig, TokenizerConfig
from seqloom.data.tokenizers import fit_tokenizer
from seqloom.errors import DataError, UsageError
from seqloom.evaluation import Evaluation, evaluate_files
from seqloom.heads.sequence import Head
from seqloom.predictor import Predictor, failed
from seqloom.progress import Reporter
from seqloom.types import BadRecord, Prediction, Record

HALF = math.log(0.5)


class Written(Predictor):
    """A predictor that answers from a table. Each target token, and the end, has probability one half."""

    def __init__(self, answers: Mapping[str, str], roles: tuple[str, ...] = ("source",)) -> None:
        tokenizer = fit_tokenizer(TokenizerConfig(), [*answers, *answers.values()])
        source = SimpleNamespace(roles=roles, columns={} if len(roles) == 1 else {"features": 3}, tokenizer=tokenizer)
        super().__init__(source, Head(SequenceHeadConfig(), tokenizer), SimpleNamespace(name="table"), DecodingConfig())
        self.answers = answers
        self.asked: list[DecodingConfig | None] = []

    def predict_records(self, records: Iterable[Record | BadRecord], options: DecodingConfig | None = None,
                        **kept: Any) -> Iterator[Prediction]:
        self.asked.append(options)
        for record in records:
            assert isinstance(record, Record)
            answer = self.answers.get(record.text("source"))
            if answer is None:
                yield failed("the source is odd", record.where)
            else:
                cut = answer.endswith("!")
                yield Prediction(answer, -1.0, answer.split(), stopped="max_length" if cut else "end")

    def score_records(self, records: Iterable[Record | BadRecord], **kept: Any) -> Iterator[Prediction]:
        for record in records:
            assert isinstance(record, Record)
            if record.text("source") not in self.answers:
                yield failed("the source is odd", record.where)
                continue
            tokens = record.text("target").split()
            scores = np.full(len(tokens) + 1, HALF)
            yield Prediction(record.text("target"), float(scores.sum()), tokens, scores)


def corpus(path: Path, *lines: str) -> list[CorpusConfig]:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [CorpusConfig(path=str(path))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.tsv"


def test_every_number_by_hand(path: Path) -> None:
    """Three pairs: right, one word of two wrong, and two words too many."""
    predictor = Written({"x": "a b", "y": "a c", "z": "a b b b"})
    found = evaluate_files(predictor, corpus(path, "x\ta b", "y\ta b", "z\ta b"))
    scores = found.scores
    assert scores["count"] == 3
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert (scores["substitutions"], scores["insertions"], scores["deletions"]) == (1, 2, 0)
    assert scores["wer"] == pytest.approx(3 / 6)
    assert scores["cer"] == pytest.approx(5 / 9)  # b→c, and " b b" more
    assert scores["perplexity"] == pytest.approx(2)
    assert scores["bits_per_character"] == pytest.approx(9 / 9)  # nine tokens with the ends, one bit each; 9 characters
    assert scores["bad_lines"] == 0
    assert scores["repeated_rate"] == pytest.approx(1 / 3)
    assert scores["engine"] == "table"
    assert scores["seconds"] >= 0
    assert scores["signature"].count(";") == 8
    assert found.outputs == ["a b", "a c", "a b b b"]
    assert found.references == [["a b"]] * 3
    assert [prediction.text for prediction in found.predictions] == found.outputs
    assert found.notes == []


def test_only_the_metrics_that_are_asked_for(path: Path) -> None:
    found = evaluate_files(Written({"x": "a b"}), corpus(path, "x\ta b"), metrics=["exact_match", "bleu"],
                           tokenize="char", options=DecodingConfig(beam_size=3))
    assert {"exact_match", "bleu", "perplexity", "count", "signature"} <= set(found.scores)
    assert "wer" not in found.scores
    assert "tok:char" in found.scores["signature"]


def test_options_arrive(path: Path) -> None:
    predictor = Written({"x": "a"})
    options = DecodingConfig(beam_size=3)
    evaluate_files(predictor, corpus(path, "x\ta"), options=options)
    assert predictor.asked == [options]


def test_bad_lines_are_counted_and_named(path: Path) -> None:
    lines = ("x\ta", "no tab", "", "x\t", "\ta", "x\tb")
    found = evaluate_files(Written({"x": "a"}), corpus(path, *lines))
    assert (found.scores["count"], found.scores["bad_lines"]) == (2, 4)
    assert found.notes[0] == (f"{path}:2: missing column: 1 column (no separator in the line), but target is column 2; "
                              "the line is left out")
    assert [note.partition(": ")[0] for note in found.notes[1:3]] == [f"{path}:3", f"{path}:4"]
    assert found.notes[3:] == ["4 lines were left out in all"]


def test_inputs_that_cannot_be_read_count_as_wrong(path: Path) -> None:
    found = evaluate_files(Written({"x": "a"}), corpus(path, "x\ta", "odd\ta", "odder\ta"))
    assert found.scores["exact_match"] == pytest.approx(1 / 3)
    assert found.scores["perplexity"] == pytest.approx(2)  # of the one that could be scored
    assert found.notes == ["2 inputs could not be read: a wrong answer each", f"{path}:2: the source is odd",
                           f"{path}:3: the source is odd"]


def test_no_input_can_be_read(path: Path) -> None:
    found = evaluate_files(Written({"x": "a"}), corpus(path, "odd\ta"))
    assert found.scores["exact_match"] == 0
    assert "perplexity" not in found.scores


def test_cut_answers_are_counted(path: Path) -> None:
    found = evaluate_files(Written({"x": "a !"}), corpus(path, "x\ta"))
    assert found.notes == ["1 outputs reached the maximum length without an end"]


def test_edit_rate_of_endless_outputs_is_left_out(path: Path) -> None:
    predictor = Written({f"x{number}": "a " * 101 for number in range(11)})
    lines = [f"x{number}\ta" for number in range(11)]
    found = evaluate_files(predictor, corpus(path, *lines))
    assert "ter" not in found.scores
    assert found.notes == ["ter is left out: 11 outputs have more than 100 words; ask for it with --metrics"]
    assert "ter" in evaluate_files(predictor, corpus(path, lines[0]), metrics=["ter"]).scores


def test_several_references_and_files(tmp_path: Path) -> None:
    jsonl = corpus(tmp_path / "a.jsonl", '{"source": "x", "target": ["b", "a"]}')
    table = corpus(tmp_path / "b.tsv", "x\tb")
    found = evaluate_files(Written({"x": "a"}), [*jsonl, *table])
    assert found.references == [["b", "a"], ["b"]]
    assert found.scores["exact_match"] == 0.5


def test_features_are_read(path: Path) -> None:
    predictor = Written({"x": "a"}, ("source", "features"))
    found = evaluate_files(predictor, corpus(path, "x\ta\tN;PL", "x\ta"))
    assert (found.scores["count"], found.scores["bad_lines"]) == (1, 1)


def test_progress_is_shown(path: Path) -> None:
    class Listening(Reporter):
        heard: list[tuple[str, float, float | None]] = []  # noqa: RUF012 - one test, one list

        def progress(self, what: str, done: float, total: float | None, note: str = "") -> None:
            self.heard.append((what, done, total))

    evaluate_files(Written({"x": "a"}), corpus(path, "x\ta", "x\tb"), reporter=Listening())
    assert Listening.heard == [("predicting", 1, 2), ("predicting", 2, 2), ("scoring", 1, 2), ("scoring", 2, 2)]


def test_nothing_usable(path: Path) -> None:
    with pytest.raises(DataError, match=rf"no usable test example; {path}:1: missing column"):
        evaluate_files(Written({"x": "a"}), corpus(path, "x", "y"))
    with pytest.raises(DataError, match="the file is empty"):
        evaluate_files(Written({"x": "a"}), corpus(path))
    with pytest.raises(UsageError, match="unknown metric 'blue'"):
        evaluate_files(Written({"x": "a"}), corpus(path, "x\ta"), metrics=["blue"])


# --- comparing -------------------------------------------------------------------------------------------------------


def evaluation(outputs: list[str], references: list[str]) -> Evaluation:
    return Evaluation({}, outputs, [[text] for text in references], [], [])


def test_better_on_every_sentence() -> None:
    """Every resample has the same difference, so the interval is a point and the p-value the smallest there is."""
    worse, better = evaluation(["b"] * 10, ["a"] * 10), evaluation(["a"] * 10, ["a"] * 10)
    found = worse.compare(better, "exact_match", samples=200)
    assert (found.score_a, found.score_b, found.delta, found.interval) == (0, 1, 1, (1, 1))
    assert better.compare(worse, "cer", samples=200).delta == 1  # an error rate: higher is worse
    assert worse.compare(worse, "exact_match", samples=200).p_value == 1


def test_the_tokenizer_of_a_comparison_counts() -> None:
    right = ["ab cd ef gx"] * 3
    one, two = evaluation(["ab cd ef gh"] * 3, right), evaluation(right, right)
    by_word = one.compare(two, "bleu", samples=10).score_a
    assert one.compare(two, "bleu", samples=10, tokenize="char").score_a > by_word


def test_only_the_same_test_data_is_compared() -> None:
    with pytest.raises(DataError, match="the two evaluations are not of the same test data"):
        evaluation(["a"], ["a"]).compare(evaluation(["a"], ["b"]), "exact_match")
    with pytest.raises(UsageError, match="unknown metric 'blue'"):
        evaluation(["a"], ["a"]).compare(evaluation(["a"], ["a"]), "blue")


def test_it_is_reached_from_the_package(path: Path) -> None:
    found = seqloom.evaluate(Written({"x": "a"}), corpus(path, "x\ta")[0].path or "", metrics=["cer"],
                             options={"beam_size": 2})
    assert found.scores["cer"] == 0
