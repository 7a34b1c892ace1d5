"""Attention over pictures, sound and frames: what is drawn, where it stands, and what is said without attention."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image
from seen_samples import DRAW, KINDS, predicted

from seqloom.errors import UsageError
from seqloom.insight.seen import Seen, seen_of
from seqloom.plots import write_attention
from seqloom.plots.raster import MOST_PIXELS, SHADE, overlay, png, shown_frames, sized, strip, upsampled
from seqloom.plots.seen_page import curve, moment


def pictures(page: str) -> list[np.ndarray[Any, Any]]:
    """The pictures that stand in a page, decoded."""
    found = re.findall(r'data:image/png;base64,([A-Za-z0-9+/=]+)', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 7)])
def test_png_is_read_by_another_library(shape: tuple[int, int]) -> None:
    pixels = DRAW.integers(0, 256, (*shape, 3)).astype(np.uint8)
    read = Image.open(io.BytesIO(png(pixels)))
    assert (read.format, read.mode) == ("PNG", "RGB")
    np.testing.assert_array_equal(np.asarray(read), pixels)


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(2, 3, 16, 24), (1, 1, 5, 4), (8, 8, 64, 64)])
def test_the_map_is_torchs_bilinear_interpolation(rows: int, columns: int, height: int, width: int) -> None:
    torch = pytest.importorskip("torch")
    weights = DRAW.random((rows, columns))
    wanted = torch.nn.functional.interpolate(torch.tensor(weights)[None, None], (height, width), mode="bilinear")
    np.testing.assert_allclose(upsampled(weights, height, width), wanted[0, 0].numpy(), atol=1e-12)


def test_a_region_with_all_of_the_weight_is_bright_and_the_others_are_dark() -> None:
    picture = np.full((8, 8, 3), 200, np.uint8)
    weights = np.zeros((2, 2))
    weights[0, 1] = 0.3
    shown = overlay(picture, weights)
    np.testing.assert_array_equal(shown[0, 7], picture[0, 7])
    np.testing.assert_array_equal(shown[7, 0], np.rint(picture[7, 0] * SHADE))
    assert (overlay(picture, np.zeros((2, 2))) == round(200 * SHADE)).all()


def test_small_pictures_are_enlarged_and_many_large_ones_made_smaller() -> None:
    small = DRAW.integers(0, 256, (64, 32, 3)).astype(np.uint8)
    large = sized(small, 5)
    assert large.shape == (192, 96, 3)
    np.testing.assert_array_equal(large[::3, ::3], small)
    many = sized(np.zeros((1000, 1000, 3), np.uint8), 100)
    assert 100 * many.shape[0] * many.shape[1] <= MOST_PIXELS


def test_a_strip_has_frames_across_and_the_first_number_below() -> None:
    values = np.zeros((5, 3), np.float32)
    values[4, 0] = 1.0
    pixels = strip(Seen("features", frames=values)).astype(int).sum(2)
    assert pixels.shape == (3, 5)
    assert np.unravel_index(pixels.argmin(), pixels.shape) == (2, 4)  # the scale darkens upwards
    long = strip(Seen("audio", frames=DRAW.normal(size=(10_000, 4)).astype(np.float32)))
    assert long.shape[1] <= 4000
    pages = strip(Seen("frames", pages=np.zeros((100, 96, 96, 3), np.uint8)))
    assert pages.shape == (48, 48 * 34, 3)
    assert shown_frames(100) == 3


def test_positions_stand_in_the_middle_of_their_frames() -> None:
    seen = Seen("audio", frames=np.zeros((10, 2), np.float32), step=4, seconds=0.01)
    np.testing.assert_allclose(seen.centres(3), [0.2, 0.6, 0.9])
    assert moment(seen, 2) == "0.08 s"
    assert moment(Seen("features", frames=np.zeros((10, 2), np.float32), step=4), 2) == "frames 8 to 9"
    assert moment(Seen("frames", pages=np.zeros((3, 1, 1, 3), np.uint8)), 2) == "frame 2"
    assert 'd="M0.0 50.0L250.0 50.0L750.0 0.0L1000.0 0.0"' in curve(np.array([0.25, 0.75]), np.array([0.5, 1.5]), "")


def test_text_has_no_such_view() -> None:
    assert seen_of(None) is None
    assert seen_of(SimpleNamespace(run=SimpleNamespace(source=SimpleNamespace(kind="text")))) is None  # type: ignore


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_shows_the_input_and_where_each_token_looked(kind: str, tmp_path: Path) -> None:
    prediction = predicted(kind, ["a", "<b>", "c"])
    assert write_attention(prediction, tmp_path / "x.html", input_text="x") == []
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "; img-src data:" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert prediction.attention is not None
    found = pictures(page)
    if kind == "image":
        assert len(found) == 5  # as read, three tokens, the end
        for shown, weights in zip(found[1:], prediction.attention, strict=True):
            np.testing.assert_array_equal(shown, overlay(found[0], weights.reshape(2, 3)))
    else:
        assert len(found) == 1  # once in the style sheet
        assert page.count('<div class="strip">') == 5
        assert page.count('class="curve"') == 4


@pytest.mark.parametrize("kind", KINDS)
def test_without_attention_the_input_is_shown_and_it_is_said(kind: str, tmp_path: Path) -> None:
    prediction = predicted(kind, ["a"], attention=False)
    write_attention(prediction, tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "this prediction holds no attention weights" in page
    assert len(pictures(page)) == 1
    assert 'class="curve"' not in page
    with pytest.raises(UsageError, match="this prediction holds no attention weights"):
        write_attention(prediction, tmp_path / "x.png")


@pytest.mark.parametrize("kind", KINDS)
def test_png_has_room_for_every_token(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sizes = []
    for tokens in (["a"], ["a", "한", "c", "d", "e", "f", "g", "h"]):
        write_attention(predicted(kind, tokens), tmp_path / "x.png")
        with Image.open(tmp_path / "x.png") as picture:
            sizes.append(picture.size)
            colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert sizes[1][1] > sizes[0][1]
    assert len(np.unique(colours, axis=0)) > 100
    with pytest.raises(UsageError, match=r"too many pictures for one \.png"):
        write_attention(predicted(kind, ["a"] * 120), tmp_path / "x.png")


@pytest.mark.parametrize("kind", KINDS)
def test_json_says_what_the_positions_are(kind: str, tmp_path: Path) -> None:
    write_attention(predicted(kind, ["a"]), tmp_path / "x.json")
    seen = json.loads((tmp_path / "x.json").read_text())["seen"]
    assert seen == {
        "image": {"kind": "image", "height": 16, "width": 24, "rows": 2, "columns": 3},
        "audio": {"kind": "audio", "frames": 30, "frames_per_position": 4, "seconds_per_frame": 0.01},
        "features": {"kind": "features", "frames": 9, "frames_per_position": 1, "seconds_per_frame": None},
        "frames": {"kind": "frames", "frames": 7, "frames_per_position": 1, "seconds_per_frame": None}}[kind]
