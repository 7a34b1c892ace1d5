"""The unrolled network as a drawing in SVG: source below, encoder, summary, decoder, answer above."""

from __future__ import annotations

from seqloom.insight.path import Path
from seqloom.plots.colours import FAINT, MUTED, PALETTE, PAPER
from seqloom.plots.heatmap import text
from seqloom.plots.labels import FONTS, shortened, visible

MOST = 24  # columns of each side; of longer ones the middle is left out
STEP, BOX = 56.0, 34.0
SIDE = 24.0
ENCODER, DECODER, SOURCE, TARGET = 190.0, 96.0, 250.0, 36.0
LABEL = 4.4  # ems of a token


def chosen(count: int) -> list[int | None]:
    """Which columns are drawn; None stands for those left out."""
    if count <= MOST:
        return list(range(count))
    half = MOST // 2
    return [*range(half), None, *range(count - half, count)]


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str = MUTED, extra: str = "") -> str:
    """A line with a head."""
    return (f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="1.4" '
            f'marker-end="url(#head)"{extra}/>')


def box(x: float, y: float, colour: str, tooltip: str) -> str:
    """A state."""
    return (f'<rect x="{x - BOX / 2:g}" y="{y - BOX / 2:g}" width="{BOX:g}" height="{BOX:g}" rx="5" fill="{PAPER}" '
            f'stroke="{colour}" stroke-width="1.8"><title>{tooltip}</title></rect>')


def drawing(path: Path) -> str:
    """The whole picture, at most 2 × 25 columns wide."""
    sources, steps = chosen(len(path.as_read)), chosen(len(path.tokens))
    in_step = path.context in ("in_step", "language")
    begin = 0.0 if in_step else STEP * (len(sources) + 0.5)
    width = 2 * SIDE + begin + STEP * max(len(steps), len(sources) if in_step else 0)
    centre = {side: {column: SIDE + start + STEP * (place + 0.5) for place, column in enumerate(columns)}
              for side, start, columns in (("s", 0.0, sources), ("t", begin, steps))}
    parts = [_encoder(path, sources, centre["s"]), _decoder(path, steps, centre["t"], centre["s"])]
    if not in_step:
        last, first = SIDE + STEP * (len(sources) - 0.5) + BOX / 2, SIDE + begin + STEP * 0.5 - BOX / 2
        parts.append(arrow(last, ENCODER, first, DECODER + 6, PALETTE[0], ' stroke-dasharray="5 3"'))
        parts.append(text((last + first) / 2 - 18, ENCODER + 16, "summary", size=11, fill=MUTED))
    head = (f'<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{MUTED}"/></marker></defs>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="280" viewBox="0 0 {width:g} 280" '
            f'font-family="{FONTS.replace(chr(34), "")}" role="img" aria-label="the network unrolled over source and '
            f'answer">{head}<rect width="{width:g}" height="280" fill="{PAPER}"/>' + "".join(parts) + "</svg>\n")


def _encoder(path: Path, columns: list[int | None], centre: dict[int | None, float]) -> str:
    parts, before = [], None
    for column in columns:
        x = centre[column]
        if before is not None:
            parts.append(arrow(before + BOX / 2, ENCODER, x - BOX / 2, ENCODER))
        before = x
        if column is None:
            parts.append(text(x, ENCODER + 4, "…", size=16, edge="middle"))
            continue
        name = visible(path.source_tokens[column])
        parts += [arrow(x, SOURCE - 16, x, ENCODER + BOX / 2 + 1), box(x, ENCODER, PALETTE[0], f"encoder {column + 1}"),
                  text(x, ENCODER + 4, f"h{column + 1}", size=11, edge="middle"),
                  text(x, SOURCE, shortened(name, LABEL), size=13, edge="middle", tooltip=name)]
    return "".join(parts)


def _decoder(path: Path, columns: list[int | None], centre: dict[int | None, float],
             sources: dict[int | None, float]) -> str:
    parts, before, in_step = [], None, path.context in ("in_step", "language")
    for column in columns:
        x = centre[column]
        if before is not None and not in_step:
            parts.append(arrow(before + BOX / 2, DECODER, x - BOX / 2, DECODER))
        before = x
        if column is None:
            parts.append(text(x, DECODER + 4, "…", size=16, edge="middle"))
            continue
        looked = path.looked[column]
        name = visible(path.tokens[column])
        if looked in sources and looked is not None:
            parts.append(arrow(sources[looked], ENCODER - BOX / 2, x, DECODER + BOX / 2 + 1, PALETTE[1],
                               ' stroke-opacity="0.55"'))
        parts += [box(x, DECODER, PALETTE[2], f"step {column + 1}"),
                  text(x, DECODER + 4, f"{'o' if in_step else 's'}{column + 1}", size=11, edge="middle"),
                  arrow(x, DECODER - BOX / 2, x, TARGET + 8),
                  text(x, TARGET, shortened(name, LABEL), size=13, edge="middle", tooltip=name)]
    words = {"attention": "orange: where each step looked most", "in_step": "each step reads its own position",
             "language": "each step reads a symbol and says the next",
             "every_step": "every step reads the summary", "initial": "the summary reaches the first step alone"}
    parts.append(text(SIDE, 272, words[path.context], size=11, fill=MUTED))
    parts.append(f'<line x1="0" y1="279.5" x2="100%" y2="279.5" stroke="{FAINT}"/>')
    return "".join(parts)
