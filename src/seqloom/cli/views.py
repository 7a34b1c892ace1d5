"""What `seqloom explain` does for the views beyond attention: --steps and its like. Each is one entry of VIEWS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from seqloom.cli.options import whole_number
from seqloom.cli.streams import say
from seqloom.errors import UsageError
from seqloom.insight.path import path_of
from seqloom.insight.steps import CANDIDATES
from seqloom.plots import writer_for
from seqloom.plots.output import write_whole
from seqloom.plots.path_page import path_html, path_json, path_svg
from seqloom.plots.steps_page import steps_html, steps_json
from seqloom.types import Prediction


class View(NamedTuple):
    """A view: its option, what it makes of an answer, and how each suffix writes that."""

    option: str
    look: Callable[[Any, Prediction], Any]
    writers: dict[str, Callable[[Any, Prediction, str], bytes]]


def draw_view(view: View, request: Any, answer: Callable[[Any], Prediction]) -> None:
    """Answer the input, look, and write the file. Raises UsageError before anything is computed."""
    if request.output is None:
        raise UsageError(f"{view.option} needs a file to write",
                         fix=f"add -o FILE, whose name ends in one of: {', '.join(view.writers)}")
    write = writer_for(Path(request.output), view.writers)
    prediction = answer(request)
    write_whole(Path(request.output), write(view.look(request, prediction), prediction, request.text))
    say(request.output)


def _steps(request: Any, prediction: Prediction) -> Any:
    return prediction.replay.steps_with(whole_number("--alternatives", request.alternatives, 1) or CANDIDATES)


def _path(request: Any, prediction: Prediction) -> Any:
    return path_of(prediction.replay)


VIEWS = {
    "steps": View("--steps", _steps, {".html": steps_html, ".json": steps_json}),
    "path": View("--path", _path, {".html": path_html, ".svg": path_svg, ".json": path_json}),
}
