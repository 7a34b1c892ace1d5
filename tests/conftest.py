"""What every test shares: checked shapes, one thread (tiny models are faster so), the shared data, a tiny task."""

from __future__ import annotations

import importlib.util
import os
import random
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Read when torch is first imported, so a test that needs no torch still loads none; subprocesses inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

if importlib.util.find_spec("jaxtyping") and importlib.util.find_spec("beartype"):
    from jaxtyping import install_import_hook

    # Shapes in the signatures of the networks, such as Float[Tensor, "B S M"], are checked at every call. The hook
    # works on modules imported after it: this file is read before any test module.
    install_import_hook("seqloom.nn", "beartype.beartype")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, which is no part of the repository; skips where there is none."""
    folder = Path(os.environ.get("SEQLOOM_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set SEQLOOM_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TSV of 48 distinct pairs: three to six space-separated letters, and the same letters backwards."""
    draw = random.Random(1)
    sources: dict[str, None] = {}
    while len(sources) < 48:
        sources[" ".join(draw.choices("abcdefgh", k=draw.randint(3, 6)))] = None
    path = tmp_path_factory.mktemp("tiny") / "pairs.tsv"
    path.write_text("".join(f"{source}\t{source[::-1]}\n" for source in sources), encoding="utf-8")
    return path
