"""Pretraining: schedule, augmentation, resumable epochs, the files written at the end, and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402

from exporter.calibration import METADATA_KEY  # noqa: E402
from exporter.frontends.checkpoint import read_checkpoint  # noqa: E402
from exporter.model import ResNet26, load_resnet26  # noqa: E402
from host import pretrained_files  # noqa: E402
from host.augment import resized_crop  # noqa: E402
from host.datasets.cifar10 import load_cifar10  # noqa: E402
from host.errors import HostError  # noqa: E402
from host.pretrain import main, run  # noqa: E402
from host.pretrain_tasks import PretrainTask, load_pretrain_task  # noqa: E402
from host.pretraining import (  # noqa: E402
    Recipe,
    Trainer,
    calibration_subset,
    crop_and_flip,
    learning_rate,
    normalise,
)

RECIPE = Recipe(epochs=2, batch=16, lr=0.05, mixup=0.2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task() -> PretrainTask:
    sample = load_cifar10("test", source="sample")
    return PretrainTask(
        name="cifar10",
        title="a test",
        train=sample.subset(np.arange(600)),
        test=sample.subset(np.arange(600, 700)),
        augment=crop_and_flip,
        base_recipe=RECIPE,
        test_description="100 images",
        ship_calibration_images=True,
        augmentation="none to speak of",
    )


def trainer(task: PretrainTask, state: Path, recipe: Recipe = RECIPE) -> Trainer:
    torch.manual_seed(0)
    images, labels = task.train.images[:48], task.train.labels[:48]
    return Trainer(ResNet26(), images, labels, recipe, crop_and_flip, state)


def test_learning_rate_rises_to_the_peak_and_falls_to_nothing() -> None:
    rates = [learning_rate(Recipe(lr=0.2, warmup=0.1), step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(0.2)
    assert 95 <= int(np.argmax(rates)) <= 101
    assert rates[0] < 0.01 and rates[-1] < 1e-5
    assert all(a <= b for a, b in pairwise(rates[:100]))
    assert all(a >= b for a, b in pairwise(rates[100:]))


def test_normalise_maps_pixels_to_minus_one_and_one() -> None:
    out = normalise(torch.tensor([0.0, 127.5, 255.0]).reshape(1, 3, 1, 1))
    assert out.flatten().tolist() == [-1.0, 0.0, 1.0]


def test_crop_without_padding_mirrors_every_second_epoch() -> None:
    images = torch.randint(0, 256, (32, 8, 8, 3), dtype=torch.uint8)
    index = torch.arange(32)
    plain = images.permute(0, 3, 1, 2).float()
    epochs = [crop_and_flip(images, index, e, torch.Generator(), pad=0) for e in (0, 1)]
    mirrored = [(out == plain.flip(3)).all(dim=(1, 2, 3)) for out in epochs]
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert 8 <= int(mirrored[0].sum()) <= 24


def test_crop_moves_the_image_by_at_most_the_padding() -> None:
    images = torch.zeros(64, 32, 32, 3, dtype=torch.uint8)
    images[:, 16, 16] = 200
    out = crop_and_flip(
        images, torch.zeros(64, dtype=torch.long), 0, torch.Generator().manual_seed(1)
    )
    at = torch.nonzero(out[:, 0])
    assert out.shape == (64, 3, 32, 32) and len(at) == 64
    assert (at[:, 1] - 16).abs().max() == 4
    assert len(at[:, 1:].unique(dim=0)) > 30


def test_resized_crop_of_everything_is_a_mean_of_squares() -> None:
    images = torch.full((4, 64, 64, 3), 10, dtype=torch.uint8)
    images[:, :, :, 1] = torch.arange(64, dtype=torch.uint8)[:, None]
    out = resized_crop(
        images,
        torch.arange(4),
        0,
        torch.Generator().manual_seed(0),
        min_area=0.999,
        jitter=0.0,
        hole=0,
    )
    assert out.shape == (4, 3, 32, 32)
    assert torch.allclose(out[:, 0], torch.tensor(10.0))
    assert (out[:, 1].mean(dim=(1, 2)) - 31.5).abs().max() < 5
    assert out[:, 1, 0].max() < out[:, 1, -1].min()


def test_resized_crop_stays_in_range_and_blanks_half_the_images() -> None:
    images = torch.full((200, 64, 64, 3), 255, dtype=torch.uint8)
    out = resized_crop(images, torch.arange(200), 0, torch.Generator().manual_seed(0))
    assert out.min() >= 0 and out.max() <= 255
    blanked = (out == 127.5).any(dim=1).any(dim=1).any(dim=1)
    assert 70 <= int(blanked.sum()) <= 130


def test_calibration_images_are_equally_many_of_each_class(task: PretrainTask) -> None:
    index = calibration_subset(task.train.images, task.train.labels, 52, seed=3)
    assert len(np.unique(index)) == 52
    assert set(np.bincount(task.train.labels[index])) == {5, 6}


def test_an_interrupted_run_ends_in_the_same_weights(task: PretrainTask, tmp_path: Path) -> None:
    straight = trainer(task, tmp_path / "a.pt")
    straight.train_epoch()
    straight.train_epoch()
    trainer(task, tmp_path / "b.pt").train_epoch()
    resumed = trainer(task, tmp_path / "b.pt")
    assert resumed.resume() and resumed.epoch == 1
    resumed.train_epoch()
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
        assert torch.equal(straight.ema[name], resumed.ema[name]), name
    assert not torch.equal(straight.ema["fc.weight"], straight.model.state_dict()["fc.weight"])


def test_a_state_of_another_recipe_or_a_damaged_one_is_refused(
    task: PretrainTask, tmp_path: Path
) -> None:
    state = tmp_path / "state.pt"
    assert not trainer(task, state).resume()
    trainer(task, state).save()
    with pytest.raises(HostError, match="another recipe"):
        trainer(task, state, replace(RECIPE, lr=0.1)).resume()
    state.write_bytes(state.read_bytes()[:5000])
    with pytest.raises(HostError, match=r"state\.pt is not a training state"):
        trainer(task, state).resume()


def test_run_writes_checkpoint_card_and_calibration(
    task: PretrainTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained_files, "CALIBRATION_IMAGES", 40)
    small = replace(task, train=task.train.subset(np.arange(180)))
    out = tmp_path / "out" / "net.safetensors"
    recipe = replace(RECIPE, epochs=1, batch=60)
    accuracy = run(
        small, recipe, tmp_path / "run", out, "the command", False, 10, Console(quiet=True)
    )
    checkpoint = read_checkpoint(out)
    tensors = {name: torch.from_numpy(value) for name, value in checkpoint.tensors.items()}
    load_resnet26(tensors)
    assert checkpoint.metadata["accuracy"] == f"{accuracy:.4f}"
    assert checkpoint.metadata["command"] == "the command"
    assert METADATA_KEY in checkpoint.metadata
    card = out.with_suffix(".md").read_text("utf-8")
    assert f"**{100 * accuracy:.2f} %** on 100 images" in card and "Interim" not in card
    with np.load(out.parent / "calibration-cifar10.npz") as stored:
        assert stored["images"].shape == (40, 32, 32, 3)
    assert sorted(p.suffix for p in out.parent.iterdir()) == [".md", ".npz", ".safetensors"]


def test_starting_from_a_checkpoint_takes_all_but_the_classifier(
    task: PretrainTask, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from host.pretrain import start_from

    source, target = ResNet26(10), ResNet26(14)
    before = target.fc.weight.clone()
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    start_from(target, tmp_path / "a.safetensors")
    name = "layer3.3.conv2.weight"
    assert torch.equal(target.state_dict()[name], source.state_dict()[name])
    assert torch.equal(target.fc.weight, before)
    (tmp_path / "b.safetensors").write_bytes(b"damaged")
    for name in ("b.safetensors", "missing.safetensors"):
        with pytest.raises(HostError, match=f"{name} cannot be used to start from"):
            start_from(target, tmp_path / name)


def test_unknown_pretraining_data_is_refused() -> None:
    with pytest.raises(HostError, match=r"'mnist', expected one of cifar10, living14-tiny"):
        load_pretrain_task("mnist", None)


def test_command_line_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TBFT_DATA", raising=False)
    result = CliRunner().invoke(main, ["--data", "living14-tiny"])
    assert result.exit_code == 1
    assert "error: no living14-tiny images" in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_options() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for option in ("--data", "--epochs", "--init", "--compile", "--out"):
        assert option in result.output
