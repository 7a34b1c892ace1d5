"""Every claim is tried with networks of eight units and two updates; two of them through the command, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import seqloom
from seqloom.claims import CLAIMS, Finding, chosen_claims, lab, try_claim
from seqloom.claims.lab import Scale
from seqloom.cli import claiming, main
from seqloom.errors import Interrupted
from seqloom.training import session

TINY = Scale(updates=0.005, hidden=0.125, examples=60, tests=8, seeds=1, largest=8)
GROUPS = {"long-inputs": 4, "fixed-vector": 4, "short-to-long": 4, "reversal": 2, "context": 1, "single-rnn": 5,
          "gates": 4, "teacher-forcing": 3, "error-chain": 2, "scores": 2, "cosine": 1, "data": 1}


@pytest.fixture
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The export takes most of the time of such a training; torch answers without it."""
    monkeypatch.setattr(session, "export_finished", lambda *given: True)


def check(finding: Finding) -> None:
    table = finding.table
    assert len(table.columns) == GROUPS[finding.name]
    assert set(table.values) == {(row, column) for row in table.rows for column in table.columns}
    assert all(len(values) == 1 for values in table.values.values())
    assert finding.verdict.word in ("holds", "depends", "does not hold")


@pytest.mark.usefixtures("without_export")
@pytest.mark.parametrize("name", CLAIMS)
def test_each_claim_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.claims.looking.INPUTS", 2)
    check(try_claim(name, TINY))


REAL = [(f"{'la ' * (1 + number % 7)}x{number % 5}", f"y{number % 5} {'le ' * (1 + number % 7)}".strip())
        for number in range(150)]


@pytest.mark.usefixtures("without_export")
def test_claims_run_on_real_pairs() -> None:
    finding = try_claim("short-to-long", TINY, real=REAL)
    assert all(len(values) == 1 for values in finding.table.values.values())


@pytest.mark.usefixtures("without_export")
def test_the_command_on_ones_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "FULL", TINY)
    pairs = tmp_path / "own.tsv"
    pairs.write_text("".join(f"{source}\t{target}\n" for source, target in REAL), encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        main(["claims", "--full", str(pairs), "--only", "reversal", "-q", "--out", str(tmp_path / "own.md")])
    assert not caught.value.code
    page = (tmp_path / "own.md").read_text(encoding="utf-8")
    assert "tried by one command\non the 150 pairs of own.tsv" in page
    assert "seqloom claims --only reversal --full own.tsv" in page
    assert str(tmp_path) not in page
    monkeypatch.setattr(claiming, "MINUTE", TINY)
    with pytest.raises(SystemExit) as caught:
        main(["claims", "--only", "reversal", "-q", "--out", str(tmp_path / "own.md")])
    assert not caught.value.code
    page = (tmp_path / "own.md").read_text(encoding="utf-8")
    assert page.index("on generated tasks,\nand on the 150 pairs of own.tsv") < page.index("The same on own.tsv")


def test_every_claim_that_may_be_tried_on_real_pairs_is_offered() -> None:
    assert len(chosen_claims([], real=True)) >= 8


def test_the_command_writes_page_numbers_and_pictures_and_leaves_nothing_else(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claiming, "MINUTE", TINY)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    for name in ("context", "gates"):
        with pytest.raises(SystemExit) as caught:
            main(["claims", "--only", name, "--out", "page.md", "--quiet"])
        assert not caught.value.code
        assert capsys.readouterr().out == "page.md\n"
    stored = json.loads((tmp_path / "page.json").read_text(encoding="utf-8"))
    assert list(stored["trials"][0]["claims"]) == ["context", "gates"]  # the first one kept its numbers
    assert "pictures/claims-gates.svg" in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.json", "page.md", "pictures", "temporary"]
    assert list(temporary.glob("seqloom*")) == []


@pytest.mark.usefixtures("without_export")
def test_json_and_markdown_on_standard_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                              ) -> None:
    monkeypatch.setattr(claiming, "MINUTE", TINY)
    with pytest.raises(SystemExit):
        main(["claims", "--only", "context", "--json", "-q"])
    given = json.loads(capsys.readouterr().out)
    assert given["trials"][0]["claims"]["context"]["rows"] == ["as first state", "at every step", "attention"]
    with pytest.raises(SystemExit):
        main(["claims", "--only", "context", "-q"])
    assert "## The summary at every step helps a little." in capsys.readouterr().out


def test_a_claim_that_is_stopped_says_so_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(*given: object, **options: object) -> None:
        raise Interrupted("go on with seqloom train --resume")

    monkeypatch.setattr(seqloom, "train", stopped, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(Interrupted, match="claim 'context' was stopped, and what it had trained is gone"):
        try_claim("context", TINY)
    assert list(tmp_path.iterdir()) == []


def test_symbols_are_words_where_lines_have_spaces() -> None:
    assert lab._spaced(["a b", "c d", "e"])
    assert not lab._spaced(["abc", "d e", "fgh"])
