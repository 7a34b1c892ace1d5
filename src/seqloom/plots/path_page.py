"""`explain --path`: the run unrolled with its real sizes, as page, as drawing and as JSON. The page needs no script."""

from __future__ import annotations

from typing import Any

import numpy as np

from seqloom.insight.path import PADDED, Padding, Path, Stage
from seqloom.plots.assets import document
from seqloom.plots.labels import direction, escaped, visible
from seqloom.plots.numbers import json_bytes
from seqloom.plots.page import section, token
from seqloom.plots.path_drawing import drawing
from seqloom.plots.steps_page import page_heading, page_title
from seqloom.plots.steps_style import panel_style, signed_class
from seqloom.types import Floats, Prediction

ROWS, COLUMNS = 40, 48  # of an array that a page shows; the JSON holds all


def path_html(path: Path, prediction: Prediction, input_text: str) -> bytes:
    """The page, in UTF-8."""
    parts = [page_heading("the path of one answer", input_text, prediction),
             section("The whole way", "Boxes are states; arrows are what flows from one to the next.",
                     [f'<div class="scroll" tabindex="0" role="region" aria-label="the network unrolled">'
                      f"{drawing(path)}</div>"]),
             section("Station by station", "Sizes are those of this run. Blue is positive, orange negative.",
                     ['<ol class="path">', *map(_stage, path.stages), "</ol>"]),
             *([] if path.padding is None else [_padding(path.padding), _reversal(path), _context(path)])]
    return document(page_title(input_text, prediction), "<main>\n" + "\n".join(parts) + "\n</main>",
                    style=panel_style())


def path_svg(path: Path, prediction: Prediction, input_text: str) -> bytes:
    """The drawing alone."""
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + drawing(path)).encode()


def path_json(path: Path, prediction: Prediction, input_text: str) -> bytes:
    """Every stage with all of its numbers."""
    return json_bytes(path_record(path, prediction, input_text))


def path_record(path: Path, prediction: Prediction, input_text: str) -> dict[str, Any]:
    """The path as a document; see docs/seeing.md for the keys."""
    return {"format_version": 1, "kind": "path", "input": input_text, "text": prediction.text,
            "source_tokens": path.source_tokens, "tokens": path.tokens,
            "stages": [{"name": stage.name, "text": stage.text, "shape": stage.shape, "rows": stage.rows,
                        "array": stage.array} for stage in path.stages],
            "padding": None if path.padding is None else {
                "positions": PADDED, "summary_difference": path.padding.summary,
                "values_difference": path.padding.values, "carried_difference": path.padding.carried,
                "largest_weight_on_padding": path.padding.weight},
            "reversal": None if path.padding is None else {"reverse": path.reverse, "steps_to_summary": path.as_read,
                         "steps_to_summary_other_way": path.reversed},
            "context": {"own": path.context, "modes": [
                {"name": name, "cell_reads": reads, "cell_width": width, "output_reads": out, "output_width": size}
                for name, reads, width, out, size in path.contexts]}}


def _stage(stage: Stage) -> str:
    lines = [f'<li><h3>{escaped(stage.name)} <span class="shape">{escaped(stage.shape)}</span></h3>',
             f"<p>{escaped(stage.text)}</p>"]
    if stage.array is None:
        chips = "".join(f'<li><span class="chip">{token(row)}</span></li>' for row in stage.rows)
        lines.append(f'<ul class="chips" dir="{direction("".join(stage.rows))}">{chips}</ul>')
    else:
        lines.append(heat(stage.array, stage.rows, stage.name))
    return "\n".join([*lines, "</li>"])


def heat(array: Floats, rows: list[str], label: str) -> str:
    """The first rows and columns of a matrix as coloured cells with their number as tooltip."""
    shown = np.asarray(array)[:ROWS, :COLUMNS]
    top = float(np.abs(shown).max()) if shown.size else 1.0
    lines = [f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(label)}">'
             '<table class="heat"><tbody>']
    for name, row in zip(rows, shown.tolist(), strict=False):
        cells = "".join(f'<td class="{signed_class(value, top)}" title="{value:.4f}"></td>' for value in row)
        lines.append(f'<tr><th scope="row">{token(name)}</th>{cells}</tr>')
    lines.append("</tbody></table></div>")
    left = []
    if len(array) > ROWS:
        left.append(f"{ROWS} of {len(array)} rows")
    if array.shape[1] > COLUMNS:
        left.append(f"{COLUMNS} of {array.shape[1]} numbers of each")
    if left:
        lines.append(f'<p class="muted">Shown: the first {" and ".join(left)}. -o FILE.json has all.</p>')
    return "".join(lines)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    first = "".join(f'<th scope="col">{escaped(head)}</th>' for head in heads)
    body = "".join('<tr><th scope="row">' + row[0] + "</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
                   for row in rows)
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(heads[0])}"><table class="rows">'
            f"<thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>")


def _padding(trial: Padding) -> str:
    rows = [["summary", f"{trial.summary:.1e}"], ["values of the real positions", f"{trial.values:.1e}"],
            ["states at padding, from the last real one", f"{trial.carried:.1e}"]]
    if trial.weight is not None:
        rows.append(["largest attention weight on padding", f"{trial.weight:.1e}"])
    text = (f"In a batch shorter inputs are filled up. Here the same source was read again with {PADDED} positions of "
            "padding behind it: the state is carried through them unchanged and no weight falls on them, so "
            "an answer never depends on its neighbours. Largest differences (rounding aside they are 0):")
    return section("What padding does", escaped(text), [_table(["what", "difference"], rows)])


def _reversal(path: Path) -> str:
    other = "in its own order" if path.reverse else "backwards"
    text = (f"This run reads {'backwards (source.reverse: true)' if path.reverse else 'in order'}. The table says how "
            f"many steps of the forward encoder lie between reading a token and the summary, and how many if the run "
            f"had been trained {other}. Reading backwards brings the first words near the first answer (Sutskever et "
            "al. 2014, §3.3); attention reaches every position in one step and does not need it.")
    rows = [[token(visible(name)), str(near), str(far)] for name, near, far in
            zip(path.source_tokens[: len(path.as_read)], path.as_read, path.reversed, strict=True)]
    return section("What reversal does", escaped(text),
                   [_table(["source", "steps to the summary", f"read {other}"], rows)])


def _context(path: Path) -> str:
    text = ("How the source reaches a step of the decoder, and how wide the two layers are that read it, in this "
            "run's sizes. Changing decoder.context needs another training.")
    rows = [[f"<strong>{name}</strong> (this run)" if name == path.context else name, escaped(reads),
             str(width), escaped(out), str(size)]
            for name, reads, width, out, size in path.contexts]
    return section("What the context mode does", escaped(text),
                   [_table(["context", "the cell reads", "width", "the output layer reads", "width"], rows)])
