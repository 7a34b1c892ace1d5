"""evaluate, score, encode."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_helpers import Command, write

# Keys of a result: those that apply to sequences; the rest belongs to labels and tags.
KEYS = {"count", "exact_match", "wer", "cer", "bleu", "chrf", "ter", "rouge_l", "rouge_1", "rouge_2", "substitutions",
        "insertions", "deletions", "perplexity", "bits_per_character", "signature", "seconds"}


def test_json_has_its_keys(cli: Command, run: Path, data: Path) -> None:
    done = cli("evaluate", run, data / "test.tsv", "--json")
    assert done.code == 0
    scores = json.loads(done.out)
    assert set(scores) >= KEYS
    lines = (data / "test.tsv").read_text(encoding="utf-8").splitlines()
    assert scores["count"] == len(lines)
    assert scores["bad_lines"] == 0
    outputs = cli("predict", run, data / "test.tsv").lines
    right = [output == line.split("\t")[1] for output, line in zip(outputs, lines, strict=True)]
    assert scores["exact_match"] == sum(right) / len(right)


def test_perplexity_is_that_of_score(cli: Command, run: Path, data: Path) -> None:
    scores = json.loads(cli("evaluate", run, data / "test.tsv", "--json").out)
    rows = [line.split("\t") for line in cli("score", run, data / "test.tsv").lines]
    total, tokens = sum(float(row[0]) for row in rows), sum(int(row[1]) for row in rows)
    assert scores["perplexity"] == pytest.approx(np.exp(-total / tokens), rel=1e-5)


def test_a_table_for_people(cli: Command, run: Path, data: Path) -> None:
    done = cli("evaluate", run, data / "test.tsv")
    names = [line.split()[0] for line in done.lines]
    assert set(names) >= KEYS
    assert names.count("signature") == 9
    assert all(len(line) < 110 for line in done.lines)


@pytest.mark.parametrize("options", [["-b", "1"], ["--set", "max_length=1"], ["--set", "decoding.min_length=5"]],
                         ids=" ".join)
def test_decoding_options_change_the_outputs(cli: Command, other: Path, data: Path, tmp_path: Path,
                                             options: list[str]) -> None:
    for name, more in (("before", []), ("after", options)):
        assert cli("evaluate", other, data / "test.tsv", "--metrics", "cer", "-o", tmp_path / name, *more).code == 0
    before, after = ((tmp_path / name).read_text(encoding="utf-8") for name in ("before", "after"))
    assert before != after
    assert before == cli("predict", other, data / "test.tsv").out
    assert after == cli("predict", other, data / "test.tsv", *options).out


def test_an_ensemble_is_evaluated(cli: Command, run: Path, other: Path, data: Path) -> None:
    scores = json.loads(cli("evaluate", run, data / "test.tsv", "--with", other, "--json", "--threads", "1",
                            "--engine", "torch", "--device", "cpu").out)
    alone = json.loads(cli("evaluate", run, data / "test.tsv", "--json").out)
    assert "ensemble" in scores["engine"]
    assert scores["perplexity"] != alone["perplexity"]
    assert torch.get_num_threads() == 1


def test_two_runs_are_compared(cli: Command, run: Path, other: Path, data: Path) -> None:
    test = data / "test.tsv"
    done = cli("evaluate", other, test, "--compare", run, "--metric", "cer", "--json")
    found = json.loads(done.out)["comparison"]
    assert (found["metric"], found["run"], found["other"]) == ("cer", str(other), str(run))
    alone = [json.loads(cli("evaluate", one, test, "--metrics", "cer", "--json").out)["cer"] for one in (other, run)]
    assert [found["score"], found["other_score"]] == pytest.approx(alone)
    low, high = found["interval"]
    assert low <= found["delta"] <= high < 0
    assert found["p_value"] < 0.05
    shown = cli("evaluate", other, test, "--compare", run).out
    assert f"{run} − {other} in exact_match: +" in shown
    bleu = [json.loads(cli("evaluate", other, test, "--compare", run, "--metric", "bleu", "--json", "--tokenize",
                           name).out)["comparison"]["delta"] for name in ("13a", "char")]
    assert bleu[0] != bleu[1]


def test_parallel_files_and_several_files(cli: Command, run: Path, data: Path, tmp_path: Path) -> None:
    pairs = [line.split("\t") for line in (data / "test.tsv").read_text(encoding="utf-8").splitlines()]
    source, target = write(tmp_path / "x.en", *(a for a, _ in pairs)), write(tmp_path / "x.de", *(b for _, b in pairs))
    sides = ("--source", source, "--target", target)
    scores = [json.loads(cli("evaluate", run, *given, "--metrics", "cer", "--json").out)
              for given in (sides, [data / "test.tsv"], [data / "test.tsv", *sides])]
    assert scores[0]["cer"] == scores[1]["cer"] == scores[2]["cer"]
    assert [one["count"] for one in scores] == [len(pairs), len(pairs), 2 * len(pairs)]


def test_bad_lines_are_left_out_and_said(cli: Command, run: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "abc\tCBA", "no tab", "", "x", "y", "fed\tDEF")
    done = cli("evaluate", run, path, "--json")
    assert (json.loads(done.out)["count"], json.loads(done.out)["bad_lines"]) == (2, 4)
    assert f"note: {path}:2: missing column" in done.err
    assert "note: 4 lines were left out in all" in done.err
    assert f"{path}:5" not in done.err


def test_several_references(cli: Command, run: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", '{"source": "abc", "target": ["x", "CBA", "y"]}')
    answer = cli("predict", run, path).lines[0]
    write(path, json.dumps({"source": "abc", "target": ["x", answer, "y"]}))
    assert json.loads(cli("evaluate", run, path, "--json").out)["exact_match"] == 1


def test_answers_that_are_cut_are_said(cli: Command, other: Path, data: Path) -> None:
    limits = ("--set", "min_length=2", "--set", "max_length=3")
    done = cli("evaluate", other, data / "test.tsv", *limits, "--metrics", "cer")
    assert "outputs reached the maximum length without an end" in done.err


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "no test data is given"),
    (["TEST", "--metric", "bleu"], "--metric says what --compare compares by"),
    (["TEST", "--metrics", "blue"], "did you mean 'bleu'?"),
    (["TEST", "--metrics", ","], "--metrics names none"),
    (["TEST", "--compare", "/nowhere"], "no run folder at /nowhere"),
    (["TEST", "--compare", "RUN", "--metric", "blue"], "unknown metric 'blue'"),
    (["TEST", "--metrics", "bleu", "--tokenize", "14a"], "unknown tokenizer '14a'"),
    (["TEST", "--set", "beam=x"], "given 'x'"),
    (["/nowhere.tsv"], "there is no file '/nowhere.tsv'"),
    (["--source", "TEST"], "--source is given once but --target not at all"),
    (["WORDS"], "no usable test example; ")], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_cannot_be_is_refused(cli: Command, run: Path, data: Path, words: Path, arguments: list[str],
                                   message: str) -> None:
    names = {"TEST": data / "test.tsv", "RUN": run, "WORDS": words}
    cli("evaluate", run, *(names.get(word, word) for word in arguments)).refused(message)


# --- score -----------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_answers(cli: Command, other: Path, words: Path, tmp_path: Path) -> None:
    """What predict says of its own answer, score says too."""
    found = cli("predict", other, words, "-f", "jsonl", "--set", "max_length=50").objects
    pairs = write(tmp_path / "pairs.tsv", *(f"{word}\t{one['text']}" for word, one in
                                            zip(words.read_text(encoding="utf-8").split(), found, strict=True)))
    rows = [line.split("\t") for line in cli("score", other, pairs).lines]
    for row, one in zip(rows, found, strict=True):
        assert one["stopped"] == "end"
        assert float(row[0]) == pytest.approx(one["score"], abs=1e-4)
        assert int(row[1]) == len(one["token_scores"])
        assert [float(score) for score in row[2].split()] == pytest.approx(one["token_scores"], abs=1e-4)


def test_score_reads_and_writes_as_predict_does(cli: Command, run: Path, other: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "source,target", "abc,CBA", "fed,DEF")
    done = cli("score", run, table)
    assert len(done.lines) == 2
    assert cli("score", run, stdin=b"abc\tCBA\nfed\tDEF\n").out == done.out
    assert cli("score", run, "-", "--input-format", "csv", stdin=table.read_bytes()).out == done.out
    assert cli("score", run, table, "-o", tmp_path / "out").out == ""
    assert (tmp_path / "out").read_text(encoding="utf-8") == done.out
    assert cli("score", run, table, "--with", other).out != done.out
    assert cli("score", run, table, "--threads", "1", "--engine", "torch", "--device", "cpu").code == 0
    assert torch.get_num_threads() == 1
    bad = cli("score", run, stdin=b"abc\tCBA\nabc\nfed\tDEF\n")
    assert (bad.code, bad.lines[1]) == (0, "\t\t")
    assert [bad.lines[0], bad.lines[2]] == done.lines
    assert "<stdin>:2: missing column" in bad.err
    assert cli("score", run, stdin=b"abc\n").code == 1


# --- encode ----------------------------------------------------------------------------------------------------------


def test_encodings(cli: Command, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.txt.gz"
    path.write_bytes(gzip.compress(b"abc\n\nab\n"))
    done = cli("encode", run, path, "-o", tmp_path / "out.npz", "--threads", "1", "--device", "cpu")
    assert (done.code, done.out) == (0, "")
    assert f"warning: {path}:2: empty line" in done.err
    assert "1 of 3 lines could not be read and are left out" in done.err
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["lines"].tolist() == [1, 3]
        assert arrays["summary"].shape[0] == 2
        assert arrays["tokens.3"].tolist() == ["a", "b", "</s>"]
        assert arrays["states.1"].shape == (4, 16)  # three letters and the end, 8 units in each direction
        assert arrays["mask.1"].tolist() == [True] * 4
        assert "states.2" not in arrays
        first = arrays["summary"][0]
    cli("encode", run, "-o", tmp_path / "one.npz", stdin=b"xx\nabc\n")
    with np.load(tmp_path / "one.npz") as arrays:
        np.testing.assert_array_equal(arrays["summary"][1], first)
    csv = cli("encode", run, "-", "-o", tmp_path / "two.npz", "--input-format", "csv", stdin=b"source\nabc\n")
    assert csv.code == 0
    with np.load(tmp_path / "two.npz") as arrays:
        np.testing.assert_array_equal(arrays["summary"], first[None])


def test_nothing_to_encode(cli: Command, run: Path, tmp_path: Path) -> None:
    assert cli("encode", run, "-o", tmp_path / "out.npz", stdin=b"\n\n").code == 1
    assert cli("encode", run, "-o", tmp_path / "out.npz", stdin=b"").code == 0
    cli("encode", run, "-o", tmp_path / "out.npy").refused("encodings are written as .npz")
    cli("encode", run).refused("--output is missing")
    cli("encode", run, tmp_path / "none.txt", "-o", tmp_path / "out.npz").refused("there is no file")
