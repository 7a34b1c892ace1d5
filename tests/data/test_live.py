"""A pipe that can be asked whether a line is there: real pipes, one end of which the test holds."""

from __future__ import annotations

import io
import os
import pty
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqloom.data.lines import read_lines
from seqloom.data.live import BUFFER, FEW_LINES, PATIENCE, LiveReader, open_live

pytestmark = pytest.mark.skipif(os.name != "posix", reason="select knows no pipes here")


class Pipe:
    """Both ends of a pipe."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.reader = LiveReader(self.read_end)

    def send(self, content: bytes) -> None:
        os.write(self.write_end, content)

    def end(self) -> None:
        os.close(self.write_end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.read_end)


def test_nothing_is_not_ready_and_asking_does_not_wait(pipe: Pipe) -> None:
    began = time.monotonic()
    assert not pipe.reader.ready(1)
    assert time.monotonic() - began < 1
    pipe.end()


def test_a_line_is_ready_in_the_pipe_and_in_the_buffer(pipe: Pipe) -> None:
    pipe.send(b"one\ntwo\nthr")
    assert pipe.reader.ready(1)
    assert pipe.reader.readline() == b"one\n"
    assert pipe.reader.ready(1)  # in the buffer, with nothing left in the pipe
    assert pipe.reader.readline() == b"two\n"
    assert not pipe.reader.ready(1)  # a piece of a line
    pipe.send(b"ee\n")
    assert pipe.reader.ready(1)
    assert pipe.reader.readline() == b"three\n"
    pipe.end()


def test_the_end_is_ready(pipe: Pipe) -> None:
    pipe.send(b"last")
    pipe.end()
    assert pipe.reader.ready(1)
    assert pipe.reader.readline() == b"last"
    assert pipe.reader.ready(1)
    assert pipe.reader.readline() == b""


def test_a_terminal_says_its_end_once() -> None:
    """After Ctrl-D a terminal would wait for more: whoever has seen the end may not read again."""
    keyboard, screen = pty.openpty()
    reader = LiveReader(screen)
    os.write(keyboard, b"one\n\x04")
    assert reader.readline() == b"one\n"
    assert reader.ready(1)
    assert reader.ready(1)
    assert reader.readline() == b""
    assert reader.readline() == b""
    os.close(keyboard)
    os.close(screen)


def test_a_large_group_waits_a_moment_for_more(pipe: Pipe) -> None:
    later = threading.Timer(PATIENCE / 4, pipe.send, [b"late\n"])
    later.start()
    assert not pipe.reader.ready(FEW_LINES - 1)
    assert pipe.reader.ready(FEW_LINES)
    later.join()
    began = time.monotonic()
    pipe.reader.readline()
    assert not pipe.reader.ready(FEW_LINES)
    assert time.monotonic() - began >= PATIENCE / 2
    pipe.end()


def test_before_waiting_is_called_when_reading_waits_and_only_then(pipe: Pipe) -> None:
    called = []

    def answer() -> None:
        called.append(len(called))
        pipe.send(b"more\n")

    pipe.reader.call_before_waiting(answer)
    pipe.send(b"one\n")
    assert pipe.reader.readline() == b"one\n"
    assert not pipe.reader.ready(1)
    assert called == []
    assert pipe.reader.readline() == b"more\n"
    assert called == [0]
    pipe.end()


def test_every_byte_arrives_whatever_the_pieces(pipe: Pipe) -> None:
    """Lines up to three buffers long, in pieces of any size, asked for readiness in between."""
    lines = [b"%d " % number * size + b"\n" for number, size in enumerate([1, 9000, 3, BUFFER, 1, 1, 30_000, 2])]
    content = b"".join(lines)

    def send() -> None:
        for begin in range(0, len(content), 7919):
            pipe.send(content[begin:begin + 7919])
        pipe.end()

    sender = threading.Thread(target=send)
    sender.start()
    found = []
    while line := pipe.reader.readline():
        found.append(line)
        pipe.reader.ready(len(found))
    sender.join()
    assert found == lines


def test_lines_are_read_from_it_as_from_any_stream(pipe: Pipe) -> None:
    pipe.send("eins\nzwei\r\ndrei한".encode())
    pipe.end()
    assert [line.text for line in read_lines(pipe.reader, "pipe")] == ["eins", "zwei", "drei한"]


def test_only_what_can_be_waited_for_is_live(tmp_path: Path, pipe: Pipe) -> None:
    path = tmp_path / "file"
    path.write_text("x\n")
    with path.open("rb") as regular:
        assert open_live(regular) is None
    assert open_live(regular) is None  # closed
    assert open_live(io.BytesIO(b"x")) is None
    assert open_live(None) is None
    with os.fdopen(os.dup(pipe.read_end), "rb") as stream:
        assert isinstance(open_live(stream), LiveReader)
    pipe.end()
