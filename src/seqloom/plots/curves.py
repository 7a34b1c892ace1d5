"""The curves of a run as SVG and HTML, written by hand: one small panel for each kind of metric.

Colours are told apart by colour-blind eyes, and each line has its own dash as well. Presentation attributes draw the
light picture; the HTML page overrides them by class in the dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from seqloom.plots.assets import document, style_sheet
from seqloom.plots.colours import DASHES, FAINT, INK, MUTED, PALETTE, PAPER
from seqloom.plots.labels import FONTS, ems, escaped, shortened, visible
from seqloom.plots.series import Panel, decades, short, ticks

WIDTH, HEIGHT = 360.0, 232.0  # one panel, in pixels
LEFT, RIGHT, BOTTOM = 46.0, 14.0, 30.0
LINE_HEIGHT = 15.0
DOTS_BELOW = 60  # points of a line; fewer get a dot each, with the value as tooltip
TABLE_ROWS = 200

DARK_PALETTE = ("#4aa8e0", "#f08a45", "#2fc298", "#e39cc3", "#8fd0f5", "#f2bd4d")
PAGE_STYLE = """
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:1.5rem;margin:1.5rem 0}
.panels svg{display:block;width:100%;height:auto}
h1.title{font-size:1.25rem;color:var(--ink)}
.wide{max-height:28rem}
.wide .list{font-size:.8125rem;width:auto}
.wide .list th,.wide .list td{padding-inline:.625rem;text-align:end;white-space:nowrap}
.wide thead th{position:sticky;top:0;background:var(--paper)}
summary{cursor:pointer;margin-top:2rem}
.t{fill:var(--ink)}.m{fill:var(--muted)}.g{stroke:var(--line)}
"""
DARK_STYLE = "".join(f".s{index}{{stroke:{colour}}}.d{index}{{fill:{colour}}}"
                     for index, colour in enumerate(DARK_PALETTE))


def label(x: float, y: float, content: str, *, size: float = 10.5, anchor: str = "start", kind: str = "m") -> str:
    """Text in a panel; kind t is ink, m is muted."""
    fill = INK if kind == "t" else MUTED
    weight = ' font-weight="600"' if kind == "t" and size > 11 else ""
    return (f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" '
            f'fill="{fill}"{weight}>{escaped(content)}</text>')


def vertical_axis(panel: Panel, top: float) -> tuple[Callable[[float], float], list[float]]:
    """Value → pixel, and where its ticks stand; logarithmic when the values span two powers of ten."""
    values = [value for series in panel.series for value in series.values]
    low, high = min(values), max(values)
    bend: Callable[[float], float] = math.log10 if panel.logarithmic else float
    if not panel.logarithmic:
        margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        low, high = low - (0 if low >= 0 and low < margin else margin), high + margin
        if low > 0 and low < (high - low) * 0.25:
            low = 0.0  # so near to zero that leaving it out would mislead
    marks = decades(low, high) if panel.logarithmic else ticks(low, high)
    start, span, room = bend(low), bend(high) - bend(low), HEIGHT - BOTTOM - top

    def place(value: float) -> float:
        return HEIGHT - BOTTOM - (bend(value) - start) / span * room

    return place, marks


def legend(panel: Panel) -> tuple[list[str], float]:
    """The names of the series with their last values, in as many lines as they need, and where the picture starts."""
    lines, x, y = [], 0.0, 34.0
    for index, series in enumerate(panel.series):
        name = shortened(visible(series.key, spaces=False), 20)
        entry = f"{name} {short(series.points[-1][1])}"
        width = 22 + ems(entry) * 10.5 + 10
        if x and x + width > WIDTH - 4:
            x, y = 0.0, y + LINE_HEIGHT
        lines.append(stroke(index, f"M{x:g} {y - 3.5:g}h16"))
        lines.append(label(x + 21, y, entry))
        x += width
    return lines, y + 14


def stroke(index: int, path: str) -> str:
    """A line of the series with this number."""
    dash = f' stroke-dasharray="{DASHES[index]}"' if DASHES[index] else ""
    return (f'<path class="s{index}" d="{path}" fill="none" stroke="{PALETTE[index]}" stroke-width="1.75" '
            f'stroke-linejoin="round"{dash}/>')


def draw_panel(panel: Panel, axis: str) -> str:
    """The inside of one panel, WIDTH × HEIGHT: title, legend, grid, ticks, lines."""
    entries, top = legend(panel)
    height_of, marks = vertical_axis(panel, top)
    across = [x for series in panel.series for x, _ in series.points]
    first, last = min(across), max(across)

    def across_of(x: float) -> float:
        return LEFT + ((x - first) / (last - first) if last > first else 0.5) * (WIDTH - LEFT - RIGHT)

    title = visible(panel.title, spaces=False) + (" (logarithmic)" if panel.logarithmic else "")
    parts = [label(0, 14, shortened(title, 26), size=12.5, kind="t"), *entries]
    for mark in marks:
        y = height_of(mark)
        parts.append(f'<path class="g" d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}" stroke="{FAINT}" stroke-width="1"/>')
        parts.append(label(LEFT - 6, round(y + 3.5, 1), short(mark), anchor="end"))
    for mark in ticks(first, last):
        parts.append(label(round(across_of(mark), 1), HEIGHT - BOTTOM + 14, short(mark), anchor="middle"))
    parts.append(label(WIDTH - RIGHT, HEIGHT - 2, axis, anchor="end"))
    for index, series in enumerate(panel.series):
        points = [(across_of(x), height_of(y)) for x, y in series.thinned()]
        parts.append(stroke(index, "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)))
        if len(series.points) < DOTS_BELOW:
            name = visible(series.key, spaces=False)
            parts += [f'<circle class="d{index}" cx="{across_of(x):.1f}" cy="{height_of(y):.1f}" r="2.25" '
                      f'fill="{PALETTE[index]}"><title>{escaped(f"{name} {y:.6g} at {axis} {x:g}")}</title></circle>'
                      for x, y in series.points]
    return "\n".join(parts)


def columns_for(count: int) -> int:
    """Panels side by side."""
    return 1 if count == 1 else 2 if count <= 4 else 3


def curves_svg(panels: Sequence[Panel], axis: str, title: str) -> tuple[bytes, list[str]]:
    """All panels in one SVG file, and no warnings."""
    columns = min(columns_for(len(panels)), len(panels))
    rows, gap, margin, head = math.ceil(len(panels) / columns), 28.0, 24.0, 34.0 if title else 0.0
    width = columns * (WIDTH + gap) - gap + 2 * margin
    height = rows * (HEIGHT + gap) - gap + 2 * margin + head
    shown = visible(title, spaces=False)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
             f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{escaped(FONTS)}">',
             f"<title>{escaped(shown or 'metrics')}</title>", f'<rect width="100%" height="100%" fill="{PAPER}"/>']
    if title:
        parts.append(label(margin, margin + 12, shown, size=15, kind="t"))
    for index, panel in enumerate(panels):
        x = margin + (index % columns) * (WIDTH + gap)
        y = margin + head + (index // columns) * (HEIGHT + gap)
        parts += [f'<g transform="translate({x:g} {y:g})">', draw_panel(panel, axis), "</g>"]
    return "\n".join([*parts, "</svg>", ""]).encode("utf-8"), []


def curves_html(panels: Sequence[Panel], axis: str, title: str) -> tuple[bytes, list[str]]:
    """All panels in one offline page, with the numbers in a table beneath, and no warnings."""
    shown = visible(title, spaces=False) or "Metrics"
    parts = [f'<main>\n<h1 class="title" dir="auto">{escaped(shown)}</h1>\n<div class="panels">']
    for panel in panels:
        name = escaped(visible(panel.title, spaces=False))
        parts.append(f'<figure><svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{name}">'
                     f"{draw_panel(panel, axis)}</svg></figure>")
    parts += ["</div>", numbers(panels, axis), "</main>"]
    return document(shown, "\n".join(parts), style=style_sheet(PAGE_STYLE, DARK_STYLE)), []


def numbers(panels: Sequence[Panel], axis: str) -> str:
    """The values as a table, one row for each place on the axis; only the last rows of a long run."""
    series = [item for panel in panels for item in panel.series]
    values = {item.key: dict(item.points) for item in series}
    places = sorted({x for item in series for x, _ in item.points})
    said = f" (the last {TABLE_ROWS} of {len(places)} rows)" if len(places) > TABLE_ROWS else ""
    head = "".join(f'<th scope="col">{escaped(visible(item.key, spaces=False))}</th>' for item in series)
    lines = [f"<details><summary>Numbers{said}</summary>",
             '<div class="scroll wide" tabindex="0" role="region" aria-label="Numbers"><table class="list">',
             f'<thead><tr><th scope="col">{escaped(axis)}</th>{head}</tr></thead>', "<tbody>"]
    for place in places[-TABLE_ROWS:]:
        row = "".join(f"<td>{values[item.key][place]:.6g}</td>" if place in values[item.key] else "<td></td>"
                      for item in series)
        lines.append(f'<tr><th scope="row">{place:g}</th>{row}</tr>')
    return "\n".join([*lines, "</tbody></table></div>\n</details>"])
