"""Ways to damage an export, for the tests of every kind of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqloom.engines.artifacts import FOLDER, MANIFEST


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Rewrite the manifest of a run's export."""
    path = folder / FOLDER / MANIFEST
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def flip(path: Path) -> None:
    """One bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
