"""The NumPy reference against the torch model in float64: every pair of options, every cell, score and combination."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from pairs import covering_cases
from seqloom.data.batching import pad
from seqloom.engines.torch import to_tensors
from seqloom.errors import ConfigError, RunFolderError, UsageError
from seqloom.insight.attention import SCORERS, cosines
from seqloom.insight.cells import RULES, sigmoid
from seqloom.insight.hard_attention import network_of as network_from
from seqloom.insight.network import Network, check_attention, check_covered
from seqloom.insight.normalization import NORMALIZERS
from seqloom.insight.weights import Weights
from seqloom.model import stored_weights
from seqloom.nn.cells import CELLS
from seqloom.nn.normalization import NORMALIZATIONS
from seqloom.nn.scores import SCORES
from seqloom.types import START
from tiny import CPU, TRIALS, Tiny, config_of, settings, tiny

FACTORS: dict[str, list[Any]] = {
    "context": ["attention", "every_step", "initial", "in_step"], "cell": list(CELLS), "decoder_cell": list(CELLS),
    "score": list(SCORES), "score_layers": [1, 2], "combination": ["tanh", "concat"], "query": ["current", "previous"],
    "feeding": [True, False], "bridge": ["affine", "copy", "zero"], "layers": [1, 2], "bidirectional": [False, True],
    "residual": [False, True], "copying": [False, True], "coverage": [False, True],
    "kind": ["soft", "hard", "hard_monotonic"], "jumps": [4, 0],
    "features": ["none", "symbols", "encoder", "embedding"], "tie": ["none", "output", "all"],
    "normalization": list(NORMALIZATIONS), "window": [None, 2], "output": list(NORMALIZATIONS),
}


def valid(case: dict[str, Any]) -> bool:
    try:
        config_of(settings(**case))
    except ConfigError:
        return False
    return True


CASES, _ = covering_cases(FACTORS, valid)


def network_of(task: Tiny) -> Network:
    """The reference over what a run folder would store, without its rounding to float32."""
    kept = dict(task.model.named_parameters(remove_duplicate=True))
    assert set(kept) == set(stored_weights(task.model))
    return network_from(task.config, Weights({name: kept[name].detach().numpy() for name in kept}, task.config))


def test_every_cell_and_score_has_its_reference() -> None:
    assert set(RULES) == set(CELLS)
    assert set(SCORERS) == set(SCORES)
    assert set(NORMALIZERS) == set(NORMALIZATIONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_each_step_is_that_of_the_model(case: dict[str, Any]) -> None:
    compare(tiny(**case, dtype=torch.float64))


@pytest.mark.parametrize("context", ["attention", "every_step", "initial"])
def test_the_source_as_first_input(context: str) -> None:
    values = settings(context=context, bridge="zero", decoder={})
    values["decoder"] = {**settings(context=context)["decoder"], "first_input": True}
    compare(tiny(values, dtype=torch.float64))


@pytest.mark.parametrize("features", ["none", "symbols", "encoder", "embedding"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_characters_of_each_symbol(cell: str, features: str) -> None:
    compare(tiny(cell=cell, features=features, characters=True, bidirectional=True, layers=2, dtype=torch.float64))


def compare(task: Tiny) -> None:
    """Memory, states, weights and distribution of every step, each sentence with its gold history."""
    network = network_of(task)
    for example in TRIALS:
        item = task.item(example)
        target = task.head.read(example, item).fields["main"]
        with torch.no_grad():
            memory = task.model.eval().encode(to_tensors(pad([item]), CPU))
            encoded = network.encode(item)
            for ours, theirs in ((encoded.values, memory.values), (encoded.hidden, memory.hidden),
                                 (encoded.cell, memory.cell)):
                same(ours, None if theirs is None else theirs[0])
            begun, state = task.model.head.begin(memory)
            ours, keys = network.begin(encoded), network.keys(encoded)
            for token in target[:-1]:
                expected, weights, state = task.model.head.step(begun, state, torch.tensor([[int(token)]]))
                trace, ours = network.step(encoded, keys, ours, int(token))
                assert trace.history == token
                same(trace.log_probabilities, expected[0, 0])
                same(trace.weights, None if weights is None else weights[0, 0])
                same(ours.hidden, state.hidden[0, 0])
                same(ours.cell, None if state.cell is None else state.cell[0, 0])


def same(ours: Any, theirs: torch.Tensor | None) -> None:
    assert (ours is None) == (theirs is None)
    if theirs is not None:
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("score", list(SCORES))
def test_padding_changes_nothing(cell: str, score: str) -> None:
    """States, summary and weights with three positions of padding; the weights there are exactly 0."""
    task = tiny(cell=cell, score=score, bidirectional=True, layers=2)
    network, item = network_of(task), task.item(TRIALS[2])
    alone, padded = network.encode(item), network.encode(item, padding=3)
    S = item.length
    np.testing.assert_array_equal(padded.values[S:], 0)
    np.testing.assert_allclose(padded.values[:S], alone.values, rtol=0, atol=1e-14)
    np.testing.assert_allclose(padded.hidden, alone.hidden, rtol=0, atol=1e-14)
    carried = padded.layers[0][0].hidden
    np.testing.assert_array_equal(carried[S:], np.repeat(carried[S - 1:S], 3, 0))
    one, _ = network.step(alone, network.keys(alone), network.begin(alone), START)
    other, _ = network.step(padded, network.keys(padded), network.begin(padded), START)
    assert one.weights is not None
    assert other.weights is not None
    np.testing.assert_array_equal(other.weights[S:], 0)
    np.testing.assert_allclose(other.weights[:S], one.weights, rtol=0, atol=1e-13)
    np.testing.assert_allclose(other.logits, one.logits, rtol=0, atol=1e-12)


def test_an_edited_weight_changes_the_value_and_nothing_before_it() -> None:
    task = tiny()
    network, item = network_of(task), task.item(TRIALS[0])
    encoded = network.encode(item)
    state, keys = network.begin(encoded), network.keys(encoded)
    only_first = np.eye(item.length)[0]
    plain, _ = network.step(encoded, keys, state, START)
    edited, _ = network.step(encoded, keys, state, START, lambda weights: only_first)
    assert plain.attended is not None
    assert edited.attended is not None
    np.testing.assert_array_equal(edited.attended.scores, plain.attended.scores)
    np.testing.assert_allclose(edited.attended.value, encoded.values[0], atol=1e-15)
    assert np.abs(edited.logits - plain.logits).max() > 1e-3


def test_small_parts() -> None:
    assert sigmoid(np.array([0.0, 800.0, -800.0])).tolist() == [0.5, 1.0, 0.0]
    assert NORMALIZERS["softmax"].weights(np.array([1000.0, 1000.0 + np.log(3.0)])) == pytest.approx([0.25, 0.75])
    found = cosines(np.array([3.0, 4.0]), np.array([[6.0, 8.0], [-4.0, 3.0], [0.0, 0.0], [3.0, 0.0]]))
    assert found == pytest.approx([1.0, 0.0, 0.0, 0.6])


def test_a_missing_weight_is_told() -> None:
    task = tiny()
    arrays = {name: parameter.detach().numpy() for name, parameter in task.model.named_parameters()}
    del arrays["head.output.bias"], arrays["head.output.weight"]
    network = Network(task.config, Weights(arrays, task.config, "model.safetensors"))
    encoded = network.encode(task.item(TRIALS[0]))
    with pytest.raises(RunFolderError, match=r"head\.output\.weight is missing"):
        network.step(encoded, network.keys(encoded), network.begin(encoded), START)


@pytest.mark.parametrize(("values", "message"), [
    ({"head": {"kind": "tags"}, "source": {"kind": "text"}}, "answers with head.kind tags"),
    ({"source": {"kind": "image"}}, "reads source.kind image"),
])
def test_what_is_not_covered_is_refused(values: dict[str, Any], message: str) -> None:
    from seqloom.config.sections import Config

    with pytest.raises(UsageError, match=message):
        check_covered(Config.model_validate(values))


@pytest.mark.parametrize("kind", ["hard", "hard_monotonic"])
def test_hard_attention_has_not_the_four_steps(kind: str) -> None:
    task = tiny(kind=kind, feeding=False)
    with pytest.raises(UsageError, match=rf"\(decoder.attention.kind: {kind}\): there is no attention value") as caught:
        check_attention(task.config)
    assert "--path" in caught.value.fix
    check_attention(tiny(kind=kind, feeding=False, context="initial").config)
