"""The two doors of the package: every entry of the tables, and every way a path can be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plot_samples import ALL, DATES, DRAWN

from seqloom.errors import UsageError
from seqloom.plots import CURVE_WRITERS, WRITERS, write_attention, write_curves
from seqloom.plots.output import write_whole
from seqloom.types import Prediction

METRICS = [{"step": step * 10, "train_loss": 2.0 / step, "bleu": 3.0 * step} for step in range(1, 6)]
DRAWS_WEIGHTS = (".svg", ".png")


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("name", [name for name in ALL if name != "long"])
def test_every_format_writes_every_prediction_or_says_why_not(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"picture{suffix.upper()}"
    if name not in DRAWN and suffix in DRAWS_WEIGHTS:
        with pytest.raises(UsageError, match=r"attention weights|could not be used"):
            write_attention(ALL[name], path)
        assert list(tmp_path.iterdir()) == []
    else:
        warnings = write_attention(ALL[name], str(path), input_text="<in>")
        assert all(isinstance(warning, str) for warning in warnings)
        assert path.stat().st_size > 300
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", CURVE_WRITERS)
def test_every_format_writes_curves(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"curves{suffix}"
    assert write_curves(METRICS, path, title="runs/<g2p> 한국어") == [] or suffix == ".png"
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(("name", "said"), [("x.gif", "the suffix '.gif'"), ("x", "no suffix"), ("x.svg.gz", "'.gz'")])
def test_an_unknown_suffix_lists_the_known_ones(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        write_attention(DATES, tmp_path / name)
    assert caught.value.fix == "end the name in one of: .svg, .html, .png, .json, .npz"
    with pytest.raises(UsageError, match="cannot tell the format") as caught:
        write_curves(METRICS, tmp_path / name)
    assert caught.value.fix == "end the name in one of: .svg, .html, .png"


def test_the_suffix_is_checked_before_the_prediction(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot tell the format"):
        write_attention(Prediction("", 0.0, stopped="error"), tmp_path / "x.bmp")


@pytest.mark.parametrize(("name", "message"), [
    ("folder.svg", "it is a folder"), ("missing/x.svg", "there is no folder"),
    ("x" * 300 + ".svg", "File name too long"), ("x\0y.svg", "null|embedded"),
    ("file.svg/x.svg", "there is no folder|Not a directory")])
def test_paths_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "file.svg").write_text("a file")
    with pytest.raises(UsageError, match=message):
        write_attention(DATES, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.svg", "folder.svg"]


def test_a_refusal_of_the_system_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.svg"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_attention(DATES, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_and_a_link_kept(tmp_path: Path) -> None:
    goal, link = tmp_path / "goal.svg", tmp_path / "link.svg"
    goal.write_text("old")
    link.symlink_to(goal)
    write_whole(link, b"new")
    assert goal.read_bytes() == b"new"
    assert link.is_symlink()


def test_rights_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "one", b"1")
    (tmp_path / "two").write_bytes(b"2")
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "two").stat().st_mode
