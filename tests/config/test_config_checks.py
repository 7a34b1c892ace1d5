"""Contradictions: each is refused with its text, and its neighbour that is none is not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from seqloom.config import Config, check_config, load_config, preset_names
from seqloom.config.checks import CHECKS, DECODING_CHECKS, check_decoding, memory_size, output_size
from seqloom.config.keys import keys
from seqloom.config.remarks import decoding_remarks, idle_options, remarks
from seqloom.config.sections import DecodingConfig
from seqloom.errors import ConfigError

LANGUAGE = ["source=none", "head=language"]
TIED = "head.tie_embeddings=output"
ALL = ["head.tie_embeddings=all", "head.share_vocabulary=true", "decoder.embedding_size=512",
       "source.embedding_size=512"]
FEATURES = "source.features.column=3"
TOLD = "source.language=symbol"
IN_STEP = ["decoder.context=in_step", "encoder.bidirectional=false"]
RISK = "training.objective.kind=minimum_risk"

REFUSED: list[tuple[str, list[str], str]] = [
    ("corpora", ["data.train={source: a.en}"], r"data.train.0: given source, expected path, or source and target"),
    ("corpora", ["data.valid={path: a, source: b}"], r"data.valid.0: given path and source, expected path, or"),
    ("corpora", ["data.train=[{weight: 2}]"], r"data.train.0: given no file, expected path, or source and target"),
    ("columns", ["data.columns={source: 0}"], r"data.columns.source: given 0, expected a number from 1, or a name"),
    ("columns", ["source.features.column=-1"], r"source.features.column: given -1, expected a number from 1"),
    ("columns", ["data.train={path: a.tsv, columns: {target: -2}}"], r"data.train.0.columns.target: given -2"),
    ("columns", ["data.columns={features: 3}"],
     r"data.columns.features is 3, but source.features.column is not set\n  fix: set source.features.column to 3"),
    ("columns", ["data.columns={features: 3}", "source.features.column=4"], r"but source.features.column is 4"),
    ("features", ["source.features.column=1"], r"is 1, which is the source's column \(the default\) of the data"),
    ("features", ["source.features.column=2"], r"is 2, which is the target's column \(the default\) of the data"),
    ("features", ["source.features.column=2", "data.train=a.tsv.gz"], r"column \(the default\) of data.train.0"),
    ("features", ["source.features.column=tags", "data.columns={target: tags}"],
     r"source.features.column is 'tags', which is the target's column of the data"),
    ("features", [FEATURES, "data.train={source: a, target: b}"],
     r"source.features needs a column, but data.train.0 is two parallel text files"),
    ("languages", ["data.train={path: a.tsv, language: fra}"],
     r"data.train.0 has a language, but source.language is empty: the model would not be told"),
    ("languages", ["data.train={path: a.tsv, language: fra}", "source=features", "head=label"],
     r"data.train.0 has a language, but source.kind is features, which reads no language"),
    ("languages", ["data.columns={language: 3}"], r"data.columns.language is given, but source.language is empty"),
    ("languages", [TOLD, "data.valid=a.tsv"], r"data.valid.0 has no language, and source.language is set"),
    ("languages", [TOLD, "data.train={path: a.tsv, language: ' '}"], r"data.train.0.language is blank"),
    ("languages", [TOLD, "data.train={path: a.tsv, language: fra, columns: {language: 3}}"],
     r"data.train.0 has a language, 'fra', and a column of languages"),
    ("language_of_tags", [TOLD, "head=tags"], r"head.kind is tags and source.language is symbol: the symbol is no"),
    ("nothing_to_copy", ["source=image", "decoder.copy_source=true"],
     r"decoder.copy_source is true, but source.kind is image, which has no symbols to copy"),
    ("subsampling", ["source=features", "source.subsampling.kind=pyramid", "encoder.layers=2"],
     r"source.subsampling.factor 4, but encoder.layers is 2, expected 3 or more"),
    ("tempo", ["source=features", "source.augmentation.tempo=0.1", "head=tags"],
     r"head.kind is tags and source.augmentation.tempo is 0.1: there would be more or fewer frames than tags"),
    ("spectrum", ["source=audio", "source.high_frequency=9000"],
     r"source.high_frequency is 9000, but source.sample_rate is 16000, which holds frequencies up to 8000 Hz"),
    ("picture_size", ["source=frames", "source.width=8"], r"source.width is 8, but source.channels has 4 blocks"),
    ("alignment", ["source=image", "head.alignment_loss=0.5"],
     r"head.alignment_loss is 0.5, but source.kind is image, whose regions have no order"),
    ("sparse_output", ["head.normalization=entmax15", "decoder.copy_source=true"],
     r"head.normalization is entmax15, but decoder.copy_source is true: a copying model is trained on the logarithm"),
    ("local_window", ["source=image", "decoder.attention.local_window=3"],
     r"decoder.attention.local_window is 3, but source.kind is image, whose regions stand in no line"),
    ("local_window", [FEATURES, "source.features.mode=encoder", "decoder.attention.local_window=3"],
     r"decoder.attention.local_window is 3, but source.features.mode is encoder: features stand behind the text"),
    *(("hard_attention", ["decoder.attention.kind=hard_monotonic", "decoder.attention.input_feeding=false", given],
       rf"{said}, but decoder.attention.kind is hard_monotonic: .*\n  fix: .*, or decoder.attention.kind to soft")
      for given, said in (
          ("decoder.attention.input_feeding=true", "decoder.attention.input_feeding is true"),
          ("decoder.attention.coverage=true", "decoder.attention.coverage is true"),
          ("decoder.attention.score=location", "decoder.attention.score is location"),
          ("decoder.attention.query=previous", "decoder.attention.query is previous"),
          ("decoder.attention.local_window=3", "decoder.attention.local_window is given"),
          ("decoder.attention.normalization=sparsemax", "decoder.attention.normalization is sparsemax"),
          ("head.normalization=entmax15", "head.normalization is entmax15"),
          ("source.reverse=true", "source.reverse is true"),
          ("training.teacher_forcing.ratio=0.5", "training.teacher_forcing is given"))),
    ("in_step", [*IN_STEP, "decoder.first_input=true"], r"decoder.first_input is true, but decoder.context is in_step"),
    ("bridge", ["bridge.kind=copy"],
     r"encoder.hidden_size is 256 in each of two directions \(512 together\) and decoder.hidden_size is 100"),
    ("bridge", ["bridge.kind=copy", "encoder.bidirectional=false"],
     r"encoder.hidden_size is 256 \(256 together\) and decoder.hidden_size is 100, expected equal sizes"),
    ("bridge", ["bridge.kind=copy", "decoder.hidden_size=512", "encoder.layers=2"],
     r"bridge.kind is copy, but encoder.layers is 2 and decoder.layers is 1"),
    ("bridge", ["bridge.kind=copy", "decoder.hidden_size=512", "encoder.cell=gru"],
     r"encoder.cell is gru and decoder.cell is lstm: only one of them has a cell state to copy"),
    ("dot_scores", ["decoder.attention.score=dot"], r"score is dot, but the query has decoder.hidden_size 100 and the "
                                                    r"memory 512"),
    ("dot_scores", ["decoder.attention.score=scaled_dot"], r"decoder.attention.score is scaled_dot, but"),
    ("attention_options", ["decoder.context=initial", "decoder.copy_source=true"],
     r"decoder.copy_source is true, but decoder.context is initial: it needs attention"),
    ("attention_options", ["decoder.context=every_step", "decoder.attention.coverage=true"],
     r"decoder.attention.coverage is true, but decoder.context is every_step"),
    ("attention_options", ["decoder.context=initial", "decoding.replace_unknown=true"],
     r"decoding.replace_unknown is true, but decoder.context is initial: it needs attention weights"),
    ("attention_options", ["decoder.context=initial", "decoding.coverage_penalty=0.2"],
     r"decoding.coverage_penalty is 0.2, but decoder.context is initial"),
    ("unreached", ["decoder.context=initial", "bridge.kind=zero"],
     r"decoder.context is initial and bridge.kind is zero: nothing of the source reaches the decoder"),
    ("unreached", [*IN_STEP, "source.features={column: 2, mode: encoder}"],
     r"decoder.context is in_step and source.features.mode is encoder"),
    ("in_step", ["decoder.context=in_step"], r"decoder.context is in_step, but encoder.bidirectional is true"),
    ("in_step", [*IN_STEP, "decoder.layers=2"], r"decoder.context is in_step, but decoder.layers is 2"),
    ("ties", [TIED], r"decoder.embedding_size is 256 and the output layer reads 100, expected equal sizes\n"
                     r"  fix: set decoder.embedding_size to 100"),
    ("ties", [TIED, "decoder.attention.combination=concat", "decoder.embedding_size=100"],
     r"the output layer reads 612 \(decoder.hidden_size and the memory side by side"),
    ("ties", [TIED, *IN_STEP], r"decoder.context is in_step, which has no target embeddings"),
    ("ties", [TIED, "decoder.hidden_size=256", "head.pretrained={path: v, freeze: true}"],
     r"head.tie_embeddings is output, but head.pretrained.freeze is true: the output layer would never learn"),
    ("ties", [*ALL, "decoder.hidden_size=512", "source.pretrained={path: v, freeze: true}"],
     r"head.tie_embeddings is all, but source.pretrained.freeze is true"),
    ("ties", [*ALL, "decoder.hidden_size=512", "head.share_vocabulary=false"],
     r"head.tie_embeddings is all, but head.share_vocabulary is false: the two sides have different symbols"),
    ("ties", [*ALL, "decoder.hidden_size=512", "source.embedding_size=256"],
     r"but source.embedding_size is 256 and decoder.embedding_size is 512"),
    ("ties", [*ALL, "decoder.hidden_size=512", "source.pretrained=a.vec", "head.pretrained=b.vec"],
     r"source.pretrained.path is a.vec and head.pretrained.path is b.vec: there is one matrix only"),
    ("ties", [*ALL, "decoder.hidden_size=512", FEATURES], r"but source.features are symbols of the source only"),
    ("shared_vocabulary", ["head.share_vocabulary=true", "source.tokenizer=jamo", "head.tokenizer=character"],
     r"source.tokenizer and head.tokenizer differ in kind \('jamo' and 'character'\)\n  fix: leave source"),
    ("shared_vocabulary", ["head.share_vocabulary=true", "source.tokenizer.lowercase=true"],
     r"differ in lowercase \(true and false\)\n  fix: leave source.tokenizer out .* head.share_vocabulary to false$"),
    ("shared_vocabulary", [*ALL, "decoder.hidden_size=512", "source.tokenizer.lowercase=true"],
     r"or set head.share_vocabulary to false and head.tie_embeddings to output"),
    ("teacher_forcing", ["training.teacher_forcing.decay=exponential", "training.teacher_forcing.k=1"],
     r"training.teacher_forcing.k is 1, expected k < 1 for decay exponential"),
    ("teacher_forcing", ["training.teacher_forcing.decay=inverse_sigmoid"],
     r"training.teacher_forcing.k is 0.9999, expected k ≥ 1 for decay inverse_sigmoid"),
    ("teacher_forcing", ["training.teacher_forcing.ratio=0.3", "training.teacher_forcing.min_ratio=0.5"],
     r"training.teacher_forcing.min_ratio is 0.5 and ratio 0.3, expected min_ratio at most ratio"),
    ("device", ["training.device=gpu"], r"training.device: given 'gpu', expected auto, cpu, cuda, cuda:1 or mps"),
    ("setting", ["source.kind=none"],
     r"source.kind is none and head.kind is sequence, which do not go together: none goes with language\n  fix: set "
     r"source.kind to text or .*, or head.kind to language"),
    ("metric", ["head=label", "training.metric=bleu"],
     r"training.metric is bleu, but head.kind is label, expected auto, accuracy, macro_f1, loss"),
    ("metric", ["training.metric=accuracy"], r"training.metric is accuracy, but head.kind is sequence, expected auto"),
    ("tags", ["head=tags", "source.features=3"], r"head.kind is tags and source.features is given"),
    ("tags", ["head=tags", "source.reverse=true"], r"head.kind is tags and source.reverse is true"),
    ("history", ["head=label", "training.teacher_forcing.ratio=0.5"],
     r"training.teacher_forcing is given, but head.kind is label, which does not go on from answers of its own"),
    ("objective", ["head=label", RISK], r"minimum_risk, but head.kind is label: the risk is that of whole sequences"),
    ("objective", ["head=tags", RISK], r"minimum_risk, but head.kind is tags: the risk is that of whole sequences"),
    ("objective", [*LANGUAGE, RISK], r"minimum_risk, but head.kind is language: the risk is that of whole sequences"),
    ("objective", [RISK, "training.objective.candidates=1", "training.objective.include_target=false"],
     r"candidates is 1 and include_target false: a single candidate has all of the probability"),
    ("objective", [RISK, "head.normalization=entmax15"],
     r"head.normalization is entmax15: candidates may have probability 0, whose logarithm has no gradient"),
    ("objective", [RISK, "training.objective.likelihood_weight=1"], r"likelihood_weight is 1: the risk has no weight"),
    ("one_text", [*LANGUAGE, "data.drop_duplicates=true"],
     r"data.drop_duplicates is true, but head.kind is language, which reads one text without a source"),
    ("characters", ["source.characters={}", "source.tokenizer=jamo"],
     r"source.characters is given, but source.tokenizer.kind is jamo: its symbols are no longer than a character"),
    ("characters", ["source.characters={}", "head.share_vocabulary=true", "head.tokenizer=bytes"],
     r"source.characters is given, but head.tokenizer.kind is bytes: its symbols are no longer than a character"),
    ("language_ties", [*LANGUAGE, "head.tie_embeddings=all"], r"head.tie_embeddings is all, but head.kind is language"),
    ("language_ties", [*LANGUAGE, "head.tie_embeddings=output"],
     r"head.tie_embeddings is output, but decoder.embedding_size is 256 and the output layer reads 100, expected"),
    ("language_ties", [*LANGUAGE, "head.one_hot=true", "head.tie_embeddings=output"],
     r"head.tie_embeddings is output, but head.one_hot is true: there are no embeddings"),
    ("language_ties", [*LANGUAGE, "head.one_hot=true", "head.pretrained=v.vec"],
     r"head.pretrained is given, but head.one_hot is true: there are no embeddings"),
    ("decoding_defaults", ["decoding.n_best=6"], r"decoding.n_best is 6, but decoding.beam_size is 5"),
    ("decoding_defaults", ["decoding.strategy=greedy", "decoding.n_best=2"],
     r"decoding.n_best is 2, but decoding.strategy is greedy, which finds one answer"),
    ("decoding_defaults", ["decoding.min_length=9", "decoding.max_length=8"],
     r"decoding.min_length is 9 and decoding.max_length 8, expected min_length at most max_length"),
]
HERE = ["decoder.hidden_size=100"]  # unlike anything else, so that sizes in the messages are telling


@pytest.mark.parametrize(("check", "overrides", "message"), REFUSED)
def test_contradictions_are_refused(check: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(overrides=[*HERE, *overrides])
    assert caught.value.fix or "  fix: " in caught.value.message


def test_every_check_is_reached() -> None:
    assert {name for name, _, _ in REFUSED} == {check.__name__ for check in CHECKS}
    assert {"answers", "lengths"} == {check.__name__ for check in DECODING_CHECKS}


@pytest.mark.parametrize("overrides", [
    ["data.train={source: a.en, target: a.de}"],
    [FEATURES],
    ["source.features.column=2", "data.columns={target: 3}"],
    ["source.features.column=2", "data.train={path: a.tsv, columns: {target: 3}}"],
    ["source.features.column=2", "data.train=[a.jsonl, b.csv.gz]"],
    [FEATURES, "data.columns={features: 3}"],
    [TOLD, "data.train=[a.csv, {path: b.tsv, language: fra}, {path: c.tsv, columns: {language: 3}}, d.jsonl.gz]"],
    ["source.language=embedding", "head=tags"],
    [FEATURES, "head.share_vocabulary=true"],
    ["decoder.attention.normalization=entmax15", "decoder.copy_source=true"],
    ["head.normalization=sparsemax", "training.label_smoothing=0.1"],
    [FEATURES, "source.features.mode=symbols", "decoder.attention.local_window=3"],
    ["decoder.context=initial", "source.features.mode=encoder", FEATURES, "decoder.attention.local_window=3"],
    ["bridge.kind=copy"],
    ["bridge.kind=copy", "encoder.cell=gru", "decoder.cell=gru"],
    ["bridge.kind=copy", "encoder.cell=rnn_tanh", "decoder.cell=gru"],
    ["encoder.cell=gru"],
    ["bridge.kind=zero", "encoder.cell=gru", "encoder.layers=3"],
    ["decoder.attention.score=dot"],
    ["decoder.context=initial", "decoder.attention.score=dot", "decoder.hidden_size=100"],
    ["decoder.attention.query=previous"],
    IN_STEP,
    [*IN_STEP, "decoding.replace_unknown=true"],
    [TIED, "decoder.embedding_size=512"],
    [TIED, "decoder.embedding_size=1024", "decoder.attention.combination=concat"],
    [TIED, "decoder.embedding_size=1024", "decoder.context=every_step"],
    [TIED, "decoder.embedding_size=512", "source.pretrained={path: v, freeze: true}"],
    ALL,
    [*ALL, "source.pretrained=a.vec", "head.pretrained=a.vec"],
    [*ALL, FEATURES, "source.features.mode=encoder"],
    ["head.share_vocabulary=true", "head.tokenizer=jamo"],
    ["head.share_vocabulary=true", "head.tokenizer=jamo", "source.tokenizer=jamo"],
    ["source.pretrained=v.vec", "source.tokenizer=bpe"],
    ["training.teacher_forcing.decay=exponential"],
    ["training.teacher_forcing.decay=inverse_sigmoid", "training.teacher_forcing.k=1"],
    ["training.schedule={kind: inverse_square_root, warmup_steps: 1}"],
    ["training.learning_rate=1e-9"],
    ["training.device=cuda:1"],
    ["decoding.n_best=5"],
    ["decoding.strategy=sampling", "decoding.n_best=20"],
    ["decoding.min_length=8", "decoding.max_length=8"],
    ["encoder.layers=3", "encoder.residual=true", "source.embedding_size=10"],
])
def test_neighbours_are_accepted(overrides: list[str]) -> None:
    load_config(overrides=overrides)


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^3 things are wrong with the configuration\n") as caught:
        load_config(overrides=["decoding.n_best=6", "training.device=gpu", TIED])
    assert str(caught.value).count("\n  fix: ") == 3


def test_decoding_alone() -> None:
    check_decoding(DecodingConfig(replace_unknown=True, coverage_penalty=0.1))
    with pytest.raises(ConfigError, match=r"2 things are wrong with the decoding options\n.*the model has none"):
        check_decoding(DecodingConfig(replace_unknown=True, coverage_penalty=0.1), attention=False)
    with pytest.raises(ConfigError, match=r"decoding.n_best is 6, but decoding.beam_size is 5"):
        check_decoding(DecodingConfig(n_best=6))


def test_contradictions_say_where_each_option_was_set(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("decoder:\n  context: initial\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"decoder.copy_source is true") as caught:
        load_config(file, overrides=["decoder.copy_source=true"])
    assert caught.value.where == f"--set decoder.copy_source=true, {file}:2"
    with pytest.raises(ConfigError, match=r"data.train.0: given no file") as caught:
        load_config(values={"data": {"train": [{}]}}, values_from="train()")
    assert caught.value.where == "train()"


def test_a_role_that_python_code_made_up() -> None:
    config = changed(Config(), data={"columns": {"lemma": 1}})
    with pytest.raises(ConfigError, match=r"^data.columns: unknown role 'lemma', expected one of: source, target, f"):
        check_config(config)


# --- the rules agree with the network itself -------------------------------------------------------------------------


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    return Config.model_validate({**config.model_dump(), **{
        name: {**config.model_dump()[name], **values} for name, values in sections.items()}})


@pytest.mark.parametrize(("context", "combination", "bidirectional"), list(itertools.product(
    ["attention", "every_step", "initial", "in_step"], ["tanh", "concat"], [True, False])))
def test_sizes_are_those_of_the_network(context: str, combination: str, bidirectional: bool) -> None:
    pytest.importorskip("torch")
    from seqloom.nn.decoders import InStepDecoder, RecurrentDecoder
    from seqloom.nn.encoders import TextEncoder

    config = changed(Config(), encoder={"bidirectional": bidirectional, "hidden_size": 6}, decoder={
        "context": context, "hidden_size": 7, "attention": {"combination": combination}})
    encoder = TextEncoder(10, 5, config.encoder)
    decoder = InStepDecoder(encoder.memory_size) if context == "in_step" else RecurrentDecoder(
        10, encoder.memory_size, True, config)
    assert memory_size(config) == encoder.memory_size
    assert output_size(config) == decoder.output_size


@pytest.mark.parametrize(("score", "kind", "bidirectional", "size"), list(itertools.product(
    ["dot", "scaled_dot", "general", "concat"], ["copy", "affine", "zero"], [True, False], [8, 16])))
def test_sizes_are_refused_where_the_network_cannot_run(score: str, kind: str, bidirectional: bool, size: int) -> None:
    torch = pytest.importorskip("torch")
    from seqloom.nn.decoders import RecurrentDecoder
    from seqloom.nn.encoders import TextEncoder
    from seqloom.types import Padded

    config = changed(Config(), encoder={"hidden_size": 8, "bidirectional": bidirectional}, bridge={"kind": kind},
                     decoder={"hidden_size": size, "embedding_size": 4, "attention": {"score": score}})
    try:
        check_config(config)
        accepted = True
    except ConfigError:
        accepted = False
    try:
        encoder = TextEncoder(10, 5, config.encoder)
        decoder = RecurrentDecoder(10, encoder.memory_size, True, config)
        source = Padded({"main": torch.ones(2, 3, dtype=torch.long)}, torch.tensor([3, 2]))
        memory, state = decoder.begin(encoder(source))
        decoder.step(memory, state, torch.ones(2, 1, dtype=torch.long))
        runs = True
    except Exception:  # a wrong shape: from torch, or from the shapes in the signatures
        runs = False
    assert accepted == runs


# --- options without effect ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overrides", "note"), [
    (["decoder.context=initial", "decoder.attention.score=concat"],
     "decoder.attention.score has no effect, because decoder.context is 'initial'"),
    ([*IN_STEP, "decoder.cell=gru", "bridge.kind=zero"],
     "bridge.kind, decoder.cell have no effect, because decoder.context is 'in_step'"),
    (["decoder.attention.score_layers=2"],
     "decoder.attention.score_layers has no effect, because decoder.attention.score is 'general'"),
    (["decoder.variational_dropout=true"],
     "decoder.variational_dropout has no effect, because decoder.dropout and decoder.embedding_dropout are 0"),
    (["encoder.residual=true"], "encoder.residual has no effect, because encoder.layers is 1"),
    (["decoder.residual=true"], "decoder.residual has no effect, because decoder.layers is 1"),
    (["data.valid_fraction=0.2", "data.valid=dev.tsv"],
     "data.valid_fraction has no effect, because data.valid names validation files"),
    (["training.momentum=0.9"], "training.momentum has no effect, because training.optimizer is 'adam'"),
    (["training.schedule=inverse_square_root"],
     "training.schedule.kind is inverse_square_root and warmup_steps is 0: the learning rate falls from the first "
     "update; 1000 is a usual number"),
    (["decoding.top_k=3"], "decoding.top_k has no effect, because decoding.strategy is 'auto'"),
    (["source.features={column: 3, mode: encoder}", "decoder.attention={kind: hard_monotonic, input_feeding: false}"],
     "source.features.mode is encoder, which puts the features behind the source's symbols, and decoder.attention.kind "
     "is hard_monotonic: an alignment that has reached them never reads a symbol again; source.features.mode embedding "
     "adds them to every symbol"),
])
def test_options_without_effect_are_told(overrides: list[str], note: str) -> None:
    assert load_config(overrides=overrides)[1] == [note]


def test_idle_options_are_keys_and_silent_by_default() -> None:
    for idle in idle_options():
        assert {*idle.keys, idle.because} <= set(keys())
    assert remarks(Config()) == []
    assert all(remarks(load_config(preset=name)[0]) == [] for name in preset_names())


def test_decoding_options_given_in_vain_are_told() -> None:
    """Even those that are given as they are by default: somebody expects something of them."""
    sampling, greedy = DecodingConfig(strategy="sampling"), DecodingConfig(strategy="greedy", beam_size=1)
    assert decoding_remarks(sampling, ["beam_size", "top_k"]) == [
        "decoding.beam_size has no effect, because decoding.strategy is 'sampling'"]
    assert decoding_remarks(greedy, ["top_k", "seed", "beam_size", "max_length"]) == [
        "decoding.top_k, decoding.seed have no effect, because decoding.strategy is 'greedy'",
        "decoding.beam_size has no effect, because decoding.strategy is 'greedy'"]
    assert decoding_remarks(DecodingConfig(), ["beam_size", "length_penalty"]) == []
    one = DecodingConfig(beam_size=1)
    assert decoding_remarks(one, ["beam_size", "length_penalty", "max_length"]) == [
        "decoding.length_penalty has no effect, because decoding.beam_size is 1"]
    assert decoding_remarks(greedy, ["coverage_penalty"]) == [
        "decoding.coverage_penalty has no effect, because decoding.strategy is 'greedy'"]
