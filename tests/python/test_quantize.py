"""Calibration and int8 quantization."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter import reference
from exporter.calibration import METADATA_KEY, best_range, calibrate, stored_ranges
from exporter.checkpoint_write import store_calibration
from exporter.errors import ExporterError
from exporter.frontends import load_graph
from exporter.graph import Activation, Add, AveragePool, ChannelPad, Conv2d, DepthwiseConv2d
from exporter.oracle import forward
from exporter.quantize import BIAS_LIMIT, conv_quant, quantize, quantize_input, tensor_quant
from host.quantizing import DEFAULT_CHECKPOINT, quantized_graph
from tests.python import networks, referees


def test_every_tensor_is_quantized_and_scales_are_kept_where_they_must() -> None:
    graph = networks.small_int8()
    assert graph.is_quantized
    assert graph.quant[graph.input].zero_point == -1
    assert graph.quant[graph.input].scale == np.float32(2 / 255)
    for node in graph.nodes:
        if isinstance(node, AveragePool | ChannelPad):
            assert graph.quant[node.output] == graph.quant[node.inputs[0]]
        if isinstance(node, Add):
            assert node.quant is not None
        if isinstance(node, Conv2d | DepthwiseConv2d):
            assert node.quant is not None
            assert node.quant.weight.min() >= -127
            assert np.abs(node.quant.bias.astype(np.int64)).max() <= BIAS_LIMIT
            assert node.quant.weight_scale.dtype == np.float32


def test_weights_are_within_half_a_step() -> None:
    for node in networks.small_int8().nodes:
        if isinstance(node, Conv2d | DepthwiseConv2d):
            assert node.quant is not None
            scale = node.quant.weight_scale.astype(np.float64)
            rows = scale if isinstance(node, DepthwiseConv2d) else scale.reshape(-1, 1, 1, 1)
            error = np.abs(node.quant.weight * rows - node.weight) / rows
            assert error.max() <= 0.5 + 1e-5
            if isinstance(node, DepthwiseConv2d) and node.is_affine:
                # A gain has its own scale, so it is exact to the last digit of float32.
                assert error.max() < 1e-4
            if isinstance(node, Conv2d) and node.linear:
                assert len(set(scale.tolist())) == 1


def test_dead_channels_and_large_biases_keep_the_arithmetic_in_range() -> None:
    graph = networks.small_float()
    node = next(n for n in graph.nodes if isinstance(n, DepthwiseConv2d))
    weight, bias = node.weight.copy(), node.bias.copy()
    weight[..., 0], bias[0] = 0.0, 3.0
    weight[..., 1], bias[1] = 1e-12, -100.0
    x, y = tensor_quant(-1, 1), tensor_quant(0, 4, Activation.RELU)
    quant = conv_quant(replace(node, weight=weight, bias=bias), x, y)
    assert np.abs(quant.bias.astype(np.int64)).max() <= BIAS_LIMIT * 1.0001
    real = quant.bias * (float(x.scale) * quant.weight_scale.astype(np.float64))
    np.testing.assert_allclose(real, bias, rtol=1e-3, atol=1e-4)
    zeros = conv_quant(replace(node, weight=0 * weight, bias=0 * bias), x, y)
    assert np.isfinite(zeros.weight_scale).all() and (zeros.weight_scale > 0).all()


def test_int8_follows_float() -> None:
    graph, images = networks.small_float(), networks.random_images(8, seed=3)
    q = networks.small_int8()
    quant = q.quant[q.output]
    logits = forward(q, quantize_input(images))[q.output].reshape(8, -1).astype(np.float64)
    real = (logits - quant.zero_point) * float(quant.scale)
    expected = reference.logits(graph, images)
    assert np.abs(real - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("low", "high", "activation", "zero_point"),
    [
        (0.0, 2.0, Activation.RELU, -128),
        (-3.0, 2.0, Activation.RELU, -128),
        (-2.0, 0.0, Activation.NONE, 127),
        (1.0, 2.0, Activation.NONE, -128),
        (0.0, 0.0, Activation.NONE, -128),
    ],
)
def test_tensor_quant(low: float, high: float, activation: Activation, zero_point: int) -> None:
    quant = tensor_quant(low, high, activation)
    assert quant.zero_point == zero_point
    assert quant.scale > 0


def test_relu6_needs_no_more_than_six() -> None:
    assert tensor_quant(0, 60, Activation.RELU6).scale == np.float32(6 / 255)


def test_best_range_clips_rare_outliers_only() -> None:
    values = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    values[0] = 40.0
    low, high = best_range(values, float(values.min()), 40.0)
    assert 3 < high < 40 and -6 < low < -3.5
    uniform = np.linspace(-1, 1, 10_000, dtype=np.float32)
    assert best_range(uniform, -1.0, 1.0) == (-1.0, 1.0)
    assert best_range(np.zeros(4, np.float32), 0.0, 0.0) == (0.0, 0.0)


def test_images_of_another_shape_are_refused() -> None:
    graph = networks.small_float()
    for images in (
        np.zeros((0, 32, 32, 3), np.uint8),
        np.zeros((2, 28, 28, 1), np.uint8),
        np.zeros((2, 32, 32, 3), np.float32),
    ):
        with pytest.raises(ExporterError, match="calibration images"):
            calibrate(graph, images, "test")  # type: ignore[arg-type]


def test_a_missing_range_is_named() -> None:
    with pytest.raises(ExporterError, match=r"'conv1\.y'"):
        quantize(networks.small_float(), {})


def test_ranges_travel_in_the_checkpoint(tmp_path: Path) -> None:
    path = networks.write_random(tmp_path / "net.safetensors", depth=1, width=8)
    graph, before = load_graph(path)
    assert stored_ranges(graph) is None
    with pytest.raises(ExporterError, match="no activation ranges"):
        quantized_graph(path)
    ranges = calibrate(graph, networks.random_images(2), "random images")
    store_calibration(path, ranges)
    again, after = load_graph(path)
    assert stored_ranges(again) == ranges
    assert all(np.array_equal(after.tensors[k], v) for k, v in before.tensors.items())
    q, _, _, source = quantized_graph(path)
    assert q.quant == quantize(graph, ranges.ranges).quant
    assert source == "random images"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.safetensors"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"version": 9}', None])
def test_stored_ranges_that_do_not_fit(damage: str | None) -> None:
    graph = networks.small_float()
    ranges = calibrate(graph, networks.random_images(1), "x").to_json()
    if damage is None:
        content = json.loads(ranges)
        content["weights_sha256"] = "0" * 64
        damage = json.dumps(content)
    with pytest.raises(ExporterError, match="--calibration"):
        stored_ranges(replace(graph, metadata={METADATA_KEY: damage}))


@pytest.mark.slow
@pytest.mark.skipif(not DEFAULT_CHECKPOINT.exists(), reason="no checkpoint is shipped yet")
def test_int8_accuracy_is_within_half_a_point_of_float32() -> None:
    """On the bundled images; LiteRT's optimised kernels stand in for the reference ones, which are slow."""
    import torch

    from exporter.emit_tflite import emit_tflite
    from exporter.model import load_resnet26

    q, _, checkpoint, _ = quantized_graph(DEFAULT_CHECKPOINT)
    images, labels = networks.sample()
    model = load_resnet26({k: torch.from_numpy(v.copy()) for k, v in checkpoint.tensors.items()})
    right = []
    with torch.no_grad():
        for start in range(0, len(images), 250):
            x = reference.normalise(images[start : start + 250]).transpose(0, 3, 1, 2)
            right.append(model(torch.from_numpy(x.copy())).argmax(1).numpy())
    accuracy_float = float(np.mean(np.concatenate(right) == labels))
    logits = referees.litert(emit_tflite(q), quantize_input(images), reference=False)[0]
    accuracy_int8 = float(np.mean(logits.argmax(axis=1) == labels))
    assert accuracy_int8 >= accuracy_float - 0.005
