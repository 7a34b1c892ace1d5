"""Pretrained backbones: tiny models that transformers writes, against transformers' own answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from seqloom.config.media_sections import ImageSourceConfig
from seqloom.config.sections import Config
from seqloom.errors import ConfigError, MissingExtraError, UsageError
from seqloom.heads.sequence import Head
from seqloom.model import build_model, insert_pretrained, load_weights, stored_weights
from seqloom.nn.backbone import ChannelAffine, build, describe, insert
from seqloom.sources.image import Source
from seqloom.types import Padded, Record
from tiny import normal

SIDE = 16


def model_of(kind: str) -> Any:
    if kind == "resnet":
        config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")
        return transformers.ResNetModel(config)
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                                    image_size=SIDE, patch_size=4)
    return transformers.ViTModel(config)


@pytest.fixture(params=["resnet", "vit"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any]:
    """A model with statistics that are not those of the start, and its folder."""
    torch.manual_seed(1)
    model = model_of(request.param)
    model.train()
    if request.param == "resnet":
        for _ in range(3):
            model(pixel_values=torch.randn(4, 3, SIDE, SIDE) * 2 + 1)
    model.eval()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}')
    return str(tmp_path / "model"), model


def test_regions_are_the_last_hidden_state(saved: tuple[str, Any]) -> None:
    folder, model = saved
    backbone = build(describe(folder), SIDE, SIDE, frozen=True)
    insert(backbone, folder)
    pictures = normal(2, 3, SIDE, SIDE).float().clamp(-1, 1)
    mean, deviation = (torch.tensor(part).view(1, 3, 1, 1) for part in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    with torch.no_grad():
        expected = model(pixel_values=((pictures + 1) / 2 - mean) / deviation).last_hidden_state
        found = backbone.train()(pictures)  # a frozen one does not care
    if expected.dim() == 3:
        expected = expected[:, 1:].transpose(1, 2).reshape(2, 8, 4, 4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape[1:] == (backbone.output_size, *backbone.grid)


def test_a_batch_norm_becomes_an_affine_map() -> None:
    norm = torch.nn.BatchNorm2d(3).double()
    norm(normal(5, 3, 4, 4) * 3 + 2)
    with torch.no_grad():
        norm.weight.copy_(normal(3))
        norm.bias.copy_(normal(3, seed=2))
    made = ChannelAffine.of(norm).double()
    values = normal(2, 3, 4, 4, seed=3)
    torch.testing.assert_close(made(values), norm.eval()(values), rtol=1e-6, atol=1e-6)


def task_of(folder: str, place: Path, *, frozen: bool) -> tuple[Config, Source, Head, Any, Record]:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(place / "a.png")
    example = Record({"source": "a.png", "target": "x y"}, str(place / "list.tsv"), 1)
    config = Config.model_validate({
        "source": {"kind": "image", "height": SIDE, "width": SIDE, "backbone": folder, "freeze_backbone": frozen},
        "encoder": {"hidden_size": 4}, "decoder": {"hidden_size": 6, "embedding_size": 5}})
    assert isinstance(config.source, ImageSourceConfig)
    source, head = Source.fit(config.source, [example]), Head.fit(config, [example])
    return config, source, head, build_model(config, source, head, seed=1), example


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_holds_the_whole_network(saved: tuple[str, Any], tmp_path: Path, frozen: bool) -> None:
    folder, _ = saved
    config, source, head, model, example = task_of(folder, tmp_path, frozen=frozen)
    (report,) = insert_pretrained(model, source, head)
    assert ("which stay" in report) == frozen
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("encoder.pictures") for name in trained) != frozen
    source.save(tmp_path)
    again = Source.load(tmp_path, config.source)
    assert again.grid == source.grid
    other = build_model(config, again, head, seed=2)
    load_weights(other, stored_weights(model), "")
    given = Padded({"main": torch.from_numpy(source.read(example).fields["main"][None])}, torch.tensor([SIDE]))
    torch.testing.assert_close(other.eval().encode(given).values, model.eval().encode(given).values)
    assert model.encode(given).values.shape[1] == len(source.memory_tokens(source.read(example), example))


def test_a_backbone_is_not_exported(saved: tuple[str, Any], tmp_path: Path) -> None:
    from seqloom.export.graph import Graph
    from seqloom.export.media import image_encoder
    from seqloom.export.weights import Weights

    config, *_ = task_of(saved[0], tmp_path, frozen=True)
    with pytest.raises(UsageError, match="a pretrained network is not exported: its layers are") as raised:
        image_encoder(Graph("encoder"), config, Weights({}, config, ""))
    assert "--engine torch" in raised.value.fix


def test_what_cannot_be_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"source\.backbone: .* cannot be used"):
        describe(str(tmp_path))
    model = model_of("resnet")
    model.save_pretrained(tmp_path / "model")
    backbone = build(describe(str(tmp_path / "model")), SIDE, SIDE, frozen=True)
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "model" / "pytorch_model.bin")  # a pickle, which is not opened
    with pytest.raises(ConfigError, match="cannot be used"):
        insert(backbone, str(tmp_path / "model"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="transformers") as raised:
        describe("x")
    assert "seqloom[backbone]" in raised.value.fix
