"""tune-decoding: what is tried, what is told, what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_helpers import Command, write

import seqloom
from seqloom.errors import UsageError
from seqloom.tuning import LEVEL, Trial, Tuning, tune


def own_options(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "generation_config.json").read_text(encoding="utf-8"))
    return found


def test_each_trial_is_what_evaluate_says(cli: Command, other: Path, data: Path) -> None:
    done = cli("tune-decoding", other, data / "valid.tsv", "--metric", "cer", "--beam-sizes", "1,3,5", "--json",
               "--length-penalties", "0,2", "--coverage-penalties", "0.3", "-q")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["metric"] == "cer"
    assert found["count"] == 25
    for trial in found["trials"]:
        sets = [part for name, value in trial["options"].items() for part in ("--set", f"{name}={value}")]
        scores = json.loads(cli("evaluate", other, data / "valid.tsv", "--metrics", "cer", "--json", *sets).out)
        assert trial["score"] == scores["cer"]
    assert found["trials"][0]["options"] == {}
    assert found["best"]["score"] == min(trial["score"] for trial in found["trials"])
    assert [trial["options"] for trial in found["trials"][1:3]] == [{"beam_size": 1}, {"beam_size": 3}]


def test_greedy_search_has_no_penalties(cli: Command, run: Path, data: Path) -> None:
    """A run whose beam is one, and no other beam to try: nothing is left."""
    done = cli("tune-decoding", run, data / "valid.tsv", "--set", "beam_size=1", "--beam-sizes", "none", "--json", "-q")
    assert [trial["options"] for trial in json.loads(done.out)["trials"]] == [{}]


def test_coverage_penalties_without_attention(cli: Command, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small = {"encoder": {"hidden_size": 4}, "decoder": {"hidden_size": 4, "context": "initial"},
             "training": {"max_steps": 1, "threads": 1}}
    seqloom.train(data / "train.tsv", valid=data / "valid.tsv", values=small, out=run)
    asked = ("tune-decoding", run, data / "valid.tsv", "--beam-sizes", "none", "--length-penalties", "none", "--set",
             "max_length=5")
    note = "note: no coverage penalty is tried, because this model has no attention for it to look at"
    assert note in cli(*asked, "--coverage-penalties", "0.1").err
    assert note not in cli(*asked, "--coverage-penalties", "none").err


def test_the_best_is_applied_only_when_it_holds(cli: Command, run: Path, data: Path, tmp_path: Path) -> None:
    """A length penalty far below zero makes every answer too short: any other is better by far."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    wrong = {**own_options(copy), "beam_size": 8, "length_penalty": -9.0}
    (copy / "generation_config.json").write_text(json.dumps(wrong), encoding="utf-8")
    asked = ("tune-decoding", copy, data / "train.tsv", "--metric", "cer", "--beam-sizes", "none",
             "--length-penalties", "1", "--coverage-penalties", "none")
    done = cli(*asked)
    assert "Better by more than chance" in done.out
    assert "--set length_penalty=1" in done.out
    assert own_options(copy) == wrong
    done = cli(*asked, "--apply", "-q")
    assert done.code == 0
    assert own_options(copy) == {**wrong, "length_penalty": 1.0}
    assert seqloom.load(copy).decoding.length_penalty == 1.0
    done = cli(*asked, "--apply")
    assert "keeps its own options" in done.err
    assert own_options(copy) == {**wrong, "length_penalty": 1.0}


def test_words_for_each_verdict() -> None:
    from seqloom.cli.tuning import as_text

    def told(score: float, p_value: float) -> str:
        trials = [Trial({}, 0.5, 1.0), Trial({"beam_size": 8}, score, 1.0, p_value)]
        return as_text(Tuning("exact_match", "higher", "", 1000, trials), "runs/x")

    assert "Nothing was better than the run's own options on 1,000 examples." in told(0.5, 1.0)
    assert "may be so by chance (p = 0.300, best of 2 trials" in told(0.6, 0.3)
    assert "seqloom predict runs/x --set beam_size=8" in told(0.6, LEVEL / 2)


def test_the_metric_is_that_of_training(cli: Command, run: Path, data: Path) -> None:
    found = json.loads(cli("tune-decoding", run, data / "valid.tsv", "--beam-sizes", "1", "--length-penalties", "none",
                           "--coverage-penalties", "none", "--json", "-q").out)
    config = seqloom.load(run).run.config.training
    assert found["metric"] == (config.metric if config.metric in ("bleu", "cer", "exact_match") else "exact_match")


@pytest.mark.parametrize(("options", "words"), [
    ((), ("no development data is given",)),
    (("--beam-sizes", "1,x"), ("--beam-sizes: given '1,x'",)),
    (("--length-penalties", ""), ("--length-penalties: given ''",)),
    (("--coverage-penalties", "a"), ("--coverage-penalties: given 'a'", "--coverage-penalties 0,0.5,1")),
    (("--beam-sizes", "0"), ("beam_size",)),
    (("--metric", "blue"), ("unknown metric", "bleu")),
    (("--set", "strategy=sampling"), ("decoding.strategy is sampling", "strategy=auto")),
], ids=lambda value: " ".join(value) or "none")
def test_bad_usage(cli: Command, run: Path, data: Path, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    files = [data / "valid.tsv"] if options else []
    done = cli("tune-decoding", run, *files, *options)
    assert done.code == 2
    done.explained(*words)


def test_bad_data(cli: Command, run: Path, tmp_path: Path) -> None:
    done = cli("tune-decoding", run, write(tmp_path / "bad.tsv", "only a source"))
    assert done.code == 2
    done.explained("no usable development example")


def test_unknown_option_in_python(run: Path) -> None:
    with pytest.raises(UsageError, match="unknown option 'top_p'"):
        tune(seqloom.load(run), [], tried={"top_p": (1,)})


@pytest.mark.parametrize("head", ["label", "language"])
def test_what_is_not_searched_for(cli: Command, tmp_path: Path, head: str) -> None:
    words = ("aa", "bbbb", "cc", "dddddd", "e", "fffff")
    lines = [f"{word}\t{'long' if len(word) > 3 else 'short'}" for word in words]
    data = write(tmp_path / "data.txt", *lines * 8)
    kinds = ["source.kind=none", "decoder.hidden_size=4"] if head == "language" else [
        "encoder.hidden_size=4", "source.embedding_size=4"]
    made = cli("train", data, "--out", tmp_path / "run", "--max-steps", "1", "-q",
               *(part for key in [f"head.kind={head}", *kinds] for part in ("--set", key)))
    assert made.code == 0, made.err
    done = cli("tune-decoding", tmp_path / "run", data)
    assert done.code == 2
    done.explained(f"this run has head.kind {head}", "head.kind is sequence")
