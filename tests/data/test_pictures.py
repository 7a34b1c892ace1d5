"""Pictures: formats, sizes and colours against Pillow and arithmetic, and every unusable file."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seqloom.data.pictures import Shape, read_pages, read_picture
from seqloom.errors import DataError, MissingExtraError

WHERE = "list.tsv:9"
EXACT = Shape(6, 8, 3, False)


def painted(height: int = 6, width: int = 8, seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def read(file: Any, shape: Shape = EXACT, max_pixels: int = 10_000) -> Any:
    return read_picture(file, shape, max_pixels=max_pixels, where=WHERE)


def pages(path: Path, shape: Shape = EXACT, max_pixels: int = 10_000, max_frames: int = 10) -> Any:
    return read_pages(path, shape, max_pixels=max_pixels, max_frames=max_frames, where=WHERE)


def refused(call: Any, message: str, *arguments: Any, **options: Any) -> DataError:
    with pytest.raises(DataError, match=message) as raised:
        call(*arguments, **options)
    assert raised.value.where == WHERE
    assert raised.value.fix
    return raised.value


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.webp", {"lossless": True}), ("a.tiff", {}),
                                               ("a.bmp", {}), ("a.ppm", {})])
def test_formats_without_loss(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    Image.fromarray(painted()).save(tmp_path / name, **options)
    found = read(tmp_path / name)
    assert found.dtype == np.uint8
    assert np.array_equal(found, painted())


@pytest.mark.parametrize("name", ["a.jpg", "b.webp"])
def test_formats_with_loss(tmp_path: Path, name: str) -> None:
    smooth = np.zeros((6, 8, 3), np.uint8) + np.arange(8, dtype=np.uint8)[None, :, None] * 20
    Image.fromarray(smooth).save(tmp_path / name, quality=95)
    assert np.abs(read(tmp_path / name).astype(int) - smooth).max() < 12


def test_bytes_in_memory() -> None:
    buffer = io.BytesIO()
    Image.fromarray(painted()).save(buffer, "PNG")
    buffer.seek(0)
    assert np.array_equal(read(buffer), painted())


def test_grey_is_brightness(tmp_path: Path) -> None:
    Image.fromarray(painted()).save(tmp_path / "a.png")
    red, green, blue = painted().astype(float).transpose(2, 0, 1)
    expected = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    found = read(tmp_path / "a.png", EXACT._replace(channels=1))
    assert found.shape == (6, 8, 1)
    assert np.abs(found[..., 0] - expected).max() <= 1


def test_a_grey_picture_has_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(painted()[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png"), np.repeat(painted()[..., :1], 3, 2))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png", EXACT._replace(channels=1))
    assert np.abs(found[..., 0] - values / 257).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_pixels_that_are_real_numbers(tmp_path: Path, white: float) -> None:
    values = painted()[..., 0]
    Image.fromarray((values / 255 * white).astype(np.float32)).save(tmp_path / "a.tiff")
    found = read(tmp_path / "a.tiff", EXACT._replace(channels=1))
    assert np.abs(found[..., 0].astype(int) - values).max() <= 1


@pytest.mark.parametrize("strange", [np.nan, np.inf, -0.5, 300.0])
def test_real_numbers_of_no_known_white(tmp_path: Path, strange: float) -> None:
    values = np.full((6, 8), 0.5, np.float32)
    values[2, 3] = strange
    Image.fromarray(values).save(tmp_path / "a.tiff")
    refused(read, "expected 0 to 1 or 255", tmp_path / "a.tiff")


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparent_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (8, 6), (10, 20, 30, 0))
    image.paste((200, 0, 0, 255), (0, 0, 4, 6))
    image.convert(mode).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png")
    assert (found[:, 4:] == 255).all()
    assert np.abs(found[:, :4].astype(int) - [200, 0, 0]).max() < 5


def test_a_turned_photograph_is_turned_back(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown after a quarter turn to the right
    Image.fromarray(painted(8, 6)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png"), np.rot90(painted(8, 6), -1))


def test_stretching_averages_areas(tmp_path: Path) -> None:
    halves = np.zeros((12, 16, 3), np.uint8)
    halves[:, 8:] = 200
    Image.fromarray(halves).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png")
    assert (found[:, :3] == 0).all()
    assert (found[:, 5:] == 200).all()


def test_a_kept_ratio_fills_with_the_corner(tmp_path: Path) -> None:
    Image.new("RGB", (40, 10), (9, 8, 7)).save(tmp_path / "wide.png")
    picture = Image.new("RGB", (40, 10), (9, 8, 7))
    picture.paste((250, 250, 250), (1, 1, 40, 10))
    picture.save(tmp_path / "framed.png")
    assert (read(tmp_path / "wide.png", Shape(20, 20, 3, True)) == [9, 8, 7]).all()
    found = read(tmp_path / "framed.png", Shape(20, 20, 3, True))
    assert (found[:7] == [9, 8, 7]).all()
    assert (found[13:] == [9, 8, 7]).all()
    assert (found[9:11, 5:] > 200).all()


# --- frames ----------------------------------------------------------------------------------------------------------


def save_pages(path: Path, count: int, **options: Any) -> list[Any]:
    arrays = [painted(seed=seed) for seed in range(count)]
    first, *others = [Image.fromarray(array) for array in arrays]
    first.save(path, save_all=True, append_images=others, **options)
    return arrays


@pytest.mark.parametrize(("name", "options"), [("a.tiff", {}), ("a.webp", {"lossless": True})])
def test_pages_of_a_file(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    arrays = save_pages(tmp_path / name, 4, **options)
    assert np.array_equal(pages(tmp_path / name), np.stack(arrays))


def test_frames_of_a_gif(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), (value, value, value)) for value in (0, 100, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    found = pages(tmp_path / "a.gif")
    assert [int(frame.mean()) for frame in found] == [0, 100, 200]


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    for number in (10, 2, 1):
        Image.fromarray(painted(seed=number)).save(folder / f"frame{number}.png")
    Image.fromarray(painted(seed=3)).save(folder / "frame²2.png")  # a digit that no number begins with
    (folder / ".hidden").write_text("the system's own")
    assert np.array_equal(pages(folder), np.stack([painted(seed=number) for number in (1, 2, 10, 3)]))


def test_folders_that_are_no_video(tmp_path: Path) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    refused(pages, "video is empty", folder)
    Image.fromarray(painted()).save(folder / "1.png")
    (folder / "notes.txt").write_text("x")
    refused(pages, "holds notes.txt, which is no picture", folder)


def test_too_many_frames(tmp_path: Path) -> None:
    folder = tmp_path / "video"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(painted()).save(folder / f"{number}.png")
    save_pages(tmp_path / "a.tiff", 3)
    for path in (folder, tmp_path / "a.tiff"):
        assert len(pages(path, max_frames=3)) == 3
        refused(pages, "has more than 2 frames", path, max_frames=2)


# --- what cannot be used ---------------------------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims to be huge."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + \
        chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "message"), [
    (101, "101 × 100 pixels, at most 10,000 are decoded"), (11_000, "11,000 × 10,000 pixels|far more than"),
    (60_000, "far more than 10,000 pixels")])
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, width: int, message: str) -> None:
    (tmp_path / "a.png").write_bytes(bomb(width, 100 if width < 1000 else 10_000))
    refused(read, message, tmp_path / "a.png")
    refused(pages, message, tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tiff"])
@pytest.mark.parametrize("share", [0.2, 0.7])
def test_truncated(tmp_path: Path, name: str, share: float) -> None:
    Image.fromarray(painted(60, 80)).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:int(len(data) * share)])
    refused(read, "cannot be decoded|no picture in a known format", tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"text", b"%PDF-1.4", b"RIFF\x24\0\0\0WAVEfmt "])
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert "PNG, JPEG, WEBP" in refused(read, "a.png is no picture in a known format", tmp_path / "a.png").fix


def test_the_package_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="pillow") as raised:
        read(Path("a.png"))
    assert "seqloom[image]" in raised.value.fix
