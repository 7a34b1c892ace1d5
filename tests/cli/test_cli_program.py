"""The program around its verbs: help, version, usage errors, unexpected errors, and how fast it starts."""

from __future__ import annotations

import inspect
import io
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from cli_helpers import Command, environment, process

from seqloom._version import __version__
from seqloom.cli import failures, main, options
from seqloom.cli.app import EXAMPLES, GROUPS, command
from seqloom.cli.failures import outcome_of
from seqloom.cli.reference import page
from seqloom.cli.streams import Terminated
from seqloom.engines.choice import ENGINES
from seqloom.errors import DataError, Interrupted, SeqloomError

VERBS = [name for names in GROUPS.values() for name in names]
ROOT = Path(__file__).parents[2]


# --- help ------------------------------------------------------------------------------------------------------------


def test_every_verb_is_in_a_group_and_has_examples() -> None:
    shown = [name for name, verb in command().commands.items() if not verb.hidden]
    assert sorted(VERBS) == sorted(shown)
    assert {function.__name__.replace("_", "-") for function in EXAMPLES} == set(shown)


def test_help_of_the_program(cli: Command) -> None:
    done = cli("--help")
    assert (done.code, done.err) == (0, "")
    assert cli("-h").out == done.out
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\S.{{10}}", done.out, re.MULTILINE), verb
    assert "..." not in done.out
    assert all(len(line) <= 80 for line in done.lines)


@pytest.mark.parametrize("verb", [*VERBS, "translate"])
def test_help_of_a_verb(cli: Command, verb: str) -> None:
    done = cli(verb, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: seqloom {verb} [OPTIONS]")
    assert not re.search(r"[{}]|<(str|int|list|float)|\.\.\.|x>=|None", done.out), done.out
    parameters = command().commands[verb].params
    for parameter in parameters:
        assert getattr(parameter, "help", ""), parameter.name
        assert parameter.metavar or parameter.is_flag, parameter.name
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in done.out


def test_examples_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Each example is a line that its verb understands."""
    for name, verb in command().commands.items():
        for line in (verb.epilog or "").splitlines():
            words = shlex.split(re.split(r"\s+[#>]", line)[0])
            assert words[:2] == ["seqloom", name] or name == "translate", line
            verb.make_context(name, words[2:])
    assert capsys.readouterr().out == ""


def test_defaults_in_the_help_are_those_of_the_code(cli: Command) -> None:
    assert "[default: text]" in cli("predict", "--help").out
    assert "[default: 13a]" in cli("evaluate", "--help").out
    named = inspect.getsource(options).split('"What runs the model: ')[1].split(".")[0]
    assert set(re.split(r", | or ", named)) == set(ENGINES)


def test_the_page_is_whole() -> None:
    text = page()
    assert [f"## seqloom {name}\n" in text for name in VERBS] == [True] * len(VERBS)
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    assert max(len(line) for line in text.splitlines()) <= 120
    done = subprocess.run([sys.executable, "-m", "seqloom.cli.reference"], capture_output=True, timeout=120, check=True,
                          env=environment(COLUMNS="40", PYTHONIOENCODING="utf-8"))
    assert done.stdout.decode("utf-8") == text
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == text, "make docs"


def test_version(cli: Command) -> None:
    assert cli("--version")[:3] == (0, f"seqloom {__version__}\n", "")
    done = subprocess.run([sys.executable, "-m", "seqloom", "--version"], capture_output=True, timeout=120)
    assert done.stdout.decode() == f"seqloom {__version__}\n"


def test_no_arguments_show_the_help(cli: Command) -> None:
    done = cli()
    assert (done.code, done.out) == (2, "")
    assert done.err == cli("--help").out


def test_help_comes_at_once() -> None:
    """It imports nothing of weight, and takes little time: measured in seconds of CPU, the best of three."""
    heavy = ["torch", "numpy", "onnxruntime", "pydantic", "yaml", "rich", "tokenizers", "safetensors", "sacrebleu",
             "rapidfuzz", "click", "asyncio", "http", "logging"]
    check = f"import atexit, sys; atexit.register(lambda: print([n for n in {heavy!r} if n in sys.modules], " \
            "file=sys.stderr))"
    assert process("--help", before=check).err == "[]\n"
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "seqloom", "--help"], capture_output=True, timeout=120, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.4  # 0.09 on the machine it was written on


# --- usage errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "words"), [
    (["trian"], ["unknown verb 'trian'; did you mean train?", "the verbs are: train, "]),
    (["xyz"], ["unknown verb 'xyz'\n"]),
    (["--nope"], ["unknown option '--nope'", "see seqloom --help"]),
    (["train", "--prest", "g2p"], ["unknown option '--prest'", "did you mean --preset?"]),
    (["predict", "RUN", "--beamsize", "3"], ["did you mean --beam-size?"]),
    (["predict", "RUN", "--debugg"], ["did you mean --debug?"]),
    (["predict", "RUN", "--temperature", "3"], ["write it as --set decoding.temperature=VALUE"]),
    (["predict", "RUN", "--learning-rate", "3"], ["unknown option '--learning-rate'", "see seqloom predict --help"]),
    (["train", "x", "--learning-rate", "3"], ["write it as --set training.learning_rate=VALUE"]),
    (["train", "x", "--rnn-size", "3"], ["write it as --set encoder.hidden_size=VALUE"]),
    (["info", "RUN", "--temperature", "3"], ["unknown option '--temperature'", "see seqloom info --help"]),
    (["predict"], ["RUN is missing", "seqloom predict [OPTIONS] RUN [FILE] (see seqloom predict --help)"]),
    (["average", "--out", "x"], ["RUN is missing", "seqloom average [OPTIONS] RUN…"]),
    (["average", "a", "b"], ["--out is missing"]),
    (["predict", "RUN", "a", "b"], ["unexpected extra argument", "seqloom predict [OPTIONS] RUN [FILE]"]),
    (["predict", "RUN", "--beam-size"], ["--beam-size", "requires an argument"]),
    (["predict", "RUN", "--attention=yes"], ["--attention", "does not take a value"])],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_usage_errors_look_like_all_others(cli: Command, arguments: list[str], words: list[str]) -> None:
    done = cli(*arguments)
    done.refused(*words)
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 2


def test_debug_shows_where_an_error_came_from(cli: Command) -> None:
    for arguments in (["--debug", "predict", "/nowhere"], ["predict", "/nowhere", "--debug"]):
        done = cli(*arguments)
        assert done.code == 2
        assert "Traceback" in done.err
        assert done.err.endswith("error: no run folder at /nowhere\n  fix: give the folder that `seqloom train --out` "
                                 "wrote\n")
    assert "Traceback" not in cli("predict", "/nowhere").err
    cli("explain", "/nowhere", "--", "--debug").refused("no run folder at /nowhere")  # an input, not the option


# --- how a command can end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code", "message"), [
    (SeqloomError("it failed", fix="try"), 1, "error: it failed\n  fix: try"),
    (DataError("bad", where="f:3", fix="correct it"), 2, "error: f:3: bad\n  fix: correct it"),
    (Interrupted("stopped", fix="go on"), 130, "interrupted: stopped\n  fix: go on"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (typer.Abort(), 130, "interrupted"),
    (Terminated(), 143, "terminated"),
    (typer.Exit(3), 3, ""),
    (SystemExit(), 0, ""),
    (SystemExit(4), 4, ""),
    (SystemExit("words"), 1, "words"),
    (MemoryError(), 1, "error: out of memory\n  fix: lower training.batch_size"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "error: out of memory"),
    (RuntimeError("something else"), 1, "error: RuntimeError: something else\n  fix: this is a fault of seqloom"),
    (ZeroDivisionError("division by zero"), 1, "error: ZeroDivisionError: division by zero"),
    (OSError(5, "Input/output error", "x.txt"), 1, "error: Input/output error: x.txt\n  fix: "),
    (typer.BadParameter("it is odd"), 2, "error: invalid value: it is odd\n  fix: see seqloom verb --help")],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "")
def test_every_end_has_its_code_and_words(error: BaseException, code: int, message: str) -> None:
    outcome = outcome_of(error, "verb")
    assert outcome.code == code
    assert outcome.message.startswith(message)
    assert bool(outcome.message) == bool(message)


def test_an_unexpected_error_is_no_traceback(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("seqloom.config.loading.preset_names", fail)
    done = cli("presets")
    assert done.code == 1
    done.explained("ZeroDivisionError", "report it")
    assert "Traceback" in cli("presets", "--debug").err


def test_main_reads_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["seqloom", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == f"seqloom {__version__}\n"


def test_classes_of_click_are_found() -> None:
    """Typer has its own click or the real one; either way its errors are ours to translate."""
    program = command()
    with pytest.raises(failures.CLICK_ERROR):
        program.make_context("seqloom", ["train", "--nope"]).command.commands["train"].make_context("train", ["--nope"])
    assert issubclass(typer.BadParameter, failures.CLICK_ERROR)


def test_output_without_an_encoding_to_set(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be anything that has write, as in a notebook."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as leaving:
        main(["presets"])
    assert leaving.value.code == 0
    assert "g2p" in stream.getvalue()
