"""Hard inputs in every page, in a real browser: no attention, 500 tokens, right-to-left text, an empty output."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from plot_samples import NO_ATTENTION, NO_OUTPUT, SCRIPTS, predicted
from seen_samples import KINDS
from seen_samples import predicted as seen_predicted

from browser import Browser
from seqloom.insight.gates import gates_of
from seqloom.insight.history import Frame, History
from seqloom.insight.path import path_of
from seqloom.insight.whatif import Change, what_if
from seqloom.plots import write_attention
from seqloom.plots.gates_page import Microscope, gates_html
from seqloom.plots.history_page import history_html
from seqloom.plots.path_page import path_html
from seqloom.plots.steps_page import steps_html
from seqloom.plots.whatif_page import whatif_html
from seqloom.predictor import load_predictor
from seqloom.run import WEIGHTS, write_description, write_weights
from seqloom.types import Prediction
from tiny import tiny

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]

MANY = 500
OPENS_WITHIN = 8.0  # seconds, in a headless browser on a shared core; a page that lays out badly takes minutes
RIGHT_TO_LEFT = predicted("أهلا وسهلا بك في البيت".split(), "ברוך הבא הביתה".split())
HARD: dict[str, Prediction] = {
    "no-attention": NO_ATTENTION, "empty-output": NO_OUTPUT, "right-to-left": RIGHT_TO_LEFT, "scripts": SCRIPTS,
    "many": predicted([f"w{place}" for place in range(MANY)], [f"v{place}" for place in range(MANY)])}
PAGES: dict[str, Callable[[Any, Prediction, str], bytes]] = {
    "steps": lambda replay, answer, text: steps_html(replay.steps, answer, text),
    "path": lambda replay, answer, text: path_html(path_of(replay), answer, text),
    "gates": lambda replay, answer, text: gates_html([Microscope(gates_of(replay, text), None)], answer, text),
    "whatif": lambda replay, answer, text: whatif_html(what_if(replay, Change(reverse=True)), answer, text),
}


def look(path: Path, width: int) -> Browser:
    """The open page; its time is checked."""
    page = Browser(width=width)
    began = time.monotonic()
    page.open(path)
    assert page.run("document.body.getBoundingClientRect().height") > 0  # laid out
    assert time.monotonic() - began < OPENS_WITHIN
    return page


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", HARD)
def test_the_page_of_one_prediction(name: str, width: int, tmp_path: Path) -> None:
    write_attention(HARD[name], tmp_path / "x.html", input_text="x")
    with look(tmp_path / "x.html", width) as page:
        assert page.problems == []
        assert page.overflow() == 0
        text = page.text("main")
        if name == "no-attention":
            assert "no attention weights" in text
            assert "yesterday" in text
        if name == "empty-output":
            assert "empty" in page.text("dd.out")
        if name == "right-to-left":
            ways = page.run("[...document.querySelectorAll('ul.chips')].map((one) => getComputedStyle(one).direction)")
            assert ways == ["rtl", "rtl"]
            first, second = (page.run(f"document.querySelectorAll('[data-step]')[{place}].getBoundingClientRect().left")
                             for place in (0, 1))
            assert first > second  # the first word stands on the right
        if name == "many":
            box = page.run("(() => { const one = document.querySelector('.scroll');"
                           "return [one.scrollWidth > one.clientWidth, one.scrollHeight > one.clientHeight] })()")
            assert box == [True, True]
            began = time.monotonic()
            page.run("document.querySelectorAll('[data-step]')[400].click()")
            assert "v400" in page.text("#detail")
            assert time.monotonic() - began < 2


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("tokens", [[], ["سلام", "a"], [f"v{place}" for place in range(MANY)]],
                         ids=["empty-output", "right-to-left", "many"])
@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_pictures_sound_and_frames(kind: str, tokens: list[str], width: int, tmp_path: Path) -> None:
    write_attention(seen_predicted(kind, tokens), tmp_path / "x.html", input_text="x")
    with look(tmp_path / "x.html", width) as page:
        assert page.problems == []
        assert page.overflow() == 0
        assert page.run("document.querySelectorAll('figcaption').length") == len(tokens) + 2
        assert page.run("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")


def frames_of(source: list[str], tokens: list[str], *, attention: bool = True) -> list[Frame]:
    """Three validations of an example, with the end symbol written each time."""
    rows = [[1 / len(source)] * len(source) for _ in range(len(tokens) + 1)]
    return [Frame(step, source, tokens, [0.5] * (len(tokens) + 1), rows if attention else None) for step in (5, 10, 15)]


HISTORIES: dict[str, list[Frame]] = {
    "no-attention": frames_of(["a", "b", "</s>"], ["b"], attention=False), "empty-output": frames_of(["a", "</s>"], []),
    "right-to-left": frames_of(["سلام", "أهلا", "</s>"], ["ברוך", "הבא"]),
    "longest": frames_of([f"w{place}" for place in range(60)], [f"v{place}" for place in range(60)]),  # training keeps
    "many": frames_of([f"w{place}" for place in range(MANY)], [f"v{place}" for place in range(MANY)])}


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", HISTORIES)
def test_the_page_of_a_training(name: str, width: int, tmp_path: Path) -> None:
    frames = HISTORIES[name]
    rows = [{"step": frame.step, "gold_token_accuracy": 0.5, "free_token_accuracy": 0.25} for frame in frames]
    (tmp_path / "x.html").write_bytes(history_html(History("run", frames[0].tokens, frames, rows)))
    with look(tmp_path / "x.html", width) as page:
        assert page.problems == []
        assert page.overflow() == 0
        began = time.monotonic()
        page.press("End")
        assert page.text("#story").split()[1] == "3"
        assert time.monotonic() - began < (OPENS_WITHIN if name == "many" else 2)  # a quarter of a million cells
        text = page.text("main")
        for token in frames[0].tokens[-1:]:
            assert token in text
        if name == "no-attention":
            assert "attention" in text


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tiny models with attention and without, opened."""
    from seqloom.model import stored_weights

    opened = {}
    for context in ("attention", "initial"):
        task, folder = tiny(context=context), tmp_path_factory.mktemp(context)
        write_description(folder, task.config, task.source, task.head)
        write_weights(folder / WEIGHTS, {name: weight.numpy() for name, weight in stored_weights(task.model).items()})
        opened[context] = load_predictor(folder, engine="torch", device="cpu")
    return opened


INPUTS: dict[str, tuple[str, str, dict[str, int]]] = {
    "no-attention": ("initial", "a b c", {}), "empty-output": ("attention", "a b c", {"max_length": 1}),
    "right-to-left": ("attention", "سلام أهلا b", {"min_length": 2}),
    "many": ("attention", " ".join("abcdef"[place % 6] for place in range(MANY)),
             {"min_length": MANY - 1, "max_length": MANY})}


@pytest.mark.parametrize("view", PAGES)
@pytest.mark.parametrize("name", INPUTS)
def test_the_other_pages(name: str, view: str, runs: dict[str, Any], tmp_path: Path) -> None:
    context, text, options = INPUTS[name]
    answer = runs[context].predict(text, attention=True, **options)
    replay = answer.replay
    if name == "empty-output":  # the answer is the end symbol alone
        from dataclasses import replace

        hypothesis = replace(replay.hypothesis, ids=replay.hypothesis.ids[:0], finished=True)
        replay = type(replay)(replay.run, replay.item, replay.source_tokens, hypothesis)
        answer = replace(answer, text="", tokens=[], replay=replay)
    (tmp_path / "x.html").write_bytes(PAGES[view](replay, answer, text))
    with look(tmp_path / "x.html", 360) as page:
        assert page.problems == []
        assert page.overflow() == 0
        if name == "no-attention" and view == "steps":
            assert "attention" in page.text("main")
        if name == "right-to-left":
            assert "سلام" in page.text("main")
