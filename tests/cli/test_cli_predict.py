"""predict: formats, options, inputs. Every option changes something; every input line has its output line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_helpers import TINY, Command, write

from seqloom.cli.lines import as_json, escaped, jsonl_line, scored_line, text_line, tsv_line
from seqloom.types import Prediction


def test_a_file_a_pipe_and_a_dash_give_the_same(cli: Command, run: Path, words: Path, tmp_path: Path) -> None:
    done = cli("predict", run, words)
    assert done.code == 0
    assert len(done.lines) == 12
    assert re.fullmatch(r"engine: onnx fp32, \d+ threads?\n", done.err)
    assert cli("predict", run, words, "--quiet") == (0, done.out, "")
    stdin = words.read_bytes()
    assert cli("predict", run, stdin=stdin).out == done.out
    assert cli("predict", run, "-", stdin=stdin).out == done.out
    assert cli("translate", run, words).out == done.out
    to_file = cli("predict", run, words, "-o", tmp_path / "out.txt")
    assert to_file.out == ""
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == done.out
    assert cli("predict", run, words, "-o", "-").out == done.out


def test_it_has_learned(cli: Command, run: Path, data: Path) -> None:
    """Most three-letter words come out as capitals, backwards: the run is no random one."""
    scores = json.loads(cli("evaluate", run, data / "valid.tsv", "--json").out)
    assert scores["cer"] < 0.5


def test_tsv(cli: Command, other: Path, words: Path) -> None:
    rows = [line.split("\t") for line in cli("predict", other, words, "-f", "tsv", "-n", "3").lines]
    assert [(int(row[0]), int(row[1])) for row in rows] == [(line, rank) for line in range(1, 13) for rank in (1, 2, 3)]
    ranking = np.asarray([float(row[3]) for row in rows]).reshape(12, 3)
    assert (np.diff(ranking) <= 0).all()
    first = [row[4] for row in rows if row[1] == "1"]
    assert first == cli("predict", other, words).lines
    assert len({(row[0], row[4]) for row in rows}) == 36


def test_jsonl(cli: Command, other: Path, words: Path) -> None:
    plain = cli("predict", other, words, "--format", "jsonl").objects
    assert [found["text"] for found in plain] == cli("predict", other, words).lines
    assert all("attention" not in found and "alternatives" not in found and "n_best" not in found for found in plain)
    full = cli("predict", other, words, "-f", "jsonl", "-n", "2", "--attention", "-k", "4").objects
    for found in full:
        steps = len(found["tokens"]) + (found["stopped"] == "end")
        assert len(found["token_scores"]) == steps
        assert sum(found["token_scores"]) == pytest.approx(found["score"], abs=1e-4)
        weights = np.asarray(found["attention"])
        assert weights.shape == (steps, len(found["source_tokens"]))
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-4)
        assert [len(step) for step in found["alternatives"]] == [4] * steps
        assert all(first[1] >= second[1] for first, second, *_ in found["alternatives"])
        assert found["n_best"][0]["text"] == found["text"]
        assert len(found["n_best"]) == 2


@pytest.mark.parametrize("options", [
    ["--beam-size", "1"], ["-b", "2"], ["--set", "beam_size=1"], ["--set", "decoding.beam_size=1"],
    ["--set", "max_length=1"], ["--set", "min_length=5"], ["--set", "strategy=sampling"], ["--prefix", "FF"],
    ["--set", "beam=1"]], ids=" ".join)
def test_options_of_the_search_change_answers(cli: Command, other: Path, words: Path, options: list[str]) -> None:
    before = cli("predict", other, words, "-f", "tsv")
    after = cli("predict", other, words, "-f", "tsv", *options)
    assert after.code == 0
    assert after.out != before.out
    assert len(after.lines) == 12


def test_options_without_effect_are_told(cli: Command, other: Path, words: Path) -> None:
    in_vain = ("--set", "top_k=3", "-b", "2")
    note = "note: decoding.top_k has no effect, because decoding.strategy is 'auto'\n"
    assert cli("predict", other, words, *in_vain).err.endswith(note)
    assert "has no effect" not in cli("predict", other, words, *in_vain, "--quiet").err
    assert "has no effect" not in cli("predict", other, words, "--set", "strategy=sampling", "--set", "top_k=3").err


def test_a_shortlist_is_used_where_it_is_asked_for(cli: Command, other: Path, words: Path, data: Path,
                                                   tmp_path: Path) -> None:
    run = Path(shutil.copytree(other, tmp_path / "run"))
    done = cli("predict", run, words, "--shortlist")
    assert done.code == 2
    assert "the run has no vocabulary shortlist" in done.err
    write(tmp_path / "few.tsv", *(f"{word}\tABA" for word in words.read_text().split()))
    assert cli("export", run, "--shortlist", tmp_path / "few.tsv").code == 0
    done = cli("predict", run, words, "--shortlist")
    assert set(done.out) <= set("AB\n")
    assert done.out == cli("predict", run, words, "--set", "shortlist=true").out != cli("predict", run, words).out
    pairs = write(tmp_path / "pairs.tsv", *map("\t".join, zip(words.read_text().split(), done.out.split("\n"),
                                                             strict=False)))
    assert json.loads(cli("evaluate", run, pairs, "--json", "--shortlist").out)["exact_match"] == 1


def test_a_flag_wins_over_set(cli: Command, other: Path, words: Path) -> None:
    by_flag = cli("predict", other, words, "-f", "tsv", "-b", "1")
    assert cli("predict", other, words, "-f", "tsv", "-b", "1", "--set", "beam_size=4").out == by_flag.out


def test_every_answer_begins_with_the_prefix(cli: Command, other: Path, words: Path) -> None:
    assert all(line.startswith("FA") for line in cli("predict", other, words, "--prefix", "FA").lines)


def test_seeds_draw(cli: Command, other: Path, words: Path) -> None:
    sampling = ("predict", other, words, "--set", "strategy=sampling", "--set", "temperature=2")
    first = cli(*sampling, "--set", "seed=1").out
    assert first == cli(*sampling, "--set", "seed=1").out
    assert first != cli(*sampling, "--set", "seed=2").out


def test_an_ensemble_is_neither_of_its_members(cli: Command, run: Path, other: Path, words: Path) -> None:
    alone = [cli("predict", member, words, "-f", "tsv").out for member in (run, other)]
    together = cli("predict", run, words, "-f", "tsv", "--with", other)
    assert together.out not in alone
    assert "ensemble" in together.err


def test_threads_and_engine_arrive(cli: Command, run: Path, words: Path) -> None:
    done = cli("predict", run, words, "--threads", "1", "--engine", "torch", "--device", "cpu")
    assert done.err == "engine: torch fp32, 1 thread\n"
    assert torch.get_num_threads() == 1
    done = cli("predict", run, words, "--threads", "1", "--engine", "onnx", "-f", "jsonl")
    assert done.err == "engine: onnx fp32, 1 thread\n"
    assert {found["engine"] for found in done.objects} == {"onnx fp32"}
    cli("predict", run, words, "--engine", "onnx-int8").refused("it has no int8 export", "seqloom export", "--int8")


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_more_threads_than_cores_are_refused(cli: Command, run: Path, words: Path, engine: str) -> None:
    cli("predict", run, words, "--threads", "99999", "--engine", engine).refused(
        "99999 threads, but this process may use", "give at most")


def test_an_export_that_is_out_of_date_is_said(cli: Command, run: Path, other: Path, words: Path,
                                               tmp_path: Path) -> None:
    changed = shutil.copytree(run, tmp_path / "changed")
    shutil.copy(other / "model.safetensors", changed / "model.safetensors")
    done = cli("predict", changed, words, "-q")
    assert done.code == 0
    assert done.err == (f"warning: {changed}: the weights have changed since its export, so torch runs them; to have "
                        f"the fast engine again: seqloom export {changed}\n")
    assert done.out == cli("predict", other, words, "--engine", "torch").out
    for verb in (("evaluate", changed, words), ("explain", changed, "abc"), ("score", changed, words)):
        assert "weights have changed since its export" in cli(*verb).err


def test_a_tampered_export_is_refused_by_every_verb(cli: Command, run: Path, words: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(run, tmp_path / "changed")
    graph = changed / "onnx" / "step.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    for verb in (("predict", changed, words), ("evaluate", changed, words), ("explain", changed, "abc"),
                 ("score", changed, words), ("encode", changed, words, "-o", tmp_path / "x.npz")):
        cli(*verb).refused("step.onnx: the checksum is not the one of the export", f"seqloom export {changed}")


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_bad_lines_keep_their_place(cli: Command, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.txt"
    path.write_bytes(b"abc\n\nb\xffc\ncde\r\n   \nfed")
    done = cli("predict", run, path)
    assert done.code == 0
    assert [bool(line) for line in done.out.split("\n")] == [True, False, False, True, False, True, False]
    assert f"warning: {path}:2: empty line" in done.err
    assert f"warning: {path}:3: not UTF-8: byte 0xFF at byte 2 of the line" in done.err
    assert "3 of 6 lines could not be read" in done.err
    good = cli("predict", run, stdin=b"abc\ncde\nfed\n").lines
    assert [line for line in done.lines if line] == good
    tsv = cli("predict", run, path, "-f", "tsv").lines
    assert tsv[1:3] == ["2\t\t\t\t", "3\t\t\t\t"]
    objects = cli("predict", run, path, "-f", "jsonl").objects
    assert objects[2] == {"text": "", "error": "not UTF-8: byte 0xFF at byte 2 of the line", "where": f"{path}:3"}
    assert [bool(found["text"]) for found in objects] == [True, False, False, True, False, True]


def test_only_bad_lines_are_a_failure(cli: Command, run: Path) -> None:
    done = cli("predict", run, stdin=b"\n\n \n")
    assert done.code == 1
    assert done.out == "\n\n\n"
    assert "3 of 3 lines could not be read" in done.err
    assert cli("predict", run, stdin=b"").code == 0


def test_many_bad_lines_are_counted(cli: Command, run: Path) -> None:
    done = cli("predict", run, stdin=b"abc\n" + b"\n" * 30)
    assert done.err.count("empty line") == 20
    assert "further lines that cannot be read are only counted" in done.err
    assert "30 of 31 lines" in done.err


def test_unknown_symbols_are_answered_and_said(cli: Command, run: Path) -> None:
    done = cli("predict", run, stdin="abc\n한국\nabx\n".encode())
    assert done.code == 0
    assert len(done.lines) == 3
    assert "note: 2 of 3 lines hold symbols that the run has not seen in training (first: <stdin>:2)" in done.err


@pytest.mark.parametrize(("name", "content"), [
    ("words.tsv", "abc\tCBA\nfed\tDEF\n"),
    ("words.csv", 'source,target\nabc,CBA\n"fed",DEF\n'),
    ("words.jsonl", '{"source": "abc", "target": "CBA"}\n{"target": ["DEF", "def"], "source": "fed"}\n')])
def test_tables_are_read_and_their_targets_are_not(cli: Command, run: Path, tmp_path: Path, name: str,
                                                   content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    done = cli("predict", run, path)
    assert done.out == cli("predict", run, stdin=b"abc\nfed\n").out
    assert done.err.count("note: ") == 1  # said once
    renamed = path.rename(tmp_path / "words.unknown")
    assert cli("predict", run, renamed, "--input-format", path.suffix[1:]).out == done.out


def test_features_come_from_their_column(cli: Command, inflecting: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "in.tsv", "abs\tab\tN;PL", "ab\tab\tN;SG")
    done = cli("predict", inflecting, table, "-f", "jsonl")
    assert [found["source_tokens"] for found in done.objects] == [
        ["⟨N⟩", "⟨PL⟩", "a", "b", "</s>"], ["⟨N⟩", "⟨SG⟩", "a", "b", "</s>"]]
    two = cli("predict", inflecting, "-f", "jsonl", stdin=b"ab\tN;PL\nab\n")
    assert two.objects[0]["score"] == pytest.approx(done.objects[0]["score"], abs=1e-4)
    assert "missing column" in two.err
    unseen = cli("predict", inflecting, stdin=b"ab\tN;DUAL\n")
    assert "1 of 1 lines hold symbols that the run has not seen" in unseen.err


# --- lines -----------------------------------------------------------------------------------------------------------


def test_what_would_end_a_line_is_escaped() -> None:
    text = "a\tb\nc\rd\u2028e\x85f\x0bg\x0ch\x1ci\x1dj\x1ek\u2029l"
    assert escaped(text) == "a\\tb\\nc\\rd\\u2028e\\x85f\\vg\\fh\\x1ci\\x1dj\\x1ek\\u2029l"
    prediction = Prediction(text, -1.0, [text], np.asarray([-1.0]), ranking_score=-1.0)
    for line in (text_line, tsv_line, jsonl_line):
        assert len(line(1, prediction).splitlines()) == 1
    assert json.loads(jsonl_line(1, prediction))["text"] == text


def test_numbers_that_are_not_finite_are_null() -> None:
    prediction = Prediction("a", float("-inf"), ["a"], np.asarray([-np.inf]), alternatives=[[("a", float("nan"))]],
                            probabilities={"a": 1.0})
    found = json.loads(jsonl_line(1, prediction))
    assert (found["score"], found["token_scores"], found["alternatives"]) == (None, [None], [[["a", None]]])
    assert found["probabilities"] == {"a": 1.0}


def test_an_error_is_a_line_in_every_format() -> None:
    bad = Prediction("", float("nan"), stopped="error", error="empty line", where="x:1")
    assert (text_line(1, bad), tsv_line(7, bad), scored_line(1, bad)) == ("\n", "7\t\t\t\t\n", "\t\t\n")
    assert as_json(bad) == {"text": "", "error": "empty line", "where": "x:1"}


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "message"), [
    (["--format", "xml"], "unknown format 'xml'"),
    (["--attention"], "do not fit into lines of text"),
    (["-k", "2"], "do not fit into lines of text"),
    (["-k", "0", "-f", "jsonl"], "--alternatives: given '0', expected a whole number from 1"),
    (["-n", "3"], "3 answers for each input do not fit into one line"),
    (["-n", "9", "-f", "tsv"], "n_best at most beam_size"),
    (["-b", "0"], "decoding.beam_size: given 0, expected a whole number from 1"),
    (["-b", "five"], "decoding.beam_size: given 'five'"),
    (["--threads", "x"], "--threads: given 'x', expected a whole number from 1"),
    (["--threads", "0"], "--threads: given '0'"),
    (["--set", "beam_size"], "expected KEY=VALUE"),
    (["--set", "=3"], "expected KEY=VALUE"),
    (["--set", "training.epochs=3"], "only decoding options"),
    (["--set", "beam_sise=3"], "did you mean decoding.beam_size?"),
    (["--set", "length_penalty=long"], "expected a number"),
    (["--prefix", "\udcff"], "--prefix is not UTF-8"),
    (["--engine", "abacus"], "unknown engine 'abacus'"),
    (["--device", "tpu"], "device 'tpu' cannot be used"),
    (["--input-format", "xml"], "unknown format 'xml'"),
    (["--with", "/nowhere"], "no run folder at /nowhere")], ids=lambda value: " ".join(value) if isinstance(value, list)
    else "")
def test_what_cannot_be_is_refused(cli: Command, run: Path, words: Path, options: list[str], message: str) -> None:
    cli("predict", run, words, *options).refused(message)


def test_members_of_an_ensemble_answer_with_the_same_symbols(cli: Command, run: Path, inflecting: Path, words: Path
                                                             ) -> None:
    cli("predict", run, words, "--with", inflecting).refused(
        f"{run} and {inflecting} cannot answer together: their answers have not one symbol in common")


def test_members_of_an_ensemble_may_know_different_symbols(cli: Command, run: Path, data: Path, words: Path,
                                                           tmp_path: Path) -> None:
    """One that was trained on two lines, and says how many of the symbols it knows."""
    few, other = tmp_path / "few.tsv", tmp_path / "few"
    few.write_text("".join((data / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)[:2]),
                   encoding="utf-8")
    assert cli("train", few, "--valid", few, "--max-steps", "1", "--out", other, *TINY).code == 0
    together = cli("predict", run, words, "--with", other, "-f", "tsv")
    assert together.code == 0
    assert f"warning: {other} knows " in together.err
    assert f"symbols that answers are made of, those of {run}" in together.err
    assert together.out != cli("predict", run, words, "-f", "tsv").out


def test_the_input_is_not_written_over(cli: Command, run: Path, words: Path, tmp_path: Path) -> None:
    before = words.read_bytes()
    for verb in ("predict", "score"):
        cli(verb, run, words, "-o", tmp_path / ".." / tmp_path.name / words.name).refused("is also read")
    cli("evaluate", run, words, "-o", words).refused("is also read")
    assert words.read_bytes() == before
