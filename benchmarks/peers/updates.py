"""How a rival's own training program, unchanged, is made to work in windows: from within its process.

torch tells after every step of every optimiser; the tokens of the update are added up where the rival itself counts
them. Nothing else of it is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.windows import Windows


class Updates:
    """Tokens so far; each step of an optimiser may end a window."""

    def __init__(self, windows: Windows) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.tokens = 0
        self.windows = windows
        register_optimizer_step_post_hook(self._stepped)

    def _stepped(self, optimizer: Any, arguments: Any, options: Any) -> None:
        if not self.windows.facts.get("parameters"):
            self.windows.facts["parameters"] = sum(
                parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
        self.windows.done(self.tokens)

    def count(self, owner: Any, method: str, tokens: Callable[..., int]) -> None:
        """Add `tokens(result, *arguments)` whenever `owner.method` has been called."""
        original = getattr(owner, method)

        def counted(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            self.tokens += int(tokens(result, *arguments))
            return result

        setattr(owner, method, counted)
