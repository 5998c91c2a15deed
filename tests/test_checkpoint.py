"""The `Checkpoint` that `open_checkpoint` returns."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import ckptparse
from ckptparse import (
    Checkpoint,
    CheckpointError,
    CheckpointNotFoundError,
    ChecksumError,
    MissingShardError,
    NotACheckpointError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedError,
    open_checkpoint,
)
from support.builders import Partitioned, write_bundle
from support.counting import DESCRIPTORS, num_descriptors
from support.damage import copy_case, flip_bit
from support.ids import index_id
from support.oracle import FC6, MATRIX, PARTITIONED, VGG, expected_array, load_case, payload_of
from support.repository import FIXTURES


@pytest.fixture
def ckpt():
    with open_checkpoint(VGG.prefix) as ckpt:
        yield ckpt


class TestPaths:
    @pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001", ".meta"])
    def test_prefix_or_any_file_of_it(self, suffix: str) -> None:
        with open_checkpoint(f"{VGG.prefix}{suffix}") as ckpt:
            assert ckpt.path == str(VGG.prefix)
            assert len(ckpt) == 34

    def test_pathlike(self) -> None:
        assert len(open_checkpoint(VGG.prefix)) == 34

    def test_relative_to_the_working_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(VGG.folder)
        assert len(open_checkpoint("model.ckpt")) == 34

    @pytest.mark.parametrize("name", ["br[1]ack", "st*r", "qu?estion", "%s {x}", "é漢", "a b"])
    def test_a_path_is_literal(self, tmp_path: Path, name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        prefix = copy_case("tf-2.21.0/single_scalar", folder)
        assert len(open_checkpoint(prefix)) == 1

    @pytest.mark.parametrize("name", ["model.index", "model.meta", "model.data-00000-of-00001"])
    def test_a_prefix_that_looks_like_a_part(self, tmp_path: Path, name: str) -> None:
        prefix = copy_case("tf-2.21.0/single_scalar", tmp_path)
        for part in (".index", ".data-00000-of-00001"):
            os.rename(f"{prefix}{part}", tmp_path / (name + part))
        assert len(open_checkpoint(tmp_path / name)) == 1

    def test_not_found_says_what_was_looked_for_and_what_is_there(self) -> None:
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(VGG.folder / "modle.ckpt")
        assert f"{VGG.folder / 'modle.ckpt'}.index" in str(error.value)
        assert "model.ckpt" in str(error.value)
        assert isinstance(error.value, FileNotFoundError)

    def test_no_such_directory(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointNotFoundError, match="no directory"):
            open_checkpoint(tmp_path / "nowhere" / "model.ckpt")

    def test_a_data_file_without_an_index(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/single_scalar", tmp_path)
        os.unlink(f"{prefix}.index")
        with pytest.raises(CheckpointNotFoundError, match=r"model\.ckpt\.index"):
            open_checkpoint(f"{prefix}.data-00000-of-00001")

    def test_a_directory_as_index(self, tmp_path: Path) -> None:
        (tmp_path / "model.ckpt.index").mkdir()
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(tmp_path / "model.ckpt")

    def test_a_directory_as_shard(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/single_scalar", tmp_path)
        shard = Path(f"{prefix}.data-00000-of-00001")
        shard.unlink()
        shard.mkdir()
        with open_checkpoint(prefix) as ckpt, pytest.raises(NotACheckpointError) as error:
            ckpt[next(iter(ckpt))]
        assert error.value.file == str(shard)


class TestMapping:
    def test_is_a_mapping_of_str(self, ckpt: Checkpoint) -> None:
        assert isinstance(ckpt, Mapping)
        assert all(type(name) is str for name in ckpt)
        assert list(ckpt.keys()) == [name for name, _ in ckpt.items()]
        assert len(list(ckpt.values())) == len(ckpt) == 34

    def test_contains(self, ckpt: Checkpoint) -> None:
        assert FC6 in ckpt
        assert "fc6" not in ckpt
        assert "" not in ckpt
        assert "zzz, behind all keys" not in ckpt
        assert "\ud800 is in no key" not in ckpt
        assert b"vgg_16/fc6/weights" not in ckpt
        assert None not in ckpt

    def test_get(self, ckpt: Checkpoint) -> None:
        assert ckpt.get("fc6") is None
        assert ckpt.get(FC6) is not None

    def test_missing_names_the_nearest(self, ckpt: Checkpoint) -> None:
        with pytest.raises(TensorNotFoundError) as error:
            ckpt["vgg_16/fc6/weight"]
        assert FC6 in str(error.value)
        assert isinstance(error.value, KeyError)

    def test_missing_because_of_the_graphs_suffix(self, ckpt: Checkpoint) -> None:
        with pytest.raises(TensorNotFoundError, match=f"most similar of 34 names: {FC6}"):
            ckpt.info(f"{FC6}:0")

    def test_equal_only_to_itself(self, ckpt: Checkpoint) -> None:
        with open_checkpoint(VGG.prefix) as other:
            assert ckpt == ckpt
            assert ckpt != other
            assert len({ckpt, other}) == 2

    def test_repr(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            assert repr(ckpt) == f"<Checkpoint {str(VGG.prefix)!r} (v2)>"
        assert repr(ckpt).startswith("<closed Checkpoint")

    def test_repr_in_a_notebook(self, ckpt: Checkpoint) -> None:
        html = ckpt._repr_html_()
        assert "34 tensors" in html
        assert "and 14 tensors more" in html
        assert "<td>[3,3,3,4]</td>" in html
        with open_checkpoint(load_case("tf-2.21.0/names").prefix) as odd:
            assert "\x1b" not in odd._repr_html_()
            assert "<script" not in odd._repr_html_()
        assert odd._repr_html_() is None

    def test_attributes(self, ckpt: Checkpoint) -> None:
        assert ckpt.format == "v2"
        assert ckpt.path == str(VGG.prefix)


class TestArrays:
    def test_read_only(self, ckpt: Checkpoint) -> None:
        with pytest.raises(ValueError, match="read-only"):
            ckpt[FC6][0] = 1

    def test_a_view_over_the_mapped_shard(self, ckpt: Checkpoint) -> None:
        first, second = ckpt[FC6], ckpt[FC6]
        assert ckpt.info(FC6).mapped
        assert np.shares_memory(first, second)
        assert np.shares_memory(first, ckpt.read(FC6, np.s_[:, :, 0]))

    def test_without_a_map_a_copy(self) -> None:
        with open_checkpoint(VGG.prefix, mmap=False) as ckpt:
            assert not ckpt.info(FC6).mapped
            assert not np.shares_memory(ckpt[FC6], ckpt[FC6])
            assert not ckpt[FC6].flags.writeable

    def test_scalars_are_arrays(self, ckpt: Checkpoint) -> None:
        step = ckpt["global_step"]
        assert isinstance(step, np.ndarray)
        assert step.shape == ()
        assert isinstance(ckpt.read("vgg_16/mean_rgb", 1), np.ndarray)
        assert ckpt.read("vgg_16/mean_rgb", 1).shape == ()

    def test_partitioned_is_assembled_anew(self) -> None:
        with open_checkpoint(PARTITIONED.prefix) as ckpt:
            info = ckpt.info(MATRIX)
            assert len(info.slices) == 3
            assert not info.mapped
            first, second = ckpt[MATRIX], ckpt[MATRIX]
        assert not np.shares_memory(first, second)
        for piece in info.slices:
            assert first[piece.index].shape == piece.shape
        assert info.nbytes == first.nbytes

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize(
        "index",
        [
            np.s_[...],
            np.s_[:, :, 0],
            np.s_[3],
            np.s_[-1, 2:5, ::-2, None, 1:],
            np.s_[6:2:-3, ..., 4],
            np.s_[:0],
            np.s_[[0, 2, 2], :, [1]],
            np.s_[np.array([True, False] * 3 + [True])],
        ],
        ids=index_id,
    )
    def test_read_takes_what_numpy_takes(self, mmap: bool, index) -> None:
        with open_checkpoint(VGG.prefix, mmap=mmap) as ckpt:
            part = ckpt.read(FC6, index)
        np.testing.assert_array_equal(part, expected_array(VGG, FC6)[index])
        assert part.shape == expected_array(VGG, FC6)[index].shape
        assert not part.flags.writeable

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize("index", [([0], 99), ([0, 1], -50), (99, [0]), ([10], 0), (0, [-5])])
    def test_an_index_that_does_not_fit_slices(self, mmap: bool, index) -> None:
        with open_checkpoint(PARTITIONED.prefix, mmap=mmap) as ckpt:
            assert ckpt.info(MATRIX).shape == (10, 4)
            with pytest.raises(IndexError):
                ckpt.read(MATRIX, index)

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize("index", [np.s_[7], np.s_[0, 0, 0, 0, 0], np.s_[[9]], np.s_[..., 99]])
    def test_an_index_that_does_not_fit(self, mmap: bool, index) -> None:
        with open_checkpoint(VGG.prefix, mmap=mmap) as ckpt, pytest.raises(IndexError):
            ckpt.read(FC6, index)

    def test_outlive_close_and_the_checkpoint(self) -> None:
        ckpt = open_checkpoint(VGG.prefix)
        array = ckpt[FC6]
        ckpt.close()
        del ckpt
        gc.collect()
        np.testing.assert_array_equal(array, expected_array(VGG, FC6))

    def test_pickle_and_copy_like_any_array(self, ckpt: Checkpoint) -> None:
        array = pickle.loads(pickle.dumps(ckpt[FC6]))
        np.testing.assert_array_equal(array, ckpt[FC6])


class TestClosing:
    def test_a_closed_checkpoint_says_so(self) -> None:
        ckpt = open_checkpoint(VGG.prefix)
        ckpt.close()
        ckpt.close()
        with pytest.raises(ValueError, match="closed"):
            ckpt[FC6]
        with pytest.raises(ValueError, match="closed"):
            len(ckpt)

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize("case_name", ["vgg_16", "v1_vgg_16"])
    def test_verify_does_not_go_on_after_closing(self, case_name: str, mmap: bool) -> None:
        calls = []

        def close(done: int, total: int) -> None:
            calls.append(done)
            ckpt.close()

        ckpt = open_checkpoint(load_case(f"tf-1.15.5/{case_name}").path, mmap=mmap)
        with pytest.raises(ValueError, match="closed") as error:
            ckpt.verify(progress=close)
        assert not isinstance(error.value, CheckpointError)
        assert len(calls) == 1

    @pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
    @pytest.mark.parametrize("mmap", [True, False])
    def test_no_descriptor_stays_open(self, mmap: bool) -> None:
        before = num_descriptors()
        for _ in range(3):
            with open_checkpoint(VGG.prefix, mmap=mmap) as ckpt:
                ckpt.verify()
        open_checkpoint(VGG.prefix, mmap=mmap)[FC6]  # never closed, and forgotten
        assert num_descriptors() == before


class TestCopies:
    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize(
        "how", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
    )
    def test_a_copy_is_opened_anew(self, how, mmap: bool, monkeypatch, tmp_path) -> None:
        monkeypatch.chdir(VGG.folder)
        with open_checkpoint("model.ckpt", mmap=mmap) as ckpt:
            ckpt[FC6]
            monkeypatch.chdir(tmp_path)
            with how(ckpt) as other:
                ckpt.close()
                np.testing.assert_array_equal(other[FC6], expected_array(VGG, FC6))
                assert other.info(FC6).mapped == mmap

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the working directory")
    def test_without_a_working_directory(self, monkeypatch, tmp_path) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        with open_checkpoint(VGG.prefix) as ckpt:
            np.testing.assert_array_equal(ckpt[FC6], expected_array(VGG, FC6))

    def test_a_relative_path_stays_where_it_was(self, monkeypatch, tmp_path) -> None:
        monkeypatch.chdir(VGG.folder)
        with open_checkpoint("model.ckpt") as ckpt:
            monkeypatch.chdir(tmp_path)
            np.testing.assert_array_equal(ckpt[FC6], expected_array(VGG, FC6))


class TestChecksums:
    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        """vgg_16 with one bit of fc6/weights flipped."""
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            info = ckpt.info(FC6)
        flip_bit(info.file, info.offset + 5)
        return prefix

    @pytest.mark.parametrize("mmap", [True, False])
    def test_damage_is_an_error_at_first_access(self, damaged: Path, mmap: bool) -> None:
        with open_checkpoint(damaged, mmap=mmap) as ckpt:
            for index in (..., np.s_[-1]):
                with pytest.raises(ChecksumError) as error:
                    ckpt.read(FC6, index)
            assert error.value.tensor == FC6
            assert error.value.file == f"{damaged}.data-00000-of-00001"
            assert error.value.offset == ckpt.info(FC6).offset
            assert "expected: 0x" in str(error.value)
            assert "found: 0x" in str(error.value)
            np.testing.assert_array_equal(
                ckpt["vgg_16/mean_rgb"], expected_array(VGG, "vgg_16/mean_rgb")
            )

    def test_unverified_gives_the_bytes_as_they_are(self, damaged: Path) -> None:
        with open_checkpoint(damaged, verify=False) as ckpt:
            wrong = ckpt[FC6].tobytes()
        right = expected_array(VGG, FC6).tobytes()
        assert [i for i in range(len(right)) if wrong[i] != right[i]] == [5]

    def test_checked_once(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            array = ckpt[FC6]
            info = ckpt.info(FC6)
            flip_bit(info.file, info.offset)
            ckpt[FC6]  # not checked again
            assert not ckpt.verify([FC6]).ok  # unless asked to
            assert array.tobytes() != expected_array(VGG, FC6).tobytes()  # a view of the file

    def test_verify_reports_every_damage(self, damaged: Path) -> None:
        with open_checkpoint(damaged) as ckpt:
            info = ckpt.info("vgg_16/mean_rgb")
            flip_bit(info.file, info.offset + info.nbytes - 1)
            seen = []
            report = ckpt.verify(progress=lambda *now: seen.append(now))
            total = sum(info.nbytes for info in ckpt.infos())
        assert not report.ok
        assert {damage.name for damage in report.damaged} == {FC6, "vgg_16/mean_rgb"}
        assert all(isinstance(damage.error, ChecksumError) for damage in report.damaged)
        assert report.num_tensors == 34
        assert report.nbytes == total
        assert len(seen) == 34
        assert seen[-1] == (total, total)

    def test_verify_goes_on_after_damage_anywhere(self, tmp_path: Path) -> None:
        """Damage in a V1 record, and in an index block that holds slices."""
        prefix = copy_case("tf-2.21.0/v1_blocks", tmp_path)
        data = prefix.read_bytes()
        flip_bit(prefix, len(data) // 2)
        with open_checkpoint(prefix) as ckpt:
            report = ckpt.verify()
            assert len(report.damaged) == 1
            assert report.num_tensors == len(ckpt)
            assert ckpt.infos()
        array = np.arange(40, dtype="f4")
        sliced = Partitioned(array, [[(i, 4)] for i in range(0, 40, 4)])
        prefix = write_bundle(
            tmp_path, {"p": sliced, "w": array}, name="v2", entries_per_block=4, crc_xors={1: 1}
        )
        with open_checkpoint(prefix) as ckpt:
            report = ckpt.verify()
            assert [damage.name for damage in report.damaged] == [None, "p"]
            assert report.num_tensors == 2
            assert not ckpt.verify(["p", "w"]).ok
            assert ckpt.verify(["w"]).ok

    def test_a_name_in_place_of_names(self) -> None:
        """A string is an iterable of strings, each of which could be a name."""
        with open_checkpoint(FIXTURES / "tf-2.13.1/backbone_head/model.ckpt") as ckpt:
            for tensors in (ckpt, ckpt.select(), ckpt.object_graph):
                with pytest.raises(TypeError, match=r"expected a list of names.*: \['b'\]"):
                    list(tensors.read_each("b"))
            for name in ("b", b"b"):
                with pytest.raises(TypeError, match="expected a list of names"):
                    ckpt.verify(name)

    def test_verify_some(self, damaged: Path) -> None:
        with open_checkpoint(damaged) as ckpt:
            assert ckpt.verify(["global_step"]).ok
            assert not ckpt.verify([FC6, "global_step"]).ok
            with pytest.raises(TensorNotFoundError):
                ckpt.verify(["no such name"])

    @pytest.mark.parametrize("mmap", [True, False])
    def test_a_damaged_slice_hurts_only_those_who_need_it(self, tmp_path: Path, mmap: bool) -> None:
        prefix = copy_case("tf-2.21.0/max_shard_size", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            whole = ckpt[MATRIX]
            first, *_, last = ckpt.info(MATRIX).slices
        flip_bit(last.file, last.offset)
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            np.testing.assert_array_equal(ckpt.read(MATRIX, first.index), whole[first.index])
            with pytest.raises(ChecksumError) as error:
                ckpt.read(MATRIX, last.index)
            assert error.value.tensor == MATRIX
            with pytest.raises(ChecksumError):
                ckpt[MATRIX]
            assert [damage.name for damage in ckpt.verify().damaged] == [MATRIX]

    def test_strings(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/strings", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            info = ckpt.info("cube")
        flip_bit(info.file, info.offset + info.nbytes - 1)
        with open_checkpoint(prefix) as ckpt, pytest.raises(ChecksumError):
            ckpt["cube"]
        with open_checkpoint(prefix, verify=False) as ckpt:
            assert ckpt["cube"].shape == info.shape

    def test_variants_are_verified_though_not_readable(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/variants", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            info = ckpt.info("lists")
            with pytest.raises(UnsupportedError, match="variant"):
                ckpt["lists"]
        flip_bit(info.file, info.offset + info.nbytes // 2)
        with open_checkpoint(prefix) as ckpt:
            assert [damage.name for damage in ckpt.verify().damaged] == ["lists"]


class TestShards:
    def test_a_missing_shard_is_named_when_it_is_needed(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/max_shard_size", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            whole = ckpt[MATRIX]
            first, *_, last = ckpt.info(MATRIX).slices
        os.unlink(last.file)
        with open_checkpoint(prefix) as ckpt:
            assert MATRIX in ckpt
            np.testing.assert_array_equal(ckpt.read(MATRIX, first.index), whole[first.index])
            with pytest.raises(MissingShardError) as error:
                ckpt[MATRIX]
            assert error.value.file == last.file
            assert isinstance(error.value, FileNotFoundError)
            assert MATRIX in {damage.name for damage in ckpt.verify().damaged}

    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize("keep", [0, 1, 100])
    def test_a_truncated_shard(self, tmp_path: Path, mmap: bool, keep: int) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        os.truncate(f"{prefix}.data-00000-of-00001", keep)
        with open_checkpoint(prefix, mmap=mmap) as ckpt, pytest.raises(TruncatedError) as error:
            ckpt[FC6]
        assert f"a file of {keep} bytes" in str(error.value)

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows does not shorten mapped files")
    @pytest.mark.parametrize("mmap", [True, False])
    def test_shortened_while_open(self, tmp_path: Path, mmap: bool) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            ckpt[FC6]
            os.truncate(f"{prefix}.data-00000-of-00001", 100)
            with pytest.raises(TruncatedError):
                ckpt[FC6]

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows does not shorten mapped files")
    @pytest.mark.parametrize("mmap", [True, False])
    def test_a_v1_file_shortened_while_open(self, tmp_path: Path, mmap: bool) -> None:
        """Even a block that was read before is checked: its pages may be gone."""
        prefix = copy_case("tf-1.15.5/v1_vgg_16", tmp_path)
        with open_checkpoint(prefix, mmap=mmap) as ckpt:
            before = ckpt[FC6].copy()
            os.truncate(prefix, 100)
            if mmap:
                with pytest.raises(TruncatedError):
                    ckpt[FC6]
            else:  # a small block was copied, and is kept
                np.testing.assert_array_equal(ckpt[FC6], before)

    def test_a_git_lfs_pointer_as_shard(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
        Path(f"{prefix}.data-00000-of-00001").write_text(pointer)
        with open_checkpoint(prefix) as ckpt, pytest.raises(TruncatedError, match="git-lfs"):
            ckpt[FC6]


class TestSharing:
    def test_many_threads(self) -> None:
        case = load_case("tf-2.21.0/slices_dtypes")
        with open_checkpoint(case.prefix) as ckpt, ThreadPoolExecutor(8) as pool:
            arrays = pool.map(lambda tensor: payload_of(ckpt[tensor.name]), case.tensors * 8)
            for tensor, payload in zip(case.tensors * 8, arrays):
                assert payload == tensor.payload

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    @pytest.mark.parametrize("mmap", [True, False])
    def test_after_a_fork(self, mmap: bool) -> None:
        with open_checkpoint(VGG.prefix, mmap=mmap) as ckpt:
            ckpt["global_step"]
            child = os.fork()
            if child == 0:
                same = np.array_equal(ckpt[FC6], expected_array(VGG, FC6))
                os._exit(0 if same and len(ckpt) == 34 else 1)
            np.testing.assert_array_equal(ckpt[FC6], expected_array(VGG, FC6))
            assert os.waitpid(child, 0)[1] == 0


def test_fixtures_are_not_written_to() -> None:
    """The tests above damage copies; the fixtures are still as the manifest says."""
    assert payload_of(open_checkpoint(VGG.prefix)[FC6]) == expected_array(VGG, FC6).tobytes()
    assert FIXTURES.is_dir()
    assert ckptparse.__version__
