"""How much an output token's loss depends on the state at each position that was read: |d loss_t / d h_s|.

Bengio et al. 1994; Pascanu et al. 2013, eq. 5: through a recurrence these derivatives are products with one factor for
each step, which vanish or explode with the distance. Attention is a way around. Needs torch, which is imported here
only when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from seqloom.config.sections import SequenceHeadConfig
from seqloom.errors import MissingExtraError
from seqloom.insight import Replay
from seqloom.insight.network import check_source
from seqloom.run import WEIGHTS
from seqloom.types import START, Floats, Ints

if TYPE_CHECKING:
    from torch import Tensor

MOST = 24  # output tokens whose loss is followed back; of longer answers evenly chosen ones


@dataclass(frozen=True, slots=True, eq=False)
class Gradients:
    """norms [T S]: |d loss_t / d h_s| over both directions; cut [T S]: without the way through attention.

    steps [T]: which output tokens, from 0. `cut` is None for runs without attention: there is no other way.
    distances [T S]: steps of the recurrence from reading s to writing t; −1 where no way leads from s to t.
    """

    steps: list[int]
    norms: Floats
    cut: Floats | None
    distances: Ints

    def by_distance(self, norms: Floats) -> list[tuple[int, float]]:
        """(distance, mean norm), nearest first."""
        return [(int(distance), float(norms[self.distances == distance].mean()))
                for distance in np.unique(self.distances) if distance >= 0]


def gradients_of(replay: Replay) -> Gradients:
    """The gradients for the answer's own tokens; for those of the prompt, too, where a language model read it.

    Raises MissingExtraError without torch, UsageError for a source that is not covered, RunFolderError.
    """
    config = replay.run.config
    if not replay.is_language:
        check_source(config)
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
    ways = (False, True) if isinstance(config.head, SequenceHeadConfig) and config.decoder.context == "attention" else (
        False,)
    chosen, found = [], []
    for cut in ways:
        losses, nudges = nudged_losses(model, replay, cut=cut)
        chosen = _spread(len(losses))
        found.append(_norms(losses, nudges, chosen))
    return Gradients(chosen, found[0], found[1] if len(found) > 1 else None, _distances(replay, chosen, found[0]))


def _spread(count: int) -> list[int]:
    return sorted({round(place * (count - 1) / max(min(count, MOST) - 1, 1)) for place in range(min(count, MOST))})


def _distances(replay: Replay, chosen: list[int], norms: Floats) -> Ints:
    """S − s encoder steps and t decoder steps; within one network, which tags or goes on with a text, t − s."""
    S, config = norms.shape[1], replay.run.config
    places, steps = np.arange(S)[None, :], np.asarray(chosen, np.int64)[:, None]
    if replay.is_language or config.head.kind == "tags":
        both = not replay.is_language and config.encoder.bidirectional
        within: Ints = np.abs(steps - places) if both else np.maximum(steps - places, -1)
        return within
    across: Ints = S - places + steps
    return across


def nudged_losses(model: Any, replay: Replay, *, cut: bool = False) -> tuple[list[Tensor], list[list[Tensor]]]:
    """The losses of an answer's parts, and the zeros of `nudged_stack`.

    cut: the values are constants for attention, so that only the last states carry gradients.
    """
    if replay.is_language:
        return _losses_of_text(model, replay)
    memory, nudges = nudged_memory(model, replay)
    if not isinstance(replay.run.config.head, SequenceHeadConfig):
        scores = model.head.answer(memory)[0]  # of a label [1 C]; of tags [S C], the end symbol's among them
        count = len(replay.hypothesis.scores) if replay.run.config.head.kind == "tags" else 1
        return list(-scores[:count].max(1).values), nudges
    if cut:
        memory = memory._replace(values=memory.values.detach())
    return losses_of(model, memory, replay.written), nudges


def _norms(losses: list[Tensor], nudges: list[list[Tensor]], chosen: list[int]) -> Floats:
    """[T S] norms, over both directions."""
    import torch

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
    values, hidden, cells, nudges = nudged_stack(encoder.recurrent, encoder.embed(source).double())
    memory = Memory(values, torch.ones(1, replay.item.length, dtype=torch.bool), torch.stack(hidden, 1),
                    torch.stack(cells, 1) if cells else None, source.fields.get("copy"))
    return (memory if encoder.features is None else encoder.features(memory, source)), nudges


def nudged_stack(stack: Any, inputs: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], list[list[Tensor]]]:
    """A recurrent stack over inputs [1 S I], step by step: its outputs [1 S O], last hidden and cell states of each
    layer [1 O], and the zeros that were added to the top layer's states, by direction and position."""
    import torch

    S = inputs.shape[1]
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
    return inputs, hidden, cells, nudges


def _losses_of_text(model: Any, replay: Replay) -> tuple[list[Tensor], list[list[Tensor]]]:
    """A language model's loss of every symbol behind the first, and the zeros of its states."""
    import torch

    ids = torch.from_numpy(replay.whole_text)[None]
    outputs, _, _, nudges = nudged_stack(model.head.recurrent, model.head.embedding(ids[:, :-1]).double())
    scores = model.head.output(outputs)[0].log_softmax(1)
    return list(-scores.gather(1, ids[0, 1:, None])[:, 0]), nudges


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
