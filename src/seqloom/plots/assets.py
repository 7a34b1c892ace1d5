"""The style sheet and the script of the HTML pages, as text: they go into the page itself, which loads nothing.

The content security policy of a page names both by their hash and forbids everything else, so a script that came in
with somebody's data could not run even if the escaping failed. That is why no element carries a style attribute.
"""

from __future__ import annotations

import base64
import hashlib

from seqloom.plots.colours import DARK_SCALE, LIGHT_SCALE, ink_on, scale
from seqloom.plots.labels import FONTS, escaped

LEVELS = 40  # steps of the colour scale: closer than the eye tells apart

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--muted:#5b6675;--line:#e1e6ec;--paper:#fff;--card:#f6f8fa;
--accent:#0b63a5;
--bar:#388ec4}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 FONTS}
main{max-width:68rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1,h2{font-weight:600;line-height:1.25;margin:0}
h1{font-size:.8125rem;letter-spacing:.02em;color:var(--muted)}
h2{font-size:1rem;margin:2.5rem 0 .25rem}
p{margin:.25rem 0}
.muted,dt,caption,figcaption{color:var(--muted);font-size:.8125rem}
dl.pair{display:grid;grid-template-columns:5rem minmax(0,1fr);gap:.5rem 1rem;margin:1.25rem 0 .75rem;
align-items:baseline}
dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-height:12rem;overflow:auto}
dd.out{font-size:1.375rem;line-height:1.35}
.facts{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;padding:0;margin:.5rem 0 0;list-style:none}
.note{border-inline-start:3px solid var(--bar);background:var(--card);padding:.625rem .875rem;margin:1.25rem 0}
.chips{display:flex;flex-wrap:wrap;gap:.25rem;margin:0 -.25rem .625rem;padding:.25rem;list-style:none;
max-height:40vh;overflow:auto}
.chip{display:block;font:inherit;line-height:1.35;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:.3125rem;padding:.1875rem .4375rem;min-width:1.75rem;max-width:100%;text-align:center;
overflow-wrap:anywhere}
button.chip{cursor:pointer;padding-bottom:.125rem}
button.chip:hover,button.chip.on{border-color:var(--accent)}
button.chip.on{box-shadow:inset 0 0 0 1px var(--accent)}
.end{font-style:italic;color:var(--muted)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
svg.bar{display:block;width:0;min-width:100%;height:3px;margin-top:.125rem;fill:var(--bar)}
svg.track{background:var(--line)}
.detail{min-height:3.25em;font-size:.9375rem}
.detail bdi{font-weight:600}
.scroll{overflow:auto;width:fit-content;max-width:100%;max-height:85vh;border:1px solid var(--line);
border-radius:.375rem;margin:.75rem 0}
table{border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums}
.weights th{background:var(--paper);font-weight:400;font-size:.8125rem;position:sticky;z-index:1;
padding:.125rem .375rem}
.weights thead th{top:0;vertical-align:bottom;text-align:center;border-bottom:1px solid var(--line)}
.weights tbody th{left:0;text-align:end;border-inline-end:1px solid var(--line);max-width:9rem;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap}
.weights thead th:first-child{left:0;z-index:2;border-inline-end:1px solid var(--line);text-align:end;
color:var(--muted);white-space:nowrap}
.weights thead bdi{display:inline-block;max-height:9rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.turned thead bdi{writing-mode:vertical-rl;text-orientation:sideways;transform:rotate(180deg)}
.turned thead .upright bdi{text-orientation:mixed;transform:none}
.turned thead .short bdi{writing-mode:horizontal-tb;transform:none}
.weights td{height:1.625rem;min-width:2.75rem;padding:0 .25rem;text-align:center;font-size:.6875rem}
.weights td.p{color:var(--muted);padding-inline-start:.5rem;min-width:2.75rem}
.dense td:not(.p){min-width:1.125rem;width:1.125rem;height:1.125rem;padding:0;font-size:1px;color:transparent;
overflow:hidden}
.dense thead th{padding:.25rem .0625rem}
.dense tbody th,.dense td.p{font-size:.6875rem;padding-block:0;line-height:1.1}
.vast,.vast thead,.vast tbody{display:block}
.vast{width:max-content}
.vast tr{display:flex}
.vast tbody tr{content-visibility:auto;height:1.125rem;contain-intrinsic-height:1.125rem}
.vast tr>*{flex:none;width:1.125rem}
.vast thead{position:sticky;top:0;z-index:3}
.vast thead th{display:flex;align-items:end;justify-content:center}
.vast tbody th,.vast thead th:first-child{width:7rem}
.vast td.p,.vast thead th.p{width:2.75rem}
tr.on th,th.on{color:var(--accent);font-weight:600}
td:hover{outline:2px solid var(--accent);outline-offset:-2px}
figure{margin:0}
.legend{display:inline-flex;align-items:center;gap:.5rem}
.legend span{display:inline-flex}
.legend i{width:3px;height:.625rem}
.list{width:100%;font-size:.9375rem}
.list th,.list td{text-align:start;padding:.3125rem .75rem .3125rem 0;border-bottom:1px solid var(--line);
vertical-align:top}
.list th{font-weight:400;color:var(--muted);font-size:.8125rem}
.list .number{text-align:end;white-space:nowrap;width:1%}
.list ol{display:flex;flex-wrap:wrap;gap:.125rem 1.125rem;margin:0;padding:0;list-style:none}
.list td{overflow-wrap:anywhere}
@media (max-width:32rem){main{padding:1.25rem 1rem 3rem}dl.pair{grid-template-columns:minmax(0,1fr);gap:0 0}
dd{margin-bottom:.5rem}
.weights tbody th{max-width:6rem}}
@media print{.scroll,.chips,dd{max-height:none;overflow:visible}}
"""

DARK_STYLE = (":root{--ink:#e4e9ef;--muted:#98a4b3;--line:#30373f;--paper:#14181d;--card:#1c2127;--accent:#7cc4f2;"
              "--bar:#4b9fd0}")

SCRIPT = """
'use strict';
const all = (selector) => [...document.querySelectorAll(selector)];
const steps = all('[data-step]'), sources = all('[data-source]'), rows = all('.weights tbody tr');
const others = all('[data-others]'), detail = document.getElementById('detail');
const table = document.querySelector('.weights'), top_ = table ? Number(table.dataset.top) : 1;
const cells = (step) => rows[step] ? [...rows[step].querySelectorAll('td:not(.p)')] : [];
const shown = (element) => element.querySelector('bdi').textContent;
const hint = detail ? [...detail.childNodes] : [];
let pinned = -1;
function show(step) {
  [steps, rows, others].forEach((list) => list.forEach((item, index) => item.classList.toggle('on', index === step)));
  steps.forEach((chip, index) => chip.setAttribute('aria-pressed', index === pinned));
  const row = cells(step).map((cell) => Number(cell.textContent));
  sources.forEach((chip, index) => {
    chip.className = 'chip' + (row.length ? ' l' + Math.round(LEVELS * Math.min(1, row[index] / top_)) : '');
    chip.title = row.length ? row[index].toFixed(3) : '';
  });
  if (detail) detail.replaceChildren(...(step < 0 ? hint : told(step, row)));
}
function told(step, row) {
  const pairs = row.map((weight, index) => [weight, index]).filter((pair) => pair[0] > 0);
  const best = pairs.sort((a, b) => b[0] - a[0]).slice(0, 3);
  const line = (label, pairs) => {
    const part = document.createElement('p');
    part.append(label);
    pairs.forEach(([name, number], index) => {
      const token = document.createElement('bdi');
      token.textContent = name;
      part.append(index ? ', ' : ' ', token, ' ' + number);
    });
    return part;
  };
  if (best.length) {
    const lead = sources[best[0][1]].parentElement, list = lead.parentElement;
    if (list.scrollHeight > list.clientHeight) list.scrollTop = lead.offsetTop - list.offsetTop - list.clientHeight / 2;
  }
  const probability = steps[step].dataset.probability;
  return [line('Output', [[shown(steps[step]), probability ? 'with probability ' + probability : '']]),
    line('looked at', best.map(([weight, index]) => [shown(sources[index]), weight.toFixed(3)]))];
}
steps.forEach((chip, step) => {
  chip.tabIndex = step ? -1 : 0;
  chip.addEventListener('pointerenter', () => show(step));
  chip.addEventListener('pointerleave', () => show(pinned));
  chip.addEventListener('focus', () => show(step));
  chip.addEventListener('blur', () => show(pinned));
  chip.addEventListener('click', () => { pinned = pinned === step ? -1 : step; show(step); });
  chip.addEventListener('keydown', (event) => {
    const back = getComputedStyle(chip.parentElement.parentElement).direction === 'rtl' ? 'ArrowRight' : 'ArrowLeft';
    const forth = back === 'ArrowLeft' ? 'ArrowRight' : 'ArrowLeft';
    const goal = { [back]: step - 1, [forth]: step + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (event.key === 'Escape') { pinned = -1; show(-1); }
    if (goal === undefined || !steps[goal]) return;
    event.preventDefault();
    steps.forEach((other, index) => { other.tabIndex = index === goal ? 0 : -1; });
    steps[goal].focus();
  });
});
if (table) {
  const heads = [...table.querySelectorAll('thead th')];
  let last = null;
  table.addEventListener('pointerover', (event) => {
    const cell = event.target.closest('td:not(.p)');
    if (last) last.classList.remove('on');
    last = cell ? heads[cell.cellIndex] : null;
    if (!cell) return;
    last.classList.add('on');
    cell.title = cell.textContent + '  ' + shown(cell.parentElement) + ' \\u2190 ' + shown(last);
    show(cell.parentElement.sectionRowIndex);
  });
  table.addEventListener('pointerleave', () => { if (last) last.classList.remove('on'); last = null; show(pinned); });
}
"""


def level_rules(anchors: tuple[str, ...]) -> str:
    """One class for each step of the colour scale: its background, and the ink that reads best on it."""
    rules = []
    for level in range(LEVELS + 1):
        colour = scale(level / LEVELS, anchors)
        rules.append(f".l{level}{{background:{colour};color:{ink_on(colour)}}}")
    return "\n".join([*rules, ".l0{color:var(--muted)}"])


def style_sheet(extra_light: str = "", extra_dark: str = "") -> str:
    """The whole style sheet: light, and dark where the reader's system asks for it."""
    light = STYLE.replace("FONTS", FONTS) + level_rules(LIGHT_SCALE) + extra_light
    dark = DARK_STYLE + level_rules(DARK_SCALE) + extra_dark
    return f"{light}\n@media (prefers-color-scheme:dark){{{dark}}}\n"


def script() -> str:
    """The script of the explanation page."""
    return SCRIPT.replace("LEVELS", str(LEVELS))


def digest(content: str) -> str:
    """The hash by which a content security policy allows one inline block (CSP Level 3, §6.7.3)."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode("utf-8")).digest()).decode("ascii") + "'"


def document(title: str, body: str, *, style: str, code: str = "", pictures: bool = False) -> bytes:
    """A whole HTML page around `body` (already escaped) in UTF-8; its policy allows this style and script, no more.

    pictures: and pictures that stand in the page itself.
    """
    allowed = digest(code) if code else "'none'"
    policy = (f"default-src 'none'; style-src {digest(style)}; script-src {allowed}; base-uri 'none'; "
              "form-action 'none'" + ("; img-src data:" if pictures else ""))
    ending = f"<script>{code}</script>\n" if code else ""
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="referrer" content="no-referrer">\n'
            f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n{ending}</body>\n</html>\n"
            ).encode()
