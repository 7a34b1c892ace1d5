"""Sources that read files: what is learned, read, kept in a run folder, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import LENGTHS, MEDIA, records
from seqloom.config.media_sections import (
    AudioSourceConfig,
    FeaturesSourceConfig,
    FramesSourceConfig,
    ImageSourceConfig,
)
from seqloom.data.statistics import FrameScaler, Moments, within_item
from seqloom.errors import DataError, RunFolderError
from seqloom.sources import source_class
from seqloom.types import Record

SECTIONS: dict[str, Any] = {"features": FeaturesSourceConfig, "audio": AudioSourceConfig, "image": ImageSourceConfig,
                            "frames": FramesSourceConfig}
every_media = pytest.mark.parametrize("name", MEDIA)
TARGETS = ["a", "b", "c", "d", "e"]


def source_of(name: str, examples: list[Record], **options: Any) -> Any:
    config = SECTIONS[MEDIA[name].options["kind"]](**{**MEDIA[name].options, **options})
    return source_class(config.kind).fit(config, examples, None)


# --- every source ----------------------------------------------------------------------------------------------------


@every_media
def test_what_is_read(tmp_path: Path, name: str) -> None:
    examples = records(tmp_path, name, TARGETS)
    source = source_of(name, examples)
    assert source.roles == ("source",)
    assert source.columns == {}
    for number, example in enumerate(examples):
        item = source.read(example)
        main = item.fields["main"]
        kind = MEDIA[name].options["kind"]
        if kind == "image":
            assert (main.shape, main.dtype) == ((8, 8, 3), np.uint8)
        else:
            expected = LENGTHS[number] + (1 if kind == "audio" else 0)
            assert main.shape[0] == expected
            assert main.dtype == (np.uint8 if kind == "frames" else np.float32)
            assert int(np.prod(main.shape[1:])) == source.size


@every_media
def test_a_run_folder_keeps_it(tmp_path: Path, name: str) -> None:
    examples = records(tmp_path, name, TARGETS)
    source = source_of(name, examples)
    (tmp_path / "run").mkdir()
    source.save(tmp_path / "run")
    again = type(source).load(tmp_path / "run", source.config)
    for example in examples:
        assert np.array_equal(again.read(example).fields["main"], source.read(example).fields["main"])
    stored = json.loads((tmp_path / "run" / "source.json").read_text())
    assert (stored["kind"], stored["size"]) == (MEDIA[name].options["kind"], source.size)


@every_media
def test_what_is_missing_or_outside_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    examples = records(inside, name, TARGETS)
    source = source_of(name, examples, stay_inside=True)
    outside = records(tmp_path, name, ["x"])[0].text("source")
    for given, message in ((f"gone-{outside}", "there is no"), (f"../{outside}", "leads out of the folder"),
                           (str(tmp_path / outside), "leads out of the folder"), ("", "is named")):
        with pytest.raises(DataError, match=message) as raised:
            source.read(Record({"source": given}, str(inside / "list.tsv"), 12))
        assert raised.value.where == f"{inside / 'list.tsv'}:12"


@every_media
def test_a_damaged_file_is_refused_and_training_goes_on_without_it(tmp_path: Path, name: str) -> None:
    examples = records(tmp_path, name, TARGETS)
    path = tmp_path / examples[1].text("source")
    path.write_bytes(path.read_bytes()[:20])
    source = source_of(name, examples)
    with pytest.raises(DataError) as raised:
        source.read(examples[1])
    assert raised.value.where == examples[1].where
    assert source.read(examples[0]).length


# --- statistics ------------------------------------------------------------------------------------------------------


def test_each_dimension_has_mean_zero_and_variance_one_over_the_training_data(tmp_path: Path) -> None:
    examples = records(tmp_path, "features", TARGETS * 4)
    source = source_of("features", examples)
    together = np.concatenate([source.read(example).fields["main"] for example in examples])
    np.testing.assert_allclose(together.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(together.std(0), 1, atol=1e-5)
    raw = [np.load(tmp_path / example.text("source")) for example in examples]
    np.testing.assert_allclose(source.scaler.learned.mean, np.concatenate(raw).mean(0), rtol=1e-5)


def test_moments_do_not_cancel_far_from_zero() -> None:
    values = np.random.default_rng(1).normal(1e6, 0.5, (1000, 2))
    moments = Moments()
    for part in np.array_split(values, 7):
        moments.add(part)
    moments.add(values[:0])
    np.testing.assert_allclose(np.sqrt(moments.squares / moments.count), values.std(0), rtol=1e-9)


def test_a_constant_dimension_is_only_centred() -> None:
    moments = Moments()
    moments.add(np.array([[3.0, 1.0], [3.0, 2.0]]))
    assert moments.normalization()(np.array([[4.0, 1.5]])).tolist() == [[1.0, 0.0]]


def test_within_an_input(tmp_path: Path) -> None:
    examples = records(tmp_path, "features", TARGETS)
    source = source_of("features", examples, normalization="item")
    for example in (examples[0], examples[2], examples[3]):
        found = source.read(example).fields["main"]
        np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(found.std(0), 1, atol=1e-5)
    assert not source.read(examples[1]).fields["main"].any()  # one frame is its own mean
    assert within_item(np.array([[1.0], [3.0]])).tolist() == [[-1.0], [1.0]]


def test_without_normalization_frames_are_as_they_stand(tmp_path: Path) -> None:
    examples = records(tmp_path, "features", TARGETS)
    source = source_of("features", examples, normalization="none")
    assert np.array_equal(source.read(examples[0]).fields["main"], np.load(tmp_path / "0.npy"))


def test_other_dimensions_than_usual_are_refused(tmp_path: Path) -> None:
    examples = records(tmp_path, "features", TARGETS)
    np.save(tmp_path / "0.npy", np.ones((3, 4), np.float32))  # the first is the odd one
    source = source_of("features", examples)
    assert source.size == 5
    with pytest.raises(DataError, match=r"0\.npy has 4 dimensions, expected 5"):
        source.read(examples[0])


def test_when_nothing_can_be_read(tmp_path: Path) -> None:
    examples = [Record({"source": "gone.npy"}, str(tmp_path / "list.tsv"), 3)]
    with pytest.raises(DataError, match="not one input can be read; the first: there is no array") as raised:
        source_of("features", examples)
    assert raised.value.where.endswith("list.tsv:3")
    with pytest.raises(DataError, match="not one input can be read"):
        source_of("features", [])


@pytest.mark.parametrize(("change", "message"), [
    ({"size": "5"}, "size is '5', expected a number of dimensions"), ({"size": 0}, "size is 0"),
    ({"normalization": {"mean": [0.0] * 4, "scale": [1.0] * 5}}, "normalization.mean is not 5 finite numbers"),
    ({"normalization": {"mean": [0.0] * 5, "scale": [1.0] * 4 + [float("nan")]}}, "normalization.scale is not 5"),
    ({"normalization": None}, "normalization.mean is not 5"),
])
def test_damaged_statistics(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    source = source_of("features", records(tmp_path, "features", TARGETS))
    source.save(tmp_path)
    path = tmp_path / "source.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunFolderError, match=message):
        FrameScaler.load("dimension", path)


# --- names of positions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "number", "expected"), [
    ("features", 2, ["0", "1", "2", "3"]), ("features-convolution", 0, ["0", "2", "4", "6"]),
    ("features-pyramid", 1, ["0"]), ("audio", 2, ["0.00s", "0.02s", "0.04s"]),
    ("image", 0, ["1,1", "1,2", "2,1", "2,2"]), ("frames", 2, ["0", "1", "2", "3"])])
def test_every_position_of_the_memory_has_a_name(tmp_path: Path, name: str, number: int, expected: list[str]) -> None:
    examples = records(tmp_path, name, TARGETS)
    source = source_of(name, examples)
    item = source.read(examples[number])
    assert source.memory_tokens(item, examples[number]) == expected


# --- from Python -----------------------------------------------------------------------------------------------------


def test_arrays_are_read_as_their_files(tmp_path: Path) -> None:
    examples = records(tmp_path, "features", TARGETS)
    source = source_of("features", examples)
    found = source.item(np.load(tmp_path / "0.npy")).fields["main"]
    assert np.array_equal(found, source.read(examples[0]).fields["main"])
    with pytest.raises(DataError, match="the array has 2 dimensions, expected 5"):
        source.item(np.ones((3, 2)))


def test_samples_are_read_as_their_file(tmp_path: Path) -> None:
    from seqloom.data.sounds import read_sound

    examples = records(tmp_path, "audio", TARGETS)
    source = source_of("audio", examples)
    samples = read_sound(tmp_path / "0.wav", 8000, max_seconds=9, where="")
    assert np.array_equal(source.item(samples).fields["main"], source.read(examples[0]).fields["main"])
    with pytest.raises(DataError, match="the sound is shorter than one frame: 10 samples at 8,000 Hz"):
        source.item(samples[:10])
    with pytest.raises(DataError, match=r"the sound has samples as large as .*e\+29, expected −1 to 1"):
        source.item(samples / np.abs(samples).max() * np.float32(9e29))
