"""`explain --history`: one validation example over the whole training, with the accuracies beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seqloom.insight.history import Frame, History
from seqloom.plots.assets import document
from seqloom.plots.curves import curves_svg
from seqloom.plots.labels import escaped, visible
from seqloom.plots.numbers import READER, data_block, json_bytes
from seqloom.plots.page import section, token
from seqloom.plots.series import Panel, Series
from seqloom.plots.steps_script import HELPERS
from seqloom.plots.steps_style import SIGNED, panel_style

ACCURACIES = ("gold_token_accuracy", "free_token_accuracy", "accuracy_gap")


def history_html(history: History) -> bytes:
    """The page, in UTF-8."""
    target = "".join(f'<li><span class="chip">{token(label)}</span></li>' for label in history.target_tokens)
    name = escaped(visible(history.run, spaces=False))
    frames = history.frames
    parts = [f"<header><h1>seqloom: one example over training, <bdi>{name}</bdi></h1></header>",
             section("What it should answer", "", [f'<ul class="chips">{target}</ul>']),
             f'<div class="player"><div class="row"><button type="button" id="before" aria-label="previous validation">'
             f'‹</button><input type="range" id="slider" min="0" max="{len(frames) - 1}" value="0" step="1" '
             f'aria-label="validation"><button type="button" id="after" aria-label="next validation">›</button></div>'
             f'<p class="story" id="story" role="status" aria-live="polite"></p></div>',
             '<div class="scroll" tabindex="0" role="region" aria-label="attention"><table class="heat" id="weights">'
             "</table></div>"]
    if all(frame.attention is None for frame in frames):
        parts.append('<p class="note" role="note">This model has no attention: only its answers are shown.</p>')
    parts += [_curves(history), data_block([_record(frame, shown=True) for frame in frames])]
    return document(f"training of {visible(history.run, spaces=False)}", "<main>" + "\n".join(parts) + "</main>",
                    style=panel_style(), code=SCRIPT)


def history_json(history: History) -> bytes:
    """All answers, weights and accuracies."""
    return json_bytes({"format_version": 1, "kind": "history", "run": history.run,
                       "target_tokens": history.target_tokens,
                       "validations": [_record(frame, shown=False) for frame in history.frames],
                       "curves": [{"step": row["step"], **{key: row.get(key) for key in ACCURACIES}}
                                  for row in history.rows]})


def _record(frame: Frame, *, shown: bool) -> dict[str, Any]:
    def names(labels: Sequence[str]) -> list[str]:
        return [visible(label) for label in labels] if shown else list(labels)

    return {"step": frame.step, "source_tokens": names(frame.source_tokens), "tokens": names(frame.tokens),
            "probabilities": frame.probabilities, "attention": frame.attention}


def _curves(history: History) -> str:
    series = [Series(key, [(float(row["step"]), float(row[key])) for row in history.rows
                           if isinstance(row.get(key), int | float)]) for key in ACCURACIES]
    drawn = [one for one in series if one.points]
    if not drawn:
        return '<p class="note">metrics.jsonl has no accuracies to draw.</p>'
    picture = curves_svg([Panel("token accuracy", drawn)], "step", "")[0].decode()
    text = ("Gold: each token is predicted after the right ones before it, as in training. Free: after the model's "
            "own. The gap is what teacher forcing hides (Bengio et al. 2015).")
    return section("Gold history and free running", escaped(text), [f"<figure>{picture}</figure>"])


SCRIPT = "'use strict';\n" + READER + HELPERS.replace("SIGNED", str(SIGNED)) + """
const frames = read(at('data').textContent);
let now = 0;
function show(goal) {
  now = Math.max(0, Math.min(frames.length - 1, goal));
  const frame = frames[now], T = frame.tokens.length;
  at('slider').value = now;
  at('slider').setAttribute('aria-valuetext', `after update ${frame.step}`);
  at('story').textContent = `Validation ${now + 1} of ${frames.length}, after ${frame.step} updates`;
  const head = make('tr', {}, make('th', { scope: 'col' }, 'output \\u2193'),
    ...(frame.attention ? frame.source_tokens.map((label) => make('th', { scope: 'col' }, token(label))) : []),
    make('th', { scope: 'col' }, 'p'));
  const body = frame.probabilities.map((share, t) => {
    const row = make('tr', {}, make('th', { scope: 'row' }, token(t < T ? frame.tokens[t] : '</s>')));
    const cells = (frame.attention ? frame.attention[t] : []).map((weight) =>  // numbers alone; one by one it is slow
      `<td class="p${Math.round(SIGNED * Math.min(1, weight))}" title="${weight.toFixed(3)}"></td>`);
    row.insertAdjacentHTML('beforeend', `${cells.join('')}<td>${share.toFixed(2)}</td>`);
    return row;
  });
  at('weights').replaceChildren(make('thead', {}, head), make('tbody', {}, ...body));
}
at('slider').addEventListener('input', () => show(Number(at('slider').value)));
at('before').addEventListener('click', () => show(now - 1));
at('after').addEventListener('click', () => show(now + 1));
document.addEventListener('keydown', (event) => {
  if (event.target.closest('input,.scroll') || event.altKey || event.ctrlKey || event.metaKey) return;
  const goal = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: frames.length - 1 }[event.key];
  if (goal === undefined) return;
  event.preventDefault();
  show(goal);
});
show(0);
""".replace("SIGNED", str(SIGNED))
