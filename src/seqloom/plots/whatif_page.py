"""`explain --force, --gold, --reverse, --edit`: before and after side by side, as page without a script and as JSON."""

from __future__ import annotations

from typing import Any

from seqloom.insight.whatif import BRANCHES, Course, WhatIf
from seqloom.plots.assets import document
from seqloom.plots.labels import direction, escaped, visible
from seqloom.plots.numbers import json_bytes
from seqloom.plots.page import number, section, token
from seqloom.plots.path_page import heat
from seqloom.plots.steps_page import page_heading, page_title
from seqloom.plots.steps_style import panel_style
from seqloom.types import Prediction


def whatif_html(found: WhatIf, prediction: Prediction, input_text: str) -> bytes:
    """The page, in UTF-8."""
    changes = "".join(f"<li>{escaped(visible(line, spaces=False))}</li>" for line in found.changes)
    parts = [page_heading("what if", input_text, prediction),
             section("What was changed", "Both answers are greedy, so nothing but the change tells them apart.",
                     [f"<ul>{changes}</ul>", f"<p>{escaped(verdict(found))}</p>"]),
             '<div class="side">', "<div>", course(found.before, "Before", set(), found), "</div><div>",
             course(found.after, "After", set(found.changed), found), "</div></div>", branches(found)]
    return document(page_title(input_text, prediction), "<main>" + "\n".join(parts) + "</main>", style=panel_style())


def whatif_json(found: WhatIf, prediction: Prediction, input_text: str) -> bytes:
    """Both courses, and the branches."""
    return json_bytes({
        "format_version": 1, "kind": "what_if", "input": input_text, "text": prediction.text, "changes": found.changes,
        "before": _record(found.before), "after": _record(found.after), "changed": [step + 1 for step in found.changed],
        "gold": found.gold, "right_before": found.right(found.before), "right_after": found.right(found.after),
        "branches": [{"step": branch.step + 1, "token": branch.token, "probability": branch.probability,
                      "text": branch.course.text, "tokens": branch.course.tokens,
                      "probabilities": branch.course.probabilities} for branch in found.branches]})


def _record(one: Course) -> dict[str, Any]:
    return {"source_tokens": one.source_tokens, "text": one.text, "score": one.score, "tokens": one.tokens,
            "probabilities": one.probabilities, "best": one.best, "history": one.history,
            "forced": [step + 1 for step in one.forced], "attention": one.weights}


def verdict(found: WhatIf) -> str:
    """How far the change reached, in a sentence."""
    forced = set(found.after.forced)
    followed = [step for step in found.changed if step not in forced]
    if not found.changed:
        words = "The answer stays the same."
    elif not followed:
        words = "Nothing but the forced token changes: the model finds its way back."
    else:
        beside = " beside the forced ones" if forced else ""
        words = (f"{len(followed)} of {len(found.after.tokens)} tokens differ{beside}, the first at step "
                 f"{followed[0] + 1}.")
    before, after = found.right(found.before), found.right(found.after)
    if before is not None and after is not None:
        words += f" Right tokens: {100 * before:.0f} % before (its own history), {100 * after:.0f} % after."
    return words


def course(one: Course, title: str, changed: set[int], found: WhatIf) -> str:
    """One answer: tokens with their probabilities, and where it looked."""
    rows = []
    for step, (label, share) in enumerate(zip(one.tokens, one.probabilities, strict=True)):
        kind = ' class="changed"' if step in changed else ""
        notes = []
        if step in one.forced:
            notes.append(f"forced; the model chose {visible(one.best[step])}")
        if found.gold is not None:
            right = step < len(found.gold) and found.gold[step] == label
            notes.append("right" if right else
                         f"gold: {visible(found.gold[step])}" if step < len(found.gold) else "past the gold answer")
        elif step in changed:
            notes.append("changed")
        rows.append(f'<tr><th scope="row">{step + 1}</th><td>{token(one.history[step])}</td><td{kind}>{token(label)}'
                    f"</td><td>{number(share)}</td><td>{escaped('; '.join(notes))}</td></tr>")
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("step", "read", "wrote", "probability", ""))
    text = escaped(visible(one.text, spaces=False)) or '<span class="muted">empty</span>'
    parts = [f'<dl class="pair"><dt>Answer</dt><dd class="out" dir="auto">{text}</dd></dl>',
             f'<p class="muted">log-probability {one.score:.4f} nats</p>',
             f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table class="rows"><thead><tr>'
             f'{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>']
    if one.weights is not None:
        labels = "".join(f'<li><span class="chip">{token(label)}</span></li>' for label in one.source_tokens)
        parts += ['<p class="muted">Attention: steps down, source tokens across</p>',
                  f'<ul class="chips" dir="{direction("".join(one.source_tokens))}">{labels}</ul>',
                  heat(one.weights, one.tokens, f"attention {title.lower()}")]
    else:
        parts.append('<p class="muted">This model has no attention to show.</p>')
    return section(title, "", parts)


def branches(found: WhatIf) -> str:
    """Every likely other token, with the answer that would have followed."""
    rows, before = [], found.before
    for branch in found.branches:
        same = [place < len(before.tokens) and before.tokens[place] == label
                for place, label in enumerate(branch.course.tokens)]
        after = "".join(f'<li><span class="chip{"" if kept else " changed"}">{token(label)}</span></li>'
                        for kept, label in zip(same, branch.course.tokens, strict=True))
        rows.append(f"<details><summary>{branch.step + 1}: {token(before.tokens[branch.step])} → {token(branch.token)} "
                    f'<span class="muted">probability {branch.probability:.2g}:</span> <bdi dir="auto">'
                    f"{escaped(visible(branch.course.text, spaces=False))}</bdi></summary>"
                    f'<ul class="chips" dir="{direction(branch.course.text)}">{after}</ul></details>')
    followed = len({branch.step for branch in found.branches})
    more = "" if followed == len(before.tokens) else f" Only the first {followed} steps are followed."
    return section("Had it written something else", f"The {BRANCHES} likeliest other tokens of each step; open one to "
                   f"see the answer that follows. What differs from before is underlined.{more}", rows)
