"""The export at the end of a training, so that predicting needs no torch and takes little time."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from seqloom.engines.artifacts import FOLDER
from seqloom.errors import Interrupted, SeqloomError
from seqloom.progress import Reporter

CHECKED = 50  # inputs that the export is compared on: a second or so; `seqloom export` compares more


def export_finished(folder: Path, reporter: Reporter) -> bool:
    """Write a whole run's ONNX graphs into it, compared with the model; whether that succeeded.

    A run is whole without them. What went wrong is said, with how to do it again, and is no failure of the training.
    """
    from seqloom.export import export_run

    try:
        export_run(folder, limit=CHECKED, say=reporter.say)
    except Interrupted:
        raise
    except Exception as error:  # whatever it is, hours of training are not to end in it
        shutil.rmtree(folder / FOLDER, ignore_errors=True)  # what was not compared is not trusted
        reason = error.message if isinstance(error, SeqloomError) else f"{type(error).__name__}: {error}"
        fix = f"{error.fix}; then: " if isinstance(error, SeqloomError) and error.fix else ""
        reporter.say(f"warning: the run is whole, but it was not exported, so torch will run it: {reason}\n"
                     f"  fix: {fix}seqloom export {shlex.quote(str(folder))}")
        return False
    return True
