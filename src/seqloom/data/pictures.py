"""Image files → arrays of bytes [H W C]: one image, or the frames of a folder or of a file with several pages.

PNG, JPEG, WebP, GIF, TIFF, BMP, PPM, by Pillow (the extra [image], imported when a picture is read). The size is
checked before anything is decoded. Transparent pixels become white; turned photographs are turned back.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from seqloom.errors import DataError, MissingExtraError
from seqloom.types import Ints

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")
WHITE = (255, 255, 255, 255)


class Shape(NamedTuple):
    """What every picture is brought to; `channels` 3 or 1; `keep_ratio`: the rest gets the corner's colour."""

    height: int
    width: int
    channels: int
    keep_ratio: bool

    @property
    def described(self) -> str:
        """In a few words."""
        return f"{self.height} × {self.width}, {'grey' if self.channels == 1 else 'in colour'}"


def read_picture(file: Path | BinaryIO, shape: Shape, *, max_pixels: int, where: str) -> Ints:
    """A picture as bytes [H W C]; of a file with several pages the first.

    Raises DataError at `where`: not a picture, truncated, or with more than `max_pixels`; MissingExtraError.
    """
    with _opened(file, max_pixels, where) as image:
        return _prepared(image, shape, file if isinstance(file, Path) else "the picture", where)


def read_pages(path: Path, shape: Shape, *, max_pixels: int, max_frames: int, where: str) -> Ints:
    """The frames of a video [S H W C]: a folder of pictures in the order of their numbers, or the pages of a file.

    Raises DataError as `read_picture`, for a folder without pictures or with other files, and beyond `max_frames`.
    """
    frames: list[Ints] = []
    if path.is_dir():
        for file in _listed(path, max_frames, where):
            frames.append(read_picture(file, shape, max_pixels=max_pixels, where=where))
        return np.stack(frames)
    with _opened(path, max_pixels, where) as image:
        while True:
            if len(frames) == max_frames:
                raise _too_many(path, max_frames, where)
            _check_pixels(image, path, max_pixels, where)
            frames.append(_prepared(image, shape, path, where))
            try:
                image.seek(len(frames))
            except EOFError:
                return np.stack(frames)


def _listed(folder: Path, max_frames: int, where: str) -> list[Path]:
    """The pictures of a folder, 2 before 10; files whose name begins with a dot are the system's own."""
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    foreign = sorted(file.name for file in files if file.suffix.lower() not in SUFFIXES or not file.is_file())
    if foreign or not files:
        found = f"holds {foreign[0]}, which is no picture" if foreign else "is empty"
        raise DataError(f"the folder {folder} {found}", where=where, fix="a folder of frames holds pictures alone")
    if len(files) > max_frames:
        raise _too_many(folder, max_frames, where)
    return sorted(files, key=lambda file: [(int(part), "") if part.isdecimal() else (-1, part)
                                           for part in re.split(r"(\d+)", file.name)])


def _too_many(path: Path, max_frames: int, where: str) -> DataError:
    return DataError(f"{path} has more than {max_frames:,} frames", where=where,
                     fix="cut it, or raise source.max_frames")


@contextmanager
def _opened(file: Path | BinaryIO, max_pixels: int, where: str) -> Iterator[Any]:
    """An image whose header has been read and whose size is allowed; errors of decoding become DataErrors."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("pillow", "image", "reading pictures") from None
    name = str(file) if isinstance(file, Path) else "the picture"
    try:
        with warnings.catch_warnings():
            # Our own limit stands here; Pillow's second one, at twice its size, raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
        with image:
            _check_pixels(image, name, max_pixels, where)
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name} is no picture in a known format", where=where,
                        fix=f"give one of: {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} has far more than {max_pixels:,} pixels", where=where,
                        fix="make it smaller, if you trust it") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, EOFError and others
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{name} cannot be decoded: {reason}", where=where,
                        fix="the file is truncated or damaged: copy it again") from None


def _check_pixels(image: Any, name: Path | str, max_pixels: int, where: str) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(f"{name} has {width:,} × {height:,} pixels, at most {max_pixels:,} are decoded", where=where,
                        fix="make it smaller, or raise source.max_pixels")


def _prepared(image: Any, shape: Shape, name: Path | str, where: str) -> Ints:
    from PIL import Image, ImageOps

    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # 16 bits and more: Pillow's own conversion would cut, not scale
        values = np.asarray(image, np.float64)
        scale = 257.0
        if image.mode == "F":
            if not (values.min() >= 0 and values.max() <= 255):  # also where one is no number
                raise DataError(f"{name} has pixels from {values.min():g} to {values.max():g}, expected 0 to 1 or 255",
                                where=where, fix="scale them, or save whole numbers")
            scale = 1 / 255 if values.max() <= 1 else 1.0
        image = Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    image = image.convert("RGB" if shape.channels == 3 else "L")
    size = (shape.width, shape.height)
    if shape.keep_ratio:
        corner = image.getpixel((0, 0))
        ratio = min(shape.width / image.width, shape.height / image.height)
        inner = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        canvas = Image.new(image.mode, size, corner)
        scaled = image.resize(inner, Image.Resampling.BILINEAR)
        canvas.paste(scaled, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        image = canvas
    elif image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.array(image, np.uint8).reshape(shape.height, shape.width, shape.channels)
