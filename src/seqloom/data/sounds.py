"""Sound files → log-mel frames: decoding by libsndfile, resampling by libsoxr, filter banks by kaldi-native-fbank.

WAV, FLAC and OGG, and what else the installed libsndfile reads; several channels are averaged. What is cut off is
refused, not shortened. The packages belong to the extra [audio] and are imported when a sound is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqloom.errors import DataError, MissingExtraError, counted
from seqloom.types import Floats

FULL_SCALE = 32768.0  # Kaldi's filter banks count in 16-bit units
MOST_SAMPLES = 2**28  # of all channels, before they are averaged
UNKNOWN_SIZES = (0, 2**32 - 1, 2**64 - 1)  # what programs write into a header when they cannot know the size yet
HEAD = 32  # bytes in which every format that is looked at says its size
W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
OGG_TAIL = 65536  # bytes; a page of Ogg has at most 65,307
OGG_HEADER = 27  # bytes of a page before its table of sizes
OGG_LAST = 4  # flag of the last page


class FilterBank(NamedTuple):
    """The options of log-mel frames; frequencies in Hz, times in milliseconds. high_frequency 0: half the rate."""

    sample_rate: int
    filters: int
    window_milliseconds: float
    hop_milliseconds: float
    low_frequency: float
    high_frequency: float


def read_sound(path: Path, sample_rate: int, *, max_seconds: float, where: str) -> Floats:
    """The samples [N] float32, −1 to 1, of a sound file at a sample rate.

    Raises DataError at `where`: not a sound, truncated, of no length, or longer than `max_seconds`;
    MissingExtraError.
    """
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without its library
        raise MissingExtraError("soundfile", "audio", "reading sound") from None
    try:
        _check_whole(path, where)
        with soundfile.SoundFile(str(path)) as file:
            rate, count, channels = int(file.samplerate), int(file.frames), int(file.channels)
            _check_length(path, rate, count, channels, max_seconds, where)
            samples = file.read(dtype="float32", always_2d=True)
        if len(samples) < count:
            raise _truncated(path, where)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:  # TypeError: .raw without its options
        reason = str(error).rpartition(": ")[2] or type(error).__name__
        raise DataError(f"{path} cannot be read as sound: {reason}", where=where,
                        fix="give a WAV, FLAC or OGG file that plays elsewhere") from None
    mono = samples.mean(1) if channels > 1 else samples[:, 0]
    if not np.isfinite(mono).all():
        raise DataError(f"{path} has samples that are not finite", where=where, fix="write it again")
    return resampled(mono, rate, sample_rate)


def _check_length(path: Path, rate: int, count: int, channels: int, max_seconds: float, where: str) -> None:
    """Refuse by the header alone, before anything is decoded."""
    if count < 1 or rate < 1:
        raise DataError(f"{path} has no sound in it: its length is zero", where=where, fix="leave the line out")
    if count > max_seconds * rate or count * channels > MOST_SAMPLES:
        raise DataError(f"{path} is {count / rate:,.1f} s long ({counted(channels, 'channel')}), at most "
                        f"{max_seconds:g} s are read", where=where, fix="cut it, or raise source.max_seconds")


def _check_whole(path: Path, where: str) -> None:
    """Refuse a file that was cut off where libsndfile reads what is there, and says nothing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, size - OGG_TAIL))
        tail = file.read() if head[:4] == b"OggS" else b""
    if size < _size_said(head):
        raise _truncated(path, where)
    if tail and not _ends_with_last_page(tail):
        raise _truncated(path, where)


def _size_said(head: bytes) -> int:
    """Bytes that a file of WAV, AIFF, AU, RF64 or W64 has by its own header; 0 where none is said."""
    before, said = 0, 0  # bytes that the size does not count, and the size
    if head[:4] == b"RIFF" and len(head) >= 12:
        before, said = 8, int.from_bytes(head[4:8], "little")
    elif head[:4] == b"FORM":
        before, said = 8, int.from_bytes(head[4:8], "big")
    elif head[:4] == b".snd":
        before, said = (int.from_bytes(head[start:start + 4], "big") for start in (4, 8))
    elif head[:4] == b"RF64" and head[12:16] == b"ds64":
        before, said = 8, int.from_bytes(head[20:28], "little")
    elif head[:16] == W64:
        said = int.from_bytes(head[16:24], "little")
    return 0 if said in UNKNOWN_SIZES else before + said


def _ends_with_last_page(tail: bytes) -> bool:
    """Whether an Ogg file's last page is marked as the last and all there (RFC 3533, §6)."""
    begin = tail.rfind(b"OggS")
    if begin < 0 or len(tail) < begin + OGG_HEADER or not tail[begin + 5] & OGG_LAST:
        return False
    sizes = tail[begin + OGG_HEADER:begin + OGG_HEADER + tail[begin + 26]]
    return len(sizes) == tail[begin + 26] and len(tail) >= begin + OGG_HEADER + len(sizes) + sum(sizes)


def _truncated(path: Path, where: str) -> DataError:
    return DataError(f"{path} is truncated: the sound ends before the file's own header says", where=where,
                     fix="copy the file again")


def resampled(samples: Floats, rate: int, wanted: int) -> Floats:
    """Samples [N] at another rate, with the high quality of libsoxr. Raises MissingExtraError."""
    if rate == wanted:
        return samples
    try:
        import soxr
    except ImportError:
        raise MissingExtraError("soxr", "audio", f"resampling sound from {rate:,} to {wanted:,} Hz") from None
    result: Floats = np.asarray(soxr.resample(samples, rate, wanted), np.float32)
    return result


def log_mel(samples: Floats, options: FilterBank) -> Floats:
    """Logarithms of mel filter bank energies [S F] float32 (Davis & Mermelstein 1980, §II; as Kaldi makes them).

    Each frame: mean removed, pre-emphasis 0.97, a Hann window to the power 0.85, power spectrum, triangular filters
    that are even on the mel scale, natural logarithm; no dither, so that the same sound gives the same numbers. A
    frame stands every hop, and the sound is mirrored at both ends.
    """
    try:
        import kaldi_native_fbank
    except ImportError:
        raise MissingExtraError("kaldi-native-fbank", "audio", "making log-mel frames") from None
    given: Any = kaldi_native_fbank.FbankOptions()
    frame, mel = given.frame_opts, given.mel_opts
    frame.samp_freq, frame.dither, frame.snip_edges = float(options.sample_rate), 0.0, False
    frame.frame_length_ms, frame.frame_shift_ms = options.window_milliseconds, options.hop_milliseconds
    mel.num_bins, mel.low_freq, mel.high_freq = options.filters, options.low_frequency, options.high_frequency
    bank = kaldi_native_fbank.OnlineFbank(given)
    bank.accept_waveform(float(options.sample_rate), (samples * FULL_SCALE).tolist())
    bank.input_finished()
    count = int(bank.num_frames_ready)
    frames = [bank.get_frame(number) for number in range(count)]
    return np.asarray(frames, np.float32).reshape(count, options.filters)
