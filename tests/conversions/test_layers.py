"""One layer of Keras of each kind: PyTorch computes the same with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import convert
from support.oracle import load_case
from support.pytorch import load, torch

nn = torch.nn
F = torch.nn.functional

Weights = dict[str, Any]
"""The weights of a layer, by the last parts of their names."""


def channels_first(x: Any) -> Any:
    return x.movedim(-1, 1)


def channels_last(x: Any) -> Any:
    return x.movedim(1, -1)


def dense(x: Any, w: Weights) -> Any:
    return F.linear(x, w["kernel"], w["bias"])


def conv1d(x: Any, w: Weights) -> Any:
    return channels_last(F.conv1d(channels_first(x), w["kernel"], w["bias"], padding=1))


def conv2d(x: Any, w: Weights) -> Any:
    """Padding "same" with strides of 2: more at the bottom and at the right."""
    padded = F.pad(channels_first(x), (0, 0, 0, 1))  # left, right, top, bottom
    return channels_last(F.conv2d(padded, w["kernel"], w["bias"], stride=2))


def conv3d(x: Any, w: Weights) -> Any:
    return channels_last(F.conv3d(channels_first(x), w["kernel"], w["bias"]))


def depthwise(x: Any, w: Weights) -> Any:
    kernel = w["kernel"] if "kernel" in w else w["depthwise_kernel"]
    return channels_last(F.conv2d(channels_first(x), kernel, w["bias"], groups=3))


def separable(x: Any, w: Weights) -> Any:
    hidden = F.conv2d(channels_first(x), w["depthwise_kernel"], groups=3)
    return channels_last(F.conv2d(hidden, w["pointwise_kernel"], w["bias"]))


def transposed(x: Any, w: Weights) -> Any:
    return channels_last(F.conv_transpose2d(channels_first(x), w["kernel"], w["bias"], stride=2))


def embedding(x: Any, w: Weights) -> Any:
    return F.embedding(x, w["embeddings"])


def batch_norm(x: Any, w: Weights) -> Any:
    statistics = w["moving_mean"], w["moving_variance"]
    return channels_last(
        F.batch_norm(channels_first(x), *statistics, w["gamma"], w["beta"], eps=0.001)
    )


def layer_norm(x: Any, w: Weights) -> Any:
    return F.layer_norm(x, x.shape[-1:], w["gamma"], w["beta"], eps=0.001)


def recurrent(module: Any, x: Any, state: Weights) -> Any:
    module.load_state_dict(state)
    return module(x)[0]


def lstm(x: Any, w: Weights) -> Any:
    """The gates have the same order; PyTorch adds two biases."""
    return recurrent(
        nn.LSTM(5, 3, batch_first=True),
        x,
        {
            "weight_ih_l0": w["cell/kernel"],
            "weight_hh_l0": w["cell/recurrent_kernel"],
            "bias_ih_l0": w["cell/bias"],
            "bias_hh_l0": torch.zeros(12),
        },
    )


def gru(x: Any, w: Weights) -> Any:
    """Keras has the gates update, reset, new; PyTorch has reset, update, new."""

    def reordered(stacked: Any) -> Any:
        update, reset, new = stacked.chunk(3)
        return torch.cat([reset, update, new])

    return recurrent(
        nn.GRU(5, 3, batch_first=True),
        x,
        {
            "weight_ih_l0": reordered(w["cell/kernel"]),
            "weight_hh_l0": reordered(w["cell/recurrent_kernel"]),
            "bias_ih_l0": reordered(w["cell/bias"][0]),
            "bias_hh_l0": reordered(w["cell/bias"][1]),
        },
    )


def attention(x: Any, w: Weights) -> Any:
    """Kernels with three axes, [in, head, size] and [head, size, out], are not changed."""
    query, key, value = (
        F.linear(x, w[f"{part}/kernel"].reshape(5, -1).T, w[f"{part}/bias"].reshape(-1))
        .view(2, 4, 3, 2)
        .transpose(1, 2)
        for part in ("query_dense", "key_dense", "value_dense")
    )
    scores = torch.softmax(query @ key.transpose(2, 3) / 2**0.5, -1)
    mixed = (scores @ value).transpose(1, 2).reshape(2, 4, -1)
    return F.linear(mixed, w["output_dense/kernel"].reshape(-1, 5).T, w["output_dense/bias"])


LAYERS = [
    dense, conv1d, conv2d, conv3d, depthwise, separable, transposed,
    embedding, batch_norm, layer_norm, lstm, gru, attention,
]  # fmt: skip


@pytest.fixture(scope="module", params=["tf-2.13.1", "tf-2.21.0"])
def converted(request: Any, tmp_path_factory: Any) -> tuple[Weights, dict[str, np.ndarray]]:
    """All weights after a conversion, and what TensorFlow computed; of Keras 2 and Keras 3."""
    case = load_case(f"{request.param}/layers")
    path: Path = tmp_path_factory.mktemp("layers") / "layers.pt"
    steps = [{"*/.ATTRIBUTES/VARIABLE_VALUE": "*"}, lambda name: name.replace("/_", "/")]
    convert(case.prefix, path, weights_only=True, layout="torch", rename=steps)
    with np.load(case.folder / "expected_outputs.npz") as arrays:
        return load(path), dict(arrays)


def test_there_is_a_test_of_each_layer(converted: Any) -> None:
    assert {name.partition("/")[0] for name in converted[0]} == {f.__name__ for f in LAYERS}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_pytorch_computes_the_same(converted: Any, layer: Any) -> None:
    state, expected = converted
    scope = f"{layer.__name__}/"
    weights = {name[len(scope) :]: each for name, each in state.items() if name.startswith(scope)}
    with torch.no_grad():
        output = layer(torch.from_numpy(expected[f"{scope}input"]), weights)
    np.testing.assert_allclose(output.numpy(), expected[f"{scope}output"], rtol=1e-5, atol=1e-5)
