"""The part of an HTML page that shows attention over a picture, a sound or frames; and its style."""

from __future__ import annotations

from seqloom.insight.seen import Seen
from seqloom.plots.labels import escaped, visible
from seqloom.plots.raster import data_address, overlay, shown_frames, sized, strip
from seqloom.plots.view import View
from seqloom.types import Floats

STYLE = """
.regions{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,9rem),1fr));gap:1rem;margin:.75rem 0}
.regions figure,.strips figure{content-visibility:auto;contain-intrinsic-height:10rem}
.regions img{display:block;width:100%;height:auto;border-radius:.25rem}
.strips figure{margin:.5rem 0;contain-intrinsic-height:6rem}
.strip{min-width:100%;width:WIDTHpx;height:HEIGHTrem;background:url(PICTURE) 0 0/100% 100% no-repeat}
.strip svg{display:block;width:100%;height:100%;overflow:visible}
.strip path{vector-effect:non-scaling-stroke;fill:none;stroke-linejoin:round}
.strip .edge{stroke:#fff;stroke-width:4px}.strip .curve{stroke:#d55e00;stroke-width:2px}
.strips .scroll{max-height:80vh;width:auto}
.ends{display:flex;justify-content:space-between}
"""
PIXELS = 2  # of a frame of sound, at least, before the strip scrolls
WIDEST = 8000


def style(seen: Seen) -> str:
    """The rules of these parts; the strip is in them, so that it is in the page once and not for every token."""
    if seen.picture is not None:
        return "".join(line + "\n" for line in STYLE.splitlines() if not line.startswith((".strip", ".ends")))
    picture = strip(seen)
    width = min(picture.shape[1] if seen.pages is not None else seen.length * PIXELS, WIDEST)
    height = 4 if seen.pages is not None else 5
    return STYLE.replace("WIDTH", str(width)).replace("HEIGHT", str(height)).replace("PICTURE", data_address(picture))


def seen_parts(view: View, seen: Seen) -> str:
    """The input as it was read, and where each output token looked; the input alone without attention."""
    weights = view.weights if view.weights is not None and view.weights.size else None
    if seen.picture is not None:
        return _regions(view, seen, weights)
    return _strips(view, seen, weights)


def _regions(view: View, seen: Seen, weights: Floats | None) -> str:
    assert seen.picture is not None
    rows, columns = seen.grid
    picture = sized(seen.picture, 1 + len(view.steps))
    figures = [_figure(f'<img src="{data_address(picture)}" alt="the picture as it was read">', "as read")]
    intro = f"{seen.picture.shape[0]} × {seen.picture.shape[1]} pixels, as the model read them."
    if weights is not None:
        intro += (f" Attention falls on {rows} × {columns} regions; each picture is bright where its token looked, "
                  "from none of the weight to that token's largest.")
        for label, row in zip(view.steps, weights, strict=True):
            place = int(row.argmax())
            told = f"{float(row[place]):.2f} at row {place // columns + 1}, column {place % columns + 1}"
            figures.append(_figure(
                f'<img src="{data_address(overlay(picture, row.reshape(rows, columns)))}" '
                f'alt="{escaped(visible(label))}: most, {told}">', _name(label), told))
    return _section("The picture", intro, '<div class="regions">' + "\n".join(figures) + "</div>")


def _strips(view: View, seen: Seen, weights: Floats | None) -> str:
    end = f"{seen.length * seen.seconds:.2f} s" if seen.seconds is not None else f"frame {seen.length - 1}"
    ends = f'<p class="muted ends"><span>{"0" if seen.seconds is not None else "frame 0"}</span><span>{end}</span></p>'
    figures = [_figure(f'<div class="strip"></div>{ends}', "as read")]
    if weights is not None:
        places = seen.centres(weights.shape[1])
        for label, row in zip(view.steps, weights, strict=True):
            place = int(row.argmax())
            told = f"most, {float(row[place]):.2f}, at {moment(seen, place)}"
            figures.append(_figure(f'<div class="strip">{curve(places, row / view.top, escaped(told))}</div>',
                                   _name(label), told))
    return _section(TITLES[seen.kind], _about(seen, view, weights), '<div class="strips"><div class="scroll" '
                    'tabindex="0" role="region" aria-label="attention over the input">' + "\n".join(figures)
                    + "</div></div>")


TITLES = {"audio": "The sound", "features": "The frames", "frames": "The video"}


def _about(seen: Seen, view: View, weights: Floats | None) -> str:
    kind = {"audio": "Log-mel frames, as the model read them: time across, high frequencies above.",
            "features": f"Frames of {0 if seen.frames is None else seen.frames.shape[1]} numbers, as the model read "
                        "them: frames across, the first number below.",
            "frames": "The frames of the video, as the model read them"
                      + (f", every {shown_frames(seen.length)}. of them." if shown_frames(seen.length) > 1 else ".")}
    if weights is None:
        return kind[seen.kind]
    apart = f" {seen.step} frames are one position." if seen.step > 1 else ""
    return f"{kind[seen.kind]}{apart} The curve is the weight of each position, from 0 at the foot to {view.top:g}."


def moment(seen: Seen, position: int) -> str:
    """A position of the memory in the units of the input; frames count from 0, as in its names."""
    first = position * seen.step
    if seen.seconds is not None:
        return f"{first * seen.seconds:.2f} s"
    last = min(first + seen.step, seen.length) - 1
    return f"frame {last}" if last == first else f"frames {first} to {last}"


def curve(places: Floats, heights: Floats, told: str) -> str:
    """Heights 0 to 1 over places 0 to 1, as a drawing that is stretched over what lies beneath."""
    points = [(float(x), float(y)) for x, y in zip(places, heights, strict=True)]
    points = [(0.0, points[0][1]), *points, (1.0, points[-1][1])]
    path = "M" + "L".join(f"{1000 * x:.1f} {100 * (1 - min(1.0, y)):.1f}" for x, y in points)
    return (f'<svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" aria-label="{told}">'
            f'<path class="edge" d="{path}"/><path class="curve" d="{path}"/></svg>')


def _name(label: str) -> str:
    return f'<bdi>{escaped(visible(label))}</bdi>'


def _figure(content: str, name: str, told: str = "") -> str:
    return f"<figure>{content}<figcaption>{name}{f' · {told}' if told else ''}</figcaption></figure>"


def _section(title: str, intro: str, content: str) -> str:
    return f'<section>\n<h2>{title}</h2>\n<p class="muted">{intro}</p>\n{content}\n</section>'
