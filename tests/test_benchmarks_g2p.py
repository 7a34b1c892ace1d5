"""The pronunciation benchmark: what it trains, what it reads, and that its means are those of its rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from source_tree import ROOT

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import g2p

import seqloom
from seqloom.config import load_config

LANGUAGES = ("ady", "bul")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two languages of 20, 4 and 5 words: letters, and the same backwards in one of them."""
    for part, count in (("train", 20), ("dev", 4), ("test", 5)):
        (tmp_path / "data" / part).mkdir(parents=True)
        for way, language in enumerate(LANGUAGES):
            words = [f"{'abcd'[number % 4]}{'abcd'[number // 4 % 4]}" for number in range(count)]
            lines = [f"{word}\t{' '.join(word[::-1] if way else word)}\n" for word in words]
            g2p.file_of(tmp_path / "data", part, language).write_text("".join(lines), encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of one update, of little networks."""
    train = g2p.seqloom.train

    def small(*files: Any, values: dict[str, Any], **given: Any) -> Any:
        sizes = {"encoder": {"hidden_size": 4}, "decoder": {"hidden_size": 4}}
        return train(*files, values={**values, **sizes, "training": {**values["training"], "max_steps": 1}}, **given)

    monkeypatch.setattr(g2p.seqloom, "train", small)


def test_means_of_hand_made_errors(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {name: {part: g2p.errors({"exact_match": right, "wer": 0.05}) for part in g2p.PARTS}
              for name, right in (("ady", 0.9), ("bul", 0.7))}
    assert g2p.macro(scores)["test"] == pytest.approx({"word_error": 20.0, "phone_error": 5.0})
    assert g2p.table(scores).splitlines()[2:] == ["| ady | 10.00 | 5.00 | 10.00 | 5.00 |",
                                                  "| bul | 30.00 | 5.00 | 30.00 | 5.00 |",
                                                  "| mean of 2 | 20.00 | 5.00 | 20.00 | 5.00 |"]


@pytest.mark.usefixtures("quick")
def test_a_run_for_each_language_and_one_for_all(data: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    runs, chosen = tmp_path / "runs", ["--languages", ",".join(LANGUAGES), "--threads", "1"]
    runs.mkdir()
    assert g2p.main([str(data), str(runs), *chosen]) == 0
    assert capsys.readouterr().out.count("\n") == 5
    assert g2p.main([str(data), str(runs), *chosen, "--multilingual"]) == 0
    one = json.loads((runs / "single.json").read_text(encoding="utf-8"))
    many = json.loads((runs / "multilingual.json").read_text(encoding="utf-8"))
    for found in (one, many):
        assert set(found["languages"]) == set(LANGUAGES)
        assert found["macro"] == g2p.macro(found["languages"])
    assert sorted(path.name for path in runs.iterdir() if path.is_dir()) == [*LANGUAGES, g2p.MULTILINGUAL]
    assert g2p.main([str(data), str(runs), *chosen, "--no-training", "--with", str(runs)]) == 0
    twice = json.loads((runs / "ensemble.json").read_text(encoding="utf-8"))
    assert twice == one  # a run together with itself
    assert g2p.main([str(data), str(runs), *chosen, "--no-training", "--with-all", str(runs / g2p.MULTILINGUAL)]) == 0
    for name, parts in json.loads((runs / "ensemble.json").read_text(encoding="utf-8"))["languages"].items():
        model = seqloom.load([runs / name, runs / g2p.MULTILINGUAL])
        for part in g2p.PARTS:
            lines = [line.split("\t") for line in g2p.file_of(data, part, name).read_text("utf-8").splitlines()]
            answers = model.predict([word for word, _ in lines], language=name)
            wrong = sum(answer.text != phones for answer, (_, phones) in zip(answers, lines, strict=True))
            assert parts[part]["word_error"] == pytest.approx(100 * wrong / len(lines))


@pytest.mark.usefixtures("quick")
def test_seed_and_options_are_those_given(data: Path, tmp_path: Path) -> None:
    for arguments, name in (([], "ady"), (["--multilingual"], g2p.MULTILINGUAL)):
        chosen = ["--languages", "ady", "--threads", "1", "--seed", "5", "--set", "training.label_smoothing=0.05"]
        assert g2p.main([str(data), str(tmp_path), *chosen, *arguments]) == 0
        config = load_config(tmp_path / name / "config.yaml")[0]
        assert (config.training.seed, config.training.label_smoothing) == (5, 0.05)


def test_what_is_not_there_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in ((["--languages", "ady,xyz"], "no such file"), (["--languages", ""], "no such file"),
                            (["--languages", "ady", "--no-training"], "has no run of these languages")):
        with pytest.raises(SystemExit):
            g2p.main([str(data), str(tmp_path / "nothing"), *arguments])
        assert said in capsys.readouterr().err
