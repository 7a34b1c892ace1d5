"""Names that other toolkits use, each with the key it stands for here. Tables only; `layers.py` applies them.

An alias is read at the top of a configuration, where it sets all of its keys, and inside a section, where it sets those
of its keys that lie in that section: `embedding_dim` at the top sets both embedding sizes, under `source` only the
source's. A note names the preferred key. An alias and its key given together are an error.

Toolkits: OpenNMT-py (with eole), JoeyNMT, fairseq, Marian, yoyodyne, CTranslate2, Hugging Face, ESPnet, AllenNLP and
IBM's pytorch-seq2seq.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple


class Alias(NamedTuple):
    """`name` sets every key of `keys` to the value (translated by `values` where listed), and each of `also`."""

    name: str
    keys: tuple[str, ...]
    toolkits: str
    values: Mapping[Hashable, Any] = {}
    also: Mapping[str, Any] = {}
    remark: str = ""
    both_directions: bool = False  # the value counts both directions of a bidirectional encoder together


class Instead(NamedTuple):
    """A translated value that belongs under another key."""

    key: str
    value: Any


_HIDDEN = ("encoder.hidden_size", "decoder.hidden_size")
_EMBEDDING = ("source.embedding_size", "decoder.embedding_size")
_CELL = ("encoder.cell", "decoder.cell")
_LAYERS = ("encoder.layers", "decoder.layers")
_HALVED = "OpenNMT-py counts both directions of a bidirectional encoder together: each gets half"

_MODEL = (
    Alias("rnn_size", _HIDDEN, "OpenNMT-py", remark=_HALVED, both_directions=True),
    Alias("hidden_size", _HIDDEN, "OpenNMT-py", remark=_HALVED, both_directions=True),
    Alias("enc_rnn_size", _HIDDEN[:1], "OpenNMT-py", remark=_HALVED, both_directions=True),
    Alias("enc_hid_size", _HIDDEN[:1], "OpenNMT-py", remark=_HALVED, both_directions=True),
    Alias("dec_rnn_size", _HIDDEN[1:], "OpenNMT-py"),
    Alias("dec_hid_size", _HIDDEN[1:], "OpenNMT-py"),
    Alias("dim_rnn", _HIDDEN, "Marian", remark="Marian counts each direction: both get the whole size"),
    Alias("word_vec_size", _EMBEDDING, "OpenNMT-py"),
    Alias("src_word_vec_size", _EMBEDDING[:1], "OpenNMT-py"),
    Alias("tgt_word_vec_size", _EMBEDDING[1:], "OpenNMT-py"),
    Alias("embedding_dim", _EMBEDDING, "JoeyNMT, yoyodyne"),
    Alias("dim_emb", _EMBEDDING, "Marian"),
    Alias("encoder_embed_dim", _EMBEDDING[:1], "fairseq"),
    Alias("decoder_embed_dim", _EMBEDDING[1:], "fairseq"),
    Alias("rnn_type", _CELL, "OpenNMT-py, JoeyNMT"),
    Alias("enc_cell", _CELL[:1], "Marian"),
    Alias("dec_cell", _CELL[1:], "Marian"),
    Alias("layers", _LAYERS, "OpenNMT-py"),
    Alias("num_layers", _LAYERS, "JoeyNMT"),
    Alias("enc_layers", _LAYERS[:1], "OpenNMT-py"),
    Alias("dec_layers", _LAYERS[1:], "OpenNMT-py"),
    Alias("encoder_layers", _LAYERS[:1], "fairseq, yoyodyne"),
    Alias("decoder_layers", _LAYERS[1:], "fairseq, yoyodyne"),
    Alias("brnn", ("encoder.bidirectional",), "OpenNMT-py"),
    Alias("encoder_bidirectional", ("encoder.bidirectional",), "fairseq"),
    Alias("dropout", ("encoder.dropout", "decoder.dropout"), "OpenNMT-py, fairseq, yoyodyne",
          remark="the embeddings have their own: embedding_dropout"),
    Alias("init_hidden", ("bridge.kind",), "JoeyNMT"),
    Alias("global_attention", ("decoder.attention.score",), "OpenNMT-py"),
    Alias("input_feed", ("decoder.attention.input_feeding",), "OpenNMT-py, eole"),
    Alias("copy_attn", ("decoder.copy_source",), "OpenNMT-py"),
    Alias("coverage_attn", ("decoder.attention.coverage",), "OpenNMT-py, eole"),
    Alias("lambda_coverage", ("decoder.attention.coverage_loss",), "OpenNMT-py, eole"),
    Alias("share_vocab", ("head.share_vocabulary",), "OpenNMT-py, eole"),
    Alias("share_decoder_embeddings", ("head.tie_embeddings",), "OpenNMT-py, eole",
          values={True: "output", False: "none"}),
    Alias("share_embeddings", ("head.tie_embeddings",), "OpenNMT-py, eole", values={True: "all", False: "none"}),
    Alias("src_vocab_size", ("source.tokenizer.vocab_size",), "OpenNMT-py"),
    Alias("tgt_vocab_size", ("head.tokenizer.vocab_size",), "OpenNMT-py"),
)

_TRAINING = (
    Alias("lr", ("training.learning_rate",), "fairseq, Hugging Face"),
    Alias("optim", ("training.optimizer",), "OpenNMT-py"),
    Alias("clip_norm", ("training.max_grad_norm",), "fairseq, Marian"),
    Alias("clip_grad_norm", ("training.max_grad_norm",), "JoeyNMT"),
    Alias("gradient_clip_val", ("training.max_grad_norm",), "yoyodyne"),
    Alias("accum_count", ("training.accumulate",), "OpenNMT-py, eole"),
    Alias("batch_multiplier", ("training.accumulate",), "JoeyNMT"),
    Alias("update_freq", ("training.accumulate",), "fairseq"),
    Alias("optimizer_delay", ("training.accumulate",), "Marian"),
    Alias("gradient_accumulation_steps", ("training.accumulate",), "Hugging Face"),
    Alias("max_tokens", ("training.batch_size",), "fairseq", also={"training.batch_type": "tokens"}),
    Alias("mini_batch_words", ("training.batch_size",), "Marian", also={"training.batch_type": "tokens"}),
    Alias("mini_batch", ("training.batch_size",), "Marian"),
    Alias("train_steps", ("training.max_steps",), "OpenNMT-py, eole"),
    Alias("max_update", ("training.max_steps",), "fairseq"),
    Alias("max_epochs", ("training.epochs",), "yoyodyne"),
    Alias("max_epoch", ("training.epochs",), "fairseq"),
    Alias("num_train_epochs", ("training.epochs",), "Hugging Face"),
    Alias("valid_steps", ("training.validate_every",), "OpenNMT-py, eole"),
    Alias("validation_freq", ("training.validate_every",), "JoeyNMT"),
    Alias("early_stopping", ("training.patience",), "OpenNMT-py, eole, Marian", values={0: None},
          remark="validations without improvement; 0 never stops"),
    Alias("early_stopping_metric", ("training.metric",), "JoeyNMT"),
    Alias("teacher_forcing_ratio", ("training.teacher_forcing.ratio",), "IBM pytorch-seq2seq"),
    Alias("seed", ("training.seed",), "all"),
)

_DATA = (
    Alias("dev", ("data.valid",), "JoeyNMT"),
    Alias("val", ("data.valid",), "yoyodyne"),
    Alias("src_seq_length", ("data.max_source_length",), "OpenNMT-py, eole"),
    Alias("tgt_seq_length", ("data.max_target_length",), "OpenNMT-py, eole"),
    Alias("features_col", ("source.features.column",), "yoyodyne"),
    Alias("features_sep", ("source.features.separator",), "yoyodyne"),
    Alias("source_col", ("data.columns.source",), "yoyodyne"),
    Alias("target_col", ("data.columns.target",), "yoyodyne"),
)

_DECODING = (
    Alias("beam_width", ("decoding.beam_size",), "yoyodyne"),
    Alias("num_beams", ("decoding.beam_size",), "Hugging Face"),
    Alias("beam", ("decoding.beam_size",), "fairseq"),
    Alias("nbest", ("decoding.n_best",), "fairseq"),
    Alias("num_return_sequences", ("decoding.n_best",), "Hugging Face"),
    Alias("num_hypotheses", ("decoding.n_best",), "CTranslate2"),
    Alias("lenpen", ("decoding.length_penalty",), "fairseq"),
    Alias("alpha", ("decoding.length_penalty",), "OpenNMT-py"),
    Alias("beam_alpha", ("decoding.length_penalty",), "JoeyNMT", also={"decoding.length_penalty_kind": "wu"}),
    Alias("beta", ("decoding.coverage_penalty",), "OpenNMT-py"),
    Alias("block_ngram_repeat", ("decoding.no_repeat_ngram_size",), "OpenNMT-py, eole"),
    Alias("max_output_length", ("decoding.max_length",), "JoeyNMT"),
    Alias("max_new_tokens", ("decoding.max_length",), "Hugging Face"),
    Alias("min_output_length", ("decoding.min_length",), "JoeyNMT"),
    Alias("random_sampling_topk", ("decoding.top_k",), "OpenNMT-py"),
    Alias("random_sampling_topp", ("decoding.top_p",), "OpenNMT-py"),
    Alias("random_sampling_temp", ("decoding.temperature",), "OpenNMT-py"),
    Alias("replace_unk", ("decoding.replace_unknown",), "OpenNMT-py, eole"),
)

ALIASES: dict[str, Alias] = {alias.name: alias for alias in (*_MODEL, *_TRAINING, *_DATA, *_DECODING)}

# Other names of whole sections, read at the top.
SECTION_ALIASES: dict[str, str] = {
    "src": "source",
    "tgt": "head",
    "trg": "head",
    "target": "head",
    "testing": "decoding",
    "inference": "decoding",
    "optim": "training",
}

# Other names of the roles in `columns`.
ROLE_ALIASES: dict[str, str] = {"src": "source", "tgt": "target", "trg": "target"}

# Other names inside one entry of data.train and data.valid.
CORPUS_ALIASES: dict[str, str] = {
    "src": "source", "tgt": "target", "trg": "target",
    "path_src": "source", "path_tgt": "target", "path_trg": "target",
}

_CELLS: Mapping[Hashable, Any] = {"rnn": "rnn_tanh", "elman": "rnn_tanh"}
_TOKENIZERS: Mapping[Hashable, Any] = {"char": "character", "characters": "character", "words": "word",
                                       "byte": "bytes"}

# Other words for values, by key.
VALUES: dict[str, Mapping[Hashable, Any]] = {
    "encoder.cell": _CELLS,
    "decoder.cell": _CELLS,
    "source.tokenizer.kind": _TOKENIZERS,
    "head.tokenizer.kind": _TOKENIZERS,
    "bridge.kind": {"bridge": "affine", "dense": "affine", "last": "copy", "zeros": "zero",
                    True: "affine", False: "copy"},
    "decoder.attention.score": {"mlp": "concat", "bahdanau": "concat", "additive": "concat",
                                "luong": "general", "bilinear": "general"},
    "training.batch_type": {"sents": "sentences", "sentence": "sentences", "token": "tokens"},
    "training.metric": {"ppl": "loss", "perplexity": "loss"},
    "decoding.length_penalty": {"avg": Instead("decoding.length_penalty_kind", "average"),
                                "wu": Instead("decoding.length_penalty_kind", "wu"), "none": 0.0},
}

VALUE_REMARKS: dict[tuple[str, str], str] = {
    ("decoder.attention.score", "bahdanau"): "Bahdanau et al. ask with the previous state: that is query: previous",
}

_FOUND = "devices are found by themselves; training.device chooses one"
_KEPT = "the best and the last checkpoint are kept; training.validate_every says how often"
_NO_BLOCK = "the sections are: data, source, encoder, bridge, decoder, head, training, decoding"

# Names without a counterpart, and what to do instead.
HINTS: dict[str, str] = {
    "world_size": _FOUND, "gpu_ranks": _FOUND, "gpu": _FOUND, "use_cuda": _FOUND, "devices": _FOUND,
    "save_checkpoint_steps": _KEPT, "keep_checkpoint": _KEPT, "save_model": "the run folder is the option --out",
    "model_dir": "the run folder is the option --out",
    "model": _NO_BLOCK, "opt": _NO_BLOCK,
    "max_len_a": "use decoding.max_length_ratio", "max_len_b": "use decoding.max_length",
    "encoder_type": "there is one kind of encoder; encoder.cell and encoder.bidirectional say which",
    "decoder_type": "there is one kind of decoder; decoder.cell says which",
    "exponential_smoothing": "use training.average: ema, and training.average_decay: 0.9999 for Marian's 1e-4",
    "fp16": "use training.precision: bf16", "wandb": "use training.tensorboard: true",
}
