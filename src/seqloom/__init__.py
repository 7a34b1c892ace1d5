"""seqloom: recurrent encoder-decoders with attention, from a file of examples to a model you run, inspect and ship.

    import seqloom
    seqloom.train("pairs.tsv", preset="g2p", out="runs/g2p")
    model = seqloom.load("runs/g2p")
    model.predict("phone").text

Importing does nothing; what a name needs is loaded when the name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqloom._version import __version__

if TYPE_CHECKING:
    from seqloom.api import average, doctor, evaluate, finetune, load, resume, train
    from seqloom.errors import SeqloomError
    from seqloom.predictor import Predictor
    from seqloom.types import Prediction

_HOMES = {
    **dict.fromkeys(("average", "doctor", "evaluate", "finetune", "load", "resume", "train"), "seqloom.api"),
    "Prediction": "seqloom.types",
    "Predictor": "seqloom.predictor",
    "SeqloomError": "seqloom.errors",
}

__all__ = ["Prediction", "Predictor", "SeqloomError", "__version__", "average", "doctor", "evaluate", "finetune",
           "load", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seqloom' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


__dir__ = __all__.copy  # for completion: the public names, whether they were used already or not
