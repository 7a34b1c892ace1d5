"""What users have on their disks: every kind of bad file meets every verb that reads it. No traceback, nothing lost."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from cli_helpers import TINY, Command, names_in, write

# Faults of a whole file: what is in it (None: there is none), and what is said.
FILES: dict[str, tuple[bytes | None, str]] = {
    "missing.tsv": (None, "there is no file"),
    "empty.tsv": (b"", "the file is empty"),
    "binary.tsv": (bytes(range(256)) * 20, "looks like a binary file"),
    "utf16.tsv": ("ab\tBA\n".encode("utf-16"), "the file is UTF-16"),
    "cut.tsv.gz": (gzip.compress(b"ab\tBA\n" * 500)[:-12], "the gzip data is cut off"),
    "damaged.tsv.gz": (gzip.compress(b"ab\tBA\n" * 500)[:30] + b"\xff" * 40, "the gzip data is damaged"),
    "mac.tsv": (b"ab\tBA\rcd\tDC\ref\tFE\r", "carriage return alone"),
    "bom.tsv": (b"\xef\xbb\xbf", "the file is empty"),
    "two\0parts.tsv": (None, "cannot open"),
}


@pytest.mark.parametrize("name", FILES, ids=[ascii(name) for name in FILES])
@pytest.mark.parametrize("verb", ["train", "doctor", "predict", "score", "encode", "evaluate", "finetune"])
def test_files_that_cannot_be_read(cli: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   verb: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = FILES[name]
    if content is not None:
        Path(name).write_bytes(content)
    before = names_in(tmp_path)
    arguments = {"train": [name, *TINY], "doctor": [name], "encode": [run, name, "-o", "x.npz"],
                 "finetune": [run, name, "--quiet"]}.get(verb, [run, name])
    cli(verb, *arguments).refused(message)
    assert set(names_in(tmp_path)) - {"runs"} == set(before)
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("verb", ["train", "predict", "evaluate"])
def test_a_directory_is_no_file(cli: Command, run: Path, tmp_path: Path, verb: str) -> None:
    folder = tmp_path / "folder.tsv"
    folder.mkdir()
    cli(verb, *([] if verb == "train" else [run]), folder).refused("is a directory, expected a file")


def test_the_nearest_name_is_offered(cli: Command, run: Path, words: Path) -> None:
    cli("predict", run, words.with_name("wrods.txt")).refused(f"did you mean '{words}'?")
    words.write_text("", encoding="utf-8")  # as a shell makes "> words.txt"
    cli("predict", run, words.with_name("wrods.txt")).refused("check the path")


def test_one_side_is_longer(cli: Command, run: Path, tmp_path: Path) -> None:
    source, target = write(tmp_path / "x.en", "ab", "cd", "ef"), write(tmp_path / "x.de", "BA", "DC")
    sides = ("--source", source, "--target", target)
    message = f"the first line without a partner is {source}:3"
    cli("train", *sides, "--out", tmp_path / "run", *TINY).refused(message)
    cli("doctor", *sides).refused(message)
    cli("evaluate", run, *sides).refused(message)
    assert not (tmp_path / "run").exists()


def test_only_bad_lines(cli: Command, run: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.tsv", "no tab", "", "still none")
    cli("train", path, "--out", tmp_path / "run", *TINY).refused(
        f"{path}:1: not one line can be used; the first: missing column")
    cli("evaluate", run, path).refused("no usable test example", f"{path}:1: missing column")
    assert cli("score", run, path)[:2] == (1, "\t\t\n" * 3)
    assert "0 usable, 3 bad" in cli("doctor", path).out


def test_good_lines_are_trained_on_and_bad_ones_set_aside(cli: Command, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mixed.tsv"
    good = (data / "test.tsv").read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n") + b"no tab\n\nab\xff\tX\n\tX\nX\t\n")
    out = tmp_path / "run"
    done = cli("train", path, "--out", out, *[word for word in TINY if word != "--quiet"], "--max-steps", "1")
    assert done.code == 0
    assert "5 bad" in done.err
    quarantine = (out / "quarantine.tsv").read_text(encoding="utf-8")
    count = good.count(b"\n")
    for number, reason in enumerate(("missing column", "empty line", "not UTF-8", "empty source", "empty target"),
                                    count + 1):
        assert f"{path}:{number}" in quarantine
        assert reason in quarantine


def test_long_lines(cli: Command, run: Path, tmp_path: Path) -> None:
    """The longest line that is read is answered; a longer one is named. Three letters in three times."""
    path = tmp_path / "long.txt"
    path.write_text("ab" * 2_500 + "\n" + "ab" * 60_000 + "\nabc\n", encoding="utf-8")
    done = cli("predict", run, path)
    assert done.code == 0
    assert [bool(line) for line in done.lines] == [True, False, True]
    assert f"{path}:2: line too long: more than 100,000 characters" in done.err
    assert done.lines[2] == cli("predict", run, stdin=b"abc\n").lines[0]


@pytest.mark.slow
def test_a_line_of_a_hundred_thousand_characters(cli: Command, run: Path) -> None:
    done = cli("predict", run, stdin=b"ab" * 50_000 + b"\n")
    assert done.code == 0
    assert len(done.lines) == 1


# --- configurations --------------------------------------------------------------------------------------------------


# --- run folders -----------------------------------------------------------------------------------------------------

PARTS = ["config.yaml", "generation_config.json", "source.json", "target.json", "source.tokenizer.json",
         "target.tokenizer.json", "model.safetensors"]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", ["missing", "half", "empty", "folder", "noise"])
def test_damaged_run_folders(cli: Command, run: Path, tmp_path: Path, part: str, damage: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    path = folder / part
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "noise": b"\x93\xff\0 noise"}[damage])
    weights = part == "model.safetensors"
    cli("predict", folder, *(["--engine", "torch"] if weights else []), stdin=b"abc\n").refused(str(folder))
    if weights and damage == "missing":  # the export is a run by itself
        assert cli("predict", folder, stdin=b"abc\n").out == cli("predict", run, stdin=b"abc\n").out
        shutil.rmtree(folder / "onnx")
    cli("info", folder).refused(str(folder))


@pytest.mark.parametrize("verb", ["predict", "score", "evaluate", "explain", "info", "curves", "encode", "finetune"])
def test_what_is_no_run_folder(cli: Command, data: Path, tmp_path: Path, verb: str) -> None:
    test = data / "test.tsv"
    rest = {"explain": ["abc"], "info": [], "curves": ["-o", tmp_path / "x.svg"],
            "encode": [test, "-o", tmp_path / "x.npz"], "finetune": [test, "--out", tmp_path / "x"]}.get(verb, [test])
    cli(verb, tmp_path / "none", *rest).refused("no run folder at")
    cli(verb, test, *rest).refused("is a file, not a run folder")
    cli(verb, data, *rest).refused("is not a run folder")
    assert names_in(tmp_path) == []


def test_folders_that_cannot_be_written(cli: Command, run: Path, data: Path, tmp_path: Path) -> None:
    """Below a regular file nobody can make a folder, not even root."""
    below = write(tmp_path / "file", "x") / "run"
    test = data / "test.tsv"
    cli("train", test, "--out", below, *TINY).refused("cannot create")
    cli("finetune", run, test, "--out", below, "--quiet").refused("cannot create")
    cli("average", run, run, "--out", below).refused("cannot create")
    cli("demo", "--out", below).refused("cannot create")
    cli("explain", run, "abc", "-o", below.with_suffix(".svg")).refused("cannot write")
    cli("curves", run, "-o", below.with_suffix(".svg")).refused("cannot write")
    cli("encode", run, test, "-o", below.with_suffix(".npz")).refused("cannot write")


def test_a_run_without_validations_is_described(cli: Command, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("metrics.jsonl", "checkpoints"))
    assert "trained" not in cli("info", folder).out
    cli("curves", folder, "-o", tmp_path / "x.svg").refused("no")
    (folder / "metrics.jsonl").write_text('{"step": 3, "valid_loss": 1.5, "best": true}\n{"step": 9, "va',
                                          encoding="utf-8")
    assert cli("info", folder).out.endswith("best:       step 3: valid_loss 1.5\n")
    done = cli("evaluate", folder, stdin=b"")
    done.refused("no test data is given")
    assert json.loads((run / "generation_config.json").read_text(encoding="utf-8"))["beam_size"] == 5
