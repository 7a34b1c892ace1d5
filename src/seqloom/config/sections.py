"""The configuration: every option, its type, its default and its text, written once.

`docs/config.md` and `--help` are generated from here. Reading files, presets, overrides and aliases is
`loading.py`; contradictions between sections are `checks.py`.
"""

from __future__ import annotations

from typing import Literal

from seqloom.config.base import (
    CellName,
    Column,
    Dropout,
    Fraction,
    NormalizationName,
    Positive,
    PretrainedConfig,
    ScoreName,
    Section,
    StrategyName,
    TokenizerConfig,
    text,
)
from seqloom.config.head_sections import (
    HeadConfig,
    LabelHeadConfig,
    LanguageHeadConfig,
    SequenceHeadConfig,
    TagsHeadConfig,
)
from seqloom.config.source_sections import (
    CharactersConfig,
    FeaturesConfig,
    NoSourceConfig,
    SourceConfig,
    TextSourceConfig,
)

__all__ = [
    "FORMAT_VERSION", "AttentionConfig", "BridgeConfig", "CharactersConfig", "Column", "Config", "CorpusConfig",
    "DataConfig", "DecoderConfig", "DecodingConfig", "EncoderConfig", "FeaturesConfig", "LabelHeadConfig",
    "LanguageHeadConfig", "NoSourceConfig", "ObjectiveConfig", "PretrainedConfig", "ScheduleConfig", "Section",
    "SequenceHeadConfig",
    "TagsHeadConfig", "TeacherForcingConfig", "TextSourceConfig", "TokenizerConfig", "TrainingConfig",
]

FORMAT_VERSION = 1


# --- data ------------------------------------------------------------------------------------------------------------


class CorpusConfig(Section):
    path: str | None = text(None, "File with both sides: .tsv, .csv, .jsonl, .conllu, plain or .gz.")
    source: str | None = text(None, "Text file with one source a line; goes with `target`.")
    target: str | None = text(None, "Text file with one target a line; goes with `source`.")
    weight: float = text(1.0, "How often this corpus is seen relative to the others.", gt=0)
    columns: dict[str, Column] | None = text(
        None, "Column of each role (source, target, features, language): a number from 1, or a name in the header.")
    language: str | None = text(None, "Language of all of its lines, as in fra; needs source.language.", min_length=1)


class DataConfig(Section):
    train: list[CorpusConfig] = text([], "Training files.")
    valid: list[CorpusConfig] = text([], "Validation files; without them a part of the training data is held out.")
    valid_fraction: float = text(0.1, "Part of the training data held out when `valid` is empty.", gt=0, lt=1)
    valid_limit: Positive = text(2000, "At most this many examples are held out.")
    columns: dict[str, Column] | None = text(None, "Column of each role, for every file that does not say its own.")
    max_source_length: Positive = text(1000, "Training pairs with a longer source (in tokens) are set aside.")
    max_target_length: Positive = text(1000, "Training pairs with a longer target (in tokens) are set aside.")
    drop_duplicates: bool = text(False, "Train on each distinct pair once.")


# --- encoder, bridge, decoder ----------------------------------------------------------------------------------------


class EncoderConfig(Section):
    cell: CellName = text("lstm", "Recurrent cell.")
    layers: Positive = text(1, "Number of layers.")
    hidden_size: Positive = text(256, "State size of each direction.")
    bidirectional: bool = text(True, "Read in both directions and concatenate.")
    embedding_dropout: Dropout = text(0.0, "Dropout of the embedded source.")
    dropout: Dropout = text(0.0, "Dropout between layers and of the encoder's output.")
    variational_dropout: bool = text(False, "Drop the same at every position of a sequence, in both dropouts above "
                                            "(Gal & Ghahramani 2016, §4.1).")
    weight_dropout: Dropout = text(0.0, "Dropout of the recurrent weights, drawn for each batch (Merity et al. 2018, "
                                        "§3).")
    residual: bool = text(False, "Add a layer's input to its output, from the second layer on.")


class BridgeConfig(Section):
    kind: Literal["affine", "copy", "zero"] = text(
        "affine", "How the encoder's last state (hidden and cell) becomes the decoder's first: affine with tanh, "
                  "copied (equal sizes), or zeros.")


class AttentionConfig(Section):
    kind: Literal["soft", "hard", "hard_monotonic"] = text(
        "soft", "soft: read the mean of the source by the weights; hard: read one position, with the loss summed over "
                "all choices (Wu et al. 2018); hard_monotonic: and never go back (Wu & Cotterell 2019).")
    jumps: int = text(4, "hard_monotonic: jumps of less than so many positions have a learned preference each, wider "
                         "ones share one; 0: no preferences.", ge=0, le=1000)
    score: ScoreName = text("general", "Score of a query and a key.")
    score_layers: Positive = text(1, "concat only: number of hidden layers.")
    hidden_size: Positive | None = text(None, "concat, location: size of the hidden layers; the decoder's when empty.")
    normalization: NormalizationName = text(
        "softmax", "From scores to weights: softmax; sparsemax (Martins & Astudillo 2016) and entmax15 (Peters et al. "
                   "2019) give exactly 0 to positions that score low.")
    local_window: Positive | None = text(
        None, "Attend only within so many positions of a predicted centre, less away from it (D of local-p attention: "
              "Luong et al. 2015, §3.2, eqs. 9-10); empty: everywhere.")
    query: Literal["current", "previous"] = text(
        "current", "State that asks: this step's (Luong et al. 2015) or the previous one (Bahdanau et al. 2015).")
    combination: Literal["tanh", "concat"] = text(
        "tanh", "Attention value and state go through a tanh layer (Luong et al. 2015, eq. 5), or concatenated "
                "straight into the output layer.")
    input_feeding: bool = text(True, "Feed the step's result to the next step (Luong et al. 2015, §3.3).")
    coverage: bool = text(False, "Add the sum of past weights to the score, and the coverage loss (See et al. 2017).")
    coverage_loss: float = text(1.0, "Weight of the coverage loss (See et al. 2017, eq. 13).", ge=0)


class DecoderConfig(Section):
    cell: CellName = text("lstm", "Recurrent cell.")
    layers: Positive = text(1, "Number of layers.")
    hidden_size: Positive = text(512, "State size.")
    embedding_size: Positive = text(256, "Size of a target embedding.")
    embedding_dropout: Dropout = text(0.0, "Dropout of the embedded target history.")
    dropout: Dropout = text(0.0, "Dropout between layers and before the output layer.")
    variational_dropout: bool = text(False, "Drop the same at every position of a sequence, in both dropouts above "
                                            "(Gal & Ghahramani 2016, §4.1).")
    weight_dropout: Dropout = text(0.0, "Dropout of the recurrent weights, drawn for each batch (Merity et al. 2018, "
                                        "§3).")
    symbol_dropout: Dropout = text(0.0, "Share of symbols whose embeddings are dropped everywhere in a batch (Merity "
                                        "et al. 2018, §4.3).")
    residual: bool = text(False, "Add a layer's input to its output, from the second layer on.")
    context: Literal["attention", "every_step", "initial", "in_step"] = text(
        "attention", "How the source reaches the decoder: attention; the summary at every step, to the cell and the "
                     "output layer; the summary as first state only; in_step: no decoder, one RNN that answers "
                     "position t when it has read position t (the baseline before encoder-decoders).")
    attention: AttentionConfig = text(AttentionConfig(), "Only for context: attention.")
    copy_source: bool = text(False, "Pointer-generator: may copy source symbols (See et al. 2017, eqs. 8-9).")
    first_input: bool = text(False, "Read the summary, through an affine layer, as an input of its own before <s> "
                                    "(Vinyals et al. 2015, eq. 10); dropout that is drawn once for a sequence begins "
                                    "behind it.")


# --- training --------------------------------------------------------------------------------------------------------


class ScheduleConfig(Section):
    kind: Literal["constant", "plateau", "inverse_square_root"] = text("plateau", "How the learning rate moves.")
    warmup_steps: int = text(0, "Updates of linear warm-up from zero.", ge=0)
    factor: float = text(0.5, "plateau: the rate is multiplied by this …", gt=0, lt=1)
    patience: int = text(2, "plateau: … at the first validation after this many without improvement.", ge=0)
    min_learning_rate: float = text(1e-6, "The rate never falls below this.", ge=0)


class TeacherForcingConfig(Section):
    ratio: Fraction = text(1.0, "Share of steps fed with the gold history at the start of training.")
    decay: Literal["none", "linear", "exponential", "inverse_sigmoid"] = text(
        "none", "How the share falls (Bengio et al. 2015, §2.4): linear: ratio − slope·i; exponential: ratio·k^i; "
                "inverse_sigmoid: ratio·k/(k + exp(i/k)); i counts updates.")
    slope: float = text(1e-4, "linear: fall per update.", gt=0)
    k: float = text(0.9999, "exponential: k < 1; inverse_sigmoid: k ≥ 1.", gt=0)
    min_ratio: Fraction = text(0.0, "The share never falls below this.")
    draw: Literal["token", "sequence", "batch"] = text("token", "What one draw decides for.")
    stop_after_epoch: Positive | None = text(None, "Switch teacher forcing off after this epoch.")
    stop_at_accuracy: Fraction | None = text(
        None, "Switch it off once free-running token accuracy on validation data reaches this.")


class ObjectiveConfig(Section):
    kind: Literal["likelihood", "minimum_risk"] = text(
        "likelihood", "likelihood: that of the targets; minimum_risk: the expected error of the model's own answers "
                      "(Shen et al. 2016, §3), for a model that is trained already: seqloom finetune.")
    risk: Literal["exact_match", "cer", "wer", "bleu", "chrf", "rouge_l"] = text(
        "cer", "Error of a candidate: its cer or wer, or 1 − exact_match, rouge_l, BLEU or chrF of the sentence.")
    candidates: Positive = text(8, "Candidates for each sentence; fewer where several are the same.")
    candidate_search: Literal["beam", "sampling"] = text(
        "beam", "Candidates are the best that beam search finds, or draws from the model's distribution.")
    include_target: bool = text(True, "The target is a candidate too.")
    sharpness: float = text(1.0, "α: candidates count with their probability to this power, over the sum of all (Shen "
                                 "et al. 2016, §3).", gt=0)
    likelihood_weight: Fraction = text(
        0.3, "Weight of the targets' negative log-likelihood; the risk has the rest (Edunov et al. 2018).")


class TrainingConfig(Section):
    epochs: Positive = text(50, "At most this many passes over the training data.")
    max_steps: Positive | None = text(None, "At most this many updates.")
    max_minutes: float | None = text(None, "Stop after this many minutes, as if training had ended.", gt=0)
    batch_size: Positive = text(64, "Sentences, or target tokens, in a batch.")
    batch_type: Literal["sentences", "tokens"] = text("sentences", "Unit of batch_size.")
    accumulate: Positive = text(1, "Batches for one update.")
    optimizer: Literal["adam", "adamw", "sgd", "adadelta"] = text("adam", "Optimiser.")
    learning_rate: float | None = text(
        None, "Learning rate; empty: adam and adamw 0.001, sgd 1.0, adadelta 1.0.", gt=0)
    betas: tuple[Fraction, Fraction] = text((0.9, 0.999), "adam, adamw.")
    momentum: Dropout = text(0.0, "sgd.")
    weight_decay: float = text(0.0, "Decoupled for adamw, L2 otherwise.", ge=0)
    schedule: ScheduleConfig = text(ScheduleConfig(), "Learning rate schedule.")
    max_grad_norm: float = text(5.0, "Clip the gradient's norm at this; 0 does not clip.", ge=0)
    label_smoothing: Dropout = text(0.0, "Mass spread over all symbols, the right one too (Szegedy et al. 2016, §7).")
    teacher_forcing: TeacherForcingConfig = text(TeacherForcingConfig(), "Gold history or the model's own.")
    objective: ObjectiveConfig = text(ObjectiveConfig(), "What training makes small.")
    validate_every: Positive | None = text(None, "Updates between validations; empty: once an epoch.")
    metric: Literal["auto", "exact_match", "bleu", "chrf", "ter", "wer", "cer", "rouge_l", "accuracy", "macro_f1",
                    "span_f1", "loss"] = text(
        "auto", "What decides which checkpoint is best; auto: exact_match for character targets, bleu for other "
                "sequences, accuracy for labels and tags, loss for language models.")
    patience: Positive | None = text(10, "Stop after this many validations without improvement; empty: never.")
    average: Literal["none", "ema", "last"] = text(
        "none", "Weights that are validated and shipped: as trained, an exponential moving average, or the mean of "
                "the last average_count validations.")
    average_decay: Dropout = text(0.999, "ema: weight of the past at each update.")
    average_count: Positive = text(5, "last: number of validations.")
    seed: int = text(1, "Seed of everything random.", ge=0, lt=2**32)
    device: str = text("auto", "auto, cpu, cuda, cuda:1, mps.")
    threads: Positive | None = text(None, "CPU threads; empty: as many as there are cores for this process.")
    precision: Literal["auto", "fp32", "bf16"] = text(
        "auto", "fp32; bf16: products in bf16 with fp32 weights on devices that have them, fp32 elsewhere; auto: fp32.")
    tensorboard: bool = text(False, "Write TensorBoard events into the run folder.")


# --- decoding --------------------------------------------------------------------------------------------------------


class DecodingConfig(Section):
    strategy: StrategyName = text(
        "auto", "auto: beam when beam_size > 1, greedy otherwise.")
    beam_size: Positive = text(5, "Hypotheses kept for each sentence.")
    n_best: Positive = text(1, "Answers for each input; at most beam_size, or samples.")
    length_penalty: float = text(1.0, "Exponent α: 0 ranks by log-probability, larger prefers longer answers.")
    length_penalty_kind: Literal["average", "wu"] = text(
        "average", "score / length^α, or score / ((5 + length) / 6)^α (Wu et al. 2016, eq. 14).")
    coverage_penalty: float = text(0.0, "β of Wu et al. 2016, eq. 14; needs attention.", ge=0)
    min_length: int = text(0, "Fewest target tokens, the end symbol not counted.", ge=0)
    max_length: Positive = text(200, "Most target tokens, the end symbol counted.")
    max_length_ratio: float | None = text(
        None, "Most target tokens for each source token, plus ten; the end symbol counted.", gt=0)
    no_repeat_ngram_size: int = text(0, "No n-gram of this size twice; 0 allows all.", ge=0)
    repetition_penalty: float = text(1.0, "Multiply the log-probability of tokens already produced by "
                                          "this (Keskar et al. 2019, §4.1).", ge=1.0)
    temperature: float = text(1.0, "sampling: flatter above 1, sharper below.", gt=0)
    top_k: int = text(0, "sampling: only the k best; 0 for all.", ge=0)
    top_p: float = text(1.0, "sampling: only the smallest set with this probability.", gt=0, le=1)
    seed: int = text(1, "sampling: seed, combined with the line number.", ge=0)
    allow_unknown: bool = text(True, "May produce the unknown symbol.")
    replace_unknown: bool = text(False, "Put the source token with the largest attention weight for an unknown one.")
    shortlist: bool = text(False, "Answer only with symbols that a learned list has for the source's own symbols: "
                                  "faster with a large vocabulary; learned by `seqloom export --shortlist FILE`.")
    batch_tokens: Positive = text(4096, "Source tokens decoded together.")


# --- all -------------------------------------------------------------------------------------------------------------


class Config(Section):
    """A whole configuration, as `config.yaml` in a run folder holds it."""

    format_version: Literal[1] = text(FORMAT_VERSION, "Version of the run folder's format.")
    preset: str | None = text(None, "Preset this configuration started from.")
    data: DataConfig = text(DataConfig(), "Files and columns.")
    source: SourceConfig = text(TextSourceConfig(), "How inputs are read.")
    encoder: EncoderConfig = text(EncoderConfig(), "The encoder.")
    bridge: BridgeConfig = text(BridgeConfig(), "From encoder to decoder.")
    decoder: DecoderConfig = text(DecoderConfig(), "The decoder.")
    head: HeadConfig = text(SequenceHeadConfig(), "What is answered.")
    training: TrainingConfig = text(TrainingConfig(), "Training.")
    decoding: DecodingConfig = text(DecodingConfig(), "Decoding defaults; `predict` can override them.")
