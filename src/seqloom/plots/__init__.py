"""Pictures of what a model did: attention, curves of a run, confusions of classes. A leaf of the package.

SVG, HTML, JSON, npz and the terminal need nothing beyond the core; PNG needs the extra "plot". Nothing is imported
from matplotlib before a PNG is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seqloom.errors import UsageError
from seqloom.metrics.confusion import Confusion
from seqloom.plots.confusion import confusion_html, confusion_json, confusion_svg
from seqloom.plots.confusion_figure import confusion_png
from seqloom.plots.curve_figure import curves_png
from seqloom.plots.curves import curves_html, curves_svg
from seqloom.plots.heatmap import write_svg
from seqloom.plots.output import write_whole
from seqloom.plots.page import write_html
from seqloom.plots.records import from_record, read_attention, to_record, write_json, write_npz
from seqloom.plots.seen_figure import any_png
from seqloom.plots.series import Panel, panels_of, series_of
from seqloom.plots.terminal import show_attention
from seqloom.plots.view import View, view_of
from seqloom.types import Prediction

__all__ = ["CONFUSION_WRITERS", "CURVE_WRITERS", "WRITERS", "from_record", "read_attention", "show_attention",
           "to_record", "write_attention", "write_confusion", "write_curves"]

Writer = TypeVar("Writer")


def write_attention(prediction: Prediction, path: str | Path, *, input_text: str | None = None) -> list[str]:
    """Write what one prediction looked at, in the format of the path's suffix (a key of WRITERS).

    `input_text` is the input as the user gave it; it is shown and stored beside the tokens. The file appears whole or
    not at all. Returns warnings for the user, such as characters that no installed font can draw in a PNG.

    Raises UsageError on an unknown suffix, a path that cannot be written, more than a million weights in a format that
    draws them, and, for .svg and .png, when there is no attention or the input was bad: the other formats then write
    the rest with a note. Raises MissingExtraError when .png is asked for without matplotlib.
    """
    write: Callable[[View], tuple[bytes, list[str]]] = writer_for(Path(path), WRITERS)
    content, warnings = write(view_of(prediction, input_text))
    write_whole(Path(path), content)
    return warnings


def write_curves(metrics: Iterable[Mapping[str, Any]], path: str | Path, *, keys: Sequence[str] | None = None,
                 title: str = "") -> list[str]:
    """Draw the records of a run's metrics.jsonl, in the format of the path's suffix (a key of CURVE_WRITERS).

    Every numeric key but step and epoch is drawn, or only `keys`; nan and infinity are left out. Returns warnings.

    Raises UsageError when there is nothing to draw, on an unknown key or suffix, and when the path cannot be written;
    MissingExtraError when .png is asked for without matplotlib.
    """
    draw: Callable[[Sequence[Panel], str, str], tuple[bytes, list[str]]] = writer_for(Path(path), CURVE_WRITERS)
    axis, series, broken = series_of(metrics)
    content, warnings = draw(panels_of(series, keys), axis, title)
    write_whole(Path(path), content)
    if broken:
        warnings.append(f"{broken} values that are not finite are left out of the curves")
    return warnings


def write_confusion(confusion: Confusion, path: str | Path, *, title: str = "") -> list[str]:
    """Write which classes were taken for which, in the format of the path's suffix (a key of CONFUSION_WRITERS).

    Returns warnings. Raises UsageError on an unknown suffix and when the path cannot be written; MissingExtraError when
    .png is asked for without matplotlib.
    """
    draw: Callable[[Confusion, str], tuple[bytes, list[str]]] = writer_for(Path(path), CONFUSION_WRITERS)
    content, warnings = draw(confusion, title)
    write_whole(Path(path), content)
    return warnings


def writer_for(path: Path, table: Mapping[str, Writer]) -> Writer:
    """The entry for a path's suffix, whatever its case; UsageError lists the suffixes."""
    suffix = path.suffix.lower()
    if suffix not in table:
        given = f"the suffix {path.suffix!r}" if suffix else "no suffix"
        raise UsageError(f"cannot tell the format of {str(path)!r}: it has {given}",
                         fix=f"end the name in one of: {', '.join(table)}")
    return table[suffix]


WRITERS = {".svg": write_svg, ".html": write_html, ".png": any_png, ".json": write_json, ".npz": write_npz}
CONFUSION_WRITERS = {".svg": confusion_svg, ".html": confusion_html, ".png": confusion_png, ".json": confusion_json}
CURVE_WRITERS = {".svg": curves_svg, ".html": curves_html, ".png": curves_png}
