"""Run folders: complete, without pickle, and every way a file can be missing or damaged said with its place."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import seqloom
from seqloom.errors import RunFolderError, SeqloomError, TrainingError, UsageError
from seqloom.run import (
    append_metrics,
    create_run_folder,
    keep_metrics,
    new_run_folder,
    open_run,
    read_metrics,
    read_weights,
    write_weights,
)
from seqloom.training.session import train_run
from training_helpers import configuration, letters, write_pairs

NEEDED = ["config.yaml", "generation_config.json", "source.json", "source.tokenizer.json", "target.json",
          "target.tokenizer.json", "model.safetensors"]
ALSO = ["metrics.jsonl", "README.md", "data_report.json", "checkpoints/best/model.safetensors",
        "checkpoints/last/model.safetensors", "checkpoints/last/state.safetensors", "checkpoints/last/state.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with attention, moving averages and a quarantine, of one epoch."""
    folder = tmp_path_factory.mktemp("run")
    sources = letters(20)
    train = write_pairs(folder / "train.tsv", sources[:16])
    train.write_text(train.read_text(encoding="utf-8") + "no tab in this line\n", encoding="utf-8")
    config = configuration(train, write_pairs(folder / "valid.tsv", sources[16:]), encoder={"bidirectional": True},
                           decoder={"context": "attention"}, training={"epochs": 1, "average": "ema"},
                           decoding={"beam_size": 2})
    return train_run(config, folder / "run")


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def use(folder: Path) -> Any:
    """All that opening and predicting read."""
    return seqloom.load(folder).predict("a b")


# --- complete --------------------------------------------------------------------------------------------------------


def test_what_is_in_a_run_folder(trained: Path) -> None:
    found = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    assert set(NEEDED + ALSO + ["quarantine.tsv"]) <= found
    assert {Path(name).suffix for name in found} <= {
        ".yaml", ".json", ".jsonl", ".safetensors", ".md", ".tsv", ".onnx"}
    assert not (trained / "cache").exists()


def test_nothing_in_it_is_a_pickle_or_an_archive(trained: Path) -> None:
    """A pickle of protocol 2 or later begins with 0x80, a zip (as torch.save writes it) with PK."""
    for path in trained.rglob("*"):
        if path.is_file():
            start = path.read_bytes()[:2]
            assert not start.startswith((b"\x80", b"PK", b"\x1f\x8b")), path
    assert "format_version: 1" in (trained / "config.yaml").read_text(encoding="utf-8")
    assert "beam_size" not in (trained / "config.yaml").read_text(encoding="utf-8")
    assert json.loads((trained / "generation_config.json").read_text(encoding="utf-8"))["beam_size"] == 2


def test_a_copy_of_it_is_the_model_in_a_fresh_process(trained: Path, tmp_path: Path) -> None:
    """Somewhere else, under another name, with nothing but the needed files, in an empty working directory."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "kopie ✓").mkdir()
    for name in NEEDED:
        shutil.copy(trained / name, tmp_path / "kopie ✓" / name)
    code = ("import sys, json, seqloom\n"
            "one = seqloom.load(sys.argv[1]).predict('a b c')\n"
            "print(json.dumps([one.text, one.score]))")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path / "kopie ✓")], text=True,
                          cwd=tmp_path / "empty", capture_output=True, env=os.environ | {"PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr
    expected = seqloom.load(trained).predict("a b c")
    text, score = json.loads(done.stdout)
    assert (text, score) == (expected.text, pytest.approx(expected.score, abs=1e-5))
    assert list((tmp_path / "empty").iterdir()) == []


def test_only_what_is_needed_is_needed(copy: Path) -> None:
    expected = use(copy).score
    for name in [*ALSO, "quarantine.tsv"]:
        (copy / name).unlink()
    assert use(copy).score == expected
    assert open_run(copy).metrics() == []


# --- damaged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_file(name: str, copy: Path) -> None:
    (copy / name).unlink()
    shutil.rmtree(copy / "onnx")  # it predicts without the weights
    with pytest.raises(RunFolderError) as error:
        use(copy)
    assert name in str(error.value)
    assert str(copy) in str(error.value)
    assert error.value.fix
    assert error.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe garbage \x80", b"[]", b"{}", b"null", b'"text"', b"{" * 3000],
                         ids=["empty", "binary", "list", "object", "null", "text", "deep"])
@pytest.mark.parametrize("name", NEEDED)
def test_a_file_with_other_content(name: str, content: bytes, copy: Path) -> None:
    if name == "generation_config.json" and content == b"{}":
        (copy / name).write_bytes(content)
        assert open_run(copy).config.decoding.beam_size == 5  # nothing but defaults: as good as any
        return
    (copy / name).write_bytes(content)
    with pytest.raises(RunFolderError) as error:
        use(copy)
    assert str(copy / name) in str(error.value)
    assert error.value.fix


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["source.tokenizer.json", "target.json", "model.safetensors", "config.yaml",
                                  "generation_config.json"])
def test_a_file_cut_short(name: str, share: float, copy: Path) -> None:
    whole = (copy / name).read_bytes().rstrip()
    (copy / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(RunFolderError) as error:
        use(copy)
    assert name in str(error.value)


def test_a_configuration_that_ends_between_two_lines(copy: Path) -> None:
    """No default takes the place of what was trained; only options of training itself may be missing."""
    lines = (copy / "config.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    last = next(number for number, line in enumerate(lines) if line.startswith("training:"))
    for end in range(last):
        (copy / "config.yaml").write_text("".join(lines[:end]), encoding="utf-8")
        with pytest.raises(RunFolderError, match=r"format_version is none|lacks .*training") as error:
            open_run(copy)
        assert error.value.where == str(copy / "config.yaml")


def changed_bytes(whole: bytes, draw: random.Random) -> Iterator[bytes]:
    """The content with one byte changed, a stretch removed, or a stretch doubled."""
    for _ in range(12):
        position, length = draw.randrange(len(whole)), draw.randrange(1, 40)
        yield whole[:position] + bytes([draw.randrange(256)]) + whole[position + 1:]
        yield whole[:position] + whole[position + length:]
        yield whole[:position + length] + whole[position:]


@pytest.mark.parametrize("name", NEEDED)
def test_tampering_is_an_error_with_a_place_or_no_error(name: str, copy: Path) -> None:
    """Never another exception: a changed number may well be another model, a changed name is not one."""
    whole, errors = (copy / name).read_bytes(), 0
    for content in changed_bytes(whole, random.Random(name)):
        (copy / name).write_bytes(content)
        if (error := error_of(copy)) is not None:
            errors += 1
            assert isinstance(error, RunFolderError), error
            assert str(copy) in str(error)
            assert error.fix
    assert errors


def error_of(folder: Path) -> SeqloomError | None:
    """What a run folder is refused with."""
    try:
        open_run(folder).weights()
    except SeqloomError as error:
        return error
    return None


def tensors_with(copy: Path, change: Any) -> None:
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors")


@pytest.mark.parametrize(("change", "message"), [
    (lambda tensors: tensors.pop("head.output.bias"), r"missing \['head\.output\.bias'\]"),
    (lambda tensors: tensors.update(more=np.zeros(2, np.float32)), r"unexpected \['more'\]"),
    (lambda tensors: tensors.update({"head.output.bias": np.zeros(99, np.float32)}),
     r"head\.output\.bias has shape \(99,\), the configuration says"),
])
def test_weights_that_are_not_this_models(change: Any, message: str, copy: Path) -> None:
    tensors_with(copy, change)
    with pytest.raises(RunFolderError, match=message) as error:
        use(copy)
    assert error.value.where == str(copy / "model.safetensors")


def test_weights_of_a_type_that_numpy_does_not_have(copy: Path) -> None:
    """A header that says BF16 over the right number of bytes."""
    header = json.dumps({"head.output.bias": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (copy / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(RunFolderError) as error:
        use(copy)
    assert str(copy / "model.safetensors") in str(error.value)


def test_a_size_that_no_memory_has_is_refused_by_its_header(copy: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**50], "data_offsets": [0, 2**52]}}).encode()
    (copy / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    with pytest.raises(RunFolderError, match="not readable"):
        read_weights(copy / "model.safetensors")


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(("name", "old", "new", "message"), [
    ("config.yaml", "format_version: 1", "format_version: 2", "format_version is 2, this seqloom reads 1"),
    ("config.yaml", "format_version: 1", "format_version: 1.5", r"format_version is 1\.5"),
    ("config.yaml", "format_version: 1", "# nothing", "format_version is none"),
    ("config.yaml", "cell: gru", "cell: grue", "did you mean gru|given 'grue'"),
    ("config.yaml", "bidirectional:", "bidirektional:", "bidirektional"),
    ("generation_config.json", '"beam_size": 2', '"beam_size": 0', "beam_size"),
    ("generation_config.json", '"beam_size"', '"beam_sice"', "beam_sice"),
    ("source.json", '"text"', '"audio"', "kind is 'audio', config.yaml says 'text'"),
    ("target.json", '"kind"', '"sort"', "lacks kind"),
    ("source.json", '"size": 10', '"size": 11', "size is 11, but the run has 10 symbols"),
    ("target.tokenizer.json", '"format_version": 1', '"format_version": 7', "format_version"),
])
def test_what_does_not_fit_together(name: str, old: str, new: str, message: str, copy: Path) -> None:
    replaced(copy / name, old, new)
    with pytest.raises(RunFolderError, match=message) as error:
        use(copy)
    assert str(copy / name) in str(error.value)
    assert error.value.fix


def test_no_run_folder(trained: Path, tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none", "no run folder at"), (trained / "config.yaml", "is a file, not a run"),
                          (tmp_path, r"is not a run folder: it has no config\.yaml")):
        with pytest.raises(RunFolderError, match=message) as error:
            open_run(path)
        assert str(path) in str(error.value)


def test_files_that_may_not_be_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.read_text, Path.read_bytes

    def refuse(number: int, name: str) -> Any:
        def read(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.name == name:
                raise PermissionError(13, "Permission denied")
            return original[number](path, *arguments, **options)

        return read

    monkeypatch.setattr(Path, "read_text", refuse(0, "config.yaml"))
    with pytest.raises(RunFolderError, match="not readable: Permission denied"):
        open_run(copy)
    monkeypatch.setattr(Path, "read_bytes", refuse(1, "metrics.jsonl"))
    with pytest.raises(RunFolderError, match="not readable: Permission denied"):
        read_metrics(copy / "metrics.jsonl")


# --- metrics.jsonl ---------------------------------------------------------------------------------------------------


def test_rows_of_metrics(tmp_path: Path) -> None:
    """NaN and infinity are null, as JSON has neither; what a crash cut short is left out, other damage is an error."""
    for step, loss in ((1, 0.5), (2, float("nan")), (3, float("inf"))):
        append_metrics(tmp_path, {"step": step, "loss": loss, "best": step == 1, "name": "ü"})
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": step, "loss": loss, "best": step == 1, "name": "ü"}
            for step, loss in ((1, 0.5), (2, None), (3, None))]
    assert read_metrics(path) == rows
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_metrics(path) == rows[: len(read_metrics(path))]
    for damaged in (whole.replace(b"0.5", b"0.5.5"), whole.replace(b"{", b"[", 1), b"\xff\n" + whole, b"3\n" + whole):
        path.write_bytes(damaged)
        with pytest.raises(RunFolderError, match="not a row of metrics") as error:
            read_metrics(path)
        assert error.value.where == f"{path}:1"
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_rows_are_cut_to_those_of_the_checkpoint(tmp_path: Path) -> None:
    keep_metrics(tmp_path, 3)
    assert list(tmp_path.iterdir()) == []
    for step in range(5):
        append_metrics(tmp_path, {"step": step})
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step"')
    keep_metrics(tmp_path, 9)
    assert path.read_text() == "".join(f'{{"step": {step}}}\n' for step in range(5))
    keep_metrics(tmp_path, 2)
    assert [row["step"] for row in read_metrics(path)] == [0, 1]


def test_a_row_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(TrainingError, match="cannot be written"):
        append_metrics(tmp_path, {"step": 1})


# --- making folders --------------------------------------------------------------------------------------------------


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((0, 2), np.float32)}
    write_weights(tmp_path / "weights.safetensors", weights)
    found = read_weights(tmp_path / "weights.safetensors")
    assert list(found) == list(weights)
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_a_failed_start_leaves_all_as_it_was(copy: Path, tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def start(out: Path, *, overwrite: bool = False) -> None:
        with new_run_folder(out, None, overwrite=overwrite) as folder:
            (folder / "config.yaml").write_text("new")
            raise Stop

    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    (tmp_path / "empty").mkdir()
    (tmp_path / "deep").mkdir()
    new = tmp_path / "new" / "newer" / "fresh"
    for out in (tmp_path / "fresh", tmp_path / "deep" / "fresh", new, tmp_path / "empty", copy):
        with pytest.raises(Stop):
            start(out, overwrite=out == copy)
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "deep", "empty"]
    assert list((tmp_path / "empty").iterdir()) == list((tmp_path / "deep").iterdir()) == []


def test_a_folder_that_is_replaced_is_replaced_whole(copy: Path, tmp_path: Path) -> None:
    assert create_run_folder(copy, None, overwrite=True) == copy
    assert list(copy.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_the_working_directory_is_not_replaced(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    with pytest.raises(UsageError, match="is not a run folder with a name, so it is not overwritten"):
        create_run_folder(".", None, overwrite=True)
    assert (copy / "config.yaml").exists()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UsageError, match="exists already"):
        create_run_folder(tmp_path / "run", None)
    with pytest.raises(UsageError, match="is not a run folder"):
        create_run_folder(tmp_path / "run", None, overwrite=True)
