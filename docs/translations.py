"""Put the code blocks of README.md into README.ko.md: code is not translated. Part of `make docs`.

The prose stays a person's work; tests/lessons compare headings, rows of tables, and code.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def with_code_of(original: str, translation: str) -> str:
    """The translation with the original's code blocks. Raises ValueError when it has another number of them."""
    blocks = BLOCK.findall(original)
    if len(blocks) != len(BLOCK.findall(translation)):
        raise ValueError(f"README.ko.md has {len(BLOCK.findall(translation))} code blocks, README.md {len(blocks)}")
    left = iter(blocks)
    return BLOCK.sub(lambda _: next(left), translation)


def main() -> None:
    original, goal = (ROOT / "README.md").read_text(encoding="utf-8"), ROOT / "README.ko.md"
    goal.write_text(with_code_of(original, goal.read_text(encoding="utf-8")), encoding="utf-8")
    print("README.ko.md")


if __name__ == "__main__":
    main()
