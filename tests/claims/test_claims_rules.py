"""The rules on numbers that are made up, the generated tasks, real files, the page, and the command line."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from seqloom.claims import CLAIMS, Finding, chosen_claims
from seqloom.claims.drawing import drawing
from seqloom.claims.lab import FULL, Lab, read_pairs
from seqloom.claims.page import page_of
from seqloom.claims.quality import mismatch
from seqloom.claims.record import Findings, Record, read_record, to_json
from seqloom.claims.tables import DEPENDS, FAILS, HOLDS, Check, Table, alike, at_least, more, spread, verdict_of
from seqloom.claims.tasks import TASKS, make_pairs
from seqloom.cli import main
from seqloom.errors import DataError, UsageError


def table(**rows: list[float]) -> Table:
    """One column; a list of seeds for each row."""
    return Table("", list(rows), ["x"], {(row, "x"): values for row, values in rows.items()})


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("met", "word"), [([True, True], HOLDS), ([True, False], DEPENDS), ([False, False], FAILS)])
def test_a_verdict_counts_the_checks(met: list[bool], word: str) -> None:
    assert verdict_of([Check("", one, "") for one in met]).word == word


@pytest.mark.parametrize(("high", "low", "met"), [
    ([0.9, 0.8], [0.6, 0.7], True),     # 0.2 on average, better with each seed
    ([0.9, 0.7], [0.4, 0.7], False),    # 0.25 on average, but one seed sees no difference
    ([0.9, 0.6], [0.2, 0.7], False),    # 0.3 on average, but one seed says the contrary
    ([0.7, 0.7], [0.6, 0.6], False),    # less than the margin
])
def test_more_wants_the_margin_and_every_seed(high: list[float], low: list[float], met: bool) -> None:
    check = more("", table(a=high, b=low), ("a", "x"), ("b", "x"), 0.2)
    assert check.met is met


def test_alike_and_at_least_look_at_means() -> None:
    given = table(a=[0.5, 0.7], b=[0.62, 0.62])
    assert alike("", given, ("a", "x"), ("b", "x"), 0.03).met
    assert not alike("", given, ("a", "x"), ("b", "x"), 0.02).met
    assert alike("", given, ("a", "x"), ("b", "x"), 0.03).numbers == "0.60 and 0.62"
    assert at_least("", given, ("a", "x"), 0.6).met
    assert not at_least("", given, ("a", "x"), 0.61).met


def test_numbers_are_shown_with_their_spread() -> None:
    assert spread([0.5, 0.5]) == "0.50"
    assert spread([0.5, 0.7]) == "0.60 (0.50 to 0.70)"
    assert spread([1200.0]) == "1,200"


def judged(name: str, **changes: list[list[float]]) -> str:
    """The verdict on a table of numbers, one for each row and column."""
    claim = CLAIMS[name]
    values = {(row, column): [value, value] for row, numbers in changes["rows"]  # type: ignore[misc]
              for column, value in zip(changes["columns"], numbers, strict=True)}
    rows = [row for row, _ in changes["rows"]]
    return verdict_of(claim.judge(Table("", rows, changes["columns"], values))).word  # type: ignore[arg-type]


MADE_UP = [
    ("long-inputs", ["2", "9"], [("fixed vector", (0.9, 0.3)), ("attention", (0.95, 0.9))], HOLDS),
    ("long-inputs", ["2", "9"], [("fixed vector", (0.9, 0.3)), ("attention", (0.95, 0.35))], DEPENDS),
    ("long-inputs", ["2", "9"], [("fixed vector", (0.9, 0.9)), ("attention", (0.9, 0.9))], FAILS),
    ("short-to-long", ["2", "5", "9"], [("fixed vector", (1, 1, 0.2)), ("attention", (1, 1, 0.6))], HOLDS),
    ("short-to-long", ["2", "5", "9"], [("fixed vector", (1, 1, 0.2)), ("attention", (1, 1, 0.9))], DEPENDS),
    ("reversal", ["forwards", "backwards"], [("fixed vector", (0.5, 0.6)), ("attention", (0.9, 0.9))], HOLDS),
    ("reversal", ["forwards", "backwards"], [("fixed vector", (0.6, 0.5)), ("attention", (0.9, 0.9))], DEPENDS),
    ("reversal", ["forwards", "backwards"], [("fixed vector", (0.6, 0.5)), ("attention", (0.8, 0.9))], FAILS),
    ("context", ["quality"], [("as first state", (0.5,)), ("at every step", (0.6,)), ("attention", (0.9,))], HOLDS),
    ("context", ["quality"], [("as first state", (0.5,)), ("at every step", (0.8,)), ("attention", (0.9,))], DEPENDS),
    ("gates", ["2", "9"], [("plain RNN", (1, 0.1)), ("LSTM", (1, 1)), ("GRU", (1, 1))], HOLDS),
    ("gates", ["2", "9"], [("plain RNN", (1, 1)), ("LSTM", (1, 0.5)), ("GRU", (1, 0.1))], FAILS),
    ("teacher-forcing", ["right on the way", "right at the end", "gap at the end"],
     [("always", (0.5, 0.7, 0.2)), ("scheduled sampling", (0.4, 0.8, 0.1)), ("never", (0.2, 0.3, 0.0))], HOLDS),
    ("teacher-forcing", ["right on the way", "right at the end", "gap at the end"],
     [("always", (0.2, 0.7, 0.0)), ("scheduled sampling", (0.4, 0.3, 0.0)), ("never", (0.2, 0.3, 0.0))], FAILS),
    ("error-chain", ["after right tokens", "after a wrong one"],
     [("fixed vector", (0.8, 0.5)), ("attention", (0.9, 0.9))], DEPENDS),
    ("scores", ["after a third", "at the end"],
     [("dot", (0.5, 0.9)), ("general", (0.52, 0.9)), ("concat", (0.3, 0.92))], DEPENDS),
    ("cosine", ["another key wins"], [("dot", (0.2,)), ("general", (0.02,))], HOLDS),
    ("cosine", ["another key wins"], [("dot", (0.0,)), ("general", (0.009,))], FAILS),
    ("data", ["quality"], [("10 % of the pairs", (0.2,)), ("30 % of the pairs", (0.5,)), ("100 % of the pairs", (0.9,)),
                           ("all, 10 % mismatched", (0.8,)), ("all, 30 % mismatched", (0.6,))], HOLDS),
    ("data", ["quality"], [("10 % of the pairs", (0.2,)), ("30 % of the pairs", (0.5,)), ("100 % of the pairs", (0.9,)),
                           ("all, 10 % mismatched", (0.9,)), ("all, 30 % mismatched", (0.9,))], DEPENDS),
    ("single-rnn", ["same", "reversed", "twice as long", "half as long", "sum"],
     [("tags of one RNN", (1, 0.2, 0, 0, 0)), ("one RNN in step", (1, 0.2, 0.1, 0.1, 0.3)),
      ("encoder-decoder", (1, 0.9, 0.9, 0.9, 0.7))], HOLDS),
    ("fixed-vector", ["2", "5", "9"],
     [*((f"{size}, fixed vector", (0.9, size / 1000, 0.1)) for size in (32, 64, 128, 256, 512)),
      *((f"{size}, attention", (1, 1, 0.9)) for size in (32, 128))], HOLDS),
]


@pytest.mark.parametrize(("name", "columns", "rows", "word"), MADE_UP)
def test_rules_on_made_up_numbers(name: str, columns: list[str], rows: list[tuple[str, tuple[float, ...]]], word: str
                                  ) -> None:
    assert judged(name, columns=columns, rows=rows) == word  # type: ignore[arg-type]


def test_every_claim_has_made_up_numbers_sources_and_a_sentence() -> None:
    assert {case[0] for case in MADE_UP} == set(CLAIMS)
    assert all(claim.title.endswith(".") and claim.sources and claim.trial for claim in CLAIMS.values())


# --- tasks -----------------------------------------------------------------------------------------------------------

ANSWERS: dict[str, Callable[[list[str]], list[str]]] = {
    "copy": lambda source: source, "reverse": lambda source: source[::-1], "half": lambda source: source[0::2],
    "recall": lambda source: source[:1],
    "twice": lambda source: [letter for pair in zip(source, source, strict=True) for letter in pair],
    "arithmetic": lambda source: list(str(sum(map(int, "".join(source).split("+")))).zfill(len(source) // 2 + 1)),
}


@pytest.mark.parametrize("task", ANSWERS)
def test_targets_are_what_the_task_says(task: str) -> None:
    for source, target in make_pairs(task, (2, 6), 30, "x"):
        assert target.split() == ANSWERS[task](source.split())


def test_lookup_puts_the_last_word_first_and_replaces_words_one_by_one() -> None:
    known: dict[str, str] = dict(TASKS["lookup"](random.Random(seed), 1) for seed in range(500))
    for source, target in make_pairs("lookup", (2, 5), 20, "x"):
        *first, last = source.split()
        assert target == " ".join(known[word] for word in [last, *first])


def test_pairs_depend_on_seed_task_and_length() -> None:
    assert make_pairs("copy", (3, 5), 20, "1") == make_pairs("copy", (3, 5), 20, "1")
    assert make_pairs("copy", (3, 5), 20, "1") != make_pairs("copy", (3, 5), 20, "2")
    assert {len(source.split()) for source, _ in make_pairs("copy", (3, 5), 50, "1")} == {3, 4, 5}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_mismatched_pairs_are_as_many_as_asked_and_no_target_is_lost(share: float) -> None:
    pairs = [(f"s{number}", f"t{number}") for number in range(100)]
    found = mismatch(pairs, share)
    assert sum(one != other for one, other in zip(pairs, found, strict=True)) == round(100 * share)
    assert [source for source, _ in found] == [source for source, _ in pairs]
    assert sorted(target for _, target in found) == sorted(target for _, target in pairs)


# --- real data -------------------------------------------------------------------------------------------------------


def write(path: Path, count: int) -> Path:
    path.write_text("".join(f"{'a b ' * (1 + number % 10)}\t{number} x\n" for number in range(count)), encoding="utf-8")
    return path


def test_real_pairs_are_split_once_and_grouped_by_length(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path / "real.tsv", 200))
    lab = Lab(tmp_path, FULL, pairs)
    split = lab.split("copy", (2, 9), [(2, 4), (5, 9)])
    tests = [pair for group in split.tests.values() for pair in group]
    assert [name[:3] for name in split.tests] == ["1: ", "2: ", "3: ", "4: "]
    assert [len(group) for group in split.tests.values()] == [10] * 4
    assert sorted([*split.train, *split.valid, *tests]) == sorted(pairs)
    lengths = [len(source.split()) for source, _ in tests]
    assert lengths == sorted(lengths)
    short = lab.split("copy", (2, 4), [(2, 4), (5, 9)])
    limit = max(len(source.split()) for source, _ in list(short.tests.values())[1])
    assert max(len(source.split()) for source, _ in short.train) <= limit
    assert list(lab.split("copy", (2, 9)).tests) == ["all lengths"]


def test_real_pairs_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"40 usable pairs, expected at least 100"):
        read_pairs(write(tmp_path / "few.tsv", 40))


# --- the page and the command ----------------------------------------------------------------------------------------


def findings() -> Record:
    made = Findings()
    made.put(Finding("cosine", table(dot=[0.2], general=[0.3]), 3.2))
    made.found["cosine"].table.columns[:] = ["another key wins"]
    values = made.found["cosine"].table.values
    for row, column in list(values):
        values[row, "another key wins"] = values.pop((row, column))
    rows = {"fixed vector": (0.9, 0.3), "attention": (0.95, 0.9)}
    numbers = {(row, column): [value, value] for row, pair in rows.items()
               for column, value in zip(("2–5", "6–10"), pair, strict=True)}
    made.put(Finding("long-inputs", Table("quality of", list(rows), ["2–5", "6–10"], numbers), 12.0))
    return Record([made])


def with_real() -> Record:
    """The same, and one of the claims on real pairs as well, with another outcome."""
    record = findings()
    numbers = {(row, column): [value] for row, value in (("fixed vector", 0.5), ("attention", 0.55))
               for column in ("1: 2–3", "2: 4–9")}
    record.sheet("words.tsv", 2000).put(Finding("long-inputs", Table(
        "quality of", ["fixed vector", "attention"], ["1: 2–3", "2: 4–9"], numbers), 120.0))
    return record


def test_the_page_shows_claims_numbers_and_verdicts_in_order() -> None:
    page, pictures = page_of(findings())
    assert page.index("| [Attention helps with long inputs.](#long-inputs) | holds |") < page.index("#cosine")
    assert "| fixed vector | 0.90 | 0.30 |" in page
    assert "- yes: On the longest inputs attention is better by 0.20 or more. (0.90 and 0.30)" in page
    assert "seqloom claims --only long-inputs    # 12 s" in page
    (name,) = pictures
    assert f"]({name})" in page
    assert b"<svg" in pictures[name]


def test_findings_come_back_from_json(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    path.write_text(to_json(with_real()), encoding="utf-8")
    assert page_of(read_record(path, "")) == page_of(with_real())
    assert read_record(tmp_path / "none.json", "x.tsv") == Record()


def test_one_page_has_generated_tasks_and_real_pairs() -> None:
    page, pictures = page_of(with_real())
    assert "on generated tasks,\nand on the 2,000 pairs of words.tsv (2 minutes)." in page
    assert "| claim | on generated tasks | on words.tsv | command |" in page
    assert "(#long-inputs) | holds | does not hold | `seqloom claims --only long-inputs` |" in page
    assert "(#cosine) | holds | – |" in page
    assert page.index("Verdict: **holds**") < page.index("The same on words.tsv") < page.index(
        "seqloom claims --only long-inputs --full words.tsv    # 120 s") < page.index(
        "Verdict on words.tsv: **does not hold**") < page.index("## The most similar vector")
    assert list(pictures) == ["pictures/claims-long-inputs.svg"]


def test_real_pairs_alone_have_a_page_too() -> None:
    record = Record([with_real().sheets[1]])
    page, pictures = page_of(record)
    assert "each tried by one command\non the 2,000 pairs of words.tsv (2 minutes)." in page
    assert "| claim | verdict | command |" in page
    assert "| does not hold | `seqloom claims --only long-inputs --full words.tsv` |" in page
    assert "Trial: words.tsv in place of the task, with states 2 × as large, 5 × the updates, and one seed." in page
    assert len(pictures) == 1


@pytest.mark.parametrize(("content", "message"), [
    ("no json", "not a file of `seqloom claims`"), ("[]", "not a file of"), ('{"format_version": 1}', "expected 2"),
    ('{"format_version": 2, "trials": [{"data": "", "pairs": 0, "made_with": "", "claims": {"cosine": {"seconds": 1, '
     '"corner": "", "rows": ["dot"], "columns": ["y"], "values": [[[1]]]}}}]}', "not a file of"),
])
def test_damaged_findings_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "claims.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_record(path, "")
    if '"cosine"' in content:
        assert read_record(path, "", ["cosine"]).sheet("").found == {}
        with pytest.raises(DataError, match="not a file of"):  # tried again, but on other data
            read_record(path, "words.tsv", ["cosine"])


def test_the_drawing_has_a_panel_for_each_kind_and_stands_on_the_scale() -> None:
    rows = ["8, plain", "16, plain", "8, gated"]
    numbers = {(row, column): [0.5] for row in rows for column in ("1–2", "3–4")}
    picture = drawing(Table("", rows, ["1–2", "3–4"], numbers), "letters").decode()
    titles = re.findall(r'font-size="12.5"[^>]*>(\w+)<', picture)
    assert titles == ["plain", "gated"]
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', picture)]
    grid = [float(y) for y in re.findall(r'd="M34 ([\d.]+)H300"', picture)]
    assert len(heights) == 6
    assert set(heights) == {grid[2]} == {(grid[0] + grid[4]) / 2}
    assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_unknown_claims_are_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match=r"unknown claim 'reversed'") as caught:
        chosen_claims(["reversed"])
    assert all(name in caught.value.fix for name in CLAIMS)


def test_claims_that_need_generated_tasks_are_left_out_or_refused_on_real_data() -> None:
    assert "gates" not in chosen_claims([], real=True)
    assert chosen_claims(["reversal"], real=True) == ["reversal"]
    with pytest.raises(UsageError, match="claim 'gates' is not tried on real data"):
        chosen_claims(["gates"], real=True)


@pytest.mark.parametrize(("arguments", "said"), [
    (["--only", "nothing"], "unknown claim 'nothing'"), (["--out", "page.txt"], "ends in .md"),
    (["--out", "missing/page.md"], "there is no folder missing"), (["--full", "missing.tsv"], "missing.tsv"),
])
def test_bad_usage_ends_before_training(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str],
                                        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["claims", *arguments])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["claims", "--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CLAIMS)


def test_the_stored_page_is_made_of_the_stored_numbers() -> None:
    docs = Path(__file__).parents[2] / "docs"
    stored = read_record(docs / "claims.json", "")
    assert list(stored.sheets[0].found) == list(CLAIMS), "seqloom claims --out docs/claims.md"
    assert stored.sheets[0].data == ""
    page, pictures = page_of(stored)
    assert (docs / "claims.md").read_text(encoding="utf-8") == page
    for name, content in pictures.items():
        assert (docs / name).read_bytes() == content
    for sheet, trial in zip(stored.sheets, json.loads((docs / "claims.json").read_text())["trials"], strict=True):
        words = {name: entry["verdict"] for name, entry in trial["claims"].items()}
        assert words == {name: finding.verdict.word for name, finding in sheet.found.items()}
    assert max(finding.seconds for finding in stored.sheets[0].found.values()) < 60
