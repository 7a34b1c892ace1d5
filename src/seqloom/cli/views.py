"""What `seqloom explain` does for the views beyond attention: --steps and its like. Each is one entry of VIEWS."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from seqloom.cli.options import decoding_options, unicode_text, whole_number
from seqloom.cli.streams import say
from seqloom.errors import UsageError
from seqloom.insight.gates import gates_of
from seqloom.insight.gradients import gradients_of
from seqloom.insight.history import History, history_of
from seqloom.insight.path import path_of
from seqloom.insight.steps import CANDIDATES
from seqloom.insight.whatif import Change, what_if
from seqloom.plots import writer_for
from seqloom.plots.gates_page import Microscope, gates_html, gates_json
from seqloom.plots.history_page import history_html, history_json
from seqloom.plots.output import write_whole
from seqloom.plots.path_page import path_html, path_json, path_svg
from seqloom.plots.steps_page import steps_html, steps_json
from seqloom.plots.whatif_page import whatif_html, whatif_json
from seqloom.run import open_run
from seqloom.types import Prediction

Answer = Callable[[Any], Prediction]


class View(NamedTuple):
    """A view: its option, what it makes of a request and its answer, and how each suffix writes that."""

    option: str
    look: Callable[[Any, Prediction, Answer], Any]
    writers: dict[str, Callable[[Any, Prediction, str], bytes]]


def _file_for(option: str, request: Any, writers: Mapping[str, Any]) -> Any:
    """What writes the file that was asked for. Raises UsageError without one."""
    if request.output is None:
        raise UsageError(f"{option} needs a file to write",
                         fix=f"add -o FILE, whose name ends in one of: {', '.join(writers)}")
    return writer_for(Path(request.output), writers)


def draw_view(view: View, request: Any, answer: Answer) -> None:
    """Answer the input, look, and write the file. Raises UsageError before anything is computed."""
    write = _file_for(view.option, request, view.writers)
    prediction = answer(request)
    write_whole(Path(request.output), write(view.look(request, prediction, answer), prediction, request.text))
    say(request.output)


def draw_history(request: Any) -> None:
    """The example that training kept."""
    write = _file_for("--history", request, HISTORY_WRITERS)
    write_whole(Path(request.output), write(history_of(open_run(request.run))))
    say(request.output)


def _steps(request: Any, prediction: Prediction, answer: Answer) -> Any:
    return prediction.replay.steps_with(whole_number("--alternatives", request.alternatives, 1) or CANDIDATES)


def _path(request: Any, prediction: Prediction, answer: Answer) -> Any:
    return path_of(prediction.replay)


def _gates(request: Any, prediction: Prediction, answer: Answer) -> Any:
    """The run's own cells, then those of the runs beside it, on the same input."""
    answers = [prediction, *(answer(replace(request, run=run)) for run in request.beside)]
    return [Microscope(gates_of(one.replay, one.text, one.tokens),
                       gradients_of(one.replay) if request.gradients else None)
            for one in answers]


def _what_if(request: Any, prediction: Prediction, answer: Answer) -> Any:
    from seqloom.config.loading import change_decoding

    run = prediction.replay.run
    change = Change(
        forced=dict(_forced(unicode_text("--force", given)) for given in request.force),
        gold=None if request.gold is None else unicode_text("--gold", request.gold), reverse=request.reverse,
        edits=dict(_edited(given) for given in request.edit))
    changes = decoding_options(request.set_options, beam_size=request.beam_size)
    options = change_decoding(run.config.decoding, changes,
                              attention=run.config.decoder.context in ("attention", "in_step"))
    return what_if(prediction.replay, change, options)


def _forced(given: str) -> tuple[int, str]:
    """T=TOKEN; the token may be a space, or hold an equals sign."""
    found = re.fullmatch(r"([0-9]{1,9})=(.+)", given, re.DOTALL)
    if found is None:
        raise UsageError(f"--force {given!r}: expected T=TOKEN, T a number from 1", fix="for example --force 3=x")
    return int(found[1]) - 1, found[2]


def _edited(given: str) -> tuple[tuple[int, int], float]:
    """T:S=WEIGHT."""
    found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})=([0-9.eE+-]+)", given)
    try:
        weight = float(found[3]) if found else math.nan
    except ValueError:
        weight = math.nan
    if found is None or not math.isfinite(weight):
        raise UsageError(f"--edit {given!r}: expected T:S=WEIGHT, T and S numbers from 1",
                         fix="for example --edit 2:5=0.9")
    return (int(found[1]) - 1, int(found[2]) - 1), weight


VIEWS = {
    "steps": View("--steps", _steps, {".html": steps_html, ".json": steps_json}),
    "path": View("--path", _path, {".html": path_html, ".svg": path_svg, ".json": path_json}),
    "gates": View("--gates", _gates, {".html": gates_html, ".json": gates_json}),
    "what_if": View("--force, --gold, --reverse or --edit", _what_if, {".html": whatif_html, ".json": whatif_json}),
}
HISTORY_WRITERS: dict[str, Callable[[History], bytes]] = {".html": history_html, ".json": history_json}
