"""explain --steps and its like: files, refusals, runs without attention or torch."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import TINY, Command, names_in, process


def unpacked(page: str) -> dict[str, object]:
    """The data of a page, arrays as NumPy."""
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert text is not None

    def array(value: dict[str, object]) -> object:
        if "packed" not in value:
            return value
        return np.frombuffer(base64.b64decode(str(value["packed"])), "<f4").reshape(value["shape"])  # type: ignore[arg-type]

    found: dict[str, object] = json.loads(text[1], object_hook=array)
    return found


def check_offline(page: str) -> None:
    """Nothing is loaded; the one script and the one style sheet are those that the policy names."""
    assert not re.search(r'(?:src|href|action)\s*=|@import|url\(|https?:', page.replace("http-equiv", ""))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for part in (re.findall(r"<script>(.*?)</script>", page, re.DOTALL), re.findall(r"<style>(.*?)</style>", page,
                                                                                    re.DOTALL)):
        assert len(part) == 1
        digest = base64.b64encode(hashlib.sha256(part[0].encode()).digest()).decode()
        assert f"sha256-{digest}" in policy[1].replace("&#x27;", "'")


def test_steps_as_page_and_as_json(cli: Command, run: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "x.html", tmp_path / "x.json"
    assert cli("explain", run, "fab", "--steps", "-o", page).out == f"{page}\n"
    assert cli("explain", run, "fab", "--steps", "-o", data).out == f"{data}\n"
    answer = cli("predict", run, stdin=b"fab\n").lines[0]
    document, shown = json.loads(data.read_text()), unpacked(page.read_text(encoding="utf-8"))
    check_offline(page.read_text(encoding="utf-8"))
    assert (document["text"], document["input"]) == (answer, "fab")
    assert "".join(document["tokens"]) == f"{answer}</s>"
    for step, other in zip(document["steps"], shown["steps"], strict=True):  # type: ignore[call-overload]
        assert step["attention"]["weights"] == pytest.approx(other["attention"]["weights"], abs=1e-6)
        assert sum(step["attention"]["weights"]) == pytest.approx(1, abs=1e-6)


def test_the_number_of_candidates(cli: Command, run: Path, tmp_path: Path) -> None:
    for count in (1, 5):
        cli("explain", run, "fab", "--steps", "-k", count, "-o", tmp_path / "x.json")
        document = json.loads((tmp_path / "x.json").read_text())
        assert {len(step["candidates"]) for step in document["steps"]} == {count}


def test_steps_need_no_torch(run: Path, tmp_path: Path) -> None:
    before = "import sys; sys.modules['torch'] = None"
    done = process("explain", run, "abc", "--steps", "-o", tmp_path / "x.html", before=before)
    assert done.code == 0, done.err
    check_offline((tmp_path / "x.html").read_text(encoding="utf-8"))


def test_a_run_without_attention_shows_the_rest(cli: Command, data: Path, tmp_path: Path) -> None:
    run, page = tmp_path / "run", tmp_path / "x.html"
    cli("train", data / "test.tsv", "--out", run, *TINY, "--max-steps", "1", "--set", "decoder.context=every_step")
    assert cli("explain", run, "abc", "--steps", "-o", page).code == 0
    shown = page.read_text(encoding="utf-8")
    assert "This model has no attention" in shown
    assert "Combination" in shown
    assert "Softmax" not in shown


def test_text_of_any_script_is_data_and_never_markup(cli: Command, run: Path, tmp_path: Path) -> None:
    page = tmp_path / "x.html"
    assert cli("explain", run, "</script><b>שלום\u202e가", "--steps", "-o", page).code == 0
    shown = page.read_text(encoding="utf-8")
    assert "</script><b>" not in shown
    assert shown.count("</script>") == 2
    assert "<U+202E>" in unpacked(shown)["source_tokens"]  # type: ignore[operator]


def test_the_path(cli: Command, run: Path, tmp_path: Path) -> None:
    for suffix in (".html", ".svg", ".json"):
        assert cli("explain", run, "fab", "--path", "-o", tmp_path / f"x{suffix}").code == 0
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["padding"]["largest_weight_on_padding"] == 0
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_gates_of_two_runs_side_by_side(cli: Command, run: Path, other: Path, tmp_path: Path) -> None:
    data, page = tmp_path / "x.json", tmp_path / "x.html"
    for goal in (data, page):
        assert cli("explain", run, "fab", "--gates", "--with", other, "--gradients", "-o", goal).code == 0
    runs = json.loads(data.read_text())["runs"]
    assert [one["run"] for one in runs] == ["learned", "other"]
    assert "".join(runs[1]["tokens"]).removesuffix("</s>") == cli("predict", other, stdin=b"fab\n").lines[0]
    assert [len(one["gradients"]["norms"][0]) for one in runs] == [4, 4]
    assert len(runs[0]["clipping"]["shares"]) > 1
    check_offline(page.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", ""))


def test_what_if(cli: Command, run: Path, tmp_path: Path) -> None:
    goal = tmp_path / "x.json"
    answer = cli("predict", run, "-b", "1", stdin=b"fab\n").lines[0]
    assert cli("explain", run, "fab", "--force", "1=C", "--gold", "BAF", "--reverse", "--edit", "2:1=0.9", "-b", "1",
               "-o", goal).code == 0
    document = json.loads(goal.read_text())
    assert document["before"]["text"] == document["text"] == answer
    assert document["changes"] == ["token 1 forced to be C", "gold history: BAF", "source read the other way round",
                                   "weight of token 2 on b set to 0.9"]
    assert document["after"]["history"] == ["<s>", "C", "A", "F"]
    assert document["after"]["attention"][1][0] == pytest.approx(0.9)
    cli("explain", run, "fab", "--force", "1=C", "--set", "max_length=2", "-o", goal)
    assert len(json.loads(goal.read_text())["after"]["tokens"]) == 2


def test_the_history_of_one_example(cli: Command, run: Path, tmp_path: Path) -> None:
    for suffix in (".html", ".json"):
        assert cli("explain", run, "--history", "-o", tmp_path / f"x{suffix}").out == f"{tmp_path}/x{suffix}\n"
    document = json.loads((tmp_path / "x.json").read_text())
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in document["validations"]] == [one["step"] for one in document["curves"]] == steps


@pytest.mark.parametrize(("arguments", "message"), [
    (["--steps", "-o", "x.html"], "INPUT is missing"),
    (["abc", "--history", "-o", "x.html"], "not an INPUT"),
    (["--history"], "--history needs a file to write"),
    (["abc", "--steps", "--path", "-o", "x.html"], "--steps and --path do not fit into one file"),
    (["abc", "--gradients", "-o", "x.html"], "--gradients goes with --gates"),
    (["abc", "--path", "--with", "x", "-o", "x.html"], "--with goes with --gates"),
    (["abc", "--gates", "--with", "nowhere", "-o", "x.html"], "no run folder at nowhere"),
    (["abc", "--force", "x", "-o", "x.html"], "expected T=TOKEN"),
    (["abc", "--force", "0=A", "-o", "x.html"], "step 0 is outside"),
    (["abc", "--edit", "1:2", "-o", "x.html"], "expected T:S=WEIGHT"),
    (["abc", "--edit", "1:2=..", "-o", "x.html"], "expected T:S=WEIGHT"),
    (["abc", "--edit", "1:99=0.5", "-o", "x.html"], "source position 99 is outside 1 … 4"),
    (["abc", "--steps"], "--steps needs a file to write"),
    (["abc", "--steps", "-o", "x.svg"], "end the name in one of: .html, .json"),
    (["abc", "--steps", "-o", "nowhere/x.html"], "there is no folder"),
    (["", "--steps", "-o", "x.html"], "INPUT: the source is empty"),
    (["abc", "--steps", "-k", "0", "-o", "x.html"], "--alternatives: given '0'")])
def test_views_refuse(cli: Command, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str],
                      message: str) -> None:
    monkeypatch.chdir(tmp_path)
    cli("explain", run, *arguments).refused(message)
    assert names_in(tmp_path) == []


def test_a_run_without_its_weights_is_told(cli: Command, run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "copied")
    (copied / "model.safetensors").unlink()
    done = cli("explain", copied, "abc", "--steps", "-o", tmp_path / "x.html")
    assert done.code == 2
    assert "model.safetensors" in done.err
    assert "Traceback" not in done.err
