"""Sound → text: keys of a telephone, dialled as pairs of tones (DTMF), written as what was dialled.

Frequencies are those of ITU-T Recommendation Q.23. Keys and pauses have random lengths, loudness and phase, over noise,
so that neither the number of keys nor their places can be read from the length of the sound alone.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from seqloom.types import Floats

SAMPLE_RATE = 8000
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)  # Hz
KEYS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#")
KEY_SECONDS, PAUSE_SECONDS = (0.06, 0.14), (0.04, 0.12)
MOST_KEYS = 6
FULL_SCALE = 32767


def dial(keys: str, generator: np.random.Generator) -> Floats:
    """The sound of these keys, samples [N] between −1 and 1 at SAMPLE_RATE."""
    parts = [np.zeros(_samples(PAUSE_SECONDS, generator))]
    for key in keys:
        number = KEYS.index(key)
        times = np.arange(_samples(KEY_SECONDS, generator)) / SAMPLE_RATE
        loudness = generator.uniform(0.1, 0.4)
        phases = generator.uniform(0, 2 * np.pi, 2)
        pair = (ROWS[number // len(COLUMNS)], COLUMNS[number % len(COLUMNS)])
        tone = sum(np.sin(2 * np.pi * frequency * times + phase) for frequency, phase in zip(pair, phases, strict=True))
        parts += [loudness * tone, np.zeros(_samples(PAUSE_SECONDS, generator))]
    sound = np.concatenate(parts)
    noisy: Floats = sound + generator.uniform(0.002, 0.02) * generator.normal(size=len(sound))
    return np.clip(noisy, -1, 1)


def _samples(seconds: tuple[float, float], generator: np.random.Generator) -> int:
    return int(generator.uniform(*seconds) * SAMPLE_RATE)


def write(folder: str | Path, train: int = 2000, valid: int = 200, test: int = 300,
          seed: int = 1) -> dict[str, Path]:
    """Write sound files into <split>/ and <split>.tsv (path, tab, keys with spaces); the manifests by split.

    A sequence of keys that is in one split is in no other.
    """
    base = Path(folder)
    generator = np.random.default_rng(seed)
    homes: dict[str, str] = {}
    paths = {}
    for split, count in (("test", test), ("valid", valid), ("train", train)):
        (base / split).mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        while len(lines) < count:
            length = int(generator.integers(1, MOST_KEYS + 1)) if split == "train" else \
                int(generator.integers(3, MOST_KEYS + 1))  # short ones are few, and all belong to training
            keys = "".join(generator.choice(KEYS, length))
            if homes.setdefault(keys, split) != split:
                continue
            name = f"{split}/{len(lines):05d}.wav"
            _write_wave(base / name, dial(keys, generator))
            lines.append(f"{name}\t{' '.join(keys)}\n")
        paths[split] = base / f"{split}.tsv"
        paths[split].write_text("".join(lines), encoding="utf-8", newline="\n")
    return {split: paths[split] for split in ("train", "valid", "test")}


def _write_wave(path: Path, samples: Floats) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * FULL_SCALE).astype("<i2").tobytes())
