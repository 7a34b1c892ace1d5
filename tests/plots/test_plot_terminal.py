"""The heat-map in a terminal: aligned, as wide as asked, colour only where it belongs."""

from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pytest
from plot_samples import ALL, BAD, CUT, DATES, LONG, NO_ATTENTION, SCRIPTS, WORDS, predicted
from rich.cells import cell_len

from seqloom.errors import UsageError
from seqloom.plots.terminal import PLAIN_SHADES, SHADES, show_attention
from seqloom.types import Prediction

ISOLATES = "\u2068\u2069"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")


def printed(prediction: Prediction, width: int = 80, input_text: str | None = None) -> list[str]:
    stream = io.StringIO()
    show_attention(prediction, file=stream, width=width, input_text=input_text)
    return stream.getvalue().split("\n")


def rows(lines: list[str], shades: tuple[str, ...] = SHADES) -> list[list[str]]:
    """The blocks of every heat-map row."""
    found = []
    for line in lines:
        blocks = re.search(r" \d\.\d\d ((?:[^ ]{2}|[·.] )+)$", line)
        if blocks and not line.startswith("weight"):
            text = blocks[1]
            assert len(text) % 2 == 0
            found.append([text[place:place + 2] for place in range(0, len(text), 2)])
            assert set(found[-1]) <= set(shades)
    return found


@pytest.mark.parametrize("prediction", [DATES, WORDS, CUT])
def test_the_shade_of_each_block_is_the_weight(prediction: Prediction) -> None:
    assert prediction.attention is not None
    lines = printed(prediction)
    top = float(next(line for line in lines if line.startswith("weight")).split()[-1])
    assert top >= prediction.attention.max()
    expected = [[SHADES[round(weight / top * 4)] for weight in row] for row in prediction.attention.tolist()]
    assert rows(lines) == expected


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [30, 80, 200])
def test_lines_fit_and_blocks_start_in_one_column(name: str, width: int) -> None:
    prediction = ALL[name]
    lines = printed(dataclasses.replace(prediction, text="short", alternatives=[]), width)
    if prediction.attention is None:
        return
    lines = [line.translate(dict.fromkeys(map(ord, ISOLATES))) for line in lines]
    body = [line for line in lines if re.search(r" \d\.\d\d ", line) and not line.startswith(("score", "weight"))]
    assert all(cell_len(line) <= width for line in body)
    ends = {cell_len(re.split(r"(?<= \d\.\d\d) ", line)[0]) for line in body}
    assert len(ends) <= 1
    assert len(body) % max(len(prediction.attention), 1) == 0


def test_wide_letters_stand_over_their_column() -> None:
    lines = printed(DATES)
    head = next(line for line in lines if "년" in line)
    first = next(line for line in lines if re.match(r" +2  0\.\d\d ", line))
    assert cell_len(head[:head.index("년")]) == first.index(" 0.") + len(" 0.77 ") + 2 * 4
    assert head.split() == ["2", "0", "1", "9", "년␣", "3", "월␣", "4", "일"]


def test_long_inputs_are_cut_into_panels_that_hold_every_column() -> None:
    assert LONG.attention is not None
    lines = printed(LONG, 80)
    said = [tuple(map(int, re.findall(r"\d+", line))) for line in lines if line.startswith("source ")]
    assert said[0][0] == 1
    assert said[-1][1:] == (80, 80)
    assert [first for first, *_ in said[1:]] == [last + 1 for _, last, _ in said[:-1]]
    found = rows(lines)
    height = len(LONG.attention)
    assert len(found) == height * len(said)
    assert [sum(len(row) for row in found[step::height]) for step in range(height)] == [80] * height


def test_labels_run_downwards_and_are_cut() -> None:
    lines = printed(predicted(["ab", "x" * 30], ["y" * 30]))
    heads = [line.split() for line in lines if line and set(line) <= set(" abx⋮")]
    assert heads == [["x"]] * 10 + [["a", "x"], ["b", "⋮"]]
    assert any(line.startswith("y" * 17 + "…  ") for line in lines)
    assert not any("y" * 18 in line for line in lines[2:])


def test_hidden_characters_are_shown_and_right_to_left_is_isolated() -> None:
    text = "\n".join(printed(SCRIPTS))
    assert "\x00" not in text
    assert "\u202e" not in text
    assert re.search(r"\u2068سلام\u2069 +\d\.\d\d ", text)
    assert "␀" in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    colourful = Terminal()
    show_attention(WORDS, file=colourful, width=80)
    assert "\x1b[48;2;" in colourful.getvalue()
    assert not set("".join(SHADES).replace(" ", "")) & set(colourful.getvalue())
    monkeypatch.setenv(name, value)
    plain = Terminal()
    show_attention(WORDS, file=plain, width=80)
    assert "\x1b[48" not in plain.getvalue()
    assert "▓▓" in plain.getvalue()
    assert "\x1b" not in "\n".join(printed(WORDS))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp949", "cp437", "utf-8"])
def test_output_that_is_not_unicode(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    show_attention(SCRIPTS, file=stream, width=100, input_text="नमस्ते")
    stream.flush()
    text = raw.getvalue().decode(encoding)
    assert "नमस्ते" in text if encoding == "utf-8" else "\\u0928" in text
    assert (PLAIN_SHADES[4] in text) == (encoding not in ("cp437", "utf-8"))


def test_the_words_around_the_picture() -> None:
    lines = printed(DATES, input_text="2019년 3월 4일")
    assert lines[:3] == ["input   2019년 3월 4일", "output  2019-03-04", f"score   {DATES.score:.4f} nats"]
    assert "   1  x 0.500   <script>alert(1)</script> 0.250   한 0.125" in lines
    assert "cut at the maximum length" in "\n".join(printed(CUT))


def test_without_attention_it_says_so_and_prints_the_rest() -> None:
    text = "\n".join(printed(NO_ATTENTION))
    assert "holds no attention weights: from Python, ask for them with attention=True; only models" in text
    for token, score in zip([*WORDS.tokens, "</s>"], WORDS.token_scores, strict=True):
        assert re.search(rf"{re.escape(token)}  {np.exp(score):.2f} ", text)


def test_a_bad_input_and_an_empty_answer() -> None:
    assert printed(BAD, input_text="") == ["input   (empty)", "output  (empty)",
                                           "this input could not be used: the input is <empty>", ""]
    assert "output  (empty)" in printed(ALL["nothing"])


def test_too_many_weights_are_refused() -> None:
    weights = np.zeros((1001, 1000), np.float32)
    many = Prediction("", 0.0, tokens=["a"] * 1001, source_tokens=["b"] * 1000, attention=weights)
    with pytest.raises(UsageError, match="too many to draw"):
        printed(many)
