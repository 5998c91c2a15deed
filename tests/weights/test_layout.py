"""The order of axes in PyTorch: which tensors change, and that PyTorch computes the same."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from ckptparse import convert, open_checkpoint
from ckptparse.tensors.pieces import join
from ckptparse.weights.choice import choose
from support.oracle import VGG, expected_array
from support.repository import FIXTURES

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
RANDOM = np.random.default_rng(0)


def torch_array(name: str, array: np.ndarray) -> np.ndarray:
    """The array under its name after the change."""
    return choose({name: array}, layout="torch").tensors[name]


CHANGED: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "dense/kernel": ((2, 3), (3, 2)),
    "fc/weights": ((2, 3), (3, 2)),
    "Dense/Kernel": ((2, 3), (3, 2)),
    "layer/w": ((2, 3), (3, 2)),
    "lstm/kernel": ((2, 8), (8, 2)),
    "lstm/recurrent_kernel": ((2, 8), (8, 2)),
    "conv1d/kernel": ((5, 2, 3), (3, 2, 5)),
    "conv/weights": ((5, 6, 2, 3), (3, 2, 5, 6)),
    "conv/filter": ((5, 6, 2, 3), (3, 2, 5, 6)),
    "sep/pointwise_kernel": ((1, 1, 2, 3), (3, 2, 1, 1)),
    "sep/depthwise_kernel": ((5, 6, 2, 3), (6, 1, 5, 6)),
    "Conv2d_1_depthwise/depthwise_weights": ((5, 6, 2, 1), (2, 1, 5, 6)),
    "depthwise_conv2d_3/kernel": ((5, 6, 2, 1), (2, 1, 5, 6)),
    "sep1d/depthwise_kernel": ((5, 2, 3), (6, 1, 5)),
    "conv3d/kernel": ((4, 5, 6, 2, 3), (3, 2, 4, 5, 6)),
    "kernel": ((2, 3), (3, 2)),
    "layer/kernel/.ATTRIBUTES/VARIABLE_VALUE": ((2, 3), (3, 2)),
    "layer/_kernel/.ATTRIBUTES/VARIABLE_VALUE": ((2, 3), (3, 2)),
    "dense/dense/kernel:0": ((2, 3), (3, 2)),
    "albert/embedding_mapping/kernel": ((2, 3), (3, 2)),
    "vit/patch_embed/w": ((5, 6, 2, 3), (3, 2, 5, 6)),
}

LEFT = {
    "word_embeddings": (7, 3),
    "embedding/embeddings": (7, 3),
    "embedding/weights": (7, 3),
    "embed_1/w": (7, 3),
    "bias": (3,),
    "kernel": (3,),
    "conv/kernel/Adam": (5, 6, 2, 3),
    "conv/kernel/ExponentialMovingAverage": (5, 6, 2, 3),
    "conv/kernel/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE": (5, 6, 2, 3),
    "attention/query/kernel": (4, 2, 3),
    "attention/attention_output/kernel": (2, 3, 4),
    "attention/_query_dense/kernel": (4, 2, 3),
    "attention/_output_dense/_kernel": (2, 3, 4),
    "einsum_dense/kernel": (4, 2, 3),
    "x/kernel": (1, 2, 3, 4, 5, 6),
    "scalar/kernel": (),
    "dense/depthwise_kernel": (2, 3),
    "table": (7, 3),
}


@pytest.mark.parametrize("name", CHANGED)
def test_kernels(name: str) -> None:
    old, new = CHANGED[name]
    choice = choose({name: np.zeros(old)}, layout="torch")
    assert choice.tensors[name].shape == choice.tensors.info(name).shape == new
    assert choice.tensors.infos()[0].shape == new
    assert choice.changes[name].shape == new


@pytest.mark.parametrize(("name", "shape"), LEFT.items(), ids=LEFT)
def test_everything_else_is_left(name: str, shape: tuple[int, ...]) -> None:
    array = RANDOM.random(shape)
    choice = choose({name: array}, layout="torch")
    assert choice.changes == {}
    assert np.array_equal(choice.tensors[name], array)


class TestNamesOfVariables:
    """Those of an object graph or of a file of Keras count, too."""

    def changed(self, tensors: Any, **options: Any) -> set[str]:
        return set(choose(tensors, layout="torch", **options).changes)

    def test_keys_without_names(self) -> None:
        keys = {f"optimizer/_trainable_variables/{i}{VALUE}" for i in (1, 2, 4, 8)}
        with open_checkpoint(FIXTURES / "tf-2.21.0/keras_checkpoint/model.ckpt") as ckpt:
            names = {ckpt.variable_names[key] for key in keys}
            assert {name.rpartition("/")[2] for name in names} == {"kernel", "recurrent_kernel"}
            assert self.changed(ckpt, weights_only=True) == keys
            assert self.changed(ckpt) == keys  # no slots

    def test_slots_with_the_names_of_kernels(self) -> None:
        with open_checkpoint(FIXTURES / "tf-2.13.1/keras_adam/model.ckpt") as ckpt:
            slot = f"optimizer/_variables/1{VALUE}"
            assert ckpt.variable_names[slot] == "Adam/m/enc/kernel"
            assert self.changed(ckpt) == {
                f"model/layer_with_weights-{i}/kernel{VALUE}" for i in (0, 2)
            }

    def test_slots_whose_paths_end_with_kernel(self) -> None:
        with open_checkpoint(FIXTURES / "tf-2.13.1/keras_h5/model.h5") as ckpt:
            slots = [name for name, role in ckpt.roles().items() if role == "state"]
            assert any(name.endswith("kernel:0") for name in slots)
            assert self.changed(ckpt).isdisjoint(slots)
            assert self.changed(ckpt)

    def test_names_that_a_selection_gives(self) -> None:
        with open_checkpoint(FIXTURES / "tf-2.21.0/keras_checkpoint/model.ckpt") as ckpt:
            old = f"optimizer/_trainable_variables/1{VALUE}"
            assert self.changed(ckpt.select(include=old, rename={old: "x"})) == {"x"}

    def test_an_object_graph(self) -> None:
        with open_checkpoint(FIXTURES / "tf-2.21.0/layers/model.ckpt") as ckpt:
            assert self.changed(ckpt.object_graph.subtree("conv2d")) == {"_kernel"}


def test_the_values(tmp_path: Any) -> None:
    name = "vgg_16/conv1/conv1_1/weights"
    convert(VGG.prefix, tmp_path / "m.npz", layout="torch", include=name, rename={name: "w"})
    with np.load(tmp_path / "m.npz") as arrays:
        assert np.array_equal(arrays["w"], expected_array(VGG, name).transpose(3, 2, 0, 1))


def test_pieces_and_parts() -> None:
    name = "vgg_16/fc6/weights"
    expected = expected_array(VGG, name).transpose(3, 2, 0, 1)
    with open_checkpoint(VGG.prefix) as ckpt:
        tensors = choose(ckpt, layout="torch", rename={"vgg_16/": ""}).tensors
        pieces = list(tensors.read_pieces(["fc6/weights"], 500))
        assert len(pieces) > 10
        assert np.array_equal(join(pieces), expected)
        assert np.array_equal(tensors.read("fc6/weights", np.s_[2, :, 1:3]), expected[2, :, 1:3])
        assert tensors.info("fc6/weights").file is None
        assert tensors.info("fc6/biases").file is not None


def test_the_order_of_depthwise_channels() -> None:
    """That of input channel k and multiplier q is k * multiplier + q, as PyTorch's groups are."""
    kernel = RANDOM.random((2, 3, 4, 5))
    weight = torch_array("sep/depthwise_kernel", kernel)
    for k, q in product(range(4), range(5)):
        assert np.array_equal(weight[k * 5 + q, 0], kernel[:, :, k, q])


def test_another_layout() -> None:
    with pytest.raises(ValueError, match="layout"):
        choose({"x": np.zeros(2)}, layout="jax")  # type: ignore[arg-type]


# The definitions of TensorFlow's operations, as loops, against PyTorch's.


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The convolution without padding of [..., in] with [..., in, out], as tf.nn.convolution."""
    window = kernel.shape[:-2]
    sizes = [n - k + 1 for n, k in zip(image.shape, window)]
    out = np.zeros((*sizes, kernel.shape[-1]))
    for place in product(*map(range, sizes)):
        part = image[tuple(slice(p, p + k) for p, k in zip(place, window))]
        out[place] = np.tensordot(part, kernel, part.ndim)
    return out


def torch_result(function: Any, image: np.ndarray, weight: np.ndarray, **options: Any) -> Any:
    """What PyTorch computes, with the channels last."""
    from support.pytorch import torch

    tensor = torch.from_numpy(np.moveaxis(image, -1, 0)[None].copy())
    weight = torch.from_numpy(np.ascontiguousarray(weight))
    return np.moveaxis(function(torch.nn.functional)(tensor, weight, **options).numpy()[0], 0, -1)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pytorch_computes_the_same_convolution(rank: int) -> None:
    image = RANDOM.random((*range(6, 6 + rank), 2))
    kernel = RANDOM.random((*range(2, 2 + rank), 2, 3))
    result = torch_result(
        lambda f: getattr(f, f"conv{rank}d"), image, torch_array("conv/kernel", kernel)
    )
    np.testing.assert_allclose(result, convolve(image, kernel))


def test_pytorch_computes_the_same_depthwise_convolution() -> None:
    """Output channel k * multiplier + q is that of input channel k, as tf.nn.depthwise_conv2d."""
    image, kernel = RANDOM.random((6, 7, 2)), RANDOM.random((2, 3, 2, 3))
    weight = torch_array("sep/depthwise_kernel", kernel)
    result = torch_result(lambda f: f.conv2d, image, weight, groups=2)
    expected = [
        convolve(image[..., k : k + 1], kernel[:, :, k : k + 1, q : q + 1])[..., 0]
        for k in range(2)
        for q in range(3)
    ]
    np.testing.assert_allclose(result, np.stack(expected, -1))


def test_pytorch_computes_the_same_transposed_convolution() -> None:
    """tf.nn.conv2d_transpose adds, for each input pixel, its product with the kernel."""
    image, kernel = RANDOM.random((3, 4, 2)), RANDOM.random((2, 3, 5, 2))  # height, width, out, in
    result = torch_result(
        lambda f: f.conv_transpose2d, image, torch_array("deconv/kernel", kernel), stride=2
    )
    expected = np.zeros((3 * 2, 4 * 2 + 1, 5))
    for y, x in product(range(3), range(4)):
        expected[2 * y : 2 * y + 2, 2 * x : 2 * x + 3] += kernel @ image[y, x]
    np.testing.assert_allclose(result, expected)


def test_pytorch_computes_the_same_dense_layer() -> None:
    from support.pytorch import torch

    x, kernel = RANDOM.random((4, 2)), RANDOM.random((2, 3))
    weight = np.ascontiguousarray(torch_array("dense/kernel", kernel))
    result = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(weight))
    np.testing.assert_allclose(result.numpy(), x @ kernel)
