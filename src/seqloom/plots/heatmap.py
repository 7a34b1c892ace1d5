"""The attention heat-map as SVG, written by hand: opens everywhere, needs nothing, keeps every script.

Source positions run from left to right in reading order, output tokens from top to bottom. Fonts are the viewer's.
Presentation attributes only (no style sheet), so that converters without CSS show the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from seqloom.plots.colours import FAINT, INK, LIGHT_SCALE, MUTED, PAPER, scale
from seqloom.plots.labels import FONTS, direction, ems, escaped, isolated, shortened, visible
from seqloom.plots.view import View
from seqloom.types import Floats

CELL_SIZES = ((12, 32), (24, 26), (48, 20), (96, 14), (200, 10))  # (up to so many tokens, pixels)
SMALLEST_CELL = 8
LABEL_LIMIT = 16.0  # ems; the whole token stands in its tooltip
MARGIN = 20.0
SPARSE_ABOVE = 20_000  # cells; above, a weight that would read 0.000 is left blank
LEGEND_WIDTH, LEGEND_HEIGHT = 140.0, 8.0
ANCHORS = {("left", "ltr"): "start", ("left", "rtl"): "end", ("right", "ltr"): "end", ("right", "rtl"): "start"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand, in pixels. `slant` is the turn of the column labels in degrees: 0, 45 or 90."""

    cell: int
    font: float
    slant: int
    left: float
    top: float
    width: float
    height: float


def layout_of(rows: list[str], columns: list[str], probabilities: bool) -> Layout:
    """Sizes that fit the labels (already visible and shortened); 8 to 32 pixels a cell."""
    most = max(len(rows), len(columns), 1)
    cell = next((size for limit, size in CELL_SIZES if most <= limit), SMALLEST_CELL)
    font = min(13.0, cell * 0.8)
    longest_column = max((ems(label) for label in columns), default=0.0) * font
    longest_row = max((ems(label) for label in rows), default=0.0) * font
    slant = 0 if longest_column <= cell - 2 else 45 if cell >= 20 else 90
    rise = {0: font, 45: (longest_column + font) * 0.71, 90: longest_column}[slant]
    overhang = max(0.0, (longest_column - cell / 2) * 0.71 if slant == 45 else 0.0)
    left = MARGIN + max(longest_row, 44.0) + 10
    top = MARGIN + max(rise, 24.0) + 8
    right = max(overhang, 52.0 if probabilities else 0.0) + MARGIN
    width = max(left + cell * len(columns) + right, left + LEGEND_WIDTH + 2 * MARGIN)
    return Layout(cell, font, slant, left, top, width, top + cell * len(rows) + 62)


def text(x: float, y: float, content: str, *, size: float, edge: str = "left", fill: str = INK,
         turn: int = 0, tooltip: str = "", extra: str = "") -> str:
    """A <text>, isolated in its own direction; `edge` is the side that touches x, whatever the direction."""
    way = direction(content)
    anchor = "middle" if edge == "middle" else ANCHORS[edge, way]
    attributes = f'font-size="{size:g}" text-anchor="{anchor}" fill="{fill}"{extra}'
    if way == "rtl":
        attributes += ' direction="rtl" unicode-bidi="isolate"'
    place = f'transform="translate({x:g} {y:g}) rotate({turn})"' if turn else f'x="{x:g}" y="{y:g}"'
    title = f"<title>{escaped(tooltip)}</title>" if tooltip else ""
    return f"<text {place} {attributes}>{title}{escaped(content)}</text>"


def column_labels(layout: Layout, columns: list[str], tooltips: list[str]) -> list[str]:
    """The source tokens above the cells, turned where they are wider than a cell."""
    lines = []
    for position, (label, tooltip) in enumerate(zip(columns, tooltips, strict=True)):
        x = layout.left + layout.cell * (position + 0.5)
        if layout.slant and ems(label) * layout.font > layout.cell - 2:
            shift = layout.font * 0.35 if layout.slant == 90 else 0.0
            lines.append(text(x + shift, layout.top - 6, label, size=layout.font, turn=-layout.slant, tooltip=tooltip))
        else:
            lines.append(text(x, layout.top - 8, label, size=layout.font, edge="middle", tooltip=tooltip))
    return lines


def row_labels(layout: Layout, view: View, rows: list[str], tooltips: list[str]) -> list[str]:
    """The output tokens left of the cells, the end symbol in italics, and each token's probability on the right."""
    lines = []
    right = layout.left + layout.cell * len(view.columns) + 8
    for step, (label, tooltip) in enumerate(zip(rows, tooltips, strict=True)):
        y = layout.top + layout.cell * (step + 0.5) + layout.font * 0.35
        ending = view.ended and step == len(rows) - 1
        lines.append(text(layout.left - 8, y, label, size=layout.font, edge="right", tooltip=tooltip,
                          fill=MUTED if ending else INK, extra=' font-style="italic"' if ending else ""))
        if view.probabilities:
            lines.append(text(right, y, f"{view.probabilities[step]:.2f}", size=min(layout.font, 11), fill=MUTED))
    if view.probabilities:
        y = layout.top + layout.cell * len(rows) + 14
        lines.append(text(right, y, "probability", size=10, fill=MUTED))
    return lines


def cells(layout: Layout, weights: Floats, top: float, rows: list[str], columns: list[str]) -> list[str]:
    """One square for each weight, with the value and both tokens as its tooltip."""
    gap = 1 if layout.cell >= 14 else 0
    size = layout.cell - gap
    sparse = weights.size > SPARSE_ABOVE
    lines = [f'<rect x="{layout.left:g}" y="{layout.top:g}" width="{layout.cell * len(columns) - gap}" '
             f'height="{layout.cell * len(rows) - gap}" fill="{LIGHT_SCALE[0]}"/>'] if weights.size else []
    for step, row in enumerate(weights.tolist()):
        lines.append(f'<g transform="translate({layout.left:g} {layout.top + layout.cell * step:g})">')
        for position, weight in enumerate(row):
            if not sparse or weight >= 0.0005:
                tooltip = escaped(f"{weight:.3f}  {rows[step]} ← {columns[position]}")
                lines.append(f'<rect x="{layout.cell * position}" width="{size}" height="{size}" '
                             f'fill="{scale(weight / top)}"><title>{tooltip}</title></rect>')
        lines.append("</g>")
    return lines


def legend(layout: Layout, top: float) -> list[str]:
    """The colour scale with its ends and middle."""
    x, y = layout.left, layout.height - MARGIN - LEGEND_HEIGHT - 14
    stops = "".join(f'<stop offset="{place / 8:g}" stop-color="{scale(place / 8)}"/>' for place in range(9))
    lines = [f'<defs><linearGradient id="seqloom-scale">{stops}</linearGradient></defs>',
             f'<rect x="{x:g}" y="{y:g}" width="{LEGEND_WIDTH:g}" height="{LEGEND_HEIGHT:g}" '
             f'fill="url(#seqloom-scale)" stroke="{FAINT}" stroke-width="0.5"/>',
             text(x - 8, y + LEGEND_HEIGHT, "weight", size=11, edge="right", fill=MUTED)]
    for share, edge in ((0.0, "left"), (0.5, "middle"), (1.0, "right")):
        lines.append(text(x + LEGEND_WIDTH * share, y + LEGEND_HEIGHT + 13, f"{top * share:g}", size=10, edge=edge,
                          fill=MUTED))
    return lines


def write_svg(view: View) -> tuple[bytes, list[str]]:
    """The heat-map of one prediction as an SVG file, and no warnings. UsageError without attention weights."""
    weights = view.drawable()
    row_names, column_names = ([visible(token) for token in tokens] for tokens in (view.steps, view.columns))
    rows, columns = ([shortened(name, LABEL_LIMIT) for name in names] for names in (row_names, column_names))
    row_tooltips, column_tooltips = ([isolated(name) for name in names] for names in (row_names, column_names))
    layout = layout_of(rows, columns, bool(view.probabilities))
    caption = escaped(visible(view.caption, spaces=False))
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width:g}" height="{layout.height:g}" '
             f'viewBox="0 0 {layout.width:g} {layout.height:g}" role="img" aria-labelledby="seqloom-title" '
             f'font-family="{escaped(FONTS)}">',
             f'<title id="seqloom-title">{caption}</title>',
             "<desc>Attention weights: output tokens from top to bottom, source tokens from left to right."
             + (" Weights below 0.0005 are left blank." if weights.size > SPARSE_ABOVE else "") + "</desc>",
             f'<rect width="100%" height="100%" fill="{PAPER}"/>',
             text(layout.left - 8, layout.top - 23, "source →", size=11, edge="right", fill=MUTED),
             text(layout.left - 8, layout.top - 8, "output ↓", size=11, edge="right", fill=MUTED)]
    if not weights.size:
        missing = "empty source" if view.steps else "empty output"
        parts.append(text(layout.left, layout.top + 14, missing, size=12, fill=MUTED))
    parts += column_labels(layout, columns, column_tooltips)
    parts += row_labels(layout, view, rows, row_tooltips)
    parts += cells(layout, weights, view.top, row_tooltips, column_tooltips)
    parts += legend(layout, view.top)
    return "\n".join([*parts, "</svg>", ""]).encode("utf-8"), []
