"""Curves: the right points in the right panel at the right place."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqloom.errors import MissingExtraError, UsageError
from seqloom.plots import write_curves
from seqloom.plots.curves import curves_html, curves_svg, vertical_axis
from seqloom.plots.series import POINTS, Panel, Series, decades, panels_of, series_of, short, ticks

SVG = "{http://www.w3.org/2000/svg}"
METRICS: list[dict[str, Any]] = [
    {"step": step * 100, "epoch": step, "train_loss": 3.0 / step, "valid_loss": 3.5 / step,
     "learning_rate": 1e-3 / step, "tokens_per_second": 900.0 + step, "gold_token_accuracy": step / 12,
     "free_token_accuracy": step / 15, "accuracy_gap": step / 12 - step / 15, "empty_rate": 0.5 / step,
     "unknown_rate": 0.25, "bleu": 3.0 * step, "best": step == 3, "name": "a run", "nested": {"x": 1}, "missing": None}
    for step in range(1, 11)]


def drawn(metrics: list[dict[str, Any]], keys: list[str] | None = None, title: str = "") -> ElementTree.Element:
    axis, series, _ = series_of(metrics)
    return ElementTree.fromstring(curves_svg(panels_of(series, keys), axis, title)[0])


def test_series_hold_the_numbers_of_the_records() -> None:
    axis, series, broken = series_of(METRICS)
    assert axis == "step"
    assert broken == 0
    assert set(series) == {"train_loss", "valid_loss", "learning_rate", "tokens_per_second", "gold_token_accuracy",
                           "free_token_accuracy", "accuracy_gap", "empty_rate", "unknown_rate", "bleu"}
    assert series["train_loss"].points == [(step * 100.0, 3.0 / step) for step in range(1, 11)]


@pytest.mark.parametrize(("records", "axis", "points"), [
    ([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}], "epoch", [(1.0, 3.0), (2.0, 2.0)]),
    ([{"loss": 3.0}, {"other": 1.0}, {"loss": 2.0}], "record", [(1.0, 3.0), (3.0, 2.0)]),
    ([{"step": 5, "x": 0}, {"loss": 3.0}, {"step": 7, "loss": 2.0}], "step", [(5.0, 3.0), (7.0, 2.0)]),
    ([{"step": 9, "loss": 1.0}, {"step": 5, "loss": 3.0}, {"step": 9, "loss": 2.0}], "step", [(5.0, 3.0), (9.0, 2.0)]),
    ([{"step": 1, "loss": math.nan}, {"step": 2, "loss": 1.0}, {"step": 3, "loss": math.inf}], "step", [(2.0, 1.0)]),
])
def test_axis_and_order(records: list[dict[str, Any]], axis: str, points: list[tuple[float, float]]) -> None:
    found, series, broken = series_of(records)
    assert (found, series["loss"].points) == (axis, points)
    assert broken == sum(not math.isfinite(record.get("loss", 0.0)) for record in records)


def test_panels_share_a_meaning_and_come_in_reading_order() -> None:
    panels = panels_of(series_of(METRICS)[1])
    assert [(panel.title, [series.key for series in panel.series]) for panel in panels] == [
        ("loss", ["train_loss", "valid_loss"]),
        ("token accuracy", ["gold_token_accuracy", "free_token_accuracy", "accuracy_gap"]),
        ("bleu", ["bleu"]), ("rates", ["empty_rate", "unknown_rate"]), ("learning rate", ["learning_rate"]),
        ("tokens per second", ["tokens_per_second"])]


def test_keys_choose_and_more_lines_than_colours_make_another_panel() -> None:
    series = series_of(METRICS)[1]
    assert [panel.title for panel in panels_of(series, ["bleu", "train_loss", "bleu"])] == ["loss", "bleu"]
    many = series_of([{f"{name}_rate": 1.0 for name in "abcdefgh"}])[1]
    assert [len(panel.series) for panel in panels_of(many)] == [6, 2]


def test_unknown_keys_and_empty_metrics_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no metric named 'blue'") as caught:
        write_curves(METRICS, tmp_path / "x.svg", keys=["bleu", "blue"])
    assert "choose from: train_loss," in caught.value.fix
    for nothing in ([], [{"step": 3}], [{"loss": math.nan}], [{"loss": None, "ok": True}]):
        with pytest.raises(UsageError, match="no numbers to draw"):
            write_curves(nothing, tmp_path / "x.svg")
    assert list(tmp_path.iterdir()) == []


def test_broken_values_are_said(tmp_path: Path) -> None:
    assert write_curves([*METRICS, {"step": 2000, "train_loss": math.nan}], tmp_path / "x.svg") == [
        "1 values that are not finite are left out of the curves"]


def test_without_matplotlib_the_pip_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="matplotlib") as caught:
        write_curves(METRICS, tmp_path / "x.png")
    assert caught.value.fix == "pip install 'seqloom[plot]'"


# --- what is drawn ---------------------------------------------------------------------------------------------------


def test_every_point_is_in_the_picture_with_its_value() -> None:
    dots = [circle.findtext(f"{SVG}title") for circle in drawn(METRICS).iter(f"{SVG}circle")]
    expected = {f"{key} {value:.6g} at step {record['step']}" for record in METRICS for key, value in record.items()
                if isinstance(value, float)}
    assert set(dots) == expected
    assert len(dots) == len(expected)


def test_points_stand_where_the_ticks_say() -> None:
    """A straight line: the place of each point follows from two ticks of each axis."""
    root = drawn([{"step": step, "bleu": 2.0 * step} for step in (0, 10, 20, 30, 40)])
    ticks_of = [text for text in root.iter(f"{SVG}text") if re.fullmatch(r"\d+", text.text or "")]
    across = {float(text.text or "nan"): float(text.get("x", "")) for text in ticks_of
              if text.get("text-anchor") == "middle"}
    upward = {float(text.text or "nan"): float(text.get("y", "")) - 3.5 for text in ticks_of
              if text.get("text-anchor") == "end"}
    for circle in root.iter(f"{SVG}circle"):
        value, step = map(float, re.findall(r"[\d.]+", circle.findtext(f"{SVG}title") or ""))
        (x0, x1), (y0, y1) = sorted(across)[:2], sorted(upward)[:2]
        expected_x = across[x0] + (step - x0) / (x1 - x0) * (across[x1] - across[x0])
        expected_y = upward[y0] + (value - y0) / (y1 - y0) * (upward[y1] - upward[y0])
        assert float(circle.get("cx", "")) == pytest.approx(expected_x, abs=0.3)
        assert float(circle.get("cy", "")) == pytest.approx(expected_y, abs=0.3)


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [5.0, 5.0, 5.0], [-3.0, 4.0], [1e-9, 1e9], [1e-320, 1.0],
                                    [-1e300, 1e300], [1e15, 1e15 + 1]])
def test_every_range_of_values_can_be_drawn(values: list[float]) -> None:
    root = drawn([{"step": place, "loss": value} for place, value in enumerate(values)])
    circles = list(root.iter(f"{SVG}circle"))
    assert len(circles) == len(values)
    assert all(30 <= float(circle.get("cy", "")) <= 233 for circle in circles)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=8))
def test_the_vertical_axis_keeps_everything_inside(values: list[float]) -> None:
    panel = Panel("loss", [Series("loss", [(float(place), value) for place, value in enumerate(values)])])
    place, marks = vertical_axis(panel, 48.0)
    assert all(47.9 <= place(value) <= 202.1 for value in values)
    assert all(47.5 <= place(mark) <= 202.5 for mark in marks)
    assert 1 <= len(marks) <= 7


def test_two_powers_of_ten_make_a_logarithmic_axis() -> None:
    texts = [text.text or "" for text in drawn([{"loss": 10.0**-place} for place in range(5)]).iter(f"{SVG}text")]
    assert "loss (logarithmic)" in texts
    assert {"1", "0.1", "0.01", "0.001", "0.0001"} <= set(texts)
    assert not panels_of(series_of([{"loss": 0.0}, {"loss": 1000.0}])[1])[0].logarithmic


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 10, [0, 2.5, 5, 7.5, 10]), (0, 4, [0, 1, 2, 3, 4]), (0.13, 0.47, [0.2, 0.3, 0.4]),
    (-5, 5, [-5, -2.5, 0, 2.5, 5]), (3, 3, [3]), (0, 1e-4, [0, 2.5e-5, 5e-5, 7.5e-5, 1e-4])])
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_decades() -> None:
    assert decades(0.002, 30) == pytest.approx([0.01, 0.1, 1, 10])
    assert len(decades(1e-30, 1e30)) <= 5
    assert decades(2, 3) == [2, 3]


@pytest.mark.parametrize(("value", "text"), [
    (0, "0"), (0.25, "0.25"), (1500, "1500"), (12000, "12k"), (3.4e6, "3.4M"), (2e9, "2G"), (-15000, "-15k"),
    (1e-5, "1e-05"), (999999, "1000k")])
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_thinning_keeps_the_peaks_the_ends_and_the_order() -> None:
    values = np.sin(np.arange(50_000) / 300)
    values[12_345], values[30_000] = 9.0, -9.0
    series = Series("loss", [(float(place), float(value)) for place, value in enumerate(values)])
    thin = series.thinned()
    assert len(thin) <= POINTS
    assert {9.0, -9.0} <= {y for _, y in thin}
    assert thin == sorted(thin)
    assert set(thin) <= set(series.points)
    assert Series("loss", series.points[:POINTS]).thinned() == series.points[:POINTS]


def test_hostile_names_are_only_text() -> None:
    hostile = "<script>alert(1)</script>"
    root = drawn([{hostile: 1.0}], title=hostile)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "rect", "text", "g", "path", "circle"}
    assert root.findtext(f"{SVG}title") == hostile
    axis, series, _ = series_of([{hostile: 1.0}])
    page = curves_html(panels_of(series), axis, hostile)[0].decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_page_shows_every_panel_and_every_number() -> None:
    axis, series, _ = series_of(METRICS)
    page = curves_html(panels_of(series), axis, "runs/g2p")[0].decode()
    cells = re.findall(r"<td>([^<]*)</td>", page)
    assert len(cells) == 10 * len(METRICS)
    assert set(cells) == {f"{value:.6g}" for record in METRICS for value in record.values() if isinstance(value, float)}
    assert page.count("<figure>") == 6
    assert "script-src 'none'".replace("'", "&#x27;") in page
    assert not re.search(r"https?:|<script|style=\"", page)
    HTMLParser().feed(page)


def test_a_long_run_shows_its_last_rows() -> None:
    axis, series, _ = series_of([{"step": step, "loss": float(step)} for step in range(1, 1001)])
    page = curves_html(panels_of(series), axis, "")[0].decode()
    assert "the last 200 of 1000 rows" in page
    assert "<th scope=\"row\">1000</th>" in page
    assert "<th scope=\"row\">800</th>" not in page
