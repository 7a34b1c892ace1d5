"""Exporting a run folder: what is written, the comparison at its end, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exported import arrays, stored

import seqloom.export
from seqloom.config.loading import load_config
from seqloom.config.sections import CorpusConfig
from seqloom.data.batching import pad
from seqloom.data.shortlist import FILE, Shortlist
from seqloom.engines.artifacts import FOLDER, MANIFEST
from seqloom.errors import DataError, MissingExtraError, RunFolderError, SeqloomError, UsageError
from seqloom.export import export_run, learn_shortlist, products, sequence
from seqloom.export.graphs import builder_class
from seqloom.export.parity import Parity
from seqloom.predictor import load_predictor
from seqloom.progress import Reporter
from seqloom.run import CONFIG, WEIGHTS, open_run, write_weights
from seqloom.training.session import train_run
from tiny import TRIALS, Tiny, tiny


@pytest.fixture(scope="module")
def task() -> Tiny:
    return tiny(bidirectional=True)


@pytest.fixture
def run(task: Tiny, tmp_path: Path) -> Path:
    return stored(task, tmp_path / "run")


@pytest.fixture
def data(tmp_path: Path) -> list[CorpusConfig]:
    """Inputs with targets, unreadable lines among them."""
    path = tmp_path / "data.tsv"
    path.write_text("".join(f"{trial.text('source')}\t{trial.text('target')}\n" for trial in TRIALS) + "no target\n")
    return [CorpusConfig(path=str(path))]


def test_precisions_that_were_there_are_exported_anew(run: Path) -> None:
    """int8 of earlier weights does not stay, and is not lost; a manifest that cannot be read is written anew."""
    def precisions() -> set[str]:
        return set(json.loads((run / FOLDER / MANIFEST).read_text(encoding="utf-8"))["models"])

    export_run(run, check=False)
    assert precisions() == {"fp32"}
    export_run(run, int8=True, check=False)
    write_weights(run / WEIGHTS, {name: 2 * value for name, value in open_run(run).weights().items()})
    export_run(run, check=False)
    assert precisions() == {"fp32", "int8"}
    assert load_predictor(run, engine="onnx-int8").predict(["ab"])
    (run / FOLDER / MANIFEST).write_text("{}", encoding="utf-8")
    export_run(run, check=False)
    assert precisions() == {"fp32"}


def test_an_export_is_compared_on_real_inputs(run: Path, tmp_path: Path, data: list[CorpusConfig]) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    export = export_run(run, out, data=data, say=said.append)
    assert export.folder == out
    (parity,) = export.parity
    assert (parity.precision, parity.reference, parity.inputs, parity.changed) == ("fp32", "torch fp32", len(TRIALS), 0)
    assert 0 < parity.largest < 1e-4
    assert said[0] == "comparing on the given files"
    assert said[1].startswith("fp32 against torch fp32: 0 of 8 answers differ (0.0 %); largest difference of a token's")
    assert said[-1].startswith("exported fp32: ")
    assert not (out / WEIGHTS).exists()
    card = (out / "README.md").read_text()
    assert "## Export" in card
    assert said[1] in card
    assert load_predictor(out).engine.name == "onnx fp32"


def test_both_precisions_stand_in_the_run_itself(run: Path, data: list[CorpusConfig]) -> None:
    export = export_run(run, int8=True, data=data)
    assert [one.precision for one in export.parity] == ["fp32", "int8"]
    assert export.parity[1].largest > export.parity[0].largest
    assert set(export.parity[1].metrics) == {"exact_match", "bleu"}
    assert len(list((run / FOLDER).iterdir())) == 19  # eight graphs and their arrays, twice, and the manifest


def test_inputs_are_made_up_where_the_data_is_gone(run: Path) -> None:
    said: list[str] = []
    (parity,) = export_run(run, say=said.append).parity
    assert said[0].startswith("comparing on made-up inputs")
    assert (parity.inputs, parity.changed, parity.metrics) == (100, 0, {})


def test_the_same_model_gives_the_same_bytes(task: Tiny, run: Path) -> None:
    first, second = (seqloom.export.build_models(open_run(run), int8=True) for _ in range(2))
    assert first == second


def test_an_export_that_answers_otherwise_is_refused(
        run: Path, tmp_path: Path, data: list[CorpusConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers from −1 to 1 are too few for any model."""
    monkeypatch.setattr(products, "LEVELS", 1)
    records = [trial.text("source") for trial in TRIALS]
    own = load_predictor(run, engine="torch").predict(records, max_length=6)
    path = tmp_path / "own.tsv"
    path.write_text("".join(f"{record}\t{answer.text}\n" for record, answer in zip(records, own, strict=True)))
    with pytest.raises(SeqloomError, match=r"(?s)the int8 export does not answer as the model does: \w+ falls from"
                                           r".*fix: use --engine torch for this run, or export without --int8"):
        export_run(run, tmp_path / "out", int8=True, data=[CorpusConfig(path=str(path))])
    assert not (tmp_path / "out").exists()
    with pytest.raises(SeqloomError, match="the int8 export"):
        export_run(run, int8=True, data=[CorpusConfig(path=str(path))])
    assert not (run / FOLDER).exists()


def test_what_is_not_good_enough() -> None:
    fine = Parity("fp32", "torch fp32", 100, 0, 0, 1e-6)
    assert fine.problem() == ""
    assert fine._replace(changed=2, ties=2).problem() == ""
    assert fine._replace(changed=2, ties=1).problem() == "1 of 100 answers differ from torch fp32, expected none"
    assert fine._replace(largest=0.5).problem() == "log-probabilities differ by 0.5, expected at most 0.001"
    sparse = fine._replace(largest=2e-4, sparse=True)
    assert sparse.problem() == "probabilities differ by 0.0002, expected at most 0.0001"
    assert sparse.lines()[0].endswith("largest difference of a token's probability 0.0002")
    whole = fine._replace(precision="int8", inputs=1000, largest=0.3, changed=100)
    assert whole.problem() == ""
    assert whole._replace(changed=300).problem() == "300 of 1000 answers change, expected at most 20 %"
    assert whole._replace(changed=300, metrics={"bleu": (30.0, 29.9)}).problem() == ""
    assert whole._replace(metrics={"bleu": (30.0, 29.0)}).problem() == \
        "bleu falls from 30 to 29, expected at most 0.5 less"
    assert whole._replace(changed=2, ties=2).lines()[0].endswith(
        "2 of them between answers that are equally good; largest difference of a token's log-probability 0.3")


def test_without_torch_int8_is_compared_with_fp32(
        run: Path, data: list[CorpusConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("seqloom.export.parity.find_spec", lambda name: None)
    said: list[str] = []
    (parity,) = export_run(run, int8=True, data=data, say=said.append).parity
    assert (parity.precision, parity.reference) == ("int8", "onnx fp32")
    assert "fp32 not compared: torch is not installed" in said
    assert export_run(run, tmp_path / "out", int8=True, data=data, say=said.append).parity == []
    assert "not compared: torch is not installed" in said


def test_without_onnx_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"(?s)exporting a model needs the package 'onnx'.*seqloom\[train\]"):
        export_run(run)


def test_a_part_without_a_builder_is_refused_by_name(task: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sequence.EXPORTED_SCORES, task.config.decoder.attention.score)
    with pytest.raises(UsageError, match=r"(?s)the score 'general' cannot be exported.*fix: predict with --eng"):
        builder_class(task.config)


def test_weights_that_do_not_fit_are_refused(task: Tiny, run: Path) -> None:
    weights = arrays(task)
    write_weights(run / WEIGHTS, {**weights, "head.surplus": np.zeros(3, np.float32)})
    with pytest.raises(RunFolderError, match=r"unexpected \['head\.surplus'\]"):
        export_run(run)
    write_weights(run / WEIGHTS, {name: array for name, array in weights.items() if name != "head.output.weight"})
    with pytest.raises(RunFolderError, match=r"head\.output\.weight is missing"):
        export_run(run)


def test_a_folder_that_is_there_is_left_alone(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the run itself"):
        export_run(run, run)
    shutil.copytree(run, tmp_path / "other")
    with pytest.raises(UsageError, match="exists already"):
        export_run(run, tmp_path / "other")
    assert (tmp_path / "other" / CONFIG).is_file()


def test_a_file_without_usable_inputs_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text("no target\n")
    with pytest.raises(DataError, match="no usable input to compare on"):
        export_run(run, data=[CorpusConfig(path=str(tmp_path / "bad.tsv"))])


def test_the_manifest_says_what_there_is(run: Path) -> None:
    export_run(run, check=False)
    manifest = json.loads((run / FOLDER / MANIFEST).read_text())
    assert manifest["symbols"] == {"source": open_run(run).source.tokenizer.size,
                                   "target": open_run(run).head.tokenizer.size}
    assert manifest["models"]["fp32"]["step"]["bytes"] == (run / FOLDER / "step.onnx").stat().st_size


# --- products in whole numbers ---------------------------------------------------------------------------------------


def test_whole_number_products_are_those_of_numpy() -> None:
    """Round to whole numbers, multiply exactly, scale: the definition, in float64."""
    import onnxruntime

    from seqloom.export.graph import Graph

    draw = np.random.default_rng(1)
    value = draw.standard_normal((9, 33)).astype(np.float32)
    value[3] = 0
    weight, bias = draw.standard_normal((17, 33)).astype(np.float32), draw.standard_normal(17).astype(np.float32)
    graph = Graph("product", int8=True)
    graph.output("product", products.linear(graph, graph.input("value", "float32", ["R", 33]), weight, bias), "float32",
                 ["R", 17])
    session = onnxruntime.InferenceSession(graph.serialised({}))
    (found,) = session.run(None, {"value": value})
    rows = np.maximum(np.abs(value).max(1, keepdims=True) / 127, 1e-20)
    columns = np.abs(weight).max(1) / 127
    expected = np.rint(value / rows) @ np.rint(weight / columns[:, None]).T * rows * columns + bias
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-2)  # a number at an edge may round either way
    np.testing.assert_allclose(found[3], bias, rtol=0, atol=0)


# --- a vocabulary shortlist ------------------------------------------------------------------------------------------


def test_a_shortlist_is_learned_compared_and_goes_along(run: Path, tmp_path: Path, data: list[CorpusConfig]) -> None:
    said: list[str] = []
    export = export_run(run, int8=True, data=data, shortlist=[str(data[0].path)], say=said.append)
    assert [one.precision for one in export.parity] == ["fp32", "int8", "fp32 with shortlist", "int8 with shortlist"]
    assert said[0].startswith("shortlist: from 8 pairs, ")
    assert said[0].endswith("; 1 lines could not be used: seqloom doctor tells why")
    assert any(line.startswith("int8 with shortlist against torch fp32: ") for line in said)
    out = export_run(run, tmp_path / "out", check=False).folder
    assert (out / FILE).read_bytes() == (run / FILE).read_bytes()
    for engine in ("onnx", "torch"):
        predictor = load_predictor(run, engine=engine)
        allowed = Shortlist.load(run, predictor.source.size, predictor.head.size)
        text = TRIALS[0].text("source")
        answer = predictor.predict({"source": text, "features": ""} if len(predictor.source.roles) > 1 else text,
                                   shortlist=True)
        own = allowed.lists(pad([predictor.source.read(TRIALS[0])]))[0].tolist()
        assert {predictor.head.tokenizer.id(token) for token in answer.tokens} <= set(own)


def test_a_shortlist_from_the_training_data(run: Path, data: list[CorpusConfig]) -> None:
    opened = open_run(run)
    opened.config.data.train.append(data[0])
    found = learn_shortlist(opened, ["train"], print)
    np.testing.assert_array_equal(found.ids, learn_shortlist(opened, data, print).ids)


def test_decoding_that_asks_for_a_shortlist_has_one_learned(tmp_path: Path) -> None:
    """A whole training: its validations do without, its export learns it, and its predictions use it."""
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{trial.text('source')}\t{trial.text('source')}\n" for trial in TRIALS * 3))
    config, _ = load_config(values={
        "data": {"train": [{"path": str(path)}], "valid": [{"path": str(path)}]}, "source": {"embedding_size": 4},
        "encoder": {"hidden_size": 4}, "decoder": {"hidden_size": 4, "embedding_size": 4},
        "training": {"epochs": 1, "device": "cpu"}, "decoding": {"shortlist": True, "max_length": 4, "beam_size": 2}})
    train_run(config, tmp_path / "run", reporter=Reporter())
    assert (tmp_path / "run" / FILE).is_file()
    predictor = load_predictor(tmp_path / "run", engine="onnx")
    assert predictor.decoding.shortlist
    assert predictor.predict("a b c").tokens


def test_a_shortlist_that_costs_too_much_is_said(run: Path, tmp_path: Path) -> None:
    """The run's own answers are the references, and the shortlist knows one symbol only."""
    records = [trial.text("source") for trial in TRIALS]
    own = load_predictor(run, engine="torch").predict(records, max_length=6)
    path = tmp_path / "own.tsv"
    path.write_text("".join(f"{record}\t{answer.text}\n" for record, answer in zip(records, own, strict=True)))
    Shortlist(np.array([1, 3]), np.zeros(open_run(run).source.size + 1, np.int64), np.zeros(0, np.int64),
              open_run(run).head.size).save(run)
    said: list[str] = []
    export_run(run, data=[CorpusConfig(path=str(path))], say=said.append)
    assert any(line.startswith("warning: the shortlist costs more than it should: ") for line in said)


def test_a_shortlist_is_of_words_for_words(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"(?s)copies symbols of its source.*fix: export without a shortlist"):
        learn_shortlist(open_run(stored(tiny(copying=True), tmp_path / "copying")), [], print)
    with pytest.raises(UsageError, match=r"(?s)sums over source positions.*fix: export without a shortlist"):
        learn_shortlist(open_run(stored(tiny(kind="hard", feeding=False), tmp_path / "hard")), [], print)
    opened = open_run(run)
    changed = opened.config.model_copy(update={"head": SimpleNamespace(kind="tags")})
    with pytest.raises(UsageError, match="this run goes from text to tags"):
        learn_shortlist(replace(opened, config=changed), [], print)


def test_without_a_run_folder_there_is_no_shortlist(run: Path) -> None:
    predictor = load_predictor(run, engine="torch")
    with pytest.raises(RunFolderError, match="the run has no vocabulary shortlist"):
        predictor.predict("a b", shortlist=True)
    predictor.run = None
    with pytest.raises(UsageError, match="a shortlist belongs to a run folder"):
        predictor.predict("a b", shortlist=True)
