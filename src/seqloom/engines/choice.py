"""Which engine runs a run's model: its exported graphs where there are any, torch otherwise."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from seqloom.engines import artifacts
from seqloom.errors import MissingExtraError, RunFolderError, UsageError
from seqloom.run import WEIGHTS, Run

ENGINES = ("auto", "onnx", "onnx-int8", "torch")
STALE = "the weights have changed since its export"
Say = Callable[[str], None]


def open_engine(run: Run, engine: str = "auto", device: str = "auto", threads: int | None = None, *,
                say: Say | None = None) -> Any:
    """The engine that runs this run's model.

    auto: the exported graphs where the run has them (fp32 before int8) and no GPU is asked for, torch otherwise; onnx,
    onnx-int8, torch: that one. `say` is told when auto takes torch although there is an export.

    Raises UsageError for another name or for more threads than cores, RunFolderError for an export that is damaged,
    outdated or missing, MissingExtraError where only torch could run the model and it is not installed.
    """
    if engine not in ENGINES:
        raise UsageError(f"unknown engine '{engine}'", fix=f"use --engine {', '.join(ENGINES[:-1])} or {ENGINES[-1]}")
    if engine == "torch" or (engine == "auto" and device not in ("auto", "cpu")):
        asked = "engine torch" if engine == "torch" else f"device {device}"
        return torch_engine(run, device, threads, f"{asked} is asked for")
    manifest = artifacts.read_manifest(run)
    stale = manifest is not None and artifacts.is_stale(run, manifest)
    if engine == "auto" and (manifest is None or stale):
        if stale and say is not None:
            say(f"{run.folder}: {STALE}, so torch runs them; to have the fast engine again: seqloom export "
                f"{run.folder}")
        return torch_engine(run, device, threads, STALE if stale else "")
    found = [] if manifest is None else artifacts.exported_precisions(manifest)
    precision = "int8" if engine == "onnx-int8" or found == ["int8"] else "fp32"
    option = " --int8" if precision == "int8" else ""
    if manifest is None or stale or precision not in found:
        reason = STALE if stale else f"it has no {precision} export"
        raise RunFolderError(f"{run.folder} cannot run in engine {engine}: {reason}",
                             fix=f"seqloom export {run.folder}{option}")
    return _onnx_engine(run, manifest, precision, threads)


def _onnx_engine(run: Run, manifest: dict[str, Any], precision: str, threads: int | None) -> Any:
    """The exported graphs in ONNX Runtime. Raises RunFolderError where this version of it cannot read them."""
    models, check = artifacts.open_models(run, manifest, precision)
    checking = Background(check)  # beside loading the runtime and opening the graphs, which take as long
    import onnxruntime

    from seqloom.engines.onnx import OnnxEngine

    try:
        engine = OnnxEngine(*models, threads=threads, name=f"onnx {precision}")
    except UsageError:
        raise
    except Exception as error:  # its errors have no base of their own
        checking.result()  # damage is the reason, where there is any
        reason = str(error).strip().partition("\n")[0]
        raise RunFolderError(f"onnxruntime {onnxruntime.__version__} cannot open the {precision} graphs: {reason}",
                             where=str(run.folder / artifacts.FOLDER),
                             fix=f"pip install -U onnxruntime, or {artifacts.EXPORT_AGAIN.format(folder=run.folder)}"
                             ) from error
    checking.result()
    return engine


class Background:
    """A call in a thread of its own; `result` waits for its end."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            self._error = error

    def result(self) -> None:
        """Raises what the call raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error


def torch_engine(run: Run, device: str, threads: int | None, reason: str = "") -> Any:
    """The run's weights in torch; `reason`: why it has to be torch, where it is not for want of an export.

    Raises MissingExtraError where torch is not installed, UsageError for more threads than cores.
    """
    from seqloom.engines.onnx import choose_threads

    if threads is not None:
        choose_threads(threads)
    try:
        import torch
    except ImportError:
        because = reason or "it has no ONNX export that could be used"
        raise MissingExtraError("torch", "train", f"{run.folder}: {because}, and running a model") from None
    from seqloom.engines.torch import TorchEngine, choose_device, lay_out
    from seqloom.model import build_model, load_weights
    from seqloom.nn.kernels.precision import bound_memory

    if threads is not None:
        torch.set_num_threads(threads)
    model = build_model(run.config, run.source, run.head, seed=0)
    bound_memory()
    weights = {name: torch.from_numpy(array) for name, array in run.weights().items()}
    load_weights(model, weights, str(run.folder / WEIGHTS))
    model = model.to(choose_device(device))
    lay_out(model)
    return TorchEngine(model)
