"""Confusions: counted right, shared out right, drawn where they belong, and readable from 2 classes to thousands."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from seqloom.errors import MissingExtraError, UsageError
from seqloom.metrics.confusion import Confusion
from seqloom.plots import CONFUSION_WRITERS, write_confusion
from seqloom.plots.colours import ink_on, scale
from seqloom.plots.confusion import brief, percent, picture, whole

SVG = "{http://www.w3.org/2000/svg}"
# By hand: of 긍정 three right, one taken for 부정; of 부정 two right, two taken for 긍정.
PAIRS = [("긍정", "긍정")] * 3 + [("긍정", "부정")] + [("부정", "부정")] * 2 + [("부정", "긍정")] * 2


def made(count: int, seed: int = 1) -> Confusion:
    draw = random.Random(seed)
    names = [f"{chr(0xAC00 + 28 * number)}{number}" for number in range(count)]
    return Confusion.of((name, name if draw.random() < 0.8 else draw.choice(names))
                        for name in names for _ in range(30))


def texts(root: ElementTree.Element) -> list[str]:
    return ["".join(part for part in (element.text, *(child.tail for child in element)) if part)
            for element in root.iter(f"{SVG}text")]


def test_counts_and_shares_by_hand() -> None:
    found = Confusion.of(PAIRS)
    assert found.labels == ["긍정", "부정"]
    assert found.counts.tolist() == [[3, 1], [2, 2]]
    assert found.shares == [[0.75, 0.25], [0.5, 0.5]]
    assert found.worst() == [("부정", "긍정", 2, 0.5), ("긍정", "부정", 1, 0.25)]
    assert found.to_json() == {"labels": ["긍정", "부정"], "counts": [[3, 1], [2, 2]],
                               "row_shares": [[0.75, 0.25], [0.5, 0.5]], "gathered": 0}


def test_a_class_that_is_only_answered_has_a_row_of_zeros() -> None:
    found = Confusion.of([("a", "b"), ("a", "a")])
    assert found.counts.tolist() == [[1, 1], [0, 0]]
    assert found.shares == [[0.5, 0.5], [0.0, 0.0]]


def test_rare_classes_are_gathered_and_no_case_is_lost() -> None:
    pairs = [(name, answer) for number, name in enumerate("abcdef") for answer in "abc" for _ in range(9 - number)]
    at_once = Confusion.of(pairs, most=4)
    assert at_once.labels == ["a", "b", "c", "3 others"]
    assert at_once.counts.sum() == len(pairs)
    assert at_once.counts[3].tolist() == [15, 15, 15, 0]  # d, e, f: 6 + 5 + 4 of each answer
    later = Confusion.of(pairs).reduced(4)
    assert (later.labels, later.counts.tolist()) == (at_once.labels, at_once.counts.tolist())
    again = Confusion.of(pairs, most=5).reduced(4)
    assert (again.labels, again.counts.tolist(), again.gathered) == (at_once.labels, at_once.counts.tolist(), 3)


@pytest.mark.parametrize("count", [2, 5, 17, 60, 300])
def test_every_count_stands_in_its_cell(count: int) -> None:
    confusion = made(count)
    root = ElementTree.fromstring(picture(confusion, "a run"))
    shown = confusion.reduced(60)
    squares = [element for element in root.iter(f"{SVG}rect") if element.find(f"{SVG}title") is not None]
    corner = [min(float(square.get(axis, "")) for square in squares) for axis in "xy"]
    step = float(squares[0].get("width", "")) + 2
    told = np.zeros_like(shown.counts)
    for square in squares:
        column, row = (round((float(square.get(axis, "")) - start) / step) for axis, start in zip("xy", corner,
                                                                                                  strict=True))
        title = square.find(f"{SVG}title")
        assert title is not None
        assert title.text is not None
        number = re.search(r": ([\d,]+), ", title.text)
        assert number is not None
        told[row, column] = int(number[1].replace(",", ""))
        assert square.get("fill") == scale(shown.shares[row][column] ** 0.5)
        assert (square.get("stroke") is not None) == (row == column)
    assert told.tolist() == shown.counts.tolist()
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    assert max(width, height) < 1600
    assert all(float(square.get("width", "")) >= 19 for square in squares)
    for element in root.iter(f"{SVG}text"):
        assert float(element.get("font-size", "")) >= 6
    assert set(texts(root)) >= {label[:1] + label[1:] for label in shown.labels[:2]}


def test_two_classes_have_shares_in_their_cells_and_beside_the_rows() -> None:
    written = texts(ElementTree.fromstring(picture(Confusion.of(PAIRS), "")))
    assert [written.count(text) for text in ("75.0 %", "25.0 %", "50.0 %", "긍정", "부정")] == [2, 1, 3, 2, 2]


def test_ink_can_be_read_on_every_colour_of_the_scale() -> None:
    """Contrast of at least 4.5 : 1 (WCAG 2.1), and a lightness that only falls, so that grey eyes see the order."""

    def luminance(colour: str) -> float:
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
                  for value in (int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5))]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    shades = [scale(step / 100) for step in range(101)]
    lightness = [luminance(shade) for shade in shades]
    assert lightness == sorted(lightness, reverse=True)
    for shade, light in zip(shades, lightness, strict=True):
        dark, bright = sorted((light, luminance(ink_on(shade))))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize(("count", "short", "long"), [(7, "7", "7"), (812, "812", "812"), (9812, "9.8k", "9,812"),
                                                      (24953, "25k", "24,953"), (3_200_000, "3.2M", "3.2M")])
def test_counts_in_few_characters(count: int, short: str, long: str) -> None:
    assert (brief(count), whole(count)) == (short, long)


def test_shares_in_few_characters() -> None:
    assert [percent(share) for share in (0, 0.0001, 0.043, 0.9996, 1)] == ["0.0 %", "< 0.1 %", "4.3 %", "100 %",
                                                                          "100 %"]


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(CONFUSION_WRITERS) == [".svg", ".html", ".png", ".json"]
    for suffix in (".svg", ".html", ".json"):
        assert write_confusion(Confusion.of(PAIRS), tmp_path / f"a{suffix}", title="a < b") == []
    assert "a &lt; b" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "<td>3</td><td>1</td>" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["counts"] == [[3, 1], [2, 2]]
    with pytest.raises(UsageError, match="cannot tell the format"):
        write_confusion(Confusion.of(PAIRS), tmp_path / "a.pdf")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"writing \.png needs the package 'matplotlib'"):
        write_confusion(Confusion.of(PAIRS), tmp_path / "a.png")


def test_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_confusion(made(12), tmp_path / "a.png", title="twelve")
    write_confusion(made(60), tmp_path / "b.png")
    small, large = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert small[:8] == b"\x89PNG\r\n\x1a\n"
    widths = [int.from_bytes(data[16:20], "big") for data in (small, large)]
    assert widths[1] > 60 * 21 * 1.4  # the smallest cell has 21 pixels of 1/100 inch, drawn at 160 dots an inch or less
    write_confusion(made(12), tmp_path / "c.png", title="twelve")
    assert (tmp_path / "c.png").read_bytes() == small
