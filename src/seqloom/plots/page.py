"""One prediction as one HTML file: opens offline, on a phone, in light or dark, and loads nothing from anywhere.

Everything that can be read is in the markup; the script (`assets.py`) only connects an output token with the source
tokens it looked at. Every text that came from outside passes `labels.escaped`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from seqloom.errors import counted
from seqloom.plots.assets import LEVELS, document, script, style_sheet
from seqloom.plots.labels import direction, ems, escaped, is_wide, visible
from seqloom.plots.seen_page import seen_parts
from seqloom.plots.seen_page import style as seen_style
from seqloom.plots.view import View

NUMBERED_COLUMNS = 20  # up to so many source tokens, each cell of the table shows its number
VAST_CELLS = 20_000  # above, rows that are off the screen are not laid out: seconds become milliseconds
LARGE_OUTPUT = 160  # characters; longer answers are set like running text
TITLE_LIMIT = 80
STOPS = {"end": "ended by the model", "max_length": "cut at the maximum length", "error": "not answered"}


def token(label: str, kind: str = "") -> str:
    """A token, isolated from the direction of its surroundings."""
    extra = f' class="{kind}"' if kind else ""
    return f'<bdi{extra} dir="{direction(label)}">{escaped(visible(label))}</bdi>'


def number(value: float, places: int = 3) -> str:
    """A weight or probability as short as it goes: "0.934", "0" when it would read 0.000."""
    written = f"{value:.{places}f}"
    return "0" if float(written) == 0 else written


def score_text(value: float) -> str:
    """A score in nats with four places, "none" when there is none."""
    return "none" if math.isnan(value) else f"{value:.4f}"


def section(title: str, intro: str, content: Iterable[str]) -> str:
    """A headed part of the page; `intro` is markup."""
    return "\n".join([f"<section>\n<h2>{title}</h2>", f'<p class="muted">{intro}</p>' if intro else "",
                      *content, "</section>"])


def heading(view: View) -> str:
    """Input, output, and the facts of the whole answer."""
    prediction = view.prediction
    output = escaped(visible(prediction.text, spaces=False)) or '<span class="muted">empty</span>'
    lines = ["<header>\n<h1>seqloom: one prediction</h1>", '<dl class="pair">']
    if view.input_text is not None:
        given = escaped(visible(view.input_text, spaces=False)) or '<span class="muted">empty</span>'
        lines.append(f'<dt>Input</dt><dd dir="auto">{given}</dd>')
    size = ' class="out"' if len(prediction.text) <= LARGE_OUTPUT else ""
    lines.append(f'<dt>Output</dt><dd{size} dir="auto">{output}</dd>\n</dl>')
    facts = [f"{name} {score:.4f}{unit}" for name, score, unit in (("log-probability", prediction.score, " nats"),
                                                                   ("ranking score", prediction.ranking_score, ""))
             if not math.isnan(score)]
    facts += [counted(len(prediction.tokens), "output token"), counted(len(view.columns), "source token"),
              STOPS.get(prediction.stopped, escaped(prediction.stopped))]
    lines.append('<ul class="facts muted">' + "".join(f"<li>{fact}</li>" for fact in facts) + "</ul>\n</header>")
    if view.note:
        lines.append(f'<p class="note" role="note">{escaped(visible(view.note, spaces=False))}</p>')
    return "\n".join(lines)


def chips(view: View) -> str:
    """Output tokens as buttons over the source tokens that they light up."""
    lines = [f'<ul class="chips" aria-label="Output tokens" dir="{direction(view.prediction.text)}">']
    for step, label in enumerate(view.steps):
        ending = view.ended and step == len(view.steps) - 1
        told, bar = "", ""
        if view.probabilities:
            share = view.probabilities[step]
            told = f' data-probability="{number(share)}"'
            bar = ('<svg class="bar track" viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true">'
                   f'<rect width="{100 * share:.1f}" height="3"/></svg>')
        lines.append(f'<li><button type="button" class="chip" data-step="{step}"{told}>'
                     f'{token(label, "end" if ending else "")}{bar}</button></li>')
    lines.append('</ul>\n<p class="muted">Source</p>')
    lines.append(f'<ul class="chips" aria-label="Source tokens" dir="{direction("".join(view.columns))}">')
    lines += [f'<li><span class="chip" data-source="{place}">{token(label)}</span></li>'
              for place, label in enumerate(view.columns)]
    intro = "Output. The bar under a token is its probability." if view.probabilities else "Output"
    looked = view.weights is not None and view.weights.size > 0
    hint = ("Point at an output token, or move along them with the arrow keys, to see where it looked. "
            "A click keeps it, Escape lets go.")
    if not looked:
        return section("Tokens", intro, [*lines, "</ul>"])
    lines += ["</ul>", '<div class="detail" id="detail" role="status" aria-live="polite">',
              f'<p class="muted">{hint}</p></div>']
    return section("Where each token looked", intro, lines)


def column_head(label: str, turned: bool) -> str:
    """A source token over its column; `short` ones stay level, wide scripts run downwards when turned."""
    kind = ""
    if turned:
        shown = visible(label)
        kind = "short" if ems(shown) <= 1.2 else "upright" if any(map(is_wide, shown)) else ""
    extra = f' class="{kind}"' if kind else ""
    return f'<th scope="col"{extra}>{token(label)}</th>'


def table(view: View) -> str:
    """The weights as a table with sticky headers: the heat-map, which can also be read out and copied."""
    weights = view.drawable()
    dense = len(view.columns) > NUMBERED_COLUMNS
    turned = max((ems(visible(label)) for label in view.columns), default=0.0) > (1.2 if dense else 3.2)
    kinds = "weights" + " dense" * dense + " turned" * turned + " vast" * (weights.size > VAST_CELLS)
    last = '<th scope="col" class="p" title="probability of the token">p</th>' if view.probabilities else ""
    lines = ['<div class="scroll" tabindex="0" role="region" aria-label="Attention weights">',
             f'<table class="{kinds}" data-top="{view.top:g}">',
             "<thead><tr><th scope=\"col\">output ↓</th>"
             + "".join(column_head(label, turned) for label in view.columns) + f"{last}</tr></thead>", "<tbody>"]
    for step, row in enumerate(weights.tolist()):
        ending = view.ended and step == len(view.steps) - 1
        squares = "".join(f'<td class="l{round(LEVELS * min(1.0, weight / view.top))}">{number(weight)}</td>'
                          for weight in row)
        share = f'<td class="p">{number(view.probabilities[step], 2)}</td>' if view.probabilities else ""
        name = token(view.steps[step], "end" if ending else "")
        lines.append(f'<tr><th scope="row">{name}</th>{squares}{share}</tr>')
    lines.append("</tbody>\n</table>\n</div>")
    steps = "".join(f'<i class="l{level}"></i>' for level in range(0, LEVELS + 1))
    legend = f'<span class="legend">weight 0 <span aria-hidden="true">{steps}</span> {view.top:g}</span>'
    return section("Attention", f"Source tokens across, output tokens down. Each row sums to 1. {legend}", lines)


def alternatives(view: View) -> str:
    """The best tokens of each step with their probabilities."""
    lines = ['<table class="list">', '<thead><tr><th scope="col" class="number">Step</th><th scope="col">Output</th>'
             '<th scope="col">Best tokens</th></tr></thead>', "<tbody>"]
    for step, pairs in enumerate(view.prediction.alternatives):
        chosen = token(view.steps[step]) if step < len(view.steps) else ""
        listed = "".join(f'<li>{token(name)} <span class="muted">{number(share)}</span></li>' for name, share in pairs)
        lines.append(f'<tr data-others="{step}"><td class="number muted">{step + 1}</td><td>{chosen}</td>'
                     f"<td><ol>{listed}</ol></td></tr>")
    return section("Alternatives", "The most probable tokens of each step, given the output before it.",
                   [*lines, "</tbody>\n</table>"])


def answers(view: View) -> str:
    """The n best answers, best first."""
    lines = ['<table class="list">', '<thead><tr><th scope="col" class="number">Rank</th><th scope="col">Text</th>'
             '<th scope="col" class="number">Log-probability</th><th scope="col" class="number">Ranking score</th>'
             "</tr></thead>", "<tbody>"]
    for rank, answer in enumerate(view.prediction.n_best, start=1):
        text = escaped(visible(answer.text, spaces=False)) or '<span class="muted">empty</span>'
        lines.append(f'<tr><td class="number muted">{rank}</td><td dir="auto">{text}</td>'
                     f'<td class="number">{score_text(answer.score)}</td>'
                     f'<td class="number">{score_text(answer.ranking_score)}</td></tr>')
    return section("Best answers", "", [*lines, "</tbody>\n</table>"])


def labels(view: View) -> str:
    """The probability of each label, likeliest first, for models that answer with a label."""
    ordered = sorted(view.prediction.probabilities.items(), key=lambda pair: -pair[1])
    lines = ['<table class="list">', '<thead><tr><th scope="col">Label</th><th scope="col" class="number">Probability'
             "</th></tr></thead>", "<tbody>",
             *(f'<tr><td>{token(name)}</td><td class="number">{number(share, 4)}</td></tr>' for name, share in ordered),
             "</tbody>\n</table>"]
    return section("Labels", "", lines)


def write_html(view: View) -> tuple[bytes, list[str]]:
    """One self-contained page in UTF-8, and no warnings; without attention it says so and shows the rest.

    Raises UsageError when there are too many weights for a browser.
    """
    parts = [heading(view)]
    if view.seen is not None:
        parts.append(seen_parts(view, view.seen))
    if view.steps or view.columns:
        parts.append(chips(view))
    if view.weights is not None and view.weights.size and view.prediction.stopped != "error":
        parts.append(table(view))
    if view.prediction.alternatives:
        parts.append(alternatives(view))
    if view.prediction.probabilities:
        parts.append(labels(view))
    if view.prediction.n_best:
        parts.append(answers(view))
    caption = visible(view.caption, spaces=False).replace("\n", " ")
    title = caption if len(caption) <= TITLE_LIMIT else caption[:TITLE_LIMIT - 1] + "…"
    body = "<main>\n" + "\n".join(parts) + "\n</main>"
    style = style_sheet(seen_style(view.seen)) if view.seen is not None else style_sheet()
    return document(title, body, style=style, code=script(), pictures=view.seen is not None), []
