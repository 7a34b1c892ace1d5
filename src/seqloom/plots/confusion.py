"""The table of confusions as SVG and HTML, written by hand: what is right from top to bottom, answers left to right.

Lightness of one hue is the share of the row (the square root of it, so that rare mistakes are seen), the number in a
cell is the count; beside a row stand its cases and the share that is right. Readable from 2 to 60 classes: what is
rarer than the 59 most frequent is one class together.
"""

from __future__ import annotations

import json
import math
from typing import NamedTuple

from seqloom.metrics.confusion import Confusion
from seqloom.plots.assets import document, style_sheet
from seqloom.plots.colours import FAINT, INK, MUTED, PAPER, ink_on, scale
from seqloom.plots.heatmap import text
from seqloom.plots.labels import FONTS, ems, escaped, isolated, shortened, visible

MOST_DRAWN = 60
CELL_SIZES = ((3, 92), (6, 68), (12, 48), (20, 36), (30, 27))  # (up to so many classes, pixels)
SMALLEST_CELL = 21
TWO_LINES_FROM = 44  # pixels of a cell that has room for the share below the count
LABEL_LIMIT = 14.0  # ems; the whole name stands in its tooltip
MARGIN, SIDE, FOOT = 22.0, 122.0, 66.0
WHOLE_BELOW = 100_000  # cases of a row that are written out
LEGEND_WIDTH, LEGEND_HEIGHT, LEGEND_STEPS = 160.0, 9.0, 32
LEGEND_MARKS = (0.0, 0.02, 0.1, 0.25, 0.5, 1.0)
PAGE_STYLE = """
.picture{overflow:auto;margin:1.5rem 0;background:#fff;border-radius:.375rem;width:fit-content;max-width:100%}
h1.title{font-size:1.25rem;color:var(--ink)}
.list th,.list td{padding-inline:.625rem;text-align:end;white-space:nowrap}
"""


class Sizes(NamedTuple):
    """Where things stand, in pixels; `slant`: the turn of the names above the columns, 0 or 45 degrees."""

    cell: int
    font: float
    slant: int
    left: float
    top: float
    width: float
    height: float


def bent(share: float) -> float:
    """Where on the colour scale a share stands."""
    return math.sqrt(share)


def percent(share: float) -> str:
    """A share in few characters: 100 %, 98.7 %, 0.4 %, < 0.1 %."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return "100 %" if share > 0.9995 else f"{100 * share:.1f} %"


def brief(count: int) -> str:
    """A count in at most four characters: 812, 9.8k, 12k, 3M."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{letter}" if count < 9.95 * size else f"{count / size:.0f}{letter}"
    return str(count)


def whole(count: int) -> str:
    """A count where there is room: 24,953."""
    return f"{count:,}" if count < WHOLE_BELOW else brief(count)


def sizes_of(labels: list[str], title: str) -> Sizes:
    """Sizes that fit the names."""
    count = len(labels)
    cell = next((size for limit, size in CELL_SIZES if count <= limit), SMALLEST_CELL)
    font = min(14.0, max(10.5, cell * 0.5))
    longest = max((ems(name) for name in labels), default=0.0) * font
    slant = 0 if longest <= cell - 6 else 45
    left = MARGIN + max(longest, 84.0) + 12
    top = MARGIN + (34.0 if title else 0.0) + (max(longest * 0.71, font) + font if slant else font) + 26
    overhang = longest * 0.71 if slant else 0.0
    width = left + cell * count + max(SIDE, overhang) + MARGIN
    return Sizes(cell, font, slant, left, top, max(width, left + LEGEND_WIDTH + MARGIN + 30),
                 top + cell * count + FOOT + MARGIN)


def confusion_svg(confusion: Confusion, title: str = "") -> tuple[bytes, list[str]]:
    """The table as an SVG file, and no warnings."""
    return picture(confusion, title).encode("utf-8"), []


def picture(confusion: Confusion, title: str) -> str:
    """The same as text."""
    shown = confusion.reduced(MOST_DRAWN)
    names = [visible(label) for label in shown.labels]
    labels = [shortened(name, LABEL_LIMIT) for name in names]
    sizes = sizes_of(labels, title)
    heading = visible(title, spaces=False)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{sizes.width:g}" height="{sizes.height:g}" '
             f'viewBox="0 0 {sizes.width:g} {sizes.height:g}" role="img" font-family="{escaped(FONTS)}">',
             f"<title>{escaped(heading or 'Confusions')}</title>",
             "<desc>Rows: what is right. Columns: what was answered. Numbers: counts. Colour: share of the row.</desc>",
             f'<rect width="100%" height="100%" fill="{PAPER}"/>']
    if heading:
        parts.append(text(MARGIN, MARGIN + 12, shortened(heading, 60), size=15))
    parts += _names(sizes, labels, names)
    parts += _cells(sizes, shown, names)
    parts += _sides(sizes, shown)
    parts += _legend(sizes)
    return "\n".join([*parts, "</svg>", ""])


def _names(sizes: Sizes, labels: list[str], names: list[str]) -> list[str]:
    lines = [text(sizes.left - 10, sizes.top - 10, "right ↓  answer →", size=10.5, edge="right", fill=MUTED)]
    for place, (label, name) in enumerate(zip(labels, names, strict=True)):
        middle = sizes.cell * (place + 0.5)
        tooltip = isolated(name)
        lines.append(text(sizes.left - 10, sizes.top + middle + sizes.font * 0.35, label, size=sizes.font, edge="right",
                          tooltip=tooltip))
        if sizes.slant:
            lines.append(text(sizes.left + middle + 2, sizes.top - 9, label, size=sizes.font, turn=-sizes.slant,
                              tooltip=tooltip))
        else:
            lines.append(text(sizes.left + middle, sizes.top - 9, label, size=sizes.font, edge="middle",
                              tooltip=tooltip))
    return lines


def _cells(sizes: Sizes, shown: Confusion, names: list[str]) -> list[str]:
    """A square for each pair that occurs; those that are right have a frame."""
    cell, full = sizes.cell, sizes.cell * len(names)
    lines = [f'<rect x="{sizes.left:g}" y="{sizes.top:g}" width="{full}" height="{full}" fill="{scale(0)}"/>']
    small = min(sizes.font, cell * 0.4)
    for row, (counts, shares) in enumerate(zip(shown.counts.tolist(), shown.shares, strict=True)):
        for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
            x, y = sizes.left + cell * column, sizes.top + cell * row
            frame = f' stroke="{INK}" stroke-width="1.25"' if row == column else ""
            if not count and not frame:
                continue
            colour = scale(bent(share))
            told = escaped(f"{isolated(names[row])} → {isolated(names[column])}: {count:,}, {percent(share)}")
            lines.append(f'<rect x="{x + 1:g}" y="{y + 1:g}" width="{cell - 2}" height="{cell - 2}" fill="{colour}"'
                         f"{frame}><title>{told}</title></rect>")
            if not count:
                continue
            two = cell >= TWO_LINES_FROM
            written = whole(count) if two else brief(count)
            fitting = min(small, (cell - 3) / max(ems(written), 1.0))
            lines.append(text(x + cell / 2, y + cell / 2 + (-2 if two else fitting * 0.36), written, size=fitting,
                              edge="middle", fill=ink_on(colour), extra=' pointer-events="none"'))
            if two:
                lines.append(text(x + cell / 2, y + cell / 2 + 12, percent(share), size=min(11.0, cell * 0.21),
                                  edge="middle", fill=ink_on(colour), extra=' pointer-events="none"'))
    return lines


def _sides(sizes: Sizes, shown: Confusion) -> list[str]:
    """Beside each row its cases and the share that is right."""
    x = sizes.left + sizes.cell * len(shown.labels) + 12
    size = min(11.0, sizes.font)
    below = sizes.top + sizes.cell * len(shown.labels) + 14
    lines = [text(x + 44, below, "cases", size=10, edge="right", fill=MUTED),
             text(x + 98, below, "right", size=10, edge="right", fill=MUTED)]
    for row, counts in enumerate(shown.counts):
        y = sizes.top + sizes.cell * (row + 0.5) + size * 0.35
        cases, right = int(counts.sum()), int(counts[row])
        lines.append(text(x + 44, y, whole(cases), size=size, edge="right", fill=MUTED))
        lines.append(text(x + 98, y, percent(right / cases) if cases else "–", size=size, edge="right", fill=INK))
    return lines


def _legend(sizes: Sizes) -> list[str]:
    """The colour scale, with shares where they stand on it."""
    x, y = sizes.left, sizes.height - MARGIN - 24
    step = LEGEND_WIDTH / LEGEND_STEPS
    lines = [f'<rect x="{x + step * place:g}" y="{y:g}" width="{step + 0.3:g}" height="{LEGEND_HEIGHT:g}" '
             f'fill="{scale((place + 0.5) / LEGEND_STEPS)}"/>' for place in range(LEGEND_STEPS)]
    lines.append(f'<rect x="{x:g}" y="{y:g}" width="{LEGEND_WIDTH:g}" height="{LEGEND_HEIGHT:g}" fill="none" '
                 f'stroke="{FAINT}" stroke-width="0.5"/>')
    lines.append(text(x - 10, y + LEGEND_HEIGHT, "share of row", size=10.5, edge="right", fill=MUTED))
    lines += [text(x + LEGEND_WIDTH * bent(mark), y + LEGEND_HEIGHT + 12, f"{100 * mark:g}%", size=9, edge="middle",
                   fill=MUTED) for mark in LEGEND_MARKS]
    return lines


def confusion_html(confusion: Confusion, title: str = "") -> tuple[bytes, list[str]]:
    """The picture in an offline page, with all counts in a table beneath, and no warnings."""
    heading = visible(title, spaces=False) or "Confusions"
    names = [escaped(visible(label)) for label in confusion.labels]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = [f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{count}</td>" for count in counts) + "</tr>"
            for name, counts in zip(names, confusion.counts.tolist(), strict=True)]
    body = "\n".join([
        f'<main>\n<h1 class="title" dir="auto">{escaped(heading)}</h1>',
        f'<div class="picture">{picture(confusion, "")}</div>',
        "<details><summary>Counts: rows are what is right, columns what was answered</summary>",
        '<div class="scroll" tabindex="0" role="region" aria-label="Counts"><table class="list">',
        f"<thead><tr><td></td>{head}</tr></thead>", "<tbody>", *rows, "</tbody></table></div>\n</details></main>"])
    return document(heading, body, style=style_sheet(PAGE_STYLE)), []


def confusion_json(confusion: Confusion, title: str = "") -> tuple[bytes, list[str]]:
    """The figures."""
    return f"{json.dumps({'title': title, **confusion.to_json()}, ensure_ascii=False)}\n".encode(), []
