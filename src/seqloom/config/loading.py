"""A configuration from its layers: defaults < preset < file < --set a.b=c < flags.

Relative paths in a configuration are relative to the working directory. A file with `format_version` was written by
`save_config`: it is complete, and the preset it names is not read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from seqloom.config.checks import check_config, check_decoding
from seqloom.config.keys import Key, corpus_keys, join, keys, kinds_with, nearest, sections
from seqloom.config.layers import Layer, Places, plain
from seqloom.config.problems import Problem, refusal, refuse, show
from seqloom.config.remarks import remarks
from seqloom.config.sections import FORMAT_VERSION, Config, DecodingConfig
from seqloom.config.yaml_files import (
    EMPTY,
    Document,
    dump_config,
    parse_yaml,
    plain_scalar,
    read_yaml_file,
    save_config,
)
from seqloom.errors import ConfigError

__all__ = ["change_decoding", "dump_config", "load_config", "load_preset", "preset_names", "preset_summary",
           "save_config", "update_config"]

PRESETS = Path(__file__).parents[1] / "presets"

ARGUMENTS = "the command line"
THE_CONFIGURATION = "the configuration"


def load_config(path: str | Path | None = None, *, preset: str | None = None, overrides: Sequence[str] = (),
                values: Mapping[str, Any] | None = None, values_from: str = ARGUMENTS) -> tuple[Config, list[str]]:
    """The configuration, and notes about it: aliases that were read, options without effect.

    Args:
        path: YAML file.
        preset: name of a preset; it wins over one that a file, `overrides` or `values` name.
        overrides: texts `a.b=c`, the value in YAML; a later one wins over an earlier one with the same key.
        values: nested mapping, such as from flags; wins over all else.
        values_from: what messages call the place of `values`.

    Raises:
        ConfigError: for everything that is wrong, all of it at once where it can be told apart; nothing is read but
            the configuration itself.
    """
    document = Document(None, {}) if path is None else read_yaml_file(Path(path))
    for bidirectional in (True, False):
        file = _file_layer(document, str(path), bidirectional)
        options = _override_layer(overrides, bidirectional)
        flags = Layer(bidirectional=bidirectional).add(values or {}, lambda path: values_from)
        name, notes = _chosen_preset(preset, [flags, options, file])
        complete = "format_version" in file.given
        layers = [file, options, flags]
        if name is not None and not complete:
            layers.insert(0, _preset_layer(name, bidirectional))
        tree, places = merged(layers)
        if complete and preset is not None:
            notes = [f"preset {preset} has no effect: {path} is a complete configuration, which says everything"]
        elif name is not None:
            tree["preset"] = name
        # What rnn_size means depends on encoder.bidirectional, which any layer may set: then all are read again.
        if tree.get("encoder", {}).get("bidirectional", True) is not False:
            break
    problems = [problem for layer in layers for problem in layer.problems]
    if tree.get("format_version", FORMAT_VERSION) == FORMAT_VERSION:  # else nothing more is known to be wrong
        refuse(problems)
    config = validated(tree, places)
    check_config(config, places)
    notes += [note for layer in layers for note in layer.notes]
    return config, [*dict.fromkeys(notes), *remarks(config)]


def update_config(config: Config, *, overrides: Sequence[str] = (),
                  values: Mapping[str, Any] | None = None) -> tuple[Config, list[str]]:
    """An existing configuration with `overrides`, then `values`, on top; see `load_config`."""
    base = Layer().add(config.model_dump(mode="json"), lambda path: THE_CONFIGURATION)
    options = _override_layer(overrides, config.encoder.bidirectional)
    flags = Layer(bidirectional=config.encoder.bidirectional).add(values or {}, lambda path: ARGUMENTS)
    layers = [base, options, flags]
    refuse([problem for layer in layers for problem in layer.problems])
    tree, places = merged(layers)
    changed = validated(tree, places)
    check_config(changed, {path: place for path, place in places.items() if place != THE_CONFIGURATION})
    return changed, [*dict.fromkeys(note for layer in layers for note in layer.notes)]


def change_decoding(decoding: DecodingConfig, changes: Mapping[str, Any], *, attention: bool = True) -> DecodingConfig:
    """Decoding options with changes, such as beam_size=3; aliases are read too. Raises ConfigError.

    attention: whether the model has any, which some options need.
    """
    base = Layer().add({"decoding": decoding.model_dump(mode="json")}, lambda path: "")
    flags = Layer().add({"decoding": dict(changes)}, lambda path: "")
    refuse([*base.problems, *flags.problems], "the decoding options")
    changed = validated(*merged([base, flags])).decoding
    check_decoding(changed, attention=attention)
    return changed


# --- presets ---------------------------------------------------------------------------------------------------------


def preset_names() -> list[str]:
    """The presets that come with seqloom."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_summary(name: str) -> str:
    """The first line of a preset: what it is for."""
    return preset_path(name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def preset_path(name: str) -> Path:
    """The file of a preset. ConfigError naming the nearest for one that does not exist."""
    if name not in preset_names():
        found = nearest(name, preset_names())
        meant = f"; did you mean {found[0]}?" if found else ""
        raise ConfigError(f"unknown preset '{name}'{meant}", fix=f"the presets are: {', '.join(preset_names())}")
    return PRESETS / f"{name}.yaml"


def load_preset(name: str) -> dict[str, Any]:
    """The nested values of a preset, as its file has them. Raises ConfigError for an unknown one."""
    values = read_yaml_file(preset_path(name)).value
    assert isinstance(values, dict)
    return values


def _preset_layer(name: str, bidirectional: bool) -> Layer:
    path = preset_path(name)
    return _file_layer(read_yaml_file(path), f"preset {path.name}", bidirectional)


def _chosen_preset(preset: str | None, layers: Sequence[Layer]) -> tuple[str | None, list[str]]:
    """(name, notes): the strongest of the presets that are named."""
    named = [layer.given["preset"] for layer in layers if "preset" in layer.given]
    name = preset if preset is not None else named[0].value if named else None
    lost = [given for given in named if given.value not in (name, None)]
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"preset: given {show(name)}, expected one of: {', '.join(preset_names())}",
                          fix="name one preset", where=named[0].where)
    used = "no preset" if name is None else f"preset {name}"
    return name, [f"{used} is used instead of {given.value} ({given.where})" for given in lost]


# --- layers ----------------------------------------------------------------------------------------------------------


def _file_layer(document: Document, name: str, bidirectional: bool) -> Layer:
    return Layer(bidirectional=bidirectional).add(
        document.value, lambda path: f"{name}:{document.lines.get(path, 0)}".removesuffix(":0"))


def _override_layer(overrides: Sequence[str], bidirectional: bool) -> Layer:
    layer = Layer(bidirectional=bidirectional)
    for text in overrides:
        where = f"--set {text}"
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            layer.problems.append(Problem(f"given '{text}', expected key=value",
                                          "write it as in --set training.epochs=20", where))
            continue
        layer.add({name: override_value(name, value.strip(), where)}, _constant(where))
    return layer


def _constant(where: str) -> Places:
    return lambda path: where


def override_value(name: str, text: str, where: str) -> Any:
    """The value of `--set name=text`: YAML, but a key that holds only text takes the words as they are."""
    key = keys().get(name)
    only_text = key is not None and key.accepts(str) and not key.accepts(int)
    if text[:1] in ("'", '"') or (text[:1] in ("[", "{") and not only_text):
        return parse_yaml(text, where).value
    if only_text and text not in EMPTY[1:]:
        return text
    return plain_scalar(text)


def merged(layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[str, str]]:
    """(nested values, where each key was given): a later layer wins, key by key; lists are replaced as a whole."""
    tree: dict[str, Any] = {}
    places: dict[str, str] = {}
    for layer in layers:
        for path, given in layer.given.items():
            *parents, last = path.split(".")
            section = tree
            for name in parents:
                if not isinstance(section.get(name), dict):
                    section[name] = {}
                section = section[name]
            if given.value != {}:
                section[last] = given.value
            elif not isinstance(section.get(last), dict):  # a section that is there: what it has stays
                section[last] = {}
            places[path] = given.where
        places.update(layer.places)
    return tree, places


# --- values ----------------------------------------------------------------------------------------------------------


def validated(tree: Mapping[str, Any], places: Mapping[str, str]) -> Config:
    """The configuration of canonical values. ConfigError says what was given, what was expected, and where."""
    try:
        content = json.dumps(plain(tree), ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError):
        raise refusal(list(_unwritable(plain(tree), "", places))) from None
    try:
        return Config.model_validate_json(content, strict=True)
    except ValidationError as error:
        found: dict[str, Problem] = {}
        for details in error.errors(include_url=False):
            path, problem = _problem(details, places)
            found.setdefault(path, problem)
        if "format_version" in found:
            found = {"format_version": found["format_version"]}
        raise refusal(list(found.values())) from None


def _unwritable(value: Any, path: str, places: Mapping[str, str]) -> Iterator[Problem]:
    """Values that no YAML file could hold: objects, and text with half a surrogate pair."""
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unwritable(item, join(path, str(name)), places)
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield Problem(f"{path}: given {value!a}, which is not Unicode text", "write it in UTF-8",
                          _place(path, places))
    elif not isinstance(value, bool | int | float | None):
        yield Problem(f"{path}: given {value!r} ({type(value).__name__}), expected a plain value",
                      "give text, numbers, booleans, lists or mappings", _place(path, places))


def _place(path: str, places: Mapping[str, str]) -> str:
    """Where a path was given, or something in it, or the innermost section around it that was."""
    while path and path not in places:
        inside = [place for known, place in places.items() if known.startswith(f"{path}.")]
        if inside:
            return inside[0]
        path = path.rpartition(".")[0]
    return places.get(path, "")


def _problem(details: ErrorDetails, places: Mapping[str, str]) -> tuple[str, Problem]:
    """(path of the key, problem) of one finding of pydantic."""
    parts, kind = _location(details)
    key = None
    path = ""
    for end in range(len(parts), 0, -1):
        path = ".".join(parts[:end])
        key = _known(parts[:end])
        if key is not None or path in sections():
            break
    where = _place(path, places)
    if details["type"] == "extra_forbidden":
        section, kinds = kinds_with(path)
        named = f"{section}.kind: {', '.join(kinds)}"
        return path, Problem(f"{path} is given, but {section}.kind is {kind}, which has no such option ({named} has)",
                             f"leave it out, or set {section}.kind", where)
    if details["type"] == "missing" and key is not None and key.required:
        return path, Problem(f"{path} is missing, expected {key.expected}", _fix(path, key), where)
    if path == "format_version":
        return path, Problem(f"format_version is {show(details['input'])}, this seqloom reads {FORMAT_VERSION}",
                             "install the version of seqloom that wrote the file", where)
    expected = key.expected if key is not None else "a mapping with path, or source and target"
    if details["type"] == "union_tag_invalid":
        details["input"] = details["input"]["kind"]
    found = nearest(str(details["input"]), key.names) if key is not None else []
    fix = f"did you mean {found[0]}?" if found else _fix(path, key)
    return path, Problem(f"{path}: given {_given(details['input'])}, expected {expected}", fix, where)


def _location(details: ErrorDetails) -> tuple[list[str], str]:
    """(names of the path, kind) of a finding. Inside a section of several kinds pydantic names the kind too."""
    first, *rest = [str(part) for part in details["loc"]]
    if details["type"] == "union_tag_invalid":
        return [first, "kind"], ""
    if rest and first in sections() and len(sections()[first].models) > 1:
        return [first, *rest[1:]], rest[0]
    return [first, *rest], ""


def _fix(path: str, key: Key | None) -> str:
    return "correct it" if key is None else f"correct it; {path} is: {key.description}"


def _given(value: Any) -> str:
    """What was given, quoted; of text that reads like something else, that it is text."""
    reads_otherwise = isinstance(value, str) and isinstance(plain_scalar(value), bool | int | float)
    return show(value) + (" (text)" if reads_otherwise else "")


def _known(parts: Sequence[str]) -> Key | None:
    """The key of a path, also inside a corpus (data.train.0.weight)."""
    if len(parts) > 3 and parts[0] == "data" and parts[1] in ("train", "valid"):
        return corpus_keys().get(parts[3])
    return keys().get(".".join(parts))
