"""Arrays as pictures: attention over an image, sound and frames as a strip, and PNG without any package.

All arrays are uint8 [height width 3].
"""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from seqloom.insight.seen import Seen
from seqloom.plots.colours import LIGHT_SCALE, channels, scale
from seqloom.types import Floats, Ints

SHADE = 0.35            # brightness of a region without any weight
LEAST_SIDE = 192        # a smaller picture is enlarged, so that the map over it is smooth
MOST_PIXELS = 6_000_000  # of all overlays of an answer together; beyond, pictures are made smaller
THUMBNAIL = 48          # height of a frame in a strip
MOST_FRAMES = 48        # frames in a strip; of a longer video every second, third, … is shown
MOST_COLUMNS = 4000     # of a strip; longer sound is shown in means of neighbouring frames
LIGHTEST, DARKEST = 2, 99  # percentiles of the frames' values between which the colours of a strip change


def png(pixels: Ints) -> bytes:
    """A PNG file (ISO/IEC 15948) of 8 bits in three channels: signature, header, one block of data, end."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # filter type 0 stands before every row
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + chunk(
        b"IEND", b"")


def data_address(pixels: Ints) -> str:
    """The picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def sized(picture: Ints, copies: int) -> Ints:
    """Enlarged by whole numbers to LEAST_SIDE at least, or made smaller so that `copies` of it are not too many."""
    factor = -(-LEAST_SIDE // max(picture.shape[:2]))
    while factor > 1 and copies * picture[..., 0].size * factor**2 > MOST_PIXELS:
        factor -= 1
    enlarged = picture.repeat(factor, 0).repeat(factor, 1)
    cut = int(np.ceil((copies * enlarged[..., 0].size / MOST_PIXELS) ** 0.5))
    return enlarged[::cut, ::cut] if cut > 1 else enlarged


def upsampled(weights: Floats, height: int, width: int) -> Floats:
    """Weights of regions [R C] as a map [height width], in straight lines between the middles of the regions."""
    def places(pixels: int, regions: int) -> tuple[Ints, Ints, Floats]:
        at = np.clip((np.arange(pixels) + 0.5) / pixels * regions - 0.5, 0, regions - 1)
        low = np.floor(at).astype(np.int64)
        return low, np.minimum(low + 1, regions - 1), at - low

    top, bottom, down = places(height, weights.shape[0])
    left, right, across = places(width, weights.shape[1])
    rows = weights[top] * (1 - down)[:, None] + weights[bottom] * down[:, None]
    found: Floats = rows[:, left] * (1 - across) + rows[:, right] * across
    return found


def overlay(picture: Ints, weights: Floats) -> Ints:
    """The picture, bright where the weights [R C] are largest and dark where they are 0."""
    most = float(weights.max())
    shares = upsampled(weights / most if most > 0 else weights, *picture.shape[:2])
    return np.rint(picture * (SHADE + (1 - SHADE) * shares)[..., None]).astype(np.uint8)


def strip(seen: Seen) -> Ints:
    """Frames from left to right: a spectrum with low numbers below, or the pictures of a video."""
    if seen.pages is not None:
        return _pages(seen.pages)
    assert seen.frames is not None
    frames = seen.frames
    together = -(-len(frames) // MOST_COLUMNS)
    if together > 1:
        frames = np.stack([part.mean(0) for part in np.array_split(frames, -(-len(frames) // together))])
    low, high = np.percentile(frames, [LIGHTEST, DARKEST])
    shares = np.clip((frames - low) / (high - low if high > low else 1.0), 0, 1)
    table = np.array([channels(scale(level / 255, LIGHT_SCALE)) for level in range(256)], np.uint8)
    found: Ints = table[np.rint(shares * 255).astype(np.int64)].transpose(1, 0, 2)[::-1]
    return found


def shown_frames(count: int) -> int:
    """Every how manyth frame of a video a strip shows."""
    return -(-count // MOST_FRAMES)


def _pages(pages: Ints) -> Ints:
    chosen = pages[::shown_frames(len(pages))]
    cut = max(1, round(chosen.shape[1] / THUMBNAIL))
    return np.concatenate(list(chosen[:, ::cut, ::cut]), axis=1)
