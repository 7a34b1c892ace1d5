"""The tables of docs/speed.md are those of the rows that the benchmarks wrote."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("torch")

from source_tree import ROOT

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import pages
from benchmarks.rows import RESULTS, Row, read_rows


@pytest.mark.parametrize(("name", "table"), [("training", pages.training_table),
                                             ("prediction", pages.prediction_table)])
def test_the_page_has_the_rows(name: str, table: object) -> None:
    assert callable(table)
    lines = list(table(read_rows(RESULTS / f"{name}.json")))
    assert len(lines) > 8
    assert "\n".join(lines) in (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")


def row(measure: str, ours: float, unit: str = "sentences/s", peer: str | None = None, theirs: float | None = None,
        floor: float | None = None) -> Row:
    return Row(measure=measure, unit=unit, ours=ours, peer=peer, peer_version="1.2" if peer else None, theirs=theirs,
               ratio=None if theirs is None else ours / theirs, floor=floor, rounds=3, spread=None, cores=2, commit="x",
               note="")


def test_lines_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    work = "prediction W, batch 64, beam 5, onnx int8"
    found = list(pages.prediction_table([row(work, 1234.4), row(work, 1234.4, peer="OpenNMT-py", theirs=100.0),
                                         row(f"{work}: peak memory", 9, "MiB"), row("prediction W: load", 1, "s")]))
    assert found[2:] == ["| W, batch 64, beam 5 | onnx int8 | **1,234** sentences/s | 100 (12.34 ×) | – | – | – | – |"]
    work = "training C, input feeding, bf16"
    found = list(pages.training_table([
        row(work, 900.0, "target tokens/s"), row(work, 900.0, "target tokens/s", "OpenNMT-py", 300.0),
        row(f"{work}: time of an update", 30.0, "ms", floor=20.0),
        row(f"{work}: peak memory", 400.0, "MiB", "OpenNMT-py", 500.0)]))
    assert found[0].startswith("| work | ours, tokens/s | update over floor | plain loop, bucketed | OpenNMT-py 1.2 |")
    assert found[2:] == ["| C, input feeding, bf16 | **900** | 1.50 | – | 300 (3.00 ×) | – | 400 / 500 MiB |"]
    assert pages.main() == 0
    assert capsys.readouterr().out.count("|---|") > 2
