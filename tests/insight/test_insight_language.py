"""Language models, taggers and classifiers under the microscope: against the torch network, in every cell."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import seqloom
from browser import Browser
from seqloom.cli import main
from seqloom.errors import UsageError
from seqloom.insight.gates import STATES, gates_of
from seqloom.insight.gradients import gradients_of, nudged_losses
from seqloom.insight.path import path_of
from seqloom.model import build_model, load_weights
from seqloom.nn.cells import CELLS
from seqloom.plots.gates_page import Microscope, gates_html, gates_json
from seqloom.plots.path_page import path_html, path_json, path_svg
from tiny import one_thread

__all__ = ["one_thread"]

LINES = "ab ba\nbaab\n\na b 가나\nab ab ab\n" * 8
SMALL: dict[str, Any] = {
    "decoder": {"layers": 1, "hidden_size": 6, "embedding_size": 5, "dropout": 0.0, "embedding_dropout": 0.0},
    "training": {"max_steps": 3, "batch_size": 2, "threads": 1, "average": "none"}, "head": {"window": 9},
    "decoding": {"max_length": 7}}
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    **{cell: {"decoder": {"cell": cell}} for cell in CELLS}, "one-hot": {"head": {"one_hot": True}},
    "tied": {"head": {"tie_embeddings": "output"}, "decoder": {"embedding_size": 6}},
    "deep": {"decoder": {"layers": 2, "residual": True}}}
Opened = Callable[[str], Any]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A trained language model of one of WAYS, opened; each is trained once."""
    folder, found = tmp_path_factory.mktemp("language"), {}
    (folder / "text.txt").write_text(LINES, encoding="utf-8")

    def trained(way: str) -> Any:
        if way not in found:
            values = {name: {**SMALL[name], **WAYS[way].get(name, {})} for name in SMALL}
            run = seqloom.train(folder / "text.txt", preset="lm", out=folder / way, values=values, quiet=True)
            found[way] = seqloom.load(run, engine="torch", device="cpu", threads=1)
        return found[way]

    return trained


def model_of(replay: Any) -> Any:
    model = build_model(replay.run.config, replay.run.source, replay.run.head)
    load_weights(model, {name: torch.from_numpy(array) for name, array in replay.run.weights().items()}, "weights")
    return model.double().eval()


@pytest.mark.parametrize("way", WAYS)
def test_the_reading_is_that_of_the_network(way: str, opened: Opened) -> None:
    """Log-probabilities of every symbol of prompt and answer, gates by the model's own cells, slopes by differences."""
    answer = opened(way).predict("ab\nb", attention=True, strategy="greedy")
    replay = answer.replay
    module = model_of(replay).head
    ids = torch.from_numpy(replay.whole_text)[None]
    assert replay.whole_tokens == ["</s>", "a", "b", "\n", "b", *answer.tokens]
    with torch.no_grad():
        inputs = module.embedding(ids[:, :-1]).double()
        expected = module.output(module.recurrent(inputs, torch.ones_like(ids[:, :-1], dtype=torch.bool))[0])
    np.testing.assert_allclose(replay.reading.log_probabilities, expected[0].log_softmax(1).numpy(), atol=1e-11)
    written = replay.reading.log_probabilities[np.arange(4, len(replay.whole_text) - 1), replay.whole_text[5:]]
    assert written == pytest.approx(answer.token_scores, abs=1e-4)
    gates = gates_of(replay, answer.text, answer.tokens)
    assert [panel.columns for panel in gates.panels] == [replay.whole_tokens[:-1]] * len(gates.panels)
    assert [panel.name for panel in gates.panels] == [f"layer {number + 1}" for number in range(len(gates.panels))]
    own: Any = module.recurrent.layers[0].cells[0]
    state = own.initial_state(1)
    for place in range(inputs.shape[1]):
        with torch.no_grad():
            for name, values in own.gates(own.project(inputs[:, place]), state).items():
                assert gates.panels[0].values[name][place] == pytest.approx(values[0].numpy(), abs=1e-9)
            state = own(inputs[:, place], state)
        assert gates.panels[0].values[STATES[1]][place] == pytest.approx(state.hidden[0].numpy(), abs=1e-9)


@pytest.mark.parametrize("way", ["lstm", "rnn_tanh", "one-hot", "deep"])
def test_gradients_of_a_text_reach_back_and_never_forward(way: str, opened: Opened) -> None:
    answer = opened(way).predict("ab b", attention=True, strategy="greedy")
    replay = answer.replay
    found = gradients_of(replay)
    T = len(replay.whole_text) - 1
    assert found.steps == list(range(T))
    assert found.cut is None
    assert not np.triu(found.norms, 1).any()
    assert (np.tril(found.norms) > 0).sum() == T * (T + 1) // 2
    assert [distance for distance, _ in found.by_distance(found.norms)] == list(range(T))
    # The slope by a state that nothing passes on is that of the output layer: W'(p - e).
    weights = model_of(replay).head.output.weight.detach().numpy()
    for t in (0, T - 1):
        slope = np.exp(replay.reading.log_probabilities[t])
        slope[replay.whole_text[t + 1]] -= 1
        assert found.norms[t, t] == pytest.approx(np.linalg.norm(slope @ weights), rel=1e-6)
    losses, _ = nudged_losses(model_of(replay), replay)
    assert [float(loss.detach()) for loss in losses] == pytest.approx(
        -replay.reading.log_probabilities[np.arange(T), replay.whole_text[1:]])


def test_the_path_of_a_text(opened: Opened) -> None:
    answer = opened("one-hot").predict("ab b", attention=True, strategy="greedy")
    path = path_of(answer.replay)
    sizes = {stage.name: None if stage.array is None else stage.array.shape for stage in path.stages}
    T, V = 4 + len(answer.tokens), opened("one-hot").head.size
    assert sizes == {"tokens": None, "ids": None, "embedding": (T, V), "layer 1": (T, 6), "outputs": (T, 6),
                     "expected": None, "answer": None}
    shares = [float(row.split("→")[1]) for row in next(one for one in path.stages if one.name == "answer").rows]
    assert [math.log(share) for share in shares[4:]] == pytest.approx(answer.token_scores, abs=0.02)
    document = json.loads(path_json(path, answer, "ab b"))
    assert document["padding"] is None
    assert document["reversal"] is None
    assert document["context"] == {"own": "language", "modes": []}
    picture = ElementTree.fromstring(path_svg(path, answer, "ab b"))
    assert len(picture.findall(".//{*}rect")) == 1 + 2 * T
    page = path_html(path, answer, "ab b").decode()
    assert "each step reads a symbol and says the next" in page
    assert "What padding does" not in page


@pytest.mark.parametrize(("arguments", "view"), [
    (["--steps"], "language"), (["--reverse"], "language"), (["--force", "1=a"], "language")])
def test_views_that_a_language_model_has_not(arguments: list[str], view: str, opened: Opened, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    run = str(opened("lstm").run.folder)
    with pytest.raises(SystemExit) as caught:
        main(["explain", run, "ab", *arguments, "-o", str(tmp_path / "x.html"), "--quiet", "--engine", "torch"])
    assert caught.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"answers with head.kind {view}: this view is of head.kind sequence" in said
    assert "--gates and --path" in said


def test_pages_of_a_text_in_a_browser(opened: Opened, tmp_path: Path) -> None:
    """By the command, at a phone's width; a line end and Hangul among the columns."""
    run = str(opened("lstm").run.folder)
    for view, options in (("gates", ["--gates", "--gradients"]), ("path", ["--path"])):
        with pytest.raises(SystemExit) as caught:
            main(["explain", run, "ab\n가나", *options, "-o", str(tmp_path / f"{view}.html"), "--quiet",
                  "--engine", "torch"])
        assert not caught.value.code
    with Browser(390, 800) as page:
        for view in ("gates", "path"):
            page.open(tmp_path / f"{view}.html")
            assert page.problems == []
            assert page.overflow() == 0
            assert "가" in page.text("main")
        page.open(tmp_path / "gates.html")
        assert "Gradients by distance" in page.text("main")


@pytest.fixture(scope="module", params=["tags", "label"])
def classes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tagger and a classifier."""
    folder = tmp_path_factory.mktemp(request.param)
    answers = {"tags": "x y x", "label": "x"}
    lines = [f"a b a\t{answers[request.param]}\n", f"b a b\t{answers[request.param].replace('x', 'z')}\n"] * 6
    (folder / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    run = seqloom.train(folder / "pairs.tsv", valid=folder / "pairs.tsv", out=folder / "run", quiet=True, values={
        "source": {"embedding_size": 4}, "encoder": {"hidden_size": 5, "bidirectional": False},
        "head": {"kind": request.param}, "training": {"max_steps": 3, "threads": 1}})
    return seqloom.load(run, engine="torch", device="cpu", threads=1)


def test_cells_of_taggers_and_classifiers(classes: Any) -> None:
    answer = classes.predict("a b a", attention=True)
    gates = gates_of(answer.replay, answer.text, answer.tokens)
    (panel,) = gates.panels
    assert panel.name == "encoder layer 1, forwards"
    encoded = classes.encode(["a b a"])[0]
    np.testing.assert_allclose(panel.values[STATES[1]], encoded["states"], atol=1e-5)
    slopes = gradients_of(answer.replay)
    assert slopes.norms.shape == (len(answer.tokens), len(encoded["states"]))
    losses, _ = nudged_losses(model_of(answer.replay), answer.replay)
    assert [-float(loss.detach()) for loss in losses] == pytest.approx(np.asarray(answer.token_scores), abs=1e-5)
    if classes.head.kind == "tags":
        assert slopes.distances.tolist() == [[max(t - s, -1) for s in range(4)] for t in range(3)]
        assert not slopes.norms[slopes.distances < 0].any()
    else:
        assert slopes.distances.tolist() == [[4, 3, 2, 1]]
    run = [Microscope(gates, slopes)]
    assert json.loads(gates_json(run, answer, "a b a"))["runs"][0]["context"] == "none"
    assert "Gradients by distance" in gates_html(run, answer, "a b a").decode()
    with pytest.raises(UsageError, match=f"answers with head.kind {classes.head.kind}: this view is of"):
        path_of(answer.replay)
