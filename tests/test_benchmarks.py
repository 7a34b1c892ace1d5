"""The benchmarks: what is measured is the work it says, rows are complete, and what fails is said. No figures."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from source_tree import ROOT

if str(ROOT) not in sys.path:  # benchmarks/ is no part of the package, and `pytest` alone does not look here
    sys.path.append(str(ROOT))

from benchmarks import __main__ as command
from benchmarks import contest, environments, floor, prediction, rivals, rows, settings, windows, work
from benchmarks.peers import plain

# What starts a dozen processes that import torch, or installs something: minutes where the cores are busy.
slow = pytest.mark.slow
KEYS = {"measure", "unit", "ours", "peer", "peer_version", "theirs", "ratio", "floor", "rounds", "spread", "cores",
        "commit"}  # of every row
SIZES_W = {"embedding": 256, "encoder": 256, "decoder": 512, "batch": 64, "feeding": True, "source_symbols": 5_894,
           "target_symbols": 7_878, "source_length": 13.13, "target_length": 12.61}


def silent(line: str) -> None:
    pass


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "ratio"), [("target tokens/s", 2.0), ("s", 0.5), ("ms", 0.5), ("MiB", 2.0)])
def test_ratio_says_how_many_times_faster_ours_is(unit: str, ratio: float) -> None:
    row = rows.compare("m", unit, [20.0, 22.0, 18.0], ("rival", "1.0"), [10.0, 11.0, 9.0])
    assert (row.ours, row.theirs, row.ratio, row.rounds, row.spread) == (20, 10, ratio, 3, 0)


def test_spread_is_that_of_the_ratio_and_without_a_rival_that_of_ours() -> None:
    assert rows.compare("m", "x/s", [10.0, 10.0, 20.0], ("r", "1"), [10.0, 10.0, 10.0]).spread == 1.0
    assert rows.compare("m", "x/s", [10.0, 15.0]).spread == 0.4
    assert rows.compare("m", "x/s", [10.0]).spread is None


def test_rows_survive_the_file_and_have_every_key(tmp_path: Path) -> None:
    given = [rows.compare("m", "s", [1.23456], ("r", "1"), [2.0], floor=0.5, note="é"),
             rows.not_measured("m", "s", [1.0], ("other", "2"), "it broke")]
    rows.write_rows(given, tmp_path / "a" / "b.json")
    assert rows.read_rows(tmp_path / "a" / "b.json") == given
    stored = json.loads((tmp_path / "a" / "b.json").read_text(encoding="utf-8"))
    assert all(set(row) == KEYS | {"note"} for row in stored)
    assert (stored[0]["ours"], stored[1]["theirs"], stored[1]["ratio"]) == (1.235, None, None)


def test_table_says_cores_and_reasons() -> None:
    text = rows.table([rows.compare("speed", "x/s", [12340.0], ("rival", "1.0"), [1000.0], floor=20000.0),
                       rows.not_measured("speed", "x/s", [1.0], ("broken", "2"), "no wheel")])
    assert "12,340" in text
    assert "12.3 ×" in text
    assert "not measured: no wheel" in text
    assert f"{rows.cores()} cores, commit " in text


def test_commit_outside_a_repository_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows.commit() != ""
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert rows.commit() == "unknown"


# --- works -----------------------------------------------------------------------------------------------------------


@slow
def test_real_work_has_the_published_vocabularies(shared_data: Path, tmp_path: Path) -> None:
    made = work.prepare_work("W", tmp_path, shared=shared_data)
    assert (made.pairs, made.source_symbols, made.target_symbols) == (29_000, 5_894, 7_878)  # reference/peers.md
    assert not made.generated
    lines = {name: (tmp_path / name).read_text(encoding="utf-8").splitlines()
             for name in ("train.source", "train.target", "test.source", "test.target")}
    assert [len(lines[name]) for name in lines] == [29_000, 29_000, 1_000, 1_000]
    assert lines["train.source"][0] == "two young , white males are outside near many bushes ."
    assert statistics.mean(len(line.split()) for line in lines["test.target"]) == pytest.approx(12.25, abs=0.01)


def test_real_characters_are_the_shared_tasks(shared_data: Path, tmp_path: Path) -> None:
    made = work.prepare_work("C", tmp_path, shared=shared_data)
    assert (made.pairs, round(made.source_length, 2), round(made.target_length, 2)) == (3_600, 7.25, 5.54)  # peers.md
    assert (tmp_path / "train.target").read_text(encoding="utf-8").startswith("a b ɑ̃ d ɔ n e\n")


@pytest.mark.parametrize(("name", "source", "target"), [("W", 13.13, 12.61), ("C", 7.25, 5.54)])
def test_drawn_pairs_have_the_lengths_and_frequencies_of_the_real_ones(name: str, source: float,
                                                                       target: float) -> None:
    pairs = list(islice(work.drawn_pairs(name), 3000))
    for side, wanted in ((0, source), (1, target)):
        assert statistics.mean(len(pair[side]) for pair in pairs) == pytest.approx(wanted, rel=0.07)
    counted = Counter(symbol for pair in pairs for symbol in pair[0]).most_common(8)
    ratio = work.COUNTED[name].source_counts[0] / work.COUNTED[name].source_counts[3]
    assert counted[0][1] / counted[7][1] == pytest.approx(ratio, rel=0.3)


def test_drawn_work_says_so_and_is_the_same_every_time(tmp_path: Path) -> None:
    made = [work.prepare_work("C", tmp_path / name, pairs=40, shared=tmp_path / "nothing") for name in "ab"]
    assert made[0].generated
    assert made[0].data == "generated, as SIGMORPHON 2020 French"
    assert made[0].pairs == 40
    for name in ("train.source", "valid.target", "target.symbols"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() != b""


# --- the floor -------------------------------------------------------------------------------------------------------


def test_floor_counts_the_published_work() -> None:
    """Each weight takes two operations forward and four backward for each token, but embeddings, which only look up:
    of 12.04 M weights (reference/peers.md) 256 for each of 5,898 and 7,882 symbols."""
    weights = 12.04e6 - 256 * (5_898 + 7_882)
    assert floor.operations(floor.products(SIZES_W)) / (64 * 13.61) == pytest.approx(6 * weights, rel=0.05)


def test_floor_without_feeding_has_fewer_step_products() -> None:
    with_feeding, without = (floor.products({**SIZES_W, "feeding": feeding}) for feeding in (True, False))
    assert floor.operations(without) < floor.operations(with_feeding)
    assert sum(one.times for one in without) < sum(one.times for one in with_feeding)


def test_floor_is_no_more_in_bf16_than_in_fp32() -> None:
    small = {**SIZES_W, "embedding": 8, "encoder": 8, "decoder": 16, "batch": 4, "target_symbols": 40, "threads": 2,
             "repeats": 2}
    found = floor.floor_seconds(small)
    assert 0 < found["bf16"] <= found["fp32"]


# --- the plain loops -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_model() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    return plain.build({"embedding": 5, "encoder": 4, "decoder": 8, "feeding": True}, 11, 13).eval()


def test_plain_model_is_the_size_of_the_published_one() -> None:
    pytest.importorskip("torch")
    model = plain.build(SIZES_W, 5_898, 7_882)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(12.04, abs=0.01)


def test_plain_styles_compute_the_same(plain_model: Any) -> None:
    import torch

    source = torch.tensor([[4, 5, 6, 3], [7, 3, 0, 0]])
    target = torch.tensor([[2, 4, 5, 3], [2, 6, 3, 0]])
    lengths = torch.tensor([4, 2])
    one, two = (plain_model(source, lengths, target, per_step) for per_step in (True, False))
    torch.testing.assert_close(one, two)
    alone = plain_model(source[1:, :2], lengths[1:], target[1:], True)
    torch.testing.assert_close(alone[0], one[1])


def test_plain_search_ends_at_the_limits_and_a_beam_of_one_is_greedy(plain_model: Any) -> None:
    import torch

    source, lengths = torch.tensor([[4, 5, 6, 3], [7, 3, 0, 0], [8, 9, 3, 0]]), torch.tensor([4, 2, 3])
    with torch.no_grad():
        plain_model.output.bias[plain.END] = -1e4
        greedy = plain.greedy(plain_model, source, lengths, [5, 2, 4], 1)
        beams = [plain.beam(plain_model, source, lengths, [5, 2, 4], width) for width in (1, 3)]
    assert [len(answer) for answer in greedy] == [5, 2, 4]
    assert beams[0] == greedy
    assert [len(answer) for answer in beams[1]] == [5, 2, 4]


def test_plain_batches_hold_every_sentence_once_and_like_lengths_together() -> None:
    import random

    targets = [[2] * (3 + number % 17) for number in range(300)]
    for bucketed in (False, True):
        found = plain.batches(targets, targets, 8, bucketed, random.Random(1))
        assert sorted(one for batch in found for one in batch) == list(range(300))
        widest = [max(len(targets[one]) for one in batch) - min(len(targets[one]) for one in batch) for batch in found]
        assert (statistics.mean(widest) < 1) == bucketed


# --- contests --------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys, time
from benchmarks.windows import task_of, windows_of
task = task_of(sys.argv)
windows = windows_of(task)
windows.facts["parameters"] = 7
print("chatter that is no answer")
for unit in range(1, 1000):
    if unit == task["breaks"]:
        sys.exit("broken on purpose")
    if unit == task["sleeps"]:
        time.sleep(60)
    windows.done(10 * unit)
"""


def entrant(folder: Path, name: str, *, breaks: int = 0, sleeps: int = 0) -> contest.Entrant:
    (folder / "fake_rival.py").write_text(PROGRAM, encoding="utf-8")
    task = {"seconds": 0.0, "warm_up": 0.0, "least": 3, "breaks": breaks, "sleeps": sleeps}
    return contest.Entrant(name, "1", "fake_rival", task, sys.executable, {"PYTHONPATH": f"{folder}:{ROOT}"})


def test_entrants_take_turns_and_failures_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    good, early, late = contest.hold([entrant(tmp_path, "good"), entrant(tmp_path, "early", breaks=2),
                                      entrant(tmp_path, "late", breaks=8)], 2, told.append, together=True)
    assert [window["amount"] for window in good.windows] == [30, 30]
    assert [window["units"] for window in good.windows] == [3, 3]
    assert good.facts["parameters"] == 7
    assert good.amount_each == 10
    assert 1 < good.memory < 500
    assert (early.windows, early.failure) == ([], "broken on purpose (exit 1)")
    assert (len(late.windows), late.failure) == (1, "broken on purpose (exit 1)")
    assert told[-1] == "  round 2 of 2"
    assert "  early broken on purpose (exit 1)" in told


def test_entrant_that_does_not_answer_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "START_SECONDS", 0.5)
    monkeypatch.setattr(contest, "STOP_SECONDS", 0.1)
    (outcome,) = contest.hold([entrant(tmp_path, "slow", sleeps=1)], 1, silent)
    assert (outcome.windows, outcome.failure) == ([], "no answer in 0.5 s")


def test_peak_memory_is_this_process_alone() -> None:
    program = "from benchmarks.windows import peak_memory; print(peak_memory())"
    own = [0] * 20_000_000  # 160 MB here must not count there
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(own) > 0
    assert 1 < float(done.stdout) < 100
    assert windows.peak_memory() > 150


# --- rivals and their environments -----------------------------------------------------------------------------------


def test_peers_are_chosen_by_name() -> None:
    assert rivals.chosen("all") == ("plain", *rivals.RIVALS)
    assert rivals.chosen("plain, eole") == ("plain", "eole")
    assert rivals.chosen("none") == ()
    with pytest.raises(ValueError, match="unknown peers 'marian': give all, none, or some of plain, opennmt"):
        rivals.chosen("marian")


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_rivals_pin_exact_versions_and_say_what_they_can(name: str) -> None:
    rival = rivals.RIVALS[name]
    environment = rival.environment()
    assert environment.requirements[0].lower() == f"{rival.NAME}=={rival.VERSION}".lower()
    assert all("==" in requirement for requirement in environment.requirements)
    assert not [line for line in environment.requirements if line.startswith(("torch==", "numpy=="))]
    assert any(rival.supports({"kind": kind, "min_frequency": 1, "feeding": False})
               for kind in ("training", "prediction"))
    assert not rival.supports({"kind": "unheard of", "min_frequency": 1})


@slow
def test_environment_that_cannot_be_installed_says_why(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "missing-1.0-py3-none-any.whl")
    with pytest.raises(environments.InstallError, match=r"pip: .*missing-1\.0"):
        environments.installed(environments.Environment("broken", (nowhere,)), tmp_path / "all")


@slow
def test_linked_packages_hold_torch_and_what_it_needs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    place = environments.linked_packages(tmp_path)
    assert environments.linked_packages(tmp_path) == place  # twice is no error
    assert {"torch", "numpy", "sympy"} <= {path.name for path in place.iterdir()}
    program = f"import sys; sys.path.insert(0, {str(place)!r}); import numpy; print(numpy.__file__)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert str(place) in done.stdout


# --- the suites ------------------------------------------------------------------------------------------------------


def fake_rival(name: str, environment: environments.Environment) -> Any:
    return SimpleNamespace(NAME=name, VERSION="0.1", __name__="benchmarks.peers.nothing_of_the_kind",
                           environment=lambda: environment, supports=lambda task: True)


def refuse(environment: environments.Environment) -> str:
    if environment.name == "uninstallable":
        raise environments.InstallError("pip: no such package")
    return sys.executable


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a suite on tiny drawn data: rows, and the table that was printed."""
    monkeypatch.setenv("SEQLOOM_SHARED_DATA", str(tmp_path / "nothing"))
    monkeypatch.setattr(rivals, "installed", refuse)
    monkeypatch.setattr(rivals, "RIVALS", {
        name: fake_rival(name, environments.Environment(name, ())) for name in ("uninstallable", "crashing")})

    def run(suite: str, *options: str) -> tuple[list[rows.Row], str]:
        assert command.main([suite, "--quick", "--works", "C", "--out", str(tmp_path / "out"), *options]) == 0
        stored = json.loads((tmp_path / "out" / f"{suite}.json").read_text(encoding="utf-8"))
        assert all(set(row) >= KEYS for row in stored)
        return rows.read_rows(tmp_path / "out" / f"{suite}.json"), capsys.readouterr().out

    return run


@slow
def test_training_suite(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(settings.QUICK, "forms", (True,))
    found, table = measured("training", "--peers", "all", "--rounds", "1")
    speeds = {row.peer: row for row in found if row.measure == "training C, input feeding, bf16"}
    assert set(speeds) == {None, "plain loop, tutorial", "plain loop, bucketed", "uninstallable", "crashing"}
    for name in ("plain loop, tutorial", "plain loop, bucketed"):
        row = speeds[name]
        assert row.ours is not None
        assert row.theirs is not None
        assert row.floor is not None
        assert row.ratio == pytest.approx(row.ours / row.theirs, rel=2e-3)
        assert "generated, as SIGMORPHON 2020 French" in row.note
        assert row.rounds == 1
    assert speeds["uninstallable"].note == "not measured: it could not be installed: pip: no such package"
    assert "No module named benchmarks.peers.nothing_of_the_kind" in speeds["crashing"].note
    assert speeds["crashing"].theirs is None
    assert {row.unit for row in found} == {"ms", "target tokens/s", "MiB"}
    assert "training C, input feeding, fp32: time of an update" in table
    assert f"{rows.cores()} cores" in table


@slow
def test_prediction_suite(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(settings.QUICK, "manners", ((4, 1),))
    found, table = measured("prediction", "--peers", "plain", "--rounds", "1")
    row = next(row for row in found if row.measure == "prediction C, batch 4, greedy, torch fp32" and row.peer)
    ours, theirs = (float(number) for number in row.note.split(", ")[-1].split(" symbols")[0].split(" and "))
    assert ours == theirs > 1  # answers of equal length
    assert any(row.measure.endswith("load") and row.unit == "s" for row in found)
    assert "batch 4, greedy" in table


def test_prediction_one_by_one_is_a_matter_of_latency() -> None:
    outcome = contest.Outcome(windows=[{"amount": 4, "seconds": 2.0, "units": 1, "memory": 1.0}])
    batched, alone = prediction.Manner(64, 5), prediction.Manner(1, 1)
    assert (batched.name, prediction.unit(batched), prediction.values(batched, outcome)) == (
        "batch 64, beam 5", "sentences/s", [2.0])
    assert (alone.name, prediction.unit(alone), prediction.values(alone, outcome)) == (
        "one by one, greedy", "ms", [500.0])


@slow
def test_scale_suite(measured: Any) -> None:
    pytest.importorskip("torch")
    found, _ = measured("scale", "--peers", "none")
    assert [row.unit for row in found] == ["s", "MiB", "MiB"]
    assert all(row.peer is None and row.ours is not None for row in found)
    assert "200 and 400 pairs" in found[0].note


@pytest.mark.parametrize(("arguments", "message"), [
    (["trainig"], "unknown suite 'trainig': give training, prediction, scale"),
    (["training", "--peers", "sockeye"], "unknown peers 'sockeye'"),
    (["training", "--works", "X"], "unknown works 'X': give W, C"),
    (["training", "--quick"], "give --out FOLDER"),
])
def test_command_line_says_what_is_wrong(arguments: list[str], message: str,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert message in capsys.readouterr().err
