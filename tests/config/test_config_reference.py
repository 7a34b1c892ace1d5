"""docs/config.md is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from seqloom.config import preset_names
from seqloom.config.aliases import ALIASES
from seqloom.config.keys import corpus_keys, keys, sections
from seqloom.config.reference import page

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m seqloom.config.reference > docs/config.md"


def test_everything_is_on_the_page() -> None:
    text = page()
    for key in (*keys().values(), *corpus_keys().values()):
        row = [line for line in text.splitlines() if line.startswith(f"| `{key.path.rpartition('.')[2]}` | ")]
        assert any(key.description.replace("|", "\\|") in line for line in row), key.path
        assert all(f"`{name}`" in text for name in key.names)
    for path in sections():
        assert re.search(rf"^##+ {path}( of \w+|\.kind: \w+)?$", text, re.MULTILINE), path
    assert all(f"| `{name}` | " in text for name in ALIASES)
    assert all(f"[`{name}`]" in text for name in preset_names())


def test_tables_are_whole() -> None:
    """Every line of a table has as many cells as its head."""
    cells = 0
    for line in page().splitlines():
        count = line.replace("\\|", "").count("|")
        assert not count or not cells or count == cells, line
        cells = count


def test_it_prints_itself() -> None:
    command = [sys.executable, "-m", "seqloom.config.reference"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert done.stdout.decode("utf-8") == page()
