"""Where training stands, as numbers: what a checkpoint keeps beside the tensors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Rate(BaseModel):
    """What has moved the learning rate.

    reductions: how often a plateau lowered it; halvings: how often the guard did; stale: validations since the best
    one, as the plateau counts them.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    reductions: int = 0
    halvings: int = 0
    stale: int = 0


class Progress(BaseModel):
    """Counts, and the best validation so far.

    step: updates done; epoch, batch: whole epochs done, and groups of batches of the present one; seconds: of all
    sessions. best, best_loss, best_step: metric, validation loss, and update of the best validation; stale: validations
    since. bad_updates: updates left out because a loss was not finite, bad_in_a_row: just now; split_batches: batches
    that did not fit into memory at once. forcing_off: accuracy has switched teacher forcing off; gold_ratio: share of
    gold history in the last update. From `updates` on everything counts since the last validation.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    validations: int = 0
    best: float | None = None
    best_loss: float = 0.0
    best_step: int = 0
    stale: int = 0
    bad_in_a_row: int = 0
    bad_updates: int = 0
    split_batches: int = 0
    forcing_off: bool = False
    finished: str = ""
    rate: Rate = Field(default_factory=Rate)
    gold_ratio: float = 1.0
    updates: int = 0
    clipped: int = 0
    loss_sum: float = 0.0
    risk_sum: float = 0.0
    sentences: int = 0
    tokens: int = 0
    train_seconds: float = 0.0

    def begin_interval(self) -> None:
        """A validation is done: count anew."""
        self.updates = self.clipped = self.tokens = 0
        self.sentences = 0
        self.loss_sum = self.risk_sum = self.train_seconds = 0.0

    @classmethod
    def stored(cls, numbers: Any) -> Progress:
        """From what a checkpoint holds. Raises ValueError naming what is missing or of the wrong type."""
        missing = cls.model_fields.keys() - (numbers.keys() if isinstance(numbers, dict) else ())
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} missing")
        try:
            return cls.model_validate(numbers)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
