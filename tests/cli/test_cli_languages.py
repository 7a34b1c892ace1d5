"""Several languages in one model: told by corpus or column, kept in the run, asked for by name in every path."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from cli_helpers import Command, write

import seqloom
from seqloom.config.loading import load_config
from seqloom.data.files import read_records
from seqloom.data.vocabulary import Tokenizer
from seqloom.errors import DataError, RunFolderError, UsageError
from seqloom.insight import Replay
from seqloom.run import open_run
from seqloom.types import START, BadRecord, Record

WORDS = [f"{a}{b}{c}" for a in "abcd" for b in "abcd" for c in "abcd"]
TURNED = {"same": lambda word: word, "back": lambda word: word[::-1]}  # two languages that only their name tells apart
FORMS = ("symbol", "embedding")
every_form = pytest.mark.parametrize("form", FORMS)


def pairs_of(language: str, words: list[str]) -> list[str]:
    return [f"{word}\t{' '.join(TURNED[language](word))}" for word in words]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train and dev of each language, one.tsv with both and their language in the third column."""
    folder = tmp_path_factory.mktemp("languages")
    draw = np.random.default_rng(1)
    for language in TURNED:
        words = [WORDS[number] for number in draw.permutation(len(WORDS))]
        write(folder / f"{language}.train.tsv", *pairs_of(language, words[:52]))
        write(folder / f"{language}.dev.tsv", *pairs_of(language, words[52:]))
    write(folder / "one.tsv", *(f"{line}\t{language}" for language in TURNED for line in pairs_of(language, WORDS[:9])))
    return folder


def values_of(data: Path, form: str | None, **others: Any) -> dict[str, Any]:
    files = {key: [{"path": str(data / f"{language}.{part}.tsv"), "language": language} for language in TURNED]
             for key, part in (("train", "train"), ("valid", "dev"))}
    return {"data": files, "source": {"tokenizer": "character", "embedding_size": 12, "language": form},
            "encoder": {"hidden_size": 16}, "decoder": {"hidden_size": 24, "embedding_size": 12},
            "head": {"tokenizer": "word"}, "decoding": {"max_length": 6, "beam_size": 2},
            "training": {"epochs": 40, "batch_size": 8, "learning_rate": 0.01, "metric": "exact_match", "threads": 1,
                         "patience": None}, **others}


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run that has learned both languages, for each form."""
    folder = tmp_path_factory.mktemp("runs")
    return {form: seqloom.train(values=values_of(data, form), out=folder / form) for form in FORMS}


@pytest.fixture(params=FORMS)
def run(request: pytest.FixtureRequest, runs: dict[str, Path]) -> Path:
    return runs[request.param]


# --- the same source, two answers ------------------------------------------------------------------------------------


def test_the_language_decides_the_answer(run: Path, data: Path) -> None:
    """Nothing but the language tells the two apart, so a model that is not told has at most half of them right."""
    for engine in ("onnx", "torch"):
        model = seqloom.load(run, engine=engine)
        for language, turn in TURNED.items():
            answers = model.predict(WORDS[:12], language=language)
            right = sum(answer.text == " ".join(turn(word)) for answer, word in zip(answers, WORDS, strict=False))
            assert right >= 10, (engine, language, right)
    found = seqloom.evaluate(run, *(data / f"{language}.dev.tsv" for language in TURNED), languages=list(TURNED))
    assert set(found.scores["languages"]) == set(TURNED)
    each = [one["exact_match"] for one in found.scores["languages"].values()]
    assert found.scores["macro"]["exact_match"] == pytest.approx(sum(each) / 2)
    assert found.scores["languages"]["same"]["count"] == 12
    rows = open_run(run).metrics()
    assert all(set(row["languages"]) == set(TURNED) for row in rows)
    assert rows[-1]["macro_exact_match"] == pytest.approx(
        sum(one["exact_match"] for one in rows[-1]["languages"].values()) / 2)


def test_engines_and_the_network_in_numpy_agree(run: Path) -> None:
    """Torch, the graphs in fp32 and int8, and NumPy: log-probabilities of one answer."""
    inputs = [{"source": word, "language": language} for word in ("abca", "d") for language in TURNED]
    answers = ["a b c a", "a c b a", "d", "d"]
    models = {name: seqloom.load(run, engine=name) for name in ("torch", "onnx")}
    scores = {name: [one.score for one in model.score(inputs, answers)] for name, model in models.items()}
    np.testing.assert_allclose(scores["onnx"], scores["torch"], atol=2e-5)
    model = models["torch"]
    for language in TURNED:
        found = model.predict("abca", language=language, attention=True, beam_size=1)
        np.testing.assert_allclose(in_numpy(found.replay), found.token_scores, atol=1e-5)


def in_numpy(replay: Replay) -> list[float]:
    """Log-probabilities of an answer's symbols, by the second implementation of the network."""
    network, encoded = replay.network, replay.encoded
    keys, state, history, found = network.keys(encoded), network.begin(encoded), START, []
    for number in replay.written:
        seen, state = network.step(encoded, keys, state, history)
        found.append(float(seen.log_probabilities[number]))
        history = number
    return found


def test_symbols_stand_in_the_picture(runs: dict[str, Path], cli: Command, tmp_path: Path) -> None:
    shown = seqloom.load(runs["symbol"]).predict("abc", language="back", attention=True)
    assert shown.source_tokens == ["⟨back⟩", "a", "b", "c", "</s>"]
    assert shown.attention is not None
    assert shown.attention.shape[1] == 5
    assert seqloom.load(runs["embedding"]).predict("abc", language="back").source_tokens == ["a", "b", "c", "</s>"]
    for form, run in runs.items():
        drawn = cli("explain", run, "abc", "--language", "back", "-o", tmp_path / f"{form}.html")
        assert drawn.code == 0, drawn.err
        assert "⟨back⟩" in (tmp_path / f"{form}.html").read_text(encoding="utf-8")
        page = cli("explain", run, "abc", "--language", "back", "--path", "-o", tmp_path / f"{form}.path.html")
        assert page.code == 0, page.err
    cli("explain", runs["symbol"], "abc").refused("several languages", "--language back or same")


# --- the command line ------------------------------------------------------------------------------------------------


def test_languages_by_option_and_by_column(run: Path, cli: Command, tmp_path: Path) -> None:
    said = cli("predict", run, "--language", "back", stdin=b"abc\nbad\n")
    assert said.out == "c b a\nd a b\n"
    assert cli("predict", run, stdin=b"abc\tback\nabc\tsame\n").out == "c b a\na b c\n"
    table = write(tmp_path / "t.jsonl", json.dumps({"source": "abc", "language": "back"}),
                  json.dumps({"source": "abc", "language": "nowhere"}), json.dumps({"source": "abc", "language": " "}))
    mixed = cli("predict", run, table)
    assert mixed.out == "c b a\n\n\n"
    assert "unknown language 'nowhere', expected one of: back, same" in mixed.err
    assert "no language is given, expected one of: back, same" in mixed.err
    cli("predict", run, "--language", "fra", stdin=b"abc\n").refused("unknown language 'fra'", "back, same")
    cli("predict", run, stdin=b"abc\n").refused("no column is given for 'language'", "--language")
    scored = cli("score", run, "--language", "same", stdin=b"abc\ta b c\n")
    assert scored.code == 0, scored.err
    encoded = cli("encode", run, "-o", tmp_path / "e.npz", "--language", "same", stdin=b"abc\n")
    assert encoded.code == 0, encoded.err


def test_evaluation_by_language(run: Path, cli: Command, data: Path) -> None:
    files = [data / f"{language}.dev.tsv" for language in TURNED]
    shown = cli("evaluate", run, *files, "-l", "same", "-l", "back", "--metrics", "exact_match")
    assert [line.split()[0] for line in shown.lines[2:5]] == ["back", "same", "mean"]
    cli("evaluate", run, *files, "-l", "same", "-l", "x").refused("unknown language 'x'")
    cli("evaluate", run, *files, "-l", "same", "-l", "back", "-l", "same").refused("3 languages for 2 files")
    cli("evaluate", run, files[0]).refused("no column is given for 'language'")


def test_decoding_is_tuned_on_files_of_several_languages(run: Path, cli: Command, data: Path) -> None:
    files = [data / f"{language}.dev.tsv" for language in TURNED]
    found = cli("tune-decoding", run, *files, "-l", "same", "-l", "back", "--beam-sizes", "1,2", "--length-penalties",
                "none", "--coverage-penalties", "none", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["count"] == 24


def test_a_run_without_languages_says_so(data: Path, tmp_path: Path, cli: Command) -> None:
    plain = values_of(data, None)
    plain["data"] = {"train": [str(data / "same.train.tsv")], "valid": [str(data / "same.dev.tsv")]}
    plain["training"]["epochs"] = 1
    run = seqloom.train(values=plain, out=tmp_path / "run")
    cli("predict", run, "--language", "same", stdin=b"abc\n").refused("was trained without languages")
    with pytest.raises(UsageError, match="was trained without languages"):
        seqloom.load(run).predict("abc", language="same")


def test_the_report_counts_languages(data: Path, cli: Command, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps({"data": values_of(data, "symbol")["data"], "source": {"language": "symbol"}}))
    found = cli("doctor", "--config", config)
    assert found.out.count("languages: back ") == 2
    assert "back 52, same 52." in found.out


# --- the run folder --------------------------------------------------------------------------------------------------


def test_the_run_knows_its_languages(run: Path, tmp_path: Path) -> None:
    described = json.loads((run / "source.json").read_text(encoding="utf-8"))
    assert described["languages"] == ["back", "same"]
    assert "language" in described["roles"]
    assert open_run(run).source.describe().endswith("2 languages")
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "source.json").write_text(json.dumps({**described, "languages": ["back", "fra"]}), encoding="utf-8")
    with pytest.raises(RunFolderError, match="the languages are not those of the tokenizer"):
        open_run(copy)


def test_the_card_and_python_say_the_language(run: Path) -> None:
    card = (run / "README.md").read_text(encoding="utf-8")
    assert re.search(r"inputs\.txt --language (back|same)`", card)
    call = next(line for line in card.splitlines() if line.startswith("print("))
    assert ", language='" in call
    with pytest.raises(DataError, match="the input has no language") as caught:
        seqloom.load(run).predict("abc")
    assert "language=…" in caught.value.fix


def test_prediction_without_torch(run: Path) -> None:
    code = ("import sys; sys.modules['torch'] = None; import seqloom; "
            f"print(seqloom.load({str(run)!r}).predict('abc', language='back').text)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "c b a\n", done.stderr


def test_a_language_has_an_id_that_no_text_and_no_feature_has(runs: dict[str, Path]) -> None:
    tokenizer: Tokenizer = open_run(runs["symbol"]).source.tokenizer
    item = open_run(runs["symbol"]).source.in_language("back").read(Record({"source": "⟨back⟩"}))
    number = int(item.fields["main"][0])
    assert number not in item.fields["main"][1:]
    assert number >= 4 + len(tokenizer.symbols)
    assert tokenizer.feature_id("back") != number  # a feature of that name is another symbol
    assert item.leading_features == 1


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_corpus_has_its_language_in_every_format(tmp_path: Path) -> None:
    lines = {"a.tsv": ["x\ty"], "a.csv": ["source,target", "x,y"], "a.jsonl": ['{"source": "x", "target": "y"}'],
             "x.txt": ["x"], "y.txt": ["y"]}
    for name, content in lines.items():
        write(tmp_path / name, *content)
    given: list[dict[str, str]] = [{"path": str(tmp_path / name)} for name in ("a.tsv", "a.csv", "a.jsonl")]
    given.append({"source": str(tmp_path / "x.txt"), "target": str(tmp_path / "y.txt")})
    config, _ = load_config(values={"source": {"language": "symbol"},
                                    "data": {"train": [{**one, "language": " fra "} for one in given]}})
    found = list(read_records(config.data.train, {"language": 7}, ("source", "language", "target")))
    assert [dict(record.fields) for record in found if isinstance(record, Record)] == \
        [{"source": "x", "target": "y", "language": "fra"}] * 4
    bad = write(tmp_path / "bad.tsv", "x", "x\ty")
    config, _ = load_config(values={"source": {"language": "symbol"},
                                    "data": {"train": [{"path": str(bad), "language": "fra"}]}})
    assert isinstance(next(iter(read_records(config.data.train, None, ("source", "language", "target")))), BadRecord)
    parallel, _ = load_config(values={"data": {"train": [given[3]]}})
    with pytest.raises(DataError, match="'language' needs a column, and parallel files have none"):
        list(read_records(parallel.data.train, None, ("source", "language", "target")))


def test_a_column_of_languages(data: Path, tmp_path: Path) -> None:
    values = values_of(data, "symbol")
    values["data"] = {"train": [str(data / "one.tsv")], "valid": [str(data / "one.tsv")], "columns": {"language": 3}}
    values["training"]["epochs"] = 1
    run = seqloom.train(values=values, out=tmp_path / "run")
    assert open_run(run).source.languages == ["back", "same"]
    found = seqloom.evaluate(run, data / "one.tsv", metrics=["exact_match"])
    assert {name: one["count"] for name, one in found.scores["languages"].items()} == {"back": 9, "same": 9}


def test_new_files_of_one_language_are_learned_from(cli: Command, run: Path, data: Path, tmp_path: Path) -> None:
    files = (data / "back.train.tsv", "--valid", data / "back.dev.tsv")
    options = ("--max-steps", "1", "--threads", "1", "--quiet")
    cli("finetune", run, *files, "--out", tmp_path / "untold", *options).refused("data.train.0 has no language")
    assert cli("finetune", run, *files, "--out", tmp_path / "told", "-l", "back", *options).code == 0
    read = load_config(tmp_path / "told" / "config.yaml")[0].data
    assert [corpus.language for corpus in (*read.train, *read.valid)] == ["back", "back"]
