"""Tiny products run in one thread; the helpers of the export tests."""

import sys
from pathlib import Path

from tiny import one_thread

sys.path.append(str(Path(__file__).parents[1] / "export"))

__all__ = ["one_thread"]
