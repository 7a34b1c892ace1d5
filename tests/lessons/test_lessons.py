"""The lessons: their code runs, both languages are in step, and the answers to their questions are right."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

import torch

from seqloom.data.generated import numbers
from source_tree import ROOT

LESSONS = ROOT / "docs" / "lessons"


def module_of(path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module  # dataclasses and NamedTuples look themselves up
    specification.loader.exec_module(module)
    return module


course = module_of(LESSONS / "course.py")
NAMES = [page.stem for page in course.pages("en")]


def words_of(text: str) -> str:
    """A printed text without its fractions, which may differ a little from machine to machine."""
    return re.sub(r"-?\d+\.\d*(?:e-?\d+)?", "#", text)


def answers(name: str, language: str) -> list[str]:
    page = (LESSONS / language / f"{name}.md").read_text(encoding="utf-8")
    (hidden,) = re.findall(r"<details markdown=\"1\">(.*?)</details>", page, re.DOTALL)
    return re.findall(r"\*\*([\d.]+)\*\*", hidden)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lessons")


def test_there_are_thirteen_in_both_languages() -> None:
    assert len(NAMES) == 13
    assert [page.stem for page in course.pages("ko")] == NAMES == list(course.PICTURES)


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_code_pictures_and_links(name: str) -> None:
    english, korean = (LESSONS / language / f"{name}.md" for language in course.LANGUAGES)
    assert course.blocks_of(english) == course.blocks_of(korean)
    pages = [path.read_text(encoding="utf-8") for path in (english, korean)]
    links = [sorted(re.findall(r"\]\((\.\./(?!en/|ko/)[^)]+)\)", page)) for page in pages]
    assert links[0] == links[1]
    assert any(link.startswith("../../../src/seqloom/") for link in links[0]), "no link to the code"
    assert [len(re.findall(r"^## ", page, re.MULTILINE)) for page in pages] == [4, 4]
    assert len(re.findall(r"!\[[^]]+\]", pages[0])) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_has_few_lines_and_its_code_runs(name: str, place: Path) -> None:
    """In order, in one folder, as a learner does."""
    page = LESSONS / "en" / f"{name}.md"
    blocks = course.blocks_of(page)
    assert sum(map(lines_to_run, blocks)) <= 12, "a lesson is about ten lines to run"
    outputs = course.run_page(page, place, short=True)
    for block, printed in zip(blocks, outputs, strict=True):
        if block.output is not None and name not in course.SHORTER:
            assert words_of(printed) == words_of(block.output)
    assert (place / course.PICTURES[name].file).stat().st_size > 500


def lines_to_run(block: Any) -> int:
    """Lines of code; what is imported, left empty, or a file of settings that is only written, is not counted."""
    lines = [] if block.kind == "yaml" else block.code.splitlines()
    return sum(bool(line.strip()) and not line.startswith(("import ", "from ")) for line in lines)


@pytest.mark.parametrize(("number", "said"), [
    (1, "일"), (10, "십"), (111, "백십일"), (1000, "천"), (2021, "이천이십일"), (5006, "오천육"),
    (9999, "구천구백구십구")])
def test_numbers_as_koreans_say_them(number: int, said: str) -> None:
    assert numbers.korean(number) == said


def test_no_number_is_in_two_splits(tmp_path: Path) -> None:
    files = numbers.write(tmp_path / "new", train=300, valid=40, test=20)
    lines = [line for path in files.values() for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(set(lines)) == 360
    assert all(numbers.korean(int(number)) == said for said, number in (line.split("\t") for line in lines))


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, **options: int) -> float:
    return float(torch.nn.functional.cross_entropy(logits, targets, **options))


def padded_losses() -> list[float]:
    """Two real tokens of probability one half each, and three of padding (0) that the model is sure of."""
    targets = torch.tensor([1, 2, 0, 0, 0])
    logits = torch.tensor([[-1e9, 0.0, 0.0], [-1e9, 0.0, 0.0], *[[1e9, 0.0, 0.0]] * 3])
    return [cross_entropy(logits, targets, ignore_index=0), cross_entropy(logits, targets)]


def distances(reverse: bool, size: int = 5) -> list[int]:
    """Steps from reading token s to writing token s: time runs over the source, then over the target."""
    read = {token: time for time, token in enumerate(reversed(range(size)) if reverse else range(size))}
    return [size + token - read[token] for token in range(size)]


def score_sizes() -> list[int]:
    from seqloom.nn.scores import SCORES

    return [sum(one.numel() for one in SCORES[name](64, 64, hidden_size=64, layers=1).parameters())
            for name in ("dot", "general", "concat")]


def size_of(module: torch.nn.Module, *names: str) -> int:
    return sum(one.numel() for name, one in module.named_parameters() if not names or name in names)


def expected(name: str) -> list[float]:
    """The answers, from torch, from counting, or from a simulation."""
    draw = np.random.default_rng(3).standard_normal((2, 40000, 64))
    products = (draw[0] * draw[1]).sum(1)
    lstm = torch.nn.LSTM(16, 32, bidirectional=True)
    return {
        "01-hello": [size_of(torch.nn.RNNCell(4, 3), "weight_ih", "weight_hh", "bias_ih")],
        "02-gates": [size_of(torch.nn.LSTMCell(16, 32))],
        "03-summary": [sum(state.numel() for state in lstm(torch.zeros(7, 1, 16))[1])],
        "04-bottleneck": [(9999).bit_length()],
        "05-padding": padded_losses(),
        "06-teacher-forcing": [0.9, float(np.cumprod([0.9] * 5).mean())],
        "07-four-steps": torch.tensor([2.0, 1.0, 0.0]).softmax(0).tolist(),
        "08-scores": score_sizes(),
        "09-reversal": [distances(False)[0], distances(True)[0], np.mean(distances(False)), np.mean(distances(True))],
        "10-settings": [1, len("이천이십일"), len([*"2021", "</s>"])],
        "11-captions": [(32 // 2**2) ** 2, (32 // 2**3) ** 2],
        "12-chatbot": [math.log(2), math.exp(math.log(2))],
        "13-transformer": [round(products.std()), round((products / 8).std(), 1)],
    }[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_answers_are_right(name: str) -> None:
    shown = answers(name, "en")
    assert shown == answers(name, "ko")
    assert [float(one) for one in shown] == pytest.approx(expected(name), abs=6e-4)


def test_two_equal_replies_cost_at_least_ln_2() -> None:
    """The lowest mean of −log p over two outcomes that come equally often, by search over p."""
    p = np.linspace(0.01, 0.99, 99)
    losses = -(np.log(p) + np.log(1 - p)) / 2
    assert losses.min() == pytest.approx(math.log(2))
    assert p[losses.argmin()] == pytest.approx(0.5)


def test_our_cells_and_regions_have_the_sizes_that_the_lessons_say() -> None:
    from seqloom.nn.cells import CELLS

    assert size_of(CELLS["lstm"](16, 32)) == 6400
    assert size_of(CELLS["rnn_tanh"](4, 3)) == 27


@pytest.mark.parametrize(("first", "second"), [
    ("README.md", "README.ko.md"), ("docs/glossary.md", "docs/glossary.ko.md")])
def test_translations_are_in_step(first: str, second: str) -> None:
    """As many headings of each level and rows of tables; the same code."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in (first, second)]
    code = [re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL) for text in texts]
    assert code[0] == code[1]
    prose = [re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL) for text in texts]
    for pattern in (r"^#+ ", r"^\|"):
        shapes = [[line[:3].strip() for line in re.findall(pattern + ".*", text, re.MULTILINE)] for text in prose]
        assert [re.match(r"#*", one)[0] for one in shapes[0]] == [  # type: ignore[index]
            re.match(r"#*", one)[0] for one in shapes[1]]  # type: ignore[index]


def test_the_glossaries_name_each_other_s_terms() -> None:
    texts = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("glossary.md", "glossary.ko.md")]
    rows = [re.findall(r"^\| ([^|]+) \| ([^|]+) \|[^|]+\| (\d+) \|$", text, re.MULTILINE) for text in texts]
    assert len(rows[0]) > 30
    assert [(korean, english, lesson) for english, korean, lesson in rows[0]] == rows[1]
