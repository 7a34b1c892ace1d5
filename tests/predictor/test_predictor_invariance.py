"""The same tokens however inputs are put together: one at a time, seven, 64, shuffled, in every engine, with a
shortlist and without. Scores may differ in their last bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.exported import stored
from seqloom.data.shortlist import learn
from seqloom.export import export_run
from seqloom.predictor import load_predictor
from seqloom.types import Prediction, Record
from tiny import randomise, tiny

# Sizes at which the runtime's kernels cut their work, and enough symbols for lists to differ.
LETTERS = [chr(letter) for letter in range(ord("a"), ord("z"))] + [chr(letter) for letter in range(0x430, 0x44F)]
WIDE = {"source": {"embedding_size": 40}, "encoder": {"hidden_size": 72, "bidirectional": True},
        "decoder": {"hidden_size": 160, "embedding_size": 40}, "decoding": {"max_length": 8}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both exports and a shortlist."""
    draw = np.random.default_rng(1)
    training = [Record({"source": " ".join(draw.choice(LETTERS, 9)), "target": " ".join(draw.choice(LETTERS, 9)),
                        "features": ""}) for _ in range(60)]
    task = tiny(WIDE, training=training)
    randomise(task.model, spread=0.15)
    folder = stored(task, tmp_path_factory.mktemp("runs") / "run")
    pairs = [(task.item(one).fields["main"], task.head.read(one, None).fields["main"][1:-1]) for one in training]
    learn(pairs, task.source.size, task.head.size, common=6, each=3).save(folder)
    export_run(folder, int8=True, check=False)
    return folder


def sentences() -> list[str]:
    draw = np.random.default_rng(2)
    return [" ".join(draw.choice(LETTERS, size)) for size in draw.integers(1, 20, 64)]


@pytest.mark.parametrize("engine", ["torch", "onnx", "onnx-int8"])
@pytest.mark.parametrize("shortlist", [False, True])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_tokens_do_not_depend_on_neighbours(run: Path, engine: str, shortlist: bool, beam_size: int) -> None:
    predictor = load_predictor(run, engine=engine, device="cpu", threads=1)
    inputs, options = sentences(), {"beam_size": beam_size, "shortlist": shortlist}

    def answers(order: list[int], size: int) -> list[Prediction]:
        """In the order of the inputs, `size` of them given together."""
        found: dict[int, Prediction] = {}
        for start in range(0, len(order), size):
            group = order[start:start + size]
            found.update(zip(group, predictor.predict([inputs[index] for index in group], **options), strict=True))
        return [found[index] for index in range(len(inputs))]

    straight, shuffled = list(range(64)), [int(index) for index in np.random.default_rng(3).permutation(64)]
    together = answers(straight, 64)
    assert len({tuple(one.tokens) for one in together}) > 32
    for order, size in ((straight, 1), (straight, 7), (shuffled, 64), (shuffled, 7)):
        for one, other in zip(answers(order, size), together, strict=True):
            assert one.tokens == other.tokens
            assert one.score == pytest.approx(other.score, abs=2e-4)
    for index in (0, 9):
        assert predictor.predict(inputs[index], **options).tokens == together[index].tokens  # with attention


def test_one_answer_comes_with_its_attention_at_no_price(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call for one input, which keeps the attention, is one call of the engine too."""
    from seqloom.engines.onnx import OnnxEngine

    monkeypatch.setattr(OnnxEngine, "step", None)  # calling it would fail
    for shortlist in (False, True):
        answer = load_predictor(run, threads=1).predict(sentences()[0], beam_size=1, shortlist=shortlist)
        assert answer.attention is not None
        assert answer.attention.shape == (len(answer.token_scores), len(answer.source_tokens))
        np.testing.assert_allclose(answer.attention.sum(1), 1, atol=1e-5)
