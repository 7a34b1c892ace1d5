"""The contract of BRIDGES, and each by its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from seqloom.nn.bridge import BRIDGES, AffineBridge, Bridge
from seqloom.nn.memory import Memory
from tiny import normal, randomise

B, SIZE = 3, 4

every_bridge = pytest.mark.parametrize("name", BRIDGES)


def memory_of(layers: int = 2, *, cell: bool = True, size: int = SIZE) -> Memory:
    mask = torch.ones(B, 1, dtype=torch.bool)
    return Memory(normal(B, 1, size), mask, normal(B, layers, size, seed=2),
                  normal(B, layers, size, seed=3) if cell else None)


def bridge_of(name: str, layers: int = 2, *, cell_state: bool = True, memory_cell: bool = True,
              hidden_size: int = SIZE) -> Bridge:
    bridge = BRIDGES[name](SIZE, hidden_size, layers, cell_state=cell_state, memory_cell=memory_cell).double()
    randomise(bridge)
    return bridge


@every_bridge
@pytest.mark.parametrize("encoder_layers", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_every_layer_of_the_decoder_gets_a_state(name: str, layers: int, encoder_layers: int) -> None:
    hidden, cell = bridge_of(name, layers)(memory_of(encoder_layers))
    assert hidden.shape == (B, layers, SIZE)
    assert cell is not None
    assert cell.shape == (B, layers, SIZE)


@every_bridge
def test_no_cell_state_for_a_decoder_without(name: str) -> None:
    bridge = bridge_of(name, cell_state=False)
    assert bridge(memory_of())[1] is None
    assert not any("cell" in weight for weight, _ in bridge.named_parameters())


@every_bridge
def test_every_parameter_gets_a_gradient(name: str) -> None:
    bridge, memory = bridge_of(name), memory_of()
    hidden, cell = bridge(memory._replace(hidden=memory.hidden.clone().requires_grad_()))
    ((hidden + cell) * normal(B, 2, SIZE, seed=5)).sum().requires_grad_().backward()
    for weight, parameter in bridge.named_parameters():
        assert parameter.grad is not None, weight
        assert parameter.grad.all(), weight


def layer_map(encoder_layers: int, layers: int) -> list[int]:
    """Layer l from layer l; from the top one where the encoder has fewer."""
    return [min(layer, encoder_layers - 1) for layer in range(layers)]


@pytest.mark.parametrize(("encoder_layers", "layers"), [(1, 3), (2, 2), (3, 1)])
def test_copy_takes_the_states_as_they_are(encoder_layers: int, layers: int) -> None:
    memory = memory_of(encoder_layers)
    hidden, cell = bridge_of("copy", layers)(memory)
    assert memory.cell is not None
    for layer, below in enumerate(layer_map(encoder_layers, layers)):
        assert torch.equal(hidden[:, layer], memory.hidden[:, below])
        assert torch.equal(cell[:, layer], memory.cell[:, below])


@pytest.mark.parametrize(("encoder_layers", "layers"), [(1, 3), (2, 2), (3, 1)])
def test_affine_is_the_formula(encoder_layers: int, layers: int) -> None:
    """tanh(W s + b), with weights of their own for hidden and cell; another size on the decoder's side."""
    memory = memory_of(encoder_layers)
    bridge = bridge_of("affine", layers, hidden_size=6)
    assert isinstance(bridge, AffineBridge)
    assert bridge.cell is not None
    hidden, cell = bridge(memory)
    assert memory.cell is not None

    def affine(weight: Tensor, bias: Tensor, state: Tensor) -> Tensor:
        return (torch.einsum("hm,bm->bh", weight, state) + bias).tanh()

    for layer, below in enumerate(layer_map(encoder_layers, layers)):
        expected = affine(bridge.hidden.weight, bridge.hidden.bias, memory.hidden[:, below])
        torch.testing.assert_close(hidden[:, layer], expected)
        expected = affine(bridge.cell.weight, bridge.cell.bias, memory.cell[:, below])
        torch.testing.assert_close(cell[:, layer], expected)


def test_zero_is_zero() -> None:
    hidden, cell = bridge_of("zero")(memory_of())
    assert not hidden.any()
    assert not cell.any()


def test_the_cell_comes_from_the_hidden_state_where_the_encoder_has_none() -> None:
    memory = memory_of(cell=False)
    bridge = bridge_of("affine", memory_cell=False)
    assert isinstance(bridge, AffineBridge)
    assert bridge.cell is not None
    _, cell = bridge(memory)
    torch.testing.assert_close(cell, torch.tanh(bridge.cell(memory.hidden)))
