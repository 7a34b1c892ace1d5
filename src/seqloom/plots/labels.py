"""Tokens as people can see them: invisible characters made visible, directions kept apart, widths estimated.

Works on code points with the standard library's tables. It does not shape text: viewers do that.
"""

from __future__ import annotations

import html
import unicodedata

EMPTY = "∅"
DOTTED_CIRCLE = "◌"
ELLIPSIS = "…"
FONTS = ("system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Noto Sans CJK KR', 'Noto Sans KR', "
         "'Apple SD Gothic Neo', 'Malgun Gothic', 'Noto Sans Arabic', 'Noto Sans Devanagari', 'Noto Color Emoji', "
         "'Apple Color Emoji', 'Segoe UI Emoji', 'Unifont', sans-serif")

# Format characters that have a shape of their own: the Arabic number signs and their like.
DRAWN_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
JOINERS = "\u200c\u200d"


def code_name(character: str) -> str:
    """A code point spelled out: "<U+200D>"."""
    return f"<U+{ord(character):04X}>"


def visible(token: str, *, spaces: bool = True) -> str:
    """The token with nothing hidden in it; its letters stay as they are.

    A space becomes ␣, a control character its picture (␊), a character without a shape its code (<U+202E>), a
    combining mark without a letter gets a dotted circle, and the empty token is ∅. With spaces=False, for running
    text, spaces and line ends stay and codes stand in isolates. The result holds only characters XML 1.0 allows.
    """
    if not token:
        return EMPTY if spaces else ""
    shown: list[str] = []
    for place, character in enumerate(token):
        carried = place > 0 and shown[-1][-1] == token[place - 1] != " "
        piece = visible_character(character, place, len(token), carried, spaces)
        shown.append(piece if spaces or len(piece) < len("<U+0000>") else isolated(piece))
    return "".join(shown)


def visible_character(character: str, place: int, length: int, carried: bool, spaces: bool) -> str:
    """One character of `visible`; `carried` says that a letter stands before it, which marks and joiners need."""
    code, category = ord(character), unicodedata.category(character)
    if character == " " or (character in "\n\t" and not spaces):
        return "␣" if spaces else character
    if category == "Cc":
        return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else code_name(character)
    if category in ("Zs", "Zl", "Zp"):
        return code_name(character) if spaces or category != "Zs" else character
    if category in ("Cs", "Co") or code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF:
        return code_name(character)
    if category == "Cf":
        inside = carried and (0 < place < length - 1 if character in JOINERS else 0xE0020 <= code <= 0xE007F)
        return character if inside or character in DRAWN_FORMATS else code_name(character)
    if category[0] == "M" and not carried:
        return code_name(character) if is_selector(code) else DOTTED_CIRCLE + character
    return character


def is_selector(code: int) -> bool:
    """A variation selector: it changes the character before it and has no shape."""
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def direction(text: str) -> str:
    """"rtl" when the first strong character runs right to left (Unicode UAX #9, rule P2), else "ltr"."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            return "ltr"
    return "ltr"


def isolated(text: str) -> str:
    """The text between first-strong isolates (UAX #9), so that it cannot reorder what stands beside it."""
    return f"\u2068{text}\u2069"


def escaped(text: str) -> str:
    """Text made safe between tags and inside quoted attributes, for HTML and XML."""
    return html.escape(text, quote=True)


def is_wide(character: str) -> bool:
    """Takes two columns of a fixed-width grid (Unicode UAX #11)."""
    return unicodedata.east_asian_width(character) in ("W", "F")


def columns_of(text: str) -> int:
    """Columns that a text takes in a fixed-width grid."""
    return sum(0 if unicodedata.category(character) in ("Mn", "Me", "Cf") else 1 + is_wide(character)
               for character in text)


def ems(text: str) -> float:
    """Estimated width in a proportional font, in units of its size; on the generous side."""
    total = 0.0
    for piece in clusters(text):
        first = piece[0]
        if is_wide(first) or is_flag_half(ord(first)):
            total += 1.1
        elif first in "mwMW@%…" or ord(first) > 0x2000:
            total += 0.9
        else:
            total += 0.64 if first.isupper() else 0.56
        total += 0.3 * sum(unicodedata.category(mark) == "Mc" for mark in piece[1:])
    return total


def clusters(text: str) -> list[str]:
    """The text in pieces that belong together on screen: a letter with its marks, a joined emoji, a flag, a syllable.

    The common part of Unicode UAX #29, without its tables: marks, joiners, modifiers, flags, and conjoining jamo.
    """
    pieces: list[str] = []
    for character in text:
        code = ord(character)
        if pieces and (unicodedata.category(character)[0] == "M" or character in JOINERS
                       or pieces[-1][-1] == "\u200d" or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F
                       or (0x1160 <= code <= 0x11FF and 0x1100 <= ord(pieces[-1][-1]) <= 0x11FF)
                       or (is_flag_half(code) and len(pieces[-1]) == 1 and is_flag_half(ord(pieces[-1])))):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def is_flag_half(code: int) -> bool:
    """A regional indicator; two of them make a flag."""
    return 0x1F1E6 <= code <= 0x1F1FF


def shortened(text: str, limit: float) -> str:
    """At most `limit` ems of the text, cut between clusters, with … where something is missing."""
    if ems(text) <= limit:
        return text
    kept, width = "", ems(ELLIPSIS)
    for piece in clusters(text):
        width += ems(piece)
        if width > limit:
            break
        kept += piece
    return kept + ELLIPSIS
