"""Dask arrays over checkpoints: values, chunks, names, what a task reads, files that change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

import ckptparse.dask_arrays
from ckptparse import (
    Checkpoint,
    CheckpointError,
    ChecksumError,
    MissingShardError,
    UnreadableError,
    UnsupportedError,
    average,
    merge,
    open_checkpoint,
    save,
    save_checkpoint,
    to_dask,
)
from ckptparse.sources.remote import RemoteFiles
from support.builders import bytes_field, slice_key, table
from support.counting_files import counted
from support.damage import copy_case, flip_bit
from support.oracle import (
    FC6,
    MATRIX,
    PARTITIONED,
    VGG,
    case_names,
    expected_array,
    load_case,
    payload_of,
)
from support.repository import FIXTURES, ROOT
from support.saved_slices import FLOAT, FLOAT_VAL, contents, record, tensor_entry

dask = pytest.importorskip("dask", reason="dask is not installed")
pytest.importorskip("dask.array", reason="dask is installed without dask[array]")
fsspec = pytest.importorskip("fsspec")  # dask depends on it


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute in this thread; with no checkpoints open from other tests."""
    ckptparse.dask_arrays._opened.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


def blocks_of(array: Any) -> list[np.ndarray]:
    """The computed chunks, in row-major order."""
    return [array.blocks[place].compute() for place in np.ndindex(array.numblocks)]


def nbytes_read(ranges: list[tuple[str, int, int]], suffix: str) -> list[int]:
    """Sizes of the ranges that were read of a file since the last call."""
    found = [nbytes for path, _, nbytes in ranges if path.endswith(suffix)]
    ranges.clear()
    return found


def require_equal(arrays: dict[str, Any], ckpt: Checkpoint) -> None:
    """Compare all values, or the errors, with those of the checkpoint."""
    assert list(arrays) == list(ckpt)
    for name, array in arrays.items():
        try:
            expected = ckpt[name]
        except CheckpointError as error:
            with pytest.raises(type(error)):
                array.compute()
        else:
            computed = array.compute()
            assert (computed.dtype, array.dtype) == (expected.dtype, expected.dtype)
            assert payload_of(computed) == payload_of(expected)


class TestValues:
    @pytest.mark.parametrize("chunk_nbytes", [1, 40, "128 MiB"])
    @pytest.mark.parametrize(
        "name",
        [
            "tf-1.15.5/vgg_16",
            "tf-1.15.5/dtypes",
            "tf-2.21.0/dtypes",
            "tf-2.21.0/slices_dtypes",
            "tf-2.21.0/max_shard_size",
            "tf-2.21.0/strings",
            "tf-2.21.0/zero_elements_only",
            "tf-2.21.0/names_not_utf8",
            "tf-2.21.0/v1_dtypes",
            "tf-2.21.0/v1_slices_dtypes",
        ],
    )
    def test_are_those_that_tensorflow_read(self, name: str, chunk_nbytes: int | str) -> None:
        case = load_case(name)
        arrays = to_dask(case.path, chunk_nbytes=chunk_nbytes)
        assert set(arrays) == {tensor.name for tensor in case.tensors}
        if chunk_nbytes == 1 and sum(array.npartitions for array in arrays.values()) > 2000:
            arrays = {name: array for name, array in arrays.items() if array.npartitions < 200}
        expected = {tensor.name: tensor for tensor in case.tensors}
        for name, array in arrays.items():
            computed = array.compute()
            assert computed.dtype == array.dtype
            assert computed.shape == array.shape == expected[name].shape
            assert payload_of(computed) == expected[name].payload

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize(
        "path",
        [
            "safetensors-0.8.0/safetensors_dtypes/model.safetensors",
            "tf-2.21.0/big_endian",
            "tf-2.21.0/keras_h5/model.h5",
            "tf-2.21.0/keras_h5/model.keras",
            "tf-1.15.5/frozen_conv_net",
        ],
    )
    def test_of_other_files(self, path: str, mmap: bool) -> None:
        with open_checkpoint(FIXTURES / path, mmap=mmap) as ckpt:
            require_equal(to_dask(ckpt, chunk_nbytes=16), ckpt)

    def test_in_an_archive(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
            archive.add(VGG.folder, "vgg")
        array = to_dask(tmp_path / "a.tar.gz", chunk_nbytes=400)[FC6]
        np.testing.assert_array_equal(array.compute(), expected_array(VGG, FC6))
        os.utime(tmp_path / "a.tar.gz", (1, 1))
        with pytest.raises(UnreadableError, match="changed or replaced"):
            array.compute()

    def test_what_cannot_be_read_raises_when_it_is_computed(self) -> None:
        with open_checkpoint(FIXTURES / "tf-2.21.0/variants") as ckpt:
            variant = next(i.name for i in ckpt.infos() if i.tensorflow_dtype == "variant")
            arrays = to_dask(ckpt)
        with pytest.raises(UnsupportedError):
            arrays[variant].compute()

    def test_arithmetic_with_bfloat16(self, tmp_path: Path) -> None:
        """dask has to derive its dtypes from one that numpy does not have."""
        with open_checkpoint(VGG.prefix) as ckpt:
            array = to_dask(ckpt.select(dtype="bfloat16"), chunk_nbytes=400)[FC6]
        expected = expected_array(VGG, FC6).astype(array.dtype)
        assert (array + array).dtype == array.dtype
        total = array.astype("float64").sum().compute()
        assert total == pytest.approx(expected.astype("float64").sum(), abs=1e-9)
        np.testing.assert_array_equal(array.max().compute(), expected.max())


class TestChunks:
    @pytest.mark.parametrize("chunk_nbytes", [1, 4, 48, 50, 287, 288, 300, 2016, 5000, 14112])
    def test_are_consecutive_and_small_enough(self, chunk_nbytes: int) -> None:
        array = to_dask(VGG.prefix, chunk_nbytes=chunk_nbytes)[FC6]
        if array.npartitions > 300:
            array = array[:1, :1, :, :]
        blocks = blocks_of(array)
        assert all(block.nbytes <= max(chunk_nbytes, 4) for block in blocks)
        expected = expected_array(VGG, FC6)[tuple(slice(size) for size in array.shape)]
        assert b"".join(block.tobytes() for block in blocks) == expected.tobytes()

    @pytest.mark.parametrize(
        ("text", "nbytes"), [("4 KiB", 4096), ("4kb", 4000), ("2.5 kB", 2500), ("3000", 3000)]
    )
    def test_texts(self, text: str, nbytes: int) -> None:
        by_text, by_number = (to_dask(VGG.prefix, chunk_nbytes=size) for size in (text, nbytes))
        assert by_text[FC6].chunks == by_number[FC6].chunks
        assert by_text[FC6].name == by_number[FC6].name

    @pytest.mark.parametrize("size", [0, -1, "0", "many", ""])
    def test_bad_sizes(self, size: int | str) -> None:
        with pytest.raises(ValueError, match=r"expected a size|a number of bytes"):
            to_dask(VGG.prefix, chunk_nbytes=size)

    def test_strings_and_records_are_one_chunk(self) -> None:
        for name in ("tf-2.21.0/strings", "tf-2.21.0/v1_slices_dtypes"):
            arrays = to_dask(load_case(name).path, chunk_nbytes=1)
            assert {array.npartitions for array in arrays.values()} == {1}

    def test_compressed_arrays_are_one_chunk(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "small.npz", w=np.arange(1000.0))
        np.savez(tmp_path / "plain.npz", w=np.arange(1000.0))
        assert to_dask(tmp_path / "small.npz", chunk_nbytes=800)["w"].npartitions == 1
        assert to_dask(tmp_path / "plain.npz", chunk_nbytes=800)["w"].npartitions == 10


class TestWhatATaskReads:
    """Counted at a file system of fsspec."""

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in VGG.folder.glob("model.ckpt.*")}

    def test_without_checksums_its_own_bytes(self) -> None:
        with counted(self.contents()) as ranges:
            with open_checkpoint("counted://model.ckpt", verify=False) as ckpt:
                array = to_dask(ckpt, chunk_nbytes=2016)[FC6]
            assert nbytes_read(ranges, "00001") == []
            np.testing.assert_array_equal(array.blocks[3].compute(), expected_array(VGG, FC6)[3:4])
            assert nbytes_read(ranges, "00001") == [2016]
            array[2, 1:3].compute()  # the index is passed on to the task
            assert nbytes_read(ranges, "00001") == [2 * 6 * 12 * 4]

    def test_with_checksums_the_whole_tensor_once(self) -> None:
        with counted(self.contents()) as ranges:
            array = to_dask("counted://model.ckpt", chunk_nbytes=2016)[FC6]
            array.blocks[3].compute()
            assert sorted(nbytes_read(ranges, "00001")) == [2016, 14112]
            array.compute()
            assert nbytes_read(ranges, "00001") == [2016] * 7

    def test_the_storage_is_asked_once_for_each_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not once for each tensor: at a URL, each question is a request."""
        asked = []
        version = RemoteFiles.version
        monkeypatch.setattr(
            RemoteFiles, "version", lambda files, path: asked.append(path) or version(files, path)
        )
        with counted(self.contents()):
            arrays = to_dask("counted://model.ckpt")
            assert len(asked) == len(set(asked)) == 2
            arrays[FC6].compute()
        assert len(asked) == 4

    def test_one_chunk_is_read_and_checked_together(self) -> None:
        with counted(self.contents()) as ranges:
            array = to_dask("counted://model.ckpt")[FC6]
            array.compute()
            assert nbytes_read(ranges, "00001") == [14112]

    def test_threads_check_a_tensor_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checks = []
        read_pieces = Checkpoint.read_pieces

        def read_slowly(ckpt: Checkpoint, names: list[str]) -> Iterator[Any]:
            checks.append(names)
            sleep(0.1)  # the other threads reach the check
            return read_pieces(ckpt, names)

        monkeypatch.setattr(Checkpoint, "read_pieces", read_slowly)
        array = to_dask(VGG.prefix, chunk_nbytes=288)[FC6]
        computed = array.compute(scheduler="threads", num_workers=4)
        np.testing.assert_array_equal(computed, expected_array(VGG, FC6))
        assert len(checks) == 1

    def test_files_without_checksums_are_not_read_for_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save(tmp_path / "m.safetensors", {"w": np.arange(100.0)})
        monkeypatch.delattr(Checkpoint, "read_pieces")
        array = to_dask(tmp_path / "m.safetensors", chunk_nbytes=80)["w"]
        assert array.npartitions == 10
        np.testing.assert_array_equal(array.compute(), np.arange(100.0))


class TestOpening:
    @pytest.fixture
    def openings(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The paths that are opened."""
        paths: list[str] = []
        monkeypatch.setattr(
            ckptparse.dask_arrays,
            "open_checkpoint",
            lambda path, **options: paths.append(path) or open_checkpoint(path, **options),
        )
        return paths

    def test_a_process_opens_a_checkpoint_once(self, openings: list[str]) -> None:
        arrays = to_dask(VGG.prefix)
        openings.clear()
        dask.compute(arrays)
        dask.compute(to_dask(VGG.prefix, chunk_nbytes=100)[FC6])
        assert len(openings) == 1 + 2  # one here, two in `to_dask`

    def test_a_bounded_number_stays_open(self, tmp_path: Path, openings: list[str]) -> None:
        for i in range(20):
            save_checkpoint(tmp_path / f"m{i}", {"w": np.float32([i])}, sync=False)
            assert to_dask(tmp_path / f"m{i}")["w"].compute() == [i]
        assert len(ckptparse.dask_arrays._opened) == ckptparse.dask_arrays._MOST_OPENED

    def test_tasks_open_the_latest_of_then(self, tmp_path: Path) -> None:
        """Not what the state file says when they run."""
        save_checkpoint(tmp_path / "m-1", {"w": np.float32([1])}, update_state=True)
        array = to_dask(tmp_path)["w"]
        save_checkpoint(tmp_path / "m-2", {"w": np.float32([2])}, update_state=True)
        assert array.compute() == [1]
        assert to_dask(tmp_path)["w"].compute() == [2]

    def test_relative_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_checkpoint(tmp_path / "m", {"w": np.float32([1])})
        monkeypatch.chdir(tmp_path)
        with open_checkpoint("m") as ckpt:
            monkeypatch.chdir("/")
            array = to_dask(ckpt)["w"]
        assert array.compute() == [1]

    def test_v1_and_v2_with_one_prefix(self) -> None:
        path = load_case("tf-2.21.0/v1_and_v2").path
        for format in ("v1", "v2"):
            with open_checkpoint(path, format=format) as ckpt:
                require_equal(to_dask(ckpt), ckpt)

    @pytest.mark.parametrize("scheduler", ["processes", "distributed"])
    def test_other_processes(self, tmp_path: Path, scheduler: str) -> None:
        if scheduler == "distributed":
            pytest.importorskip("distributed", reason="dask is installed without distributed")
        damaged = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(damaged) as ckpt:
            offset = ckpt.info(FC6).offset
        assert offset is not None
        flip_bit(f"{damaged}.data-00000-of-00001", offset + 9000)
        code = f"""
        import contextlib, dask, numpy as np
        from ckptparse import ChecksumError, open_checkpoint, to_dask

        if __name__ == "__main__":
            with contextlib.ExitStack() as stack:
                if {scheduler!r} == "distributed":
                    from distributed import Client, LocalCluster

                    cluster = LocalCluster(
                        n_workers=2, threads_per_worker=1, dashboard_address=None
                    )
                    stack.enter_context(cluster)
                    stack.enter_context(Client(cluster))
                else:
                    stack.enter_context(dask.config.set(scheduler="processes", num_workers=2))
                with open_checkpoint({str(VGG.prefix)!r}) as ckpt:
                    arrays = to_dask(ckpt.select(dtype="bfloat16"), chunk_nbytes=4000)
                    (computed,) = dask.compute(arrays)
                    for name, array in ckpt.select(dtype="bfloat16").items():
                        assert computed[name].dtype == array.dtype
                        assert computed[name].tobytes() == array.tobytes(), name
                arrays = to_dask({str(damaged)!r}, chunk_nbytes=4000)
                try:
                    arrays[{FC6!r}].compute()
                except ChecksumError as error:
                    print(type(error).__name__, error.tensor, arrays[{FC6!r}].name)
        """
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, script],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        name = to_dask(damaged, chunk_nbytes=4000)[FC6].name
        assert done.stdout.split() == ["ChecksumError", FC6, name], done.stderr


class TestFilesThatChange:
    def write(self, prefix: Path, value: float) -> None:
        save_checkpoint(prefix, {"w": np.full(100, value)}, overwrite=True, sync=False)

    @pytest.mark.parametrize("was_computed", [False, True], ids=["first", "again"])
    @pytest.mark.parametrize("suffix", ["ckpt", "npz", "safetensors"])
    def test_replaced(self, tmp_path: Path, suffix: str, was_computed: bool) -> None:
        path = tmp_path / f"m.{suffix}"
        save(path, {"w": np.full(100, 1.0)})
        array = to_dask(path, chunk_nbytes=80)["w"]
        if was_computed:
            assert array.compute().mean() == 1
        save(path, {"w": np.full(100, 2.0)}, overwrite=True)
        with pytest.raises(UnreadableError, match="call to_dask again"):
            array.compute()
        new = to_dask(path, chunk_nbytes=80)["w"]
        assert new.name != array.name
        assert new.compute().mean() == 2

    def test_changed_in_place_after_the_check(self, tmp_path: Path) -> None:
        """The checkpoint is open, and its checksum was compared: both are done again."""
        self.write(tmp_path / "m", 1)
        assert to_dask(tmp_path / "m", chunk_nbytes=80)["w"].compute().mean() == 1
        assert to_dask(tmp_path / "m")["w"].compute().mean() == 1
        data = tmp_path / "m.data-00000-of-00001"
        flip_bit(data, 400)
        os.utime(data, (1, 1))  # also where times of files are coarse
        for chunk_nbytes in (80, 8000):
            with pytest.raises(ChecksumError):
                to_dask(tmp_path / "m", chunk_nbytes=chunk_nbytes)["w"].compute()

    def test_replaced_between_opening_and_to_dask(self, tmp_path: Path) -> None:
        self.write(tmp_path / "m", 1)
        with open_checkpoint(tmp_path / "m") as ckpt:
            self.write(tmp_path / "m", 2)
            with pytest.raises(UnreadableError, match="replaced after it was opened"):
                to_dask(ckpt)

    @pytest.mark.parametrize("suffix", ["ckpt", "npz", "safetensors"])
    def test_replaced_while_to_dask_opens_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
    ) -> None:
        path = tmp_path / f"m.{suffix}"
        save(path, {"w": np.full(100, 1.0)})

        def open_and_replace(*args: Any, **options: Any) -> Checkpoint:
            opened = open_checkpoint(*args, **options)
            save(path, {"w": np.full(100, 2.0)}, overwrite=True)
            return opened

        with open_checkpoint(path) as ckpt, monkeypatch.context() as patch:
            patch.setattr(ckptparse.dask_arrays, "open_checkpoint", open_and_replace)
            array = to_dask(ckpt)["w"]
        with pytest.raises(UnreadableError, match="call to_dask again"):
            array.compute()

    @pytest.mark.parametrize("suffix", ["ckpt", "npz", "safetensors"])
    def test_replaced_after_a_task_that_failed(self, tmp_path: Path, suffix: str) -> None:
        """That task has opened the second version."""
        path = tmp_path / f"m.{suffix}"
        arrays = []
        for value in (1.0, 2.0, 3.0):
            save(path, {"w": np.full(100, value)}, overwrite=True)
            if arrays:
                with pytest.raises(UnreadableError, match="call to_dask again"):
                    arrays[0].compute()
            arrays.append(to_dask(path)["w"])
        assert arrays[2].compute().mean() == 3

    def write_v1_shard(self, folder: Path, shard: int, value: float) -> None:
        """Replace one of two files; it has one tensor, `w0` or `w1`."""
        name, values = f"w{shard}".encode(), np.full(4, value, "<f4").tobytes()
        new = folder / "new"
        new.write_bytes(
            table(
                [
                    (b"", contents(tensor_entry(name, (4,), FLOAT, [[None]]))),
                    (slice_key(name, [None]), record(bytes_field(FLOAT_VAL, values), name=name)),
                ]
            )
        )
        os.utime(new, (value, value))  # also where times of files are coarse
        os.replace(new, folder / f"m.ckpt-0000{shard}-of-00002")

    def test_a_file_of_v1_is_replaced_before_its_first_use(self, tmp_path: Path) -> None:
        """It was opened with the others, when a tensor of another file was computed."""
        for shard in (0, 1):
            self.write_v1_shard(tmp_path, shard, 1)
        old = to_dask(tmp_path / "m.ckpt")
        assert old["w0"].compute().tolist() == [1] * 4
        self.write_v1_shard(tmp_path, 1, 2)
        assert to_dask(tmp_path / "m.ckpt")["w1"].compute().tolist() == [2] * 4
        for name in old:  # each file may have slices of any tensor
            with pytest.raises(UnreadableError, match="call to_dask again"):
                old[name].compute()

    def test_replaced_at_a_url(self) -> None:
        """fsspec's memory has the time at which a file was made."""
        bucket = fsspec.filesystem("memory")
        for value in (1.0, 2.0):
            save_checkpoint("memory://dask/m", {"w": np.full(100, value)}, overwrite=True)
            if value == 1:
                array = to_dask("memory://dask/m", chunk_nbytes=80)["w"]
                assert array.compute().mean() == 1
        with pytest.raises(UnreadableError, match="call to_dask again"):
            array.compute()
        assert to_dask("memory://dask/m", chunk_nbytes=80)["w"].compute().mean() == 2
        bucket.rm("/dask", recursive=True)

    def test_a_missing_data_file(self, tmp_path: Path) -> None:
        self.write(tmp_path / "m", 1)
        (tmp_path / "m.data-00000-of-00001").unlink()
        array = to_dask(tmp_path / "m")["w"]
        with pytest.raises(MissingShardError):
            array.compute()

    def test_removed(self, tmp_path: Path) -> None:
        self.write(tmp_path / "m", 1)
        array = to_dask(tmp_path / "m")["w"]
        shutil.rmtree(tmp_path)
        with pytest.raises(CheckpointError):
            array.compute()

    def test_only_the_files_of_the_tensor_count(self, tmp_path: Path) -> None:
        tensors = {"a": np.arange(10.0), "b": np.arange(10.0)}
        save_checkpoint(tmp_path / "m", tensors, shard_nbytes=80)
        arrays = to_dask(tmp_path / "m")
        os.utime(tmp_path / "m.data-00000-of-00002", (1, 1))
        with pytest.raises(UnreadableError):
            arrays["a"].compute()
        assert arrays["b"].compute().sum() == 45


class TestNames:
    def test_of_equal_arrays_are_equal(self) -> None:
        first, second = to_dask(VGG.prefix), to_dask(VGG.prefix)
        assert [a.name for a in first.values()] == [a.name for a in second.values()]
        assert len({a.name for a in first.values()}) == len(first)

    def test_of_others_differ(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt, open_checkpoint(VGG.prefix, verify=False) as fast:
            arrays = [
                to_dask(ckpt)[FC6],
                to_dask(ckpt, chunk_nbytes=400)[FC6],
                to_dask(fast)[FC6],
                to_dask(ckpt.select(dtype="bfloat16"))[FC6],
                to_dask(ckpt.select(dtype="float64"))[FC6],
            ]
            renamed = to_dask(ckpt.select(rename={FC6: "w"}))["w"]
        assert len({array.name for array in arrays}) == len(arrays)
        assert renamed.name == arrays[0].name


class TestMappings:
    def test_a_selection(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            chosen = ckpt.select(include="*/fc6/*", dtype="bfloat16")
            again = chosen.select(rename={FC6: "w"}, dtype={"w": "float32"})
            arrays = to_dask(again, chunk_nbytes=1000)
            assert list(arrays) == list(again)
            for name, array in again.items():
                assert array.dtype == arrays[name].dtype
                np.testing.assert_array_equal(arrays[name].compute(), array)
                assert max(block.nbytes for block in blocks_of(arrays[name])) <= 1000

    def test_a_transform_is_refused(self) -> None:
        changed = open_checkpoint(VGG.prefix).select(transform={FC6: np.ravel})
        with pytest.raises(ValueError, match="apply it to the dask array"):
            to_dask(changed)

    def test_a_merge(self) -> None:
        merged = merge(VGG.prefix, PARTITIONED.path)
        arrays = to_dask(merged)
        np.testing.assert_array_equal(arrays[FC6].compute(), expected_array(VGG, FC6))
        np.testing.assert_array_equal(arrays[MATRIX].compute(), expected_array(PARTITIONED, MATRIX))

    def test_an_object_graph(self) -> None:
        with open_checkpoint(FIXTURES / "tf-2.13.1/backbone_head/model.ckpt") as ckpt:
            assert ckpt.object_graph is not None
            head = ckpt.object_graph.subtree("head")
            arrays = to_dask(head)
            assert list(arrays) == list(head)
            for name, array in arrays.items():
                np.testing.assert_array_equal(array.compute(), head[name])

    def test_what_is_computed_or_in_memory_is_refused(self) -> None:
        with pytest.raises(TypeError, match="'w' comes from dict, not from a checkpoint"):
            to_dask({"w": np.ones(3)})
        with pytest.raises(TypeError, match=r"use dask\.array\.from_array"):
            to_dask(merge({"w": np.ones(3)}))
        with pytest.raises(TypeError, match="comes from Average"):
            to_dask(average([VGG.prefix, VGG.prefix]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", case_names())
def test_every_fixture(name: str) -> None:
    path = load_case(name).path
    try:
        open_checkpoint(path).close()
    except CheckpointError as error:
        with pytest.raises(type(error)):
            to_dask(path)
        return
    for mmap in (True, False):
        with open_checkpoint(path, mmap=mmap) as ckpt:
            require_equal(to_dask(ckpt, chunk_nbytes=64), ckpt)
