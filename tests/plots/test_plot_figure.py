"""PNG by matplotlib: what is drawn, with which fonts, and what is said about the characters they lack."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from plot_samples import BAD, DRAWN, NO_ATTENTION, SCRIPTS, WORDS, predicted

from seqloom.errors import MissingExtraError, UsageError
from seqloom.plots import fonts
from seqloom.plots.colours import LIGHT_SCALE, channels, scale
from seqloom.plots.figure import MOST_PIXELS, new_figure, write_png
from seqloom.plots.fonts import choose_fonts, families, needs_shaping
from seqloom.plots.view import view_of
from seqloom.types import Prediction

pytest.importorskip("matplotlib")
HANGUL = "한국어"


@pytest.fixture
def only_dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no font but the one that comes with matplotlib."""
    found = families()
    monkeypatch.setattr(fonts, "families", lambda: {"DejaVu Sans": found["DejaVu Sans"]})


def pixels(content: bytes) -> np.ndarray:
    """[height, width, 3] in 0 to 255."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "scripts"])
def test_the_picture_has_a_size_and_is_not_blank(name: str) -> None:
    content, _ = write_png(view_of(DRAWN[name]))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    picture = pixels(content)
    assert picture.shape[0] > 100
    assert picture.shape[1] > 200
    assert picture.shape[0] * picture.shape[1] <= MOST_PIXELS * 1.01
    assert len(np.unique(picture.astype(np.int64) @ [65536, 256, 1])) > 20


def test_every_weight_has_the_colour_of_the_scale() -> None:
    """Four known weights are found as areas of their colour, in reading order."""
    weights = np.array([[0.0, 1.0], [0.25, 0.75]], np.float32)
    prediction = Prediction("c", -1.0, tokens=["c"], source_tokens=["a", "b"], attention=weights,
                            token_scores=np.array([-0.5, -0.5], np.float32))
    picture = pixels(write_png(view_of(prediction))[0]).astype(int)
    middles = []
    for share in (0.0, 1.0, 0.25, 0.75):
        places = np.argwhere(np.abs(picture - channels(scale(share))).max(-1) <= 2)
        places = places[places[:, 0] < picture.shape[0] * 0.6]  # above the legend, which has every colour
        assert len(places) > 900
        middles.append(np.median(places, axis=0))
    (top, left), (_, right), (bottom, _), _ = middles
    assert left < right
    assert top < bottom
    np.testing.assert_allclose(middles, [(top, left), (top, right), (bottom, left), (bottom, right)], atol=2)
    assert scale(0.0) == LIGHT_SCALE[0]


def test_equal_pictures_are_equal_files() -> None:
    assert write_png(view_of(WORDS))[0] == write_png(view_of(WORDS))[0]


def test_dollar_signs_and_backslashes_are_no_formulas() -> None:
    content, warnings = write_png(view_of(predicted(["$x^2$", "_{", "\\frac"], ["$", "$$"])))
    assert warnings == []
    assert len(content) > 2000


@pytest.mark.usefixtures("only_dejavu")
def test_characters_without_a_glyph_are_named_and_spelled_out() -> None:
    """Warnings are errors here: matplotlib would warn if it drew an empty box."""
    _, warnings = write_png(view_of(predicted(list(HANGUL), ["ok"])))
    assert len(warnings) == 1
    assert "no installed font has a glyph for" in warnings[0]
    for character in HANGUL:
        assert f"{character} (U+{ord(character):04X})" in warnings[0]
    assert "write .html or .svg" in warnings[0]


@pytest.mark.usefixtures("only_dejavu")
def test_a_long_list_of_missing_characters_is_cut() -> None:
    _, warnings = write_png(view_of(predicted([chr(0xAC00 + place) for place in range(30)], ["ok"])))
    assert "and 10 more" in warnings[0]


def test_every_script_is_drawn_without_a_warning_of_matplotlib(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        content, warnings = write_png(view_of(SCRIPTS))
    assert pixels(content).size > 0
    assert caplog.records == []
    assert all("no installed font" in warning or "does not join" in warning for warning in warnings)


def test_fonts_that_draw_placeholders_do_not_count() -> None:
    """matplotlib brings "Last Resort", which has a box for every code point; U+0378 is not assigned."""
    chosen, missing = choose_fonts(["abc\u0378"])
    assert missing == ["\u0378"]
    assert chosen == ["DejaVu Sans"]


def test_chosen_fonts_cover_what_they_claim() -> None:
    """fontTools reads the same files on its own."""
    tools = pytest.importorskip("fontTools.ttLib")
    text = "aé→Ж" + HANGUL
    chosen, missing = choose_fonts([text])
    covered = set()
    for name in chosen:
        face = families()[name]
        file = tools.TTFont(face.fname, fontNumber=getattr(face, "index", 0) if face.fname.endswith("c") else -1)
        covered |= set(file.getBestCmap())
        file.close()
    assert set(map(ord, text)) - covered == set(map(ord, missing))


def test_a_font_that_cannot_be_read_covers_nothing(tmp_path: Any) -> None:
    path = tmp_path / "broken.ttf"
    path.write_bytes(b"no font at all")
    assert fonts.characters_of(str(path), 0) == frozenset()
    assert fonts.characters_of(str(tmp_path / "missing.ttf"), 0) == frozenset()


@pytest.mark.parametrize(("text", "needed"), [("abc", False), (HANGUL, False), ("مرحبا", True), ("दुनिया", True)])
def test_needs_shaping(text: str, needed: bool) -> None:
    assert needs_shaping(text) == needed


def test_an_old_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqloom.plots.figure.shapes_text", lambda: False)
    assert any("does not join letters" in warning for warning in write_png(view_of(SCRIPTS))[1])
    assert write_png(view_of(predicted(["a"], ["b"])))[1] == []


def test_without_matplotlib_the_pip_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"writing \.png needs the package 'matplotlib'") as caught:
        write_png(view_of(WORDS))
    assert caught.value.fix == "pip install 'seqloom[plot]'"


@pytest.mark.parametrize(("prediction", "message"), [
    (NO_ATTENTION, "no attention weights"), (BAD, "could not be used")])
def test_what_cannot_be_drawn(prediction: Prediction, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_png(view_of(prediction))


def test_large_pictures_get_fewer_dots() -> None:
    figure = new_figure(100, 100)
    assert figure.dpi**2 * 100 * 100 == pytest.approx(MOST_PIXELS)
    assert new_figure(2, 2).dpi == 160


def test_the_state_of_pyplot_is_left_alone() -> None:
    program = ("import sys, numpy; from seqloom.types import Prediction; from seqloom.plots.view import view_of; "
               "from seqloom.plots.figure import write_png; weights = numpy.ones((1, 1), numpy.float32); "
               "write_png(view_of(Prediction('a', 0.0, tokens=['a'], source_tokens=['b'], attention=weights))); "
               "print('matplotlib.pyplot' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"
