"""kind: frames — a video in, as a folder of pictures or a file with several pages (GIF, TIFF, WebP)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqloom.config.media_sections import FramesSourceConfig
from seqloom.config.sections import Config
from seqloom.data.pictures import Shape, read_pages
from seqloom.data.places import find
from seqloom.data.storage import read_json, write_json
from seqloom.sources.base import SourceBase
from seqloom.types import Item, Record

if TYPE_CHECKING:
    from seqloom.nn.picture_encoders import FramesEncoder


class Source(SourceBase):
    """Reads frames as bytes [S H W C]."""

    kind = "frames"
    window = 64  # of decoded videos
    config: FramesSourceConfig

    def __init__(self, config: FramesSourceConfig) -> None:
        self.config = config

    # --- reading ---

    @classmethod
    def fit(cls, config: FramesSourceConfig, records: Iterable[Record], shared: Any = None) -> Source:
        """Nothing is learned: the configuration says the size of a frame."""
        return cls(config)

    @property
    def shape(self) -> Shape:
        """What every frame is brought to."""
        return Shape(self.config.height, self.config.width, self.config.depth, self.config.resize == "pad")

    @property
    def size(self) -> int:
        """Numbers of a frame."""
        return self.shape.height * self.shape.width * self.shape.channels

    def read(self, record: Record) -> Item:
        """Frames [S H W C] uint8. Raises DataError at the record's file:line: see data.pictures."""
        config = self.config
        path = find(record.text("source").strip(), record, stay_inside=config.stay_inside, what="picture", folder=True)
        return Item({"main": read_pages(path, self.shape, max_pixels=config.max_pixels, max_frames=config.max_frames,
                                        where=record.where)}, [])

    @property
    def reads_steps(self) -> bool:
        return True

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """The number of every frame, from 0."""
        return [str(frame) for frame in range(item.length)]

    def describe(self) -> str:
        return f"videos, {self.shape.described}"

    # --- the network ---

    def build(self, config: Config) -> FramesEncoder:
        """Convolutions for each frame and a recurrent stack over frames."""
        from seqloom.nn.picture_encoders import FramesEncoder

        return FramesEncoder(self.config, config.encoder)

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write source.json, with the size of a frame."""
        write_json(folder / "source.json", {"kind": self.kind, "roles": list(self.roles), "size": self.size,
                                            "shape": self.shape._asdict()})

    @classmethod
    def load(cls, folder: Path, config: FramesSourceConfig) -> Source:
        """Read what `save` wrote. Raises RunFolderError."""
        read_json(folder / "source.json", "kind", "size")
        return cls(config)


