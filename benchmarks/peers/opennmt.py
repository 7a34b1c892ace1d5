"""OpenNMT-py: `onmt_train` and `onmt_translate` as they are."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import Environment
from benchmarks.peers.updates import Updates
from benchmarks.windows import task_of, windows_of

NAME, VERSION = "OpenNMT-py", "3.5.1"


def environment() -> Environment:
    """Declared but not needed here: spacy, fasttext, tensorboard, flask, waitress."""
    return Environment(
        f"opennmt-{VERSION}",
        (f"OpenNMT-py=={VERSION}", "ConfigArgParse==1.7.7", "ctranslate2==4.8.5", "pyonmttok==1.37.1", "PyYAML==6.0.3",
         "sacrebleu==2.6.0", "portalocker==4.4.2", "regex==2026.11.15", "tabulate==0.10.0", "colorama==0.4.6",
         "lxml==6.1.3", "rapidfuzz==3.14.6", "pyahocorasick==2.2.0", "six==1.17.0"),
        modules={"spacy": "", "fasttext": ""}, variables={"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"})


def supports(task: Mapping[str, Any]) -> bool:
    """Whether it can do this work."""
    return task["kind"] in ("training", "prediction")


def options(task: dict[str, Any], train_steps: int = 1_000_000) -> list[str]:
    """The work's model and training as its command line has them."""
    data, folder = Path(task["data"]), Path(task["folder"])
    config = folder / "config.yaml"
    # JSON strings are YAML strings: no YAML library is needed to write this.
    config.write_text(f'data: {{"train": {{"path_src": "{data}/train.source", "path_tgt": "{data}/train.target"}}}}\n',
                      encoding="utf-8")
    hidden = task["decoder"]
    values = {
        "config": config, "src_vocab": data / "source.symbols", "tgt_vocab": data / "target.symbols",
        "save_model": folder / "model", "encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "LSTM",
        "enc_layers": 1, "dec_layers": 1, "enc_hid_size": hidden, "dec_hid_size": hidden,
        "word_vec_size": task["embedding"], "global_attention": "general", "input_feed": int(task["feeding"]),
        "dropout": 0, "optim": "adam", "learning_rate": 0.001, "max_grad_norm": 5, "batch_type": "sents",
        "batch_size": task["batch"], "normalization": "tokens", "num_workers": 0, "report_every": 1_000_000,
        "valid_steps": 1_000_000, "save_checkpoint_steps": 0, "train_steps": train_steps, "seed": 1,
        "bucket_size": 8192,
    }
    return [part for name, value in values.items() for part in (f"-{name}", str(value))]


def train(task: dict[str, Any]) -> None:
    """`onmt_train` until nobody asks for another window."""
    from onmt.bin.train import main
    from onmt.utils.loss import LossCompute

    updates = Updates(windows_of(task))
    updates.count(LossCompute, "_stats", lambda statistics, *arguments: statistics.n_words)
    sys.argv = ["onmt_train", *options(task)]
    main()


# --- prediction ------------------------------------------------------------------------------------------------------


def make_model(task: dict[str, Any]) -> None:
    """One update from random weights, which is how it comes to write a checkpoint."""
    from onmt.bin.train import main

    sys.argv = ["onmt_train", *options(task, train_steps=1)]
    main()


def predict(task: dict[str, Any]) -> None:
    """`onmt_translate` of the test sentences, each answer as long as its reference, until nobody asks again."""
    windows = windows_of(task)
    folder, data = Path(task["folder"]), Path(task["data"])
    other = folder / "make_model.json"
    other.write_text(json.dumps({**task, "kind": "make_model"}), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "benchmarks.peers.opennmt", str(other)], check=True, stdout=sys.stderr)
    lines = (data / "test.source").read_text(encoding="utf-8").splitlines()[: task["sentences"]]
    limits = [len(line.split()) + 1 for line in
              (data / "test.target").read_text(encoding="utf-8").splitlines()[: task["sentences"]]]
    source = folder / "source.txt"
    source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    started = time.perf_counter()
    engine = inference_engine(task, folder, source, max(limits))
    windows.facts["load"] = time.perf_counter() - started
    force_lengths(limits)

    def work() -> float:
        _, found = engine.infer_file()
        windows.facts["words"] = sum(len(one[0].split()) for one in found)
        return float(len(found))

    windows.serve(work, least=task["least_seconds"])


def inference_engine(task: dict[str, Any], folder: Path, source: Path, longest: int) -> Any:
    """What `onmt_translate` builds before it translates; END is banned as long as an answer is below min_length."""
    from onmt.bin.translate import _get_parser
    from onmt.inference_engine import InferenceEnginePY
    from onmt.utils.parse import ArgumentParser

    values = {"model": folder / "model_step_1.pt", "src": source, "output": folder / "output.txt", "gpu": -1,
              "batch_size": task["rows"], "batch_type": "sents", "beam_size": task["beam"], "n_best": 1,
              "min_length": longest + 1, "max_length": longest, "max_length_ratio": 0}
    opt = _get_parser().parse_args([part for name, value in values.items() for part in (f"-{name}", str(value))])
    ArgumentParser.validate_translate_opts(opt)
    ArgumentParser._get_all_transform_translate(opt)
    ArgumentParser._validate_transforms_opts(opt)
    ArgumentParser.validate_translate_opts_dynamic(opt)
    return InferenceEnginePY(opt)


def force_lengths(limits: list[int]) -> None:
    """End every answer at its own limit, where the program knows one limit for all: its own way of ending it."""
    from onmt.translate.decode_strategy import DecodeStrategy
    from onmt.translate.translator import Translator

    translate_batch = Translator.translate_batch
    current: list[int] = []

    def remember(self: Any, batch: Any, *arguments: Any) -> Any:
        current[:] = [limits[number] for number in batch["ind_in_bucket"]]
        return translate_batch(self, batch, *arguments)

    def end(self: Any) -> None:
        rows = self._batch_offset.tolist() if hasattr(self, "_batch_offset") else self.original_batch_idx.tolist()
        for row, original in enumerate(rows):
            if len(self) - 1 >= current[original]:
                self.is_finished_list[row] = [True] * self.parallel_paths

    Translator.translate_batch = remember
    DecodeStrategy.ensure_max_length = end


KINDS = {"training": train, "make_model": make_model, "prediction": predict}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
