"""The store of tokenised examples: what goes in comes out, and nothing damaged is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seqloom.data.cache import HEADER, ExampleStore, ExampleWriter
from seqloom.errors import DataError, TrainingError
from seqloom.types import Item

# Two cores are shared by whatever else runs: a slow moment is no fault of the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def ids(*values: int) -> Item:
    return Item({"main": np.array(values, np.int32)}, tokens=["x"] * len(values))


def write(folder: Path, examples: list[tuple[Item | None, Item]]) -> ExampleStore:
    with ExampleWriter(folder) as writer:
        for source, target in examples:
            writer.add(source, target)
        return writer.finish()


SIDE = st.builds(
    lambda main, characters, features: Item({"main": main, "characters": characters, "features": features}),
    st.integers(0, 5).flatmap(lambda n: arrays(np.int32, n)),
    st.integers(0, 5).flatmap(lambda n: arrays(np.int64, (n, 3))),
    st.integers(0, 3).flatmap(lambda n: arrays(np.float32, n, elements=st.floats(width=32, allow_nan=False))))
TARGET = st.builds(lambda main: Item({"main": main}), st.integers(0, 9).flatmap(lambda n: arrays(np.int32, n)))


@UNHURRIED
@given(st.lists(st.tuples(SIDE, TARGET), max_size=6))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, examples: list[tuple[Item, Item]]) -> None:
    folder = tmp_path_factory.mktemp("store")
    write(folder, examples)  # type: ignore[arg-type]
    store = ExampleStore(folder)
    assert len(store) == len(examples)
    assert store.lengths().tolist() == [[source.length, target.length] for source, target in examples]
    for index, sides in enumerate(examples):
        for put, found in zip(sides, store.get(index), strict=True):
            assert found is not None
            assert found.tokens == []
            assert set(found.fields) == set(put.fields)
            for name, array in put.fields.items():
                assert found.fields[name].dtype == array.dtype
                np.testing.assert_array_equal(found.fields[name], array)


def test_a_language_model_has_no_source(tmp_path: Path) -> None:
    store = write(tmp_path, [(None, ids(5, 6)), (None, ids(7))])
    assert store.lengths().tolist() == [[0, 2], [0, 1]]
    source, target = store.get(1)
    assert source is None
    assert target.fields["main"].tolist() == [7]


def test_items_are_read_only_and_indices_are_checked(tmp_path: Path) -> None:
    store = write(tmp_path, [(ids(1), ids(2, 3))])
    with pytest.raises(ValueError, match="read-only"):
        store.get(0)[1].fields["main"][0] = 9
    for index in (1, -1):
        with pytest.raises(IndexError, match=f"example {index} of 1"):
            store.get(index)


def test_a_field_name_never_becomes_a_file_name(tmp_path: Path) -> None:
    item = Item({"main": np.zeros(1, np.int32), "../../x": np.ones(2, np.int32)})
    store = write(tmp_path / "store", [(item, ids(1))])
    assert store.get(0)[0].fields["../../x"].tolist() == [1, 1]  # type: ignore[union-attr]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_new_store_replaces_an_old_one(tmp_path: Path) -> None:
    write(tmp_path, [(ids(1), ids(2))] * 3)
    with ExampleWriter(tmp_path) as writer:
        writer.add(ids(4), ids(5))
        with pytest.raises(DataError, match="never finished"):
            ExampleStore(tmp_path)
        assert len(writer.finish()) == 1


@pytest.mark.parametrize(("source", "target", "message"), [
    (None, ids(1), r"example 2 has target.main int32\[\]; the first one had source.main int32\[\], target.main"),
    (Item({"main": np.zeros(1, np.int64)}), ids(1), "example 2 has source.main int64"),
    (Item({"main": np.zeros((1, 2), np.int32)}), ids(1), r"source.main int32\[2\]"),
    (Item({"main": np.zeros(1, np.int32), "copy": np.zeros(1, np.int32)}), ids(1), "source.copy"),
])
def test_examples_must_have_the_same_fields(source: Item | None, target: Item, message: str, tmp_path: Path) -> None:
    with ExampleWriter(tmp_path) as writer:
        writer.add(ids(1), ids(2))
        with pytest.raises(DataError, match=message):
            writer.add(source, target)
        assert len(writer.finish()) == 1


def test_types_that_are_not_stored(tmp_path: Path) -> None:
    message = "type float64, expected one of uint8, int32"
    with ExampleWriter(tmp_path) as writer, pytest.raises(DataError, match=message):
        writer.add(None, Item({"main": np.zeros(1)}))
    with ExampleWriter(tmp_path) as writer, pytest.raises(DataError, match="type object"):
        writer.add(None, Item({"main": np.array([{}])}))


# --- damage ----------------------------------------------------------------------------------------------------------


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def change(**values: Any) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        header = json.loads((folder / HEADER).read_text())
        for key, value in values.items():
            if key in header:
                header[key] = value
            else:
                header["fields"][0][key] = value
        (folder / HEADER).write_text(json.dumps(header))

    return apply


@pytest.mark.parametrize(("damage", "message"), [
    (cut("source.0.values"), "11 bytes, expected 12"),
    (cut("target.1.ends"), "15 bytes, expected 16"),
    (lambda folder: (folder / "target.1.values").unlink(), "No such file"),
    (lambda folder: (folder / HEADER).unlink(), "it was never finished, or the header is missing"),
    (lambda folder: (folder / HEADER).write_bytes(b"{"), "the header is not JSON"),
    (lambda folder: (folder / HEADER).write_bytes(b"\x80\x04pickle"), "the header is not JSON"),
    (lambda folder: (folder / HEADER).write_bytes(b"[" * 100_000), "the header is not JSON"),
    (lambda folder: ((folder / HEADER).unlink(), (folder / HEADER).mkdir()), "directory"),
    (lambda folder: (folder / HEADER).write_bytes(b"[]"), "the header is not that of format version 1"),
    (lambda folder: (folder / "source.0.ends").write_bytes(np.array([9, 3], "<i8").tobytes()), "out of order"),
    (lambda folder: (folder / "source.0.ends").write_bytes(np.array([-1, 3], "<i8").tobytes()), "out of order"),
    (lambda folder: (folder / "source.0.ends").write_bytes(np.array([1, 2], "<i8").tobytes()), "out of order"),
    (change(count=3), "16 bytes, expected 24"),
    (change(version=2), "the header is not that"),
    (change(count=-1), "the header is not that"),
    (change(fields=[]), "the header is not that"),
    (change(rows=2**60), "12 bytes, expected"),
    (change(rows=True), "the header is not that"),
    (change(shape=[2**40]), "the header is not that"),
    (change(shape=[0]), "the header is not that"),
    (change(shape=[1] * 99), "the header is not that"),
    (change(dtype="object"), "the header is not that"),
    (change(dtype=["int32"]), "the header is not that"),
    (change(side="../source"), "the header is not that"),
    (change(name="other"), "the header is not that"),
])
def test_a_damaged_store_is_refused(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path, [(ids(1, 2), ids(3)), (ids(4), ids(5, 6))])
    damage(tmp_path)
    with pytest.raises(DataError, match=f"the store of examples is damaged: .*{message}") as caught:
        ExampleStore(tmp_path)
    assert str(tmp_path) in caught.value.where


# --- a disk that is full ---------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"the tokenised examples cannot be written: .*\n  fix: free disk space"):
        ExampleWriter(tmp_path / "file" / "store")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("size", [1, 200_000], ids=["noticed at the end", "noticed while writing"])
def test_a_full_disk(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[IO[Any]] = []
    path_open = Path.open

    def open_full(self: Path, *arguments: Any, **options: Any) -> IO[Any]:
        opened.append(path_open(Path("/dev/full"), *arguments, **options))
        return opened[-1]

    def fill() -> None:
        with ExampleWriter(tmp_path) as writer:
            for _ in range(3):
                writer.add(None, ids(*range(size)))
            writer.finish()

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(TrainingError, match="cannot be written: No space left on device"):
        fill()
    assert len(opened) == 2
    assert all(file.closed for file in opened)
