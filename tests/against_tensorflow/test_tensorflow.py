"""Read random checkpoints with an installed TensorFlow and with ckptparse, and compare.

Not part of the default run: use ``pytest -m tensorflow`` where TensorFlow is installed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import open_checkpoint, train
from ckptparse.paths.state_file import format_state, parse_state
from ckptparse.paths.state_update import add_checkpoint
from ckptparse.tensors.dtypes import numpy_dtype
from support.openers import OPENERS, Opener
from support.oracle import payload_of
from support.random_tensors import arrays, live, tilings
from support.tensorflow_ops import index_of, restore_part, slice_spec, to_tensorflow

pytestmark = pytest.mark.tensorflow

by_opener = pytest.mark.parametrize("opener", OPENERS, ids=lambda opener: opener.__name__)


@pytest.fixture(scope="module")
def tf() -> Any:
    return importlib.import_module("tensorflow")


@dataclass(frozen=True)
class Written:
    """One tensor to be saved, whole (no boxes) or in boxes of (start, length) per axis."""

    name: bytes
    dtype: int
    values: np.ndarray
    boxes: tuple[tuple[tuple[int, int], ...], ...] = ()


@st.composite
def checkpoints(draw: st.DrawFn) -> list[Written]:
    names = draw(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=12, unique=True))
    tensors = []
    for name in names:
        dtype, values = draw(arrays())
        boxes = draw(tilings(values.shape)) if draw(st.booleans()) else ()
        tensors.append(Written(name.encode(), dtype, values, boxes))
    return tensors


def save(tf: Any, prefix: str, tensors: list[Written]) -> None:
    names, specs, values = [], [], []
    for tensor in tensors:
        for box in tensor.boxes or [None]:
            part = tensor.values if box is None else tensor.values[index_of(box)]
            names.append(tensor.name)
            specs.append("" if box is None else slice_spec(tensor.values.shape, box))
            values.append(to_tensorflow(tf, tensor.dtype, part))
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=specs, tensors=values)


def restore(tf: Any, prefix: str, tensor: Written) -> np.ndarray:
    """The tensor as TensorFlow reads it: whole, or box by box if it cannot."""
    dtype = tf.dtypes.as_dtype(tensor.dtype)
    if not tensor.boxes:
        return restore_part(tf, prefix, tensor.name, "", dtype)
    whole = np.empty(tensor.values.shape, numpy_dtype(tensor.dtype))
    for box in tensor.boxes:
        spec = slice_spec(tensor.values.shape, box)
        whole[index_of(box)] = restore_part(tf, prefix, tensor.name, spec, dtype)
    return whole


@by_opener
@live
@given(tensors=checkpoints())
def test_random_checkpoints(tf: Any, opener: Opener, tensors: list[Written]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/model.ckpt"
        save(tf, prefix, tensors)
        reader = tf.train.load_checkpoint(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        with opener(Path(prefix)) as ckpt:
            assert sorted(ckpt) == sorted(shapes)
            assert ckpt.verify().ok
            for tensor in tensors:
                name = tensor.name.decode()
                info, array = ckpt.info(name), ckpt[name]
                assert list(info.shape) == shapes[name]
                assert info.tensorflow_dtype == dtypes[name].name
                assert len(info.slices) == len(tensor.boxes)
                assert payload_of(array) == payload_of(restore(tf, prefix, tensor))


@live
@given(tensors=checkpoints(), data=st.data())
def test_parts(tf: Any, tensors: list[Written], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/model.ckpt"
        save(tf, prefix, tensors)
        for mmap in (True, False):
            with open_checkpoint(prefix, mmap=mmap) as ckpt:
                for tensor in tensors:
                    index = tuple(
                        data.draw(st.slices(size)) if size == 0 else data.draw(axis_index(size))
                        for size in tensor.values.shape
                    )
                    part = ckpt.read(tensor.name.decode(), index)
                    wanted = np.asarray(tensor.values[index], tensor.values.dtype)
                    assert payload_of(part) == payload_of(wanted)


def axis_index(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(st.slices(size), st.integers(-size, size - 1))


def test_offsets_past_4_gib(tf: Any, tmp_path: Path) -> None:
    prefix = f"{tmp_path}/model.ckpt"
    large = tf.zeros([2**32 + 5], tf.uint8)
    small = tf.constant([1.5, -2.5], tf.float32)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["large", "small"],
        shape_and_slices=["", ""],
        tensors=[large, small],
    )
    for mmap in (True, False):
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            assert ckpt.info("small").offset == 2**32 + 5
            assert ckpt["small"].tolist() == [1.5, -2.5]
            assert ckpt.info("large").nbytes == 2**32 + 5
            assert not ckpt.read("large", np.s_[-3:]).any()


@pytest.mark.parametrize("order", ["tensorflow, ckptparse", "ckptparse, tensorflow"])
def test_one_process_imports_both(order: str, tmp_path: Path) -> None:
    code = f"""
import {order}
tensorflow.train.Checkpoint(v=tensorflow.Variable([1.0, 2.0])).write({str(tmp_path / "c")!r})
with ckptparse.open_checkpoint({str(tmp_path / "c")!r}) as ckpt:
    assert ckpt["v/.ATTRIBUTES/VARIABLE_VALUE"].tolist() == [1.0, 2.0]
from tensorflow.core.protobuf import tensor_bundle_pb2
assert tensor_bundle_pb2.BundleEntryProto(dtype=1).SerializeToString() == b"\\x08\\x01"
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


state_names = st.text(
    st.one_of(
        st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]),
        st.sampled_from(" '\"\\\n\r\t?*[]\x01\x7f"),
    ),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in (".", ".."))
doubles = st.floats(width=64)


@live
@given(
    names=st.lists(state_names, min_size=1, max_size=4, unique=True),
    data=st.data(),
    preserved=doubles,
)
def test_texts_of_states(tf: Any, names: list[str], data: st.DataObject, preserved: float) -> None:
    times = data.draw(
        st.one_of(st.just([]), st.lists(doubles, min_size=len(names), max_size=len(names)))
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.compat.v1.train.update_checkpoint_state(
            folder,
            names[-1],
            all_model_checkpoint_paths=list(names),
            all_model_checkpoint_timestamps=times,
            last_preserved_timestamp=preserved,
        )
        written = Path(folder, "checkpoint").read_bytes()
    state = parse_state(b"")
    state.model_checkpoint_path = names[-1]
    state.all_model_checkpoint_paths.extend(names)
    state.all_model_checkpoint_timestamps.extend(times)
    state.last_preserved_timestamp = preserved
    assert format_state(state) == written


@live
@given(names=st.lists(state_names, min_size=1, max_size=4, unique=True))
def test_states_that_tensorflow_reads(tf: Any, names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = None
        for name in names:
            prefix = f"{folder}/{name}"
            # TensorFlow takes the path for a pattern.
            if not set(name) & set("*?[]\\"):
                Path(f"{prefix}.index").touch()
            state, _ = add_checkpoint(state, prefix, directory=folder, max_to_keep=2, now=1.0)
            Path(folder, "checkpoint").write_bytes(format_state(state))
            read = tf.train.get_checkpoint_state(folder)
            ours = train.get_checkpoint_state(folder)
            assert read.model_checkpoint_path == prefix
            for field in ("model_checkpoint_path", "all_model_checkpoint_paths"):
                assert getattr(read, field) == getattr(ours, field)
            assert tf.train.latest_checkpoint(folder) == train.latest_checkpoint(folder)


def test_a_name_that_no_state_can_hold(tf: Any, tmp_path: Path) -> None:
    prefix = f"{tmp_path}/m-\udcff"
    with pytest.raises(ValueError):
        tf.compat.v1.train.update_checkpoint_state(str(tmp_path), prefix)
    with pytest.raises(ValueError):
        add_checkpoint(None, prefix, directory=str(tmp_path), max_to_keep=5, now=1.0)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_directory_that_both_save_to(tf: Any, tmp_path: Path, keep: int) -> None:
    folder, path = str(tmp_path), tmp_path / "checkpoint"

    def manage() -> Any:
        return tf.train.CheckpointManager(
            tf.train.Checkpoint(value=tf.Variable(0.5)), folder, max_to_keep=keep
        )

    manage().save(checkpoint_number=1)
    for step in range(2, 8, 2):
        before = parse_state(path.read_bytes())
        prefix = f"{folder}/ckpt-{step}"
        Path(f"{prefix}.index").touch()
        state, _ = add_checkpoint(
            before, prefix, directory=folder, max_to_keep=keep, now=time.time()
        )
        path.write_bytes(format_state(state))
        assert train.latest_checkpoint(folder) == tf.train.latest_checkpoint(folder) == prefix
        manager = manage()
        assert manager.latest_checkpoint == prefix
        assert manager.checkpoints == [f"{folder}/{p}" for p in state.all_model_checkpoint_paths]
        manager.save(checkpoint_number=step + 1)
        after = parse_state(path.read_bytes())
        wanted, _ = add_checkpoint(
            state,
            f"{folder}/ckpt-{step + 1}",
            directory=folder,
            max_to_keep=keep,
            now=after.all_model_checkpoint_timestamps[-1],
        )
        assert format_state(wanted) == path.read_bytes()
        assert train.latest_checkpoint(folder) == tf.train.latest_checkpoint(folder)


@pytest.mark.parametrize("times", [0, 1, 2, 3])
def test_a_manager_of_a_state_with_too_few_or_many_times(
    tf: Any, tmp_path: Path, times: int
) -> None:
    """A path that the manager does not manage is never deleted; without times, it manages none."""
    (tmp_path / "checkpoint").write_text(
        'model_checkpoint_path: "m-2"\n'
        'all_model_checkpoint_paths: "m-1"\nall_model_checkpoint_paths: "m-2"\n'
        + "all_model_checkpoint_timestamps: 5\n" * times
        + "last_preserved_timestamp: 1\n"
    )
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(), str(tmp_path), max_to_keep=1)
    assert manager.checkpoints == [f"{tmp_path}/m-{i}" for i in (1, 2)][:times]


@pytest.mark.parametrize(
    "text",
    ["m-1", "./m-1", "sub/../m-1", "v1", "gone", ".//m-1", "{folder}/m-1", "./", "sub/n", "a m"],
)
def test_latest_checkpoint(tf: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("m-1.index", "v1", ".index", "sub/n.index", "a m.index"):
        (tmp_path / name).touch()
    state = parse_state(b"")
    state.model_checkpoint_path = text.format(folder=tmp_path)
    (tmp_path / "checkpoint").write_bytes(format_state(state))
    assert train.latest_checkpoint(str(tmp_path)) == tf.train.latest_checkpoint(str(tmp_path))
