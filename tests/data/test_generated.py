"""Built-in data: what is claimed of it holds, it can be read, and the same seed gives the same files."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seqloom.data.arrays import read_frames
from seqloom.data.generated import language, moving, reports, reviews, sentences, shapes, tones, vectors
from seqloom.data.pictures import Shape, read_pages, read_picture
from seqloom.data.sounds import read_sound
from seqloom.errors import MissingExtraError
from seqloom.types import Record

WRITERS: dict[str, Callable[..., dict[str, Path]]] = {
    "vectors": vectors.write, "tones": tones.write, "shapes": shapes.write, "moving": moving.write}
TEXTS: dict[str, Callable[..., dict[str, Path]]] = {
    "reviews": reviews.write, "sentences": sentences.write, "reports": reports.write}
WRITERS.update(TEXTS)
every_task = pytest.mark.parametrize("task", WRITERS)


def lines_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


@every_task
def test_every_split_has_as_many_examples_as_asked_for(tmp_path: Path, task: str) -> None:
    paths = WRITERS[task](tmp_path, 5, 3, 4)
    assert list(paths) == ["train", "valid", "test"]
    assert [len(lines_of(path)) for path in paths.values()] == [5, 3, 4]
    for path in paths.values():
        for source, target in lines_of(path):
            assert task in TEXTS or (tmp_path / source.partition("#")[0]).is_file()
            assert target.strip() == target != ""


@every_task
def test_the_same_seed_gives_the_same_files(tmp_path: Path, task: str) -> None:
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        WRITERS[task](tmp_path / name, 4, 2, 2, seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file() and path.suffix != ".npz")
        packed = [np.load(path) for path in sorted((tmp_path / name).rglob("*.npz"))]
        arrays = [array[key].tolist() for array in packed for key in sorted(array.files)]
        for array in packed:
            array.close()
        contents.append((b"".join(path.read_bytes() for path in files), arrays))
    assert contents[0] == contents[1] != contents[2]


# --- a text to go on with ---------------------------------------------------------------------------------------------


def test_the_last_verb_of_a_line_agrees_with_its_first_noun(tmp_path: Path) -> None:
    paths = language.write(tmp_path, 200, 3, 4)
    assert [len(path.read_text(encoding="utf-8").splitlines()) for path in paths.values()] == [200, 3, 4]
    assert paths["train"].read_bytes() == language.write(tmp_path / "again", 200, 3, 4)["train"].read_bytes()
    assert paths["train"].read_bytes() != language.write(tmp_path / "other", 200, 3, 4, seed=2)["train"].read_bytes()
    for line in paths["train"].read_text(encoding="utf-8").splitlines():
        words = line.split()
        verbs = [word for word in words if word.removesuffix("s") in language.SLEEPS]
        assert (words[1] in language.NOUNS) == (verbs[0] not in language.SLEEPS)


# --- vectors ---------------------------------------------------------------------------------------------------------


def test_classes_of_vectors_are_shells_with_one_mean(tmp_path: Path) -> None:
    points, labels = vectors.draw(np.random.default_rng(1), 6000)
    radii = np.linalg.norm(points[:, :4], axis=1)
    for number, name in enumerate(vectors.CLASSES, 1):
        mine = np.array(labels) == name
        assert abs(radii[mine].mean() - number) < 0.02
        assert np.abs(points[mine].mean(0)).max() < 0.15
    paths = vectors.write(tmp_path, 3, 1, 1)
    source = lines_of(paths["train"])[1][0]
    assert read_frames(Record({"source": source}, str(paths["train"]), 2), stay_inside=True).shape == (1, 8)


# --- tones -----------------------------------------------------------------------------------------------------------


def strongest(sound: Any, frequencies: tuple[int, ...]) -> int:
    times = np.arange(len(sound)) / tones.SAMPLE_RATE
    return int(np.argmax([abs(np.exp(-2j * np.pi * frequency * times) @ sound) for frequency in frequencies]))


def test_a_key_sounds_as_the_recommendation_says() -> None:
    """ITU-T Q.23: rows 697, 770, 852, 941 Hz, columns 1209, 1336, 1477 Hz, the keys as they stand on a telephone."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477)
    for key, (row, column) in {"1": (0, 0), "5": (1, 1), "9": (2, 2), "*": (3, 0), "0": (3, 1), "#": (3, 2)}.items():
        sound = tones.dial(key, np.random.default_rng(1))
        assert (strongest(sound, rows), strongest(sound, columns)) == (row, column)


def test_dialled_keys_are_in_one_split_only_and_can_be_read(tmp_path: Path) -> None:
    paths = tones.write(tmp_path, 60, 20, 20)
    dialled = {split: {target for _, target in lines_of(path)} for split, path in paths.items()}
    assert not dialled["train"] & (dialled["valid"] | dialled["test"])
    assert not dialled["valid"] & dialled["test"]
    source, target = lines_of(paths["train"])[0]
    sound = read_sound(tmp_path / source, tones.SAMPLE_RATE, max_seconds=5, where="")
    assert len(sound) >= 0.1 * len(target.split()) * tones.SAMPLE_RATE


# --- shapes ----------------------------------------------------------------------------------------------------------


def test_captions_say_what_is_drawn() -> None:
    generator = np.random.default_rng(1)
    relations = set()
    for _ in range(300):
        scene, caption = shapes.draw_scene(generator)
        assert caption.startswith(scene[0].words)
        assert caption.endswith(scene[-1].words)
        between = caption.removeprefix(scene[0].words).removesuffix(scene[-1].words).strip() if len(scene) > 1 else ""
        relations.add(between)
        if len(scene) > 1:
            first, second = scene
            across, down = second.x - first.x, second.y - first.y
            assert (across > 2 * abs(down)) if between == "left of" else (down > 2 * abs(across))
            reach = sum(shapes.SIZES[shape.size] + shapes.JITTER for shape in scene)
            assert max(abs(across), abs(down)) > reach  # they do not touch
        pixels = np.asarray(shapes.paint(scene, generator)).astype(int)
        for shape in scene:
            assert np.abs(pixels[shape.y, shape.x] - shapes.COLOURS[shape.colour]).max() <= 15
            half = shapes.SIZES[shape.size] + shapes.JITTER
            assert half <= shape.x < shapes.SIDE - half
            assert half <= shape.y < shapes.SIDE - half
    assert relations == {"", "left of", "above"}


def test_pictures_can_be_read(tmp_path: Path) -> None:
    paths = shapes.write(tmp_path, 2, 1, 1)
    source = lines_of(paths["train"])[0][0]
    found = read_picture(tmp_path / source, Shape(64, 64, 3, False), max_pixels=10_000, where="")
    assert np.array_equal(found, np.asarray(Image.open(tmp_path / source)))


# --- frames ----------------------------------------------------------------------------------------------------------


def centre(frame: Any) -> Any:
    rows, columns = np.nonzero(frame > (int(frame.max()) + int(frame.min())) / 2)
    return np.array([columns.mean(), rows.mean()])


def test_tags_say_where_the_shape_has_moved() -> None:
    generator = np.random.default_rng(1)
    seen = set()
    for _ in range(40):
        frames, tags = moving.draw(generator)
        assert len(frames) == len(tags)
        assert tags[0] == "still"
        for before, after, tag in zip(frames[:-1], frames[1:], tags[1:], strict=True):
            step = centre(after) - centre(before)
            axis = int(np.abs(step).argmax())
            names = (("left", "right"), ("up", "down"))[axis]
            found = "still" if np.abs(step).max() < 1 else names[int(step[axis] > 0)]
            assert found == tag
            seen.add(tag)
    assert seen == set(moving.MOVES)


def test_every_page_is_a_frame(tmp_path: Path) -> None:
    paths = moving.write(tmp_path, 3, 1, 1)
    for source, tags in lines_of(paths["train"]):
        found = read_pages(tmp_path / source, Shape(32, 32, 1, False), max_pixels=10_000, max_frames=50, where="")
        assert len(found) == len(tags.split())


@pytest.mark.parametrize("task", ["shapes", "moving"])
def test_drawing_needs_pillow(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="built-in"):
        WRITERS[task](tmp_path, 1, 1, 1)


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TEXTS)
def test_a_text_is_in_one_split_only(tmp_path: Path, task: str) -> None:
    paths = TEXTS[task](tmp_path, 2000, 100, 200)
    train, valid, test = ({source for source, _ in lines_of(path)} for path in paths.values())
    assert not train & (valid | test)
    assert not valid & test


def recommends(review: str) -> bool:
    """The rules of the head of reviews.py, read off the words once more."""
    if review.startswith("nobody can say that "):
        return not recommends(review.removeprefix("nobody can say that "))
    if " but " in review:
        return recommends(review.partition(" but ")[2])
    if review.startswith("although "):
        return recommends(review.partition(" , ")[2])
    words = review.partition(" although ")[0].split()
    praise = {"funny", "fresh", "moving", "clever", "lively", "bright", "gripping", "charming", "liked", "loved",
              "enjoyed", "like", "love", "enjoy"}
    return any(word in praise for word in words) != ("not" in words)


def test_what_a_review_says_follows_from_the_order_of_its_words(tmp_path: Path) -> None:
    rows = lines_of(reviews.write(tmp_path, 6000, 10, 10)["train"])
    labels = [label for _, label in rows]
    assert labels == ["yes" if recommends(text) else "no" for text, _ in rows]
    assert 0.45 < labels.count("yes") / len(labels) < 0.55
    assert recommends("the plot was dull but the cast was funny")
    assert not recommends("the plot was funny but the cast was dull")
    # Each word's own share of "yes", summed over a review's words: as good as counting words gets, and far from right.
    seen: dict[str, list[int]] = {}
    for text, label in rows[:3000]:
        for word in text.split():
            seen.setdefault(word, []).append(1 if label == "yes" else -1)
    weight = {word: sum(signs) / (len(signs) + 5) for word, signs in seen.items()}
    right = [(sum(weight.get(word, 0) for word in text.split()) > 0) == (label == "yes") for text, label in rows[3000:]]
    assert sum(right) / len(right) < 0.72


def test_a_sentence_has_one_tagging_and_its_words_several_tags(tmp_path: Path) -> None:
    rows = [(source.split(), tuple(tags.split())) for source, tags in
            lines_of(sentences.write(tmp_path, 3000, 5, 5)["train"])]
    counts: dict[str, Counter[str]] = {}
    for words, tags in rows:
        assert sentences.taggings(words) == {tags}
        for word, tag in zip(words, tags, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    assert sum(len(found) > 1 for found in counts.values()) > len(counts) / 2
    right = sum(found.most_common(1)[0][1] for found in counts.values())
    assert right / sum(found.total() for found in counts.values()) < 0.8  # the usual tag of each word, without context


def test_a_summary_says_what_its_report_says() -> None:
    generator = np.random.default_rng(1)
    for split, names in (("train", set(reports.TRAINING)), ("test", set(reports.HELD))):
        for _ in range(200):
            report, summary = reports.draw(generator, split)
            found = re.fullmatch(r"(\w+) beat (\w+) (\d) to (\d) in (\w+) \.", summary)
            assert found is not None
            winner, loser, high, low, place = found.groups()
            assert {winner, loser, place} <= names
            assert {winner, loser, place} <= set(report.split())
            assert int(high) > int(low)
            assert any(told in report for told in (
                f"{winner} won by {high} to {low} against {loser} .", f"{loser} lost to {winner} by {low} to {high} .",
                f"{winner} were {high} to {low} ahead of {loser} .", f"{loser} could not prevent that {winner} won by "
                f"{high} to {low} ."))
    assert not set(reports.TRAINING) & set(reports.HELD)
