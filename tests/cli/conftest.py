"""One small trained run, and what else several files of this folder use."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from cli_helpers import TINY, Command, Done, write

from seqloom.cli import main

LETTERS = "abcdef"
WORDS = ["".join(letters) for size in (2, 3) for letters in itertools.product(LETTERS, repeat=size)]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call the program in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(leaving.value.code, int)
        return Done(leaving.value.code, out, err)

    return call


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """A test that sets the number of threads leaves none of it behind."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def trained(folder: Path, *arguments: object) -> Path:
    """A run made by the program itself."""
    with pytest.raises(SystemExit) as leaving:
        main(["train", *map(str, arguments), "--out", str(folder), *TINY])
    assert leaving.value.code == 0
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.tsv, valid.tsv and test.tsv: two or three letters, and the same as capitals, backwards."""
    folder = tmp_path_factory.mktemp("data")
    mixed = [WORDS[number * 101 % len(WORDS)] for number in range(len(WORDS))]
    for name, words in (("train", mixed[:200]), ("valid", mixed[200:225]), ("test", mixed[225:])):
        write(folder / f"{name}.tsv", *(f"{word}\t{word[::-1].upper()}" for word in words))
    return folder


@pytest.fixture(scope="session")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned something."""
    return trained(tmp_path_factory.mktemp("runs") / "learned", data / "train.tsv", "--valid", data / "valid.tsv",
                   "--epochs", "8", "--set", "training.learning_rate=0.02", "--set", "training.validate_every=52")


@pytest.fixture(scope="session")
def other(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same symbols that has learned next to nothing: every option of the search shows in its answers."""
    return trained(tmp_path_factory.mktemp("runs") / "other", data / "train.tsv", "--valid", data / "valid.tsv",
                   "--max-steps", "3", "--seed", "2")


@pytest.fixture(scope="session")
def inflecting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads features in the third column, beside target and source; untrained. Its data is beside it."""
    folder = tmp_path_factory.mktemp("inflecting")
    write(folder / "forms.tsv", *(f"{word}s\t{word}\tN;PL" if number % 2 else f"{word}\t{word}\tN;SG"
                                  for number, word in enumerate(WORDS[:60])))
    return trained(folder / "run", folder / "forms.tsv", "--max-steps", "1", "--set", "source.features=3",
                   "--set", "data.columns.source=2", "--set", "data.columns.target=1")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Twelve inputs."""
    return write(tmp_path / "words.txt", *WORDS[40:52])
