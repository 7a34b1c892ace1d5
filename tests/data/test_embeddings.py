"""Word vectors in every format, written by hand here; real GloVe rows; every way a file can be wrong."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from seqloom.data import embeddings
from seqloom.data.embeddings import load_vectors
from seqloom.errors import DataError

VECTORS = {"the": [0.5, -1.25, 3.0], "Haus": [1e-3, 2.0, -0.125], "나무": [4.0, 5.5, -6.75], "42": [7.0, 8.0, 9.0]}


def text_row(word: str, values: Sequence[float], end: str = "\n") -> bytes:
    return f"{word} {' '.join(map(repr, values))}{end}".encode()


def glove(vectors: dict[str, list[float]] = VECTORS) -> bytes:
    return b"".join(text_row(word, values) for word, values in vectors.items())


def word2vec_text(vectors: dict[str, list[float]] = VECTORS) -> bytes:
    return b"%d 3\n" % len(vectors) + glove(vectors)


def fasttext(vectors: dict[str, list[float]] = VECTORS) -> bytes:
    return b"%d 3\n" % len(vectors) + b"".join(text_row(word, values, " \n") for word, values in vectors.items())


def word2vec_binary(vectors: dict[str, list[float]] = VECTORS, end: bytes = b"\n") -> bytes:
    """As word2vec.c writes it: fwrite of each float, a line end after each vector; gensim leaves that out."""
    rows = (word.encode() + b" " + struct.pack("<3f", *values) + end for word, values in vectors.items())
    return b"%d 3\n" % len(vectors) + b"".join(rows)


FORMATS = {
    "GloVe text": glove(), "word2vec or fastText text": word2vec_text(), "fastText": fasttext(),
    "word2vec binary": word2vec_binary(), "gensim binary": word2vec_binary(end=b""),
    "CRLF": glove().replace(b"\n", b"\r\n"), "mark": b"\xef\xbb\xbf" + glove(), "blank end": word2vec_text() + b"\n \n",
}


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "vectors"
    path.write_bytes(content)
    return path


def problem(folder: Path, content: bytes, tokens: Sequence[str] = ("the", "Haus")) -> str:
    with pytest.raises(DataError) as caught:
        load_vectors(file_of(folder, content), tokens)
    assert str(folder / "vectors") in str(caught.value)
    return str(caught.value).replace(str(folder / "vectors"), "FILE")


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path: Path, name: str, zipped: bool) -> None:
    content = gzip.compress(FORMATS[name]) if zipped else FORMATS[name]
    tokens = ["나무", "fehlt", "the", "42", "Haus", "</s>"]
    vectors = load_vectors(file_of(tmp_path, content), tokens)
    assert vectors.matrix.dtype == np.float32
    assert vectors.found.tolist() == [True, False, True, True, True, False]
    expected = np.array([VECTORS.get(token, [0, 0, 0]) for token in tokens], np.float32)
    np.testing.assert_array_equal(vectors.matrix, expected)
    if name in ("GloVe text", "word2vec or fastText text", "word2vec binary"):
        assert vectors.form == name


def test_words_with_spaces_are_split_from_the_right(tmp_path: Path) -> None:
    words = {". . .": [1.0, 2.0, 3.0], "at name@domain.com": [4.0, 5.0, 6.0], **VECTORS, "\u00a0": [7.0, 8.0, 9.0]}
    vectors = load_vectors(file_of(tmp_path, glove(words)), list(words))
    assert vectors.found.all()
    np.testing.assert_array_equal(vectors.matrix, np.array(list(words.values()), np.float32))


def test_lower_case_is_the_second_choice(tmp_path: Path) -> None:
    path = file_of(tmp_path, glove({"the": [1, 1, 1], "haus": [2, 2, 2], "Haus": [3, 3, 3]}))
    tokens = ["Haus", "HAUS", "The", "the"]
    vectors = load_vectors(path, tokens)
    assert vectors.matrix[:, 0].tolist() == [3, 2, 1, 1]
    assert (vectors.lowered, vectors.repeated) == (2, 0)
    assert load_vectors(path, tokens, lowercase=False).found.tolist() == [True, False, False, True]


def test_the_first_row_of_a_word_counts(tmp_path: Path) -> None:
    vectors = load_vectors(file_of(tmp_path, glove() + text_row("the", [9, 9, 9])), ["the", "the"])
    assert vectors.matrix.tolist() == [VECTORS["the"]] * 2
    assert vectors.repeated == 1


def test_report(tmp_path: Path) -> None:
    path = file_of(tmp_path, glove() + text_row("the", [9, 9, 9]))
    tokens = ["the", "THE", "Haus", *(f"w{number}" for number in range(9))]
    assert load_vectors(path, tokens, counts=[50, 5, 25, 12, *[1] * 8]).report() == [
        f"{path}: GloVe text, 5 vectors of 3 numbers",
        "found 3 of 12 tokens of the vocabulary (25.0%), 1 of them in lower case only",
        "found 80.0% of the running tokens",
        "not found: w0, w1, w2, w3, w4, w5, w6, w7 and 1 more",
        "1 wanted rows stand in the file more than once; the first one counts",
    ]
    assert load_vectors(path, ["the"], counts=[]).report()[1:] == [
        "found 1 of 1 tokens of the vocabulary (100.0%)",
        "1 wanted rows stand in the file more than once; the first one counts"]


def test_no_tokens(tmp_path: Path) -> None:
    vectors = load_vectors(file_of(tmp_path, glove()), [])
    assert vectors.matrix.shape == (0, 3)
    assert vectors.report()[1] == "found 0 of 0 tokens of the vocabulary (0.0%)"


def test_large_binary_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    words = {f"w{number}": generator.standard_normal(3).tolist() for number in range(500)}
    monkeypatch.setattr(embeddings, "CHUNK", 17)
    vectors = load_vectors(file_of(tmp_path, word2vec_binary(words)), list(words))
    np.testing.assert_array_equal(vectors.matrix, np.array(list(words.values()), np.float32))


def test_real_glove(shared_data: Path) -> None:
    path = shared_data / "glove50d" / "glove.6B.50d.5k.txt"
    expected = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *numbers = line.split(" ")
        expected[word] = np.array(numbers, np.float32)
    vectors = load_vectors(path, [*expected, "King", "unheardofword"])
    assert vectors.available == 5050
    assert vectors.found.tolist() == [True] * 5051 + [False]
    np.testing.assert_array_equal(vectors.matrix[:5050], np.stack(list(expected.values())))
    np.testing.assert_array_equal(vectors.matrix[5050], expected["king"])
    assert vectors.report()[1] == "found 5,051 of 5,052 tokens of the vocabulary (100.0%), 1 of them in lower case only"


# --- what is wrong ---------------------------------------------------------------------------------------------------

HEAD = glove({f"w{number}": [1.0, 2.0, 3.0] for number in range(60)})  # more lines than are looked at for the size
TWO = b"w 1 2\n"
FOUR = b"w 1 2 3 4\n"
BINARY = word2vec_binary()


@pytest.mark.parametrize(("content", "message"), [
    (b"", "FILE: the file is empty; expected GloVe text, word2vec text or binary, or fastText .vec"),
    (b"PK\x03\x04rest", "FILE: this is a zip archive;"),
    (struct.pack("<ii", 793712314, 12), "FILE: this is a fastText .bin model;"),
    (b"just a line of text\n", "FILE:1: no word with numbers behind it"),
    (b"\x89PNG\r\n\x1a\n\x00 1 2", "FILE:1: no word with numbers behind it"),
    (b"\x00 1 2\n", "FILE:1: no word with numbers behind it"),
    (b"3 0\nthe\n", "FILE:1: vectors of 0 numbers, expected 1 to 10,000"),
    (b"3 10001\nthe 1\n", "FILE:1: vectors of 10,001 numbers, expected 1 to 10,000"),
    (HEAD + TWO, "FILE:61: 2 values after the word, expected 3"),
    (HEAD + FOUR, "FILE:61: 4 values after the word, expected 3"),
    (HEAD + b"word\n", "FILE:61: 0 values after the word, expected 3"),
    (TWO + HEAD, "FILE:1: 2 values after the word, expected 3"),
    (text_row("the", [1, 2, 3]) + TWO, "FILE:2: 2 values after the word, expected 3"),
    (word2vec_text() + TWO, "FILE:6: 2 values after the word, expected 3"),
    (b"4 2\n" + glove(), "FILE:2: 3 values after the word, expected 2"),
    (HEAD + b"the 1 x 3\n", "FILE:61: 'x' is not a number, in the vector of 'the'"),
    (HEAD + b"the 1  3\n", "FILE:61: '' is not a number, in the vector of 'the'"),
    (HEAD + b"the 1 nan 3\n", "FILE:61: the vector of 'the' has a value that is infinite or not a number"),
    (HEAD + b"the 1 1e39 3\n", "FILE:61: the vector of 'the' has a value that is infinite or not a number"),
    (word2vec_binary({"the": [1.0, float("inf"), 2.0]}), "FILE, vector 1: the vector of 'the' has a value"),
    (HEAD + b"\n" + HEAD, "FILE:61: an empty line between the vectors"),
    (b"5 3\n" + glove(), "FILE: truncated: the header says 5 vectors, the file has 4"),
    (b"3 3\n" + glove(), "FILE: the header says 3 vectors, the file has 4"),
    (b"5 3\n", "FILE: truncated: the header says 5 vectors, the file has 0"),
    (BINARY[:-20], "FILE: truncated: 4 vectors of 3 numbers need at least 56 bytes, the file has "),
    (gzip.compress(BINARY[:-3]), "FILE, vector 4: truncated: the header says 4 vectors of 3 numbers"),
    (BINARY + b"more", "FILE: there is more data after the 4 vectors of 3 numbers"),
    (b"999999999999 3\n" + BINARY[4:], "FILE: truncated: 999,999,999,999 vectors of 3 numbers need"),
    (gzip.compress(HEAD)[:-20], "FILE: truncated: the gzip data ends too early"),
    (gzip.compress(HEAD)[:10] + b"\x07" * 30, "FILE: cannot be read: Error -3 while decompressing"),
    (gzip.compress(HEAD)[:-8] + bytes(8), "FILE: cannot be read: CRC"),
    (HEAD + b"the" + b" " * 2**20, "FILE:61: a line of more than 1,048,576 bytes"),
    (gzip.compress(b"2 3\n\x00" + b"x" * (2**21 + 9)), "FILE, vector 1: a word of more than 1,048,576 bytes"),
])
def test_wrong_files_say_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    assert problem(tmp_path, content).startswith(message)


def test_missing_files_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        load_vectors(tmp_path / "nowhere", ["the"])


def test_memory_is_checked_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "LARGEST_MATRIX", 23)
    assert "2 tokens with 3 numbers each need 24 bytes, more than 23" in problem(tmp_path, glove())
