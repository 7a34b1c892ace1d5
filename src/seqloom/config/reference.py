"""docs/config.md: every key with its type, default and text; presets and aliases. Run me to print it:

    python -m seqloom.config.reference > docs/config.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import PydanticUndefined

from seqloom.config.aliases import ALIASES, CORPUS_ALIASES, HINTS, ROLE_ALIASES, SECTION_ALIASES, VALUES, Instead
from seqloom.config.keys import SHORTHANDS, Key, SectionKey, corpus_keys, join, keys, keys_of, sections
from seqloom.config.loading import preset_names, preset_summary
from seqloom.config.yaml_files import flow

HEAD = """\
<!-- Generated: python -m seqloom.config.reference > docs/config.md. A test fails when it is stale. -->
# Configuration

A configuration is a YAML file with the sections below; all of it is optional. `seqloom train config.yaml` reads one,
`seqloom train … --print-config` shows the whole with every value.

```yaml
preset: g2p
data:
  train: words.tsv            # a path, a list of paths, or a list of {path | source + target, weight, columns}
training:
  epochs: 20
decoding.beam_size: 3         # a dotted path works too
```

- Later wins: defaults < preset < file < `--set a.b=c` < flags. Sections are merged key by key, lists are replaced.
- An unknown key is an error that names the nearest one. So is a value of the wrong type or out of range, and so are
  options that contradict each other; all of it is found before any data is read.
- A key whose last name no other key has may stand alone at the top: `--set beam_size=3` is read as
  `decoding.beam_size`, with a note.
- `null` empties a key. `1e-3` is a number, `010` and `1:30` are text; `yes`, `no`, `on` and `off` are booleans unless
  quoted. Tags and keys that stand twice are errors.
- Relative paths are relative to the working directory.
- A run folder's `config.yaml` has a `format_version`: it is complete, and its preset is not read again.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_sections(), _shorthands(), _presets(), *_aliases()]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return "empty" if value is None or value == [] else f"`{flow(list(value) if isinstance(value, tuple) else value)}`"


def _type(key: Key) -> str:
    if key.names:
        return ", ".join(f"`{name}`" for name in key.names)
    return key.expected


def _key_rows(found: Iterable[Key]) -> Iterator[tuple[str, ...]]:
    for key in found:
        name = key.path.rpartition(".")[2]
        yield f"`{name}`", _type(key), _default(key.default), key.description


HEADINGS = ("key", "type", "default", "what it does")


def _sections() -> Iterator[str]:
    """One table for each section, those inside it after it; a section of several kinds has one for each kind."""
    top = [key for path, key in keys().items() if "." not in path]
    yield "## At the top\n\n" + _table(HEADINGS, _key_rows(top))
    for path, section in sections().items():
        if "." in path:
            continue
        yield f"## {path}\n\n{section.field.description}"
        for kind in section.models:
            of_kind = keys_of(path, kind)
            own = {join(path, "kind"): keys()[join(path, "kind")]} if kind else {}
            if kind:
                yield f"### {path}.kind: {kind}\n\n{str(section.models[kind].__doc__).strip()}"
            yield from _tables(path, {**of_kind, **own}, f" of {kind}" if kind else "")
        if path == "data":
            yield ("### An entry of data.train and data.valid\n\nEither `path`, or `source` and `target`.\n\n"
                   + _table(HEADINGS, _key_rows(corpus_keys().values())))


def _tables(path: str, found: Mapping[str, Key | SectionKey], of_kind: str) -> Iterator[str]:
    """The table of a section, and of those inside it."""
    inside = [item for item in found.values() if isinstance(item, Key) and item.path.rpartition(".")[0] == path]
    yield _table(HEADINGS, _key_rows(inside))
    for below, item in found.items():
        if isinstance(item, SectionKey) and below.rpartition(".")[0] == path:
            yield f"### {below}{of_kind}\n\n{item.field.description}{_empty(item)}"
            yield from _tables(below, found, of_kind)


def _empty(section: SectionKey) -> str:
    return " Empty unless given." if section.optional else ""


def _shorthands() -> str:
    rows = [(f"`{path}: x`", f"`{path}: {{{name}: x}}`") for path, name in SHORTHANDS.items()]
    return "## Sections as one value\n\n" + _table(("written", "read as"), rows)


def _presets() -> str:
    rows = [(f"[`{name}`](../src/seqloom/presets/{name}.yaml)", preset_summary(name)) for name in preset_names()]
    return ("## Presets\n\nA preset is a partial configuration: `--preset g2p`, or `preset: g2p` in a file.\n\n"
            + _table(("preset", "for"), rows))


def _aliases() -> Iterator[str]:
    yield ("## Names of other toolkits\n\nThese are read too, with a note that says the preferred name: at the top, "
           "where they set all the keys listed, and in\na section, where they set those of its keys. A name and its "
           "key given together are an error.\n")
    rows = []
    for alias in ALIASES.values():
        meant = [*(f"`{key}`" for key in alias.keys), *(f"`{key}: {flow(item)}`" for key, item in alias.also.items())]
        values = [f"`{flow(given)}` → `{flow(ours)}`" for given, ours in alias.values.items()]
        rows.append((f"`{alias.name}`", ", ".join(meant), alias.toolkits,
                     "; ".join([*values, *([alias.remark] if alias.remark else [])])))
    yield _table(("name", "key", "from", ""), rows)
    others = [(f"`{name}:` at the top", f"`{section}:`") for name, section in SECTION_ALIASES.items()]
    others += [(f"`{name}` in `columns`", f"`{role}`") for name, role in ROLE_ALIASES.items()]
    others += [(f"`{name}` in `data.train`, `data.valid`", f"`{key}`") for name, key in CORPUS_ALIASES.items()]
    yield "### Sections and columns\n\n" + _table(("name", "read as"), others)
    words = []
    for key, meanings in VALUES.items():
        for given, ours in meanings.items():
            target = f"`{ours.key}: {flow(ours.value)}`" if isinstance(ours, Instead) else f"`{flow(ours)}`"
            words.append((f"`{key}`", f"`{flow(given)}`", target))
    yield ("### Values\n\nNames are read in any case: `LSTM` is `lstm`.\n\n"
           + _table(("key", "value", "read as"), words))
    yield ("### Names without a counterpart\n\n"
           + _table(("name", "instead"), [(f"`{name}`", hint) for name, hint in HINTS.items()]))



if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode("utf-8"))
