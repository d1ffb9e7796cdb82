"""``python -m host.datasets.make_sample``: cut the bundled sample out of the CIFAR-10 test images.

The sample holds those of the 10,000 test images that the split of :mod:`host.datasets.splits` uses with 1,000 training
images and seed 0: all 1,500 test images, all 1,000 training images and 500 validation images. A run on the sample is
therefore the same run, to the bit, as one on the full data set.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from PIL import Image

from host.datasets.cifar10 import load_cifar10
from host.datasets.cifar10_files import LICENCE, SAMPLE_DIR, SIDE
from host.datasets.splits import FULL_SIZE, tbft_split

TRAIN_IMAGES = 1000
VALIDATION_IMAGES = 500


@click.command()
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=None, help="Folder with CIFAR-10."
)
def main(data_dir: Path | None) -> None:
    """Write host/datasets/sample/ anew."""
    full = load_cifar10("test", data_dir, source="local")
    split = tbft_split(FULL_SIZE, TRAIN_IMAGES)
    index = np.sort(np.concatenate([split.train, split.val[:VALIDATION_IMAGES], split.test]))
    SAMPLE_DIR.mkdir(exist_ok=True)
    strip = full.images[index].reshape(-1, SIDE, 3)
    Image.fromarray(strip).save(SAMPLE_DIR / "cifar10-sample.png", optimize=True)
    described = {
        "about": f"{len(index)} of the 10,000 CIFAR-10 test images, one below the other in cifar10-sample.png",
        "licence": LICENCE,
        "labels": "".join(str(label) for label in full.labels[index]),
        "index": index.tolist(),
    }
    text = json.dumps(described, indent=0, separators=(",", ":")).replace(",\n", ",")
    (SAMPLE_DIR / "cifar10-sample.json").write_text(text + "\n", "utf-8")
    click.echo(f"{len(index)} images in {SAMPLE_DIR}")


if __name__ == "__main__":
    main()
