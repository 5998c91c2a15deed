"""VGG-16 of TF-slim, from TensorFlow to PyTorch: as convolutions, and with dense layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import convert, open_checkpoint
from support.oracle import load_case
from support.pytorch import load, torch

nn = torch.nn

VGG = load_case("tf-1.15.5/slim_vgg_16")
BLOCKS = {1: (0, 2), 2: (5, 2), 3: (10, 3), 4: (17, 3), 5: (24, 3)}
"""Block -> place of its first convolution in torchvision's `features`, and their number."""

SCOPES = {
    f"vgg_16/conv{block}/conv{block}_{i + 1}/": f"features.{first + 2 * i}/"
    for block, (first, number) in BLOCKS.items()
    for i in range(number)
} | {f"vgg_16/fc{i}/": f"classifier.{3 * (i - 6)}/" for i in (6, 7, 8)}
STEPS = [SCOPES, {"*/weights": "*.weight", "*/biases": "*.bias"}]
"""To the names of torchvision's vgg16."""


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """The images, and what TensorFlow computed."""
    with np.load(VGG.folder / "expected_outputs.npz") as arrays:
        return dict(arrays)


class Network(nn.Module):
    """vgg16 as in torchvision, with the channels of the fixture.

    Without dense layers, the classifier has convolutions, as in TF-slim.
    """

    def __init__(self, *, dense: bool) -> None:
        super().__init__()
        layers: list[Any] = []
        channels = 3
        for (_, number), filters in zip(BLOCKS.values(), (4, 5, 6, 8, 8)):
            for _ in range(number):
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(7 * 7 * 8, 16) if dense else nn.Conv2d(8, 16, 7),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(16, 16) if dense else nn.Conv2d(16, 16, 1),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(16, 10) if dense else nn.Conv2d(16, 10, 1),
        )
        self.dense = dense

    def forward(self, images: Any) -> dict[str, Any]:
        """The outputs that the fixture has."""
        pool5 = self.features(images)
        flat = torch.flatten(pool5, 1) if self.dense else pool5  # channel, height, width
        fc6 = self.classifier[:2](flat)
        return {"pool5": pool5, "fc6": fc6, "logits": self.classifier[2:](fc6)}


def run(path: Path, expected: dict[str, np.ndarray], *, dense: bool) -> dict[str, np.ndarray]:
    """What the network computes with the weights of a file, with the axes of TensorFlow."""
    network = Network(dense=dense)
    network.load_state_dict(load(path))
    with torch.no_grad():
        images = torch.from_numpy(expected["images"]).permute(0, 3, 1, 2)
        outputs = network.eval()(images)
    return {
        name: tensor.permute(0, 2, 3, 1).numpy() if tensor.ndim == 4 else tensor.numpy()
        for name, tensor in outputs.items()
    }


def assert_close(outputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, array in outputs.items():
        np.testing.assert_allclose(
            array, expected[name].reshape(array.shape), rtol=0, atol=1e-5, err_msg=name
        )


def test_convolutions(tmp_path: Path, expected: dict[str, np.ndarray]) -> None:
    convert(VGG.prefix, tmp_path / "vgg.pt", weights_only=True, layout="torch", rename=STEPS)
    outputs = run(tmp_path / "vgg.pt", expected, dense=False)
    assert list(outputs) == ["pool5", "fc6", "logits"]
    assert_close(outputs, expected)


def convert_to_dense(path: Path, to_matrix: Any) -> None:
    with open_checkpoint(VGG.prefix) as ckpt:
        weights = ckpt.select(weights_only=True, transform={"vgg_16/fc?/weights": to_matrix})
        convert(weights, path, layout="torch", rename=STEPS)


def test_dense_layers(tmp_path: Path, expected: dict[str, np.ndarray]) -> None:
    """The rows of the matrices are in the order in which PyTorch flattens."""
    convert_to_dense(
        tmp_path / "vgg.pt",
        lambda kernel: kernel.transpose(2, 0, 1, 3).reshape(-1, kernel.shape[-1]),
    )
    assert_close(run(tmp_path / "vgg.pt", expected, dense=True), expected)


def test_dense_layers_in_the_order_of_tensorflow_are_wrong(
    tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    """The shapes are the same, so nothing but the outputs tells."""
    convert_to_dense(tmp_path / "vgg.pt", lambda kernel: kernel.reshape(-1, kernel.shape[-1]))
    outputs = run(tmp_path / "vgg.pt", expected, dense=True)
    assert_close({"pool5": outputs["pool5"]}, expected)
    assert np.abs(outputs["logits"] - expected["logits"]).max() > 0.1
