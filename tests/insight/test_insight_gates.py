"""Gates against the cells' own; gradients against finite differences and the loss that training has; clipping."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from seqloom.data.batching import pad
from seqloom.engines.torch import to_tensors
from seqloom.errors import MissingExtraError
from seqloom.insight.gates import STATES, clipping_of, gates_of
from seqloom.insight.gradients import gradients_of, losses_of, nudged_memory
from seqloom.nn.cells import CELLS
from seqloom.plots.gates_page import Microscope, gates_html, gates_json
from seqloom.predictor import Predictor, load_predictor
from seqloom.run import open_run
from tiny import CPU, Tiny

RunOf = Callable[..., tuple[Path, Tiny]]


@pytest.mark.parametrize("cell", list(CELLS))
def test_gates_are_those_of_the_cells(cell: str, run_of: RunOf) -> None:
    """Every gate of the encoder, both directions, by the model's own cells; states that follow from them."""
    folder, task = run_of(cell=cell, bidirectional=True)
    answer = load_predictor(folder, engine="torch").predict("b c x e")
    gates = gates_of(answer.replay, answer.text)
    layer = task.model.encoder.recurrent.layers[0]  # type: ignore[union-attr, index]
    ids = to_tensors(pad([answer.replay.item]), CPU).main
    for way, panel in enumerate(gates.panels[:2]):
        own: Any = layer.cells[way]
        assert set(panel.values) == {*own.gate_names, STATES[1], *([STATES[0]] if own.has_cell_state else [])}
        with torch.no_grad():
            inputs = task.model.encoder.embedding(ids)[0]  # type: ignore[union-attr, operator]
            state, S = own.initial_state(1), len(inputs)
            for s in reversed(range(S)) if way else range(S):
                for name, values in own.gates(own.project(inputs[s:s + 1]), state).items():
                    assert panel.values[name][s] == pytest.approx(values[0].numpy(), abs=1e-5)
                state = own(inputs[s:s + 1], state)
                assert panel.values[STATES[1]][s] == pytest.approx(state.hidden[0].numpy(), abs=1e-5)
    decoder = gates.panels[2]
    assert decoder.columns == ["<s>", *answer.tokens][: len(answer.token_scores)]
    assert decoder.values[STATES[1]].shape == (len(answer.token_scores), 6)


@pytest.mark.parametrize("options", [
    {}, {"cell": "gru", "bidirectional": True, "layers": 2, "residual": True}, {"context": "every_step"},
    {"cell": "rnn_tanh", "context": "initial"}, {"copying": True, "features": "encoder"}, {"context": "in_step"},
    {"characters": True, "bidirectional": True}, {"kind": "hard_monotonic", "feeding": False, "features": "embedding"}],
    ids=lambda options: "-".join(map(str, options.values())) or "attention")
def test_gradients_are_slopes_of_the_loss(options: dict[str, Any], run_of: RunOf) -> None:
    folder, task = run_of(**options)
    predictor = load_predictor(folder, engine="torch")
    given: Any = {"source": "b c x e", "features": "PRS"} if "features" in predictor.source.roles else "b c x e"
    answer = predictor.predict(given, min_length=2)
    found = gradients_of(answer.replay)
    model = task.model.double().eval()
    memory, nudges = nudged_memory(model, answer.replay)
    encoded = model.encode(to_tensors(pad([answer.replay.item]), CPU))
    assert torch.allclose(memory.values, encoded.values, atol=1e-12)
    assert torch.allclose(memory.hidden, encoded.hidden, atol=1e-12)
    written = answer.replay.written
    losses = losses_of(model, memory, written)
    assert [-float(loss.detach()) for loss in losses] == pytest.approx(answer.token_scores, abs=1e-4)
    t, s, small = len(written) - 1, 1, 1e-5
    slopes = [difference(model, answer.replay, t, way, s, unit, small)
              for way in range(len(nudges)) for unit in range(nudges[way][s].shape[1])]
    assert found.norms[found.steps.index(t), s] == pytest.approx(np.linalg.norm(slopes), rel=1e-4, abs=1e-9)
    assert (found.cut is None) == (options.get("context", "attention") != "attention")


def difference(model: Any, replay: Any, t: int, way: int, s: int, unit: int, small: float) -> float:
    """The slope of loss t by one number of one state, from two nearby losses."""
    ends = []
    for sign in (1, -1):
        original = torch.zeros_like
        made = [0]

        def nudged(like: torch.Tensor, sign: int = sign, made: list[int] = made, original: Any = original,
                   **options: Any) -> torch.Tensor:
            """Not zero at the one place; the zeros come in order of layer, direction, and reading."""
            S, layers = replay.item.length, len(model.encoder.recurrent.layers)
            ways = len(model.encoder.recurrent.layers[0].cells)
            place = (S - 1 - s) if way else s
            fresh: torch.Tensor = original(like)
            if made[0] == ((layers - 1) * ways + way) * S + place:
                fresh[0, unit] = sign * small
            made[0] += 1
            return fresh.requires_grad_()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "zeros_like", nudged)
            memory, _ = nudged_memory(model, replay)
        ends.append(float(losses_of(model, memory, replay.written)[t].detach()))
    return (ends[0] - ends[1]) / (2 * small)


def test_without_attention_the_cut_and_the_whole_are_one_way(predictor_of: Callable[..., Predictor]) -> None:
    """The values cut off, what is left goes through the summary, hence never grows when the way is longer by more."""
    answer = predictor_of(cell="rnn_tanh").predict("a b c d e f", min_length=2)
    found = gradients_of(answer.replay)
    assert found.cut is not None
    assert found.cut.shape == found.norms.shape == (len(found.steps), answer.replay.item.length)
    assert not np.allclose(found.cut, found.norms)
    distances = [distance for distance, _ in found.by_distance(found.norms)]
    assert distances == list(range(1, answer.replay.item.length + len(answer.token_scores)))


def test_gradients_without_torch_name_the_extra(predictor_of: Callable[..., Predictor],
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    replay = predictor_of().predict("a b").replay
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="--gradients needs the package 'torch'"):
        gradients_of(replay)


def test_clipping_is_read_from_the_metrics(run_of: RunOf) -> None:
    folder, _ = run_of()
    assert clipping_of(open_run(folder)).shares == []
    (folder / "metrics.jsonl").write_text('{"step": 5, "clipped_share": 0.75}\n{"step": 9}\n'
                                          '{"step": 10, "clipped_share": 0.5}\n', encoding="utf-8")
    assert clipping_of(open_run(folder)).shares == [(5, 0.75), (10, 0.5)]
    answer = load_predictor(folder, engine="torch").predict("a b")
    found = Microscope(gates_of(answer.replay, answer.text), None)
    assert "in 75.0 % of the updates before the first validation" in gates_html([found], answer, "a b").decode()


def test_documents_hold_all_runs(predictor_of: Callable[..., Predictor]) -> None:
    answers = [predictor_of(cell=cell, context=context).predict("a b c") for cell, context in
               (("lstm", "attention"), ("gru", "initial"), ("rnn_relu", "in_step"))]
    runs = [Microscope(gates_of(one.replay, one.text), gradients_of(one.replay)) for one in answers]
    document = json.loads(gates_json(runs, answers[0], "a b c"))
    assert [[cell["cell"] for cell in run["cells"]] for run in document["runs"]] == [
        ["lstm", "lstm"], ["gru", "gru"], ["rnn_relu"]]
    assert document["runs"][1]["gradients"]["without_attention"] is None
    page = gates_html(runs, answers[0], "a b c").decode()
    assert page.count("Gradients by distance") == 3
    assert page.count("<canvas") == 2 * 6 + 2 * 4 + 2
