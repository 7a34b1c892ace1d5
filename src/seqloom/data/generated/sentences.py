"""Text → a tag for each word: sentences by a small grammar, with their parts of speech; many words have several.

"the cooks light the open stove" and "they cook in the light": what a word is follows from the words around it. Tags are
those of Universal Dependencies. Of each sentence only one tagging is one of the grammar: others are drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from seqloom.data.generated import pick, write_texts

Template = tuple[str, ...]

# A class is a tag, and after the colon what else the grammar has to know: number, or what a verb takes.
BASE = ("watch", "light", "paint", "plan", "cook", "ship", "book", "answer", "clean", "open", "warm", "cool", "dry",
        "park", "like", "need")
MOVING = ("walk", "run", "sail", "march", "race", "jump", "light", "cool")
WORDS: dict[str, tuple[str, ...]] = {
    "DET:one": ("the", "a", "this", "that", "every"),
    "DET:many": ("the", "these", "those", "some", "all"),
    "ADJ": ("open", "clean", "light", "warm", "cool", "dry", "fast", "hard", "old", "green", "quiet", "back"),
    "NOUN:one": ("watch", "light", "paint", "plan", "cook", "ship", "book", "answer", "park", "walk", "run", "sail",
                 "march", "race", "jump", "can", "will", "well", "dog", "city", "stove", "back"),
    "NOUN:many": ("watches", "lights", "paints", "plans", "cooks", "ships", "books", "answers", "parks", "walks",
                  "runs", "sails", "races", "dogs", "cities", "needs"),
    "PRON:one": ("she", "he", "it", "that", "this"),
    "PRON:many": ("they", "we", "you", "those", "all"),
    "PRON:object": ("it", "them", "us", "that", "this", "those", "all"),
    "VERB:one:thing": ("watches", "lights", "paints", "plans", "cooks", "ships", "books", "answers", "cleans", "opens",
                       "warms", "cools", "dries", "parks", "likes", "needs"),
    "VERB:many:thing": BASE,
    "VERB:one:alone": ("walks", "runs", "sails", "marches", "races", "jumps"),
    "VERB:many:alone": MOVING,
    "VERB:one:to": ("plans", "likes", "needs", "wants"),
    "VERB:many:to": ("plan", "like", "need", "want"),
    "VERB:one:that": ("says", "answers", "knows"),
    "VERB:many:that": ("say", "answer", "know"),
    "AUX": ("can", "will", "may", "must"),
    "PART": ("to",),
    "SCONJ": ("that",),
    "ADP": ("to", "like", "in", "near", "over", "past"),
    "ADV": ("fast", "hard", "well", "there", "back", "past", "often"),
}


def phrases(number: str) -> list[Template]:
    """What has a noun at its end, or is a pronoun."""
    return [(f"DET:{number}", f"NOUN:{number}"), (f"DET:{number}", "ADJ", f"NOUN:{number}")]


def endings(number: str, *, nested: bool = True) -> Iterator[Template]:
    """What may follow a subject."""
    things = [("PRON:object",), *phrases("one"), *phrases("many")]
    places = [("ADP", *phrase) for phrase in [*phrases("one"), *phrases("many")]]
    alone = [(), ("ADV",), *places]
    for thing, after in product(things, [(), ("ADV",)]):
        yield (f"VERB:{number}:thing", *thing, *after)
        yield (f"VERB:{number}:to", "PART", "VERB:many:thing", *thing)
        yield ("AUX", "VERB:many:thing", *thing, *after)
    for after in alone:
        yield (f"VERB:{number}:alone", *after)
        yield (f"VERB:{number}:to", "PART", "VERB:many:alone", *after)
        yield ("AUX", "VERB:many:alone", *after)
    if nested:
        for inner in ("one", "many"):
            for subject, rest in product([(f"PRON:{inner}",), phrases(inner)[0]], endings(inner, nested=False)):
                if len(rest) <= 4:
                    yield (f"VERB:{number}:that", "SCONJ", *subject, *rest)


@cache
def templates() -> dict[int, list[Template]]:
    """Every sentence of the grammar as classes, by its length."""
    found: dict[int, list[Template]] = {}
    for number in ("one", "many"):
        for subject, rest in product([(f"PRON:{number}",), *phrases(number)], endings(number)):
            found.setdefault(len(subject) + len(rest), []).append((*subject, *rest))
    return found


@cache
def classes_of(word: str) -> frozenset[str]:
    """The classes that a word may have."""
    return frozenset(name for name, words in WORDS.items() if word in words)


def taggings(words: list[str]) -> set[tuple[str, ...]]:
    """Every tagging that the grammar has for a sentence."""
    known = [classes_of(word) for word in words]
    return {tags_of(template) for template in templates().get(len(words), [])
            if all(name in possible for name, possible in zip(template, known, strict=True))}


def tags_of(template: Template) -> tuple[str, ...]:
    """The classes' tags."""
    return tuple(name.partition(":")[0] for name in template)


def draw(generator: np.random.Generator) -> tuple[str, str]:
    """A sentence and its tags, both with spaces between them."""
    lengths = sorted(templates())
    while True:
        group = templates()[lengths[int(generator.integers(len(lengths)))]]
        template = group[int(generator.integers(len(group)))]
        words = [pick(generator, WORDS[name]) for name in template]
        if len(taggings(words)) == 1:
            return " ".join(words), " ".join(tags_of(template))


def write(folder: str | Path, train: int = 5000, valid: int = 300, test: int = 600,
          seed: int = 1) -> dict[str, Path]:
    """Write <split>.tsv (sentence, tab, tags); the manifests by split. A sentence of one split is in no other."""
    return write_texts(folder, {"train": train, "valid": valid, "test": test}, draw, seed)
