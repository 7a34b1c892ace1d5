"""Graphs of language models: the same as torch over every option, whatever the neighbours, at once or step by step; and
their runs, with the check on real text.

The truth is the torch engine, whose network is tested against torch.nn.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import name_of, onnx_engine

import seqloom
from language_texts import SMALL, write_text
from pairs import Case, covering_cases
from seqloom.config.loading import load_config
from seqloom.config.sections import Config
from seqloom.data.batching import pad
from seqloom.engines.onnx import OnnxEngine
from seqloom.engines.torch import TorchEngine
from seqloom.errors import ConfigError, RunFolderError, SeqloomError, UsageError
from seqloom.export import export_run
from seqloom.export.cells import EXPORTED_CELLS
from seqloom.export.graphs import EXPORTED_HEADS, builder_class
from seqloom.export.parity import INT8_BITS, Parity
from seqloom.heads import head_class
from seqloom.model import build_model
from seqloom.run import WEIGHTS
from seqloom.sources import source_class
from seqloom.types import END, START, Item, Record
from tiny import Tiny, randomise

CLOSE = {"rtol": 2e-5, "atol": 1e-5}
PROMPTS = ["", "ab", "a b\nc", "dé" * 7, "x"]
FACTORS: dict[str, list[Any]] = {
    "cell": list(EXPORTED_CELLS),
    "layers": [1, 2, 3],
    "residual": [False, True],
    "one_hot": [False, True],
    "tie": ["none", "output"],
}


def config(case: Case, *more: str) -> Config:
    return load_config(preset="lm", overrides=[
        f"decoder.cell={case['cell']}", f"decoder.layers={case['layers']}", "decoder.hidden_size=6",
        "decoder.embedding_size=6", f"decoder.residual={str(case['residual']).lower()}",
        f"head.one_hot={str(case['one_hot']).lower()}", f"head.tie_embeddings={case['tie']}", *more])[0]


def valid(case: Case) -> bool:
    try:
        config(case)
    except ConfigError:
        return False
    return True


CASES, _ = covering_cases(FACTORS, valid)


def made(config: Config, spread: float) -> Tiny:
    records = [Record({"text": text}) for text in ("ab cd\té", "xyz abc")]
    head = head_class("language").fit(config, records)
    source = source_class("none").fit(config.source, records, None)
    model = build_model(config, source, head, seed=1).eval()
    randomise(model, spread=spread)
    return Tiny(config, source, head, model)


@cache
def built(name: str) -> Tiny:
    return made(config(next(case for case in CASES if name_of(case) == name)), 0.4)


def prompts(task: Tiny, texts: list[str]) -> list[Item]:
    return [task.head.link(task.source.read(Record({"text": text}))) for text in texts]


def walked(engine: Any, items: list[Item], steps: int = 4) -> list[np.ndarray[Any, Any]]:
    """Dense log-probabilities [B K V] of steps that change places."""
    state = engine.begin(pad(items))
    tokens, parents = np.full((len(items), 1), START), np.zeros((len(items), 1), np.int64)
    found = []
    for step in range(steps):
        scores, state = engine.step(state, tokens, parents, None)
        found.append(scores.scores)
        tokens = np.array([[4 + step % 3, END]] * len(items))
        parents = np.array([[1, 0] if step else [0, 0]] * len(items))
    return found


# --- the graphs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("int8", [False, True])
def test_every_option_says_what_torch_says(case: Case, int8: bool) -> None:
    """fp32 to rounding; whole numbers near, and probabilities."""
    task = built(name_of(case))
    engine, truth, items = onnx_engine(task, int8=int8), TorchEngine(task.model), prompts(task, PROMPTS)
    near = {"rtol": 0, "atol": 0.08} if int8 else CLOSE

    def same(given: Any, expected: Any) -> None:
        np.testing.assert_allclose(np.exp(given).sum(-1), 1, rtol=1e-5)
        np.testing.assert_allclose(np.exp(given) if int8 else given, np.exp(expected) if int8 else expected, **near)

    source = pad(items)
    real = np.arange(source.main.shape[1]) < source.lengths[:, None]
    state, other = None, None
    for _ in range(2):  # the second time behind the first
        given, state = engine.answer(source, state)
        expected, other = truth.answer(source, other)
        same(given[real], expected[real])
    for given, expected in zip(walked(engine, items), walked(truth, items), strict=True):
        same(given, expected)
    scale = 1.0 if EXPORTED_CELLS[case["cell"]].bounded else float(np.abs(truth.encode(source).states).max())
    for given, expected in zip(engine.encode(source)[:2], truth.encode(source)[:2], strict=True):
        np.testing.assert_allclose(given / scale, expected / scale, **near)
    np.testing.assert_array_equal(engine.encode(source).mask, real)


def test_steps_are_the_whole_text_and_texts_may_begin_with_nothing() -> None:
    task = built(name_of(CASES[0]))
    engine = onnx_engine(task)
    ids = np.array([END, 4, 5, END, 6, 4, 7])
    whole = engine.answer(pad([Item({"main": ids})]))[0][0]
    for first in (1, 4):
        state, token = engine.begin(1 if first == 1 else pad([Item({"main": ids[:first]})])), START
        for position in range(first - 1, len(ids) - 1):
            found, state = engine.step(state, np.array([[token]]), np.zeros((1, 1), np.int64), 1,
                                       wanted=ids[position + 1].reshape(1, 1, 1))
            assert found.wanted is not None
            assert found.tokens is not None
            assert found.wanted[0, 0, 0] == pytest.approx(whole[position, ids[position + 1]], abs=1e-5)
            assert (found.tokens[0, 0, 0], found.scores[0, 0, 0]) == (
                whole[position].argmax(), pytest.approx(whole[position].max(), abs=1e-5))
            token = int(ids[position + 1])


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("options", [{}, {"cell": "gru", "one_hot": True}, {"layers": 2, "residual": True}], ids=str)
def test_answers_do_not_depend_on_neighbours(int8: bool, options: Case) -> None:
    """To the last bit, at sizes at which the runtime's kernels cut their work."""
    base = {"cell": "lstm", "layers": 1, "residual": False, "one_hot": False, "tie": "none"}
    task = made(config({**base, **options}, "decoder.hidden_size=72", "decoder.embedding_size=40"), 0.15)
    engine, draw = onnx_engine(task, int8=int8), np.random.default_rng(2)
    items = prompts(task, ["".join(draw.choice(list("abcdxyz \n"), size)) for size in draw.integers(0, 30, 24)])
    together, stepped = engine.answer(pad(items))[0], walked(engine, items)
    shuffled = [int(index) for index in draw.permutation(24)]
    for group in ([[index] for index in range(24)] + [shuffled[start:start + 7] for start in range(0, 24, 7)]):
        alone = [items[index] for index in group]
        for index, row in zip(group, engine.answer(pad(alone))[0], strict=True):
            np.testing.assert_array_equal(row[: items[index].length], together[index, : items[index].length])
    state = engine.begin(pad(items))
    rows = np.array([3, 5, 11])
    kept = engine.keep(state, rows)
    found = engine.step(kept, np.full((3, 1), START), np.zeros((3, 1), np.int64), None)[0].scores
    np.testing.assert_array_equal(found, stepped[0][rows])
    for index in (0, 7, 20):
        for one, expected in zip(walked(engine, [items[index]]), stepped, strict=True):
            np.testing.assert_array_equal(one[0], expected[index])


def test_what_has_no_builder_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = config(CASES[0])
    monkeypatch.delitem(EXPORTED_CELLS, plain.decoder.cell)
    with pytest.raises(UsageError, match=rf"the cell '{plain.decoder.cell}' cannot be exported"):
        builder_class(plain)
    monkeypatch.delitem(EXPORTED_HEADS, "language")
    with pytest.raises(UsageError, match=r"head\.kind language cannot be exported: it has no builder"):
        builder_class(plain)


# --- runs ------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def run(text: Path) -> Path:
    return seqloom.train(text, out=text.parent / "run", preset="lm", overrides=SMALL)


def test_training_ends_in_an_export_that_is_used(run: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.heads.language.WINDOW", 7)
    models = [seqloom.load(run, engine=engine, device=device) for engine, device in (
        ("auto", "auto"), ("torch", "cpu"))]
    assert [type(model.engine) for model in models] == [OnnxEngine, TorchEngine]
    greedy, drawn, scored, measured = [], [], [], []
    for model in models:
        greedy.append([one.text for one in model.predict(PROMPTS, strategy="greedy", alternatives=2)])
        drawn.append([one.text for one in model.predict(PROMPTS, strategy="sampling", seed=4)])
        scored.append([one.score for one in model.score_records([Record({"text": line}) for line in ("ab", "c\n")])])
        measured.append(seqloom.evaluate(model, text).scores)
    assert greedy[0] == greedy[1]
    assert drawn[0] == drawn[1]
    assert scored[0] == pytest.approx(scored[1], rel=1e-5)
    assert measured[0]["bits_per_character"] == pytest.approx(measured[1]["bits_per_character"], rel=1e-5)
    assert measured[0]["engine"] == "onnx fp32"


def test_the_check_is_on_real_text_and_counts_bits(run: Path, text: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = export_run(run, tmp_path / "alone", int8=True, say=said.append)
    assert said[0] == "comparing on training data"
    (parity,) = found.parity
    exact = seqloom.evaluate(seqloom.load(run, engine="torch", device="cpu"), text).scores["bits_per_character"]
    whole = seqloom.evaluate(tmp_path / "alone", text).scores
    assert parity.metrics["bits_per_character"] == pytest.approx((exact, whole["bits_per_character"]), rel=1e-5)
    assert whole["engine"] == "onnx int8"
    symbols = sum(len(line) + 1 for line in text.read_text(encoding="utf-8").splitlines())
    assert symbols < parity.inputs < 2 * symbols  # the whole text, and the second halves of its lines
    assert not (tmp_path / "alone" / WEIGHTS).exists()


def test_made_up_text_where_no_data_is_left(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in run.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    settings = (folder / "config.yaml").read_text(encoding="utf-8")
    (folder / "config.yaml").write_text(settings.replace("text.txt", "gone.txt"), encoding="utf-8")
    said: list[str] = []
    (parity,) = export_run(folder, say=said.append).parity
    assert said[0].startswith("comparing on made-up inputs")
    assert (parity.changed, parity.inputs > 2000) == (parity.ties, True)


def test_an_export_that_says_something_else_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                       ) -> None:
    """The steps alone differ here: the check has to look at them too."""
    step = OnnxEngine.step

    def other(self: OnnxEngine, state: Any, tokens: Any, *others: Any, **more: Any) -> Any:
        return step(self, state, np.where(tokens == START, 5, tokens), *others, **more)

    monkeypatch.setattr(OnnxEngine, "step", other)
    with pytest.raises(SeqloomError, match="the fp32 export does not answer as the model does"):
        export_run(run, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("after", "message"), [
    (1.5 + INT8_BITS / 2, ""), (1.0, ""), (1.5 + 2 * INT8_BITS, "bits_per_character rises from 1.5 to 1.54"),
    (math.nan, "bits_per_character rises from 1.5 to nan")])
def test_bits_may_rise_a_little(after: float, message: str) -> None:
    problem = Parity("int8", "torch fp32", 100, 50, 0, 0.5, {"bits_per_character": (1.5, after)}).problem()
    assert problem.startswith(message)
    assert bool(problem) == bool(message)


def test_what_is_stale_or_damaged_is_noticed(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "alone", check=False)
    path = tmp_path / "alone" / "onnx" / "answer.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunFolderError, match="the checksum is not the one of the export"):
        seqloom.load(tmp_path / "alone")
    path.unlink()
    with pytest.raises(RunFolderError, match="the file is missing"):
        seqloom.load(tmp_path / "alone")
    manifest = tmp_path / "alone" / "onnx" / "manifest.json"
    named = json.loads(manifest.read_text(encoding="utf-8"))
    del named["models"]["fp32"]["answer"]
    manifest.write_text(json.dumps(named), encoding="utf-8")
    with pytest.raises(RunFolderError, match="says nothing usable about answer"):
        seqloom.load(tmp_path / "alone")
