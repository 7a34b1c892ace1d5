"""train, finetune, average, doctor, presets: what makes runs, and every option of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from cli_helpers import CHARACTERS, TINY, Command, names_in, write

from seqloom.config import preset_names
from seqloom.run import open_run, read_weights

ONE_STEP = (*TINY, "--max-steps", "1")


def settings(run: Path) -> dict[str, object]:
    """config.yaml of a run."""
    found = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def validations(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


# --- train -----------------------------------------------------------------------------------------------------------


def test_the_folder_is_the_result(cli: Command, data: Path, tmp_path: Path) -> None:
    done = cli("train", data / "train.tsv", "--out", tmp_path / "a", *ONE_STEP)
    assert (done.code, done.out) == (0, f"{tmp_path / 'a'}\n")
    assert done.err == ""  # --quiet
    loud = cli("train", data / "train.tsv", "--out", tmp_path / "b", *ONE_STEP[:-3], "--max-steps", "1")
    assert "plan: " in loud.err
    assert f"try it: seqloom predict {tmp_path / 'b'}" in loud.err


def test_without_out_runs_are_numbered(cli: Command, data: Path, tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = cli("train", data / "train.tsv", "--preset", "g2p", *ONE_STEP)
    second = cli("train", data / "train.tsv", "-p", "g2p", *ONE_STEP)
    assert (first.out, second.out) == (f"runs{os.sep}g2p-1\n", f"runs{os.sep}g2p-2\n")


def test_flags_arrive(cli: Command, data: Path, tmp_path: Path) -> None:
    done = cli("train", data / "train.tsv", "--out", tmp_path / "run", *TINY, "--epochs", "3", "--max-steps", "2",
               "--max-minutes", "1.5", "--seed", "7", "--device", "cpu", "--threads", "1", "--precision", "bf16")
    assert done.code == 0
    training = settings(tmp_path / "run")["training"]
    assert isinstance(training, dict)
    assert {name: training[name] for name in ("epochs", "max_steps", "max_minutes", "seed", "device", "threads",
                                              "precision")} == {
        "epochs": 3, "max_steps": 2, "max_minutes": 1.5, "seed": 7, "device": "cpu", "threads": 1, "precision": "bf16"}
    assert torch.get_num_threads() == 1
    assert validations(tmp_path / "run")[-1]["step"] == 2


def test_limits_stop(cli: Command, data: Path, tmp_path: Path) -> None:
    cli("train", data / "test.tsv", "--out", tmp_path / "a", *TINY, "--epochs", "1")
    assert validations(tmp_path / "a")[-1]["epoch"] == 1
    cli("train", data / "test.tsv", "--out", tmp_path / "b", *TINY, "--max-minutes", "0.00001")
    assert validations(tmp_path / "b")[-1]["step"] == 1


def test_a_seed_decides_the_weights(cli: Command, data: Path, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        cli("train", data / "test.tsv", "--out", tmp_path / name, *ONE_STEP, "--seed", seed)
        weights.append(read_weights(tmp_path / name / "model.safetensors"))
    same = [all((one[key] == weights[0][key]).all() for key in one) for one in weights]
    assert same == [True, True, False]


# --- configuration ---------------------------------------------------------------------------------------------------


def test_the_printed_configuration_is_read_again(cli: Command, data: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("--preset", "g2p", "--set", "training.batch_size=17", "--epochs", "4", "--valid", "v.tsv")
    printed = cli("train", "t.tsv", *given, "--print-config")
    assert printed.code == 0
    found = yaml.safe_load(printed.out)
    assert found["training"]["batch_size"] == 17
    assert found["training"]["epochs"] == 4
    assert found["data"]["train"][0]["path"] == "t.tsv"
    assert found["data"]["valid"][0]["path"] == "v.tsv"
    config = tmp_path / "again.yaml"
    config.write_text(printed.out, encoding="utf-8")
    assert cli("train", "--config", config, "--print-config").out == printed.out
    assert cli("train", config, "--print-config").out == printed.out
    assert names_in(tmp_path) == ["again.yaml"]


def test_layers_of_the_configuration(cli: Command, tmp_path: Path) -> None:
    """defaults < preset < file < --set < flags."""
    config = write(tmp_path / "c.yaml", "preset: g2p", "training:", "  epochs: 11", "  batch_size: 12",
                   "  patience: 13", "data: {train: x.tsv}")

    def training(*arguments: object) -> tuple[int, ...]:
        found = yaml.safe_load(cli("train", *arguments, "--print-config").out)["training"]
        return tuple(found[name] for name in ("epochs", "batch_size", "patience"))

    assert training(config) == (11, 12, 13)
    assert training(config, "--set", "training.epochs=21", "--set", "training.batch_size=22") == (21, 22, 13)
    assert training(config, "--set", "training.epochs=21", "--epochs", "31") == (31, 12, 13)
    assert training("y.tsv", "-c", config, "--epochs", "31") == (31, 12, 13)


def test_notes_are_said(cli: Command, tmp_path: Path) -> None:
    arguments = ("train", "x.tsv", "--set", "training.lr=0.1", "--set", "training.momentum=0.5", "--print-config")
    notes = cli(*arguments).err
    assert "note: --set training.lr=0.1 is read as training.learning_rate: 0.1" in notes
    assert "training.momentum has no effect" in notes
    assert cli(*arguments, "--quiet").err == ""


def test_a_dry_run_writes_nothing(cli: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("train", data / "train.tsv", "--dry-run", *CHARACTERS)
    assert done.code == 0
    assert "train: 180 lines, 180 usable, 0 bad." in done.out
    assert "plan: 180 examples" in done.out
    assert names_in(tmp_path) == []
    assert cli("train", data / "train.tsv", "--dry-run", "--quiet", *CHARACTERS)[:2] == (0, "")
    bad = write(tmp_path / "bad.tsv", *(data / "train.tsv").read_text(encoding="utf-8").splitlines(), "no tab")
    assert "warning: 1 bad line is left out; quarantine.tsv of the run says why" in cli(
        "train", bad, "--dry-run", *CHARACTERS).out


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "no training data is given"),
    (["a.tsv", "c.yaml"], "c.yaml is a configuration and stands among other files"),
    (["c.yaml", "--config", "d.yaml"], "stands among other files"),
    (["a.tsv", "--preset", "g2pp"], "unknown preset 'g2pp'; did you mean g2p?"),
    (["a.tsv", "--config", "none.yaml"], "none.yaml"),
    (["a.tsv", "--set", "encoder.hiden_size=3"], "did you mean encoder.hidden_size?"),
    (["a.tsv", "--set", "encoder"], "expected key=value"),
    (["a.tsv", "--set", "decoder.attention.score=dot", "--set", "decoder.hidden_size=100"], "dot"),
    (["a.tsv", "--epochs", "x"], "training.epochs: given 'x'"),
    (["a.tsv", "--epochs", "0"], "training.epochs: given 0, expected a whole number from 1"),
    (["a.tsv", "--max-steps", "1.5"], "training.max_steps: given 1.5"),
    (["a.tsv", "--max-minutes", "-1"], "training.max_minutes: given -1"),
    (["a.tsv", "--seed", "-1"], "training.seed: given -1"),
    (["a.tsv", "--threads", "no"], "training.threads"),
    (["a.tsv", "--precision", "fp8"], "training.precision: given 'fp8'"),
    (["a.tsv", "--print-config", "--dry-run"], "--print-config and --dry-run are both given"),
    (["--resume"], "--resume needs to know the run"),
    (["--resume", "--out", "none"], "no run folder at none"),
    (["--resume", "--out", "r", "a.tsv", "--preset", "g2p", "--valid", "v", "--overwrite", "--dry-run"],
     "given: files, --valid, --preset, --overwrite, --dry-run")], ids=lambda value: " ".join(value) if
    isinstance(value, list) else "")
def test_what_cannot_be_is_refused(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.tsv", "a\tb", "c\td")
    cli("train", *arguments).refused(message)
    assert names_in(tmp_path) == ["a.tsv"]


# --- resume, finetune, average ---------------------------------------------------------------------------------------


def test_resume_goes_on(cli: Command, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    cli("train", data / "test.tsv", "--out", out, *ONE_STEP)
    printed = cli("train", "--resume", "--out", out, "--max-steps", "3", "--print-config")
    assert yaml.safe_load(printed.out)["training"]["max_steps"] == 3
    done = cli("train", "--resume", "--out", out, "--max-steps", "3", "--set", "epochs=9", "--quiet")
    assert (done.code, done.out, done.err) == (0, f"{out}\n", "")
    assert validations(out)[-1]["step"] == 3
    cli("train", "--resume", "--out", out, "--seed", "9").refused("training.seed: 1 in the run, 9 given")


def test_finetune_begins_with_a_run(cli: Command, run: Path, data: Path, tmp_path: Path) -> None:
    before = read_weights(run / "model.safetensors")
    out = tmp_path / "more"
    options = ("--epochs", "9", "--max-steps", "1", "--max-minutes", "2", "--seed", "5", "--threads", "1",
               "--device", "cpu", "--precision", "fp32", "--set", "training.learning_rate=1e-9", "--quiet")
    done = cli("finetune", run, data / "test.tsv", "--out", out, *options)
    assert (done.code, done.out, done.err) == (0, f"{out}\n", "")
    after = read_weights(out / "model.safetensors")
    assert all(abs(before[name] - after[name]).max() < 1e-6 for name in before)
    training = settings(out)["training"]
    assert isinstance(training, dict)
    assert (training["epochs"], training["max_minutes"], training["seed"]) == (9, 2, 5)
    cli("finetune", run, data / "test.tsv", "--out", out, *options).refused("exists already")
    valid = ("--valid", data / "valid.tsv", "--overwrite")
    assert cli("finetune", run, data / "test.tsv", "--out", out, *options, *valid).code == 0
    assert open_run(out).config.data.valid[0].path == str(data / "valid.tsv")
    cli("finetune", run).refused("no training data is given")


def test_average_is_the_mean(cli: Command, run: Path, other: Path, inflecting: Path, data: Path,
                             tmp_path: Path) -> None:
    out = tmp_path / "mean"
    assert cli("average", run, other, "--out", out).out == f"{out}\n"
    parts = [read_weights(folder / "model.safetensors") for folder in (run, other, out)]
    for name, mean in parts[2].items():
        assert mean == pytest.approx((parts[0][name] + parts[1][name]) / 2, abs=1e-6)
    assert cli("predict", out, stdin=b"abc\n").code == 0
    cli("average", run, other, "--out", out).refused("exists already")
    assert cli("average", run, other, "--out", out, "--overwrite").code == 0
    cli("average", run, "--out", tmp_path / "x").refused("1 run given, expected two or more")
    cli("average", run, inflecting, "--out", tmp_path / "x").refused("different source vocabularies")
    wide = tmp_path / "wide"
    cli("train", data / "train.tsv", "--valid", data / "valid.tsv", "--out", wide, *ONE_STEP, "--set",
        "decoder.hidden_size=20")
    cli("average", run, wide, "--out", tmp_path / "x").refused("were configured differently: decoder.hidden_size")
    assert not (tmp_path / "x").exists()


# --- doctor, presets -------------------------------------------------------------------------------------------------


def test_doctor_says_what_is_wrong(cli: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.tsv", "abc\tCBA", "no tab", "", "abc\tCBA", "a\t", "de\tED")
    valid = write(tmp_path / "valid.tsv", "abc\tCBA", "xyz\tZYX")
    done = cli("doctor", path, "--valid", valid, *CHARACTERS)
    assert done.code == 0
    assert done.err == ""
    for words in (f"{path}:2", "6 lines, 3 usable, 3 bad", "unknown symbols, source of validation: 3 of 6"):
        assert words in done.out
    found = json.loads(cli("doctor", path, "--valid", valid, *CHARACTERS, "--json").out)
    assert found["train"]["lines"] == 6
    assert found["overlapping_pairs"]["count"] == 1


def test_doctor_reads_as_the_configuration_says(cli: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "three.tsv", "abs\tab\tN;PL", "cd\tcd\tN;SG")
    usual = cli("doctor", path).out
    config = write(tmp_path / "c.yaml", "data: {columns: {source: 2, target: 3}}")
    assert cli("doctor", path, "--config", config).out != usual
    assert cli("doctor", path, "--set", "data.columns={source: 2, target: 3}").out != usual
    wrong = cli("doctor", path, "--set", "data.columns.source=4")
    assert "0 usable, 2 bad" in wrong.out
    assert (wrong.code, wrong.err) == (2, "")  # as training on it would end
    assert "word" in cli("doctor", path, "--valid", path, "--preset", "chatbot").out
    cli("doctor").refused("no training data is given")
    cli("doctor", path, "--preset", "g3p").refused("did you mean g2p?")


def test_presets_are_listed(cli: Command) -> None:
    done = cli("presets")
    assert [line.split()[0] for line in done.lines] == preset_names()
    assert all(len(line) > 30 for line in done.lines)


def test_quiet_silences_no_warning(cli: Command, data: Path, run: Path, tmp_path: Path) -> None:
    """Bad lines of training data and of inputs, losses that are no numbers, an export that fails."""
    bad = tmp_path / "bad.tsv"
    bad.write_text((data / "train.tsv").read_text(encoding="utf-8") + "one column\n", encoding="utf-8")
    done = cli("train", bad, "--valid", data / "valid.tsv", "--max-steps", "2", "--out", tmp_path / "run", *TINY)
    assert done.code == 0
    assert done.err.splitlines() == [
        f"warning: 1 bad line is left out; {tmp_path / 'run' / 'quarantine.tsv'} says why"]
    done = cli("train", data / "train.tsv", "--valid", data / "valid.tsv", "--max-steps", "6", *TINY,
               "--out", tmp_path / "nan", "--set", "training.learning_rate=1e38", "--set", "training.max_grad_norm=0")
    assert "warning: the loss" in done.err
    assert "epoch" not in done.err
    inputs = tmp_path / "inputs.txt"
    inputs.write_text("ab\n\n", encoding="utf-8")
    done = cli("encode", run, inputs, "-o", tmp_path / "e.npz", "-q")
    assert done.err.splitlines() == [
        f"warning: {inputs}:2: empty line",
        "warning: 1 of 2 lines could not be read and are left out; `lines` says which are there"]
