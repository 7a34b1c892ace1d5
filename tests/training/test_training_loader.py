"""Batches made ahead, passes captured by a stand-in, batches put together without a step for each example."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from seqloom.data.batching import Groups, pad
from seqloom.progress import Reporter
from seqloom.training.captured import SIGHTS, WARM_UPS, CudaGraphs
from seqloom.training.gradients import Gradients
from seqloom.training.loader import Loader
from seqloom.training.loop import Trainer
from seqloom.training.memory import peak_memory, peak_resident
from seqloom.training.prepare import prepare
from seqloom.types import Batch, Ints, Loss
from training_helpers import Files, Told, configuration, trainer_of, write_pairs

DECODERS = {"feeding": {"context": "attention", "attention": {"input_feeding": True}},
            "at once": {"context": "attention", "attention": {"input_feeding": False}}, "initial": {}}


class Repeats:
    """Captures as CUDA graphs do: a replay does the same again and writes its result where it was."""

    def capture(self, function: Callable[[], Loss]) -> tuple[Callable[[], None], Loss]:
        function()  # a warm-up, whose gradient must leave no trace
        result = Loss(torch.zeros(()), torch.zeros((), dtype=torch.long), torch.zeros((), dtype=torch.long))

        def replay() -> None:
            for place, part in zip(result[:3], function()[:3], strict=True):
                place.copy_(part)

        return replay, result


def test_batches_come_in_order_and_ahead() -> None:
    made: list[list[int]] = []

    def make(indices: Ints) -> Batch:
        made.append(indices.tolist())
        return Batch(None, None, indices)  # type: ignore[arg-type]

    groups = [[np.array([number]), np.array([number, number])] for number in range(5)]
    loader = Loader(make)
    seen = [[loader.batch(indices).indices.tolist() for indices in group] for group in loader.through(groups, 1)]
    assert seen == [[[number], [number, number]] for number in range(1, 5)]
    assert made == [indices for group in seen for indices in group]  # each once, none before the start
    assert loader.batch(groups[0][0]).indices.tolist() == [0]  # made on the spot
    assert loader.waited >= 0


def test_what_fails_in_the_loader_is_raised_where_it_is_wanted() -> None:
    def make(indices: Ints) -> Batch:
        raise OSError("the disk is gone")

    loader = Loader(make)
    for group in loader.through([[np.array([1])]]):
        with pytest.raises(OSError, match="the disk is gone"):
            loader.batch(group[0])


def test_a_batch_is_what_padding_its_examples_gives(files: Files, tmp_path: Path) -> None:
    data = trainer_of(configuration(*files), tmp_path / "run").data
    indices = np.array([5, 0, 17])
    sources, targets = zip(*(data.store.get(int(index)) for index in indices), strict=True)
    for found, expected in zip(data.store.padded(indices), (pad(sources), pad(targets)), strict=True):
        assert found is not None
        assert found.fields.keys() == expected.fields.keys()
        np.testing.assert_array_equal(found.main, expected.main)
        np.testing.assert_array_equal(found.lengths, expected.lengths)
    with pytest.raises(IndexError, match="examples 3 to 24 of 24"):
        data.store.padded(np.array([3, 24]))
    with pytest.raises(ValueError, match="a batch needs at least one example"):
        data.store.padded(np.array([], np.int64))


@pytest.mark.parametrize("characters", [None, {"embedding_size": 3, "hidden_size": 2}], ids=["words", "characters"])
@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_captured_passes_give_the_gradient_of_ordinary_ones(
        decoder: dict[str, object], characters: dict[str, int] | None, files: Files, tmp_path: Path) -> None:
    """In float64, with shapes rounded up and rows that count nothing."""
    config = configuration(*files, source={"characters": characters}, decoder=decoder, training={"batch_size": 5})
    trainer = trainer_of(config, tmp_path / "run")
    trainer.model.double()
    groups = Groups(trainer.data.batches.plan(0), 2)
    captured = Gradients(trainer.model, trainer.data, trainer.options, trainer.device, Told().say, backend=Repeats())
    assert captured.captures
    for number in range(2 * SIGHTS):
        group = groups[number % 2]
        expected = trainer.gradients.of(group, 3, 1.0)
        wanted = [p.grad.clone() for p in trainer.gradients.parameters if p.grad is not None]
        for parameter in captured.parameters:
            parameter.grad = torch.zeros_like(parameter)
        found = captured.of(group, 3, 1.0)
        assert (found.count, found.splits) == (expected.count, 0)
        assert found.total == pytest.approx(expected.total, rel=1e-6)
        for parameter, value in zip(captured.parameters, wanted, strict=True):
            torch.testing.assert_close(parameter.grad, value, rtol=1e-7, atol=1e-12)


def test_cuda_graphs_are_captured_as_torch_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: the calls, in the order of torch's page on CUDA graphs. Warm-ups and the capture run on one stream
    apart, which waits for the present one and is waited for; all graphs share a pool; random numbers are put back."""
    calls: list[str] = []

    class Stream:
        def __init__(self, name: str = "apart") -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            calls.append(f"{self.name} waits for {other.name}")

    class Graph:
        def replay(self) -> None:
            calls.append("replay")

        def pool(self) -> str:
            return "pool"

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        calls.append(f"on {stream.name}")
        yield
        calls.append("off")

    @contextmanager
    def capture(graph: Graph, *, pool: str | None, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        calls.append(f"capture on {stream.name}, pool {pool}, {capture_error_mode}")
        yield
        calls.append("captured")

    fakes = {"Stream": Stream, "CUDAGraph": Graph, "stream": on, "graph": capture,
             "current_stream": lambda: Stream("present"), "get_rng_state": lambda: "drawn",
             "set_rng_state": lambda state: calls.append(f"random state {state}")}
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    loss, graphs = Loss(torch.zeros(()), torch.zeros(()), torch.zeros(())), CudaGraphs()
    for pool in (None, "pool"):
        calls.clear()
        replay, result = graphs.capture(lambda: calls.append("run") or loss)
        assert result is loss
        replay()
        assert calls == ["apart waits for present", "on apart", *["run"] * WARM_UPS, "off", "present waits for apart",
                         f"capture on apart, pool {pool}, thread_local", "run", "captured", "random state drawn",
                         "replay"]


def test_a_capture_that_fails_is_said_once(files: Files, tmp_path: Path) -> None:
    class Refuses:
        def capture(self, function: Callable[[], Loss]) -> tuple[Callable[[], None], Loss]:
            raise RuntimeError("operation not permitted")

    told, trainer = Told(), trainer_of(configuration(*files), tmp_path / "run")
    captured = Gradients(trainer.model, trainer.data, trainer.options, trainer.device, told.say, backend=Refuses())
    for _ in range(4):
        captured.of(trainer._groups()[0], 0, 1.0)
    assert len(told.warnings) == 1
    assert "cannot be captured as CUDA graphs (operation not permitted)" in told.warnings[0]


def test_numbers_may_be_read_later(files: Files, tmp_path: Path) -> None:
    """As on a GPU: updates go on without a look, and the numbers come out the same."""
    trainers: list[Trainer] = []
    for every in (1, 3):
        trainer = trainer_of(configuration(*files), tmp_path / str(every))
        trainer.read_every = every
        for group in trainer._groups():
            trainer._update(group)
        trainer._read()
        trainers.append(trainer)
    one, three = (trainer.progress for trainer in trainers)
    assert (one.step, one.tokens, one.updates) == (three.step, three.tokens, three.updates)
    assert one.loss_sum == pytest.approx(three.loss_sum, rel=1e-6)
    for first, second in zip(*(trainer.model.parameters() for trainer in trainers), strict=True):
        torch.testing.assert_close(first, second)


def test_the_largest_batch_is_tried_first(files: Files, tmp_path: Path) -> None:
    told = Told()
    trainer = trainer_of(configuration(*files), tmp_path / "run", told)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer._try_largest()
    areas = [len(batch) * trainer.data.lengths[batch].max(0).sum() for batch in trainer.data.batches.plan(0)]
    largest = trainer.data.batches.largest()
    assert len(largest) * trainer.data.lengths[largest].max(0).sum() == max(areas)
    assert told.lines[-1].startswith(f"largest batch: {len(largest)} examples of up to ")
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))
    assert trainer.progress.step == 0


def test_peak_memory_is_known() -> None:
    if sys.platform != "win32":
        assert (peak_resident() or 0) > 50
        assert peak_memory(torch.device("cpu")).endswith(" MiB at most")


def test_building_an_optimiser_does_not_import_the_compiler(files: Files, tmp_path: Path) -> None:
    import subprocess

    program = ("import sys, torch; from seqloom.config.sections import TrainingConfig; "
               "from seqloom.training.optimizers import build_optimizer; p = torch.nn.Parameter(torch.ones(2)); "
               "o = build_optimizer(TrainingConfig(), [p]); p.grad = torch.ones(2); o.step(); "
               "o.load_state_dict(o.state_dict()); print('torch._dynamo' in sys.modules, bool((p < 1).all()))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_preparation_takes_few_bytes_for_each_pair(tmp_path: Path, files: Files) -> None:
    """Between a thousand pairs and seven thousand, without duplicates, which are looked for."""
    kept, most = [], []
    for count in (100, 1000, 7000):  # the first warms up
        numbers = [" ".join(f"{number:05}") for number in range(count)]
        config = configuration(write_pairs(tmp_path / f"{count}.tsv", numbers), files.valid,
                               data={"drop_duplicates": True})
        tracemalloc.start()
        try:
            data = prepare(config, tmp_path / str(count), Reporter())
            assert len(data.store) == count
            now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        kept.append(now)
        most.append(peak)
    assert kept[2] - kept[1] < 6000 * 16
    assert most[2] - most[1] < 6000 * 64
