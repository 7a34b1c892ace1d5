"""One thread for tiny models."""

from __future__ import annotations

from tiny import one_thread as one_thread
