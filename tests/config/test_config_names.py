"""Names that a configuration may use are the keys of the tables, found without importing them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from seqloom.config import names
from seqloom.config.keys import keys
from seqloom.config.sections import EncoderConfig

PROGRAM = "import sys, seqloom.config as config; config.load_config(preset='g2p'); print('torch' in sys.modules)"


def test_names_are_those_of_the_tables() -> None:
    pytest.importorskip("torch")
    from seqloom.data.tokenizers import TOKENIZERS
    from seqloom.nn.cells import CELLS
    from seqloom.nn.scores import SCORES
    from seqloom.search import STRATEGIES

    assert keys()["encoder.cell"].names == tuple(CELLS)
    assert keys()["decoder.attention.score"].names == tuple(SCORES)
    assert keys()["head.tokenizer.kind"].names == tuple(TOKENIZERS)
    assert keys()["decoding.strategy"].names == ("auto", *STRATEGIES)


def test_a_new_entry_of_a_table_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nn").mkdir()
    module = "import nothing_of_that_name\nCELLS: dict[str, type] = {'minimal': Minimal}\n"
    (tmp_path / "nn" / "cells.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(names, "PACKAGE", tmp_path)
    names.listed_names.cache_clear()
    try:
        assert EncoderConfig(cell="minimal").cell == "minimal"
        with pytest.raises(ValidationError, match="unknown name 'lstm', expected one of: minimal"):
            EncoderConfig(cell="lstm")
        with pytest.raises(LookupError, match=r"nn/cells.py has no dictionary named NONE"):
            names.listed_names("nn/cells.py", "NONE")
    finally:
        names.listed_names.cache_clear()


def test_checking_a_configuration_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
