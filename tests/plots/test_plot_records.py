"""Predictions as JSON and npz come back exactly; files that are something else are refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plot_samples import ALL, DATES, NO_ATTENTION, SCRIPT, SCRIPTS, WORDS

from seqloom.errors import DataError
from seqloom.plots import read_attention, write_attention
from seqloom.types import Prediction


def assert_same(left: Any, right: Any) -> None:
    """Equal in value, type and dtype; nan equals nan."""
    assert type(left) is type(right)
    if dataclasses.is_dataclass(left):
        for field in dataclasses.fields(left):
            assert_same(getattr(left, field.name), getattr(right, field.name))
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, dict):
        assert_same(sorted(left.items()), sorted(right.items()))
    else:
        assert left == right or (math.isnan(left) and math.isnan(right))


HARD = dataclasses.replace(
    WORDS, token_scores=np.array([0.1, -1e-300, -np.inf, np.nan, -1 / 3, -0.0, 1e300, 0.7], np.float64),
    probabilities={SCRIPT: 0.1, "\ud800": 1e-9}, text="line\nbreak\0", source_tokens=["a\0", "\0", "", " b ", "\udcff"])


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("prediction", [*ALL.values(), HARD], ids=[*ALL, "hard"])
def test_nothing_is_lost(tmp_path: Path, suffix: str, prediction: Prediction) -> None:
    path = tmp_path / f"answer{suffix}"
    given = "2019년 \0 \ud800" if prediction is not DATES else None
    assert write_attention(prediction, path, input_text=given) == []
    read, input_text = read_attention(path)
    assert_same(read, prediction)
    assert input_text == given


def test_json_is_plain_and_has_the_agreed_keys(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    write_attention(SCRIPTS, path, input_text=SCRIPT)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    document = json.loads(path.read_bytes().decode("ascii"), parse_constant=refuse)
    assert {"input", "text", "score", "source_tokens", "tokens", "token_scores", "attention", "alternatives", "n_best",
            "stopped", "ranking_score", "probabilities", "error", "where", "engine", "note",
            "format_version"} <= set(document)
    assert document["input"] == SCRIPT
    assert document["alternatives"][0] == [["x", 0.5], [SCRIPT, 0.25], ["한", 0.125]]
    assert SCRIPTS.attention is not None
    np.testing.assert_array_equal(np.array(document["attention"], np.float32), SCRIPTS.attention)


def test_npz_opens_without_pickle_and_without_us(tmp_path: Path) -> None:
    path = tmp_path / "answer.npz"
    write_attention(DATES, path)
    with np.load(path, allow_pickle=False) as file:
        assert file["tokens"].tolist() == DATES.tokens
        assert file["source_tokens"].tolist() == DATES.source_tokens
        np.testing.assert_array_equal(file["attention"], DATES.attention)
        np.testing.assert_array_equal(file["token_scores"], DATES.token_scores)
        assert file["attention"].dtype == np.float32


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_without_attention_the_rest_is_written_with_a_note(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answer{suffix}"
    write_attention(NO_ATTENTION, path)
    assert read_attention(path)[0].attention is None
    if suffix == ".json":
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["attention"] is None
        assert "no attention weights" in document["note"]
        assert document["tokens"] == WORDS.tokens
    else:
        with np.load(path) as file:
            assert "attention" not in file.files


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"3", b"\xff\xfe", b'{"format_version": 1}',
                                     b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_other_files_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a prediction that seqloom wrote"):
        read_attention(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_attention(tmp_path / "nothing.json")


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answer.npz"
    write_attention(DATES, path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="not a prediction"):
            read_attention(path)


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    write_attention(DATES, path)
    path.write_text(path.read_text(encoding="utf-8").replace('"format_version": 1', '"format_version": 99'),
                    encoding="utf-8")
    with pytest.raises(DataError, match="format version 99, expected 1"):
        read_attention(path)
