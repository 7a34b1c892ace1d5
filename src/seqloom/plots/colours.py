"""The colours of every picture: one scale for weights, one palette for curves.

The scale is one hue whose lightness alone carries the value, so it keeps its order for colour-blind eyes and in grey
print. Its anchors are even in OKLab lightness (Ottosson 2020, "A perceptual color space for image processing").
The palette is that of Okabe and Ito (2008, "Color Universal Design"). Nothing here knows a file format.
"""

from __future__ import annotations

LIGHT_SCALE = ("#f1f6f8", "#8cc7e6", "#388ec4", "#185a95", "#162a50")
DARK_SCALE = ("#22272e", "#2f4a67", "#3c7aab", "#64b6df", "#d1f6ff")
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 2")
INK, MUTED, FAINT, PAPER = "#1c2430", "#5f6b7a", "#dde3ea", "#ffffff"

TOPS = (0.1, 0.2, 0.25, 0.5, 0.75)


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour written "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def scale(share: float, anchors: tuple[str, ...] = LIGHT_SCALE) -> str:
    """The colour of a share: 0 gives the first anchor, 1 the last, straight lines between; outside is clipped."""
    place = min(max(share, 0.0), 1.0) * (len(anchors) - 1)
    left = min(int(place), len(anchors) - 2)
    low, high = channels(anchors[left]), channels(anchors[left + 1])
    part = place - left
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(low, high, strict=True))


def ink_on(colour: str) -> str:
    """Black or white, whichever has the larger contrast on a colour (relative luminance of WCAG 2.1)."""
    linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4
              for value in channels(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def top_of(maximum: float) -> float:
    """The upper end of the scale for a largest weight: a round number not below it, so that faint rows stay visible."""
    return next((top for top in TOPS if maximum <= top), 1.0)
