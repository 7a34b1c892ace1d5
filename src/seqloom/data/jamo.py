"""Hangul syllables taken apart into jamo and put together again, without loss for any text.

The arithmetic is that of the Unicode Standard, §3.12 (Conjoining Jamo Behavior): a syllable is
0xAC00 + (lead · 21 + vowel) · 28 + tail. Conjoining jamo that already stand alone in the text are not the same thing as
jamo of a syllable: their token carries a zero width non-joiner and never merges with its neighbours. Old jamo and the
compatibility jamo of "ㅋㅋㅋ" do not conjoin and are ordinary characters.
"""

from __future__ import annotations

from collections.abc import Iterable

SYLLABLES = 0xAC00, 0xD7A3
LEADS = frozenset(map(chr, range(0x1100, 0x1113)))
VOWELS = frozenset(map(chr, range(0x1161, 0x1176)))
TAILS = frozenset(map(chr, range(0x11A8, 0x11C3)))
ALONE = "\u200c"


class Pieces(dict[str, tuple[str, ...]]):
    """Character → its tokens, filled when a character is met for the first time."""

    def __missing__(self, character: str) -> tuple[str, ...]:
        code = ord(character)
        if SYLLABLES[0] <= code <= SYLLABLES[1]:
            lead_vowel, tail = divmod(code - SYLLABLES[0], 28)
            lead, vowel = divmod(lead_vowel, 21)
            jamo = chr(0x1100 + lead) + chr(0x1161 + vowel) + (chr(0x11A7 + tail) if tail else "")
            tokens = tuple(jamo)
        elif character in LEADS or character in VOWELS or character in TAILS:
            tokens = (character + ALONE,)
        else:
            tokens = (character,)
        self[character] = tokens
        return tokens


PIECES = Pieces()


def take_apart(text: str) -> list[str]:
    """One token for each jamo of a syllable and for each other character; `put_together` is the exact inverse."""
    tokens: list[str] = []
    for character in text:
        tokens += PIECES[character]
    return tokens


def put_together(tokens: Iterable[str]) -> str:
    """Text of any sequence of tokens: lead + vowel (+ tail) become a syllable, all else stays as it is."""
    out: list[str] = []
    follows: frozenset[str] = frozenset()  # what may join the last character of `out`
    for token in tokens:
        if token not in follows:
            out.append(token[0] if len(token) == 2 and token[1] == ALONE and PIECES[token[0]] == (token,) else token)
            follows = VOWELS if token in LEADS else frozenset()
        elif follows is VOWELS:
            lead_vowel = (ord(out[-1]) - 0x1100) * 21 + ord(token) - 0x1161
            out[-1] = chr(SYLLABLES[0] + lead_vowel * 28)
            follows = TAILS
        else:
            out[-1] = chr(ord(out[-1]) + ord(token) - 0x11A7)
            follows = frozenset()
    return "".join(out)
