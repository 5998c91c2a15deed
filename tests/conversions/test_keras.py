"""Weights of Keras 3 models, converted to other formats and back: Keras itself loads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ckptparse import convert, open_checkpoint, save
from support.keras_files import KerasCase, load_keras
from support.oracle import expected_array, load_case
from support.stored_arrays import Array

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's, of numpy


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    pytest.importorskip("h5py", reason="h5py is not installed")
    return pytest.importorskip("keras", reason="Keras, or its backend, is not installed")


# A model of many layers


def build_model(keras: ModuleType, seed: int) -> Any:
    """A model with layers that have layers, two of most classes, and random weights."""
    keras.utils.clear_session()
    layers, random = keras.layers, np.random.default_rng(seed)

    class Tower(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="tower")
            self.first = layers.Dense(4)
            self.blocks = [layers.Dense(4), layers.Dense(4)]
            self.norms = {"last": layers.LayerNormalization()}

        def call(self, x: Any) -> Any:
            for layer in [self.first, *self.blocks]:
                x = layer(x)
            return self.norms["last"](x)

    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(5, 2, name="separable")(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2DTranspose(3, 2, name="transposed")(x))
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    y = layers.Embedding(11, 6, name="embedding")(tokens)
    y = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
    lstm = layers.LSTM(4, name="lstm")(y)
    gru = layers.Bidirectional(layers.GRU(3), name="gru")(y)
    inner = keras.Sequential(
        [layers.Dense(4, activation="tanh"), layers.Dense(4, dtype="bfloat16")], name="inner"
    )
    joined = layers.Concatenate()([x, inner(lstm), gru, Tower()(lstm)])
    output = layers.Dense(2, name="head")(layers.Dropout(0.3)(joined))
    model = keras.Model([image, tokens], output)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for variable in [*model.weights, *model.optimizer.variables]:
        if variable.dtype != "int32":  # the number of steps
            variable.assign(random.random(variable.shape))
    return model


def predict(model: Any) -> Any:
    random = np.random.default_rng(0)
    images, tokens = random.random((2, 8, 8, 3), "float32"), random.integers(0, 11, (2, 5))
    return model.predict([images, tokens], verbose=0)


def values_of(model: Any) -> dict[str, bytes]:
    variables = [*model.weights, *model.optimizer.variables]
    return {variable.path: np.asarray(variable).tobytes() for variable in variables}


@pytest.mark.parametrize("file", ["model.weights.h5", "model.keras"])
@pytest.mark.parametrize("between", ["between.safetensors", "between.ckpt"])
def test_a_model_comes_back_bit_for_bit(
    keras: ModuleType, tmp_path: Path, file: str, between: str
) -> None:
    model = build_model(keras, 1)
    (model.save if file.endswith(".keras") else model.save_weights)(tmp_path / file)
    convert(tmp_path / file, tmp_path / between)
    convert(tmp_path / between, tmp_path / "back.weights.h5")
    other = build_model(keras, 2)
    assert list(values_of(other)) == list(values_of(model))
    assert not any(np.array_equal(*pair) for pair in zip(other.get_weights(), model.get_weights()))
    other.load_weights(tmp_path / "back.weights.h5")
    assert values_of(other) == values_of(model)
    assert predict(other).tobytes() == predict(model).tobytes()


def test_weights_only_leave_the_optimizer_as_it_is(keras: ModuleType, tmp_path: Path) -> None:
    model, other = build_model(keras, 1), build_model(keras, 2)
    model.save_weights(tmp_path / "model.weights.h5")
    convert(
        tmp_path / "model.weights.h5",
        tmp_path / "weights.safetensors",
        weights_only=True,
    )
    convert(tmp_path / "weights.safetensors", tmp_path / "back.weights.h5")
    before = [np.asarray(variable).tobytes() for variable in other.optimizer.variables]
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        other.load_weights(tmp_path / "back.weights.h5")
    assert [np.asarray(variable).tobytes() for variable in other.optimizer.variables] == before
    assert all(np.array_equal(*pair) for pair in zip(other.get_weights(), model.get_weights()))


# Files of TensorFlow


def nested_model(keras: ModuleType) -> Any:
    """The model of `tools/cases/keras.py`."""
    keras.utils.clear_session()
    layers = keras.layers
    encoder = keras.Sequential(
        [layers.Dense(4, activation="tanh"), layers.BatchNormalization()], name="encoder"
    )
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    hidden = layers.LSTM(4, name="rnn")(layers.Embedding(11, 5, name="embedding")(tokens))
    return keras.Model(tokens, layers.Dense(2, name="head")(encoder(hidden)), name="nested")


def small_model(keras: ModuleType) -> Any:
    """The model of `tools/cases/keras_files.py`."""
    keras.utils.clear_session()
    layers = keras.layers
    encoder = keras.Sequential(
        [layers.Dense(3, name="dense"), layers.BatchNormalization(name="norm")], name="encoder"
    )
    steps = keras.Input((3, 2), name="steps")
    hidden = layers.SimpleRNN(4, name="rnn")(steps)
    return keras.Model(steps, layers.Dense(2, name="head")(encoder(hidden)), name="nested")


def expected_of(keras_case: KerasCase) -> dict[str, Array]:
    """Name of a variable -> the value that Keras read, in the order of `model.weights`."""
    return dict(variable for layer in keras_case.layers.values() for variable in layer)


def require_weights(model: Any, expected: Iterable[Array]) -> None:
    """Check that the weights of a model have these values, in this order."""
    for weight, value in zip(model.weights, expected, strict=True):
        assert np.array_equal(np.asarray(weight), value), weight.path


PATHS_OF_KERAS_2 = {
    "layer_with_weights-0/embeddings": ("layers/embedding/vars/0", "embedding/embeddings"),
    "layer_with_weights-1/cell/kernel": ("layers/lstm/cell/vars/0", "rnn/lstm_cell/kernel"),
    "layer_with_weights-1/cell/recurrent_kernel": (
        "layers/lstm/cell/vars/1",
        "rnn/lstm_cell/recurrent_kernel",
    ),
    "layer_with_weights-1/cell/bias": ("layers/lstm/cell/vars/2", "rnn/lstm_cell/bias"),
    "layer_with_weights-2/layer_with_weights-0/kernel": (
        "layers/sequential/layers/dense/vars/0",
        "encoder/dense/kernel",
    ),
    "layer_with_weights-2/layer_with_weights-0/bias": (
        "layers/sequential/layers/dense/vars/1",
        "encoder/dense/bias",
    ),
    "layer_with_weights-2/layer_with_weights-1/gamma": (
        "layers/sequential/layers/batch_normalization/vars/0",
        "encoder/batch_normalization/gamma",
    ),
    "layer_with_weights-2/layer_with_weights-1/beta": (
        "layers/sequential/layers/batch_normalization/vars/1",
        "encoder/batch_normalization/beta",
    ),
    "layer_with_weights-2/layer_with_weights-1/moving_mean": (
        "layers/sequential/layers/batch_normalization/vars/2",
        "encoder/batch_normalization/moving_mean",
    ),
    "layer_with_weights-2/layer_with_weights-1/moving_variance": (
        "layers/sequential/layers/batch_normalization/vars/3",
        "encoder/batch_normalization/moving_variance",
    ),
    "layer_with_weights-3/kernel": ("layers/dense/vars/0", "head/kernel"),
    "layer_with_weights-3/bias": ("layers/dense/vars/1", "head/bias"),
}
"""Path of an object in Keras 2 -> path in a file of Keras 3, path of the variable in Keras 3."""


def test_a_checkpoint_of_keras_2_becomes_a_file_of_keras_3(
    keras: ModuleType, tmp_path: Path
) -> None:
    case = load_case("tf-2.13.1/keras_save_weights")
    rules = {f"{old}/.ATTRIBUTES/*": new for old, (new, _) in PATHS_OF_KERAS_2.items()}
    convert(case.prefix, tmp_path / "model.weights.h5", weights_only=True, rename=rules)
    model = nested_model(keras)
    model.load_weights(tmp_path / "model.weights.h5")
    expected = {
        name: expected_array(case, f"{old}/.ATTRIBUTES/VARIABLE_VALUE")
        for old, (_, name) in PATHS_OF_KERAS_2.items()
    }
    assert len(expected) == len(model.weights)
    require_weights(model, [expected[weight.path] for weight in model.weights])


def test_a_checkpoint_of_keras_3_by_names_of_variables(keras: ModuleType) -> None:
    case = load_case("tf-2.21.0/keras_checkpoint")
    model = nested_model(keras)
    with open_checkpoint(case.prefix) as ckpt:
        keys = ckpt.object_graph.full_names
        model.set_weights([ckpt[keys[weight.path]] for weight in model.weights])
    require_weights(model, [expected_array(case, keys[w.path]) for w in model.weights])


@pytest.mark.parametrize("case", ["tf-2.13.1", "tf-2.21.0"])
def test_an_archive_of_keras_with_tensorflow(keras: ModuleType, tmp_path: Path, case: str) -> None:
    keras_case = load_keras(f"{case}/keras_h5", "model.keras")
    convert(keras_case.path, tmp_path / "model.safetensors", weights_only=True)
    convert(tmp_path / "model.safetensors", tmp_path / "model.weights.h5")
    model = small_model(keras)
    model.load_weights(tmp_path / "model.weights.h5")
    require_weights(model, expected_of(keras_case).values())


@pytest.mark.parametrize("case", ["keras-2.2.4", "tf-2.13.1", "tf-2.21.0"])
def test_a_file_of_any_keras_by_names_of_variables(
    keras: ModuleType, tmp_path: Path, case: str
) -> None:
    """From the .h5 file itself, and from a .safetensors file, which has another order."""
    keras_case = load_keras(f"{case}/keras_h5", "model.h5")
    expected = expected_of(keras_case)
    with open_checkpoint(keras_case.path) as ckpt:
        weights = ckpt.select(weights_only=True, rename=ckpt.variable_names)
        save(tmp_path / "model.safetensors", weights)
    model = small_model(keras)
    with open_checkpoint(tmp_path / "model.safetensors") as weights:
        assert sorted(weights) == sorted(expected)
        model.set_weights([weights[name] for name in expected])
    require_weights(model, expected.values())
