"""YAML as configurations use it: read with the line of every key, and written with comments.

Read: only plain values, mappings and lists; no tags, no duplicate keys, bounded size, depth and expansion. Numbers are
those of YAML 1.2, so that 1e-3 is a number and 010 and 1:30 are text; yes and no, on and off stay booleans. What a key
may hold is not known here: see `loading.py`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seqloom.config.keys import SHORTHANDS, Key, SectionKey, corpus_keys, join, keys, sections
from seqloom.config.sections import Config, Section
from seqloom.errors import ConfigError, UsageError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 20_000  # after aliases (*name) are written out

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]{0,30})$|0x[0-9a-fA-F]{1,16}$")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,5})?$")
FLOAT_NAMES = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
PLAIN_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
EMPTY = ("", "~", "null")


class Document(NamedTuple):
    """A parsed file: its value, and the line of each key and list entry by path (training.epochs, data.train.0)."""

    value: Any
    lines: dict[str, int]


def read_yaml_file(path: Path) -> Document:
    """The YAML file as plain values. ConfigError with file:line for anything that is not a plain configuration."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", where=str(path), fix="check the path of the configuration") from None
    except IsADirectoryError:
        raise ConfigError("given a folder, expected a YAML file", where=str(path),
                          fix=f"a run folder's configuration is {path / 'config.yaml'}") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path),
                          fix="check the permissions of the file") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"given more than {MAX_BYTES // 1024} KiB, expected a configuration", where=str(path),
                          fix="give data files after the command or under data.train, not as the configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"byte 0x{content[error.start]:02x} is not UTF-8", where=f"{path}:{line}",
                          fix="save the configuration as UTF-8 text") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Document:
    """YAML text as plain values; `name` is what messages call it. Raises ConfigError with name:line."""
    try:
        loader = _Composer(text)
        loader.name = name
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"not valid YAML: {told}", where=_where(name, mark),
                          fix="indent with spaces, never with tabs" if "'\\t'" in told else
                          "check indentation, colons and quotes") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"not valid YAML: the control character U+{error.character:04X}", where=f"{name}:{line}",
                          fix="save the configuration as plain UTF-8 text") from None
    values = _Values(name)
    return Document(None if node is None else values.of(node, ""), values.lines)


def _where(name: str, mark: yaml.Mark | None) -> str:
    return name if mark is None else f"{name}:{mark.line + 1}"


class _Composer(yaml.SafeLoader):
    """Composes nodes from untrusted text: no tags, bounded depth; the meaning of plain words is `plain_scalar`."""

    yaml_implicit_resolvers: typing.ClassVar[dict[str, Any]] = {}  # type: ignore[misc]
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = _where(self.name, event.start_mark)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ConfigError(f"the tag {tag.replace('tag:yaml.org,2002:', '!!')} is not allowed", where=where,
                              fix="a configuration holds text, numbers, booleans, lists and mappings only")
        if self.depth > MAX_DEPTH:
            raise ConfigError(f"nested more than {MAX_DEPTH} levels deep", where=where,
                              fix="a configuration has four levels at most")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Values:
    """Turns composed nodes into plain values, counting what it makes: an alias is written out, so it counts again."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[str, int] = {}
        self.nodes = 0
        self.open: set[int] = set()

    def of(self, node: yaml.Node, path: str) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or id(node) in self.open:
            endless = "an alias (*name) stands inside the value that it names"
            many = f"more than {MAX_NODES} values once aliases (*name) are written out"
            raise ConfigError(many if self.nodes > MAX_NODES else endless, where=_where(self.name, node.start_mark),
                              fix="write the values out instead of using aliases")
        self.open.add(id(node))
        value = self.expanded(node, path)
        self.open.remove(id(node))
        return value

    def expanded(self, node: yaml.Node, path: str) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[join(path, str(index))] = item.start_mark.line + 1
                items.append(self.of(item, join(path, str(index))))
            return items
        return node.value if getattr(node, "style", None) is not None else plain_scalar(str(node.value))

    def mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = _where(self.name, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("given a list or a mapping as a key, expected a word", where=where,
                                  fix="write `name: value`")
            key = key_node.value
            if key in values:
                raise ConfigError(f"the key '{join(path, key)}' stands twice, first in line "
                                  f"{self.lines[join(path, key)]}", where=where, fix="keep one of the two")
            self.lines[join(path, key)] = key_node.start_mark.line + 1
            values[key] = self.of(value_node, join(path, key))
        return values


def plain_scalar(text: str) -> str | int | float | bool | None:
    """The value of a word without quotes: empty, boolean, whole number, number or text."""
    word = text.lower()
    if word in EMPTY:
        return None
    if word in BOOLEANS:
        return BOOLEANS[word]
    if INTEGER.match(text):
        return int(text.replace("_", ""), 0)
    if word in FLOAT_NAMES:
        return float(FLOAT_NAMES[word])
    return float(text.replace("_", "")) if FLOAT.match(text) else text


# --- writing ---------------------------------------------------------------------------------------------------------

COMMENT_WIDTH = 100


def dump_config(config: Config, comments: bool = True, *, leave_out: Sequence[str] = ()) -> str:
    """The whole configuration as YAML, every value written out; with each key's text as a comment above it.

    leave_out: keys of the top that are not written, such as "decoding".
    """
    return "\n".join(_lines_of(config, "", comments, leave_out)) + "\n"


def save_config(config: Config, path: Path | str, *, leave_out: Sequence[str] = ()) -> None:
    """Write every effective value; `load_config` reads it back equal. UsageError when it cannot be written."""
    try:
        Path(path).write_text(dump_config(config, comments=False, leave_out=leave_out), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the configuration cannot be written: {error.strerror}", where=str(path),
                         fix="check that the folder exists, can be written and has space") from None


def _comment(text: str, indent: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= COMMENT_WIDTH:
            lines.append("")
        lines[-1] += f" {word}"
    return [f"{indent}#{line}" for line in lines if line]


def _lines_of(section: Section, parent: str, comments: bool, leave_out: Sequence[str] = ()) -> list[str]:
    """The lines of a section's keys; a blank line before each section of the top."""
    indent = "  " * (parent.count(".") + 1) if parent else ""
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        path, value = join(parent, name), getattr(section, name)
        if name in leave_out:
            continue
        if isinstance(value, Section):
            lines += [""] if not parent else []
            lines += _comment(field.description or "", indent) if comments else []
            lines += [f"{indent}{name}:", *_lines_of(value, path, comments)]
            continue
        item = sections().get(path) or keys().get(path)
        described = field.description or (keys()[path].description if path in keys() else "")
        lines += _comment(_explained(item, described), indent) if comments else []
        lines += _value_lines(name, value, indent)
    return lines


def _explained(item: SectionKey | Key | None, description: str) -> str:
    """The text of a key, with the words it accepts."""
    if isinstance(item, Key) and item.names:
        return f"{description} One of: {', '.join(item.names)}."
    if isinstance(item, SectionKey) and item.path in SHORTHANDS:
        return f"{description} A section with: {', '.join(item.names)}."
    return description


def _value_lines(name: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], Section):
        lines = [f"{indent}{name}:"]
        for corpus in value:
            given = {key: getattr(corpus, key) for key in corpus_keys() if getattr(corpus, key) is not None}
            written = [f"{key}: {flow(item)}" for key, item in given.items()]
            lines += [f"{indent}  {'- ' if number == 0 else '  '}{line}" for number, line in enumerate(written)]
        return lines
    return [f"{indent}{name}: {flow(list(value) if isinstance(value, tuple) else value)}"]


def flow(value: Any) -> str:
    """A plain value on one line of YAML; text is quoted unless it is a plain word."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(name)}: {flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str) and not (PLAIN_WORD.fullmatch(value) and plain_scalar(value) == value):
        return _scalar(value, '"')
    return _scalar(value, None)


def _scalar(value: Any, style: str | None) -> str:
    readable = isinstance(value, str) and value.isprintable()  # else escaped: YAML folds some line ends of Unicode
    text: str = yaml.safe_dump(value, default_style=style, allow_unicode=readable, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")
