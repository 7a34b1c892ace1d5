"""A new score, decoding strategy or tokenizer is a change of one file, and the contract tests run on it by its name.

Each extension is applied to a copy of the repository, and that copy's tests run in a process of their own: once as a
newcomer would write it, and once with a mistake in it, which the same tests must find.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from source_tree import ROOT


class Extension(NamedTuple):
    """`code` goes above the table of a file, `name: value` into it; `mistake` turns the code into broken code."""

    module: str
    table: str
    name: str
    value: str
    code: str
    mistake: tuple[str, str]
    tests: list[str]


COSINE = Extension("nn/scores.py", "SCORES", "cosine", "Cosine", '''
class Cosine(Score):
    """Cosine of query and key times a learned sharpness (Graves et al. 2014, eqs. 5-6). Equal sizes."""

    def __init__(self, query_size: int, memory_size: int, *, hidden_size: int, layers: int) -> None:
        super().__init__(query_size, memory_size, hidden_size=hidden_size, layers=layers)
        self.sharpness = nn.Parameter(torch.ones(()))

    def keys(self, values: Float[Tensor, "B S M"]) -> Float[Tensor, "B S M"]:
        return functional.normalize(values, dim=2)

    def forward(self, query: Float[Tensor, "B K M"], keys: Float[Tensor, "B S M"],
                last: Float[Tensor, "B K S"] | None) -> Float[Tensor, "B K S"]:
        return self.sharpness * torch.bmm(functional.normalize(query, dim=2), keys.transpose(1, 2))
''', ("functional.normalize(values, dim=2)", "functional.normalize(values, dim=1)"),
                   ["tests/nn/test_scores.py", "tests/nn/test_attention.py"])

TWO_WAYS = Extension("search/__init__.py", "STRATEGIES", "two_ways", "two_ways", '''
def two_ways(request: Request) -> list[list[Hypothesis]]:
    """Beam search that keeps two hypotheses, whatever beam_size says."""
    from dataclasses import replace

    return beam(replace(request, options=request.options.model_copy(update={"beam_size": 2})))
''', ('{"beam_size": 2}', '{"beam_size": 2, "no_repeat_ngram_size": 0}'), ["tests/search/test_strategies.py"])

LETTER_PAIRS = Extension("data/tokenizers.py", "TOKENIZERS", "letter_pairs", "LetterPairTokenizer", '''
class LetterPairTokenizer(CountedTokenizer):
    """Two Unicode code points at a time."""

    unit = "letter pairs"

    def split(self, text: str) -> list[str]:
        return [text[start:start + 2] for start in range(0, len(text), 2)]

    def decode(self, tokens: Sequence[str]) -> str:
        return "".join(tokens)
''', ("start:start + 2", "start:start + 1"), ["tests/data/test_tokenizers.py"])

EXTENSIONS = [COSINE, TWO_WAYS, LETTER_PAIRS]


def apply(extension: Extension, folder: Path, *, broken: bool = False) -> None:
    """Change the one file."""
    path = folder / "src" / "seqloom" / extension.module
    text = path.read_text(encoding="utf-8")
    match = re.search(rf"^{extension.table}\b.* = {{\n", text, re.MULTILINE)
    assert match, f"{extension.module} has no table {extension.table} at its foot"
    old, new = extension.mistake
    assert extension.code.count(old) == 1
    code = extension.code.replace(old, new) if broken else extension.code
    line = f'    "{extension.name}": {extension.value},\n'
    path.write_text(f"{text[:match.start()]}{code.lstrip()}\n\n{match[0]}{line}{text[match.end():]}", encoding="utf-8")


def copy_of_the_repository(folder: Path, *, broken: bool = False) -> Path:
    """The package and its tests with all extensions applied."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for extension in EXTENSIONS:
        apply(extension, folder, broken=broken)
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, with the copy's package in front of the installed one."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=240)


def outcomes(folder: Path, *selection: str) -> dict[str, list[str]]:
    """Outcome of every test that has the name of an extension in its id, by that name."""
    names = [extension.name for extension in EXTENSIONS]
    done = run(folder, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-k", " or ".join(names), *selection)
    found = re.findall(r"^(PASSED|FAILED|ERROR) (\S+\[.*\])", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return {name: [outcome for outcome, test in found if name in test] for name in names}


TESTS = [path for extension in EXTENSIONS for path in extension.tests]


def test_contract_tests_run_on_new_entries(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = copy_of_the_repository(tmp_path)
    where = run(folder, "-c", "import seqloom; print(seqloom.__file__)").stdout
    assert Path(where.strip()).is_relative_to(folder)
    for name, found in outcomes(folder, *TESTS).items():
        assert len(found) >= 5, f"the contract tests do not run on {name}"
        assert set(found) == {"PASSED"}, name


def test_contract_tests_find_a_mistake_in_new_entries(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = copy_of_the_repository(tmp_path, broken=True)
    for name, found in outcomes(folder, *TESTS).items():
        assert "FAILED" in found, f"nothing failed on a broken {name}"


def test_new_entries_are_names_in_the_configuration(tmp_path: Path) -> None:
    folder = copy_of_the_repository(tmp_path)
    program = """
from seqloom.config.sections import AttentionConfig, DecodingConfig, TokenizerConfig
AttentionConfig(score="cosine"), DecodingConfig(strategy="two_ways"), TokenizerConfig(kind="letter_pairs")
"""
    done = run(folder, "-c", program)
    assert done.returncode == 0, done.stderr


def test_new_entries_pass_the_checks_of_the_code(tmp_path: Path) -> None:
    folder = copy_of_the_repository(tmp_path)
    done = run(folder, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/test_documentation.py",
               "tests/test_safety.py", "-k", "table_entries or nothing_runs")
    assert done.returncode == 0, done.stdout
