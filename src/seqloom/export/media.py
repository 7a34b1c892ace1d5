"""Encoders of frames and pictures. Mirrors nn/convolution.py, nn/frame_encoders.py and nn/picture_encoders.py.

Convolutions stay in fp32 where everything else is in whole numbers: they are few, and there is no operation that would
give each input a scale of its own.
"""

from __future__ import annotations

from math import log2, prod

from seqloom.config.media_sections import (
    AudioSourceConfig,
    FeaturesSourceConfig,
    FramesSourceConfig,
    ImageSourceConfig,
)
from seqloom.config.sections import Config
from seqloom.errors import UsageError
from seqloom.export.encoders import Encoded, real_positions
from seqloom.export.graph import Graph
from seqloom.export.products import linear
from seqloom.export.recurrent import Before, Stacked, one_layer, stack
from seqloom.export.weights import Weights
from seqloom.types import Floats

EPSILON = 1e-5  # of torch's group normalisation
FLOAT, INT32 = 1, 6  # number types of ONNX


def frame_encoder(graph: Graph, config: Config, weights: Weights, before: Before | None = None) -> Encoded:
    """Frames [B S F]; see nn.frame_encoders.FrameEncoder."""
    source = config.source
    assert isinstance(source, FeaturesSourceConfig | AudioSourceConfig)
    values = graph.input("main", "float32", ["B", "S", "F"])
    lengths = graph.input("lengths", "int64", ["B"])
    options = source.subsampling
    if options.kind == "convolution":
        halve = _halve_spectrum if isinstance(source, AudioSourceConfig) else _halve_time
        values = graph.op("Mul", values, _mask(graph, lengths, graph.sizes(values, 1, 2)))
        if isinstance(source, AudioSourceConfig):
            values = graph.op("Unsqueeze", values, graph.ids(1))
        for layer in range(int(log2(options.factor))):
            values, lengths = halve(graph, values, lengths, weights, f"encoder.convolutions.layers.{layer}")
        if isinstance(source, AudioSourceConfig):
            values = graph.reshape(graph.op("Transpose", values, perm=[0, 2, 1, 3]), 0, 0, -1)
    turned = graph.op("Transpose", values, perm=[1, 0, 2])
    if options.kind == "pyramid":
        found, lengths = _pyramid(graph, turned, lengths, int(log2(options.factor)), config, weights)
    else:
        found = _stacked(graph, turned, lengths, config, weights, before)
    return _memory(graph, found, lengths)


def image_encoder(graph: Graph, config: Config, weights: Weights, before: Before | None = None) -> Encoded:
    """A picture [B H W C] of bytes, which nothing stands before; see nn.picture_encoders.ImageEncoder."""
    source = config.source
    assert isinstance(source, ImageSourceConfig)
    if source.backbone is not None:
        raise UsageError("source.backbone is given, and a pretrained network is not exported: its layers are another "
                         "library's, and graphs are built from our own",
                         fix="predict, evaluate, explain and serve with --engine torch, which does all that graphs do; "
                             "a run without source.backbone, with convolutions of our own, is exported")
    given = graph.input("main", "uint8", ["B", source.height, source.width, source.depth])
    graph.input("lengths", "int64", ["B"])
    read = _pictures(graph, given, source, weights)
    rows, columns = source.grid
    places = weights.take("encoder.rows")[:, None] + weights.take("encoder.columns")[None]
    regions = graph.op("Add", graph.op("Transpose", read, perm=[0, 2, 3, 1]), graph.constant(places, name="places"))
    size = config.encoder.hidden_size * (1 + config.encoder.bidirectional)
    if source.regions == "rows":
        lines = graph.reshape(regions, -1, columns, places.shape[2])
        count = graph.sizes(lines, 0, 1)
        lengths = graph.op("Expand", graph.constant(columns, "int64"), count)
        found = _stacked(graph, graph.op("Transpose", lines, perm=[1, 0, 2]), lengths, config, weights)
        values = graph.reshape(graph.op("Transpose", found.outputs, perm=[1, 0, 2]), -1, rows * columns, size)
    else:
        mapped = linear(graph, regions, *weights.linear("encoder.affine"), rank=4)
        values = graph.reshape(mapped, 0, rows * columns, size)
    if weights.has("encoder.flatten.weight"):
        summary = linear(graph, graph.reshape(values, 0, rows * columns * size), *weights.linear("encoder.flatten"))
    else:
        summary = graph.op("ReduceMean", values, graph.ids(1), keepdims=0)
    lengths = graph.op("Expand", graph.constant(rows * columns, "int64"), graph.sizes(given, 0, 1))
    return Encoded(values, real_positions(graph, lengths, graph.sizes(values, 1, 2)), lengths, [summary], [], "")


def frames_encoder(graph: Graph, config: Config, weights: Weights, before: Before | None = None) -> Encoded:
    """The frames of a video [B S H W C] of bytes; see nn.picture_encoders.FramesEncoder."""
    source = config.source
    assert isinstance(source, FramesSourceConfig)
    shape = [source.height, source.width, source.depth]
    given = graph.input("main", "uint8", ["B", "S", *shape])
    lengths = graph.input("lengths", "int64", ["B"])
    read = _pictures(graph, graph.reshape(given, -1, *shape), source, weights)
    flat = graph.reshape(read, -1, prod(source.grid) * source.channels[-1])
    vectors = graph.op("Relu", linear(graph, flat, *weights.linear("encoder.affine")))
    apart = graph.reshape(vectors, graph.sizes(given, 0, 2), source.frame_size)
    found = _stacked(graph, graph.op("Transpose", apart, perm=[1, 0, 2]), lengths, config, weights, before)
    return _memory(graph, found, lengths)


# --- parts -----------------------------------------------------------------------------------------------------------


def _mask(graph: Graph, lengths: str, size: str) -> str:
    """[B S 1] fp32."""
    real = graph.op("Cast", real_positions(graph, lengths, size), to=FLOAT)
    return graph.op("Unsqueeze", real, graph.ids(2))


def _halved(graph: Graph, lengths: str) -> str:
    return graph.op("Div", graph.op("Add", lengths, graph.constant(1, "int64")), graph.constant(2, "int64"))


def _convolved(graph: Graph, values: str, weights: Weights, name: str, axes: int) -> str:
    kernel, bias = weights.linear(name)
    assert bias is not None
    return graph.op("Relu", graph.op("Conv", values, graph.constant(kernel, name="weight"),
                                     graph.constant(bias, name="bias"), strides=[2] * axes, pads=[1] * 2 * axes))


def _halve_time(graph: Graph, values: str, lengths: str, weights: Weights, name: str) -> tuple[str, str]:
    """See nn.convolution.TimeConvolutions; values [B S F]."""
    found = _convolved(graph, graph.op("Transpose", values, perm=[0, 2, 1]), weights, name, 1)
    values, lengths = graph.op("Transpose", found, perm=[0, 2, 1]), _halved(graph, lengths)
    return graph.op("Mul", values, _mask(graph, lengths, graph.sizes(values, 1, 2))), lengths


def _halve_spectrum(graph: Graph, values: str, lengths: str, weights: Weights, name: str) -> tuple[str, str]:
    """See nn.convolution.SpectrumConvolutions; values [B C S F]."""
    values, lengths = _convolved(graph, values, weights, name, 2), _halved(graph, lengths)
    mask = graph.op("Unsqueeze", _mask(graph, lengths, graph.sizes(values, 2, 3)), graph.ids(1))
    return graph.op("Mul", values, mask), lengths


def _turned_mask(graph: Graph, lengths: str, size: str) -> str:
    """[S B 1] bool, as recurrent layers read it."""
    return graph.op("Unsqueeze", graph.op("Transpose", real_positions(graph, lengths, size), perm=[1, 0]), graph.ids(2))


def _stacked(graph: Graph, inputs: str, lengths: str, config: Config, weights: Weights,
             before: Before | None = None) -> Stacked:
    """The recurrent stack over inputs [S B I]."""
    mask = _turned_mask(graph, lengths, graph.sizes(inputs, 0, 1))
    return stack(graph, inputs, graph.op("Cast", lengths, to=INT32), mask, config.encoder, weights, "encoder.recurrent",
                 before)


def _pyramid(graph: Graph, inputs: str, lengths: str, reductions: int, config: Config,
             weights: Weights) -> tuple[Stacked, str]:
    """See nn.frame_encoders.Pyramid; inputs [S B I]."""
    hidden, cells = [], []
    size = config.encoder.hidden_size * (1 + config.encoder.bidirectional)
    for number in range(config.encoder.layers):
        if 0 < number <= reductions:
            inputs, lengths = _pairs(graph, inputs, size), _halved(graph, lengths)
        mask = _turned_mask(graph, lengths, graph.sizes(inputs, 0, 1))
        found = one_layer(graph, inputs, graph.op("Cast", lengths, to=INT32), mask, config.encoder, weights,
                          "encoder.recurrent", number)
        inputs = found.outputs
        hidden += found.hidden
        cells += found.cell
    return Stacked(inputs, hidden, cells), lengths


def _pairs(graph: Graph, values: str, size: int) -> str:
    """Neighbouring positions of values [S B O] side by side, an odd last one beside zeros."""
    odd = graph.op("Mod", graph.sizes(values, 0, 1), graph.ids(2))
    padded = graph.op("Pad", values, graph.join(graph.ids(0, 0, 0), odd, graph.ids(0, 0), axis=0))
    apart = graph.reshape(padded, graph.ids(-1, 2), graph.sizes(values, 1, 2), size)
    return graph.reshape(graph.op("Transpose", apart, perm=[0, 2, 1, 3]), 0, 0, 2 * size)


def _memory(graph: Graph, found: Stacked, lengths: str) -> Encoded:
    values = graph.op("Transpose", found.outputs, perm=[1, 0, 2])
    mask = real_positions(graph, lengths, graph.sizes(values, 1, 2))
    return Encoded(values, mask, lengths, found.hidden, found.cell, "")


def _pictures(graph: Graph, given: str, source: ImageSourceConfig | FramesSourceConfig, weights: Weights) -> str:
    """Bytes [N H W C] → regions [N D h w]; see nn.convolution.PictureConvolutions."""
    numbers = graph.op("Transpose", graph.op("Cast", given, to=FLOAT), perm=[0, 3, 1, 2])
    values = graph.op("Sub", graph.op("Div", numbers, graph.number(127.5)), graph.number(1.0))
    for block, channels in enumerate(source.channels):
        kernel: Floats = weights.take(f"encoder.pictures.convolutions.{block}.weight")
        values = graph.op("Conv", values, graph.constant(kernel, name="weight"), pads=[1, 1, 1, 1])
        values = _normalised(graph, values, weights, f"encoder.pictures.norms.{block}", channels)
        values = graph.op("MaxPool", graph.op("Relu", values), kernel_shape=[2, 2], strides=[2, 2])
    return values


def _normalised(graph: Graph, values: str, weights: Weights, name: str, channels: int) -> str:
    """Group normalisation of values [N C H W]."""
    groups = 8 if channels % 8 == 0 and channels > 8 else 1  # nn.convolution.groups_of, which needs torch
    apart = graph.reshape(values, 0, groups, -1)
    centred = graph.op("Sub", apart, graph.op("ReduceMean", apart, graph.ids(2)))
    variance = graph.op("ReduceMean", graph.op("Mul", centred, centred), graph.ids(2))
    deviation = graph.op("Sqrt", graph.op("Add", variance, graph.number(EPSILON)))
    together = graph.op("Reshape", graph.op("Div", centred, deviation), graph.op("Shape", values))
    scale, bias = (weights.take(f"{name}.{part}").reshape(-1, 1, 1) for part in ("weight", "bias"))
    return graph.op("Add", graph.op("Mul", together, graph.constant(scale, name="scale")),
                    graph.constant(bias, name="bias"))
