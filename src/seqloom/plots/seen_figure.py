"""Attention over a picture, a sound or frames as PNG, by matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqloom.errors import UsageError
from seqloom.insight.seen import Seen
from seqloom.plots.colours import INK, MUTED
from seqloom.plots.figure import drawable_labels, new_figure, png_of, write_png
from seqloom.plots.labels import shortened, visible
from seqloom.plots.raster import overlay, sized, strip
from seqloom.plots.view import View
from seqloom.types import Floats

ACROSS = 6           # pictures side by side
PICTURE_INCHES = 1.3
STRIP_INCHES = (6.5, 0.62)
LABEL_LIMIT = 14.0
MOST_STEPS = 120     # output tokens that a PNG has room for


def any_png(view: View) -> tuple[bytes, list[str]]:
    """The heat-map of text, or the picture of what is no text; raises as `write_png` and `seen_png` do."""
    return write_png(view) if view.seen is None else seen_png(view, view.seen)


def seen_png(view: View, seen: Seen) -> tuple[bytes, list[str]]:
    """One picture, or one strip with a curve, for each output token; before them the input as it was read.

    Raises UsageError without attention weights and for more than MOST_STEPS tokens, MissingExtraError without
    matplotlib. Returns warnings about characters that no installed font has.
    """
    weights = view.drawable()
    if len(view.steps) > MOST_STEPS:
        raise UsageError(f"{len(view.steps)} output tokens are too many pictures for one .png (at most {MOST_STEPS})",
                         fix="write .html, which scrolls")
    new_figure(1, 1)  # says early what is missing
    labels, families, warnings = drawable_labels([visible(label) for label in view.steps])
    names = ["as read", *(shortened(label, LABEL_LIMIT) for label in labels)]
    style = {"fontfamily": families, "fontsize": 8, "parse_math": False, "color": INK}
    draw = _pictures if seen.picture is not None else _strips
    return png_of(draw(view, seen, weights, names, style)), warnings


def _pictures(view: View, seen: Seen, weights: Floats, names: list[str], style: dict[str, Any]) -> Any:
    assert seen.picture is not None
    picture = sized(seen.picture, len(names))
    shown = [picture, *(overlay(picture, row.reshape(seen.grid)) for row in weights)]
    columns = min(ACROSS, len(shown))
    rows = -(-len(shown) // columns)
    ratio = picture.shape[0] / picture.shape[1]
    figure = new_figure(columns * (PICTURE_INCHES + 0.12), rows * (PICTURE_INCHES * ratio + 0.32))
    for number, (pixels, name) in enumerate(zip(shown, names, strict=True)):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.imshow(pixels, interpolation="nearest")
        axes.set_title(name, pad=3, **style)
        axes.set_axis_off()
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.25 / (rows * (PICTURE_INCHES * ratio + 0.32)), 0.06, 0.25)
    return figure


def _strips(view: View, seen: Seen, weights: Floats, names: list[str], style: dict[str, Any]) -> Any:
    pixels = strip(seen)
    width, height = STRIP_INCHES
    figure = new_figure(width + 1.2, len(names) * (height + 0.08) + 0.4)
    end = seen.length * seen.seconds if seen.seconds is not None else seen.length
    places = np.concatenate([[0.0], seen.centres(weights.shape[1]), [1.0]]) * end
    for number, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, number + 1)
        axes.imshow(pixels, extent=(0, end, 0, 1), aspect="auto", interpolation="nearest")
        if number:
            row = weights[number - 1] / view.top
            heights = np.concatenate([row[:1], row, row[-1:]])
            axes.plot(places, heights, color="white", linewidth=2.6, solid_joinstyle="round")
            axes.plot(places, heights, color="#d55e00", linewidth=1.3, solid_joinstyle="round")
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.set_ylabel(name, rotation=0, ha="right", va="center", **style)
        axes.tick_params(length=2, labelsize=7, labelcolor=MUTED, labelbottom=number == len(names) - 1)
        for spine in axes.spines.values():
            spine.set_visible(False)
    axes.set_xlabel("seconds" if seen.seconds is not None else "frame", fontsize=7, color=MUTED)
    figure.subplots_adjust(1.1 / (width + 1.2), 0.06, 0.99, 0.99, hspace=0.12)
    return figure
