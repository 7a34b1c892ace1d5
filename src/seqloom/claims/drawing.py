"""A claim's table as curves in SVG: quality from 0 to 1 over the columns, a panel for each kind of row."""

from __future__ import annotations

from seqloom.claims.tables import Table
from seqloom.plots.colours import FAINT, PALETTE, PAPER
from seqloom.plots.curves import label, stroke
from seqloom.plots.labels import FONTS, ems, escaped

WIDTH, HEIGHT = 300.0, 200.0  # one panel with its title and the names of the columns
LEFT, TOP, FOOT = 34.0, 26.0, 36.0
MARGIN, LINE = 16.0, 16.0
FONT = 10.5
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def drawing(table: Table, axis: str) -> bytes:
    """Rows named "x, kind" share a panel with those of their kind; its curves are named x beside it."""
    panels: dict[str, list[str]] = {}
    for row in table.rows:
        panels.setdefault(row.partition(", ")[2] or "quality", []).append(row)
    parts, x = [], MARGIN
    for title, rows in panels.items():
        names = [row.partition(", ")[0] for row in rows]
        parts += [f'<g transform="translate({x:g} {MARGIN:g})">', *_panel(table, title, rows, names, axis), "</g>"]
        x += WIDTH + 30 + max(ems(name) for name in names) * FONT + MARGIN
    height = HEIGHT + 2 * MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{x:.0f}" height="{height:g}" '
        f'viewBox="0 0 {x:.0f} {height:g}" role="img" font-family="{escaped(FONTS)}">',
        f"<title>{escaped(', '.join(panels))} over {escaped(axis)}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>', *parts, "</svg>", ""]).encode()


def _panel(table: Table, title: str, rows: list[str], names: list[str], axis: str) -> list[str]:
    floor = HEIGHT - FOOT
    step = (WIDTH - LEFT) / max(1, len(table.columns) - 1)
    parts = [label(0, 11, title, size=12.5, kind="t"), label(WIDTH, HEIGHT, axis, anchor="end")]
    for share in GRID:
        y = floor - share * (floor - TOP)
        parts.append(f'<path d="M{LEFT:g} {y:.1f}H{WIDTH:g}" stroke="{FAINT}" stroke-width="1"/>')
        parts.append(label(LEFT - 6, y + 3.5, f"{share:g}", anchor="end"))
    for place, column in enumerate(table.columns):
        anchor = "start" if place == 0 else "end" if place == len(table.columns) - 1 else "middle"
        parts.append(label(LEFT + place * step, floor + 16, column, anchor=anchor))
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        points = [(LEFT + place * step, floor - table.mean(row, column) * (floor - TOP))
                  for place, column in enumerate(table.columns)]
        parts.append(stroke(number, "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.25" fill="{PALETTE[number]}"/>' for x, y in points]
        y = TOP + 4 + number * LINE
        parts += [stroke(number, f"M{WIDTH + 10:g} {y - 3.5:g}h16"), label(WIDTH + 30, y, name, kind="t")]
    return parts
