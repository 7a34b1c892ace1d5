"""`explain --gates`: cells under the microscope, one or several runs side by side, as page and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqloom.insight.gates import STATES, CellPanel, Gates
from seqloom.insight.gradients import Gradients
from seqloom.plots.assets import document
from seqloom.plots.curves import curves_svg
from seqloom.plots.labels import escaped, visible
from seqloom.plots.numbers import READER, data_block, json_bytes
from seqloom.plots.page import section, token
from seqloom.plots.series import Panel, Series
from seqloom.plots.steps_page import page_heading, page_title
from seqloom.plots.steps_style import panel_style, signed_class
from seqloom.types import Prediction

ABOUT = {
    "forget": "what the cell keeps (1) or forgets (0)", "input": "what is let in (1) or kept out (0)",
    "candidate": "what would be written, −1 to 1", "output": "what of the cell is shown (1) or hidden (0)",
    "reset": "whether the past counts for the candidate", "update": "1 keeps the past, 0 takes the candidate",
    "cell state": "the memory itself, without bounds", "hidden state": "what the cell hands on",
}
ORDER = ("forget", "input", "candidate", "output", "reset", "update", *STATES)


class Microscope(NamedTuple):
    """What one run shows: its cells, and its gradients where they were asked for."""

    gates: Gates
    gradients: Gradients | None


def gates_html(runs: Sequence[Microscope], prediction: Prediction, input_text: str) -> bytes:
    """The page, in UTF-8."""
    columns: list[str] = []
    arrays: list[dict[str, Any]] = []
    for one in runs:
        parts = [f'<h2><bdi>{escaped(visible(one.gates.run, spaces=False))}</bdi></h2><p>Output: <bdi dir="auto">'
                 f'{escaped(visible(one.gates.text, spaces=False)) or "empty"}</bdi></p>']
        for panel in one.gates.panels:
            parts.append(_cell(panel, len(arrays)))
            arrays += [{"name": f"{panel.name}: {name}", "columns": [visible(label) for label in panel.columns],
                        "values": panel.values[name]} for name in _ordered(panel)]
        if not one.gates.panels:
            parts.append('<p class="note">There are no cells to show.</p>')
        parts += _gradient_parts(one.gradients)
        parts.append(_clipping(one.gates))
        columns.append("<div>" + "\n".join(parts) + "</div>")
    intro = ("Numbers are means over the units of a cell; the picture beneath has a row for each unit. Point at it, or "
             "focus it and use the arrow keys, to read one. Blue is positive, orange negative.")
    body = "\n".join([page_heading("cells under the microscope", input_text, prediction),
                      f'<p class="muted">{intro}</p><p id="told" role="status" aria-live="polite" class="story"></p>',
                      f'<div class="side">{"".join(columns)}</div>', data_block(arrays)])
    return document(page_title(input_text, prediction), f"<main>{body}</main>", style=panel_style(), code=SCRIPT)


def gates_json(runs: Sequence[Microscope], prediction: Prediction, input_text: str) -> bytes:
    """All gates and states of every unit."""
    return json_bytes({"format_version": 1, "kind": "gates", "input": input_text,
                       "runs": [_record(one) for one in runs]})


def _record(one: Microscope) -> dict[str, Any]:
    gates, slopes = one.gates, one.gradients
    return {"run": gates.run, "text": gates.text, "context": gates.context, "source_tokens": gates.source_tokens,
            "tokens": gates.tokens,
            "cells": [{"name": panel.name, "cell": panel.cell, "columns": panel.columns, "values": panel.values}
                      for panel in gates.panels],
            "clipping": {"max_grad_norm": gates.clipping.max_grad_norm,
                         "shares": [{"step": step, "clipped_share": share} for step, share in gates.clipping.shares]},
            "gradients": None if slopes is None else {
                "steps": slopes.steps, "norms": slopes.norms, "without_attention": slopes.cut,
                "by_distance": [list(pair) for pair in slopes.by_distance(slopes.norms)],
                "by_distance_without_attention": None if slopes.cut is None else [
                    list(pair) for pair in slopes.by_distance(slopes.cut)]}}


def _ordered(panel: CellPanel) -> list[str]:
    return [name for name in ORDER if name in panel.values]


def _cell(panel: CellPanel, first: int) -> str:
    """The means as a table, then one picture of all units for each gate."""
    heads = "".join(f'<th scope="col">{token(label)}</th>' for label in panel.columns)
    rows, pictures = [], []
    for place, name in enumerate(_ordered(panel)):
        means = np.nanmean(panel.values[name], 1).tolist()
        top = 1.0 if name not in STATES else max(1e-9, float(np.abs(means).max()))
        cells = "".join(f'<td class="{signed_class(mean, top)}">{f"{mean:.2f}".replace("-", "−")}</td>'
                        for mean in means)
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
        pictures.append(f'<figure><figcaption>{name}: {ABOUT[name]}</figcaption><div class="scroll">'
                        f'<canvas tabindex="0" role="img" aria-label="{escaped(panel.name)}, {name}, all units" '
                        f'data-array="{first + place}"></canvas></div></figure>')
    units = next(iter(panel.values.values())).shape[1]
    return (f'<section><h3>{escaped(panel.name)} <span class="shape">{panel.cell}, {units} units</span></h3>'
            f'<div class="scroll" tabindex="0" role="region" aria-label="means of {escaped(panel.name)}">'
            f'<table class="heat means"><thead><tr><th scope="col">mean</th>{heads}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table></div><div class="units">{"".join(pictures)}</div></section>')


def _gradient_parts(slopes: Gradients | None) -> list[str]:
    if slopes is None:
        return []
    lines = [Series("all ways", [(float(d), value) for d, value in slopes.by_distance(slopes.norms) if value > 0])]
    if slopes.cut is not None:
        lines.append(Series("through the summary alone",
                            [(float(d), value) for d, value in slopes.by_distance(slopes.cut) if value > 0]))
    lines = [line for line in lines if line.points]
    if not lines:
        return ['<p class="note">No gradient reaches the states: the answer does not depend on what was read.</p>']
    picture = curves_svg([Panel("mean |d loss_t / d h_s|", lines)], "distance", "")[0].decode()
    text = ("How much the loss of an output token depends on the state at a token that was read, by the steps of "
            "the recurrence between reading the one and writing the other (Pascanu et al. 2013). "
            + ("With attention cut off, only the summary carries the gradient." if slopes.cut is not None else
               "This run has no attention: the recurrence is the only way."))
    return [section("Gradients by distance", escaped(text), [f"<figure>{picture}</figure>"])]


def _clipping(gates: Gates) -> str:
    clipping = gates.clipping
    if clipping.max_grad_norm == 0:
        text = "Training did not clip gradients (training.max_grad_norm: 0)."
    elif not clipping.shares:
        text = "The run has no record of its training (metrics.jsonl)."
    else:
        last, highest = clipping.shares[-1][1], max(share for _, share in clipping.shares)
        text = (f"Training clipped the gradient's norm at {clipping.max_grad_norm:g}: in "
                f"{100 * clipping.shares[0][1]:.1f} % of the updates before the first validation, "
                f"{100 * highest:.1f} % at most, {100 * last:.1f} % before the last.")
    return section("Clipping", escaped(text), [])


SCRIPT = "'use strict';\n" + READER + """
const arrays = read(document.getElementById('data').textContent), told = document.getElementById('told');
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
const blue = dark ? [124, 196, 242] : [11, 99, 165], orange = dark ? [240, 160, 80] : [200, 90, 0];
const paper = dark ? [34, 39, 46] : [241, 246, 248];
document.querySelectorAll('canvas').forEach((canvas) => {
  const { name, columns, values } = arrays[Number(canvas.dataset.array)];
  const [T, H] = values.shape, high = H > 160 ? 1 : H > 60 ? 2 : 6;
  const wide = Math.max(4, Math.min(24, Math.floor(480 / T)));
  canvas.width = T * wide;
  canvas.height = H * high;
  const pen = canvas.getContext('2d'), finite = values.data.filter((x) => !Number.isNaN(x));
  const top = finite.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-9);
  const small = document.createElement('canvas'), picture = new ImageData(T, H);
  small.width = T;
  small.height = H;
  for (let t = 0; t < T; t += 1) {
    for (let h = 0; h < H; h += 1) {
      const x = values.data[t * H + h] / top, to = x < 0 ? orange : blue, share = Math.min(1, Math.abs(x)) || 0;
      for (let i = 0; i < 3; i += 1) picture.data[4 * (h * T + t) + i] = paper[i] + (to[i] - paper[i]) * share;
      picture.data[4 * (h * T + t) + 3] = 255;
    }
  }
  small.getContext('2d').putImageData(picture, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, T * wide, H * high);
  let t = 0, h = 0;
  const say = () => {
    told.textContent = `${name}, token ${t + 1} (${columns[t]}), unit ${h + 1} of ${H}: ` +
      values.data[t * H + h].toFixed(4);
  };
  canvas.addEventListener('pointermove', (event) => {
    const box = canvas.getBoundingClientRect();
    t = Math.max(0, Math.min(T - 1, Math.floor((event.clientX - box.left) / box.width * T)));
    h = Math.max(0, Math.min(H - 1, Math.floor((event.clientY - box.top) / box.height * H)));
    say();
  });
  canvas.addEventListener('focus', say);
  canvas.addEventListener('keydown', (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    t = Math.max(0, Math.min(T - 1, t + move[0]));
    h = Math.max(0, Math.min(H - 1, h + move[1]));
    say();
  });
});
"""
