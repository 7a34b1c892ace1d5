"""Write the pages that are generated: config.md from the configuration sections, cli.md from the command line.

    make docs                        # write them
    pytest tests/test_docs.py        # fails when they are stale
"""

from __future__ import annotations

from pathlib import Path

from seqloom.cli.reference import page as cli_page
from seqloom.config.reference import page as config_page

FOLDER = Path(__file__).parent


def main() -> None:
    for name, text in {"config.md": config_page(), "cli.md": cli_page()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
