"""Every key of the configuration by its dotted path, and what it expects, read off `sections.py`.

Messages, aliases, the writer and `docs/config.md` all use this one walk over the sections.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from seqloom.config.names import Listed
from seqloom.config.sections import Config, CorpusConfig, Section

ROLES = ("source", "target", "features", "language")
COLUMN = "a column: a number from 1, or a name in the header"

# A section written as one value sets this key of it: `tokenizer: jamo` means `tokenizer: {kind: jamo}`.
SHORTHANDS = {
    "source": "kind",
    "source.tokenizer": "kind",
    "source.pretrained": "path",
    "source.features": "column",
    "bridge": "kind",
    "decoder.attention": "score",
    "head": "kind",
    "head.tokenizer": "kind",
    "head.pretrained": "path",
    "training.schedule": "kind",
    "training.teacher_forcing": "ratio",
    "training.objective": "kind",
}

# Suggestions differ from what was typed in at most this share of its last name's letters.
TOLERANCE = 0.4
ELSEWHERE = 1.25  # what another section costs, in letters


class Key(NamedTuple):
    """A key that holds a value. `names` are the words it accepts, where it accepts only words from a list."""

    path: str
    field: FieldInfo

    @property
    def description(self) -> str:
        return self.field.description or ""

    @property
    def default(self) -> Any:
        """The default; `PydanticUndefined` for a required key."""
        return self.field.default

    @property
    def required(self) -> bool:
        return self.field.default is PydanticUndefined

    @property
    def names(self) -> tuple[str, ...]:
        return _names(self.field.annotation, self.field.metadata)

    @property
    def expected(self) -> str:
        """What the key accepts, in words."""
        return _expected(self.field.annotation, self.field.metadata)

    def accepts(self, kind: type) -> bool:
        """True when a value may be of this plain type."""
        return kind in [base for base, _ in _alternatives(self.field.annotation, [])]


class SectionKey(NamedTuple):
    """A key that holds a section. `models`: by kind, where its kind decides which section it is; else one, under ""."""

    path: str
    models: dict[str, type[Section]]
    field: FieldInfo
    optional: bool

    @property
    def names(self) -> list[str]:
        """The keys inside, of every kind."""
        return list(dict.fromkeys(name for model in self.models.values() for name in model.model_fields))


def join(parent: str, name: str) -> str:
    """The path of `name` in the section `parent` ("" is the top)."""
    return f"{parent}.{name}" if parent else name


def _sections_of(annotation: Any) -> tuple[dict[str, type[Section]], bool]:
    """(sections by kind, may it be empty) of a field's annotation; no sections for a plain value."""
    found = [base for base, _ in _alternatives(annotation, []) if isinstance(base, type) and issubclass(base, Section)]
    if len(found) == 1:
        return {"": found[0]}, type(None) in typing.get_args(annotation)
    return {section.model_fields["kind"].default: section for section in found}, False


def _walk(model: type[Section], parent: str) -> Iterator[Key | SectionKey]:
    for name, field in model.model_fields.items():
        path = join(parent, name)
        models, optional = _sections_of(field.annotation)
        if not models:
            yield Key(path, field)
            continue
        yield SectionKey(path, models, field, optional)
        if len(models) > 1:
            yield Key(join(path, "kind"), _kind_field(models, field))
        for kind, section in models.items():
            yield from (item for item in _walk(section, path) if not kind or item.path != join(path, "kind"))


def _kind_field(models: dict[str, type[Section]], field: FieldInfo) -> FieldInfo:
    """The key that says which of several sections it is."""
    described = "; ".join(f"{kind}: {str(model.__doc__).strip().partition('.')[0]}" for kind, model in models.items())
    annotation: Any = Literal[tuple(models)]
    return FieldInfo(annotation=annotation, default=field.default.kind, description=f"{described}.")


@cache
def sections() -> dict[str, SectionKey]:
    """Path → section, in the order of `sections.py`, without the top; the first where several kinds have one."""
    found: dict[str, SectionKey] = {}
    for item in _walk(Config, ""):
        if isinstance(item, SectionKey):
            found.setdefault(item.path, item)
    return found


@cache
def keys() -> dict[str, Key]:
    """Path → key, in the order of `sections.py`; the first where several kinds have one (a test holds that these are
    of one type). The inside of a corpus is `corpus_keys`."""
    found: dict[str, Key] = {}
    for item in _walk(Config, ""):
        if isinstance(item, Key):
            found.setdefault(item.path, item)
    return found


@cache
def keys_of(path: str, kind: str) -> dict[str, Key | SectionKey]:
    """Path → key or section of everything that this kind of the section `path` has of its own; {} for no such kind."""
    model = sections()[path].models.get(kind)
    return {} if model is None else {item.path: item for item in _walk(model, path)}


def kinds_with(path: str) -> tuple[str, list[str]]:
    """(section, kinds) of the section whose kind decides whether there is such a key; ("", []) where none does."""
    top = path.partition(".")[0]
    section = sections().get(top)
    if section is None or len(section.models) < 2:
        return "", []
    return top, [kind for kind in section.models if path in keys_of(top, kind)]


@cache
def corpus_keys() -> dict[str, Key]:
    """Name → key of one entry of data.train or data.valid."""
    return {item.path: item for item in _walk(CorpusConfig, "") if isinstance(item, Key)}


@cache
def unique_names() -> dict[str, str]:
    """Last name → path of every key and section whose last name no other has, so that the name alone says which."""
    paths: dict[str, list[str]] = {}
    for path in (*keys(), *sections()):
        paths.setdefault(path.rpartition(".")[2], []).append(path)
    return {name: found[0] for name, found in paths.items() if len(found) == 1}


def value_at(config: Config, path: str) -> Any:
    """The value of a key; None where a section on the way is empty, or this kind has no such key."""
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def default_at(config: Config, path: str) -> Any:
    """The default of a key in the sections of this configuration; None where there is no such key."""
    parent, _, last = path.rpartition(".")
    section = value_at(config, parent) if parent else config
    field = type(section).model_fields.get(last) if isinstance(section, Section) else None
    return None if field is None else field.default


# --- what a key expects ----------------------------------------------------------------------------------------------


def _alternatives(annotation: Any, metadata: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Each plain type of a union with its bounds; None is left out."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            if part is not type(None):
                yield from _alternatives(part, metadata)
    elif typing.get_origin(annotation) is Annotated:
        base, *notes = typing.get_args(annotation)
        bounds = [bound for note in notes for bound in (note.metadata if isinstance(note, FieldInfo) else [note])]
        yield from _alternatives(base, [*bounds, *metadata])
    else:
        yield annotation, metadata


def _names(annotation: Any, metadata: list[Any]) -> tuple[str, ...]:
    for base, bounds in _alternatives(annotation, metadata):
        if typing.get_origin(base) is Literal and all(isinstance(name, str) for name in typing.get_args(base)):
            return typing.get_args(base)
        for bound in bounds:
            if isinstance(bound, Listed):
                return bound.names()
    return ()


def _range(bounds: list[Any]) -> str:
    """The bounds of a number in words, with a space before them."""
    low = high = ""
    for bound in bounds:
        match bound:
            case annotated_types.Gt(gt=limit):
                low = f" above {limit:g}"
            case annotated_types.Ge(ge=limit):
                low = f" from {limit:g}"
            case annotated_types.Lt(lt=limit):
                high = f" and below {limit:.12g}"
            case annotated_types.Le(le=limit):
                high = f" to {limit:g}"
    return low + high


def _expected(annotation: Any, metadata: list[Any]) -> str:
    names = _names(annotation, metadata)
    alternatives = list(_alternatives(annotation, metadata))
    if names:
        words = [f"one of: {', '.join(names)}"]
    elif [base for base, _ in alternatives] == [int, str]:
        words = [COLUMN]
    else:
        words = [_plain(base, bounds) for base, bounds in alternatives]
    return " or ".join([*words, *(["empty"] if type(None) in typing.get_args(annotation) else [])])


def _plain(base: Any, bounds: list[Any]) -> str:
    origin, inner = typing.get_origin(base), typing.get_args(base)
    if base is bool:
        return "true or false"
    if base is int:
        return "a whole number" + (" from 1" if annotated_types.Gt(0) in bounds else _range(bounds))
    if base is float:
        return "a number" + _range(bounds)
    if origin is Literal:
        return " or ".join(str(value) for value in inner)
    if origin is tuple:
        return f"a list of {len(inner)} values, each {_expected(inner[0], [])}"
    if origin is dict:
        return f"a mapping from {', '.join(ROLES)} to {COLUMN}"
    if origin is list and inner[0] is not CorpusConfig:
        return f"a list of values, each {_expected(inner[0], [])}"
    if origin is list:
        return f"a path, a list of paths, or a list of mappings with {', '.join(corpus_keys())}"
    return "text" + (" of at least one character" if annotated_types.MinLen(1) in bounds else "")


# --- the nearest key -------------------------------------------------------------------------------------------------


def nearest(given: str, candidates: Iterable[str], *, always: bool = False) -> list[str]:
    """The candidates that differ least from what was given, at most three; none when all differ too much.

    Distance: letters left out, added, changed or swapped. The last name alone may match too, at the price of a little
    more than a letter, so that a good name in a wrong section is found. `always` returns the best however far it is.
    """
    from rapidfuzz.distance import OSA

    def distance(candidate: str) -> float:
        whole = OSA.distance(given.lower(), candidate.lower())
        last = OSA.distance(given.rpartition(".")[2].lower(), candidate.rpartition(".")[2].lower())
        return float(min(whole, last + ELSEWHERE))

    ranked = sorted((distance(candidate), candidate) for candidate in candidates)
    if not ranked:
        return []
    best = ranked[0][0]
    if not always and best > max(1 + ELSEWHERE, TOLERANCE * len(given.rpartition(".")[2])):
        return []
    return [candidate for score, candidate in ranked if score <= best][:3]
