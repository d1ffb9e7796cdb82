"""ResNet-26: size, names and arithmetic of the network, and strict loading of state dicts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from exporter.errors import ExporterError  # noqa: E402
from exporter.model import (  # noqa: E402
    BasicBlock,
    ResNet26,
    count_macs,
    count_parameters,
    load_resnet26,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a network is slower on several threads, above all on a busy computer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def expected_names() -> set[str]:
    bn = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"conv1.weight", "fc.weight", "fc.bias"} | {f"bn.{part}" for part in bn}
    for stage in (1, 2, 3):
        for block in range(4):
            prefix = f"layer{stage}.{block}"
            names |= {f"{prefix}.conv1.weight", f"{prefix}.conv2.weight"}
            names |= {f"{prefix}.{norm}.{part}" for norm in ("bn1", "bn2") for part in bn}
    return names


def test_has_the_published_number_of_parameters() -> None:
    assert count_parameters(ResNet26()) == 366_938


def test_number_of_classes_changes_the_classifier_only() -> None:
    assert count_parameters(ResNet26(14)) == 366_938 + 4 * 65


def test_macs_are_those_of_a_32_pixel_image() -> None:
    # stem, 8 convolutions of stage 1, and twice 8 that keep their cost but for the halved first one; classifier
    unit = 16 * 16 * 9 * 32 * 32
    expected = 3 * 16 * 9 * 32 * 32 + 8 * unit + 2 * (unit // 2 + 7 * unit) + 640
    assert count_macs(ResNet26()) == expected == 54_706_816


def test_count_macs_leaves_the_training_mode_alone() -> None:
    model = ResNet26().train()
    count_macs(model)
    assert model.training


def test_state_dict_names_are_those_of_the_published_checkpoints() -> None:
    assert set(ResNet26().state_dict()) == expected_names()


def test_stages_have_the_documented_shapes() -> None:
    model = ResNet26().eval()
    x = torch.zeros(2, 3, 32, 32)
    shapes = []
    for part in (model.conv1, model.layer1, model.layer2, model.layer3):
        x = part(x)
        shapes.append(tuple(x.shape))
    assert shapes == [(2, 16, 32, 32), (2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]


def test_shortcut_pools_and_appends_zero_channels() -> None:
    block = BasicBlock(2, 4, stride=2).eval()
    x = torch.arange(2 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4)
    out = block.shortcut(x)
    assert out.shape == (1, 4, 2, 2)
    assert out[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4
    assert out[0, 1, 1, 1] == 16 + (10 + 11 + 14 + 15) / 4
    assert torch.count_nonzero(out[0, 2:]) == 0


def test_shortcut_carries_the_input_from_before_bn1() -> None:
    block = BasicBlock(3, 3, stride=1).eval()
    with torch.no_grad():
        block.bn1.weight.fill_(7.0)
        block.bn1.bias.fill_(-5.0)
        block.conv2.weight.zero_()
        x = torch.randn(1, 3, 4, 4)
        assert torch.equal(block(x), x)


def test_block_follows_its_formula() -> None:
    torch.manual_seed(0)
    block = BasicBlock(3, 5, stride=2).eval()
    x = torch.randn(2, 3, 8, 8)
    relu, conv = torch.relu, torch.nn.functional.conv2d
    with torch.no_grad():
        inner = conv(relu(block.bn1(x)), block.conv1.weight, stride=2, padding=1)
        inner = conv(relu(block.bn2(inner)), block.conv2.weight, padding=1)
        assert torch.allclose(block(x), inner + block.shortcut(x), atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("classes", [10, 14])
def test_loads_with_and_without_the_data_parallel_prefix(prefix: str, classes: int) -> None:
    torch.manual_seed(1)
    model = ResNet26(classes).eval()
    loaded = load_resnet26({prefix + name: value for name, value in model.state_dict().items()})
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), loaded(x))
    assert not loaded.training


@pytest.mark.parametrize("name", ["layer2.3.bn2.running_var", "fc.bias"])
def test_a_missing_tensor_is_refused_by_name(name: str) -> None:
    state = ResNet26().state_dict()
    del state[name]
    with pytest.raises(ExporterError, match=name.replace(".", r"\.")):
        load_resnet26(state)


def test_a_tensor_too_many_is_refused_by_name() -> None:
    state = ResNet26().state_dict()
    state["layer1.0.shortcut.weight"] = torch.zeros(1)
    with pytest.raises(ExporterError, match=r"layer1.0.shortcut.weight"):
        load_resnet26(state)


def test_a_tensor_of_another_shape_is_refused() -> None:
    state = ResNet26().state_dict()
    state["conv1.weight"] = torch.zeros(16, 1, 3, 3)
    with pytest.raises(ExporterError, match=r"conv1\.weight"):
        load_resnet26(state)
