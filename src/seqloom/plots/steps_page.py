"""`explain --steps`: attention in four steps as one offline page with a slider over the output tokens, and as JSON."""

from __future__ import annotations

from typing import Any

from seqloom.errors import counted
from seqloom.insight.normalization import NORMALIZERS
from seqloom.insight.steps import Steps
from seqloom.plots.assets import document
from seqloom.plots.labels import direction, escaped, visible
from seqloom.plots.numbers import data_block, json_bytes
from seqloom.plots.page import LARGE_OUTPUT, STOPS, TITLE_LIMIT, token
from seqloom.plots.steps_record import labelled, steps_record
from seqloom.plots.steps_script import steps_script
from seqloom.plots.steps_style import panel_style
from seqloom.types import Prediction

QUERIES = {"current": "the decoder's state of this step (Luong et al. 2015)",
           "previous": "the decoder's state before this step (Bahdanau et al. 2015)"}


def steps_html(steps: Steps, prediction: Prediction, input_text: str | None) -> bytes:
    """The page, in UTF-8."""
    record = steps_record(steps, prediction, input_text)
    parts = [page_heading("attention in four steps", input_text, prediction)]
    if steps.note:
        parts.append(f'<p class="note" role="note">{escaped(steps.note)}</p>')
    parts.append(player(steps.tokens, prediction.text))
    panels = attention_panels(steps) if steps.values is not None else []
    parts.append('<div class="panels">' + "\n".join([*panels, output_panel(steps)]) + "</div>")
    parts.append(FORMULA)
    body = "<main>\n" + "\n".join(parts) + f"\n{data_block(labelled(record))}\n</main>"
    return document(page_title(input_text, prediction), body, style=panel_style(), code=steps_script())


def steps_json(steps: Steps, prediction: Prediction, input_text: str | None) -> bytes:
    """The same numbers as one JSON object."""
    return json_bytes(steps_record(steps, prediction, input_text))


def page_title(input_text: str | None, prediction: Prediction) -> str:
    """One line: the input and the output."""
    caption = visible(f"{input_text or ''} → {prediction.text}", spaces=False).replace("\n", " ")
    return caption if len(caption) <= TITLE_LIMIT else caption[:TITLE_LIMIT - 1] + "…"


def page_heading(subject: str, input_text: str | None, prediction: Prediction) -> str:
    """What the page is about, input, output."""
    output = escaped(visible(prediction.text, spaces=False)) or '<span class="muted">empty</span>'
    given = "" if input_text is None else (
        f'<dt>Input</dt><dd dir="auto">{escaped(visible(input_text, spaces=False))}</dd>')
    size = ' class="out"' if len(prediction.text) <= LARGE_OUTPUT else ""
    facts = [f"log-probability {prediction.score:.4f} nats", counted(len(prediction.tokens), "output token"),
             counted(len(prediction.source_tokens), "source token"), STOPS.get(prediction.stopped, prediction.stopped)]
    listed = "".join(f"<li>{escaped(fact)}</li>" for fact in facts)
    return (f'<header>\n<h1>seqloom: {subject}</h1>\n<dl class="pair">{given}<dt>Output</dt>'
            f'<dd{size} dir="auto">{output}</dd></dl>\n<ul class="facts muted">{listed}</ul>\n</header>')


def player(tokens: list[str], text: str) -> str:
    """The slider, its buttons, and the output tokens."""
    chips = "".join(f'<li><button type="button" class="chip" data-step="{number}">{token(label)}</button></li>'
                    for number, label in enumerate(tokens))
    return (f'<noscript><p class="note">This page shows its numbers with a script of its own, which is switched off in '
            f'this browser. The same numbers: -o file.json</p></noscript>\n<div class="player"><div class="row">'
            f'<button type="button" id="before" aria-label="previous token">‹</button>'
            f'<input type="range" id="slider" min="0" max="{max(len(tokens) - 1, 0)}" value="0" step="1" '
            f'aria-label="output token"><button type="button" id="after" aria-label="next token">›</button></div>'
            f'<p class="story" id="story" role="status" aria-live="polite"></p></div>\n'
            f'<ul class="chips" aria-label="Output tokens" dir="{direction(text)}">{chips}</ul>\n'
            f'<p class="muted">Arrow keys move along the output. Every underlined number and every square opens its '
            f"formula.</p>")


def panel(number: int, title: str, intro: str, *content: str) -> str:
    """One of the numbered panels; `intro` is text."""
    return f'<section><h2>{number} · {title}</h2><p class="muted">{escaped(intro)}</p>{"".join(content)}</section>'


def scrolling(name: str, label: str) -> str:
    """An empty table that the script fills, in a box that scrolls."""
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="rows" id="{name}">'
            f"</table></div>")


def attention_panels(steps: Steps) -> list[str]:
    """The first three steps."""
    given = ("|score| = |q| · |k| · cosine" if steps.bilinear else
             "cosine: between a and k, the two vectors that meet inside tanh")
    query = f"q is {QUERIES[steps.query]}; k is the key of a source position. Score {steps.score}: {steps.formula}. "
    return [
        panel(1, "Scores", query + given.replace("|score|", "score") + ".", scrolling("scores", "scores"),
              '<p id="agree" class="muted"></p><p id="disagree" class="note warn" role="note" hidden></p>'),
        panel(2, NORMALIZATIONS[steps.normalization], normalized(steps), scrolling("softmax", "weights")),
        panel(3, "Weighted sum", "The values of all positions, by their weights, make the attention value.",
              scrolling("sum", "largest contributions"), '<p class="muted" id="sumnote"></p>',
              strip("value", "attention value"))]


# Titles of the second panel.
NORMALIZATIONS = {"softmax": "Softmax", "sparsemax": "Sparsemax", "entmax15": "Entmax-1.5"}


def normalized(steps: Steps) -> str:
    """How weights come of scores, in a sentence or three."""
    said = ["Scores become weights that are at least 0 and sum to 1."]
    if steps.normalization != "softmax":
        said.append(f"{NORMALIZATIONS[steps.normalization]}: {NORMALIZERS[steps.normalization].formula} of a score x, "
                    "with the threshold τ that makes the sum 1; what is below it has exactly 0.")
    if steps.local_window is not None:
        said.append(f"Only positions within {steps.local_window} of a centre that the model predicts at each step, and "
                    "then less the farther away: the sum is below 1 (Luong et al. 2015, eqs. 9-10).")
    return " ".join(said)


def strip(name: str, label: str) -> str:
    """An empty vector that the script fills."""
    return f'<div class="strip" id="{name}" role="group" aria-label="{label}"></div>'


def output_panel(steps: Steps) -> str:
    """The last step: the decoder's state, what the output layer reads, the best next tokens."""
    how: dict[str, Any] = {
        "attention": "Attention value and state, through a tanh layer (Luong et al. 2015, eq. 5), then the output "
                     "layer." if steps.combination is not None else
                     "Attention value and state side by side go straight into the output layer.",
        "every_step": "State and summary side by side go into the output layer (Cho et al. 2014, eq. 3).",
        "initial": "The state goes into the output layer.", "in_step": "The encoder's state at this position goes into "
        "the output layer."}
    return panel(4, "Combination", how[steps.context], '<p class="muted">Decoder state</p>',
                 strip("state", "decoder state"), '<p class="muted">What the output layer reads</p>',
                 strip("outputs", "what the output layer reads"), '<p id="gate"></p>', scrolling("next", "next tokens"))


FORMULA = ('<section id="formula" aria-live="polite" hidden><button type="button" class="act close" id="close">Close'
           '</button><h2 id="general"></h2><p class="filled" id="filled"></p><p class="muted" id="termcount"></p>'
           '<ul class="terms" id="terms"></ul></section>')
