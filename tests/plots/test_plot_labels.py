"""Labels: nothing hidden, nothing unsafe, cut between letters; colours that keep their order."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from seqloom.plots.colours import DARK_SCALE, DASHES, LIGHT_SCALE, PALETTE, channels, ink_on, scale, top_of
from seqloom.plots.labels import clusters, direction, ems, escaped, isolated, shortened, visible

anything = st.text(st.characters())


@pytest.mark.parametrize(("token", "shown"), [
    ("word", "word"), ("한국어", "한국어"), ("", "∅"), (" ", "␣"), ("a b", "a␣b"), ("\n", "␊"), ("\t", "␉"),
    ("\0", "␀"), ("\x7f", "␡"), ("\x85", "<U+0085>"), ("\u00a0", "<U+00A0>"), ("\u2028", "<U+2028>"),
    ("\u202e", "<U+202E>"), ("\ufeff", "<U+FEFF>"), ("\ud800", "<U+D800>"), ("\ue000", "<U+E000>"),
    ("\uffff", "<U+FFFF>"),
    ("\u0301", "◌\u0301"), ("a\u0301", "a\u0301"), ("␣\u0301", "␣\u0301"), (" \u0301", "␣◌\u0301"),
    ("\u200d", "<U+200D>"), ("क्\u200dष", "क्\u200dष"), ("a\u200d", "a<U+200D>"), ("\ufe0f", "<U+FE0F>"),
    ("❤\ufe0f", "❤\ufe0f"), ("👩\u200d👧", "👩\u200d👧"), ("\u0601", "\u0601"), ("\U000e0067", "<U+E0067>"),
    ("🏴\U000e0067", "🏴\U000e0067"), ("\n\u0301", "␊◌\u0301")])
def test_visible(token: str, shown: str) -> None:
    assert visible(token) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("", ""), ("a b\tc\nd", "a b\tc\nd"), ("a\x07b", "a␇b"), ("a\u3000b", "a\u3000b"),
    ("x\u202ey", "x\u2068<U+202E>\u2069y")])
def test_visible_running_text(text: str, shown: str) -> None:
    assert visible(text, spaces=False) == shown


@given(anything, st.booleans())
def test_visible_text_survives_xml(text: str, spaces: bool) -> None:
    shown = visible(text, spaces=spaces)
    element = ElementTree.fromstring(f'<a b="{escaped(shown)}">{escaped(shown)}</a>'.encode())
    assert (element.text or "") == shown
    assert element.get("b", "").split() == shown.split()  # XML turns line ends in attributes into spaces


@given(anything)
def test_no_label_is_empty_or_reorders(text: str) -> None:
    shown = visible(text)
    assert shown
    assert not set(shown) & set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\n\t ")


@pytest.mark.parametrize(("text", "way"), [
    ("abc", "ltr"), ("مرحبا", "rtl"), ("שלום", "rtl"), ("12 مرحبا abc", "rtl"), ("한 مرحبا", "ltr"), ("12", "ltr"),
    ("", "ltr")])
def test_direction(text: str, way: str) -> None:
    assert direction(text) == way
    assert direction(isolated("x") + text) in ("ltr", way)


@pytest.mark.parametrize("text", [
    "abc", "e\u0301a\u0308", "नमस्ते", "👩‍👩‍👧🙂", "🇰🇷🇫🇷", "👍🏽", "❤️", "한국어", "\u1112\u1161\u11ab\u1100\u1173",
    "中文", "สวัสดี", "🏴\U000e0067\U000e0062\U000e007f"])
def test_clusters_are_those_of_unicode(text: str) -> None:
    """The `regex` package is the judge; letters joined by a virama are one piece there and may be two here."""
    expected = regex.findall(r"\X", text)
    assert "".join(clusters(text)) == text
    assert set(np.cumsum([len(piece) for piece in expected])) <= set(np.cumsum([len(p) for p in clusters(text)]))
    if "्" not in text:
        assert clusters(text) == expected


@given(anything, st.floats(2, 40))
def test_shortened(text: str, limit: float) -> None:
    short = shortened(text, limit)
    assert short == text if ems(text) <= limit else ems(short) <= limit + 1e-6 or short == "…"
    assert text.startswith(short.removesuffix("…"))


@pytest.mark.parametrize(("narrow", "wide"), [("il", "한글"), ("a", "W"), ("क", "के" * 2), ("e\u0301", "ee")])
def test_ems_grow_with_what_is_drawn(narrow: str, wide: str) -> None:
    assert 0 < ems(narrow) < ems(wide)
    assert ems("") == 0
    assert ems("e\u0301") == ems("e")


# --- colours ---------------------------------------------------------------------------------------------------------


def linear(colour: str) -> np.ndarray:
    """sRGB to linear light (IEC 61966-2-1)."""
    share = np.array(channels(colour)) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lightness(light: np.ndarray) -> float:
    """CIE 1976 L* of linear sRGB."""
    luminance = float(light @ [0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


# Severity 1.0 of Machado et al. 2009, "A physiologically-based model for simulation of color vision deficiency".
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("anchors", [LIGHT_SCALE, DARK_SCALE])
def test_scale_keeps_its_order_for_every_eye(eyes: str, anchors: tuple[str, ...]) -> None:
    seen = [lightness(np.clip(EYES[eyes] @ linear(scale(share, anchors)), 0, 1)) for share in np.linspace(0, 1, 41)]
    steps = np.diff(seen) * (1 if anchors is DARK_SCALE else -1)
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.mean()  # no jump that would look like an edge
    assert abs(seen[-1] - seen[0]) > 70


def test_scale_ends_and_clips() -> None:
    assert [scale(share) for share in (-1.0, 0.0, 0.25, 1.0, 2.0)] == [
        LIGHT_SCALE[0], LIGHT_SCALE[0], LIGHT_SCALE[1], LIGHT_SCALE[-1], LIGHT_SCALE[-1]]


@pytest.mark.parametrize("anchors", [LIGHT_SCALE, DARK_SCALE])
def test_ink_is_readable(anchors: tuple[str, ...]) -> None:
    """WCAG 2.1: contrast of at least 4.5 to 1."""
    for share in np.linspace(0, 1, 41):
        paper = scale(share, anchors)
        ends = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (paper, ink_on(paper)))
        assert ends[1] / ends[0] >= 4.5


@pytest.mark.parametrize(("maximum", "top"), [(0.0, 0.1), (0.1, 0.1), (0.11, 0.2), (0.6, 0.75), (0.9, 1.0), (1.0, 1.0)])
def test_top_of_the_scale(maximum: float, top: float) -> None:
    assert top_of(maximum) == top


def test_every_line_differs_in_colour_and_dash() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == len(set(DASHES)) == len(DASHES)
