"""How much an output token's loss depends on the encoder's state at each source position: |d loss_t / d h_s|.

Bengio et al. 1994; Pascanu et al. 2013, eq. 5: through a recurrence these derivatives are products with one factor for
each step, which vanish or explode with the distance. Attention is a way around. Needs torch, which is imported here
only when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqloom.errors import MissingExtraError
from seqloom.insight import Replay
from seqloom.run import WEIGHTS
from seqloom.types import START, Floats

if TYPE_CHECKING:
    from torch import Tensor

MOST = 24  # output tokens whose loss is followed back; of longer answers evenly chosen ones


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """norms [T S]: |d loss_t / d h_s| over both directions; cut [T S]: without the way through attention.

    steps [T]: which output tokens, from 0. `cut` is None for runs without attention: there is no other way.
    """

    steps: list[int]
    norms: Floats
    cut: Floats | None

    def by_distance(self, norms: Floats) -> list[tuple[int, float]]:
        """(steps of the recurrence from reading s to writing t, mean norm): S − s encoder and t decoder steps."""
        S = norms.shape[1]
        found: dict[int, list[float]] = {}
        for row, t in enumerate(self.steps):
            for s in range(S):
                found.setdefault(S - s + t, []).append(float(norms[row, s]))
        return [(distance, float(np.mean(found[distance]))) for distance in sorted(found)]


def gradients_of(replay: Replay) -> Gradients:
    """The gradients for the answer's own tokens. Raises MissingExtraError without torch, UsageError, RunFolderError."""
    written, attends = replay.written, replay.network.context == "attention"
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train", "--gradients") from None
    from seqloom.model import build_model, load_weights

    run = replay.run
    model = build_model(run.config, run.source, run.head)
    load_weights(model, {name: torch.from_numpy(array) for name, array in run.weights().items()},
                 str(run.folder / WEIGHTS))
    model.double().eval()
    count = len(written)
    chosen = sorted({round(place * (count - 1) / max(min(count, MOST) - 1, 1)) for place in range(min(count, MOST))})
    found = [_norms(model, replay, chosen, cut=cut) for cut in ((False, True) if attends else (False,))]
    return Gradients(chosen, found[0], found[1] if attends else None)


def _norms(model: Any, replay: Replay, chosen: list[int], *, cut: bool) -> Floats:
    """[T S] norms; `cut`: the values are constants for attention, so that only the last states carry gradients."""
    import torch

    memory, nudges = nudged_memory(model, replay)
    if cut:
        memory = memory._replace(values=memory.values.detach())
    losses = losses_of(model, memory, replay.written)
    rows = []
    for t in chosen:
        if not losses[t].requires_grad:
            rows.append(np.zeros(len(nudges[0])))
            continue
        flat = [nudge for way in nudges for nudge in way]
        slopes = torch.autograd.grad(losses[t], flat, retain_graph=True, allow_unused=True)
        squares = [0.0 if slope is None else float(slope.square().sum()) for slope in slopes]
        rows.append(np.sqrt(np.asarray(squares).reshape(len(nudges), -1).sum(0)))
    return np.stack(rows)


def nudged_memory(model: Any, replay: Replay) -> tuple[Any, list[list[Tensor]]]:
    """The memory, and the zeros that were added to the top layer's hidden states, by direction and position.

    A derivative by such a zero is one by the state itself, through every way on from it: the recurrence too.
    """
    import torch

    from seqloom.data.batching import pad
    from seqloom.engines.torch import to_tensors
    from seqloom.nn.memory import Memory

    encoder, source = model.encoder, to_tensors(pad([replay.item]), torch.device("cpu"))
    stack, S = encoder.recurrent, replay.item.length
    inputs = encoder.embedding(source.main).double()
    hidden, cells, nudges = [], [], []
    for number, layer in enumerate(stack.layers):
        outputs, lasts = [], []
        for way, cell in enumerate(layer.cells):
            state, projected = cell.initial_state(1), cell.project(inputs)
            states, added = [inputs.new_zeros(0)] * S, [inputs.new_zeros(0)] * S
            for s in reversed(range(S)) if way else range(S):
                state = cell.advance(projected[:, s], state)
                added[s] = torch.zeros_like(state.hidden, requires_grad=True)
                state = state._replace(hidden=state.hidden + added[s])
                states[s] = state.hidden
            if number == len(stack.layers) - 1:
                nudges.append(added)
            outputs.append(torch.stack(states, 1))
            lasts.append(state)
        together = torch.cat(outputs, 2)
        inputs = together + inputs if stack.residual and number else together
        hidden.append(torch.cat([last.hidden for last in lasts], 1))
        kept = [last.cell for last in lasts if last.cell is not None]
        if kept:
            cells.append(torch.cat(kept, 1))
    memory = Memory(inputs, torch.ones(1, S, dtype=torch.bool), torch.stack(hidden, 1),
                    torch.stack(cells, 1) if cells else None, source.fields.get("copy"))
    return (memory if encoder.features is None else encoder.features(memory, source)), nudges


def losses_of(model: Any, memory: Any, written: list[int]) -> list[Tensor]:
    """Negative log-probability of each written id, after the ids before it."""
    import torch

    memory, state = model.head.begin(memory)
    losses, history = [], START
    for token in written:
        log_probabilities, _, state = model.head.step(memory, state, torch.tensor([[history]]))
        losses.append(-log_probabilities[0, 0, token])
        history = token
    return losses
