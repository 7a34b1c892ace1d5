"""Building, initialising, tying, storing and loading a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seqloom.errors import DataError, RunFolderError
from seqloom.heads.sequence import Head
from seqloom.model import Model, build_model, insert_pretrained, load_weights, stored_weights
from seqloom.nn.cells import Cell
from seqloom.sources.text import Source
from seqloom.types import PADDING
from tiny import TRAINING, TRIALS, Tiny, config_of, gradients, settings, tiny


def build(seed: int | None = 7, **options: Any) -> Model:
    """A model as training builds it: with its own initialisation."""
    task = tiny(**options)
    return build_model(task.config, task.source, task.head, seed=seed)


def weights_of(model: Model) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters(remove_duplicate=False)}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"score": "concat", "cell": "gru", "copying": True}, {"context": "in_step"}])
def test_same_seed_same_weights(options: dict[str, Any]) -> None:
    first = weights_of(build(7, **options))
    torch.rand(10)
    assert_equal(first, weights_of(build(7, **options)))
    other = weights_of(build(8, **options))
    matrices = [name for name, weight in first.items() if weight.dim() == 2]
    assert not any(torch.equal(first[name], other[name]) for name in matrices)


def test_building_with_a_seed_leaves_random_numbers_elsewhere_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build(7)
    assert torch.equal(torch.rand(4), expected)


def test_without_a_seed_the_common_random_numbers_count() -> None:
    torch.manual_seed(3)
    first = weights_of(build(None))
    assert not torch.equal(first["encoder.embedding.weight"], weights_of(build(None))["encoder.embedding.weight"])
    torch.manual_seed(3)
    assert_equal(first, weights_of(build(None)))


# --- initialisation --------------------------------------------------------------------------------------------------


def test_states_are_multiplied_by_orthogonal_matrices() -> None:
    for module in build().modules():
        if isinstance(module, Cell):
            for weight in module.weight_hidden.detach().chunk(len(module.gate_names)):
                torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), rtol=0, atol=1e-5)


def test_inputs_are_multiplied_by_numbers_of_their_fan() -> None:
    """Glorot & Bengio 2010, eq. 16, gate by gate: uniform within √(6 / (in + out)), and filling that range."""
    found = 0
    for module in build(encoder={"hidden_size": 32}).encoder.modules():
        if isinstance(module, Cell):
            found += 1
            for weight in module.weight_input.detach().chunk(len(module.gate_names)):
                bound = (6 / sum(weight.shape)) ** 0.5
                assert 0.8 * bound < weight.abs().max() <= bound
    assert found


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_forget_gates_begin_open_and_other_biases_at_zero(cell: str) -> None:
    for name, weight in weights_of(build(cell=cell, layers=2, copying=True)).items():
        if not name.endswith(("bias", "bias_input", "bias_hidden")):
            continue
        expected = torch.zeros_like(weight)
        if cell == "lstm" and name.endswith("bias_input"):
            quarter = len(weight) // 4
            expected[quarter : 2 * quarter] = 1  # input, forget, candidate, output
        assert torch.equal(weight, expected), name


def test_the_embedding_of_padding_is_zero() -> None:
    for name, weight in weights_of(build(features="encoder")).items():
        if "embedding" in name:
            assert not weight[PADDING].any()
            assert weight[1:].any(1).all()


# --- shared weights --------------------------------------------------------------------------------------------------


def test_nothing_is_shared_unless_asked() -> None:
    model = build()
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(addresses) == len(set(addresses))
    assert model.head.output.weight is not model.head.decoder.embedding.weight


@pytest.mark.parametrize("context", ["attention", "every_step"])
def test_tied_output_is_the_target_embedding(context: str) -> None:
    model = build(tie="output", context=context)
    assert model.head.output.weight is model.head.decoder.embedding.weight
    assert model.encoder.embedding.weight is not model.head.decoder.embedding.weight


def test_tied_all_is_one_matrix() -> None:
    model = build(tie="all")
    assert model.head.output.weight is model.head.decoder.embedding.weight is model.encoder.embedding.weight


@pytest.mark.parametrize("mode", ["symbols", "encoder"])
def test_features_of_a_source_with_a_shared_vocabulary_are_no_answers(mode: str) -> None:
    task = tiny(features=mode, head={"share_vocabulary": True})
    features = task.source.tokenizer.features
    assert features == ["3", "PL", "PRS", "PST", "SG"]
    assert task.head.tokenizer.features == []
    assert task.source.tokenizer.symbols == task.head.tokenizer.symbols
    assert task.model.encoder.embedding.weight.shape[0] == task.model.head.output.weight.shape[0] + len(features)


@pytest.mark.parametrize("tie", ["output", "all"])
def test_a_shared_matrix_learns_from_all_its_uses(tie: str) -> None:
    """Its gradient is the sum of those of the same network with matrices of its own."""
    shared = tiny(tie=tie, dtype=torch.float64)
    own_head = Head(shared.config.head.model_copy(update={"tie_embeddings": "none"}), shared.head.tokenizer)
    apart = build_model(config_of(settings()).model_copy(update={
        "source": shared.config.source, "decoder": shared.config.decoder}), shared.source, own_head).double()
    for name, parameter in apart.named_parameters():
        parameter.data.copy_(dict(shared.model.named_parameters(remove_duplicate=False))[name])
    batch = shared.batch(TRAINING)
    loss, other = shared.model.eval()(batch), apart.eval()(batch)
    torch.testing.assert_close(loss.total, other.total)
    found, parts = gradients(loss.total, shared.model), gradients(other.total, apart)
    uses = ["head.decoder.embedding.weight", "head.output.weight"]
    uses += ["encoder.embedding.weight"] if tie == "all" else []
    name = uses[-1] if tie == "all" else uses[0]
    torch.testing.assert_close(found[name], sum(parts[use] for use in uses))


# --- storing and loading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tie", "fewer"), [("none", 0), ("output", 1), ("all", 2)])
def test_stored_weights_hold_a_shared_matrix_once(tie: str, fewer: int) -> None:
    model = build(tie=tie)
    stored = stored_weights(model)
    assert len(stored) == len(weights_of(model)) - fewer
    assert sum(weight.numel() for weight in stored.values()) == model.parameter_count()
    assert len({weight.data_ptr() for weight in stored.values()}) == len(stored)
    for weight in stored.values():
        assert weight.is_contiguous()
        assert not weight.requires_grad
        assert (weight.dtype, weight.device.type) == (torch.float32, "cpu")


@pytest.mark.parametrize("tie", ["none", "output", "all"])
def test_stored_weights_make_the_same_model_again(tie: str) -> None:
    first, second = build(1, tie=tie), build(2, tie=tie)
    load_weights(second, stored_weights(first), "model.safetensors")
    assert_equal(weights_of(first), weights_of(second))


def test_parameters_are_counted_by_hand() -> None:
    """The baseline in step: an embedding, an LSTM of one layer, an output layer."""
    task = tiny(context="in_step")
    ids, target_ids = task.source.tokenizer.size, task.head.tokenizer.size
    lstm = 4 * 8 * (4 + 8 + 1 + 1)  # embedding of 4, state of 8, two biases
    assert task.model.parameter_count() == ids * 4 + lstm + target_ids * 8 + target_ids


def test_loading_names_what_is_missing_and_unexpected() -> None:
    model = build()
    weights = stored_weights(model)
    weights["head.decoder.other"] = weights.pop("head.output.bias")
    with pytest.raises(RunFolderError, match=r"(?s)run/model.*weights do not fit the configuration: missing "
                                             r"\['head.output.bias'\], unexpected \['head.decoder.other'\].*fix: "):
        load_weights(model, weights, "run/model.safetensors")


def test_loading_names_the_weight_of_another_shape() -> None:
    model = build()
    weights = stored_weights(model) | {"head.output.bias": torch.zeros(3)}
    with pytest.raises(RunFolderError, match=r"(?s)run/model.*head.output.bias has shape \(3,\), "
                                             r"the configuration says \(\d+,\).*fix: "):
        load_weights(model, weights, "run/model.safetensors")


# --- pretrained vectors ----------------------------------------------------------------------------------------------

VECTORS = "a 1 2 3 4 5\nc 5 4 3 2 1\nzebra 9 9 9 9 9\n"


def with_vectors(tmp_path: Path, *, freeze: bool = False, vectors: str = VECTORS, **options: Any) -> Tiny:
    path = tmp_path / "vectors.txt"
    path.write_text(vectors, encoding="utf-8")
    given = settings(**options)
    given["source"] |= {"embedding_size": 5, "pretrained": {"path": str(path), "freeze": freeze}}
    given["head"] |= {"pretrained": {"path": str(path), "freeze": freeze}}
    config = config_of(given)
    source, head = Source.fit(config.source, TRAINING), Head.fit(config, TRAINING)
    return Tiny(config, source, head, build_model(config, source, head, seed=1))


@pytest.mark.parametrize("features", ["none", "symbols", "encoder", "embedding"])
def test_vectors_go_to_the_rows_of_their_symbols(tmp_path: Path, features: str) -> None:
    """Each symbol's row, with feature symbols behind the symbols of the text or without; all others stay."""
    task = with_vectors(tmp_path, features=features)
    before = {name: weight.clone() for name, weight in weights_of(task.model).items()}
    reports = insert_pretrained(task.model, task.source, task.head)
    assert any("source" in line for line in reports)
    assert any("target" in line for line in reports)
    for name, tokenizer in (("encoder.embedding.weight", task.source.tokenizer),
                            ("head.decoder.embedding.weight", task.head.tokenizer)):
        expected = before[name]
        expected[tokenizer.id("a")] = torch.tensor([1.0, 2, 3, 4, 5])
        expected[tokenizer.id("c")] = torch.tensor([5.0, 4, 3, 2, 1])
        assert torch.equal(weights_of(task.model)[name], expected)


@pytest.mark.parametrize("freeze", [False, True])
def test_frozen_vectors_get_no_gradient(tmp_path: Path, freeze: bool) -> None:
    task = with_vectors(tmp_path, freeze=freeze)
    insert_pretrained(task.model, task.source, task.head)
    task.model(task.batch(TRIALS[:1])).total.backward()
    for weight in (task.model.encoder.embedding.weight, task.model.head.decoder.embedding.weight):
        assert (weight.grad is None) == freeze
    assert task.model.head.output.weight.grad is not None
    load_weights(task.model, stored_weights(task.model), "again")


def test_vectors_of_another_size_are_refused(tmp_path: Path) -> None:
    task = with_vectors(tmp_path, vectors="a 1 2 3\nb 1 2 3\n")
    with pytest.raises(DataError, match=r"(?s)vectors.txt: vectors of size 3, but embedding_size is 5.*"
                                        r"fix: set embedding_size to 3"):
        insert_pretrained(task.model, task.source, task.head)


def test_vectors_without_an_embedding_are_told(tmp_path: Path) -> None:
    task = with_vectors(tmp_path, context="in_step")
    reports = insert_pretrained(task.model, task.source, task.head)
    assert any(line.startswith("target embeddings: there are none with decoder.context in_step") for line in reports)
    assert not any("target" in line and "found" in line for line in reports)


def test_without_vectors_nothing_is_inserted() -> None:
    task = tiny()
    before = {name: weight.clone() for name, weight in weights_of(task.model).items()}
    assert insert_pretrained(task.model, task.source, task.head) == []
    assert_equal(before, weights_of(task.model))
