"""Training that was broken off goes on bit for bit; what cannot go on is refused with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seqloom.config.loading import update_config
from seqloom.errors import ConfigError, DataError, Interrupted, RunFolderError, UsageError
from seqloom.run import open_run
from seqloom.training import loop
from seqloom.training.session import resume_run, train_run
from training_helpers import (
    Files,
    Killed,
    Told,
    at_update,
    configuration,
    in_validation,
    interrupt,
    kill,
    letters,
    rows_of,
    state_of,
    terminate,
    write_pairs,
)

DROPOUT = {"encoder": {"dropout": 0.2, "embedding_dropout": 0.1, "variational_dropout": True, "weight_dropout": 0.2},
           "decoder": {"dropout": 0.2, "weight_dropout": 0.1, "symbol_dropout": 0.1}}
CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw, two batches an update": {"optimizer": "adamw", "weight_decay": 0.01, "accumulate": 2, "epochs": 6},
    "sgd, moving average": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.5, "average": "ema"},
    "adadelta, average of the last": {"optimizer": "adadelta", "average": "last", "average_count": 2},
    "scheduled sampling": {"teacher_forcing": {"ratio": 0.9, "decay": "linear", "slope": 0.02, "draw": "token"}},
    "gold history until epoch 1": {"teacher_forcing": {"stop_after_epoch": 1}, "label_smoothing": 0.1},
    "plateau": {"schedule": {"kind": "plateau", "patience": 0}, "learning_rate": 0.2, "validate_every": 2},
    "warm-up, batches of tokens": {"batch_type": "tokens", "batch_size": 30,
                                   "schedule": {"kind": "inverse_square_root", "warmup_steps": 4}},
}


@pytest.fixture(scope="module")
def one_epoch(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests change copies of it."""
    config = configuration(*files, training={"epochs": 1, "average": "ema"})
    return train_run(config, tmp_path_factory.mktemp("one") / "run")


def break_off(monkeypatch: pytest.MonkeyPatch, broken_off: type[BaseException], run: Any) -> None:
    """Training ends with this, and the trainer is whole again."""
    with pytest.raises(broken_off):
        run()
    monkeypatch.undo()
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_broken_off_training_goes_on_bit_for_bit(options: dict[str, Any], files: Files, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in an epoch, a power cut between validations, SIGTERM in a validation: the end is that of one training."""
    config = configuration(*files, **DROPOUT, training=options)
    straight = train_run(config, tmp_path / "straight")
    assert len(rows_of(straight)) >= 3

    out = tmp_path / "broken"
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    at_update(monkeypatch, {2: interrupt})
    break_off(monkeypatch, Interrupted, lambda: train_run(config, out))
    at_update(monkeypatch, {9: kill})
    break_off(monkeypatch, Killed, lambda: resume_run(out))
    in_validation(monkeypatch, 1, terminate)
    break_off(monkeypatch, Interrupted, lambda: resume_run(out))
    resume_run(out)
    assert state_of(out) == state_of(straight)


def test_a_crash_loses_what_came_after_the_last_checkpoint_and_nothing_twice(
        files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut between a row of metrics.jsonl and its checkpoint: the row is not there twice in the end."""
    config = configuration(*files, training={"validate_every": 2, "epochs": 2})
    straight = train_run(config, tmp_path / "straight")
    out = tmp_path / "broken"
    original, calls = loop.append_metrics, 0

    def append(folder: Path, row: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        original(folder, row)
        if calls == 3:
            with (folder / "metrics.jsonl").open("a") as file:
                file.write('{"step": 8, "epo')  # the line after it was not finished
            raise Killed

    monkeypatch.setattr(loop, "append_metrics", append)
    break_off(monkeypatch, Killed, lambda: train_run(config, out))
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    resume_run(out)
    assert state_of(out) == state_of(straight)


def test_checkpoints_come_between_validations(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every SAVE_SECONDS, and not after every update."""
    steps: list[int] = []
    original = loop.Trainer.save

    def save(trainer: loop.Trainer) -> None:
        original(trainer)
        steps.append(trainer.progress.step)

    clock = iter(range(0, 100_000, 50))  # every look at the clock is 50 seconds later
    monkeypatch.setattr(loop.Trainer, "save", save)
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 400.0)
    train_run(configuration(*files, training={"epochs": 2, "validate_every": 100}), tmp_path / "run")
    assert steps[-1] == 12
    assert 1 < len(steps) < 8
    assert steps[0] > 1


def test_a_finished_run_goes_on_with_more_epochs(files: Files, tmp_path: Path) -> None:
    """Two epochs, finished, and two more are four: and the same as four at once."""
    straight = train_run(configuration(*files, training={"epochs": 4}), tmp_path / "straight")
    config = configuration(*files, training={"epochs": 2})
    out = train_run(config, tmp_path / "longer")
    longer, _ = update_config(config, overrides=["training.epochs=4"])
    resume_run(out, longer)
    assert state_of(out) == state_of(straight) | {"numbers": state_of(out)["numbers"]}
    assert open_run(out).config.training.epochs == 4


def test_a_finished_run_does_not_go_on_by_itself(files: Files, tmp_path: Path) -> None:
    out = train_run(configuration(*files), tmp_path / "run")
    before = state_of(out)
    (out / "README.md").unlink()
    told = Told()
    resume_run(out, reporter=told)
    assert state_of(out) == before
    assert (out / "README.md").exists()  # what came after the last update is made up for
    assert any(line.startswith("done: 3 epochs are done") for line in told.lines)


@pytest.mark.parametrize(("change", "said"), [
    ("training.learning_rate=0.5", "training.learning_rate: None in the run, 0.5 given"),
    ("training.seed=7", "training.seed: 1 in the run, 7 given"),
    ("encoder.cell=lstm", "encoder.cell: 'gru' in the run, 'lstm' given"),
    ("data.valid_fraction=0.2", "data.valid_fraction: 0.1 in the run, 0.2 given")])
def test_other_options_are_refused_with_both_values(change: str, said: str, one_epoch: Path) -> None:
    with pytest.raises(UsageError, match="cannot be resumed with other settings") as error:
        resume_run(one_epoch, update_config(open_run(one_epoch).config, overrides=[change])[0])
    assert said in error.value.message
    assert "finetune" in error.value.fix


def test_a_changed_config_file_is_refused_too(one_epoch: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    text = (out / "config.yaml").read_text(encoding="utf-8")
    (out / "config.yaml").write_text(text.replace("batch_size: 4", "batch_size: 5"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"training\.batch_size: 4 in the run, 5 given"):
        resume_run(out)
    (out / "config.yaml").write_text(text.replace("epochs: 1", "epochs: 2"), encoding="utf-8")
    resume_run(out)
    assert len(rows_of(out)) == 2


def test_other_data_is_refused(files: Files, tmp_path: Path) -> None:
    """Also where every length is as it was."""
    train, valid = (Path(shutil.copy(path, tmp_path)) for path in files)
    out = train_run(configuration(train, valid, training={"epochs": 1}), tmp_path / "run")
    for path in (train, valid):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("a", "b", 1), encoding="utf-8")
        with pytest.raises(UsageError, match="data is not what this run was started with"):
            resume_run(out)
        path.write_text(text, encoding="utf-8")
    resume_run(out)


def test_data_may_stand_elsewhere(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the working directory; from another one the error says what to do, and doing it helps."""
    for path in files:
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    config = configuration(Path("train.tsv"), Path("valid.tsv"), training={"epochs": 1})
    out = tmp_path / train_run(config, "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"there is no file 'train\.tsv'") as error:
        resume_run(out)
    assert "relative to the working directory" in error.value.fix
    moved = update_config(config, values={"data": {"train": [{"path": "../train.tsv"}],
                                                   "valid": [{"path": "../valid.tsv"}]}})[0]
    resume_run(out, moved)


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(one_epoch: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(RunFolderError, match="has no checkpoint 'last' to go on from"):
        resume_run(out)


def damage_numbers(path: Path, change: Any) -> None:
    numbers = json.loads(path.read_text(encoding="utf-8"))
    change(numbers)
    path.write_text(json.dumps(numbers), encoding="utf-8")


@pytest.mark.parametrize(("change", "message"), [
    (lambda numbers: numbers.pop("progress"), "lacks progress"),
    (lambda numbers: numbers.pop("data"), "lacks data"),
    (lambda numbers: numbers.pop("config"), "lacks config"),
    (lambda numbers: numbers["config"].update(encoder=3), "the checkpoint's configuration is damaged: Input should be"),
    (lambda numbers: numbers["progress"].pop("step"), "step missing"),
    (lambda numbers: numbers["progress"].update(step="ten"), "step: Input should be a valid integer"),
    (lambda numbers: numbers["progress"].update(best=float("nan")), "best: Input should be a finite number"),
    (lambda numbers: numbers["progress"].update(more=1), "more: Extra inputs are not permitted"),
    (lambda numbers: numbers["progress"]["rate"].update(halvings=None), "rate.halvings: Input should be a valid"),
    (lambda numbers: numbers.update(progress=[]), "missing"),
])
def test_damaged_numbers_of_a_checkpoint(change: Any, message: str, one_epoch: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(one_epoch, tmp_path / "run"))
    damage_numbers(out / "checkpoints" / "last" / "state.json", change)
    with pytest.raises(RunFolderError, match=message) as error:
        resume_run(out)
    assert "checkpoints/last" in error.value.where
    assert error.value.fix


def test_tensors_of_another_checkpoint(one_epoch: Path, files: Files, tmp_path: Path) -> None:
    """State of another optimiser, state of another size, and weights of another model."""
    sgd, wide = (train_run(configuration(*files, decoder={"embedding_size": size}, training={"epochs": 1, **options}),
                           tmp_path / f"{size}")
                 for size, options in ((6, {"optimizer": "sgd", "momentum": 0.5}), (7, {"average": "ema"})))
    state, weights = "checkpoints/last/state.safetensors", "checkpoints/last/model.safetensors"
    for giver, file, message in ((sgd, state, r"optimizer\.0 has momentum_buffer, expected exp_avg"),
                                 (wide, state, r"optimizer\.\d+\.exp_avg has shape .*, expected"),
                                 (wide, weights, "has shape .*, the configuration says")):
        out = Path(shutil.copytree(one_epoch, tmp_path / "mixed"))
        shutil.copy(giver / file, out / file)
        with pytest.raises(RunFolderError, match=message):
            resume_run(out)
        shutil.rmtree(out)


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run folder at"):
        resume_run(tmp_path / "none")


def test_misspelt_changes_are_refused(files: Files) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        update_config(configuration(*files), overrides=["training.epoch=4"])


def test_finetuning_starts_from_the_weights_and_keeps_the_symbols(files: Files, tmp_path: Path) -> None:
    """No update at all: the weights are those of the run, though the new data has a letter that it does not know."""
    run = open_run(train_run(configuration(*files, training={"epochs": 1}), tmp_path / "run"))
    new = write_pairs(tmp_path / "new.tsv", letters(12, seed=5, alphabet="abcz"))
    config = configuration(new, training={"epochs": 1, "learning_rate": 1e-30,
                                          "schedule": {"kind": "constant", "min_learning_rate": 0.0}})
    told = Told()
    tuned = open_run(train_run(config, tmp_path / "tuned", start_from=run, reporter=told))
    for name, array in run.weights().items():
        assert (tuned.weights()[name] == array).all(), name
    assert tuned.head.tokenizer.symbols == run.head.tokenizer.symbols
    assert "z" not in tuned.head.tokenizer.symbols
    with pytest.raises(UsageError, match=r"weights of a run cannot be used with other settings .*source\.reverse"):
        train_run(update_config(config, overrides=["source.reverse=true"])[0], tmp_path / "no", start_from=run)
    assert not (tmp_path / "no").exists()
    with pytest.raises(RunFolderError, match="the configuration says"):
        train_run(update_config(config, overrides=["encoder.hidden_size=9"])[0], tmp_path / "no", start_from=run)
    assert not (tmp_path / "no").exists()
