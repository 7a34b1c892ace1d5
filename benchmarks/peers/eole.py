"""eole: `eole train` as it is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.environments import Environment
from benchmarks.peers.updates import Updates
from benchmarks.windows import task_of, windows_of

NAME, VERSION = "eole", "0.6.4"

# It imports all of its programs to run one of them: the server, and a load test of the server.
AIOHTTP = "class ClientSession: ...\n\n\nclass ClientTimeout: ...\n"


def environment() -> Environment:
    """Declared but not needed here: what serves, reads pictures and sound, quantises."""
    return Environment(
        f"eole-{VERSION}",
        (f"eole=={VERSION}", "configargparse==1.7.7", "ctranslate2==4.8.5", "huggingface_hub==2.4.0",
         "pyonmttok==1.38.1", "PyYAML==6.0.3", "rich==15.0.0", "markdown-it-py==4.3.0", "mdurl==0.1.2",
         "Pygments==2.21.0", "sacrebleu==2.6.0", "portalocker==4.4.2", "regex==2026.11.15", "tabulate==0.10.0",
         "colorama==0.4.6", "lxml==6.1.3", "safetensors==0.8.0", "sentencepiece==0.2.3", "six==1.17.0",
         "tokenizers==0.23.3", "tqdm==4.70.1", "packaging==26.3", "pydantic==2.14.3", "pydantic_core==2.50.4",
         "annotated-types==0.8.0", "typing-inspection==0.4.5", "requests==2.34.2", "urllib3==2.8.0",
         "certifi==2026.10.18", "httpx2==2.16.2", "httpcore2==2.16.2", "anyio==4.16.0", "h11==0.16.0", "idna==3.20",
         "truststore==0.10.5", "click==8.5.1", "hf-xet==1.8.0"),
        modules={"spacy": "", "fasttext": "", "torchcodec": "", "uvicorn": "", "aiohttp": AIOHTTP})


def supports(task: Mapping[str, Any]) -> bool:
    """Whether it can do this work."""
    return bool(task["kind"] == "training")


def options(task: dict[str, Any]) -> dict[str, Any]:
    """The work's model and training as its configuration has them."""
    data, folder = Path(task["data"]), Path(task["folder"])
    sizes = {"layers": 1, "hidden_size": task["decoder"], "rnn_type": "LSTM"}
    return {
        "data": {"train": {"path_src": str(data / "train.source"), "path_tgt": str(data / "train.target")}},
        "src_vocab": str(data / "source.symbols"), "tgt_vocab": str(data / "target.symbols"), "seed": 1,
        "report_every": 1_000_000,
        "model": {"architecture": "custom", "input_feed": int(task["feeding"]),
                  "embeddings": {"word_vec_size": task["embedding"]},
                  "encoder": {"encoder_type": "brnn", **sizes},
                  "decoder": {"decoder_type": "rnn", "global_attention": "general", **sizes}},
        "training": {"model_path": str(folder / "model"), "optim": "adam", "learning_rate": 1e-3, "max_grad_norm": 5.0,
                     "batch_type": "sents", "batch_size": task["batch"], "normalization": "tokens", "num_workers": 0,
                     "bucket_size": 8192, "dropout": [0.0], "attention_dropout": [0.0],
                     "valid_steps": 1_000_000, "save_checkpoint_steps": 1_000_000, "train_steps": 1_000_000,
                     "log_attention_entropy": False, "compute_dtype": "fp32"},
    }


def train(task: dict[str, Any]) -> None:
    """`eole train` until nobody asks for another window."""
    config = Path(task["folder"]) / "config.yaml"
    config.write_text(json.dumps(options(task)), encoding="utf-8")  # JSON is YAML
    updates = Updates(windows_of(task))
    server = ModuleType("eole.server.app")
    server.create_app = None  # type: ignore[attr-defined]
    sys.modules.update({"eole.server": ModuleType("eole.server"), "eole.server.app": server})
    from eole.bin.main import main
    from eole.utils.loss import LossCompute

    updates.count(LossCompute, "_stats", lambda statistics, *arguments: statistics.n_tokens)
    sys.argv = ["eole", "train", "--config", str(config)]
    main()


KINDS = {"training": train}

if __name__ == "__main__":
    given = task_of(sys.argv)
    KINDS[given["kind"]](given)
