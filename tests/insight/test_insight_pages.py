"""The pages in a real browser: nothing wrong on the console, nothing asked from a network, keys, phones, formulas."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from browser import Browser
from seqloom.plots.steps_page import steps_html
from seqloom.predictor import Predictor
from seqloom.types import Prediction

pytestmark = pytest.mark.slow


def written(predictor: Predictor, path: Path, text: str = "a b c d", **options: object) -> Prediction:
    prediction: Prediction = predictor.predict(text, attention=True, **options)
    path.write_bytes(steps_html(prediction.replay.steps_with(6), prediction, text))
    return prediction


def number(text: str) -> float:
    return float(text.replace("\u2212", "-"))


@pytest.mark.parametrize("options", [
    {}, {"score": "concat", "score_layers": 2}, {"score": "location", "coverage": True}, {"copying": True},
    {"context": "every_step"}, {"context": "initial"}, {"context": "in_step"}, {"combination": "concat"},
    {"normalization": "entmax15", "output": "entmax15"}, {"normalization": "sparsemax", "output": "sparsemax"},
    {"window": 2}, {"window": 2, "normalization": "entmax15"}],
    ids=lambda options: "-".join(map(str, options.values())) or "general")
def test_every_number_opens_and_its_terms_give_it(options: dict[str, object], tmp_path: Path,
                                                  predictor_of: Callable[..., Predictor]) -> None:
    prediction = written(predictor_of(**options), tmp_path / "x.html", "b c x e", min_length=3)
    with Browser() as page:
        page.open(tmp_path / "x.html", "#step=2")
        buttons = page.run("document.querySelectorAll('button[data-kind]').length")
        assert buttons > 20
        for index in range(buttons):
            page.run(f"document.querySelectorAll('button[data-kind]')[{index}].click()")
            assert page.run("!document.getElementById('formula').hidden")
            kind, filled = page.run(f"[document.querySelectorAll('button[data-kind]')[{index}].dataset.kind,"
                                    "document.getElementById('filled').textContent]")
            assert "undefined" not in filled
            assert "NaN" not in filled
            terms = page.run("[...document.querySelectorAll('#terms li')].map((item) => item.textContent)")
            if kind in ("value", "logit") and terms:
                check_sum(terms, filled, page.text("#filled"))
            if kind == "weight" and "normalization" in options:  # what the threshold leaves sums to 1
                assert sum(map(number, (term.removeprefix("+ ") for term in terms))) == pytest.approx(1, abs=1e-3)
        assert page.problems == []
        told = page.text("#story")
        assert told.startswith(f"Token 2 of {len(prediction.token_scores)}")
        assert number(told.rsplit(" ", 1)[1]) == pytest.approx(float(np.exp(prediction.token_scores[1])), abs=6e-4)


def check_sum(terms: list[str], filled: str, text: str) -> None:
    """The products that are shown add up to the number that is shown, to the rounding of four places."""
    products = [re.findall(r"\u2212?[\d.]+(?:e\u2212?\d+)?", term) for term in terms]
    total = sum(number(a) * number(b) for a, b in products)
    bias = re.search(r"= (\S+) \+ (\S+) =", filled)
    expected = number(bias[1]) if bias else number(text.rsplit("= ", 1)[1])
    assert total == pytest.approx(expected, abs=1e-4 * (1 + len(terms)))


def test_keys_move_the_slider(tmp_path: Path, predictor_of: Callable[..., Predictor]) -> None:
    prediction = written(predictor_of(), tmp_path / "x.html", min_length=4)
    with Browser() as page:
        page.open(tmp_path / "x.html")
        places = []
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft"):
            page.press(key)
            places.append(int(page.text("#story").split()[1]))
        last = len(prediction.token_scores)
        assert places == [2, 3, 2, last, last, 1, 1]
        page.run("document.getElementById('slider').focus()")
        page.press("ArrowRight")
        assert page.text("#story").startswith("Token 2 ")
        page.run("document.querySelector('button[data-kind=weight]').click()")
        page.press("Escape")
        assert page.run("document.getElementById('formula').hidden")
        assert page.problems == []


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_a_phone(width: int, tmp_path: Path, predictor_of: Callable[..., Predictor]) -> None:
    written(predictor_of(), tmp_path / "x.html")
    with Browser(width, 800) as page:
        page.open(tmp_path / "x.html")
        page.run("document.querySelector('button[data-kind=score]').click()")
        assert page.overflow() == 0
        assert page.problems == []


def test_five_hundred_tokens_stay_fast(tmp_path: Path, predictor_of: Callable[..., Predictor]) -> None:
    written(predictor_of(), tmp_path / "x.html", " ".join("abcdef"[i % 6] for i in range(500)), min_length=499,
            max_length=500)
    with Browser() as page:
        page.open(tmp_path / "x.html")
        assert page.text("#story").startswith("Token 1 of 500")
        began = time.perf_counter()
        for _ in range(10):
            page.press("ArrowRight")
        assert page.text("#story").startswith("Token 11 of")
        assert (time.perf_counter() - began) / 10 < 0.5
        assert page.overflow() == 0
        assert page.problems == []


def test_right_to_left_text_and_every_script_have_their_letters(tmp_path: Path,
                                                                predictor_of: Callable[..., Predictor]) -> None:
    """No token is clipped away or hidden: what the page shows is what was read, in its own direction."""
    from seqloom.plots.steps_page import steps_html

    text = "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \ud55c\uad6d\uc5b4 \u0939\u093f\u0902 \U0001f600"
    prediction = predictor_of(copying=True).predict(text, attention=True, min_length=2)
    (tmp_path / "x.html").write_bytes(steps_html(prediction.steps, prediction, text))
    with Browser(400, 800) as page:
        page.open(tmp_path / "x.html")
        shown = page.run("[...document.querySelectorAll('#scores tbody th bdi')].map((cell) => [cell.textContent, "
                         "getComputedStyle(cell).direction, cell.getBoundingClientRect().width > 4])")
        assert [one[0] for one in shown] == [*text.split(), "</s>"]
        assert [one[1] for one in shown] == ["rtl", "rtl", "ltr", "ltr", "ltr", "ltr"]
        assert all(one[2] for one in shown)
        assert page.overflow() == 0
        assert page.problems == []


@pytest.mark.parametrize("width", [360, 1200])
def test_the_other_pages(width: int, tmp_path: Path, predictor_of: Callable[..., Predictor]) -> None:
    from seqloom.insight.gates import gates_of
    from seqloom.insight.gradients import gradients_of
    from seqloom.insight.history import Frame, History
    from seqloom.insight.path import path_of
    from seqloom.insight.whatif import Change, what_if
    from seqloom.plots.gates_page import Microscope, gates_html
    from seqloom.plots.history_page import history_html
    from seqloom.plots.path_page import path_html
    from seqloom.plots.whatif_page import whatif_html

    answer = predictor_of(bidirectional=True).predict("a b c d e f a b c d e f", attention=True)
    replay = answer.replay
    frames = [Frame(step, ["a", "</s>"], ["b"], [0.5, 0.5], [[0.25, 0.75], [0.5, 0.5]]) for step in (5, 10, 15)]
    rows = [{"step": step, "gold_token_accuracy": 0.5, "free_token_accuracy": 0.25} for step in (5, 10, 15)]
    gates = Microscope(gates_of(replay, answer.text), gradients_of(replay))
    pages = {"path": path_html(path_of(replay), answer, "a b"), "gates": gates_html([gates, gates], answer, "a b"),
             "whatif": whatif_html(what_if(replay, Change(forced={0: "f"})), answer, "a b"),
             "history": history_html(History("run", ["b"], frames, rows))}
    with Browser(width, 800) as page:
        for name, content in pages.items():
            (tmp_path / f"{name}.html").write_bytes(content)
            page.open(tmp_path / f"{name}.html")
            assert page.overflow() == 0, name
            assert page.problems == [], name
            if name == "history":
                places = []
                for key in ("ArrowRight", "End", "ArrowLeft", "Home"):
                    page.press(key)
                    places.append(page.text("#story"))
                assert [int(place.split()[1]) for place in places] == [2, 3, 2, 1]
            if name == "gates":
                page.run("document.querySelector('canvas').focus()")
                page.press("ArrowRight")
                assert "token 2 (b)" in page.text("#told")
                assert page.run("[...document.querySelectorAll('canvas')].every((one) => one.width && one.height)")
