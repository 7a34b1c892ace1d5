"""The one door: an answer for every input, in order, whatever is wrong with it, and the same however it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import seqloom.predictor
from seqloom.errors import ConfigError, DataError, UsageError
from seqloom.predictor import Predictor
from seqloom.types import BadRecord, Prediction, Record
from tiny import TRIALS, record, tiny

SENTENCES = [trial.text("source") for trial in TRIALS]
GREEDY = {"beam_size": 1}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return tiny(bidirectional=True, cell="gru").predictor()


@pytest.fixture(scope="module")
def inflector() -> Predictor:
    """Reads features, encoded apart, and copies."""
    return tiny(copying=True, features="encoder").predictor()


def same(first: Prediction, second: Prediction) -> None:
    assert first.tokens == second.tokens
    assert first.text == second.text
    assert first.score == pytest.approx(second.score, abs=1e-5)


def check(prediction: Prediction) -> None:
    """What holds for every answer to a good input."""
    assert prediction.text == " ".join(prediction.tokens)
    assert prediction.stopped in ("end", "max_length")
    assert len(prediction.token_scores) == len(prediction.tokens) + (prediction.stopped == "end")
    assert prediction.score == pytest.approx(prediction.token_scores.sum(), abs=1e-5)
    assert "</s>" in prediction.source_tokens
    assert prediction.error == ""


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_a_list_is_answered_in_its_order(predictor: Predictor) -> None:
    together = predictor.predict(SENTENCES)
    assert len(together) == len(SENTENCES)
    for sentence, answer in zip(SENTENCES, together, strict=True):
        check(answer)
        assert answer.source_tokens == [*sentence.split(), "</s>"]
        same(answer, predictor.predict(sentence))


def test_a_list_of_one_is_a_list_and_one_is_one(predictor: Predictor) -> None:
    one, = predictor.predict([SENTENCES[0]])
    alone = predictor.predict(SENTENCES[0])
    assert isinstance(alone, Prediction)
    same(one, alone)
    same(alone, predictor.predict({"source": SENTENCES[0]}))


def test_any_iterable_is_a_list(predictor: Predictor) -> None:
    for answer, expected in zip(predictor.predict(iter(SENTENCES)), predictor.predict(SENTENCES), strict=True):
        same(answer, expected)


def test_no_input_no_answer(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    assert list(predictor.predict_records([])) == []
    assert predictor.score([], []) == []
    assert predictor.encode([]) == []


def test_bad_inputs_are_answered_in_their_place(predictor: Predictor) -> None:
    bad = BadRecord("no tab in this line", "words.tsv", 3)
    records: list[Record | BadRecord] = [record("a b", line=1), record("", line=2), bad, record("  ", line=4),
                                         record("c", line=5)]
    first, empty, broken, blank, last = predictor.predict_records(records)
    for answer, expected, where in ((first, "a b", "tiny.tsv:1"), (last, "c", "tiny.tsv:5")):
        check(answer)
        same(answer, predictor.predict(expected))
        assert answer.where == where
    for answer, reason, where in ((empty, "the source is empty", "tiny.tsv:2"),
                                  (broken, "no tab in this line", "words.tsv:3"),
                                  (blank, "the source is empty", "tiny.tsv:4")):
        assert (answer.text, answer.tokens, answer.stopped) == ("", [], "error")
        assert (answer.error, answer.where) == (reason, where)
        assert np.isnan(answer.score)
        assert not answer.attention


def test_only_bad_inputs_are_all_answered(predictor: Predictor) -> None:
    assert [answer.stopped for answer in predictor.predict(["", " "])] == ["error", "error"]


def test_an_unknown_word_is_read_as_unknown(predictor: Predictor) -> None:
    first, second = predictor.predict(["a zebra b", "a okapi b"])
    check(first)
    assert first.source_tokens == ["a", "zebra", "b", "</s>"]
    same(first, second)


# --- columns ---------------------------------------------------------------------------------------------------------


def test_features_are_columns_of_an_input(inflector: Predictor) -> None:
    past, plural = inflector.predict([{"source": "a b", "features": "PST"}, {"source": "a b", "features": "PST; PL"}])
    assert past.source_tokens == ["a", "b", "</s>", "⟨PST⟩"]
    assert plural.source_tokens == ["a", "b", "</s>", "⟨PST⟩", "⟨PL⟩"]
    assert past.score != pytest.approx(plural.score)


def test_feature_symbols_stand_before_the_source() -> None:
    answer = tiny(features="symbols").predictor().predict({"source": "a b", "features": "PST;NEW"}, attention=True)
    assert answer.source_tokens == ["⟨PST⟩", "⟨NEW⟩", "a", "b", "</s>"]


def test_a_missing_column_is_named(inflector: Predictor) -> None:
    with pytest.raises(DataError, match=r"(?s)the input has no features.*"
                                        r"fix: give a mapping with the keys source, features"):
        inflector.predict("a b")
    with pytest.raises(DataError, match="the input has no source and no features"):
        inflector.predict([{"text": "a b"}])


def test_what_is_no_text_is_named(inflector: Predictor) -> None:
    """Keys that are not the source's may hold anything: they are not read, as in JSON lines."""
    answer = inflector.predict({"source": "a b", "features": "PST", "id": 7})
    assert answer.text == inflector.predict({"source": "a b", "features": "PST"}).text
    with pytest.raises(DataError, match=r"the input's features is 7, expected text\n  fix: give str\(features\)"):
        inflector.predict({"source": "a b", "features": 7})
    with pytest.raises(DataError, match="the input is 5, expected text or a mapping"):
        inflector.predict([5])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="the inputs are nothing, expected one"):
        inflector.predict(None)  # type: ignore[arg-type]


def test_a_reversed_source_is_shown_as_it_was_read() -> None:
    answer = tiny(source={"reverse": True}).predictor().predict("a b c", attention=True)
    assert answer.source_tokens == ["c", "b", "a", "</s>"]
    assert answer.attention is not None
    assert answer.attention.shape[1] == 4


def test_copied_words_reach_the_text(inflector: Predictor) -> None:
    """Words that neither side has ever seen."""
    answers = inflector.predict([{"source": "okapi zebra", "features": "PST"}] * 2, beam_size=8, n_best=8)
    words = {token for answer in answers[0].n_best for token in answer.tokens}
    assert {"okapi", "zebra"} <= words
    for answer in answers[0].n_best:
        check(answer)


# --- what is handed out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "features"])
def test_attention_is_over_the_tokens_shown(predictor: Predictor, inflector: Predictor, kind: str) -> None:
    """[T (+1) S], rows sum to 1, for every answer; only for one input unless it is asked for."""
    asked = predictor if kind == "plain" else inflector
    inputs: Any = [trial.fields for trial in TRIALS]
    assert all(answer.attention is None for answer in asked.predict(inputs))
    single = asked.predict(inputs[0], beam_size=3, n_best=3)
    assert asked.predict(inputs[0], attention=False).attention is None
    several = asked.predict(inputs, attention=True)
    for answer in [single, *single.n_best, *several]:
        assert answer.attention is not None
        assert answer.attention.dtype == np.float32
        assert answer.attention.shape == (len(answer.token_scores), len(answer.source_tokens))
        np.testing.assert_allclose(answer.attention.sum(1), 1, rtol=0, atol=1e-5)
    np.testing.assert_allclose(several[0].attention, asked.predict(inputs[0]).attention, rtol=0, atol=1e-5)


def test_no_attention_without_attention() -> None:
    assert tiny(context="initial").predictor().predict("a b", attention=True).attention is None


def test_n_best_are_in_order_and_begin_with_the_answer(predictor: Predictor) -> None:
    for answer in predictor.predict(SENTENCES, beam_size=4, n_best=3):
        assert len(answer.n_best) == 3
        assert answer.n_best[0].tokens == answer.tokens
        rankings = [other.ranking_score for other in answer.n_best]
        assert rankings == sorted(rankings, reverse=True)
        assert len({tuple(other.tokens) for other in answer.n_best}) == 3
        for other in answer.n_best:
            check(other)
            assert other.n_best == []
    assert predictor.predict(SENTENCES[0]).n_best == []


@pytest.mark.parametrize("max_length", [2, 30])
def test_alternatives_are_the_best_tokens_of_each_step(predictor: Predictor, max_length: int) -> None:
    """The greedy answer's own tokens come first, with the probability that their score says."""
    for answer in predictor.predict(SENTENCES, alternatives=3, max_length=max_length, **GREEDY):
        assert len(answer.alternatives) == len(answer.token_scores)
        for step, found in enumerate(answer.alternatives):
            probabilities = [probability for _, probability in found]
            assert len(found) == 3
            assert probabilities == sorted(probabilities, reverse=True)
            assert probabilities[0] == pytest.approx(np.exp(answer.token_scores[step]), abs=1e-5)
            assert found[0][0] == (answer.tokens[step] if step < len(answer.tokens) else "</s>")


def test_alternatives_cover_the_whole_distribution(predictor: Predictor, inflector: Predictor) -> None:
    answer = predictor.predict("a b", alternatives=100, **GREEDY)
    for found in answer.alternatives:
        assert sum(probability for _, probability in found) == pytest.approx(1, abs=1e-5)
        assert len({token for token, _ in found}) == len(found) == 4 + 6  # special ids and letters
    assert predictor.predict("a b", **GREEDY).alternatives == []
    copying = inflector.predict({"source": "okapi", "features": ""}, alternatives=100, **GREEDY)
    assert all({"okapi", "</s>"} <= {token for token, _ in found} for found in copying.alternatives)


def test_answers_that_are_cut_say_so(predictor: Predictor) -> None:
    for answer in predictor.predict(SENTENCES, max_length=1, **GREEDY):
        assert answer.stopped == ("end" if not answer.tokens else "max_length")
        assert len(answer.token_scores) == 1
    assert predictor.predict("a b", min_length=4, max_length=4, **GREEDY).stopped == "max_length"


# --- options ---------------------------------------------------------------------------------------------------------


def test_options_are_those_of_decoding(predictor: Predictor) -> None:
    assert predictor.options({}) is predictor.decoding
    assert predictor.options({"beam_size": 2}).beam_size == 2
    assert predictor.decoding.beam_size == 5
    with pytest.raises(ConfigError, match="beam_sizes"):
        predictor.predict("a", beam_sizes=3)
    with pytest.raises(ConfigError, match=r"n_best is 4, but decoding.beam_size is 2"):
        predictor.predict("a", beam_size=2, n_best=4)


def test_unknown_tokens_are_replaced_by_what_was_read_most() -> None:
    """The source token with the largest weight among those of the text: not </s>, not a feature."""
    for features in ("none", "symbols", "encoder"):
        task = tiny(features=features)
        task.model.head.output.bias.data[1] = 50.0  # nothing but <unk>
        asked = task.predictor()
        given = {"source": "a zebra b", "features": "PST;SG"}
        plain = asked.predict(given, max_length=4, **GREEDY)
        assert plain.tokens == ["<unk>"] * 4
        replaced = asked.predict(given, max_length=4, replace_unknown=True, **GREEDY)
        start = plain.source_tokens.index("a")
        assert plain.attention is not None
        assert replaced.tokens == [["a", "zebra", "b"][column] for column in
                                   plain.attention[:, start : start + 3].argmax(1)]
        assert replaced.score == pytest.approx(plain.score)
        listed = asked.predict([given], max_length=4, replace_unknown=True, **GREEDY)[0]
        assert listed.tokens == replaced.tokens
        assert listed.attention is None


# --- prefixes --------------------------------------------------------------------------------------------------------


def test_every_answer_begins_with_its_prefix(predictor: Predictor) -> None:
    for answer in predictor.predict(SENTENCES, prefix="f e"):
        assert answer.tokens[:2] == ["f", "e"]
        check(answer)
    prefixes = ["", "a", "f e d", "b b", "", "c", "d", "e"]
    free = predictor.predict(SENTENCES)
    for answer, prefix, without in zip(predictor.predict(SENTENCES, prefix=prefixes), prefixes, free, strict=True):
        assert answer.tokens[: len(prefix.split())] == prefix.split()
        if not prefix:
            same(answer, without)
    assert predictor.predict("a b", prefix="f").tokens[0] == "f"


def test_a_prefix_that_was_never_seen(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match=r"the prefix 'f zz' holds 'zz', which the model never saw in an answer"):
        predictor.predict("a", prefix="f zz")


def test_a_prefix_of_an_answer_gives_that_answer(predictor: Predictor) -> None:
    answer = predictor.predict("a b c", **GREEDY)
    same(predictor.predict("a b c", prefix=" ".join(answer.tokens[:2]), **GREEDY), answer)


def test_a_prefix_may_be_copied(inflector: Predictor) -> None:
    answer = inflector.predict({"source": "okapi a", "features": ""}, prefix="okapi okapi")
    assert answer.tokens[:2] == ["okapi", "okapi"]


def test_bad_inputs_keep_the_prefixes_in_step(predictor: Predictor) -> None:
    answers = predictor.predict(["a", "", "b"], prefix=["d", "e", "f"])
    assert [answer.tokens[:1] for answer in answers] == [["d"], [], ["f"]]


def test_wrong_prefixes_are_refused(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match=r"(?s)1 prefixes for 2 inputs.*fix: give one prefix for each"):
        predictor.predict(["a", "b"], prefix=["c"])
    with pytest.raises(UsageError, match="the forced prefix has 3 tokens, and 2 are allowed"):
        predictor.predict("a", prefix="a b c", max_length=2)


# --- windows ---------------------------------------------------------------------------------------------------------


def counted(records: list[Record | BadRecord], read: list[int]) -> Iterator[Record | BadRecord]:
    for number, one in enumerate(records):
        read.append(number)
        yield one


RECORDS: list[Record | BadRecord] = [*TRIALS[:4], BadRecord("bad", "words.tsv", 5), *TRIALS[4:]]


@pytest.mark.parametrize("window", [1, 2, 3, 9, 100])
@pytest.mark.parametrize("options", [GREEDY, {"strategy": "sampling", "seed": 3, "n_best": 2}])
def test_windows_do_not_show(predictor: Predictor, monkeypatch: pytest.MonkeyPatch, window: int,
                             options: dict[str, Any]) -> None:
    """Order, prefixes, and the random numbers of a line stay what they are in one window."""
    chosen, prefixes = predictor.options(options), list("abcdefabc")
    whole = list(predictor.predict_records(RECORDS, chosen, prefixes=prefixes))
    monkeypatch.setattr(seqloom.predictor, "WINDOW", window)
    parts = list(predictor.predict_records(RECORDS, chosen, prefixes=prefixes))
    assert [answer.tokens[:1] for answer in parts] == [["a"], ["b"], ["c"], ["d"], [], ["f"], ["a"], ["b"], ["c"]]
    for one, other in zip(whole, parts, strict=True):
        assert one.stopped == other.stopped
        assert one.tokens == other.tokens


def test_a_window_is_answered_before_the_next_is_read(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seqloom.predictor, "WINDOW", 3)
    for answer in (predictor.predict_records, predictor.score_records):
        read: list[int] = []
        answers = answer(counted(RECORDS, read))
        assert read == []
        next(answers)
        assert read == [0, 1, 2]
        list(answers)
        assert len(read) == len(RECORDS)


@pytest.mark.parametrize("batch_tokens", [1, 7, 20, 10_000])
def test_the_budget_of_a_batch_does_not_show(predictor: Predictor, batch_tokens: int) -> None:
    chosen = predictor.options({"batch_tokens": batch_tokens, "beam_size": 2})
    for answer, expected in zip(predictor.predict_records(TRIALS, chosen), predictor.predict(SENTENCES, beam_size=2),
                                strict=True):
        same(answer, expected)
