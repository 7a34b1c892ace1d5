"""One layer of a configuration (a preset, a file, the --set options, the flags), brought to canonical keys.

Aliases, shorthands and other words for values are resolved here, and unknown keys found, each with its place. What the
values must be, and which layer wins, is `loading.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from seqloom.config.aliases import (
    ALIASES,
    CORPUS_ALIASES,
    HINTS,
    ROLE_ALIASES,
    SECTION_ALIASES,
    VALUE_REMARKS,
    VALUES,
    Alias,
    Instead,
)
from seqloom.config.keys import (
    ROLES,
    SHORTHANDS,
    corpus_keys,
    join,
    keys,
    nearest,
    sections,
    unique_names,
)
from seqloom.config.problems import Problem, show

# Says where a key stands: given the path as it was written, "config.yaml:3" or "--set a.b=c".
Places = Callable[[str], str]


class Given(NamedTuple):
    """A value of a canonical key: the name it was given under, and where."""

    value: Any
    name: str
    where: str


class Layer:
    """Canonical key → what was given, in order; with what went wrong and what is to be said about it.

    places: where each part of a list stands, by path (data.train.0.weight). bidirectional: whether the encoder will
    be, which decides what `rnn_size` means.
    """

    def __init__(self, *, bidirectional: bool = True) -> None:
        self.bidirectional = bidirectional
        self.given: dict[str, Given] = {}
        self.places: dict[str, str] = {}
        self.notes: list[str] = []
        self.problems: list[Problem] = []

    def add(self, values: Any, places: Places) -> Layer:
        """Take in a nested mapping (or, for an empty file, None)."""
        if values is not None and not isinstance(values, Mapping):
            self.problems.append(Problem(f"given {show(values)}, expected a mapping of sections",
                                         f"write `training:` and below it `epochs: 20`; the sections are: "
                                         f"{', '.join(top_names())}", places("").removesuffix(":0")))
            return self
        for name, value in (values or {}).items():
            self._key("", str(name), plain(value), str(name), places)
        return self

    # --- keys ---

    def _key(self, parent: str, name: str, value: Any, written: str, places: Places) -> None:
        """A key `name` of the section `parent`; `written` is its path as it was given."""
        if "." in name and name not in ALIASES:
            first, _, rest = name.partition(".")
            beginning = written[:len(written) - len(rest) - 1]
            return self._key(parent, first, {rest: value}, beginning, lambda path: places(written))
        path, where = join(parent, name), places(written)
        if path in sections():
            self._section(path, value, written, places)
        elif path in keys():
            self._leaf(path, value, written, places)
        elif not parent and name in SECTION_ALIASES and (isinstance(value, Mapping) or name not in ALIASES):
            self._note(where, written, SECTION_ALIASES[name])
            self._section(SECTION_ALIASES[name], value, written, places)
        elif alias := self._alias(parent, name):
            self._apply(alias, parent, value, written, where)
        elif not parent and name in unique_names():
            known = unique_names()[name]
            self._note(where, written, known)
            self._key(known.rpartition(".")[0], name, value, written, places)
        else:
            self.problems.append(unknown_key(parent, name, value, written, where))
        return None

    def _section(self, path: str, value: Any, written: str, places: Places) -> None:
        if isinstance(value, Mapping):
            for name, item in value.items():
                self._key(path, str(name), item, join(written, str(name)), places)
            if not value and sections()[path].optional:  # there, with all of its defaults
                self._put(path, Given({}, written, places(written)))
        elif value is None and sections()[path].optional:
            self._put(path, Given(None, written, places(written)))
        elif value is not None and path in SHORTHANDS and not isinstance(value, list):
            self._leaf(join(path, SHORTHANDS[path]), value, written, places)
        elif value is not None:
            names = ", ".join(sections()[path].names)
            self.problems.append(Problem(f"{path}: given {show(value)}, expected a section with the keys {names}",
                                         f"write the keys of {path} below it, indented", places(written)))

    def _leaf(self, path: str, value: Any, written: str, places: Places) -> None:
        where = places(written)
        for part, place in self._parts(value, written, places):
            self.places[path + part] = place
        if path in ("data.train", "data.valid"):
            value = self._corpora(path, value, written, places)
        if path == "data.columns" and isinstance(value, Mapping):
            roles = self._roles(value, written, places)
            for role, (column, name) in roles.items():
                self._put(join(path, role), Given(column, name, places(name)))
            return
        replaced = self._value(path, value, where)
        if isinstance(replaced, Instead):
            path, replaced = replaced.key, replaced.value
        self._put(path, Given(replaced, written, where))

    def _parts(self, value: Any, written: str, places: Places) -> Iterator[tuple[str, str]]:
        """(path below, place) of everything inside a list."""
        items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, Mapping) else ()
        for name, item in items:
            inside = join(written, str(name))
            yield f".{name}", places(inside)
            yield from ((f".{name}{part}", place) for part, place in self._parts(item, inside, places))

    def _put(self, path: str, given: Given) -> None:
        before = self.given.pop(path, None)
        if before is not None and before.name != given.name:
            self.problems.append(Problem(
                f"'{before.name}' and '{given.name}' are both given, and both set {path}",
                f"keep one of them, preferably {path}", given.where or before.where))
        self.given[path] = given

    # --- aliases ---

    def _alias(self, parent: str, name: str) -> Alias | None:
        """The alias of that name, with those of its keys that lie in the section."""
        alias = ALIASES.get(name.replace("-", "_"))
        if alias is None or not parent:
            return alias
        inside = tuple(key for key in alias.keys if key.startswith(f"{parent}."))
        return alias._replace(keys=inside) if inside else None

    def _apply(self, alias: Alias, parent: str, value: Any, written: str, where: str) -> None:
        if isinstance(value, Hashable) and value in alias.values:
            value = alias.values[value]
        said = []
        for key in alias.keys:
            item = value
            accepts_flag = key in keys() and keys()[key].accepts(bool)
            if accepts_flag and type(value) is int and value in (0, 1):
                item = bool(value)  # OpenNMT-py writes `input_feed: 1`
            if alias.both_directions and key == "encoder.hidden_size" and self.bidirectional:
                item = self._half(value, written, where)
            self._leaf(key, item, written, lambda path: where)
            said.append(f"{key}: {show(item)}")
        for key, item in alias.also.items():
            self._put(key, Given(item, written, where))
            said.append(f"{key}: {show(item)}")
        halved = self.bidirectional or not alias.both_directions
        self._note(where, f"{written}: {show(value)}", " and ".join(said), alias.remark if halved else "")

    def _half(self, value: Any, written: str, where: str) -> Any:
        """The size of one direction, of a size that counts both."""
        if type(value) is not int:
            return value
        if value % 2:
            self.problems.append(Problem(
                f"{written}: given {value}, expected an even number: it counts both directions of the encoder",
                "give an even number, or set encoder.hidden_size and decoder.hidden_size", where))
        return value // 2

    def _note(self, where: str, given: str, meant: str, remark: str = "") -> None:
        subject = where if where.startswith("--set") else f"{where}: {given}" if where else given
        self.notes.append(f"{subject} is read as {meant}" + (f" ({remark})" if remark else ""))

    # --- values ---

    def _value(self, path: str, value: Any, where: str) -> Any:
        """The value in our words: other names translated, names in any case, 64.0 as a whole number."""
        key = keys().get(path)
        if key is None:
            return value
        if isinstance(value, float) and value.is_integer() and key.accepts(int) and not key.accepts(float):
            return int(value)
        if key.accepts(bool) or not isinstance(value, Hashable) or value in key.names:
            return value
        word = value.lower() if isinstance(value, str) else value
        translated = VALUES.get(path, {}).get(word)
        if translated is None:
            translated = next((name for name in key.names if name.lower() == word), None)
        if translated is None:
            return value
        target = translated if isinstance(translated, Instead) else Instead(path, translated)
        self._note(where, f"{path}: {show(value)}", f"{target.key}: {show(target.value)}",
                   VALUE_REMARKS.get((path, str(word)), ""))
        return translated

    def _corpora(self, path: str, value: Any, written: str, places: Places) -> Any:
        """A path, a list of paths, a mapping or a list of mappings → a list of mappings."""
        if value is None:
            return []
        listed = isinstance(value, list)
        corpora = []
        for index, corpus in enumerate(value if listed else [value]):
            name = join(written, str(index)) if listed else written
            if isinstance(corpus, str):
                corpora.append({"path": corpus})
            elif isinstance(corpus, Mapping):
                corpora.append(self._corpus(join(path, str(index)), corpus, name, places))
            else:
                corpora.append(corpus)
        return corpora

    def _corpus(self, path: str, corpus: Mapping[str, Any], written: str, places: Places) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for name, value in corpus.items():
            meant = name if name in corpus_keys() else CORPUS_ALIASES.get(name, name)
            inside = join(written, name)
            where = places(inside)
            if meant not in corpus_keys():
                self.problems.append(_unknown_word(f"unknown key '{inside}'", name, corpus_keys(), path, where))
                continue
            if meant in read:
                self.problems.append(Problem(f"'{meant}' is given twice in {path}, once as '{name}'",
                                             "keep one of them", where))
            if meant == "columns" and isinstance(value, Mapping):
                value = {role: column for role, (column, _) in self._roles(value, inside, places).items()}
            if meant != name:
                self._note(where, inside, join(path, meant))
            read[meant] = value
            self.places[join(path, meant)] = where
        return read

    def _roles(self, columns: Mapping[str, Any], written: str, places: Places) -> dict[str, tuple[Any, str]]:
        """Role → (column, name it was given under)."""
        roles: dict[str, tuple[Any, str]] = {}
        for name, column in columns.items():
            role, inside = ROLE_ALIASES.get(name, name), join(written, name)
            if role not in ROLES:
                self.problems.append(_unknown_word(f"unknown role '{inside}'", name, ROLES, written, places(inside)))
            elif role in roles:
                self.problems.append(Problem(f"'{inside}' and '{roles[role][1]}' are both given, and mean the same",
                                             f"keep one of them, preferably {role}", places(inside)))
            else:
                if role != name:
                    self._note(places(inside), inside, role)
                roles[role] = (column, inside)
        return roles


def top_names() -> list[str]:
    """The keys at the top of a configuration."""
    return list(dict.fromkeys(path.partition(".")[0] for path in (*sections(), *keys())))


def plain(value: Any) -> Any:
    """Python's values as YAML has them: tuples as lists, paths as text; anything else as it is."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def unknown_key(parent: str, name: str, value: Any, written: str, where: str) -> Problem:
    """The problem of a key that does not exist, with the nearest that does."""
    words, given = [name], written
    while isinstance(value, Mapping) and len(value) == 1:  # --set trainng.epochs=3: the whole path was one word
        [(inner, value)] = value.items()
        words.append(inner)
        given = join(given, inner)
    for word in words:
        if word in HINTS:
            return Problem(f"unknown key '{given}'", HINTS[word], where)
    known = {path: path for path in (*keys(), *sections())}
    for alias in ALIASES.values():
        known.update({join(key.rpartition(".")[0], alias.name): key for key in alias.keys})
    found = list(dict.fromkeys(known[path] for path in nearest(given, known)))
    if found:
        return Problem(f"unknown key '{given}'; did you mean {' or '.join(found)}?", f"write {found[0]}", where)
    inside = parent if parent in sections() else ""
    names = sections()[inside].names if inside else top_names()
    return Problem(f"unknown key '{given}'; the nearest is {known[nearest(given, known, always=True)[0]]}",
                   f"the keys {'of ' + inside if inside else 'at the top'} are: {', '.join(names)}", where)


def _unknown_word(message: str, name: str, known: Iterable[str], inside: str, where: str) -> Problem:
    """The problem of a word that is none of a few."""
    found = nearest(name, known)
    meant = f"; did you mean {found[0]}?" if found else ""
    return Problem(message + meant, f"the keys of {inside} are: {', '.join(known)}", where)
