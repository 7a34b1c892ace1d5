"""Kaldi archives. The bytes were written by another library; damaged ones are made from them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqloom.data.arrays import read_frames
from seqloom.errors import DataError
from seqloom.types import Record


def read(folder: Path, source: str, **options: Any) -> Any:
    return read_frames(Record({"source": source}, str(folder / "list.tsv"), 3), **{"stay_inside": False, **options})


def refused(folder: Path, source: str, message: str, **options: Any) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read(folder, source, **options)
    assert raised.value.where.endswith("list.tsv:3")
    assert raised.value.fix


def size(value: int) -> bytes:
    return struct.pack("<bi", 4, value)


# The documented layout by hand: "\0B", token, sizes, numbers.
def float_matrix(values: Any, dtype: str = "<f4", token: bytes = b"FM ") -> bytes:
    array = np.asarray(values, dtype)
    return b"\0B" + token + b"".join(size(count) for count in array.shape) + array.tobytes()


MATRIX = [[1.5, -2.0, 3.25], [4.0, 5.0, -6.5]]


@pytest.mark.parametrize(("token", "dtype"), [(b"FM ", "<f4"), (b"DM ", "<f8")])
def test_plain_matrices(tmp_path: Path, token: bytes, dtype: str) -> None:
    (tmp_path / "a.ark").write_bytes(b"utt1 " + float_matrix(MATRIX, dtype, token))
    assert np.array_equal(read(tmp_path, "a.ark:5"), MATRIX)


@pytest.mark.parametrize(("token", "dtype"), [(b"FV ", "<f4"), (b"DV ", "<f8")])
def test_a_vector_is_one_frame(tmp_path: Path, token: bytes, dtype: str) -> None:
    (tmp_path / "a.ark").write_bytes(float_matrix(MATRIX[0], dtype, token))
    assert np.array_equal(read(tmp_path, "a.ark:0"), MATRIX[:1])


# What kaldi-native-io 1.23 wrote of one matrix with each compression, and what it reads in it (9 digits).
WRITTEN: dict[str, tuple[str, list[list[float]]]] = {
    "CM": (
        "75200042434d20000000c1000098410900000003000000505e35945ec30de5790da13ce4b542f90000d75028afffff1040c0"
        "ff005265e6898732d3ff75408e00c040c000ff896777ca20",
        [
         [-0.00012588501, 1.49207497, -2.00007629],
         [2.99990845, -4.26573944, 5.00007629],
         [6.5001297, 7.00783253, -8],
         [9.00012207, 10.4998856, 11],
         [-1.00013733, 0.226445436, 1.99219823],
         [3.49212694, -3.5001297, 0.132782698],
         [4.01169109, 1.9842639, 1.00780177],
         [8.00806141, -7.00006104, 5.95244503],
         [4.99612808, 5.49990082, -5.00003815],]),
    "CM2": (
        "75200042434d3220000000c1000098410900000003000000ca6bff7fd7503594873228af5ec31aca00000de542f9ffff505e"
        "286fbc86f29aa13c796dafa1bc86437993d7790da1bc28afe4b56c28",
        [
         [9.15527344e-05, 1.49985504, -2.00007629],
         [2.99990845, -4.24986649, 5.00007629],
         [6.5001297, 6.99995422, -8],
         [9.00012207, 10.4998856, 11],
         [-1.00013733, 0.250003815, 1.99996948],
         [3.50002289, -3.5001297, 0.125047684],
         [4.00013733, 1.99996948, 1.00003052],
         [7.99989319, -7.00006104, 6.00001526],
         [5.00007629, 5.49990082, -4.99989319],]),
    "CM3": (
        "75200042434d3320000000c10000984109000000030000006b7f519432aec3c900e4f8ff5e6f869a3c6da18679d70dbcaeb5"
        "28",
        [
         [-0.0274505615, 1.46274567, -1.96470547],
         [3.02745152, -4.27450943, 4.96470642],
         [6.52941227, 6.97647095, -8],
         [8.98823547, 10.4784317, 11],
         [-0.996078014, 0.270588875, 1.98431396],
         [3.47451019, -3.52941179, 0.12156868],
         [3.99607849, 1.98431396, 1.01568699],
         [8.01960754, -7.03137255, 6.00784397],
         [4.96470642, 5.48627472, -5.01960754],]),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_compressed_matrices(tmp_path: Path, name: str) -> None:
    content, expected = WRITTEN[name]
    (tmp_path / "a.ark").write_bytes(bytes.fromhex(content))
    np.testing.assert_allclose(read(tmp_path, "a.ark:2"), expected, rtol=1e-6, atol=1e-6)


def test_a_script_file_finds_an_utterance(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.ark").write_bytes(b"utt1 " + float_matrix(MATRIX) + b"utt2 " + float_matrix([[7.0]]))
    second = 5 + len(float_matrix(MATRIX)) + 5
    (tmp_path / "deep" / "a.scp").write_text(f"utt1 a.ark:5\nutt2 a.ark:{second}\nutt3 copy-feats ark:x - |\n\nutt4\n"
                                             "utt5 gone.ark:0\nutt6 ../out.ark:0\n")
    assert np.array_equal(read(tmp_path, "deep/a.scp#utt1"), MATRIX)
    assert np.array_equal(read(tmp_path, "deep/a.scp#utt2"), [[7.0]])
    refused(tmp_path, "deep/a.scp#utt3", "utt3 is a command, which is not run")
    refused(tmp_path, "deep/a.scp#utt4", "has no utterance 'utt4', only 5 others")
    refused(tmp_path, "deep/a.scp#utt5", "there is no array .*gone.ark")
    (tmp_path / "b.scp").write_text("utt ../../other.ark:0\n")
    refused(tmp_path, "b.scp#utt", "leads out of the folder", stay_inside=True)


def test_a_script_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.scp").write_bytes(b"\xff\xfe")
    refused(tmp_path, "a.scp#x", "a.scp cannot be read")
    monkeypatch.setattr("seqloom.data.archives.SCRIPT_LIMIT", 1)
    refused(tmp_path, "a.scp#x", "larger than 1 bytes")


@pytest.mark.parametrize(("content", "message"), [
    (b"utt1 [ 1 2 ]", "a binary matrix does not begin there"),
    (b"\0BXX 12345", "is of type b'XX'"),
    (b"\0BFM " + b"\x08" + b"\0" * 8, "a size is 8 bytes wide, expected 4"),
    (b"\0BFM " + size(-1) + size(3), "not possible"),
    (b"\0BFM " + size(2**31 - 1) + size(2**31 - 1), "larger than"),
    (b"\0BFM " + size(2) + size(3) + b"\0" * 4, "ends too soon: 4 bytes left, 24 needed"),
    (b"\0BFM " + size(2), "ends too soon"),
    (b"\0BCM " + b"\0" * 4, "ends too soon"),
    (b"", "a binary matrix does not begin there"),
])
def test_damaged_archives(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.ark").write_bytes(content)
    refused(tmp_path, "a.ark:0", message)


def test_an_offset_beyond_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.ark").write_bytes(float_matrix(MATRIX))
    refused(tmp_path, "a.ark:999", "a binary matrix does not begin there")


def test_an_archive_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ark").write_bytes(float_matrix(MATRIX))

    def fail(*_: object) -> None:
        raise OSError("no such device")

    monkeypatch.setattr("pathlib.Path.open", fail)
    refused(tmp_path, "a.ark:0", "a.ark:0 cannot be read: no such device")
