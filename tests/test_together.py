"""Runs of different vocabularies together: the mean of what each says of an answer by itself, whatever it reads."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import seqloom
from seqloom.data.batching import pad
from seqloom.engines.renamed import RenamedEngine
from seqloom.errors import ConfigError, DataError, UsageError
from seqloom.types import Item
from tiny import one_thread
from training_helpers import SMALL, letters, merged, write_pairs

__all__ = ["one_thread"]

Train = Callable[..., Path]
INPUTS = ["a b c", "c d", "b d a c", "d"]
TINY = merged(SMALL, {"training": {"max_steps": 30, "learning_rate": 0.02, "metric": "auto"},
                      "decoder": {"context": "attention"}})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """A run of distinct letters of this alphabet, backwards or as told; one that was asked for before is not repeated.
    """
    folder, made = tmp_path_factory.mktemp("together"), {}
    without_context = {**TINY, "decoder": {key: value for key, value in TINY["decoder"].items() if key != "context"}}

    def of(alphabet: str, *overrides: str, targets: Callable[[str], str] = lambda text: text[::-1]) -> Path:
        key = (alphabet, overrides, *map(targets, ("a b", "a b c d")))
        if key not in made:
            data = folder / f"{len(made)}.tsv"
            sources = letters(30, alphabet=alphabet, shortest=1)
            write_pairs(data, sources, [targets(source) for source in sources])
            made[key] = seqloom.train(data, valid=data, out=folder / f"run{len(made)}",
                                      values=without_context, overrides=overrides)
        return made[key]

    return of


def chances(run: Any, inputs: list[str], targets: list[str], **load: Any) -> list[Any]:
    """Probability of each token of the given targets."""
    return [np.exp(one.token_scores) for one in seqloom.load(run, **load).score(inputs, targets)]


@pytest.mark.parametrize("engine", ["torch", "onnx"])
@pytest.mark.parametrize("second", [
    ("abcdef", ()),  # knows more
    ("dcba", ()),  # as many, in another order
    ("abcd", ("source.reverse=true",)),  # the same symbols, read backwards
    ("abcdef", ("source.tokenizer.kind=character", "source.embedding_size=5")),
    ("abcdef", ("decoder.attention.kind=hard_monotonic", "decoder.attention.input_feeding=false")),
], ids=str)
def test_the_mean_of_what_each_says(train: Train, engine: str, second: tuple[str, tuple[str, ...]]) -> None:
    """Every token of given targets, and the whole answer, against the members alone: their symbols have other ids."""
    one, two = train("abcd"), train(second[0], *second[1])
    targets = ["c b a", "d c", "a", "d d d a"]
    alone = [chances(run, INPUTS, targets, engine=engine) for run in (one, two)]
    for order in ([one, two], [two, one]):
        for found, first, other in zip(chances(order, INPUTS, targets, engine=engine), *alone, strict=True):
            assert found == pytest.approx((first + other) / 2, rel=1e-4, abs=1e-7)
    both = seqloom.load([one, two], engine=engine)
    for text, answer in zip(INPUTS, both.predict(INPUTS, beam_size=1, min_length=1, max_length=3), strict=True):
        assert answer.tokens == greedy_by_hand([one, two], text, "abcd", 3, engine), text


def greedy_by_hand(runs: list[Path], text: str, alphabet: str, most: int, engine: str) -> list[str]:
    """Each time the symbol, or the end, with the highest mean probability over the runs, by scoring every prefix."""
    written: list[str] = []
    while len(written) < most:
        trials = [" ".join([*written, symbol]) for symbol in alphabet]
        steps = np.mean([[row[len(written)] for row in chances(run, [text] * len(trials), trials, engine=engine)]
                         for run in runs], axis=0)
        if written:
            ends = np.mean([chances(run, [text], [" ".join(written)], engine=engine)[0][-1] for run in runs])
            if ends > steps.max():
                break
        written.append(alphabet[int(steps.argmax())])
    return written


def test_a_symbol_that_one_does_not_know_has_half_the_probability(train: Train) -> None:
    wide, narrow = train("abcdef"), train("abcd")
    told: list[str] = []
    both = seqloom.load([wide, narrow], engine="torch", say=told.append)
    assert told == [f"{narrow} knows 4 of the 6 symbols that answers are made of, those of {wide}"]
    [found] = both.score(["a b"], ["e"])
    [alone] = chances(wide, ["a b"], ["e"], engine="torch")
    assert np.exp(found.token_scores)[0] == pytest.approx(alone[0] / 2, rel=1e-4)
    told.clear()
    seqloom.load([narrow, wide], engine="torch", say=told.append)
    assert told == []


def test_many_inputs_of_all_lengths_answer_as_one_by_one(train: Train) -> None:
    """Padding of the one reading is not that of the other: letters with spaces, and letters alone."""
    both = seqloom.load([train("abcd"), train("abcdef", "source.tokenizer.kind=character", "source.embedding_size=5")])
    texts = [" ".join(one) for size in (1, 2, 3) for one in product("abcd", repeat=size)]
    together = both.predict(texts, beam_size=3, n_best=3, batch_tokens=40)
    for text, answer in zip(texts, together, strict=True):
        alone = both.predict(text, beam_size=3, n_best=3)
        assert [one.text for one in answer.n_best] == [one.text for one in alone.n_best]
        assert [one.score for one in answer.n_best] == pytest.approx([one.score for one in alone.n_best], abs=1e-4)


def test_attention_and_steps_are_those_of_the_first(train: Train) -> None:
    one, two = train("abcd"), train("abcdef")
    answer = seqloom.load([one, two], engine="torch").predict("a b c")
    [alone] = seqloom.load(one, engine="torch").score(["a b c"], [answer.text], attention=True)
    assert answer.source_tokens == ["a", "b", "c", "</s>"]
    assert answer.attention == pytest.approx(alone.attention[:len(answer.attention)], abs=1e-5)
    assert len(answer.steps.steps) == len(answer.attention)


def test_a_coverage_penalty_needs_one_member_with_attention(train: Train) -> None:
    """Whichever stands first; one that reads in its own way has attention over other positions."""
    without, attending, apart = (train("abcd", f"decoder.context={name}", *more) for name, more in (
        ("initial", ()), ("attention", ()), ("attention", ("source.reverse=true",))))
    for order in ([without, attending], [attending, without], [without, apart, attending]):
        assert seqloom.load(order).predict("a b c", coverage_penalty=0.2, beam_size=3).text
    with pytest.raises(ConfigError, match="coverage_penalty"):
        seqloom.load([without, apart]).predict("a b c", coverage_penalty=0.2, beam_size=3)


def test_one_language_beside_a_run_of_several(train: Train, tmp_path: Path) -> None:
    files = []
    for name, alphabet in (("aaa", "abcd"), ("bbb", "abcdef")):
        files.append({"path": str(write_pairs(tmp_path / f"{name}.tsv", letters(20, alphabet=alphabet, shortest=1))),
                      "language": name})
    many = seqloom.train(out=tmp_path / "many", values=merged(TINY, {
        "data": {"train": files, "valid": files}, "source": {"language": "embedding"}}))
    single = train("abcd")
    both = seqloom.load([single, many], engine="torch")
    alone = [[np.exp(one.token_scores) for one in model.score(INPUTS, INPUTS)] for model in (
        seqloom.load(single, engine="torch"), seqloom.load(many, engine="torch").in_language("aaa"))]
    for found, first, other in zip(both.in_language("aaa").score(INPUTS, INPUTS), *alone, strict=True):
        assert np.exp(found.token_scores) == pytest.approx((first + other) / 2, rel=1e-4, abs=1e-7)
    said = both.predict([{"source": "a b", "language": "bbb"}])
    assert said[0].text == both.predict(["a b"], language="bbb")[0].text
    with pytest.raises(UsageError, match="unknown language 'xxx', expected one of: aaa, bbb"):
        both.predict(["a b"], language="xxx")
    with pytest.raises(UsageError, match="this run was trained without languages"):
        seqloom.load([single, train("abcdef")]).predict(["a b"], language="aaa")
    found = seqloom.evaluate(both, tmp_path / "aaa.tsv", languages=["aaa"])
    assert found.scores["languages"]["aaa"]["count"] == 20


def test_frames_that_each_run_has_scaled_by_itself(tmp_path: Path) -> None:
    """The same files and sizes; what differs are means and deviations, learned from other training data."""
    draw, runs = np.random.default_rng(5), []
    for number, scale in enumerate((1.0, 20.0)):
        lines = []
        for row in range(8):
            np.save(tmp_path / f"{number}-{row}.npy", scale * (draw.normal(size=(4, 3)) + row % 2).astype(np.float32))
            lines.append(f"{number}-{row}.npy\t{'x y' if row % 2 else 'y'}\n")
        data = tmp_path / f"{number}.tsv"
        data.write_text("".join(lines), encoding="utf-8")
        runs.append(seqloom.train(data, valid=data, out=tmp_path / f"run{number}", values=merged(TINY, {
            "source": {"kind": "features"}}) | {"source": {"kind": "features"}}))
    inputs, targets = [str(tmp_path / "0-1.npy"), str(tmp_path / "1-3.npy")], ["x y", "y"]
    alone = [chances(run, inputs, targets, engine="torch") for run in runs]
    for found, first, other in zip(chances(runs, inputs, targets, engine="torch"), *alone, strict=True):
        assert found == pytest.approx((first + other) / 2, rel=1e-4, abs=1e-7)
    with pytest.raises(UsageError, match="read their inputs in different ways"):
        seqloom.average(runs, tmp_path / "mean")


# --- labels and tags -------------------------------------------------------------------------------------------------


def test_labels_by_their_names(train: Train) -> None:
    one = train("abcd", "head.kind=label", targets=lambda text: "long" if len(text) > 5 else "short")
    two = train("fedcba", "head.kind=label", targets=lambda text: "long" if len(text) > 1 else "short")
    both, *members = (seqloom.load(run, engine="torch") for run in ([one, two], one, two))
    for text in INPUTS:
        found, *alone = (model.predict(text).probabilities for model in (both, *members))
        for name in ("long", "short"):
            assert found[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2, rel=1e-4)
    other = train("abcd", "head.kind=label", targets=lambda text: "odd" if len(text) > 5 else "short")
    with pytest.raises(UsageError, match="one of them alone has long, odd among its labels"):
        seqloom.load([one, other])


def test_tags_of_texts_that_are_cut_alike(train: Train) -> None:
    def tags(text: str) -> str:
        return " ".join("V" if letter in "ae" else "C" for letter in text.split())

    one, two = train("abcd", "head.kind=tags", targets=tags), train("fedcba", "head.kind=tags", targets=tags)
    targets = [tags(text) for text in INPUTS]
    alone = [chances(run, INPUTS, targets, engine="torch") for run in (one, two)]
    for found, first, other in zip(chances([one, two], INPUTS, targets, engine="torch"), *alone, strict=True):
        assert found == pytest.approx((first + other) / 2, rel=1e-4, abs=1e-7)
    third = train("fedcba", "head.kind=tags", "source.tokenizer.split=punctuation", targets=tags)
    with pytest.raises(UsageError, match="cut it into steps in different ways"):
        seqloom.load([one, third])


# --- what cannot answer together -------------------------------------------------------------------------------------


def test_what_cannot_answer_together_is_said(train: Train) -> None:
    one = train("abcd")
    for other, message in (
            (train("abcd", "head.kind=label", targets=lambda text: str(len(text) > 5)), r"8 symbols \(word\)"),
            (train("vwxyz"), "have not one symbol in common"),
            (train("abcd", "head.tokenizer.kind=character"), "are cut into symbols in different ways"),
            (train("abcdef", "head.tokenizer.kind=bpe", "head.tokenizer.vocab_size=12"), "cut into symbols in diff"),
            (train("abcdef", "head.tokenizer.lowercase=true"), "cut into symbols in different ways"),
            (train("abcdef", "decoder.copy_source=true"), "a run that copies from its source"),
            (train("abcdef", "decoder.context=in_step", "decoder.cell=gru", "source.reverse=true"),
             "they answer at each step")):
        for order in ([one, other], [other, one]):
            with pytest.raises(UsageError, match=message) as error:
                seqloom.load(order)
            assert f"{order[0]} and {order[1]} cannot answer together: " in error.value.message


def test_learned_pieces_that_are_all_the_same(train: Train) -> None:
    """Targets of one data set, and sources that are read in two ways."""
    pieces = ("head.tokenizer.kind=bpe", "head.tokenizer.vocab_size=9")
    one, two = train("abcd", *pieces), train("abcd", *pieces, "source.reverse=true")
    targets = ["c b a", "d c", "a", "d d d a"]
    alone = [chances(run, INPUTS, targets, engine="torch") for run in (one, two)]
    for found, first, other in zip(chances([one, two], INPUTS, targets, engine="torch"), *alone, strict=True):
        assert found == pytest.approx((first + other) / 2, rel=1e-4, abs=1e-7)


def test_a_language_model_beside_what_reads_a_source(train: Train, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b c\nb c d\n" * 20, encoding="utf-8")
    language = seqloom.train(tmp_path / "text.txt", preset="lm", out=tmp_path / "run", max_steps=1,
                             values={"decoder": {"hidden_size": 4, "embedding_size": 4}})
    for order in ([train("abcd"), language], [language, train("abcd")]):
        with pytest.raises(UsageError, match="a language model goes on from symbols of its own"):
            seqloom.load(order)


def test_a_shortlist_is_of_one_run(train: Train) -> None:
    engine = RenamedEngine(seqloom.load(train("abcd")).engine, np.arange(8))
    with pytest.raises(UsageError, match="a shortlist is of the symbols of one run"):
        engine.begin(pad([Item({"main": np.array([4, 3])})]), np.array([[4, 5]]))


def test_there_is_no_single_encoding(train: Train) -> None:
    both = seqloom.load([train("abcd"), train("abcdef")])
    with pytest.raises(UsageError, match="as many encodings"):
        both.encode(["a b"])
    with pytest.raises(UsageError, match="as many encodings"):
        both.engine.engines[1].encode(pad([Item({"main": np.array([4, 3])})]))


def test_what_one_of_them_cannot_read_is_answered_with_the_reason(train: Train, tmp_path: Path) -> None:
    """The first reads words; the second has features, which this input has not."""
    data = write_pairs(tmp_path / "features.tsv", [f"{source}\tPL" for source in letters(20, shortest=1)],
                       letters(20, shortest=1))
    two = seqloom.train(data, valid=data, out=tmp_path / "two", values=merged(TINY, {
        "source": {"features": {"column": 2}}, "data": {"columns": {"source": 1, "target": 3}}}))
    both = seqloom.load([train("abcd"), two], engine="torch")
    assert both.source.roles == ("source", "features")
    assert both.source.columns == {"features": 2}
    assert both.predict([{"source": "a b", "features": "PL"}])[0].stopped in ("end", "max_length")
    with pytest.raises((UsageError, DataError), match="features"):
        both.predict(["a b"])


def test_others_are_padded_on_their_own() -> None:
    items = [Item({"main": np.arange(4, 4 + size)}, others=(Item({"main": np.arange(4, 4 + other)}),))
             for size, other in ((1, 3), (2, 1))]
    padded = pad(items)
    assert padded.main.tolist() == [[4, 0], [4, 5]]
    assert padded.others[0].main.tolist() == [[4, 5, 6], [4, 0, 0]]
    assert padded.others[0].lengths.tolist() == [3, 1]
    with pytest.raises(ValueError, match="zip"):
        pad([items[0], Item({"main": np.arange(2)})])
