"""The table of confusions as PNG, by matplotlib; sizes, colours and words are those of the SVG."""

from __future__ import annotations

from typing import Any

from seqloom.metrics.confusion import Confusion
from seqloom.plots.colours import INK, LIGHT_SCALE, MUTED, ink_on, scale
from seqloom.plots.confusion import (
    LABEL_LIMIT,
    LEGEND_MARKS,
    MOST_DRAWN,
    TWO_LINES_FROM,
    Sizes,
    bent,
    brief,
    percent,
    sizes_of,
    whole,
)
from seqloom.plots.figure import drawable_labels, new_figure, png_of
from seqloom.plots.labels import ems, shortened, visible

PIXELS = 100.0  # of the SVG in an inch
POINTS = 72 / PIXELS


def confusion_png(confusion: Confusion, title: str = "") -> tuple[bytes, list[str]]:
    """The table as PNG, with warnings about characters that no installed font has.

    Raises MissingExtraError without matplotlib.
    """
    new_figure(1, 1)  # says early what is missing
    shown = confusion.reduced(MOST_DRAWN)
    (heading, *names), families, warnings = drawable_labels(
        [visible(title, spaces=False), *(visible(label) for label in shown.labels)])
    labels = [shortened(name, LABEL_LIMIT) for name in names]
    sizes = sizes_of(labels, heading)
    figure = new_figure(sizes.width / PIXELS, sizes.height / PIXELS)
    full = sizes.cell * len(labels)
    axes = figure.add_axes((sizes.left / sizes.width, 1 - (sizes.top + full) / sizes.height, full / sizes.width,
                            full / sizes.height))
    words = {"fontfamily": families, "parse_math": False}
    _draw_cells(axes, shown, sizes)
    size = sizes.font * POINTS
    axes.set_xticks(range(len(labels)), labels, rotation=sizes.slant, fontsize=size, color=INK,
                    ha="left" if sizes.slant else "center", rotation_mode="anchor", **words)
    axes.set_yticks(range(len(labels)), labels, fontsize=size, color=INK, **words)
    axes.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=0, pad=4)
    _draw_sides(axes, shown, sizes)
    note = {"fontsize": 7.5, "color": MUTED}
    figure.text((sizes.left - 10) / sizes.width, 1 - (sizes.top - 8) / sizes.height, "right ↓  answer →", ha="right",
                **note)
    if heading:
        figure.text(22 / sizes.width, 1 - 34 / sizes.height, shortened(heading, 60), fontsize=11, color=INK, **words)
    _draw_legend(figure, sizes, note)
    return png_of(figure), warnings


def _draw_cells(axes: Any, shown: Confusion, sizes: Sizes) -> None:
    from matplotlib.patches import Rectangle

    count_of_labels = len(shown.labels)
    axes.set_xlim(-0.5, count_of_labels - 0.5)
    axes.set_ylim(count_of_labels - 0.5, -0.5)
    axes.set_facecolor(LIGHT_SCALE[0])
    for spine in axes.spines.values():
        spine.set_visible(False)
    gap = 1 / sizes.cell
    for row, (counts, shares) in enumerate(zip(shown.counts.tolist(), shown.shares, strict=True)):
        for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
            if not count and row != column:
                continue
            colour = scale(bent(share))
            axes.add_patch(Rectangle((column - 0.5 + gap, row - 0.5 + gap), 1 - 2 * gap, 1 - 2 * gap, facecolor=colour,
                                     edgecolor=INK if row == column else "none", linewidth=0.9))
            if not count:
                continue
            two = sizes.cell >= TWO_LINES_FROM
            written = whole(count) if two else brief(count)
            points = min(sizes.font, sizes.cell * 0.4, (sizes.cell - 3) / max(ems(written), 1.0)) * POINTS
            axes.text(column, row - (8 / sizes.cell if two else 0), written, ha="center", va="center", fontsize=points,
                      color=ink_on(colour))
            if two:
                axes.text(column, row + 9 / sizes.cell, percent(share), ha="center", va="center", color=ink_on(colour),
                          fontsize=min(11.0, sizes.cell * 0.21) * POINTS)


def _draw_sides(axes: Any, shown: Confusion, sizes: Sizes) -> None:
    """Beside each row its cases and the share that is right."""
    last, cell = len(shown.labels) - 0.5, sizes.cell
    size = min(11.0, sizes.font) * POINTS
    rows = [("cases", "right", len(shown.labels) - 0.5 + 14 / cell, MUTED)]
    for row, counts in enumerate(shown.counts):
        cases = int(counts.sum())
        rows.append((whole(cases), percent(int(counts[row]) / cases) if cases else "–", float(row), INK))
    for cases_text, right, y, colour in rows:
        place = {"ha": "right", "va": "center", "fontsize": size, "clip_on": False}
        axes.text(last + 56 / cell, y, cases_text, color=MUTED, **place)
        axes.text(last + 110 / cell, y, right, color=colour, **place)


def _draw_legend(figure: Any, sizes: Sizes, note: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    bar = figure.add_axes((sizes.left / sizes.width, 46 / sizes.height, 160 / sizes.width, 9 / sizes.height))
    colours = LinearSegmentedColormap.from_list("seqloom", LIGHT_SCALE)
    bar.imshow([[place / 63 for place in range(64)]], cmap=colours, aspect="auto", extent=(0, 1, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([bent(mark) for mark in LEGEND_MARKS], [f"{100 * mark:g}%" for mark in LEGEND_MARKS], fontsize=6.5,
                   color=MUTED)
    bar.tick_params(length=0, pad=2)
    for spine in bar.spines.values():
        spine.set_visible(False)
    bar.text(-0.06, 0.5, "share of row", ha="right", va="center", transform=bar.transAxes, **note)
