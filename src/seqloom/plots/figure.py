"""The attention heat-map as PNG, by matplotlib; an extra, and never a window.

Only `Figure` and the Agg canvas are used, so no global state of pyplot changes. What the installed fonts cannot draw is
written as its code point and named in a warning: HTML and SVG use the reader's fonts and show everything.
"""

from __future__ import annotations

import io
from typing import Any

from seqloom.errors import MissingExtraError
from seqloom.plots.colours import INK, LIGHT_SCALE, MUTED
from seqloom.plots.fonts import choose_fonts, needs_shaping, shapes_text
from seqloom.plots.labels import ELLIPSIS, code_name, ems, shortened, visible
from seqloom.plots.view import View

DOTS_PER_INCH = 160
MOST_PIXELS = 20e6  # of the whole picture; larger ones get fewer dots per inch
CELL_INCHES = ((24, 0.3), (60, 0.22), (120, 0.15), (250, 0.1))
SMALLEST_INCHES = 0.07
LABEL_LIMIT = 16.0
HTML_ADVICE = "write .html or .svg instead, which use the fonts of whoever reads them"


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of so many inches on an Agg canvas. MissingExtraError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "writing .png") from error
    dots = min(DOTS_PER_INCH, (MOST_PIXELS / (width * height)) ** 0.5)
    figure = Figure(figsize=(width, height), dpi=dots, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any) -> bytes:
    """The figure as PNG, without a version in it, so that equal pictures are equal files; labels are never cut off."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.12)
    return buffer.getvalue()


def drawable_labels(names: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Labels that the installed fonts can draw, the families to draw them with, and what to warn of."""
    families, missing = choose_fonts([*names, ELLIPSIS])
    warnings = []
    if missing:
        listed = ", ".join(f"{character} ({code_name(character)[1:-1]})" for character in missing[:20])
        more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        warnings.append(f"no installed font has a glyph for {listed}{more}; the picture shows code points: "
                        f"{HTML_ADVICE}, or install Noto fonts")
    if not shapes_text() and any(map(needs_shaping, names)):
        warnings.append("this matplotlib does not join letters or order right-to-left text (3.11 does): "
                        f"{HTML_ADVICE}")
    replaced = {ord(character): code_name(character) for character in missing}
    return [name.translate(replaced) for name in names], families, warnings


def font_size(inches: float) -> float:
    """Points for a label beside cells of so many inches."""
    return max(min(9.0, inches * 72 * 0.8), 3.0)


def write_png(view: View) -> tuple[bytes, list[str]]:
    """The heat-map of one prediction as PNG, with warnings about characters that no installed font has.

    Raises UsageError without attention weights, MissingExtraError without matplotlib.
    """
    weights = view.drawable()
    height, width = weights.shape
    inches = next((size for limit, size in CELL_INCHES if max(height, width) <= limit), SMALLEST_INCHES)
    points = font_size(inches)
    new_figure(1, 1)  # says early what is missing
    labels, families, warnings = drawable_labels([visible(label) for label in [*view.steps, *view.columns]])
    labels = [shortened(label, LABEL_LIMIT) for label in labels]
    rows, columns = labels[:height], labels[height:]
    longest_row, longest_column = (max((ems(label) for label in side), default=0.0) * points / 72
                                   for side in (rows, columns))
    turned = longest_column > inches
    left, top = longest_row + 0.5, (longest_column if turned else 0.15) + 0.45
    right, bottom = 0.65, 0.75
    total = (max(left + width * inches + right, left + 2.2), top + max(height, 1) * inches + bottom)
    figure = new_figure(*total)
    axes = figure.add_axes((left / total[0], bottom / total[1], max(width, 1) * inches / total[0],
                            max(height, 1) * inches / total[1]))
    draw_cells(axes, view, figure, (left / total[0], 0.42 / total[1], 1.4 / total[0], 0.08 / total[1]))
    text = {"fontfamily": families, "fontsize": points, "parse_math": False, "color": INK}
    axes.set_xticks(range(width), columns, rotation=90 if turned else 0, **text)
    axes.set_yticks(range(height), rows, **text)
    axes.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=0, pad=3)
    for label, name in zip(axes.get_xticklabels(), columns, strict=True):
        if ems(name) * points / 72 <= inches:
            label.set_rotation(0)
    note = {"fontsize": 7, "color": MUTED, "parse_math": False}
    for step, share in enumerate(view.probabilities):
        axes.text(width - 0.5 + 0.06 / inches, step, f"{share:.2f}", va="center", ha="left",
                  **(note | {"fontsize": min(points, 7)}))
    figure.text((left - 0.06) / total[0], 1 - (top - 0.06) / total[1], "source →\noutput ↓", ha="right", **note)
    if view.probabilities:
        figure.text(1 - 0.08 / total[0], (bottom - 0.14) / total[1], "probability", ha="right", **note)
    return png_of(figure), warnings


def draw_cells(axes: Any, view: View, figure: Any, place: tuple[float, float, float, float]) -> None:
    """The weights as squares, thin lines between them while they are large, and the legend at `place`."""
    from matplotlib.colors import LinearSegmentedColormap

    weights = view.drawable()
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not weights.size:
        axes.text(0.0, 0.5, "empty source" if view.steps else "empty output", transform=axes.transAxes, fontsize=8,
                  color=MUTED)
        return
    colours = LinearSegmentedColormap.from_list("seqloom", LIGHT_SCALE)
    picture = axes.imshow(weights, cmap=colours, vmin=0.0, vmax=view.top, aspect="auto", interpolation="nearest")
    if max(weights.shape) <= CELL_INCHES[1][0]:
        for edge in range(1, weights.shape[1]):
            axes.axvline(edge - 0.5, color="white", linewidth=0.8)
        for edge in range(1, weights.shape[0]):
            axes.axhline(edge - 0.5, color="white", linewidth=0.8)
    bar = figure.colorbar(picture, cax=figure.add_axes(place), orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_ticks([0.0, view.top / 2, view.top], labels=["0", f"{view.top / 2:g}", f"{view.top:g}"])
    bar.ax.tick_params(length=0, labelsize=7, labelcolor=MUTED, pad=2)
    bar.ax.text(-0.04, 0.5, "weight", transform=bar.ax.transAxes, ha="right", va="center", fontsize=7, color=MUTED)
