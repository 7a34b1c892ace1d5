"""kind: image — one picture in, as regions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqloom.config.media_sections import ImageSourceConfig
from seqloom.config.sections import Config, SequenceHeadConfig
from seqloom.data.pictures import Shape, read_picture
from seqloom.data.places import find
from seqloom.data.storage import read_json, write_json
from seqloom.sources.base import SourceBase
from seqloom.types import Item, Record

if TYPE_CHECKING:
    from seqloom.nn.picture_encoders import ImageEncoder


class Source(SourceBase):
    """Reads a picture as bytes [H W C]."""

    kind = "image"
    window = 256  # of decoded pictures
    config: ImageSourceConfig

    def __init__(self, config: ImageSourceConfig, backbone: dict[str, Any] | None = None) -> None:
        """backbone: how to build the pretrained network, and its grid; see nn.backbone.describe."""
        self.config = config
        self.backbone = backbone

    # --- reading ---

    @classmethod
    def fit(cls, config: ImageSourceConfig, records: Iterable[Record], shared: Any = None) -> Source:
        """Nothing is learned: the configuration says the size of a picture. Asks what a backbone is made of."""
        if config.backbone is None:
            return cls(config)
        from seqloom.nn.backbone import build, describe

        described = describe(config.backbone)
        built = build(described, config.height, config.width, frozen=config.freeze_backbone)
        return cls(config, {**described, "grid": list(built.grid)})

    @property
    def shape(self) -> Shape:
        """What every picture is brought to."""
        return Shape(self.config.height, self.config.width, self.config.depth, self.config.resize == "pad")

    @property
    def size(self) -> int:
        """Numbers of a picture."""
        return self.shape.height * self.shape.width * self.shape.channels

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of regions."""
        if self.backbone is None:
            return self.config.grid
        rows, columns = self.backbone["grid"]
        return rows, columns

    def read(self, record: Record) -> Item:
        """A picture [H W C] uint8. Raises DataError at the record's file:line: see data.pictures."""
        config = self.config
        path = find(record.text("source").strip(), record, stay_inside=config.stay_inside, what="picture")
        return Item({"main": read_picture(path, self.shape, max_pixels=config.max_pixels, where=record.where)}, [])

    def memory_tokens(self, item: Item, record: Record) -> list[str]:
        """Row and column, from 1, of every region."""
        rows, columns = self.grid
        return [f"{row},{column}" for row in range(1, rows + 1) for column in range(1, columns + 1)]

    def describe(self) -> str:
        return f"pictures, {self.shape.described}"

    # --- the network ---

    def build(self, config: Config) -> ImageEncoder:
        """Convolutions, and the map of regions and summary to the memory."""
        from seqloom.nn.backbone import Backbone, build
        from seqloom.nn.convolution import PictureConvolutions
        from seqloom.nn.picture_encoders import ImageEncoder

        pictures: PictureConvolutions | Backbone
        if self.backbone is None:
            pictures = PictureConvolutions(self.shape.channels, self.config.channels)
        else:
            pictures = build(self.backbone, self.config.height, self.config.width,
                             frozen=self.config.freeze_backbone)
        return ImageEncoder(pictures, pictures.output_size, *self.grid, self.config, config.encoder,
                            summary_read=reads_summary(config))

    def insert_pretrained(self, encoder: ImageEncoder, *, fresh: bool) -> list[str]:
        """The backbone's weights. Raises ConfigError where they cannot be read."""
        from seqloom.nn.backbone import Backbone, insert

        if self.config.backbone is None:
            return []
        assert isinstance(encoder.pictures, Backbone)
        if fresh:
            insert(encoder.pictures, self.config.backbone)
        encoder.pictures.freeze()
        count = sum(parameter.numel() for parameter in encoder.pictures.parameters())
        frozen = "which stay" if self.config.freeze_backbone else "which are trained"
        return [f"backbone: {count:,} numbers of {self.config.backbone}, {frozen}"]

    # --- storage ---

    def save(self, folder: Path) -> None:
        """Write source.json, with the size of a picture and of its grid of regions."""
        write_json(folder / "source.json", {
            "kind": self.kind, "roles": list(self.roles), "size": self.size, "shape": self.shape._asdict(),
            "grid": list(self.grid), "backbone": self.backbone})

    @classmethod
    def load(cls, folder: Path, config: ImageSourceConfig) -> Source:
        """Read what `save` wrote. Raises RunFolderError."""
        stored = read_json(folder / "source.json", "kind", "size", "backbone")
        return cls(config, stored["backbone"])


def reads_summary(config: Config) -> bool:
    """Whether the head reads the summary, not the regions alone."""
    head = config.head
    if isinstance(head, SequenceHeadConfig):
        decoder = config.decoder
        return config.bridge.kind != "zero" or decoder.context == "every_step" or decoder.first_input
    return head.kind == "label" and head.pooling == "last"
