"""The commands of docs/seeing.md, run one after the other on a run like the one it speaks of."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch")

import seqloom
from seqloom.cli import main
from source_tree import ROOT

OVERRIDES = ["source.tokenizer=character", "head.tokenizer=character", "source.embedding_size=8",
             "decoder.embedding_size=8", "encoder.hidden_size=8", "decoder.hidden_size=16", "training.batch_size=16",
             "training.epochs=2", "decoding.max_length=8"]


def commands() -> list[str]:
    page = (ROOT / "docs" / "seeing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- tested: seeing -->\n```sh\n(.*?)```", page, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeing")
    words = ["".join(letters) for letters in itertools.product("abcdef", repeat=3)]
    (folder / "pairs.tsv").write_text("".join(f"{word}\t{word[::-1].upper()}\n" for word in words), encoding="utf-8")
    for name, cell in (("letters", "lstm"), ("other", "gru")):
        seqloom.train(folder / "pairs.tsv", out=folder / "runs" / name,
                      overrides=[*OVERRIDES, f"encoder.cell={cell}", f"decoder.cell={cell}"])
    return folder


def test_every_view_is_in_the_page() -> None:
    shown = " ".join(commands())
    for option in ("--steps", "--path", "--gates", "--with", "--gradients", "--force", "--gold", "--reverse", "--edit",
                   "--history"):
        assert option in shown


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_page_work(command: str, place: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    program, *arguments = shlex.split(command)
    assert program == "seqloom"
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 0, capsys.readouterr().err
    goal = place / arguments[arguments.index("-o") + 1]
    assert goal.stat().st_size > 500
    assert capsys.readouterr().out == f"{goal.name}\n"
