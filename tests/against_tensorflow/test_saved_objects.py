"""TensorFlow restores objects from checkpoints that ckptparse saved, and finds the latest one.

Not part of the default run: use ``pytest -m tensorflow`` where TensorFlow is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import UnsupportedError, open_checkpoint, save_checkpoint

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def tf() -> Any:
    return importlib.import_module("tensorflow")


def assert_same(found: Iterable[Any], expected: Iterable[Any]) -> None:
    found, expected = list(found), list(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def module(tf: Any, start: float) -> Any:
    """A module with lists and a name that the checkpoint escapes."""
    result = tf.Module()
    result.layers = [tf.Module(), tf.Module()]
    for i, layer in enumerate(result.layers):
        layer.kernel = tf.Variable([[start + i, 2.0], [3.0, start]])
        layer.bias = tf.Variable(tf.cast([start, 1.0], tf.bfloat16))
    result.odd = {"a.b/c": tf.Variable(start + 10)}
    return result


def resources(tf: Any) -> dict[str, Any]:
    """Objects whose state is no variable."""
    lookup = tf.lookup.experimental
    return {
        "table": lookup.MutableHashTable(tf.string, tf.int64, -1),
        "dense": lookup.DenseHashTable(tf.int64, tf.float32, -1.0, -1, -2),
    }


def keras_model(tf: Any) -> tuple[Any, Any]:
    """A model and its Adam after one step."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [layers.Input((4,)), layers.Dense(3), layers.BatchNormalization(), layers.Dense(2)]
    )
    optimizer = tf.keras.optimizers.Adam(0.1)
    model.compile(optimizer, "mse")
    model.fit(tf.random.normal((8, 4)), tf.ones((8, 2)), verbose=0)
    return model, optimizer


@pytest.mark.parametrize("shard_nbytes", [None, 40], ids=["one file", "shards"])
class TestWhole:
    def test_modules_and_tables(self, tf: Any, tmp_path: Path, shard_nbytes: int | None) -> None:
        saved, kept = module(tf, 1.0), resources(tf)
        kept["table"].insert([b"one", b""], tf.constant([1, 2], tf.int64))
        kept["dense"].insert(tf.constant([5, 6], tf.int64), [0.5, 0.25])
        source = tf.train.Checkpoint(model=saved, **kept).save(f"{tmp_path}/theirs")
        with open_checkpoint(source) as ckpt:
            prefix = save_checkpoint(tmp_path / "ours", ckpt, shard_nbytes=shard_nbytes)
        fresh, found = module(tf, 100.0), resources(tf)
        status = tf.train.Checkpoint(model=fresh, **found).restore(prefix)
        status.assert_existing_objects_matched().assert_consumed()
        assert_same(fresh.variables, saved.variables)
        assert found["table"].lookup(tf.constant([b"", b"one"])).numpy().tolist() == [2, 1]
        assert found["dense"].lookup(tf.constant([6, 5], tf.int64)).numpy().tolist() == [0.25, 0.5]

    def test_keras(self, tf: Any, tmp_path: Path, shard_nbytes: int | None) -> None:
        model, optimizer = keras_model(tf)
        source = tf.train.Checkpoint(model=model, optimizer=optimizer).save(f"{tmp_path}/theirs")
        with open_checkpoint(source) as ckpt:
            prefix = save_checkpoint(tmp_path / "ours", ckpt, shard_nbytes=shard_nbytes)
        fresh, fresh_optimizer = keras_model(tf)
        status = tf.train.Checkpoint(model=fresh, optimizer=fresh_optimizer).restore(prefix)
        status.assert_existing_objects_matched().assert_consumed()
        assert_same(fresh.weights, model.weights)
        assert_same(fresh_optimizer.variables, optimizer.variables)


def test_weights_only(tf: Any, tmp_path: Path) -> None:
    model, optimizer = keras_model(tf)
    source = tf.train.Checkpoint(model=model, optimizer=optimizer).save(f"{tmp_path}/theirs")
    with open_checkpoint(source) as ckpt:
        prefix = save_checkpoint(tmp_path / "ours", ckpt.select(weights_only=True))
    with open_checkpoint(prefix) as ckpt:
        assert len(ckpt) == len(model.weights) + 1  # and the graph
    fresh, fresh_optimizer = keras_model(tf)
    before = [variable.numpy() for variable in fresh_optimizer.variables]
    checkpoint = tf.train.Checkpoint(model=fresh, optimizer=fresh_optimizer)
    checkpoint.restore(prefix).expect_partial()
    assert_same(fresh.weights, model.weights)
    for variable, value in zip(fresh_optimizer.variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_an_iterator_is_left_out(tf: Any, tmp_path: Path) -> None:
    """Its state is a variant, which cannot be read."""

    def checkpoint(start: float) -> Any:
        iterator = iter(tf.data.Dataset.range(9))
        return tf.train.Checkpoint(model=module(tf, start), iterator=iterator)

    saved, fresh = checkpoint(1.0), checkpoint(100.0)
    next(saved.iterator)
    source = saved.write(f"{tmp_path}/theirs")
    with open_checkpoint(source) as ckpt:
        with pytest.raises(UnsupportedError):
            save_checkpoint(tmp_path / "ours", ckpt)
        prefix = save_checkpoint(tmp_path / "ours", ckpt.select(exclude="iterator/*"))
    fresh.restore(prefix).expect_partial()
    assert_same(fresh.model.variables, saved.model.variables)
    assert next(fresh.iterator).numpy() == 0


def test_renamed_and_pruned(tf: Any, tmp_path: Path) -> None:
    saved = module(tf, 1.0)
    source = tf.train.Checkpoint(model=saved, step=tf.Variable(7)).write(f"{tmp_path}/theirs")
    with open_checkpoint(source) as ckpt:
        tensors = ckpt.select(include="model/layers/1/*", rename=lambda name: f"copied/{name}")
        prefix = save_checkpoint(tmp_path / "ours", tensors)
    fresh = module(tf, 100.0)
    tf.train.Checkpoint(model=fresh).restore(prefix).expect_partial()
    assert_same(fresh.layers[1].variables, saved.layers[1].variables)
    assert_same(fresh.layers[0].variables, module(tf, 100.0).layers[0].variables)


def test_a_graph_of_paths(tf: Any, tmp_path: Path) -> None:
    expected = module(tf, 5.0)
    tensors = {
        f"model/layers/{i}/{name}": getattr(expected.layers[i], name).numpy()
        for i in range(2)
        for name in ("kernel", "bias")
    }
    prefix = save_checkpoint(
        tmp_path / "ours", tensors, object_graph="paths", partitions={"model/layers/0/kernel": 2}
    )
    fresh = module(tf, 100.0)
    status = tf.train.Checkpoint(model=fresh).restore(prefix)
    status.expect_partial().assert_nontrivial_match()
    assert_same(fresh.layers[0].variables, expected.layers[0].variables)
    assert_same(fresh.layers[1].variables, expected.layers[1].variables)


def test_latest_checkpoint(tf: Any, tmp_path: Path) -> None:
    """A directory to which a manager of TensorFlow saves before and after."""
    value = tf.Variable(0.0)

    def manage() -> Any:
        return tf.train.CheckpointManager(tf.train.Checkpoint(value=value), str(tmp_path), 3)

    manage().save(checkpoint_number=1)
    for step in range(2, 6):
        prefix = save_checkpoint(
            tmp_path / f"ckpt-{step}",
            {"value": np.float32(step)},
            object_graph="paths",
            update_state=True,
            max_to_keep=3,
        )
        assert tf.train.latest_checkpoint(str(tmp_path)) == prefix
        manager = manage()
        assert manager.restore_or_initialize() == prefix
        assert value.numpy() == step
    assert manager.checkpoints == [f"{tmp_path}/ckpt-{step}" for step in (3, 4, 5)]
    manager.save(checkpoint_number=6)
    assert sorted(path.name for path in tmp_path.glob("*.index")) == [
        f"ckpt-{step}.index" for step in (4, 5, 6)
    ]
