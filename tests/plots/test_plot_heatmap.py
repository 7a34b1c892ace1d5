"""The SVG heat-map, read back as XML."""

from __future__ import annotations

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from plot_samples import BAD, CUT, DATES, DRAWN, LONG, NO_ATTENTION, QUOTES, SCRIPT, SCRIPTS, WORDS, predicted

from seqloom.errors import UsageError
from seqloom.plots.colours import LIGHT_SCALE
from seqloom.plots.heatmap import layout_of, write_svg
from seqloom.plots.view import MAXIMUM_CELLS, view_of
from seqloom.types import Prediction

SVG = "{http://www.w3.org/2000/svg}"


def drawn(prediction: Prediction, input_text: str | None = None) -> ElementTree.Element:
    content, warnings = write_svg(view_of(prediction, input_text))
    assert warnings == []
    return ElementTree.fromstring(content)


def weights_in(root: ElementTree.Element) -> list[float]:
    return [float((title.text or "").split()[0]) for title in root.findall(f"{SVG}g/{SVG}rect/{SVG}title")]


@pytest.mark.parametrize("name", DRAWN)
def test_every_weight_is_in_the_picture(name: str) -> None:
    prediction = DRAWN[name]
    assert prediction.attention is not None
    root = drawn(prediction)
    np.testing.assert_allclose(weights_in(root), prediction.attention.ravel(), atol=0.0005 + 1e-7)
    assert len(root.findall(f"{SVG}g")) == len(prediction.attention)


@pytest.mark.parametrize("name", DRAWN)
def test_everything_is_inside_the_picture(name: str) -> None:
    root = drawn(DRAWN[name])
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    for group in root.findall(f"{SVG}g"):
        x, y = map(float, re.findall(r"[\d.]+", group.get("transform", "")))
        for cell in group:
            assert x + float(cell.get("x", "")) + float(cell.get("width", "")) <= width
            assert y + float(cell.get("height", "")) <= height
    for label in root.findall(f"{SVG}text"):
        place = label.get("transform")
        x, y = map(float, re.findall(r"[\d.]+", place)[:2]) if place else (float(label.get("x", "")),
                                                                           float(label.get("y", "")))
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_the_darkest_cell_is_the_largest_weight() -> None:
    weights = np.array([[0.0, 1.0], [0.25, 0.75]], np.float32)
    root = drawn(dataclasses.replace(predicted(["a", "b"], ["c"]), attention=weights))
    assert [cell.get("fill") for cell in root.findall(f"{SVG}g/{SVG}rect")] == [
        LIGHT_SCALE[0], LIGHT_SCALE[4], LIGHT_SCALE[1], LIGHT_SCALE[3]]


def labels_of(root: ElementTree.Element) -> list[str]:
    return [(label.findtext(f"{SVG}title") or "").strip("\u2068\u2069") for label in root.findall(f"{SVG}text")
            if label.find(f"{SVG}title") is not None]


def test_labels_are_the_tokens_and_the_end_symbol() -> None:
    assert labels_of(drawn(DATES)) == [*"2019년␣3월␣4일", *DATES.tokens, "</s>"]
    assert labels_of(drawn(CUT)) == list("abc") + list("abcabc")  # cut at the maximum length: no end symbol
    ending = [label for label in drawn(DATES).findall(f"{SVG}text") if label.get("font-style") == "italic"]
    assert len(ending) == 1
    assert ending[0].findall(f"{SVG}title")[0].tail == "</s>"


def test_hostile_texts_are_only_text() -> None:
    content, _ = write_svg(view_of(SCRIPTS, SCRIPT))
    root = ElementTree.fromstring(content)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "desc", "rect", "text", "g", "defs", "linearGradient", "stop"}
    labels = labels_of(root)
    assert {SCRIPT, QUOTES, "<U+202E>", "␀", "<U+D800>", "␊", "◌\u0301", "∅", "<U+200D>"} <= set(labels)
    assert root.findtext(f"{SVG}title") == f"{SCRIPT} → " + SCRIPTS.text.replace("\u200d", "\u2068<U+200D>\u2069")


def test_right_to_left_labels_are_isolated_and_end_at_the_cells() -> None:
    labels = {(label.find(f"{SVG}title").tail if len(label) else label.text): label  # type: ignore[union-attr]
              for label in drawn(SCRIPTS).findall(f"{SVG}text")}
    arabic, devanagari = labels["سلام"], labels["दुनिया"]
    assert (arabic.get("direction"), arabic.get("unicode-bidi")) == ("rtl", "isolate")
    assert arabic.get("text-anchor") == "start"
    assert (devanagari.get("direction"), devanagari.get("text-anchor")) == (None, "end")


def test_nothing_is_loaded_from_elsewhere() -> None:
    content = write_svg(view_of(SCRIPTS))[0].decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|href|@import|<style|<image|url\((?!#)", content)
    assert "Noto" in content


@pytest.mark.parametrize(("columns", "slant"), [(["a", "b", "한"], 0), (["a", "longer"], 45), (["word"] * 80, 90)])
def test_labels_turn_when_they_are_wide(columns: list[str], slant: int) -> None:
    assert layout_of(["x"], columns, False).slant == slant


def test_sizes_adapt_to_the_number_of_tokens() -> None:
    sizes = [layout_of(["a"] * count, ["b"] * count, True).cell for count in (3, 20, 40, 80, 150, 500)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 32
    assert sizes[-1] == 8


def test_five_hundred_tokens() -> None:
    tokens = [f"token{place}" for place in range(500)]
    prediction = predicted(tokens, tokens)
    assert prediction.attention is not None
    content, _ = write_svg(view_of(prediction))
    root = ElementTree.fromstring(content)
    shown = np.array(weights_in(root))
    expected = prediction.attention[prediction.attention >= 0.0005]
    np.testing.assert_allclose(shown, expected, atol=0.0005 + 1e-7)
    assert "below 0.0005" in (root.findtext(f"{SVG}desc") or "")
    assert len(content) < 5_000_000
    assert 4000 < float(root.get("width", "")) < 4400


def test_empty_pictures_say_so() -> None:
    assert "empty source" in write_svg(view_of(DRAWN["no source"]))[0].decode()
    assert "empty output" in write_svg(view_of(DRAWN["nothing"]))[0].decode()
    assert "empty" not in write_svg(view_of(WORDS))[0].decode()


# --- what cannot be drawn --------------------------------------------------------------------------------------------


def test_no_attention_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="holds no attention weights") as caught:
        write_svg(view_of(NO_ATTENTION))
    assert "decoder.context: attention" in caught.value.fix


def test_bad_input_is_an_error_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"^words.txt:3: this input could not be used: the input is <empty>"):
        write_svg(view_of(BAD))


def test_too_many_weights_are_refused_before_drawing() -> None:
    side = int(MAXIMUM_CELLS**0.5) + 1
    weights = np.zeros((side, side), np.float32)
    many = Prediction("", 0.0, tokens=["a"] * side, source_tokens=["b"] * side, attention=weights)
    with pytest.raises(UsageError, match=r"1001 × 1001 attention weights are too many to draw \(at most 1,000,000\)"):
        write_svg(view_of(many))


@pytest.mark.parametrize("shape", [(3, 80), (62, 80), (60, 79), (60,), (60, 80, 1)])
def test_a_wrong_shape_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="attention has the shape"):
        view_of(dataclasses.replace(LONG, attention=np.zeros(shape, np.float32)))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.5, 1.5])
def test_values_that_are_no_weights_are_an_error(wrong: float) -> None:
    with pytest.raises(UsageError, match="values that are not weights between 0 and 1"):
        view_of(dataclasses.replace(CUT, attention=np.full((6, 3), wrong, np.float32)))


def test_positions_without_tokens_are_numbered() -> None:
    """An image or sound has positions but no tokens."""
    view = view_of(dataclasses.replace(CUT, source_tokens=[]))
    assert view.columns == ["1", "2", "3"]
