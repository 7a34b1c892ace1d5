"""Layers, presets, overrides, messages, and configurations that read back equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqloom.config import (
    Config,
    change_decoding,
    load_config,
    load_preset,
    preset_names,
    preset_summary,
    save_config,
    update_config,
)
from seqloom.config.sections import CharactersConfig, CorpusConfig, DecodingConfig
from seqloom.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# --- which layer wins ------------------------------------------------------------------------------------------------


def test_nothing_given_is_the_defaults() -> None:
    assert load_config() == (Config(), [])


def test_later_layers_win(tmp_path: Path) -> None:
    default = Config().training.epochs
    preset = load_preset("g2p")["training"]["epochs"]
    file = write(tmp_path, "training: {epochs: 101}\n")
    flags = {"training": {"epochs": 103}}
    assert default != preset
    assert load_config()[0].training.epochs == default
    assert load_config(preset="g2p")[0].training.epochs == preset
    assert load_config(file, preset="g2p")[0].training.epochs == 101
    assert load_config(file, preset="g2p", overrides=["training.epochs=102"])[0].training.epochs == 102
    assert load_config(file, preset="g2p", overrides=["training.epochs=102"], values=flags)[0].training.epochs == 103
    assert load_config(overrides=["training.epochs=1", "training.epochs=2"])[0].training.epochs == 2


def test_sections_merge_key_by_key_and_lists_are_replaced(tmp_path: Path) -> None:
    file = write(tmp_path, "preset: inflect\ndata:\n  columns: {target: 4}\n  train: [a.tsv, b.tsv]\n"
                           "source:\n  features:\n    separator: ','\n")
    config, notes = load_config(file, overrides=["data.train=[c.tsv]"])
    assert notes == []
    assert config.preset == "inflect"
    assert config.data.columns == {"source": 1, "target": 4}
    assert [corpus.path for corpus in config.data.train] == ["c.tsv"]
    assert config.source.features is not None
    assert (config.source.features.column, config.source.features.separator) == (2, ",")


def test_null_empties_a_section_and_a_key() -> None:
    config, _ = load_config(preset="inflect", overrides=["source.features=null", "training.patience=~"])
    assert config.source.features is None
    assert config.training.patience is None
    again, _ = load_config(preset="inflect", overrides=["source.features=null", "source.features.column=5"])
    assert again.source.features is not None
    assert (again.source.features.column, again.source.features.mode) == (5, "symbols")


def test_a_section_without_keys_changes_nothing(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "training:\ndata: {}\n"))[0] == Config()


def test_an_empty_mapping_gives_a_section_that_may_be_missing() -> None:
    """With its defaults, or with what an earlier layer says."""
    for given in ({"overrides": ["source.characters={}"]}, {"values": {"source": {"characters": {}}}}):
        config, _ = load_config(**given)  # type: ignore[arg-type]
        assert config.source.characters == CharactersConfig()
    again, _ = load_config(values={"source": {"characters": {"max_length": 9}}}, overrides=["source.characters={}"])
    assert again.source.characters == CharactersConfig(max_length=9)
    both, _ = load_config(overrides=["source.characters={}", "source.characters.max_length=9"])
    assert both.source.characters == CharactersConfig(max_length=9)
    with pytest.raises(ConfigError, match=r"source.features.column is missing, expected a column"):
        load_config(overrides=["source.features={}"])


def test_the_strongest_preset_is_used(tmp_path: Path) -> None:
    file = write(tmp_path, "preset: translate\n")
    assert load_config(file) == (load_config(preset="translate")[0], [])
    config, notes = load_config(file, preset="g2p")
    assert config == load_config(preset="g2p")[0]
    assert notes == [f"preset g2p is used instead of translate ({file}:1)"]
    assert load_config(file, overrides=["preset=dates"])[0].preset == "dates"
    assert load_config(file, overrides=["preset=dates"], values={"preset": "inflect"})[0].preset == "inflect"
    config, notes = load_config(file, overrides=["preset=null"])
    assert config == Config()
    assert notes == [f"no preset is used instead of translate ({file}:1)"]


def test_dotted_keys_in_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, "training.epochs: 4\ntraining.schedule: {kind: constant}\n"
                           "decoder:\n  attention.score: concat\n")
    config, notes = load_config(file)
    assert (config.training.epochs, config.training.schedule.kind, config.decoder.attention.score) == (
        4, "constant", "concat")
    assert notes == []


def test_one_value_for_a_section() -> None:
    config, notes = load_config(values={
        "source": {"tokenizer": "jamo", "features": 3, "pretrained": "vectors.vec"}, "bridge": "zero",
        "head": "sequence", "decoder": {"attention": "concat"},
        "training": {"schedule": "constant", "teacher_forcing": 0.5}})
    assert config.source.tokenizer.kind == "jamo"
    assert config.source.features is not None
    assert config.source.pretrained is not None
    assert (config.source.features.column, config.source.pretrained.path) == (3, "vectors.vec")
    assert (config.bridge.kind, config.decoder.attention.score) == ("zero", "concat")
    assert (config.training.schedule.kind, config.training.teacher_forcing.ratio) == ("constant", 0.5)
    assert notes == []


@pytest.mark.parametrize(("given", "expected"), [
    ("a.tsv", [CorpusConfig(path="a.tsv")]),
    (Path("a.tsv"), [CorpusConfig(path="a.tsv")]),
    (["a.tsv", "b.tsv"], [CorpusConfig(path="a.tsv"), CorpusConfig(path="b.tsv")]),
    (("a.tsv",), [CorpusConfig(path="a.tsv")]),
    ({"path": "a.tsv", "weight": 2}, [CorpusConfig(path="a.tsv", weight=2.0)]),
    ([{"source": "a.en", "target": "a.de"}, "b.tsv"],
     [CorpusConfig(source="a.en", target="a.de"), CorpusConfig(path="b.tsv")]),
    ([{"path": "a.tsv", "columns": {"src": 2, "trg": "form"}}],
     [CorpusConfig(path="a.tsv", columns={"source": 2, "target": "form"})]),
    (None, []),
])
def test_forms_of_data(given: Any, expected: list[CorpusConfig]) -> None:
    assert load_config(values={"data": {"train": given}})[0].data.train == expected


# --- --set -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "expected"), [
    ("training.learning_rate=1e-3", 0.001),
    ("training.learning_rate = 5", 5.0),
    ("training.epochs=1e2", 100),
    ("training.betas=[0.9, 0.98]", (0.9, 0.98)),
    ("training.max_minutes=null", None),
    ("training.device=cuda:1", "cuda:1"),
    ("training.tensorboard=yes", True),
    ("source.features.separator=|", "|"),
    ("source.features.separator==", "="),
    ("source.features.separator=,", ","),
    ("source.features.separator=1", "1"),
    ("source.features.separator='; '", "; "),
    ("source.pretrained.path=1984", "1984"),
    ("source.pretrained.path=[a].vec", "[a].vec"),
    ("data.columns={source: lemma, target: 3}", {"source": "lemma", "target": 3}),
    ("data.columns.source=lemma", {"source": "lemma"}),
])
def test_override_values(text: str, expected: Any) -> None:
    also = ["source.features.column=7"] if "features" in text else []
    value: Any = load_config(overrides=[text, *also])[0]
    for name in text.partition("=")[0].strip().split("."):
        if isinstance(value, dict):
            return
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("text", "message"), [
    ("training.epochs", r"--set training.epochs: given 'training.epochs', expected key=value"),
    ("=3", r"given '=3', expected key=value\n  fix: write it as in --set training.epochs=20"),
    ("training.betas=[1", r"--set training.betas=\[1:1: not valid YAML"),
    ("encoder=5", r"encoder: given 5, expected a section with the keys cell, layers"),
    ("training.schedule=[1]", r"training.schedule: given \[1\], expected a section with the keys kind"),
])
def test_bad_overrides(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[text])


# --- wrong values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "message"), [
    ("training: {epochs: 2.5}", r":1: training.epochs: given 2.5, expected a whole number from 1\n  fix: correct it; "
                                r"training.epochs is: At most this many passes over the training data."),
    ("training: {epochs: '5'}", r"training.epochs: given '5' \(text\), expected a whole number from 1"),
    ("training: {epochs: true}", r"training.epochs: given true, expected a whole number from 1"),
    ("training: {epochs: null}", r"training.epochs: given nothing, expected a whole number from 1"),
    ("training: {learning_rate: fast}", r"given 'fast', expected a number above 0 or empty"),
    ("training: {learning_rate: .nan}", r"training.learning_rate: given NaN, expected a number above 0"),
    ("training: {seed: 4294967296}", r"expected a whole number from 0 and below 4294967296"),
    ("training: {optimizer: adamm}", r"expected one of: adam, adamw, sgd, adadelta\n  fix: did you mean adam"),
    ("training: {optimizer: 3}", r"training.optimizer: given 3, expected one of: adam"),
    ("training: {betas: [0.9]}", r"training.betas: given \[0.9\], expected a list of 2 values, each a "
                                  r"number from 0 to 1"),
    ("training: {betas: [0.9, 2]}", r"training.betas: given 2, expected a list of 2 values"),
    ("encoder: {cell: lstmm}", r"encoder.cell: given 'lstmm', expected one of: .*lstm.*\n  fix: did you mean lstm\?"),
    ("encoder: {bidirectional: 2}", r"encoder.bidirectional: given 2, expected true or false"),
    ("source: {features: {mode: symbols}}", r":1: source.features.column is missing, expected a column: a "
                                             r"number from 1"),
    ("source: {features: {column: 3, separator: ''}}", r"given '', expected text of at least one character"),
    ("data: {columns: 3}", r"data.columns: given 3, expected a mapping from source, target, features, language"),
    ("data: {columns: {source: true}}", r"data.columns.?.*: given true, expected a mapping from source"),
    ("data: {columns: {scource: 1}}", r"unknown role 'data.columns.scource'; did you mean source\?\n  fix: the keys of "
                                      r"data.columns are: source, target, features"),
    ("data: {columns: {src: 1, source: 2}}", r"'data.columns.source' and 'data.columns.src' are both given, and mean"),
    ("data: {train: 3}", r"data.train: given 3, expected a path, a list of paths, or a list of mappings"),
    ("data: {train: [{weight: 0, path: a}]}", r"data.train.0.weight: given 0, expected a number above 0"),
    ("data: {train: [{pth: a}]}", r"unknown key 'data.train.0.pth'; did you mean path\?"),
    ("data: {train: [{zzzzzz: a}]}", r"unknown key 'data.train.0.zzzzzz'\n  fix: the keys of data.train.0 are: path"),
    ("data: {train: [{src: a, source: b, target: c}]}", r"'source' is given twice in data.train.0, once as 'source'"),
    ("- a", r"config.yaml: given \[\"a\"\], expected a mapping of sections"),
    ("words.tsv", r"given 'words.tsv', expected a mapping of sections\n  fix: write `training:`"),
    ("format_version: 2\nnew_key: 1\ntraining: {epochs: x}", r"config.yaml:1: format_version is 2, this seqloom reads 1"
                                                            r"\n  fix: install the version of seqloom that wrote"),
    ("preset: [g2p]", r"config.yaml:1: preset: given \[\"g2p\"\], expected one of: .*g2p"),
    ("preset: translat", r"unknown preset 'translat'; did you mean translate\?\n  fix: the presets are: .*g2p"),
    ("preset: zzzzzzzzz", r"unknown preset 'zzzzzzzzz'\n  fix: the presets are"),
    ("training: {seed: " + "9" * 31 + "}", r"training.seed: given 9{31}, expected a whole number"),
    ("training: {epochs: '" + "x" * 100 + "'}", r"training.epochs: given 'x{59}…, expected"),
])
def test_wrong_values(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(tmp_path, f"{line}\n"))
    assert caught.value.fix or "things are wrong" in caught.value.message


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "training:\n  epochs: 0\n  batch_size: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides=["decoding.top_p=2"])
    assert str(caught.value).splitlines()[0] == "3 things are wrong with the configuration"
    for place in (f"{file}:2: training.epochs", f"{file}:3: training.batch_size", "--set decoding.top_p=2: decoding"):
        assert place in str(caught.value)


@pytest.mark.parametrize(("value", "message"), [
    (object(), r"the command line: training.device: given <object .*> \(object\), expected a plain value"),
    ("\udc80", r"training.device: given '\\udc80', which is not Unicode text"),
    ([{"path": "\ud83d"}], r"training.device.0.path: given '\\ud83d', which is not Unicode text"),
])
def test_values_that_no_file_could_hold(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(values={"training": {"device": value}})


# --- presets ---------------------------------------------------------------------------------------------------------


def test_the_presets() -> None:
    assert preset_names() == ["caption", "chatbot", "classify", "dates", "g2p", "inflect", "lm", "speech", "summarize",
                              "tag", "translate"]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name: str) -> None:
    config, notes = load_config(preset=name)
    assert notes == []
    assert config.preset == name
    assert not config.data.train
    assert preset_summary(name).endswith(".")
    for path, value in flat(load_preset(name)).items():
        found: Any = config
        for part in path.split("."):
            found = found[part] if isinstance(found, dict) else getattr(found, part)
        assert found == value


def flat(values: dict[str, Any], parent: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        inside = flat(value, f"{parent}{name}.") if isinstance(value, dict) else {f"{parent}{name}": value}
        found.update(inside)
    return found


# --- again -----------------------------------------------------------------------------------------------------------

CHANGES = ["data.train=[{path: 'a: b.tsv', weight: 2, columns: {source: x}}, {source: a.en, target: a.de}]",
           "data.valid=v.tsv", "head.pretrained={path: v.vec, freeze: true}", "training.betas=[0.5, 0.75]",
           "training.learning_rate=1e-5", "training.max_minutes=0.1", "decoding.max_length_ratio=1.5"]


@pytest.mark.parametrize("preset", [None, *preset_names()])
def test_saved_and_loaded_is_equal(tmp_path: Path, preset: str | None) -> None:
    changes = [change for change in CHANGES if preset not in ("chatbot", "inflect") or "a.en" not in change]
    changes = [change for change in changes if preset not in ("chatbot", "translate") or "freeze" not in change]
    if preset in ("classify", "tag"):  # no embeddings of the target, and no length of an answer
        changes = [change for change in changes if "head." not in change and "decoding." not in change]
    if preset == "lm":  # one text: no columns, no weights, no ratio of lengths
        changes = [change for change in changes if "data.train" not in change and "ratio" not in change]
    config, _ = load_config(preset=preset, overrides=changes)
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == (config, [])


def test_a_saved_configuration_does_not_read_its_preset_again(tmp_path: Path) -> None:
    config, _ = load_config(preset="g2p")
    lost = config.model_copy(update={"preset": "gone"})
    save_config(lost, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == (lost, [])
    again, notes = load_config(tmp_path / "config.yaml", preset="dates")
    assert again == lost
    assert notes == [f"preset dates has no effect: {tmp_path / 'config.yaml'} is a complete configuration, which says "
                     "everything"]


def test_a_part_may_be_left_out(tmp_path: Path) -> None:
    config, _ = load_config(preset="g2p", overrides=["decoding.beam_size=3"])
    save_config(config, tmp_path / "config.yaml", leave_out=("decoding",))
    stored = config.decoding.model_dump(mode="json")
    assert load_config(tmp_path / "config.yaml")[0].decoding == DecodingConfig()
    assert load_config(tmp_path / "config.yaml", values={"decoding": stored})[0] == config


def test_a_configuration_with_changes() -> None:
    config, _ = load_config(preset="summarize", overrides=["data.train=a.jsonl"])
    changed, notes = update_config(config, overrides=["epochs=3"], values={"training": {"max_minutes": 5}})
    assert (changed.training.epochs, changed.training.max_minutes) == (3, 5.0)
    assert notes == ["--set epochs=3 is read as training.epochs"]
    assert changed.model_copy(update={"training": config.training}) == config
    with pytest.raises(ConfigError, match=r"decoder.copy_source is true, but decoder.context is initial"):
        update_config(config, overrides=["decoder.context=initial"])
    with pytest.raises(ConfigError, match=r"unknown key 'trainin.epochs'"):
        update_config(config, overrides=["trainin.epochs=3"])


def test_decoding_options_with_changes() -> None:
    defaults = DecodingConfig()
    assert change_decoding(defaults, {"beam_size": 7, "nbest": 3}) == DecodingConfig(beam_size=7, n_best=3)
    with pytest.raises(ConfigError, match=r"decoding.n_best is 9, but decoding.beam_size is 5"):
        change_decoding(defaults, {"n_best": 9})
    with pytest.raises(ConfigError, match=r"unknown key 'decoding.beam_sise'; did you mean decoding.beam_size"):
        change_decoding(defaults, {"beam_sise": 9})
    with pytest.raises(ConfigError, match=r"decoding.beam_size: given 0, expected a whole number from 1"):
        change_decoding(defaults, {"beam_size": 0})
    with pytest.raises(ConfigError, match=r"decoding.replace_unknown is true, but the model has none"):
        change_decoding(defaults, {"replace_unknown": True}, attention=False)
    assert change_decoding(defaults, {"replace_unknown": True}).replace_unknown
