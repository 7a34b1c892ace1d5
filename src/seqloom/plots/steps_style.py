"""What pages with panels, sliders and numbers that open add to the style sheet of every page."""

from __future__ import annotations

from seqloom.plots.assets import style_sheet
from seqloom.plots.colours import DARK_SCALE, LIGHT_SCALE, ink_on, scale

SIGNED = 12  # steps of each half of the signed scale
WARM_LIGHT = ("#f1f6f8", "#f6c79b", "#e08a3c", "#a8510c", "#5c2a02")
WARM_DARK = ("#22272e", "#5a3a1d", "#a5632a", "#e39a58", "#ffe3c8")

PANELS = """
.player{position:sticky;top:0;z-index:5;background:var(--paper);border-bottom:1px solid var(--line);padding:.5rem 0}
.player .row{display:flex;gap:.5rem;align-items:center}
.player input[type=range]{flex:1;min-width:0;accent-color:var(--accent);height:2rem}
.player button,.act{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:.3125rem;padding:.25rem .75rem;min-height:2.25rem;cursor:pointer}
.player button:hover,.act:hover{border-color:var(--accent)}
.story{min-height:1.5em}
.story bdi{font-weight:600}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:0 2rem;align-items:start}
.panels>section{min-width:0}
.panels h2{margin-top:1.5rem}
.panels .scroll{max-height:24rem;width:100%}
.rows{width:100%;font-size:.875rem}
.rows th,.rows td{padding:.125rem .5rem;text-align:end;border-bottom:1px solid var(--line);white-space:nowrap}
.rows thead th{position:sticky;top:0;background:var(--paper);font-weight:400;color:var(--muted);font-size:.75rem;
z-index:1}
.rows thead th:first-child{text-align:start}
.rows tbody th{text-align:start;font-weight:400;max-width:9rem;overflow:hidden;text-overflow:ellipsis}
.rows.long{table-layout:fixed}
.panels .scroll,.strip{contain:content}
.rows .meter{width:30%;min-width:4rem}
.meter i{display:block;height:.625rem;background:var(--bar);border-radius:1px}
.rows tr.most th{font-weight:600}
.n{font:inherit;color:inherit;background:none;border:0;border-bottom:1px dotted var(--muted);padding:0 .125rem;
cursor:pointer;font-variant-numeric:tabular-nums;min-height:1.5rem}
.n:hover,.n.on{color:var(--accent);border-bottom-style:solid}
.mark{color:var(--accent);font-size:.75rem}
.strip{display:flex;flex-wrap:wrap;gap:1px;max-height:11rem;overflow:auto;padding:2px;margin:.25rem 0 .75rem}
.strip button{font:inherit;font-size:.625rem;font-variant-numeric:tabular-nums;width:2.5rem;height:1.5rem;padding:0;
border:0;border-radius:2px;cursor:pointer;overflow:hidden}
.strip button.on{outline:2px solid var(--accent);outline-offset:-1px}
#formula{position:sticky;bottom:0;z-index:4;background:var(--card);border:1px solid var(--line);border-radius:.375rem;
padding:.5rem .875rem;margin-top:1.5rem;max-height:45vh;overflow:auto}
#formula h2{margin:0;font-size:.9375rem}
#formula[hidden]{display:none}
#formula .filled{overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
#formula .close{float:inline-end}
.terms{display:flex;flex-wrap:wrap;gap:0 .75rem;margin:.25rem 0;padding:0;list-style:none;font-size:.8125rem;
font-variant-numeric:tabular-nums}
.note.warn{border-color:#d55e00}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1.5rem}
.side>*{min-width:0}
.changed{text-decoration:underline;text-decoration-color:#d55e00;text-decoration-thickness:3px;text-underline-offset:3px}
.path{list-style:none;margin:0;padding:0}
.path>li{border-inline-start:3px solid var(--line);padding:.25rem 0 .75rem 1rem}
.path h3{font-size:.9375rem;margin:0}
.shape{font-variant-numeric:tabular-nums;color:var(--muted);font-size:.8125rem}
.heat{font-size:.75rem}
.heat td{min-width:1.5rem;height:1.25rem;padding:0}
.means td{padding:0 .25rem;text-align:center}
.units{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,16rem),1fr));gap:.5rem 1rem}
.units canvas{display:block}
.heat th{font-weight:400;padding:0 .25rem;position:sticky;left:0;background:var(--paper);text-align:end;
white-space:nowrap;z-index:1}
.heat thead th{position:static;text-align:center;vertical-align:bottom}
.heat thead th:first-child,.heat thead td{position:sticky;left:0;background:var(--paper)}
figure svg{max-width:100%;height:auto}
@media (max-width:32rem){.rows th,.rows td{padding:.125rem .25rem}.player button{padding:.25rem .5rem}
.rows .meter{min-width:2rem}}
"""


def _signed(cool: tuple[str, ...], warm: tuple[str, ...]) -> str:
    rules = []
    for letter, anchors in (("p", cool), ("m", warm)):
        for level in range(SIGNED + 1):
            colour = scale(level / SIGNED, anchors)
            rules.append(f".{letter}{level}{{background:{colour};color:{ink_on(colour)}}}")
    return "\n".join(rules)


def panel_style() -> str:
    """The style sheet of pages with panels: blue for positive, orange for negative numbers."""
    return style_sheet(PANELS + _signed(LIGHT_SCALE, WARM_LIGHT), _signed(DARK_SCALE, WARM_DARK))


def signed_class(value: float, top: float) -> str:
    """The class of a number on the signed scale: p0 … p12, m0 … m12."""
    level = round(SIGNED * min(1.0, abs(value) / top)) if top > 0 and value == value else 0
    return f"{'m' if value < 0 else 'p'}{level}"
