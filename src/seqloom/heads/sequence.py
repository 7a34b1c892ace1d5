"""kind: sequence — a sequence out: text, phones, words, one token after the other until </s>."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from seqloom.config.sections import Config, DecodingConfig, SequenceHeadConfig
from seqloom.data.batching import pad
from seqloom.data.shortlist import Shortlist
from seqloom.data.storage import read_json, write_json
from seqloom.data.tokenizers import Tokenizer, fit_tokenizer, load_tokenizer
from seqloom.data.vocabulary import FIRST_SYMBOL
from seqloom.errors import DataError, UsageError
from seqloom.heads.base import HeadBase, SymbolsHead
from seqloom.search import search
from seqloom.search.scoring import ScoredTarget, score_targets
from seqloom.sources.text import insert_rows
from seqloom.types import END, START, UNKNOWN, Engine, Hypothesis, Ints, Item, Prediction, Record

if TYPE_CHECKING:
    from seqloom.nn.alignment import AlignmentLoss
    from seqloom.nn.output import SequenceModule

STEM = "target"


class Head(SymbolsHead):
    """Targets <s> … </s>; with copying, ids ≥ V are symbols of the sentence's own source."""

    kind = "sequence"
    metrics: ClassVar[Mapping[str, str]] = {name: name for name in (
        "exact_match", "wer", "cer", "bleu", "chrf", "ter", "rouge_1", "rouge_2", "rouge_l")}
    is_free_text = True

    def __init__(self, config: SequenceHeadConfig, tokenizer: Tokenizer, *, copying: bool = False) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.copying = copying

    # --- reading ---

    @classmethod
    def fit(cls, config: Config, records: Iterable[Record]) -> Head:
        """Learn the symbols from training records, and from their sources too with share_vocabulary."""
        options = config.head
        assert isinstance(options, SequenceHeadConfig)

        def texts() -> Iterable[str]:
            for record in records:
                if options.share_vocabulary:
                    yield record.text("source")
                yield from record.texts("target")

        return cls(options, fit_tokenizer(options.tokenizer, texts()), copying=config.decoder.copy_source)

    @property
    def shared_tokenizer(self) -> Tokenizer | None:
        return self.tokenizer if self.config.share_vocabulary else None

    def adopt(self, source: Any) -> None:
        """One tokenizer for both sides, the names of languages among its symbols, where one matrix serves both."""
        if self.config.tie_embeddings == "all":
            self.tokenizer = source.tokenizer

    @property
    def is_character_level(self) -> bool:
        """Whether a target reads as characters or phones, where exact match is the natural metric."""
        return self.config.tokenizer.kind in ("character", "jamo", "bytes")

    def link(self, source: Item) -> Item:
        """With copying, add the field `copy`: the target id of each source symbol (see Memory.copy_ids)."""
        if not self.copying:
            return source
        own: dict[str, int] = {}
        ids = []
        for position, token in enumerate(source.tokens):
            known = END if position == source.length - 1 else self.tokenizer.id(token)
            if position < source.leading_features:
                ids.append(-1)
            elif known != UNKNOWN:
                ids.append(known)
            else:
                ids.append(self.tokenizer.size + own.setdefault(token, len(own)))
        return replace(source, fields={**source.fields, "copy": np.asarray(ids, np.int64)})

    def copied_tokens(self, source: Item) -> list[str]:
        """The tokens of ids V, V + 1, … for this source."""
        if "copy" not in source.fields:
            return []
        own = {int(copy): token for copy, token in zip(source.fields["copy"], source.tokens, strict=True)
               if copy >= self.tokenizer.size}
        return [own[self.tokenizer.size + index] for index in range(len(own))]

    def read(self, record: Record, source: Item | None) -> Item:
        """Ids [T + 2] with <s> and </s>, and the tokens between them. Raises DataError for an empty target."""
        return self.read_text(record.text("target"), source, record.where)

    def read_text(self, text: str, source: Item | None, where: str = "") -> Item:
        """As `read`, from a text."""
        tokens = self.tokenizer.tokens(text)
        ids = self.tokenizer.ids(tokens)
        if not ids:
            raise DataError("the target is empty", where=where, fix="give some text, or remove the line")
        own = self.copied_tokens(source) if source is not None else []
        if own:
            copies = {token: self.tokenizer.size + index for index, token in enumerate(own)}
            ids = [copies.get(token, UNKNOWN) if number == UNKNOWN else number
                   for number, token in zip(ids, tokens, strict=True)]
        return Item({"main": np.asarray([START, *ids, END], np.int64)}, tokens)

    def tokens_of(self, text: str) -> list[str]:
        return self.tokenizer.tokens(text)

    # --- telling ---

    @property
    def metric(self) -> str:
        return "exact_match" if self.is_character_level else "bleu"

    @property
    def bleu_tokenize(self) -> str:
        tokenizer = self.config.tokenizer
        return "none" if tokenizer.kind == "word" and tokenizer.split == "space" else "13a"

    def ids_in(self, other: HeadBase) -> Ints:
        """Symbols of fixed kinds are the same where they are spelled the same; learned pieces only where all are."""
        if not isinstance(other, Head):
            return super().ids_in(other)
        if self.copying or other.copying:
            raise UsageError("a run that copies from its source answers together with runs of its own vocabulary only",
                             fix="use runs without decoder.copy_source")
        if (self.size, self.tokenizer.learned) == (other.size, other.tokenizer.learned):
            return np.arange(self.size)
        told = self.tokenizer.config.spelling
        if told is None or told != other.tokenizer.config.spelling:
            raise UsageError("their answers are cut into symbols in different ways", fix=(
                "use runs of one target tokenizer of kind word, character, jamo or bytes"))
        theirs = [other.tokenizer.id(symbol) for symbol in self.tokenizer.symbols]
        if all(number == UNKNOWN for number in theirs):
            raise UsageError("their answers have not one symbol in common", fix="use runs of one task")
        return np.asarray([*range(FIRST_SYMBOL), *(-1 if number == UNKNOWN else number for number in theirs),
                           *([-1] * len(self.tokenizer.features))], np.int64)

    # --- the network ---

    def build(self, config: Config, encoder: Any) -> SequenceModule:
        """The decoder and output layer that read this encoder's memory."""
        from seqloom.nn.cells import CELLS
        from seqloom.nn.decoders import InStepDecoder, RecurrentDecoder
        from seqloom.nn.hard_output import HardAttentionDecoder, HardAttentionModule
        from seqloom.nn.output import SequenceModule

        if config.decoder.context == "attention" and config.decoder.attention.kind != "soft":
            return HardAttentionModule(
                HardAttentionDecoder(self.tokenizer.size, encoder.memory_size,
                                     CELLS[config.encoder.cell].has_cell_state, config),
                self.tokenizer.size, label_smoothing=config.training.label_smoothing,
                alignment=self._alignment_loss(encoder))
        decoder = (InStepDecoder(encoder.memory_size) if config.decoder.context == "in_step" else
                   RecurrentDecoder(self.tokenizer.size, encoder.memory_size,
                                    CELLS[config.encoder.cell].has_cell_state, config))
        return SequenceModule(decoder, self.tokenizer.size, label_smoothing=config.training.label_smoothing,
                              coverage_loss=config.decoder.attention.coverage_loss,
                              alignment=self._alignment_loss(encoder), normalization=self.config.normalization)

    def _alignment_loss(self, encoder: Any) -> AlignmentLoss | None:
        from seqloom.nn.alignment import AlignmentLoss

        return None if not self.config.alignment_loss else AlignmentLoss(
            encoder.memory_size, self.tokenizer.size, self.config.alignment_loss)

    def tie(self, model: Any) -> None:
        """One matrix where the configuration shares it (Press & Wolf 2017, §3)."""
        if self.config.tie_embeddings == "none":
            return
        embedding = model.head.decoder.embedding
        model.head.output.weight = embedding.weight
        if self.config.tie_embeddings == "all":
            model.encoder.embedding.weight = embedding.weight

    def insert_pretrained(self, module: SequenceModule, *, fresh: bool) -> list[str]:
        """Vectors into the target embeddings. The baseline in step has none; the report says so."""
        options = self.config.pretrained
        embedding: Any = getattr(module.decoder, "embedding", None)
        if options is not None and embedding is None:
            return [f"target embeddings: there are none with decoder.context in_step, so the vectors of {options.path} "
                    "have no effect"]
        return insert_rows(options, self.tokenizer, embedding, "target", fresh=fresh)

    # --- answering ---

    def answer(self, engine: Engine[Any], sources: Sequence[Item], options: DecodingConfig, *, lines: Ints,
               attention: bool = False, prefixes: Sequence[Ints] | None = None,
               shortlist: Shortlist | None = None) -> list[list[Hypothesis]]:
        """Search: the best hypotheses of each source, best first; among the symbols of a shortlist where one is given.
        """
        padded = pad(sources)
        return search(engine, padded, options, lines=lines, weights=attention or options.replace_unknown,
                      prefixes=prefixes, shortlist=None if shortlist is None else shortlist.lists(padded))

    def prefix_ids(self, text: str, source: Item) -> Ints:
        if not text:
            return np.zeros(0, np.int64)
        item = self.read_text(text, source)
        ids: Ints = item.fields["main"][1:-1]
        if UNKNOWN in ids:
            raise UsageError(f"the prefix '{text}' holds '{item.tokens[ids.tolist().index(UNKNOWN)]}', which the model "
                             "never saw in an answer", fix="leave it out, or begin with symbols of the training data")
        return ids

    def alternatives(self, engine: Engine[Any], source: Item, answer: Hypothesis, count: int
                     ) -> list[list[tuple[str, float]]]:
        scored = self._scored(engine, [source], [answer.ids], lines=np.zeros(1, np.int64), candidates=count)[0]
        # Scoring ends with </s>, an answer that was cut does not.
        return self._alternative_tokens(scored, source)[: len(answer.token_scores)]

    def score(self, engine: Engine[Any], sources: Sequence[Item], targets: Sequence[Item], *, lines: Ints,
              attention: bool = False, candidates: int = 0) -> list[Prediction]:
        ids = [target.fields["main"][1:-1] for target in targets]
        found = self._scored(engine, sources, ids, lines=lines, attention=attention, candidates=candidates)
        return [Prediction(
            text=self.tokenizer.decode(target.tokens), score=scored.hypothesis.score, tokens=target.tokens,
            token_scores=scored.hypothesis.token_scores,
            attention=scored.hypothesis.weights if attention else None,
            alternatives=self._alternative_tokens(scored, source) if candidates else [])
            for scored, source, target in zip(found, sources, targets, strict=True)]

    def _scored(self, engine: Engine[Any], sources: Sequence[Item], targets: Sequence[Ints], *, lines: Ints,
                attention: bool = False, candidates: int = 0) -> list[ScoredTarget]:
        """Forced decoding of given targets (ids between <s> and </s>): see search.scoring."""
        return score_targets(engine, pad(sources), targets, lines=lines, weights=attention, candidates=candidates)

    def _alternative_tokens(self, scored: ScoredTarget, source: Item) -> list[list[tuple[str, float]]]:
        own = self.copied_tokens(source)
        return [[(self.token(int(number), own), float(np.exp(score)))
                 for number, score in zip(numbers, scores, strict=True)]
                for numbers, scores in zip(scored.alternatives, scored.alternative_scores, strict=True)]

    def token(self, number: int, own: Sequence[str]) -> str:
        """The token of an id, also of a copied symbol."""
        size = self.tokenizer.size
        return self.tokenizer.token(number) if number < size else own[number - size]

    def prediction(self, hypothesis: Hypothesis, source: Item, source_tokens: list[str], options: DecodingConfig,
                   *, attention: bool = True) -> Prediction:
        """A hypothesis as text."""
        own = self.copied_tokens(source)
        size, token = self.tokenizer.size, self.tokenizer.token
        tokens = [token(number) if number < size else own[number - size] for number in hypothesis.ids.tolist()]
        if options.replace_unknown and hypothesis.weights is not None:
            ends = len(source.tokens) - 1  # </s> and features are no replacement
            for step, number in enumerate(hypothesis.ids):
                words = hypothesis.weights[step, source.leading_features:ends]
                if number == UNKNOWN and words.size:
                    tokens[step] = source.tokens[source.leading_features + int(words.argmax())]
        weights = hypothesis.weights if attention else None
        return Prediction(
            text=self.tokenizer.decode(tokens), score=float(hypothesis.score), tokens=tokens,
            token_scores=hypothesis.token_scores, source_tokens=source_tokens,
            attention=None if weights is None else weights[:, : len(source_tokens)].astype(np.float32),
            ranking_score=float(hypothesis.ranking_score), stopped="end" if hypothesis.finished else "max_length")

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write target.json and its tokenizer."""
        self.tokenizer.save(folder, STEM)
        write_json(folder / "target.json", {"kind": self.kind, "size": self.tokenizer.size, "copying": self.copying})

    @classmethod
    def load(cls, folder: Path, config: SequenceHeadConfig) -> Head:
        """Read what `save` wrote. Raises RunFolderError."""
        stored = read_json(folder / "target.json", "kind", "copying")
        return cls(config, load_tokenizer(folder, STEM), copying=bool(stored["copying"]))
