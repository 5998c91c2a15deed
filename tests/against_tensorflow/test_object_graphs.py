"""TensorFlow restores checkpoints whose object graphs ckptparse has pruned or built.

Not part of the default run: use ``pytest -m tensorflow`` where TensorFlow is installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import open_checkpoint
from ckptparse.objectgraph import KEY
from ckptparse.objectgraph.building import build_graph
from ckptparse.objectgraph.pruning import prune_graph

pytestmark = pytest.mark.tensorflow

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="module")
def tf() -> Any:
    return importlib.import_module("tensorflow")


def save(tf: Any, prefix: str, tensors: dict[str, Any], serialized: bytes) -> str:
    """Write tensors and a graph with TensorFlow."""
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[*tensors, KEY],
        shape_and_slices=[""] * (len(tensors) + 1),
        tensors=[*tensors.values(), tf.constant(serialized)],
    )
    return prefix


def copy(tf: Any, source: str, keys: dict[str, str]) -> str:
    """Copy the tensors of `keys` under new names, with the pruned graph."""
    dtypes = tf.train.load_checkpoint(source).get_variable_to_dtype_map()
    tensors = {
        new: tf.raw_ops.RestoreV2(
            prefix=source, tensor_names=[old], shape_and_slices=[""], dtypes=[dtypes[old]]
        )[0]
        for old, new in keys.items()
        if old != KEY
    }
    with open_checkpoint(source) as ckpt:
        serialized = ckpt[KEY].item()
        return save(tf, f"{source}-copy", tensors, prune_graph(serialized, keys, list(ckpt)))


def names_of(source: str) -> list[str]:
    with open_checkpoint(source) as ckpt:
        return list(ckpt)


def same(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


def keys_of_weights(source: str) -> list[str]:
    with open_checkpoint(source) as ckpt:
        weights = ckpt.object_graph.model_weights()
        return list(map(weights.checkpoint_key, weights))


def keras_model(tf: Any) -> Any:
    """A model with a layer without weights and a nested model."""
    layers = tf.keras.layers
    nested = tf.keras.Sequential([layers.Input((3,)), layers.Dense(2), layers.BatchNormalization()])
    return tf.keras.Sequential(
        [layers.Input((2,)), layers.Dense(3), layers.Flatten(), nested, layers.Dense(1)]
    )


def trained_keras(tf: Any) -> tuple[Any, Any]:
    """A model and its Adam after one step."""
    model, optimizer = keras_model(tf), tf.keras.optimizers.Adam(0.1)
    model.compile(optimizer, "mse")
    model.fit(tf.ones((4, 2)), tf.ones((4, 1)), verbose=0)
    return model, optimizer


def assert_same(found: Iterable[Any], expected: Iterable[Any]) -> None:
    found, expected = list(found), list(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


class TestKeras:
    def test_whole_copy(self, tf: Any, tmp_path: Path) -> None:
        model, optimizer = trained_keras(tf)
        source = tf.train.Checkpoint(model=model, optimizer=optimizer).save(f"{tmp_path}/ckpt")
        copied = copy(tf, source, same(names_of(source)))
        fresh, fresh_optimizer = trained_keras(tf)
        status = tf.train.Checkpoint(model=fresh, optimizer=fresh_optimizer).restore(copied)
        status.assert_existing_objects_matched().assert_consumed()
        assert_same(fresh.weights, model.weights)
        assert_same(fresh_optimizer.variables, optimizer.variables)

    @pytest.mark.parametrize("scope", ["", "copied/"], ids=["same", "renamed"])
    def test_weights_only(self, tf: Any, tmp_path: Path, scope: str) -> None:
        model, optimizer = trained_keras(tf)
        source = tf.train.Checkpoint(model=model, optimizer=optimizer).save(f"{tmp_path}/ckpt")
        keys = {name: scope + name for name in keys_of_weights(source)}
        assert len(keys) == len(model.weights) < len(names_of(source)) - 1
        copied = copy(tf, source, keys)
        fresh, fresh_optimizer = trained_keras(tf)
        before = [variable.numpy() for variable in fresh_optimizer.variables]
        tf.train.Checkpoint(model=fresh, optimizer=fresh_optimizer).restore(copied).expect_partial()
        assert_same(fresh.weights, model.weights)
        for variable, old in zip(fresh_optimizer.variables, before):
            np.testing.assert_array_equal(variable.numpy(), old)

    def test_weights_only_into_a_model_without_an_optimizer(self, tf: Any, tmp_path: Path) -> None:
        model, optimizer = trained_keras(tf)
        source = tf.train.Checkpoint(model=model, optimizer=optimizer).save(f"{tmp_path}/ckpt")
        copied = copy(tf, source, same(keys_of_weights(source)))
        fresh = keras_model(tf)
        status = tf.train.Checkpoint(model=fresh).read(copied)
        status.assert_existing_objects_matched().expect_partial()
        assert_same(fresh.weights, model.weights)


def tree(tf: Any, start: float, **more: Any) -> Any:
    """A module with lists, odd names, a shared variable and a cycle."""
    module = tf.Module()
    module.layers = [tf.Module(), tf.Module()]
    for i, layer in enumerate(module.layers):
        layer.kernel = tf.Variable([start + i, 2.0])
    module.odd = {"a.b/c": tf.Variable(start + 10), ".": tf.Variable(start + 11)}
    module.shared = module.layers[0].kernel
    module.layers[1].owner = module
    return tf.train.Checkpoint(module=module, step=tf.Variable(int(start), dtype=tf.int64), **more)


def variables(checkpoint: Any) -> list[Any]:
    return list(checkpoint.module.variables)


class TestModules:
    def test_part_of_a_tree(self, tf: Any, tmp_path: Path) -> None:
        saved, fresh = tree(tf, 1.0), tree(tf, 100.0)
        source = saved.write(f"{tmp_path}/ckpt")
        keys = same(name for name in names_of(source) if "odd" in name)
        fresh.restore(copy(tf, source, keys)).expect_partial()
        assert_same(fresh.module.odd.values(), saved.module.odd.values())
        assert fresh.module.shared.numpy().tolist() == [100.0, 2.0]
        assert fresh.step == 100

    def test_an_object_that_loses_one_of_its_tensors(self, tf: Any, tmp_path: Path) -> None:
        """TensorFlow reads all tensors of an object, so it must not find the object."""

        class Pieces(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                self.found: list[str] = []

            def _serialize_to_tensors(self) -> dict[str, Any]:
                return {name: tf.constant(1.5) for name in ("plain", "other", "c")}

            def _restore_from_tensors(self, restored: dict[str, Any]) -> None:
                self.found += restored

        saved, fresh = tree(tf, 1.0, pieces=Pieces()), tree(tf, 100.0, pieces=Pieces())
        source = saved.write(f"{tmp_path}/ckpt")
        keys = same(names_of(source))
        fresh.restore(copy(tf, source, {k: k.replace("pieces/", "p/q/") for k in keys}))
        assert sorted(fresh.pieces.found) == ["c", "other", "plain"]
        del keys["pieces/.ATTRIBUTES/plain"]
        fresh = tree(tf, 100.0, pieces=Pieces())
        fresh.restore(copy(tf, source, keys)).expect_partial()
        assert fresh.pieces.found == []
        assert_same(variables(fresh), variables(saved))

    def test_tables_and_iterators(self, tf: Any, tmp_path: Path) -> None:
        def more() -> dict[str, Any]:
            table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
            return {"table": table, "iterator": iter(tf.data.Dataset.range(9))}

        saved, fresh = tree(tf, 1.0, **more()), tree(tf, 100.0, **more())
        saved.table.insert([b"one"], tf.constant([1], tf.int64))
        next(saved.iterator), next(saved.iterator)
        source = saved.write(f"{tmp_path}/ckpt")
        keys = {name: f"copied/{name}" for name in names_of(source) if "step" not in name}
        fresh.restore(copy(tf, source, keys)).expect_partial()
        assert fresh.table.lookup(tf.constant([b"one"])).numpy().tolist() == [1]
        assert next(fresh.iterator).numpy() == 2
        assert_same(variables(fresh), variables(saved))
        assert fresh.step == 100
        keys = {name: name for name in keys if name != "table/.ATTRIBUTES/table-values"}
        fresh = tree(tf, 100.0, **more())
        fresh.restore(copy(tf, source, keys)).expect_partial()
        assert fresh.table.size() == 0
        assert next(fresh.iterator).numpy() == 2

    def test_slot_variables(self, tf: Any, tmp_path: Path) -> None:
        def optimized(start: float) -> tuple[Any, Any]:
            optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
            checkpoint = tree(tf, start, optimizer=optimizer)
            first, second = (layer.kernel for layer in checkpoint.module.layers)
            optimizer.apply_gradients([(first * start, first), (second * start, second)])
            return checkpoint, [optimizer.get_slot(v, "momentum") for v in (first, second)]

        (saved, slots), (fresh, fresh_slots) = optimized(1.0), optimized(100.0)
        source = saved.write(f"{tmp_path}/ckpt")
        slot = f"module/layers/1/kernel/.OPTIMIZER_SLOT/optimizer/momentum{VALUE}"
        assert slot in names_of(source)
        old = fresh_slots[0].numpy().tolist()
        fresh.restore(copy(tf, source, {slot: slot})).expect_partial()
        assert_same([fresh_slots[1]], [slots[1]])
        assert fresh_slots[0].numpy().tolist() == old
        fresh, fresh_slots = optimized(100.0)
        keys = {name: f"copied/{name}" for name in names_of(source) if name != slot}
        fresh.restore(copy(tf, source, keys)).expect_partial()
        assert_same([*variables(fresh), fresh_slots[0]], [*variables(saved), slots[0]])

    def test_registered_savers(self, tf: Any, tmp_path: Path) -> None:
        from tensorflow.python.saved_model import registration

        class Stateful(tf.Module):
            def __init__(self, state: float) -> None:
                super().__init__()
                self.value = tf.Variable(state)

            def _trackable_children(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
                return {}

        def write(trackables: dict[str, Any], file_prefix: Any) -> Any:
            names = [f"{name}/my-own-key" for name in trackables]
            values = [item.value for item in trackables.values()]
            tf.raw_ops.SaveV2(
                prefix=file_prefix,
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=values,
            )
            return file_prefix

        def restore(trackables: dict[str, Any], merged_prefix: Any) -> None:
            for name, item in trackables.items():
                (found,) = tf.raw_ops.RestoreV2(
                    prefix=merged_prefix,
                    tensor_names=[f"{name}/my-own-key"],
                    shape_and_slices=[""],
                    dtypes=[tf.float32],
                )
                item.value.assign(found)

        registration.register_tf_checkpoint_saver(
            name=f"stateful_{tmp_path.name}",
            predicate=lambda item: isinstance(item, Stateful),
            save_fn=write,
            restore_fn=restore,
        )
        saved = tree(tf, 1.0, own=Stateful(1.5), own2=Stateful(2.5))
        source = saved.write(f"{tmp_path}/ckpt")
        names = names_of(source)
        keys = {name: f"copied/{name}" for name in names}
        fresh = tree(tf, 100.0, own=Stateful(0.0), own2=Stateful(0.0))
        fresh.read(copy(tf, source, keys)).assert_existing_objects_matched().assert_consumed()
        assert (fresh.own.value.numpy(), fresh.own2.value.numpy()) == (1.5, 2.5)
        fresh = tree(tf, 100.0, own=Stateful(0.0), own2=Stateful(0.0))
        keys = same(name for name in names if not name.startswith("own2/"))
        fresh.restore(copy(tf, source, keys)).expect_partial()
        assert (fresh.own.value.numpy(), fresh.own2.value.numpy()) == (1.5, 0.0)


class TestBuiltGraphs:
    def test_modules_restore(self, tf: Any, tmp_path: Path) -> None:
        fresh = tree(tf, 100.0)
        names = [
            "step",
            "module/layers/0/kernel",
            "module/layers/1/kernel" + VALUE,
            "module/odd/a..b.Sc",
            "module/odd/..",
        ]
        expected = tree(tf, 1.0)
        values = [expected.step, *(layer.kernel for layer in expected.module.layers)]
        values += expected.module.odd.values()
        serialized, keys = build_graph(names)
        tensors = {keys[name]: value for name, value in zip(names, values)}
        status = fresh.read(save(tf, f"{tmp_path}/ckpt", tensors, serialized))
        status.assert_existing_objects_matched().assert_consumed()
        assert_same([fresh.step, *variables(fresh)], [expected.step, *variables(expected)])

    def test_is_what_tensorflow_writes(self, tf: Any, tmp_path: Path) -> None:
        """For a tree whose variables are named by their paths."""
        paths = ["a/0/b/bias", "a/0/b/kernel", "a/0/x", "a/1", "c"]
        node: dict[str, Any] = {}
        for path in paths:
            *names, last = path.split("/")
            target = node
            for name in names:
                target = target.setdefault(name, {})
            target[last] = tf.Variable(1.0, name=path)
        source = tf.train.Checkpoint(**node).write(f"{tmp_path}/ckpt")
        with open_checkpoint(source) as ckpt:
            assert build_graph(paths)[0] == ckpt[KEY].item()

    def test_slot_variables(self, tf: Any, tmp_path: Path) -> None:
        optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
        kernel = tf.Variable([1.0, 2.0])
        optimizer.apply_gradients([(kernel * 2, kernel)])
        checkpoint = tf.train.Checkpoint(kernel=kernel, optimizer=optimizer)
        path = "kernel/.OPTIMIZER_SLOT/optimizer/momentum"
        serialized, keys = build_graph(["kernel", path])
        tensors = {keys["kernel"]: tf.constant([5.0, 6.0]), keys[path]: tf.constant([7.0, 8.0])}
        checkpoint.read(save(tf, f"{tmp_path}/ckpt", tensors, serialized)).assert_consumed()
        assert optimizer.get_slot(kernel, "momentum").numpy().tolist() == [7.0, 8.0]
