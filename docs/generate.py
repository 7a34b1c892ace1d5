"""Write the pages that are generated: config.md from the configuration sections, cli.md from the command line,
presets.md from the presets' own files.

    make docs                        # write them
    pytest tests/test_docs.py        # fails when they are stale
"""

from __future__ import annotations

from pathlib import Path

from seqloom.cli.reference import page as cli_page
from seqloom.config.loading import preset_names, preset_path, preset_summary
from seqloom.config.reference import page as config_page
from seqloom.data.generated import TASKS

FOLDER = Path(__file__).parent
PRESETS_HEAD = """\
<!-- Generated: make docs. A test fails when it is stale. -->
# Presets

A preset is a part of a configuration: what it does not say is as in [config.md](config.md). `seqloom train FILE
--preset NAME` runs one as it stands; a file may say `preset: NAME` and change keys, `--set training.epochs=20` changes
one, and `--preset NAME --print-config` shows the whole. `seqloom demo --task NAME` runs those that have built-in data,
with smaller models where its data is simpler.
"""


def presets_page() -> str:
    """Every preset as its file has it, comments too, and the demo there is for it."""
    tasks = {task.preset: name for name, task in TASKS.items()} | {"dates": "dates"}
    parts = [PRESETS_HEAD]
    for name in preset_names():
        demo = f" Built-in data: `seqloom demo --task {tasks[name]}`." if name in tasks else ""
        text = preset_path(name).read_text(encoding="utf-8").rstrip("\n")
        parts.append(f"## {name}\n\n{preset_summary(name)}{demo}\n\n```yaml\n{text}\n```\n")
    return "\n".join(parts)


def main() -> None:
    for name, text in {"config.md": config_page(), "cli.md": cli_page(), "presets.md": presets_page()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
