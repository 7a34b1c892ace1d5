"""kind: language — the next symbol of a text, without a source: what a language model goes on with.

A text is its lines, each with its line end, whatever the tokenizer is: the line end is the symbol `</s>`. A text begins
behind a line end, in the empty state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqloom.config.sections import Config, DecodingConfig, LanguageHeadConfig
from seqloom.data.batching import pad
from seqloom.data.storage import read_json, write_json
from seqloom.data.tokenizers import Tokenizer, fit_tokenizer, load_tokenizer
from seqloom.errors import DataError
from seqloom.heads.base import Example, SetAside, SymbolsHead
from seqloom.search import search
from seqloom.sources.text import insert_rows
from seqloom.types import END, UNKNOWN, Engine, Hypothesis, Ints, Item, Padded, Prediction, Record

if TYPE_CHECKING:
    from seqloom.nn.language import LanguageModule

STEM = "target"
LINE_END = "\n"
WINDOW = 2048  # symbols of a text that are scored at once
NEVER = -1  # an id that no symbol has: line ends end no continuation


class TextScore(NamedTuple):
    """score: log-probability of a text in nats; of so many symbols, characters, and symbols that are not known."""

    score: float
    symbols: int
    characters: int
    unknown: int


class Head(SymbolsHead):
    """Texts as rows of ids; an answer is a hypothesis of the search, that goes on from a prompt."""

    kind = "language"
    is_stream = True

    def __init__(self, config: LanguageHeadConfig, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    # --- reading ---

    @classmethod
    def fit(cls, config: Config, records: Iterable[Record]) -> Head:
        """Learn the symbols from the lines of the training text."""
        assert isinstance(config.head, LanguageHeadConfig)
        return cls(config.head, fit_tokenizer(config.head.tokenizer, (record.text("text") for record in records)))

    def ids_of(self, line: str) -> list[int]:
        """The ids of a line with its end."""
        return [*self.tokenizer.encode(line), END]

    def tokens_of(self, text: str) -> list[str]:
        """The tokens of a text that may have several lines, a line end for each."""
        first, *others = text.split(LINE_END)
        found = list(self.tokenizer.tokens(first))
        for line in others:
            found += [LINE_END, *self.tokenizer.tokens(line)]
        return found

    def numbers(self, tokens: Iterable[str]) -> list[int]:
        """The ids of tokens, line ends among them."""
        return [END if token == LINE_END else self.tokenizer.id(token) for token in tokens]

    def link(self, source: Item) -> Item:
        """A prompt as the engine reads it: </s>, and its symbols. Raises DataError for half a surrogate pair."""
        tokens = self.tokens_of(source.tokens[0])
        return Item({"main": np.asarray([END, *self.numbers(tokens)], np.int64)}, tokens)

    def read(self, record: Record, source: Item | None) -> Item:
        """The text of a record as what is to be scored: it is its own prompt, and its end is a line end."""
        assert source is not None
        return Item({"main": np.append(source.fields["main"], END)}, [*source.tokens, LINE_END])

    def examples(self, source: Any, records: Iterable[Record], set_aside: SetAside) -> Iterator[Example]:
        """Each record as a text of its own, without a source. Training cuts one text into windows instead."""
        for record in records:
            try:
                item = self.link(source.read(record))
            except DataError as error:
                set_aside(record, error.message)
                continue
            yield Example(record, None, self.read(record, item))

    def texts_of(self, record: Record) -> list[str]:
        return record.texts("text")

    def text_of(self, tokens: Sequence[str]) -> str:
        """The text of tokens, line ends among them."""
        lines: list[list[str]] = [[]]
        for token in tokens:
            if token == LINE_END:
                lines.append([])
            else:
                lines[-1].append(token)
        return LINE_END.join(self.tokenizer.decode(line) for line in lines)

    def made_up(self, draw: np.random.Generator) -> dict[str, str]:
        """Twenty of the symbols that it knows, line ends among them, to try a model on where no data is left."""
        return {"text": self.text_of([self.token(int(number)) for number in draw.integers(END, self.size, 20)])}

    # --- telling ---

    @property
    def metric(self) -> str:
        return "loss"

    def describe(self) -> str:
        return f"the next of {super().describe()}"

    # --- the network ---

    def build(self, config: Config, encoder: Any) -> LanguageModule:
        """The recurrent network and its output layer; there is no encoder."""
        from seqloom.nn.language import LanguageModule

        return LanguageModule(self.size, config.decoder, one_hot=self.config.one_hot,
                              label_smoothing=config.training.label_smoothing)

    def tie(self, model: Any) -> None:
        """One matrix where the configuration shares it (Press & Wolf 2017, §3)."""
        if self.config.tie_embeddings == "output":
            model.head.output.weight = model.head.embedding.weight

    def insert_pretrained(self, module: LanguageModule, *, fresh: bool) -> list[str]:
        """Vectors into the embeddings."""
        return insert_rows(self.config.pretrained, self.tokenizer, module.embedding, "text", fresh=fresh)

    # --- answering ---

    def answer(self, engine: Engine[Any], sources: Sequence[Item], options: DecodingConfig, *, lines: Ints,
               attention: bool = False, prefixes: Sequence[Ints] | None = None) -> list[list[Hypothesis]]:
        """Continuations of each prompt; lengths, limits and rules count the continuation alone."""
        return search(Endless(engine), pad(sources), options, lines=lines, prefixes=prefixes,
                      limits=np.full(len(sources), options.max_length, np.int64))

    def prefix_ids(self, text: str, source: Item) -> Ints:
        """What a continuation is to begin with; unlike the prompt it counts as a part of it."""
        return np.asarray(self.numbers(self.tokens_of(text)) if text else [], np.int64)

    def prediction(self, hypothesis: Hypothesis, source: Item, source_tokens: list[str], options: DecodingConfig,
                   *, attention: bool = True) -> Prediction:
        """A continuation as text, without the prompt."""
        tokens = [self.token(int(number)) for number in hypothesis.ids]
        return Prediction(
            text=self.text_of(tokens), score=float(hypothesis.score), tokens=tokens,
            token_scores=hypothesis.token_scores, source_tokens=source_tokens,
            ranking_score=float(hypothesis.ranking_score), stopped="max_length")

    def token(self, number: int) -> str:
        """The token of an id."""
        return LINE_END if number == END else self.tokenizer.token(number)

    def alternatives(self, engine: Engine[Any], source: Item, answer: Hypothesis, count: int
                     ) -> list[list[tuple[str, float]]]:
        whole = np.concatenate([source.fields["main"], answer.ids])
        found = engine.answer(pad([Item({"main": whole[:-1]})]))[0][0, source.length - 1:]
        best = np.argsort(-found, axis=1, kind="stable")[:, :count]
        return [[(self.token(int(number)), float(np.exp(scores[number]))) for number in row]
                for row, scores in zip(best, found, strict=True)]

    def score(self, engine: Engine[Any], sources: Sequence[Item], targets: Sequence[Item], *, lines: Ints,
              attention: bool = False, candidates: int = 0) -> list[Prediction]:
        """Each line as a text of its own, its end among its symbols."""
        found = []
        for target in targets:
            ids = target.fields["main"]
            scores = np.concatenate(list(self._windows(engine, [ids])))
            found.append(Prediction(text=self.text_of(target.tokens[:-1]), score=float(scores.sum()),
                                    tokens=target.tokens[:-1], token_scores=scores))
        return found

    def score_text(self, engine: Engine[Any], lines: Iterable[str]) -> TextScore:
        """The log-probability of a whole text, given by its lines, each symbol after all that stand before it."""
        symbols = characters = unknown = 0

        def pieces() -> Iterator[Ints]:
            nonlocal symbols, characters, unknown
            yield np.array([END], np.int64)
            for line in lines:
                ids = np.asarray(self.ids_of(line), np.int64)
                symbols += len(ids)
                characters += len(line) + len(LINE_END)
                unknown += int(np.count_nonzero(ids == UNKNOWN))
                yield ids

        total = sum(float(scores.sum(dtype=np.float64)) for scores in self._windows(engine, pieces()))
        return TextScore(total, symbols, characters, unknown)

    def _windows(self, engine: Engine[Any], pieces: Iterable[Ints]) -> Iterator[Any]:
        """Log-probabilities of a text's ids but the first, window by window, the state carried over."""
        state: Any = None
        for ids in windows(pieces):
            found, state = engine.answer(Padded({"main": ids[None, :-1]}, np.array([len(ids) - 1])), state)
            yield np.take_along_axis(found[0], ids[1:, None], axis=1)[:, 0].astype(np.float64)

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write target.json and its tokenizer."""
        self.tokenizer.save(folder, STEM)
        write_json(folder / "target.json", {"kind": self.kind, "size": self.tokenizer.size})

    @classmethod
    def load(cls, folder: Path, config: LanguageHeadConfig) -> Head:
        """Read what `save` wrote. Raises RunFolderError."""
        read_json(folder / "target.json", "kind")
        return cls(config, load_tokenizer(folder, STEM))


def windows(pieces: Iterable[Ints], size: int = WINDOW) -> Iterator[Ints]:
    """A row of ids that comes in pieces, as windows of size + 1 that overlap by one id."""
    held: list[Ints] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count > size:
            whole = np.concatenate(held)
            begin = 0
            while len(whole) - begin > size:
                yield whole[begin:begin + size + 1]
                begin += size
            held, count = [whole[begin:]], len(whole) - begin
    if count > 1:
        yield np.concatenate(held)


class Endless:
    """An engine for continuations: a line end is a symbol like all others, and nothing is an end."""

    end = NEVER

    def __init__(self, engine: Engine[Any]) -> None:
        self.name = engine.name
        self.threads = engine.threads
        self.begin, self.step, self.keep, self.answer = engine.begin, engine.step, engine.keep, engine.answer
        self.positions = engine.positions
