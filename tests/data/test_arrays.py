"""Frames from .npy, .npz and Kaldi archives: what is read, and every way in which a file can be wrong."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seqloom.data.arrays
from seqloom.data.arrays import read_frames
from seqloom.errors import DataError
from seqloom.types import Record

FRAMES = np.arange(12, dtype=np.float32).reshape(4, 3) / 8


def record(folder: Path, source: str) -> Record:
    return Record({"source": source, "target": "x"}, str(folder / "manifest.tsv"), 7)


def read(folder: Path, source: str, **options: Any) -> Any:
    return read_frames(record(folder, source), **{"stay_inside": False, **options})


def refused(folder: Path, source: str, message: str, **options: Any) -> DataError:
    with pytest.raises(DataError, match=message) as raised:
        read(folder, source, **options)
    assert raised.value.where == f"{folder / 'manifest.tsv'}:7"
    assert raised.value.fix
    return raised.value


# --- NumPy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<f2", "i4", "u1"])
def test_real_numbers_of_any_type_are_read(tmp_path: Path, dtype: str) -> None:
    values = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    found = read(tmp_path, "a.npy")
    assert found.dtype == np.float32
    assert np.array_equal(found, np.arange(12).reshape(4, 3))


def test_columns_first_is_read_as_well(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(FRAMES))
    np.savez(tmp_path / "b.npz", x=np.asfortranarray(FRAMES))
    assert np.array_equal(read(tmp_path, "a.npy"), FRAMES)
    assert np.array_equal(read(tmp_path, "b.npz#x"), FRAMES)


def test_one_axis_is_one_frame(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES[0])
    assert np.array_equal(read(tmp_path, "a.npy"), FRAMES[:1])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_of_many_is_named(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", **{"one": FRAMES, "b/two": FRAMES + 1})
    assert np.array_equal(read(tmp_path, "a.npz#b/two"), FRAMES + 1)
    assert np.array_equal(read(tmp_path, "a.npz#one"), FRAMES)
    assert "one, b/two" in refused(tmp_path, "a.npz#three", "a.npz has no array 'three'").fix
    refused(tmp_path, "a.npz", "has 2 arrays, and none is named")


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=FRAMES)
    assert np.array_equal(read(tmp_path, "a.npz"), FRAMES)


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=FRAMES)
    read(tmp_path, "a.npz#x")
    (tmp_path / "a.npz").unlink()
    np.savez(tmp_path / "a.npz", x=FRAMES * 2, y=FRAMES)
    import os

    os.utime(tmp_path / "a.npz", ns=(1, 1))
    assert np.array_equal(read(tmp_path, "a.npz#x"), FRAMES * 2)


# --- what cannot be used ---------------------------------------------------------------------------------------------


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    values = np.array([Trap(), Trap()], dtype=object)
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=values)
    refused(tmp_path, "a.npy", "cannot be read as .npy")
    refused(tmp_path, "b.npz#x", "holds Python objects")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(("values", "message"), [
    (np.array([["a"]]), "holds <U1, expected numbers"),
    (np.ones((2, 2), complex), "holds complex128, expected numbers"),
    (np.ones((2, 2, 2)), r"shape \[2, 2, 2\], expected \[frames, dimensions\]"),
    (np.float32(3), r"shape \[\]"),
    (np.ones((0, 3)), r"shape \[0, 3\]"),
])
def test_what_is_no_frames(tmp_path: Path, values: Any, message: str) -> None:
    np.savez(tmp_path / "a.npz", x=values)
    refused(tmp_path, "a.npz#x", message)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_located(tmp_path: Path, bad: float) -> None:
    values = FRAMES.copy()
    values[2, 1] = values[3, 0] = bad
    np.save(tmp_path / "a.npy", values)
    refused(tmp_path, "a.npy", "2 numbers not finite, the first is .* in frame 2, dimension 1")


def test_a_number_too_large_for_float32_is_not_finite(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1e300]]))
    refused(tmp_path, "a.npy", "not finite")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("kept", [0, 5, 60, -3])
def test_truncated_files(tmp_path: Path, name: str, kept: int) -> None:
    np.save(tmp_path / name, FRAMES) if name == "a.npy" else np.savez(tmp_path / name, x=FRAMES)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:kept])
    refused(tmp_path, name, f"{name} cannot be read as {name[1:]}")


def test_a_damaged_member(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=FRAMES)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    place = data.index(FRAMES.tobytes()[4:12])
    data[place] ^= 255
    (tmp_path / "a.npz").write_bytes(bytes(data))
    refused(tmp_path, "a.npz#x", "cannot be read as .npz: Bad CRC")


def header(shape: tuple[int, ...], version: tuple[int, int] = (1, 0), dtype: str = "<f4") -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text


@pytest.mark.parametrize(("content", "message"), [
    (header((1 << 40, 3)), "more than 268,435,456 numbers"),
    (header((4, 3)) + b"\0" * 8, "holds 8 bytes, expected 48"),
    (header((1,), (3, 0)), "is for arrays with named fields"),
    (b"not an array at all", "cannot be read as .npz"),
])
def test_a_header_that_lies_allocates_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("x.npy", content)
    refused(tmp_path, "a.npz#x", message)


def test_a_plain_file_larger_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seqloom.data.arrays, "MAXIMUM_NUMBERS", 11)
    np.save(tmp_path / "a.npy", FRAMES)
    refused(tmp_path, "a.npy", r"shape \[4, 3\], more than 11 numbers")


def test_other_files_are_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    assert ".npz#key" in refused(tmp_path, "a.wav", "a.wav is no file of numbers").fix


# --- where files are -------------------------------------------------------------------------------------------------


def test_places(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    np.save(tmp_path / "a.npy", FRAMES)
    (inside / "link.npy").symlink_to(tmp_path / "a.npy")
    assert np.array_equal(read(inside, "../a.npy"), FRAMES)
    assert np.array_equal(read(inside, str(tmp_path / "a.npy")), FRAMES)
    for name in ("../a.npy", str(tmp_path / "a.npy"), "link.npy"):
        refused(inside, name, "leads out of the folder", stay_inside=True)
    np.save(inside / "b.npy", FRAMES)
    assert np.array_equal(read(inside, "b.npy", stay_inside=True), FRAMES)


def test_places_that_are_none(tmp_path: Path) -> None:
    refused(tmp_path, "a.npy", "there is no array .*a.npy")
    refused(tmp_path, "  ", "no array is named")
    refused(tmp_path, "a\0.npy", "is no path")
    (tmp_path / "b.npy").mkdir()
    refused(tmp_path, "b.npy", "is a folder, expected a file")
    refused(tmp_path, "x" * 5000 + ".npy", "is no usable path")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # permissions do not bind an administrator
    refused(tmp_path, "a.npy", "is not readable")
