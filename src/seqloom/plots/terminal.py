"""The attention heat-map in a terminal: shaded blocks, colour where the terminal has it, wide letters aligned.

Source tokens run across, in as many panels as the width asks for; output tokens run down. Colour follows rich's
rules: none when the output is not a terminal, with NO_COLOR, or on a dumb terminal; then shades tell the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from seqloom.plots.colours import DARK_SCALE, scale
from seqloom.plots.labels import clusters, direction, isolated, visible
from seqloom.plots.view import View, view_of
from seqloom.types import Floats, Prediction

CELL = 2  # columns of the terminal for one source token: as wide as a Hangul or Han letter
SHADES = ("· ", "░░", "▒▒", "▓▓", "██")
PLAIN_SHADES = (". ", "--", "++", "##", "@@")  # for output that cannot be Unicode
LABEL_LIMIT = 18
HEADER_LIMIT = 12


def show_attention(prediction: Prediction, *, input_text: str | None = None, file: TextIO | None = None,
                   width: int | None = None) -> None:
    """Print one prediction: output, score, heat-map, and the alternatives of each step where there are any.

    `file` is standard output by default; `width` (columns) is the terminal's. Without attention it says so and prints
    the rest. Raises UsageError when there are too many weights to draw.
    """
    console = Console(file=file, width=width, highlight=False, markup=False, emoji=False)
    colour = console.is_terminal and not console.no_color and console.color_system is not None
    for line in lines_of(view_of(prediction, input_text), Screen(console.width, colour, console.encoding)):
        console.print(line, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Screen:
    """What is written to: columns, whether it has colours, and the encoding of its characters."""

    width: int
    colour: bool
    encoding: str = "utf-8"

    @property
    def dim(self) -> str:
        return "dim" if self.colour else ""

    @property
    def shades(self) -> tuple[str, ...]:
        return SHADES if self.written("".join(SHADES)) == "".join(SHADES) else PLAIN_SHADES

    def written(self, text: str) -> str:
        """The text, with a \\u escape for each character that the encoding lacks."""
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def label(self, token: str) -> str:
        return self.written(visible(token))

    def mark(self, character: str, instead: str) -> str:
        return character if self.written(character) == character else instead

    def placed(self, text: str) -> str:
        """A right-to-left text between isolates, so that what stands beside it keeps its order."""
        return isolated(text) if direction(text) == "rtl" and self.encoding.lower().startswith("utf") else text


def lines_of(view: View, screen: Screen) -> Iterator[Text]:
    """All lines of the picture, each as wide as the screen at most, as far as the words allow."""
    prediction = view.prediction
    for name, content in (("input", view.input_text), ("output", prediction.text)):
        if content is not None:
            shown = screen.written(visible(content, spaces=False)) or "(empty)"
            yield Text.assemble((f"{name:<8}", screen.dim), screen.placed(shown))
    stopped = {"max_length": ", cut at the maximum length"}.get(prediction.stopped, "")
    if prediction.stopped != "error":
        yield Text(f"{'score':<8}{prediction.score:.4f} nats{stopped}")
    if view.note:
        yield Text(screen.written(visible(view.note, spaces=False)))
    if view.steps and prediction.stopped != "error":
        yield Text()
        yield from panels(view, screen)
    if prediction.alternatives:
        yield from alternatives(view, screen)


def panels(view: View, screen: Screen) -> Iterator[Text]:
    """The heat-map, cut into panels of columns that fit; only tokens and probabilities without attention."""
    weights = view.drawable() if view.weights is not None else None
    limit = min(LABEL_LIMIT, max(screen.width // 3, 4))
    labels = [clipped(screen.label(label), limit, screen) for label in view.steps]
    label_width = max(cell_len(label) for label in labels)
    shares = [f"{share:5.2f} " for share in view.probabilities] or [""] * len(labels)
    indent = label_width + 1 + len(shares[0])
    room = max((screen.width - indent) // CELL, 1)
    count = 0 if weights is None else len(view.columns)
    for first in range(0, max(count, 1), room):
        last = min(first + room, count)
        if count > room:
            yield Text(f"source {first + 1} to {last} of {count}", style=screen.dim)
        for line in header([screen.label(label) for label in view.columns[first:last]], screen):
            yield Text(" " * indent + line)
        for step, label in enumerate(labels):
            row = Text(" " * (label_width - cell_len(label)) + screen.placed(label) + " ")
            row.append(shares[step], style=screen.dim)
            if weights is not None:
                row.append_text(blocks(weights[step, first:last], view.top, screen))
            yield row
        yield Text()
    if weights is not None and weights.size:
        scale_blocks = blocks(np.linspace(0.0, view.top, len(SHADES)), view.top, screen)
        yield Text.assemble("weight  0 ", scale_blocks, f" {view.top:g}")


def blocks(weights: Floats, top: float, screen: Screen) -> Text:
    """One row of weights [S] as blocks."""
    row, shades = Text(), screen.shades
    for weight in weights.tolist():
        share = min(weight / top, 1.0)
        if screen.colour:
            row.append(" " * CELL, style=f"on {scale(share, DARK_SCALE)}")
        else:
            row.append(shades[round(share * (len(shades) - 1))])
    return row


def header(labels: list[str], screen: Screen) -> list[str]:
    """The source tokens above their columns, each written downwards, ending at the cells."""
    stacks = []
    for label in labels:
        pieces = [piece if cell_len(piece) <= CELL else piece[0] for piece in clusters(label)]
        cut = [*pieces[:HEADER_LIMIT - 1], screen.mark("⋮", ":")] if len(pieces) > HEADER_LIMIT else pieces
        stacks.append(cut)
    height = max((len(stack) for stack in stacks), default=0)
    lines = []
    for level in range(height):
        line = ""
        for stack in stacks:
            place = level - height + len(stack)
            piece = stack[place] if place >= 0 else " "
            line += screen.placed(piece) + " " * (CELL - cell_len(piece))
        lines.append(line.rstrip())
    return lines


def clipped(label: str, limit: int, screen: Screen) -> str:
    """At most `limit` columns of a label, cut between clusters."""
    if cell_len(label) <= limit:
        return label
    kept = ""
    for piece in clusters(label):
        if cell_len(kept + piece) > limit - 1:
            break
        kept += piece
    return kept + screen.mark("…", "~")


def alternatives(view: View, screen: Screen) -> Iterator[Text]:
    """One line for each step: the best tokens with their probabilities."""
    yield Text()
    yield Text("alternatives")
    for step, pairs in enumerate(view.prediction.alternatives):
        listed = "   ".join(f"{screen.placed(screen.label(name))} {share:.3f}" for name, share in pairs)
        yield Text(f"{step + 1:>4}  {listed}")
