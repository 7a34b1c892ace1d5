"""explain, info, curves, demo: pictures and words about a run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from cli_helpers import TINY, Command, names_in

from seqloom import demo as demo_module


def test_explain_in_the_terminal(cli: Command, run: Path) -> None:
    done = cli("explain", run, "abc", "--threads", "1", "--engine", "torch", "--device", "cpu")
    assert (done.code, done.err) == (0, "engine: torch fp32, 1 thread\n")
    assert cli("explain", run, "abc", "--quiet").err == ""
    answer = cli("predict", run, stdin=b"abc\n").lines[0]
    assert done.lines[:2] == ["input   abc", f"output  {answer}"]
    assert "weight  0" in done.out
    assert "\x1b" not in done.out
    assert torch.get_num_threads() == 1
    assert "alternatives" not in done.out
    assert "alternatives" in cli("explain", run, "abc", "-k", "3").out


def test_explain_decodes_as_it_is_told(cli: Command, other: Path) -> None:
    usual = cli("explain", other, "fa").out
    assert cli("explain", other, "fa", "--set", "max_length=1").out != usual
    assert cli("explain", other, "fa", "--set", "decoding.min_length=6", "-b", "1").out != usual
    assert cli("explain", other, "fa", "-b", "1").out == cli("explain", other, "fa", "--set", "beam_size=1").out


def test_explain_takes_features(cli: Command, inflecting: Path) -> None:
    plural, singular = (cli("explain", inflecting, "ab", "--features", given).out for given in ("N;PL", "N;SG"))
    assert plural != singular
    cli("explain", inflecting, "ab").refused("this run reads features beside the source", "--features")


def test_a_run_without_attention_is_explained_in_words(cli: Command, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli("train", data / "test.tsv", "--out", run, *TINY, "--max-steps", "1", "--set", "decoder.context=initial")
    shown = cli("explain", run, "abc")
    assert shown.code == 0
    assert "no attention" in shown.out
    cli("explain", run, "abc", "-o", tmp_path / "x.svg").refused("no attention weights")
    assert cli("explain", run, "abc", "-o", tmp_path / "x.html").code == 0
    assert "context initial" in cli("info", run).out


@pytest.mark.parametrize(("arguments", "message"), [
    (["abc", "-o", "x.pdf"], "end the name in one of: .svg, .html, .png, .json, .npz"),
    (["abc", "-o", "x"], "it has no suffix"),
    (["abc", "-o", "nowhere/x.svg"], "there is no folder"),
    (["abc", "-k", "none"], "--alternatives: given 'none'"),
    (["abc", "--features", "N;PL"], "--features is given, but this run reads none"),
    (["abc", "--set", "beam"], "expected KEY=VALUE"),
    (["abc\udcff"], "INPUT is not UTF-8"),
    ([""], "INPUT: the source is empty"),
    ([], "INPUT is missing")], ids=lambda value: " ".join(value).encode("ascii", "replace").decode() if
    isinstance(value, list) else "")
def test_explain_refuses(cli: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                         arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    cli("explain", run, *arguments).refused(message)
    assert names_in(tmp_path) == []


def test_info(cli: Command, run: Path) -> None:
    done = cli("info", run)
    assert [line.partition(":")[0] for line in done.lines] == [
        "run", "source", "target", "encoder", "decoder", "parameters", "export", "trained", "best"]
    assert re.fullmatch(r"export: {5}fp32 \(0\.\d MiB\)", done.lines[6])
    assert "10 symbols" in done.lines[1]  # six letters and the four special ones
    assert "1 × lstm, 8 units, both directions" in done.lines[3]
    assert "attention general" in done.lines[4]


def test_info_of_an_export(cli: Command, run: Path, other: Path, tmp_path: Path) -> None:
    assert cli("export", run, tmp_path / "alone", "--int8", "--no-check", "-q").code == 0
    alone = cli("info", tmp_path / "alone")
    assert alone.code == 0, alone.err
    assert re.search(r"^parameters: in the export alone\nexport: {5}int8 \(0\.\d MiB\)$", alone.out, re.MULTILINE)
    changed = shutil.copytree(run, tmp_path / "changed")
    shutil.copy(other / "model.safetensors", changed / "model.safetensors")
    assert f"of other weights: seqloom export {changed}" in cli("info", changed).out
    shutil.rmtree(changed / "onnx")
    assert "export:     none\n" in cli("info", changed).out


def test_curves(cli: Command, run: Path, tmp_path: Path) -> None:
    for suffix in (".svg", ".html", ".png"):
        assert cli("curves", run, "-o", tmp_path / f"c{suffix}").code == 0
    few = tmp_path / "few.svg"
    assert cli("curves", run, "-o", few, "--keys", "train_loss, valid_loss").out == f"{few}\n"
    assert len(few.read_bytes()) < len((tmp_path / "c.svg").read_bytes())
    cli("curves", run, "-o", few, "--keys", "los").refused("no metric named 'los'")
    cli("curves", run, "-o", tmp_path / "c.txt").refused("cannot tell the format")
    cli("curves", run).refused("--output is missing")
    (tmp_path / "empty").mkdir()
    cli("curves", tmp_path / "empty", "-o", few).refused("is not a run folder")


def test_demo_passes_its_options_on(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the demo does is tested elsewhere: it takes minutes."""
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(demo_module, "run_demo", lambda out, **options: called.append((out, options)))
    assert cli("demo").code == 0
    assert cli("demo", "--out", tmp_path, "--overwrite", "-q").code == 0
    assert called == [("runs/dates", {"overwrite": False, "quiet": False}),
                      (str(tmp_path), {"overwrite": True, "quiet": True})]
    monkeypatch.undo()
    (tmp_path / "x").touch()
    cli("demo", "--out", tmp_path).refused("exists already")
