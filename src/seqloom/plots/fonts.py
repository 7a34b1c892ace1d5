"""Which installed fonts can draw a text with matplotlib, and which characters none of them has.

Unlike a browser, matplotlib asks only the fonts it is told about and draws an empty box for what they lack. Colour
emoji fonts are bitmaps that it cannot use.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any

PREFERRED = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Apple SD Gothic Neo",
             "Malgun Gothic", "Noto Sans Arabic", "Noto Sans Devanagari", "Arial Unicode MS", "Segoe UI", "Unifont")
REGULAR = 400  # weight in CSS terms; other weights make matplotlib log that it looked in vain
NONCHARACTER = 0xFDD0
INVISIBLE = "\u200c\u200d\ufe0e\ufe0f"  # shapers use them up; they need no glyph


def families() -> dict[str, Any]:
    """Installed families with an upright regular face: the preferred ones, then other Noto, then the rest by name."""
    from matplotlib import font_manager

    faces = {font.name: font for font in font_manager.fontManager.ttflist
             if font.weight in (REGULAR, "normal", "regular") and font.style == "normal"}
    preferred = [name for name in PREFERRED if name in faces]
    others = sorted(faces.keys() - set(preferred), key=lambda name: (not name.startswith("Noto Sans"), name))
    return {name: faces[name] for name in [*preferred, *others]}


@cache
def characters_of(path: str, index: int) -> frozenset[int]:
    """The code points that a font file has glyphs for; none when matplotlib cannot use it.

    None also for fonts of placeholder boxes (matplotlib brings one, "Last Resort"): they have a glyph for U+FDD0, which
    is no character and never will be.
    """
    from matplotlib import ft2font

    try:
        font: Any = ft2font.FT2Font(path, face_index=index) if index else ft2font.FT2Font(path)
        codes = frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (RuntimeError, ValueError, OSError):  # a damaged file, or a bitmap font
        return frozenset()
    return frozenset() if NONCHARACTER in codes else codes


def choose_fonts(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Families that together draw the texts, in the order matplotlib should ask them, and the characters left over."""
    wanted = {ord(character) for text in texts for character in text if character not in INVISIBLE}
    chosen: list[str] = []
    for name, face in families().items():  # DejaVu Sans, which comes with matplotlib, is the first
        if chosen and not wanted:
            break
        covered = wanted & characters_of(face.fname, getattr(face, "index", 0))
        if covered or not chosen:
            chosen.append(name)
            wanted -= covered
    return chosen, sorted(map(chr, wanted))


def shapes_text() -> bool:
    """Whether this matplotlib joins letters and orders right-to-left text (libraqm, since 3.11)."""
    from matplotlib import ft2font

    return hasattr(ft2font, "__libraqm_version__")


def needs_shaping(text: str) -> bool:
    """Whether a text is wrong without shaping: right-to-left, or a script whose letters join or move."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") or unicodedata.category(character) == "Mc"
               for character in text)
