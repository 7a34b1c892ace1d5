"""predict -o FILE that stops in the middle: whole lines, and --resume goes on from there, or says why it cannot."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Command, names_in, write

from seqloom.cli.partial import SIDECAR, whole_part
from seqloom.cli.streams import Terminated, cut_to_whole_lines, open_output
from seqloom.errors import UsageError
from seqloom.predictor import Predictor
from seqloom.types import Prediction


class PowerCutError(Exception):
    """The machine lost its power."""


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException) -> None:
    """Prediction ends with an error after so many answers."""
    whole = Predictor.predict_records

    def some(self: Predictor, *arguments: Any, **options: Any) -> Iterator[Prediction]:
        for number, prediction in enumerate(whole(self, *arguments, **options)):
            if number == count:
                raise error
            yield prediction

    monkeypatch.setattr(Predictor, "predict_records", some)


FORMATS = [("text",), ("tsv", "-n", "3"), ("jsonl", "-n", "2", "--attention", "-k", "2"),
           ("tsv", "--set", "strategy=sampling", "--set", "temperature=2"), ("text", "--prefix", "FA")]


@pytest.mark.parametrize("options", FORMATS, ids=" ".join)
@pytest.mark.parametrize("cut", [0, 3])
def test_going_on_gives_what_one_go_would_have_given(cli: Command, other: Path, tmp_path: Path, words: Path,
                                                     monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...],
                                                     cut: int) -> None:
    """PowerCutError after five answers; with `cut`, the last line has lost its end too, as a power cut leaves it."""
    command = ("predict", other, words, "-f", *options)
    whole = cli(*command).out
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, 5, KeyboardInterrupt())
        done = cli(*command, "-o", out)
    assert done.code == 130
    assert f"note: 5 inputs are answered in {out}; to go on from there, add --resume to the same command" in done.err
    assert names_in(tmp_path) == ["out", f"out{SIDECAR}", "words.txt"]
    partial = out.read_text(encoding="utf-8")
    assert whole.startswith(partial)
    assert partial.endswith("\n")
    if cut:
        out.write_text(partial[:-cut], encoding="utf-8")
    done = cli(*command, "-o", out, "--resume")
    assert done.code == 0
    # Of tsv the last input that has a line is answered again: a cut takes a line of three, or the only one.
    answered = 5 - (cut > 0 or options[0] == "tsv") - (cut > 0 and options[0] == "tsv" and "-n" not in options)
    assert f"note: {out} has the answers to {answered} inputs; going on from there" in done.err
    assert out.read_text(encoding="utf-8") == whole
    assert names_in(tmp_path) == ["out", "words.txt"]


def test_bad_lines_are_lines_too(cli: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "in.txt", "abc", "", "cde", "", "")
    whole = cli("predict", run, path).out
    with monkeypatch.context() as patch:
        stop_after(patch, 3, KeyboardInterrupt())
        cli("predict", run, path, "-o", tmp_path / "out")
    done = cli("predict", run, path, "-o", tmp_path / "out", "--resume")
    assert done.code == 0  # not every line was bad, though all that were left
    assert "2 of 2 lines could not be read" in done.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == whole


def test_without_a_file_resume_begins_and_a_gzipped_input_will_do(cli: Command, run: Path, tmp_path: Path, words: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "words.gz"
    packed.write_bytes(gzip.compress(words.read_bytes()))
    with monkeypatch.context() as patch:
        stop_after(patch, 4, Terminated())
        assert cli("predict", run, packed, "-o", tmp_path / "out", "--resume").code == 143
    assert cli("predict", run, packed, "-o", tmp_path / "out", "--resume", "--quiet").err == ""
    assert (tmp_path / "out").read_text(encoding="utf-8") == cli("predict", run, words).out


def test_an_error_leaves_the_part_too(cli: Command, run: Path, tmp_path: Path, words: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 7, PowerCutError())
        assert cli("predict", run, words, "-o", tmp_path / "out").code == 1
    assert cli("predict", run, words, "-o", tmp_path / "out", "--resume").code == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == cli("predict", run, words).out


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(cli: Command, run: Path, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output with the answers to five of twelve inputs."""
    with monkeypatch.context() as patch:
        stop_after(patch, 5, KeyboardInterrupt())
        cli("predict", run, words, "-o", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(("options", "message"), [
    (["-b", "1"], "was begun with beam_size 5 (now 1)"),
    (["-b", "2", "--set", "max_length=3"], "was begun with beam_size 5 (now 2) and max_length 12 (now 3)"),
    (["-f", "jsonl"], "was begun with format 'text' (now 'jsonl')"),
    (["--prefix", "F"], "was begun with prefix None (now 'F')"),
    (["--engine", "torch"], "was begun with engine 'onnx fp32' (now 'torch fp32')")], ids=lambda value: " ".join(value)
    if isinstance(value, list) else "")
def test_other_options_are_refused(cli: Command, run: Path, words: Path, begun: Path, options: list[str],
                                   message: str) -> None:
    before = begun.read_bytes()
    cli("predict", run, words, "-o", begun, "--resume", "-q", *options).refused(
        message, "give the same as then, or leave --resume out")
    assert begun.read_bytes() == before


def test_other_inputs_and_runs_are_refused(cli: Command, run: Path, other: Path, words: Path, begun: Path) -> None:
    cli("predict", other, words, "-o", begun, "--resume", "-q").refused("was begun with other weights")
    changed = words.read_text(encoding="utf-8").replace("\n", "a\n", 1)
    words.write_text(changed, encoding="utf-8")
    cli("predict", run, words, "-o", begun, "--resume", "-q").refused("was begun with other inputs")


def test_a_copied_run_is_the_same_run(cli: Command, run: Path, words: Path, begun: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "copied")
    assert cli("predict", copied, words, "-o", begun, "--resume").code == 0


def test_an_export_is_known_by_its_weights(cli: Command, run: Path, words: Path, begun: Path, tmp_path: Path) -> None:
    assert cli("export", run, tmp_path / "alone", "--no-check", "-q").code == 0
    assert not (tmp_path / "alone" / "model.safetensors").exists()
    assert cli("predict", tmp_path / "alone", words, "-o", begun, "--resume").code == 0
    assert begun.read_text(encoding="utf-8") == cli("predict", run, words).out


def test_what_cannot_be_gone_on_with(cli: Command, run: Path, words: Path, begun: Path, tmp_path: Path) -> None:
    command = ("predict", run, words, "--resume", "-q")
    cli(*command).refused("--resume goes on with an output file, and none is named", "name it: -o FILE")
    cli("predict", run, "-o", begun, "--resume", stdin=b"abc\n").refused(
        "--resume needs inputs that can be read again from their beginning")
    foreign = write(tmp_path / "foreign", "abc")
    cli(*command, "-o", foreign).refused("there is no foreign.resume.json beside it, so it is whole already")
    sidecar = tmp_path / f"out{SIDECAR}"
    kept = sidecar.read_text(encoding="utf-8")
    sidecar.write_text("{", encoding="utf-8")
    cli(*command, "-o", begun).refused("not readable as JSON", "leave --resume out")
    sidecar.write_text(json.dumps({**json.loads(kept), "format_version": 0}), encoding="utf-8")
    cli(*command, "-o", begun).refused("was begun with another version of seqloom")
    sidecar.write_text(kept, encoding="utf-8")
    write(begun, *["A"] * 13)
    cli(*command, "-o", begun).refused("answers 13 inputs, but there are 12")


def test_whole_parts(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def part(content: bytes, format_name: str) -> tuple[int, int]:
        path.write_bytes(content)
        found = whole_part(path, format_name)
        return found.answered, found.size

    assert part(b"", "text") == (0, 0)
    assert part(b"a", "text") == (0, 0)
    assert part(b"a\n\nc", "text") == (2, 3)
    assert part(b'{"text": "a"}\n{"te', "jsonl") == (1, 14)
    assert part(b"1\t1\ta\n1\t2\tb\n2\t1\tc\n2\t2", "tsv") == (1, 12)
    assert part(b"1\t1\ta\n2\t\t\t\t\n3\t1", "tsv") == (1, 6)
    assert part(b"1\t1", "tsv") == (0, 0)
    for content in (b"0\ta\n", b"1\ta\n3\ta\n", b"1\ta\nx\n", b"1\ta\n2\tb\n1\tc\n"):
        with pytest.raises(UsageError, match=r"(?s)out, byte \d+: the line is of input '.*', expected \d"):
            part(content, "tsv")


# --- whole lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "whole"), [
    (b"", b""), (b"a", b""), (b"a\n", b"a\n"), (b"a\nb", b"a\n"), (b"a\n" + b"b" * 3_000_000, b"a\n"),
    (b"b" * 3_000_000, b"")], ids=["nothing", "no line", "a line", "a line and a half", "and a long one", "one long"])
def test_a_last_line_without_an_end_goes(tmp_path: Path, content: bytes, whole: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    cut_to_whole_lines(path)
    assert path.read_bytes() == whole
    cut_to_whole_lines(tmp_path / "none")


def test_an_output_that_fails_ends_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "out"

    def fail() -> None:
        with open_output(str(path)) as stream:
            stream.write("one\ntwo\nthr")
            raise PowerCutError

    with pytest.raises(PowerCutError):
        fail()
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")
def test_a_kill_and_going_on(cli: Command, run: Path, tmp_path: Path) -> None:
    """A process that is killed cannot tidy up: whatever it left, going on makes it whole."""
    path = write(tmp_path / "in.txt", *["af", "be", "cd", "dc", "eb", "fa"] * 200)
    slow = "import time, seqloom.predictor as p; p.WINDOW = 40\n" \
           "f = p.Predictor._answer_window\n" \
           "def g(*a, **k):\n    time.sleep(0.05)\n    return f(*a, **k)\n" \
           "p.Predictor._answer_window = g\nfrom seqloom.cli import main; main()"
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", slow, "predict", str(run), str(path), "-f", "jsonl", "-o", str(out)],
                          stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 120
        while not (out.exists() and out.stat().st_size > 10_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert out.stat().st_size > 10_000
    assert cli("predict", run, path, "-f", "jsonl", "-o", out, "--resume").code == 0
    assert out.read_text(encoding="utf-8") == cli("predict", run, path, "-f", "jsonl").out
