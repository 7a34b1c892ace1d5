"""Pipes, full disks, closed streams, signals, odd environments, and the dialogue at a terminal: real processes."""

from __future__ import annotations

import errno
import io
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import TINY, Command, environment, process, write

from seqloom.cli import streams
from seqloom.cli.streams import Terminated, open_output, stop_on_termination, write_error
from seqloom.config.loading import preset_names
from seqloom.errors import SeqloomError, UsageError
from seqloom.predictor import Predictor
from seqloom.progress import PlainReporter
from seqloom.types import Prediction

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def shell(line: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A line of sh in which $S is the program."""
    program = f"'{sys.executable}' -m seqloom"
    return subprocess.run(["sh", "-c", line.replace("$S", program)], capture_output=True, encoding="utf-8",
                          timeout=240, **options)


# --- full, broken, closed --------------------------------------------------------------------------------------------


@needs_full
def test_a_full_disk_is_a_failure(cli: Command, run: Path, words: Path, data: Path) -> None:
    for command in (("predict", run, words), ("score", run, data / "test.tsv"), ("evaluate", run, data / "test.tsv")):
        done = cli(*command, "-o", FULL)
        assert (done.code, done.out) == (1, "")
        done.explained("writing /dev/full failed: No space left on device")


@needs_full
def test_a_full_disk_behind_standard_output() -> None:
    done = shell("$S presets > /dev/full; echo $?")
    assert done.stdout == "1\n"
    assert done.stderr.startswith("error: writing standard output failed: No space left on device\n  fix: ")
    assert len(done.stderr.splitlines()) == 2
    assert shell("$S --help > /dev/full; echo $?").stdout == "1\n"


def test_a_reader_that_goes_is_no_error() -> None:
    done = shell("$S train x.tsv --print-config | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_nobody_needs_to_read_the_messages() -> None:
    done = shell("$S predict /nowhere 2>&1 >/dev/null | true; $S presets 2>&- | wc -l; $S presets 2>/dev/full | wc -l")
    assert [int(count) for count in done.stdout.split()] == [len(preset_names())] * 2
    assert done.stderr == ""


def test_training_goes_on_when_nobody_reads_its_messages(cli: Command, data: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlainReporter, "__init__", lambda self, stream=None: setattr(
        self, "stream", Broken(BrokenPipeError(errno.EPIPE, "pipe"))))
    options = [word for word in TINY if word != "--quiet"]
    done = cli("train", data / "test.tsv", "--out", tmp_path / "run", *options, "--max-steps", "1")
    assert (done.code, done.out) == (0, f"{tmp_path / 'run'}\n")
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_closed_streams() -> None:
    assert "error: standard input is closed\n  fix: name a file" in shell("$S predict x <&-").stderr
    assert "error: standard output is closed\n  fix: write to a file" in shell("$S predict x >&-").stderr
    done = shell("$S presets >&- 2>&- <&-; echo $?")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("name", ["file/below", "x\0y", "", "."])
def test_an_output_that_cannot_be_opened(cli: Command, run: Path, words: Path, tmp_path: Path, name: str,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "file", "x")
    cli("predict", run, words, "-o", name).refused("cannot write")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x\n"


class Broken(io.StringIO):
    """A stream whose writing fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


def test_writing_names_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(sys, "stdout", Broken(full))
    for attempt in (lambda: streams.say("x"), streams.flush_output):
        with pytest.raises(SeqloomError, match="writing standard output failed: No space left on device"):
            attempt()
    with pytest.raises(SeqloomError, match="standard output"), open_output("-") as stream:
        stream.write("x")
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(errno.EPIPE, "pipe")))
    with pytest.raises(BrokenPipeError):
        streams.flush_output()
    monkeypatch.setattr(sys, "stderr", Broken(full))
    write_error("nobody reads this")


def test_files_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "a", "x")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(UsageError, match="is also read"):
        streams.refuse_input_as_output(str(tmp_path / "link"), [None, str(path)])
    streams.refuse_input_as_output(str(tmp_path / "b"), [str(path), "x\0y", None])
    streams.refuse_input_as_output(None, [str(path)])


# --- signals ---------------------------------------------------------------------------------------------------------

WINDOW_OF_FIVE = "import seqloom.predictor; seqloom.predictor.WINDOW = 5"


@pytest.mark.parametrize(("number", "code", "said"), [
    (signal.SIGINT, 130, "interrupted\n"), (signal.SIGTERM, 143, "terminated\n")])
def test_a_signal_leaves_whole_lines(cli: Command, run: Path, words: Path, number: signal.Signals, code: int,
                                     said: str) -> None:
    lines = words.read_bytes().splitlines(keepends=True)
    program = [sys.executable, "-c", f"{WINDOW_OF_FIVE}\nfrom seqloom.cli import main; main()", "predict", str(run)]
    # A shell starts background jobs with SIGINT ignored, and their children inherit that: here it means what it says.
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: PLW1509
                          ) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        assert running.stdout is not None
        running.stdin.write(b"".join(lines[:11]))  # two windows, and one that could take more
        running.stdin.flush()
        assert running.stderr.readline().startswith(b"engine: ")
        first = running.stdout.readline()
        time.sleep(1)
        running.send_signal(number)
        out, err = first + running.stdout.read(), running.stderr.read()
        running.stdin.close()
        assert running.wait(60) == code
    assert err.decode().endswith(said)
    assert b"Traceback" not in err
    given = cli("predict", run, words).out.encode().splitlines(keepends=True)
    count = out.count(b"\n")
    assert count == 11  # a slow sender's lines are answered without waiting for more
    assert out == b"".join(given[:count])


def test_an_interrupt_in_the_middle(cli: Command, run: Path, words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def three(self: Predictor, *arguments: object, **options: object) -> Iterator[Prediction]:
        yield from [Prediction(text, -1.0) for text in ("A", "B", "C")]
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_records", three)
    done = cli("predict", run, words)
    assert (done.code, done.out) == (130, "A\nB\nC\n")
    assert done.err.endswith("interrupted\n")


def test_termination_is_heard_in_the_main_thread_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), stop_on_termination():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    seen = []

    def elsewhere() -> None:
        with stop_on_termination():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


# --- a slow sender ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["predict", "score"])
@pytest.mark.parametrize("kind", ["stdin", "fifo"])
def test_answers_come_as_lines_come(run: Path, tmp_path: Path, verb: str, kind: str) -> None:
    """The sender waits for each answer before it sends the next line: whoever gathers lines first never answers."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = [sys.executable, "-m", "seqloom", verb, str(run), *([] if kind == "stdin" else [str(fifo)]), "--quiet"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        watchdog = threading.Timer(120, running.kill)
        watchdog.start()
        assert running.stdout is not None
        sender: Any = running.stdin if kind == "stdin" else fifo.open("wb")
        for line in (b"abc\tCBA\n", b"\n", b"fed\tDEF\n" * 3):
            sender.write(line)
            sender.flush()
            for _ in range(line.count(b"\n")):
                assert running.stdout.readline().endswith(b"\n")
        sender.close()
        assert running.stdout.read() == b""
        assert running.wait(60) == 0
    watchdog.cancel()


# --- environments ----------------------------------------------------------------------------------------------------


def test_a_bare_environment(cli: Command, run: Path, words: Path, tmp_path: Path) -> None:
    """No HOME, locale C, ASCII, no colour, one core, another working directory, nothing of pytest's."""
    korean = write(words, *words.read_text(encoding="utf-8").split(), "한국어")
    keep = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    bare = {**keep, "LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "TERM": "dumb"}
    before = "import os; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    done = process("predict", run, korean, "-f", "jsonl", stdin=None, before=before, env=bare, cwd="/")
    assert done.code == 0, done.err
    assert "한" in done.out
    here = cli("predict", run, korean, "-f", "jsonl").objects
    assert [found["text"] for found in done.objects] == [found["text"] for found in here]
    assert [found["score"] for found in done.objects] == pytest.approx([found["score"] for found in here], abs=1e-4)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_a_pipe_is_utf_8_whatever_the_locale_says(encoding: str) -> None:
    done = process("demo", "--help", env=environment(PYTHONIOENCODING=encoding))
    assert "→" in done.out
    assert done.code == 0
    errors = process("trian·", env=environment(PYTHONIOENCODING="ascii", LC_ALL="C"))
    assert "unknown verb 'trian" in errors.err


# --- the dialogue ----------------------------------------------------------------------------------------------------


class Terminal:
    """A program at a terminal of its own: what is typed, and what is seen."""

    def __init__(self, *arguments: object, **options: Any) -> None:
        self.keyboard, far = pty.openpty()
        # The leader of a session that opens a terminal gets its Ctrl-C; what a shell runs in the background ignores it.
        program = ("import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
                   "os.open(os.ttyname(0), os.O_RDWR); from seqloom.cli import main; main()")
        self.running = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)], stdin=far, stdout=far, stderr=far,
            start_new_session=True, env=environment(TERM="dumb"), **options)
        os.close(far)
        self.seen = ""

    def type(self, text: bytes) -> None:
        os.write(self.keyboard, text)

    def wait_for(self, text: str, count: int = 1, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while self.seen.count(text) < count:
            assert time.monotonic() < end, self.seen
            if select.select([self.keyboard], [], [], 0.5)[0]:
                try:
                    piece = os.read(self.keyboard, 4096)
                except OSError:  # the program has left
                    piece = b""
                assert piece or self.seen.count(text) >= count, self.seen
                self.seen += piece.decode("utf-8", "replace").replace("\r\n", "\n")

    def interrupt(self) -> None:
        """Press Ctrl-C until it is heard: between drawing its prompt and waiting for keys, readline misses one."""
        for _ in range(60):
            self.type(b"\x03")
            with suppress(AssertionError):
                return self.wait_for("interrupted", seconds=2)
        raise AssertionError(self.seen)

    def close(self) -> int:
        try:
            return self.running.wait(60)
        finally:
            self.running.kill()
            os.close(self.keyboard)


def test_the_dialogue(run: Path, cli: Command) -> None:
    answer = cli("predict", run, "-f", "tsv", "--prefix", "C", stdin=b"abc\n").lines[0]
    terminal = Terminal("predict", run, "-f", "tsv", "--prefix", "C")
    terminal.wait_for("> ")
    assert "Type an input and Enter; Ctrl-D ends." in terminal.seen
    terminal.type(b"abc\n")
    terminal.wait_for(answer)
    terminal.wait_for("> ", 2)
    terminal.type(b"\n")
    terminal.wait_for("the source is empty")
    terminal.wait_for("> ", 3)
    terminal.type(b"a\xffc\n")
    terminal.wait_for("not UTF-8")
    terminal.wait_for("> ", 4)
    terminal.type("한\n".encode())
    terminal.wait_for("\n4\t1\t-")
    terminal.wait_for("> ", 5)
    terminal.type(b"\x04")
    assert terminal.close() == 0
    assert "Traceback" not in terminal.seen


def test_the_dialogue_reads_features_and_ends_by_ctrl_c(inflecting: Path) -> None:
    terminal = Terminal("predict", inflecting)
    terminal.wait_for("> ")
    assert "An input is source <tab> features." in terminal.seen
    terminal.type(b"ab\n")
    terminal.wait_for("1 column, expected 2: source <tab> features")
    terminal.wait_for("> ", 4)  # two prompts, and <tab> twice
    terminal.interrupt()
    assert terminal.close() == 130


def test_with_a_file_to_write_there_is_no_dialogue(run: Path, tmp_path: Path) -> None:
    """Typed lines are read as a pipe's would be: nothing of a prompt gets into the file."""
    terminal = Terminal("predict", run, "-o", tmp_path / "out")
    terminal.wait_for("engine: ")
    terminal.type(b"abc\nfed\n\x04")
    assert terminal.close() == 0
    assert len((tmp_path / "out").read_text(encoding="utf-8").splitlines()) == 2
    assert "> " not in terminal.seen
