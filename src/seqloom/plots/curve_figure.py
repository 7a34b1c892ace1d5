"""The curves of a run as PNG, by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence

from seqloom.plots.colours import DASHES, FAINT, INK, MUTED, PALETTE
from seqloom.plots.curves import columns_for
from seqloom.plots.figure import drawable_labels, new_figure, png_of
from seqloom.plots.labels import shortened, visible
from seqloom.plots.series import Panel, short

PANEL_INCHES = (3.6, 2.5)


def curves_png(panels: Sequence[Panel], axis: str, title: str) -> tuple[bytes, list[str]]:
    """All panels in one picture, with warnings about characters that no installed font has.

    Raises MissingExtraError without matplotlib.
    """
    columns = columns_for(len(panels))
    rows = math.ceil(len(panels) / columns)
    head = 0.4 if title else 0.0
    figure = new_figure(columns * PANEL_INCHES[0], rows * PANEL_INCHES[1] + head)
    keys = [series.key for panel in panels for series in panel.series]
    names, families, warnings = drawable_labels([visible(name, spaces=False)
                                                 for name in [title, *(panel.title for panel in panels), *keys]])
    text = {"fontfamily": families, "parse_math": False}
    series_names = iter(names[1 + len(panels):])
    for index, (panel, name) in enumerate(zip(panels, names[1:], strict=False)):
        axes = figure.add_subplot(rows, columns, index + 1)
        for place, series in enumerate(panel.series):
            dash = [float(part) for part in DASHES[place].split()]
            axes.plot(*zip(*series.thinned(), strict=True), color=PALETTE[place], linewidth=1.3,
                      linestyle=(0, tuple(dash)) if dash else "-", marker="o" if len(series.points) < 20 else "",
                      markersize=2.5, label=f"{shortened(next(series_names), 22)} {short(series.points[-1][1])}")
        if panel.logarithmic:
            axes.set_yscale("log")
        axes.set_title(shortened(name, 30), loc="left", fontsize=9, color=INK, **text)
        axes.set_xlabel(axis, loc="right", fontsize=7, color=MUTED, labelpad=1)
        axes.grid(axis="y", color=FAINT, linewidth=0.7)
        axes.tick_params(which="both", length=0, labelsize=7, labelcolor=MUTED)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        legend = axes.legend(frameon=False, fontsize=6.5, labelcolor=MUTED)
        for entry in legend.get_texts():
            entry.set_fontfamily(families)
            entry.set_parse_math(False)
    if title:
        figure.suptitle(shortened(names[0], 60), x=0.02, ha="left", fontsize=11, color=INK, **text)
    figure.tight_layout()
    return png_of(figure), warnings
