"""Language models end to end: windows of one text, states carried over, bits per character, continuations."""

from __future__ import annotations

import json
import math
import re
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqloom
from language_texts import SMALL, write_text
from seqloom.cli import main
from seqloom.config.loading import load_config
from seqloom.config.sections import CorpusConfig, DecoderConfig
from seqloom.data.files import read_inputs, read_records
from seqloom.data.streams import Places, StreamWriter, Windows
from seqloom.engines.dynamic import SEGMENT
from seqloom.engines.torch import TorchEngine, to_tensors
from seqloom.errors import ConfigError, DataError, Interrupted, TrainingError, UsageError
from seqloom.heads.language import windows
from seqloom.nn.language import LanguageModule
from seqloom.run import WEIGHTS, read_weights
from seqloom.training import loop
from seqloom.training.session import resume_run, train_run
from seqloom.types import END, Record
from source_tree import ROOT
from tiny import CPU, randomise


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def run(text: Path) -> Path:
    return seqloom.train(text, out=text.parent / "run", preset="lm", overrides=SMALL)


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbols", [1, 2, 5, 23, 60])
@pytest.mark.parametrize("streams", [1, 3, 7])
@pytest.mark.parametrize("window", [1, 4, 50])
def test_every_symbol_is_predicted_once_and_rows_go_on(symbols: int, streams: int, window: int) -> None:
    ids = np.arange(100, 101 + symbols, dtype=np.int32)
    cut = Windows(ids, streams, window)
    predicted: list[int] = []
    last: dict[int, int] = {}
    for positions in cut.plan():
        _, padded = cut.padded(positions)
        assert padded.lengths.max() <= cut.lengths()[positions].max()
        for row, (values, length) in enumerate(zip(padded.main, padded.lengths, strict=True)):
            real = values[:length].tolist()
            if length > 1:
                assert last.get(row, real[0]) == real[0]  # begins with what the window before ended with
                last[row] = real[-1]
                predicted += real[1:]
    assert sorted(predicted) == ids[1:].tolist()
    assert len(cut.plan()) == cut.count()
    assert cut.plan()[0][0] == 0
    assert len(cut.plan()[:]) == len(cut.plan())
    assert 0 <= cut.waste().total < 1


def test_a_text_without_symbols_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the text is empty"):
        Windows(np.array([END], np.int32), 2, 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="the text's ids cannot be written"):
        StreamWriter(tmp_path / "file")


def test_places_are_told_about() -> None:
    places = Places()
    for line in range(2500):
        places.add(1 + 10 * line, f"a.txt:{line + 1}")
    assert [places.where(at) for at in (0, 5, 10_000, 10_001, 24_000)] == [
        "after a.txt:1", "after a.txt:1", "after a.txt:1", "after a.txt:1001", "after a.txt:2001"]


@pytest.mark.parametrize("sizes", [[1], [5, 1, 9], [4, 4, 4, 1], [30]])
def test_scoring_windows_overlap_by_one(sizes: list[int]) -> None:
    whole = np.arange(sum(sizes))
    found = list(windows(np.split(whole, np.cumsum(sizes)[:-1]), 4))
    assert [number for window in found for number in window[1:].tolist()] == whole[1:].tolist()
    assert all(len(window) <= 5 and window[0] == window[1] - 1 for window in found)


# --- the network -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_windows_with_their_state_are_the_whole_text_and_so_are_steps(cell: str, one_hot: bool) -> None:
    """Against the network over the whole text at once, whose layers are compared with torch.nn elsewhere."""
    module = LanguageModule(9, DecoderConfig(cell=cell, layers=2, hidden_size=5, embedding_size=4, residual=True),
                            one_hot=one_hot, label_smoothing=0.0).double().eval()
    randomise(module)
    ids = np.random.default_rng(1).integers(4, 9, 31).astype(np.int32)
    totals = []
    for streams, window in ((1, 100), (1, 4), (1, 1)):
        cut, state, total = Windows(ids, streams, window), None, 0.0
        for positions in cut.plan():
            loss = module.loss(state, to_tensors(cut.padded(positions)[1], CPU))
            state, total = loss.state, total + float(loss.total)
        totals.append(total)
    assert totals[1] == pytest.approx(totals[0], rel=1e-9)
    assert totals[2] == pytest.approx(totals[0], rel=1e-9)
    prompt, decoder = module.begin(to_tensors(Windows(ids[:4], 1, 9).padded(np.array([0]))[1], CPU))
    tokens, by_steps = torch.full((1, 1), 2), 0.0
    for number in ids[4:]:
        found, _, decoder = module.step(prompt, decoder, tokens)
        by_steps += float(found[0, 0, number])
        tokens = torch.full((1, 1), int(number))
    front = module.loss(None, to_tensors(Windows(ids[:4], 1, 9).padded(np.array([0]))[1], CPU))
    assert -by_steps == pytest.approx(totals[0] - float(front.total), rel=1e-9)


def test_the_gradient_stops_at_the_window(text: Path) -> None:
    module = LanguageModule(9, DecoderConfig(hidden_size=5, embedding_size=4), one_hot=False, label_smoothing=0.1)
    cut = Windows(np.arange(4, 9, dtype=np.int32), 1, 2)
    first = module.loss(None, to_tensors(cut.padded(np.array([0]))[1], CPU))
    assert not first.state.hidden.requires_grad
    assert not first.state.cell.requires_grad


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["training.accumulate=2", "decoder.cell=gru"]])
def test_a_run_that_was_broken_off_goes_on_bit_for_bit(more: list[str], text: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(preset="lm", overrides=[*SMALL, "training.epochs=2", "training.max_steps=null", *more],
                         values={"data": {"train": [{"path": str(text)}]}})[0]
    whole = train_run(config, tmp_path / "whole")
    update = loop.Trainer._update

    def stopping(self: Any, batches: Any) -> None:
        update(self, batches)
        if self.progress.step == 5:
            self.save()
            raise Interrupted("stopped")

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    with pytest.raises(Interrupted, match="stopped"):
        train_run(config, tmp_path / "part")
    monkeypatch.undo()
    part = resume_run(tmp_path / "part")
    for name, weight in read_weights(whole / WEIGHTS).items():
        np.testing.assert_array_equal(read_weights(part / WEIGHTS)[name], weight)


def test_the_last_lines_are_held_out(run: Path, text: Path) -> None:
    report = json.loads((run / "data_report.json").read_text())
    assert (report["train"]["usable"], report["valid"]["usable"]) == (36, 4)
    row = seqloom.load(run).run.metrics()[-1]
    lines = text.read_text(encoding="utf-8").splitlines()[36:]
    symbols = characters = sum(len(line) + 1 for line in lines)
    assert row["bits_per_character"] == pytest.approx(row["valid_loss"] * symbols / math.log(2) / characters)
    (text.parent / "one.txt").write_text("one line\n")
    with pytest.raises(DataError, match="only 1 usable line, too few to hold out a part"):
        seqloom.train(text.parent / "one.txt", preset="lm", out=text.parent / "no")


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", ["character", "bpe", "word"])
def test_bits_per_character_by_brute_force(tokenizer: str, text: Path, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Each symbol's probability from a softmax over logits computed with torch.nn.LSTM, from the text's beginning."""
    run = seqloom.train(text, out=tmp_path / "run", preset="lm",
                        overrides=[*SMALL, "training.max_steps=3", f"head.tokenizer.kind={tokenizer}"])
    model = seqloom.load(run, engine="torch", device="cpu")
    monkeypatch.setattr("seqloom.heads.language.WINDOW", 5)
    scores = seqloom.evaluate(model, text).scores
    lines = text.read_text(encoding="utf-8").split("\n")[:-1]
    ids = [END, *(number for line in lines for number in (*model.head.tokenizer.encode(line), END))]
    module = model.engine.model.head
    plain = torch.nn.LSTM(6, 12, batch_first=True)
    cell = module.cells()[0]
    plain.load_state_dict({"weight_ih_l0": cell.weight_input, "weight_hh_l0": cell.weight_hidden,
                           "bias_ih_l0": cell.bias_input, "bias_hh_l0": cell.bias_hidden})
    with torch.no_grad():
        outputs, _ = plain(module.embedding(torch.tensor([ids[:-1]])))
        logits = (outputs[0] @ module.output.weight.T + module.output.bias).double()
    nats = -sum(float(row[gold] - row.exp().sum().log()) for row, gold in zip(logits, ids[1:], strict=True))
    characters = len(text.read_text(encoding="utf-8"))
    assert scores["bits_per_character"] == pytest.approx(nats / math.log(2) / characters, rel=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(nats / (len(ids) - 1)), rel=1e-5)
    assert (scores["count"], scores["characters"]) == (len(ids) - 1, characters)
    with pytest.raises(UsageError, match=r"metrics are asked for \(bleu\), but a language model has no answers"):
        seqloom.evaluate(model, text, metrics=["bleu"])


def test_unknown_characters_are_told(run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("a€b\n", encoding="utf-8")
    found = seqloom.evaluate(run, tmp_path / "new.txt")
    assert found.scores["unknown"] == 1
    assert "1 symbol of the text stand in no training text" in found.notes[0]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_dynamic_evaluation_by_torch(cell: str, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against gradient descent over torch.nn's layers, each segment scored before it is learned from."""
    layer: Any = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](6, 12, batch_first=True)
    run = seqloom.train(text, out=tmp_path / "run", preset="lm", overrides=[*SMALL, f"decoder.cell={cell}"])
    model = seqloom.load(run, engine="torch", device="cpu")
    before = {name: weight.clone() for name, weight in model.engine.model.named_parameters()}
    monkeypatch.setattr("seqloom.heads.language.WINDOW", 10_000)
    monkeypatch.setattr("seqloom.engines.dynamic.LARGEST", 0.05)  # that many gradients are cut
    usual, found = (seqloom.evaluate(model, text, dynamic=rate).scores for rate in (None, 0.4))
    module = deepcopy(model.engine.model.head)
    own = module.cells()[0]
    layer.load_state_dict({"weight_ih_l0": own.weight_input, "weight_hh_l0": own.weight_hidden,
                           "bias_ih_l0": own.bias_input, "bias_hh_l0": own.bias_hidden})
    ids = torch.tensor([END, *(number for line in text.read_text(encoding="utf-8").split("\n")[:-1]
                               for number in (*model.head.tokenizer.encode(line), END))])
    parts = [layer, module.embedding, module.output]
    optimizer = torch.optim.SGD([parameter for part in parts for parameter in part.parameters()], 0.4)
    state, nats = None, 0.0
    for begin in range(0, len(ids) - 1, SEGMENT):
        gold = ids[begin + 1:begin + SEGMENT + 1]
        outputs, state = layer(module.embedding(ids[begin:begin + len(gold)])[None], state)
        loss = torch.nn.functional.cross_entropy(module.output(outputs[0]), gold)
        nats += float(loss.detach()) * len(gold)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([one for part in parts for one in part.parameters()], 0.05)
        optimizer.step()
        state = state.detach() if cell == "gru" else tuple(one.detach() for one in state)
    assert found["loss"] == pytest.approx(nats / (len(ids) - 1), rel=1e-5)
    assert found["loss"] < usual["loss"] - 0.01
    assert f"|state:carried|dynamic:rate 0.4 each {SEGMENT} symbols, gradients to norm 0.05|" in found["signature"]
    assert (found["engine"], usual["engine"]) == ("torch fp32, dynamic", "torch fp32")
    assert all(torch.equal(weight, before[name]) for name, weight in model.engine.model.named_parameters())


def test_dynamic_evaluation_in_windows(run: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text in windows of whole segments is the text at once, but for the last symbol of each window."""
    whole = seqloom.evaluate(run, text, dynamic=0.2).scores["loss"]
    monkeypatch.setattr("seqloom.heads.language.WINDOW", 2 * SEGMENT)
    assert seqloom.evaluate(run, text, dynamic=0.2).scores["loss"] == pytest.approx(whole, rel=5e-3)


def test_what_dynamic_evaluation_refuses(run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                         ) -> None:
    with pytest.raises(UsageError, match="dynamic evaluation with learning rate 0, expected a number above 0"):
        seqloom.evaluate(run, text, dynamic=0.0)
    for predictor in (seqloom.load(run, engine="onnx"), seqloom.load([run, run])):
        with pytest.raises(UsageError, match="dynamic evaluation learns while it scores, which the engine"):
            seqloom.evaluate(predictor, text, dynamic=0.1)
    for given, message in (("0.2", ""), ("-1", "--dynamic: given '-1', expected a number above 0"),
                           ("much", "--dynamic: given 'much', expected")):
        with pytest.raises(SystemExit) as leaving:
            main(["evaluate", str(run), str(text), "--dynamic", given, "--json"])
        out, err = capsys.readouterr()
        assert leaving.value.code == (2 if message else 0), err
        assert message in err
        assert message or "dynamic:rate 0.2" in json.loads(out)["signature"]
    (tmp_path / "pairs.tsv").write_text("".join(f"{'a' * (n + 1)}\t{'xy'[n % 2]}\n" for n in range(18)))
    labels = seqloom.train(tmp_path / "pairs.tsv", preset="classify", out=tmp_path / "labels",
                           overrides=["training.max_steps=1", "training.threads=1"])
    with pytest.raises(UsageError, match="dynamic evaluation is about language models, and this run answers with"):
        seqloom.evaluate(labels, tmp_path / "pairs.tsv", dynamic=0.1)


# --- continuations ---------------------------------------------------------------------------------------------------


def test_greedy_is_the_best_next_symbol_of_the_text_so_far(run: Path) -> None:
    model = seqloom.load(run, engine="torch", device="cpu")
    prompts = ["", "ab", "a b\nc", "d" * 20]
    together = model.predict(prompts, strategy="greedy")
    for prompt, answer in zip(prompts, together, strict=True):
        assert len(answer.tokens) == 9
        so_far = prompt
        for token, score in zip(answer.tokens, answer.token_scores, strict=True):
            item = model.head.link(model.source.read(Record({"text": so_far})))
            scores = model.engine.answer(seqloom_pad(item))[0][0, -1].copy()
            assert score == pytest.approx(scores[END if token == "\n" else model.head.tokenizer.id(token)], abs=1e-5)
            scores[[0, 2]] = -np.inf
            assert model.head.token(int(scores.argmax())) == token
            so_far += token
        assert answer.text == so_far[len(prompt):]
        assert model.predict(prompt, strategy="greedy").text == answer.text


def seqloom_pad(item: Any) -> Any:
    from seqloom.data.batching import pad

    return pad([item])


def test_draws_depend_on_the_seed_and_the_line_alone(run: Path) -> None:
    model = seqloom.load(run, engine="torch", device="cpu")
    assert isinstance(model.engine, TorchEngine)
    options: dict[str, Any] = {"strategy": "sampling", "n_best": 3, "temperature": 1.5}
    first = model.predict(["a", "b"], seed=1, **options)
    again = model.predict(["a", "b"], seed=1, **options)
    other = model.predict(["a", "b"], seed=2, **options)
    texts = [[one.text for one in found.n_best] for found in (*first, *again, *other)]
    assert texts[:2] == texts[2:4]
    assert texts[:2] != texts[4:]
    assert len(texts[0]) == 3
    assert model.predict("a", top_k=1, temperature=3.0).text == model.predict("a", strategy="greedy").text
    assert model.predict("a", strategy="greedy", prefix="cd").text.startswith("cd")
    assert len(model.predict("a", strategy="greedy", alternatives=2).alternatives) == 9


def test_lines_are_scored_each_for_itself(run: Path) -> None:
    model = seqloom.load(run)
    found = list(model.score_records([Record({"text": line}) for line in ("ab", "c")]))
    assert [len(one.token_scores) for one in found] == [3, 2]
    assert found[0].score == pytest.approx(model.head.score_text(model.engine, ["ab"]).score, rel=1e-6)


def test_several_runs_together_and_average(run: Path, text: Path, tmp_path: Path) -> None:
    more = seqloom.finetune(run, text, out=tmp_path / "more", overrides=["training.max_steps=2"])
    both = seqloom.load([run, more])
    assert len(both.predict("ab", strategy="greedy").tokens) == 9
    single = [seqloom.evaluate(one, text).scores["bits_per_character"] for one in (run, more)]
    assert seqloom.evaluate(both, text).scores["bits_per_character"] <= max(single) + 1e-6
    mean = seqloom.average([run, more], tmp_path / "mean")
    assert seqloom.evaluate(mean, text).scores["bits_per_character"] > 0


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("override", "message"), [
    ("data.drop_duplicates=true", "data.drop_duplicates is true, but head.kind is language"),
    ("training.batch_type=tokens", "training.batch_type is tokens"),
    ("decoding.shortlist=true", "decoding.shortlist is true"),
    ("decoding.coverage_penalty=0.5", "decoding.coverage_penalty is not 0"),
    ("decoding.replace_unknown=true", "decoding.replace_unknown is true"),
    ("decoding.max_length_ratio=2", "decoding.max_length_ratio is given"),
    ("data.train=[{path: a.txt, weight: 2}]", "a corpus has a weight"),
    ("data.train=[{source: a, target: b}]", "a corpus has source and target"),
    ("data.columns={source: 2}", "data.columns is given")])
def test_what_is_about_separate_examples(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(preset="lm", overrides=[override])


def test_the_preset_is_silent() -> None:
    assert load_config(preset="lm")[1] == []


def test_lines_are_text_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a\tb\n\n c\n", encoding="utf-8")
    for records in (read_records([CorpusConfig(path=str(tmp_path / "text.txt"))], None, ("text",)),
                    read_inputs(tmp_path / "text.txt", roles=("text",))):
        assert [record.text("text") for record in records if isinstance(record, Record)] == ["a\tb", "", " c"]
    (tmp_path / "text.csv").write_text("a,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="csv has columns, and a language model reads plain text"):
        list(read_records([CorpusConfig(path=str(tmp_path / "text.csv"))], None, ("text",)))


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_about_hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                              ) -> None:
    page = (ROOT / "docs" / "hello.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- tested: hello -->\n```sh\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("hello.txt").write_text("hello\n")
    Path("prompt.txt").write_text("h\n")
    printed = []
    for command in block.splitlines():
        with pytest.raises(SystemExit) as leaving:
            main(shlex.split(command)[1:])
        out, err = capsys.readouterr()
        assert leaving.value.code == 0, err
        printed.append(out)
    assert Path("answer.txt").read_text() == "ello\n"
    assert json.loads(printed[2])["bits_per_character"] < 0.2
    assert "the next of 8 symbols (character)" in printed[3]
    assert Path("curves.svg").stat().st_size > 500
