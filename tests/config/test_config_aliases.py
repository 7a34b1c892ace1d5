"""Names of other toolkits: each is read, told, and refused beside its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqloom.config import Config, load_config
from seqloom.config.aliases import (
    ALIASES,
    CORPUS_ALIASES,
    HINTS,
    ROLE_ALIASES,
    SECTION_ALIASES,
    VALUES,
    Alias,
    Instead,
)
from seqloom.config.keys import ROLES, corpus_keys, keys, sections
from seqloom.config.remarks import value_at
from seqloom.errors import ConfigError

# A legal value of each key that an alias sets, unlike its default.
SAMPLES: dict[str, Any] = {
    "encoder.cell": "gru", "decoder.cell": "gru", "bridge.kind": "zero", "decoder.attention.score": "concat",
    "head.tie_embeddings": "output", "training.optimizer": "sgd", "training.metric": "bleu", "data.valid": "v.tsv",
    "data.columns.source": 3, "data.columns.target": 4, "source.features.column": 3, "source.features.separator": "+",
    "training.teacher_forcing.ratio": 0.5, "decoding.top_p": 0.5, "decoding.n_best": 2, "decoding.min_length": 2,
    "training.learning_rate": 0.25, "training.max_grad_norm": 0.25, "decoding.length_penalty": 0.25,
    "decoding.coverage_penalty": 0.25, "decoding.temperature": 0.25, "decoder.attention.coverage_loss": 0.25,
    "encoder.dropout": 0.25, "decoder.dropout": 0.25,
}
# What makes a sample legal.
ALSO = {"decoder.attention.coverage_loss": ["decoder.attention.coverage=true"],
        "source.features.separator": ["source.features.column=3"],
        "head.tie_embeddings": [
            "decoder.embedding_size=512", "source.embedding_size=512", "head.share_vocabulary=true"],
        "decoding.top_p": ["decoding.strategy=sampling"], "decoding.temperature": ["decoding.strategy=sampling"],
        "decoding.top_k": ["decoding.strategy=sampling"]}


def sample(alias: Alias) -> Any:
    key = alias.keys[0]
    if alias.values and key == "head.tie_embeddings":
        return True
    if key in keys() and keys()[key].accepts(bool):
        return not keys()[key].default
    return SAMPLES.get(key, 48)


def at(config: Config, path: str) -> Any:
    if path.startswith("data.columns."):
        return (config.data.columns or {})[path.rpartition(".")[2]]
    value = value_at(config, path)
    return value[0].path if isinstance(value, list) else value


@pytest.mark.parametrize("name", ALIASES)
def test_every_alias_is_read_and_told(name: str) -> None:
    alias = ALIASES[name]
    value = sample(alias)
    extra = ALSO.get(alias.keys[0], [])
    config, notes = load_config(values={name: value}, overrides=extra)
    for key in alias.keys:
        expected = alias.values.get(value, value)
        halved = alias.both_directions and key == "encoder.hidden_size"
        assert at(config, key) == (24 if halved else expected)
    for key, fixed in alias.also.items():
        assert at(config, key) == fixed
    [note] = [note for note in notes if note.startswith(f"the command line: {name}")]
    assert all(key in note for key in (*alias.keys, *alias.also))
    assert alias.remark in note


@pytest.mark.parametrize("name", ALIASES)
def test_an_alias_beside_its_key_is_refused(name: str, tmp_path: Path) -> None:
    alias = ALIASES[name]
    value = sample(alias)
    file = tmp_path / "config.yaml"
    for key in alias.keys:
        file.write_text(f"{name}: {str(value).lower()}\n{key}: 1\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"config.yaml:2: '{name}' and '{key}' are both given, and both set "
                                              rf"{key}\n  fix: keep one of them, preferably {key}"):
            load_config(file)
        with pytest.raises(ConfigError, match=rf"'{key}' and '{name}' are both given"):
            load_config(overrides=[f"{key}=1", f"{name}={str(value).lower()}"])


@pytest.mark.parametrize("name", ALIASES)
def test_aliases_stand_for_real_keys_and_hide_none(name: str) -> None:
    alias = ALIASES[name]
    real = {*keys(), *(f"data.columns.{role}" for role in ROLES)}
    assert set(alias.keys) | set(alias.also) <= real
    assert alias.toolkits
    assert name not in {path for path in (*keys(), *sections()) if "." not in path}
    assert name not in HINTS


def test_an_alias_in_a_section_sets_the_keys_of_that_section() -> None:
    config, notes = load_config(values={"source": {"embedding_dim": 32}, "decoder": {"rnn_type": "GRU"}})
    assert (config.source.embedding_size, config.decoder.embedding_size) == (32, Config().decoder.embedding_size)
    assert (config.encoder.cell, config.decoder.cell) == ("lstm", "gru")
    assert notes[0] == "the command line: source.embedding_dim: 32 is read as source.embedding_size: 32"
    assert load_config(values={"decoder": {"input_feed": 0}})[0].decoder.attention.input_feeding is False
    with pytest.raises(ConfigError, match=r"unknown key 'encoder.beam_width'; did you mean decoding.beam_size\?"):
        load_config(values={"encoder": {"beam_width": 3}})


def test_a_stronger_layer_may_use_either_name(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("beam_width: 3\n", encoding="utf-8")
    assert load_config(file, overrides=["decoding.beam_size=4"])[0].decoding.beam_size == 4
    assert load_config(file, overrides=["num_beams=6"])[0].decoding.beam_size == 6


# OpenNMT-py: hidden_size // num_directions in onmt/encoders/rnn_encoder.py.
@pytest.mark.parametrize(("overrides", "sizes"), [
    (["rnn_size=500"], (250, 500)),
    (["encoder.bidirectional=true", "rnn_size=500"], (250, 500)),
    (["rnn_size=500", "encoder.bidirectional=false"], (500, 500)),
    (["rnn_size=500", "brnn=no"], (500, 500)),
    (["encoder.rnn_size=500"], (250, 512)),
    (["hidden_size=500"], (250, 500)),
    (["enc_rnn_size=400", "dec_rnn_size=300"], (200, 300)),
    (["dim_rnn=500"], (500, 500)),
])
def test_what_rnn_size_means(overrides: list[str], sizes: tuple[int, int]) -> None:
    config, notes = load_config(overrides=overrides)
    assert (config.encoder.hidden_size, config.decoder.hidden_size) == sizes
    assert any(f"encoder.hidden_size: {sizes[0]}" in note for note in notes)


def test_directions_may_be_said_in_another_layer(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("rnn_size: 500\n", encoding="utf-8")
    assert load_config(file, overrides=["encoder.bidirectional=false"])[0].encoder.hidden_size == 500


def test_half_of_an_odd_size() -> None:
    with pytest.raises(ConfigError, match=r"rnn_size: given 501, expected an even number: it counts both directions"):
        load_config(overrides=["rnn_size=501"])
    with pytest.raises(ConfigError, match=r"encoder.hidden_size: given 'big', expected a whole number"):
        load_config(overrides=["rnn_size=big"])


@pytest.mark.parametrize(("key", "word"), [(key, word) for key, words in VALUES.items() for word in words])
def test_every_other_word_for_a_value_is_read(key: str, word: Any) -> None:
    ours = VALUES[key][word]
    target, expected = (ours.key, ours.value) if isinstance(ours, Instead) else (key, ours)
    written = word.upper() if isinstance(word, str) else word
    section, _, name = key.rpartition(".")
    config, notes = load_config(values={section: {name: written}})
    assert at(config, target) == expected
    assert any(target in note and "is read as" in note for note in notes)


def test_a_note_on_something_that_is_no_value() -> None:
    with pytest.raises(ConfigError, match=r"decoding.beam_size: given <object .*expected a plain value"):
        load_config(values={"beam_width": object()})


def test_a_remark_on_bahdanau() -> None:
    _, notes = load_config(values={"attention": "bahdanau"})
    assert any("Bahdanau et al. ask with the previous state: that is query: previous" in note for note in notes)


def test_names_in_any_case() -> None:
    config, notes = load_config(values={"encoder": {"cell": "GRU"}, "training": {"optimizer": "AdamW"},
                                        "source": {"tokenizer": {"normalization": "nfkc"}}})
    assert (config.encoder.cell, config.training.optimizer, config.source.tokenizer.normalization) == (
        "gru", "adamw", "NFKC")
    assert "encoder.cell: 'GRU' is read as encoder.cell: 'gru'" in notes[0]


def test_a_batch_by_tokens_sets_two_keys() -> None:
    training = load_config(overrides=["max_tokens=4000"])[0].training
    assert (training.batch_size, training.batch_type) == (4000, "tokens")
    with pytest.raises(ConfigError, match=r"'max_tokens' and 'training.batch_type' are both given"):
        load_config(overrides=["max_tokens=4000", "training.batch_type=sentences"])


@pytest.mark.parametrize("name", SECTION_ALIASES)
def test_other_names_of_sections(name: str) -> None:
    section = SECTION_ALIASES[name]
    key, value = {"source": ("embedding_size", 32), "head": ("share_vocabulary", True), "decoding": ("beam_size", 2),
                  "training": ("epochs", 2)}[section]
    config, notes = load_config(values={name: {key: value}})
    assert value_at(config, f"{section}.{key}") == value
    assert notes == [f"the command line: {name} is read as {section}"]


def test_other_names_of_files_and_columns() -> None:
    for name, meant in CORPUS_ALIASES.items():
        other = "target" if meant == "source" else "source"
        config, notes = load_config(values={"data": {"train": {name: "a", other: "b"}}})
        assert getattr(config.data.train[0], meant) == "a"
        assert notes == [f"the command line: data.train.{name} is read as data.train.0.{meant}"]
        assert meant in corpus_keys()
    for name, meant in ROLE_ALIASES.items():
        config, notes = load_config(overrides=[f"data.columns.{name}=7"])
        assert config.data.columns == {meant: 7}
        assert notes == [f"--set data.columns.{name}=7 is read as {meant}"]


@pytest.mark.parametrize("name", HINTS)
def test_names_without_a_counterpart_say_what_to_do(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(values={name: 1})
    assert caught.value.message == f"unknown key '{name}'"
    assert caught.value.fix == HINTS[name]


# The pairs that reference/features.md part D and the issue name, written out once by hand.
@pytest.mark.parametrize(("given", "path", "value"), [
    ("beam_width=3", "decoding.beam_size", 3), ("num_beams=3", "decoding.beam_size", 3),
    ("nbest=2", "decoding.n_best", 2), ("num_return_sequences=2", "decoding.n_best", 2),
    ("lenpen=0.5", "decoding.length_penalty", 0.5), ("block_ngram_repeat=3", "decoding.no_repeat_ngram_size", 3),
    ("word_vec_size=96", "source.embedding_size", 96), ("embedding_dim=96", "decoder.embedding_size", 96),
    ("rnn_type=LSTM", "decoder.cell", "lstm"), ("rnn_type=RNN", "encoder.cell", "rnn_tanh"),
    ("enc_layers=2", "encoder.layers", 2), ("dec_layers=2", "decoder.layers", 2),
    ("input_feed=0", "decoder.attention.input_feeding", False),
    ("input_feed=1", "decoder.attention.input_feeding", True),
    ("copy_attn=true", "decoder.copy_source", True), ("coverage_attn=true", "decoder.attention.coverage", True),
    ("optim=sgd", "training.optimizer", "sgd"), ("lr=0.5", "training.learning_rate", 0.5),
    ("accum_count=4", "training.accumulate", 4), ("update_freq=4", "training.accumulate", 4),
    ("gradient_accumulation_steps=4", "training.accumulate", 4), ("max_output_length=50", "decoding.max_length", 50),
    ("max_new_tokens=50", "decoding.max_length", 50), ("train_steps=1000", "training.max_steps", 1000),
    ("valid_steps=100", "training.validate_every", 100), ("early_stopping=4", "training.patience", 4),
    ("early_stopping=0", "training.patience", None), ("batch_type=sents", "training.batch_type", "sentences"),
    ("global_attention=mlp", "decoder.attention.score", "concat"),
    ("attention=luong", "decoder.attention.score", "general"),
    ("attention=additive", "decoder.attention.score", "concat"), ("src.embedding_size=96", "source.embedding_size", 96),
    ("trg.tokenizer=char", "head.tokenizer.kind", "character"), ("bridge=true", "bridge.kind", "affine"),
])
def test_by_hand(given: str, path: str, value: Any) -> None:
    config, notes = load_config(overrides=[given])
    assert at(config, path) == value
    assert notes or given == "bridge=true"
