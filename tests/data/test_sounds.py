"""Sound: decoding, resampling and log-mel frames against the definitions written out, and every unusable file."""

from __future__ import annotations

import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import seqloom.data.sounds
from seqloom.data.sounds import FilterBank, log_mel, read_sound, resampled
from seqloom.errors import DataError, MissingExtraError
from seqloom.types import Floats

RATE = 8000
WHERE = "list.tsv:4"


def tone(frequency: float, seconds: float = 0.5, rate: int = RATE) -> Floats:
    times = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def noise(count: int, seed: int = 1) -> Floats:
    return (0.1 * np.random.default_rng(seed).normal(size=count)).astype(np.float32)


def read(path: Path, rate: int = RATE, **options: Any) -> Floats:
    return read_sound(path, rate, **{"max_seconds": 60.0, "where": WHERE, **options})


def refused(path: Path, message: str, **options: Any) -> None:
    with pytest.raises(DataError, match=message) as raised:
        read(path, **options)
    assert raised.value.where == WHERE
    assert raised.value.fix


# --- decoding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "subtype", "tolerance"), [
    ("a.wav", "PCM_16", 1 / 32768), ("a.wav", "PCM_24", 1e-6), ("a.wav", "FLOAT", 0), ("a.wav", "PCM_U8", 1 / 128),
    ("a.flac", "PCM_16", 1 / 32768)])
def test_formats_without_loss(tmp_path: Path, name: str, subtype: str, tolerance: float) -> None:
    samples = noise(4000)
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    np.testing.assert_allclose(read(tmp_path / name), samples, rtol=0, atol=tolerance)


def test_ogg(tmp_path: Path) -> None:
    samples = tone(440)
    soundfile.write(tmp_path / "a.ogg", samples, RATE, format="OGG", subtype="VORBIS")
    found = read(tmp_path / "a.ogg")
    assert len(found) == len(samples)
    assert np.corrcoef(found, samples)[0, 1] > 0.99


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = noise(1000, 1), noise(1000, 2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav"), (left + right) / 2, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (48000, 8000), (11025, 16000)])
def test_resampling_keeps_a_tone(tmp_path: Path, rate: int, wanted: int) -> None:
    found = resampled(tone(440, 1.0, rate), rate, wanted)
    assert abs(len(found) - wanted) <= 1
    expected = tone(440, len(found) / wanted, wanted)
    inner = slice(wanted // 10, -wanted // 10)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0, atol=1e-3)


def test_resampling_leaves_out_what_the_rate_cannot_hold() -> None:
    found = resampled(tone(7000, 1.0, 44100), 44100, 8000)
    assert np.abs(found[800:-800]).max() < 1e-3


# --- frames ----------------------------------------------------------------------------------------------------------


def by_definition(samples: Floats, options: FilterBank) -> Floats:
    """Log-mel frames step by step in float64; the filters are triangles on the scale 1127 ln(1 + f / 700)."""
    rate = options.sample_rate
    size, hop = int(rate * options.window_milliseconds / 1000), int(rate * options.hop_milliseconds / 1000)
    scaled = samples.astype(np.float64) * 32768
    count = (len(scaled) + hop // 2) // hop
    length = 1 << (size - 1).bit_length()
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))) ** 0.85

    def mel(frequency: Any) -> Any:
        return 1127 * np.log(1 + np.asarray(frequency) / 700)

    high = options.high_frequency or rate / 2
    edges = np.linspace(mel(options.low_frequency), mel(high), options.filters + 2)
    bins = mel(np.arange(length // 2) * rate / length)
    filters = np.maximum(0, np.minimum((bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None],
                                       (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]))
    frames = []
    for number in range(count):
        begin = number * hop + hop // 2 - size // 2
        places = np.arange(begin, begin + size)
        while (places < 0).any() or (places >= len(scaled)).any():  # mirrored at the ends, the edge itself repeated
            places = np.where(places < 0, -places - 1, places)
            places = np.where(places >= len(scaled), 2 * len(scaled) - 1 - places, places)
        frame = scaled[places]
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, length)) ** 2
        frames.append(np.log(np.maximum(filters @ power[: length // 2], np.finfo(np.float32).eps)))
    return np.array(frames).reshape(count, options.filters)


@pytest.mark.parametrize("options", [
    FilterBank(8000, 40, 25.0, 10.0, 20.0, 0.0), FilterBank(16000, 80, 25.0, 10.0, 20.0, 0.0),
    FilterBank(16000, 23, 32.0, 16.0, 100.0, 6800.0)])
@pytest.mark.parametrize("count", [100, 1234, 8000])
def test_frames_are_those_of_the_definition(options: FilterBank, count: int) -> None:
    samples = noise(count) + 0.2 * tone(700, 1.0, options.sample_rate)[:count]
    found = log_mel(samples, options)
    expected = by_definition(samples, options)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_a_tone_is_loudest_in_its_filter() -> None:
    options = FilterBank(8000, 40, 25.0, 10.0, 20.0, 0.0)
    loudest = [int(log_mel(tone(frequency), options)[20].argmax()) for frequency in (300, 1000, 3000)]
    edges = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 4000 / 700), 42)
    expected = [int(np.abs(edges[1:-1] - 1127 * np.log(1 + frequency / 700)).argmin()) for frequency in
                (300, 1000, 3000)]
    assert loudest == expected


def test_the_same_sound_gives_the_same_frames_and_silence_is_finite() -> None:
    options = FilterBank(8000, 40, 25.0, 10.0, 20.0, 0.0)
    assert np.array_equal(log_mel(noise(2000), options), log_mel(noise(2000), options))
    assert np.isfinite(log_mel(np.zeros(2000, np.float32), options)).all()


# --- what cannot be used ---------------------------------------------------------------------------------------------


def test_no_length(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
    refused(tmp_path / "a.wav", "its length is zero")


def test_longer_than_allowed_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", tone(440, 2.0), RATE)

    def decode(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(soundfile.SoundFile, "read", decode)
    refused(tmp_path / "a.flac", r"2.0 s long \(1 channel\), at most 1 s", max_seconds=1)
    monkeypatch.setattr(seqloom.data.sounds, "MOST_SAMPLES", 100)
    refused(tmp_path / "a.flac", "2.0 s long")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff", "a.au", "a.w64", "a.rf64"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated(tmp_path: Path, name: str, share: float) -> None:
    soundfile.write(tmp_path / name, noise(40000), RATE)
    assert len(read(tmp_path / name)) == 40000
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:int(len(data) * share)])
    refused(tmp_path / name, "is truncated|cannot be read as sound")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all, but text", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_no_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    refused(tmp_path / "a.wav", "a.wav cannot be read as sound")


def test_a_raw_file_says_nothing_about_itself(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"\0" * 100)
    refused(tmp_path / "a.raw", "cannot be read as sound")


@pytest.mark.parametrize(("name", "place"), [("a.wav", slice(4, 8)), ("a.au", slice(8, 12)), ("a.w64", slice(16, 24)),
                                             ("a.rf64", slice(20, 28)), ("a.aiff", slice(4, 8))])
def test_a_header_of_unknown_size_is_no_truncation(tmp_path: Path, name: str, place: slice) -> None:
    soundfile.write(tmp_path / name, noise(1000), RATE)
    data = bytearray((tmp_path / name).read_bytes())
    data[place] = b"\xff" * (place.stop - place.start)  # as a program writes that streams
    (tmp_path / name).write_bytes(bytes(data))
    assert len(read(tmp_path / name)) == 1000


def test_samples_that_are_not_finite(tmp_path: Path) -> None:
    samples = noise(100)
    samples[50] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    refused(tmp_path / "a.wav", "samples that are not finite")


@pytest.mark.parametrize(("package", "call"), [
    ("soundfile", lambda: read_sound(Path("a.wav"), RATE, max_seconds=1, where="")),
    ("soxr", lambda: resampled(noise(10), 8000, 16000)),
    ("kaldi_native_fbank", lambda: log_mel(noise(1000), FilterBank(8000, 40, 25.0, 10.0, 20.0, 0.0)))])
def test_packages_are_asked_for_by_name(package: str, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package.replace("_", "-")) as raised:
        call()
    assert "seqloom[audio]" in raised.value.fix
