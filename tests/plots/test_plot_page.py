"""The HTML page, read back with the standard library's parser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from plot_samples import ALL, BAD, DATES, DRAWN, NO_ATTENTION, QUOTES, SCRIPT, SCRIPTS, WORDS, predicted

from seqloom.errors import UsageError
from seqloom.plots.assets import LEVELS
from seqloom.plots.page import write_html
from seqloom.plots.view import view_of
from seqloom.types import Prediction

VOID = {"meta"}
GIVEN = f"{SCRIPT} \u202e \0 {QUOTES} https://example.org/"


class Page(HTMLParser):
    """Elements with their attributes and the text directly and indirectly in them; fails on tags that do not match."""

    def __init__(self, content: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(content.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self.open:
            self.elements[place][2].append(data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        """The text of every such element; `kind` asks for a class, `data_x` for the presence of data-x."""
        return ["".join(text) for name, attributes, text in self.elements if name == tag and all(
            value in (attributes.get("class") or "").split() if key == "kind" else key.replace("_", "-") in attributes
            for key, value in wanted.items())]


def page(prediction: Prediction, input_text: str | None = GIVEN) -> Page:
    content, warnings = write_html(view_of(prediction, input_text))
    assert warnings == []
    return Page(content)


def cells(read: Page) -> list[str]:
    return ["".join(text) for name, attributes, text in read.elements
            if name == "td" and re.fullmatch(r"l\d+", attributes.get("class") or "")]


@pytest.mark.parametrize("name", DRAWN)
def test_every_weight_is_in_the_table(name: str) -> None:
    prediction = DRAWN[name]
    assert prediction.attention is not None
    shown = [float(text) for text in cells(page(prediction))]
    np.testing.assert_allclose(shown, prediction.attention.ravel(), atol=0.0005 + 1e-7)


@pytest.mark.parametrize("name", ALL)
def test_the_page_is_whole_and_closed(name: str) -> None:
    content, _ = write_html(view_of(ALL[name], GIVEN))
    read = Page(content)
    assert {name for name, _, _ in read.elements} <= set("""
        html head meta title style body main header h1 h2 dl dt dd ul ol li p span section button bdi svg rect div
        table thead tbody tr th td i script""".split())
    attributes = {key for _, attributes, _ in read.elements for key in attributes}
    assert not attributes & {"style", "src", "href"}
    assert not any(key.startswith("on") for key in attributes)
    assert "viewport" in [attributes.get("name") for _, attributes, _ in read.elements]
    sources = re.sub(r"<bdi.*?</bdi>|<dd.*?</dd>|<title>.*?</title>", "", content.decode(), flags=re.DOTALL)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", sources)


@pytest.mark.parametrize("name", ALL)
def test_the_policy_allows_only_our_own_script_and_style(name: str) -> None:
    content = write_html(view_of(ALL[name], GIVEN))[0].decode()
    policies = [attributes["content"] for tag, attributes, _ in Page(content.encode()).elements
                if attributes.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in (policies[0] or "").split("; "))
    assert rules["default-src"] == "'none'"
    for tag in ("script", "style"):
        blocks = re.findall(f"<{tag}>(.*?)</{tag}>", content, flags=re.DOTALL)
        assert len(blocks) == 1
        digest = base64.b64encode(hashlib.sha256(blocks[0].encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_hostile_texts_are_only_text() -> None:
    read = page(SCRIPTS)
    assert len(read.texts("script")) == 1
    assert {SCRIPT, QUOTES, "<U+202E>", "␀", "∅"} <= set(read.texts("bdi"))
    assert read.texts("dd")[0] == f"{SCRIPT} \u2068<U+202E>\u2069 ␀ {QUOTES} https://example.org/"
    assert read.texts("title")[0].startswith(SCRIPT)


def test_input_output_and_score_are_shown() -> None:
    read = page(DATES, "2019년 3월 4일")
    assert read.texts("dt") == ["Input", "Output"]
    assert read.texts("dd") == ["2019년 3월 4일", "2019-03-04"]
    facts = " ".join(read.texts("li"))
    assert f"log-probability {DATES.score:.4f} nats" in facts
    assert "10 output tokens" in facts
    assert "ended by the model" in facts
    assert page(DATES, None).texts("dt") == ["Output"]


def test_tokens_carry_probabilities_and_the_script_finds_its_elements() -> None:
    read = page(DATES)
    buttons = [attributes for name, attributes, _ in read.elements if name == "button"]
    assert [float(button["data-probability"] or "nan") for button in buttons] == pytest.approx(
        np.exp(DATES.token_scores), abs=0.0005)
    assert read.texts("button") == [*DATES.tokens, "</s>"]
    assert read.texts("span", data_source="") == list("2019년␣3월␣4일")
    code = read.texts("script")[0]
    assert "LEVELS" not in code
    for needed in ("data-step", "data-source", "data-others", "detail", "weights"):
        assert needed in code


def test_levels_have_rules_in_both_themes() -> None:
    read = page(WORDS)
    light, dark = read.texts("style")[0].split("@media (prefers-color-scheme:dark)")
    used = {attributes["class"] for name, attributes, _ in read.elements if name == "td"}
    assert used <= {"p"} | {f"l{level}" for level in range(LEVELS + 1)}
    for level in range(LEVELS + 1):
        assert f".l{level}{{background:#" in light
        assert f".l{level}{{background:#" in dark


def test_alternatives_and_best_answers() -> None:
    read = page(DATES)
    assert len(read.texts("tr", data_others="")) == len(DATES.tokens) + 1
    assert {"x 0.500", f"{SCRIPT} 0.250", "한 0.125"} <= set(read.texts("li"))
    assert {"Alternatives", "Best answers", "Attention"} <= set(read.texts("h2"))
    assert "2019-03-04 !" in read.texts("td")
    assert set(page(WORDS).texts("h2")) == {"Where each token looked", "Attention"}


def test_labels_are_listed_likeliest_first() -> None:
    prediction = Prediction("good", -0.1, probabilities={"bad": 0.25, "good": 0.625, SCRIPT: 0.125})
    assert page(prediction).texts("td") == ["good", "0.6250", "bad", "0.2500", SCRIPT, "0.1250"]


def test_without_attention_the_rest_is_shown_with_a_note() -> None:
    read = page(NO_ATTENTION)
    assert "holds no attention weights" in read.texts("p", kind="note")[0]
    assert read.texts("button") == [*WORDS.tokens, "</s>"]
    assert read.texts("table") == []
    assert read.texts("h2") == ["Tokens"]


def test_a_bad_input_is_shown_with_its_reason() -> None:
    read = page(BAD)
    assert read.texts("p", kind="note") == ["this input could not be used: the input is <empty>"]
    assert read.texts("dd")[1] == "empty"
    assert "not answered" in read.texts("li")
    assert not any("nan" in text for text in read.texts("li"))


def test_an_error_without_reason_still_says_something() -> None:
    assert "no reason was given" in page(dataclasses.replace(BAD, error="")).texts("p", kind="note")[0]


def test_many_tokens_make_a_dense_table() -> None:
    tokens = [f"token{place}" for place in range(150)]
    kinds = {count: next(attributes["class"] for name, attributes, _ in page(predicted(tokens[:count], tokens)).elements
                         if name == "table") for count in (3, 30, 150)}
    assert kinds == {3: "weights turned", 30: "weights dense turned", 150: "weights dense turned vast"}
    assert "class=\"weights\"" in write_html(view_of(DATES))[0].decode()


def test_columns_turn_by_script() -> None:
    heads = [attributes.get("class") for name, attributes, _ in page(SCRIPTS).elements
             if name == "th" and attributes.get("scope") == "col"]
    by_token = dict(zip(SCRIPTS.source_tokens, heads[1:], strict=False))
    assert by_token["한국어"] == "upright"
    assert by_token["👩‍👩‍👧"] == by_token[" "] == "short"
    assert by_token[SCRIPT] is by_token["مرحبا"] is None


def test_too_many_weights_are_refused() -> None:
    weights = np.zeros((1001, 1000), np.float32)
    many = Prediction("", 0.0, tokens=["a"] * 1001, source_tokens=["b"] * 1000, attention=weights)
    with pytest.raises(UsageError, match="too many to draw"):
        write_html(view_of(many))
