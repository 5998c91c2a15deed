"""The traps of the V2 format, by their numbers in docs/formats/traps.md, one test each.

Files that TensorFlow can write come from fixtures/; others are built field by field.
"""

from __future__ import annotations

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from ckptparse import (
    CheckpointNotFoundError,
    ChecksumError,
    CorruptCheckpointError,
    MissingShardError,
    NotACheckpointError,
    TensorNotFoundError,
    UnsupportedError,
    open_checkpoint,
)
from support.builders import (
    Bundle,
    Partitioned,
    bundle_entry,
    bundle_header,
    masked_crc32c,
    slice_key,
    string_payload,
    write_bundle,
)
from support.damage import copy_case
from support.oracle import load_case, payload_of

NAME = "x"


def assert_reads_as_tensorflow(case_name: str, *names: str) -> None:
    """Check that tensors (all, if no names are given) have the bytes that TensorFlow read."""
    case = load_case(case_name)
    tensors = [t for t in case.tensors if not names or t.name in names]
    assert len(tensors) == len(names) or not names
    with open_checkpoint(case.prefix) as ckpt:
        for tensor in tensors:
            assert payload_of(ckpt[tensor.name]) == tensor.payload


def test_trap_1_index_block_keys_are_separators_not_names() -> None:
    case = load_case("tf-2.21.0/many")
    assert os.path.getsize(f"{case.prefix}.index") > 2 * 262_144 // 2
    with open_checkpoint(case.prefix) as ckpt:
        assert list(ckpt) == [tensor.name for tensor in case.tensors]
        for tensor in case.tensors[:: len(case.tensors) // 50]:
            assert payload_of(ckpt[tensor.name]) == tensor.payload


def test_trap_3_a_user_tensor_may_begin_with_nul(tmp_path: Path) -> None:
    case = load_case("tf-2.21.0/names")
    with open_checkpoint(case.prefix) as ckpt:
        assert "\x00" in ckpt
        assert next(iter(ckpt)) == "\x00"
    # ... even one that looks like the slice of a tensor which is not sliced, or not there.
    key = slice_key(b"w", [(0, 2)])
    for others in ({}, {"w": np.ones(4, "f4")}):
        prefix = write_bundle(tmp_path, {key: np.zeros(2, "f4"), **others})
        with open_checkpoint(prefix) as ckpt:
            name = key.decode("utf-8", "surrogateescape")
            assert list(ckpt) == [name, *others]
            assert ckpt[name].tolist() == [0, 0]


def test_trap_4_a_whole_dimension_and_the_full_range_have_different_keys() -> None:
    assert_reads_as_tensorflow("tf-2.21.0/slices", "rows", "rows_explicit", "rows_both_ways")


def test_trap_5_an_empty_extent_is_the_whole_dimension() -> None:
    assert_reads_as_tensorflow("tf-2.21.0/slices", "columns", "cube_middle_axis")


def test_trap_6_zero_sizes_and_scalars_both_look_like_nothing() -> None:
    with open_checkpoint(load_case("tf-2.21.0/dtypes").prefix) as ckpt:
        assert ckpt["float32/empty_0_4"].shape == (0, 4)
        assert ckpt["float32/empty_3_0_2"].shape == (3, 0, 2)
        assert ckpt["float32/scalar"].shape == ()


def test_trap_7_a_sliced_entry_has_no_place_of_its_own(tmp_path: Path) -> None:
    array = np.arange(4, dtype="f4")
    sliced = Partitioned(array, [[(0, 2)], [(2, 2)]])

    def give_it_a_place(bundle: Bundle) -> None:
        slices = [[(0, 2)], [(2, 2)]]
        bundle.index[b"x"] = bundle_entry(
            1, (4,), shard_id=7, offset=10**9, size=3, crc=5, slices=slices
        )

    prefix = write_bundle(tmp_path, {NAME: sliced}, edit=give_it_a_place)
    with open_checkpoint(prefix) as ckpt:
        assert ckpt[NAME].tolist() == array.tolist()
        assert ckpt.info(NAME).offset is None
        assert ckpt.verify().ok


def test_trap_8_slices_on_several_axes_and_ragged() -> None:
    assert_reads_as_tensorflow("tf-2.21.0/slices", "grid", "ragged", "pinwheel", "cube")
    assert_reads_as_tensorflow("tf-2.21.0/max_shard_size")


@pytest.mark.parametrize(
    ("case_name", "words"),
    [("tf-2.21.0/slices_missing", "do not cover"), ("tf-2.21.0/slices_overlapping", "overlap")],
)
def test_trap_9_holes_and_overlaps_are_errors_at_access(case_name: str, words: str) -> None:
    case = load_case(case_name)
    refused = [tensor.name for tensor in case.tensors if tensor.read_by is None]
    assert refused
    with open_checkpoint(case.prefix) as ckpt:
        assert set(refused) < set(ckpt)  # listed all the same
        assert "good" in ckpt
        for name in refused:
            for read in (lambda name: ckpt[name], lambda name: ckpt.read(name, np.s_[:1])):
                with pytest.raises(CorruptCheckpointError, match=r"do not cover|overlap") as error:
                    read(name)
            assert error.value.tensor == name
    said = " ".join(error["text"] for error in case.errors)
    assert ("sufficient" if "cover" in words else "Overlapping") in said


def test_trap_10_arrays_may_be_misaligned() -> None:
    assert_reads_as_tensorflow("tf-2.21.0/misaligned")
    with open_checkpoint(load_case("tf-2.21.0/misaligned").prefix) as ckpt:
        array = ckpt["b0/float32"]
        assert ckpt.info("b0/float32").offset == 1
        assert not array.flags.aligned
        assert array.sum() == array.copy().sum()


def test_trap_11_an_empty_data_file() -> None:
    case = load_case("tf-2.21.0/zero_elements_only")
    assert os.path.getsize(f"{case.prefix}.data-00000-of-00001") == 0
    for mmap in (True, False):
        with open_checkpoint(case.prefix, mmap=mmap) as ckpt:
            assert {array.size for array in ckpt.values()} == {0}
            assert ckpt.verify().ok


def test_trap_12_no_strings_take_4_bytes_no_floats_none() -> None:
    case = load_case("tf-2.21.0/strings")
    with open_checkpoint(case.prefix) as ckpt:
        assert ckpt.info("zero_elements").nbytes == 4
        assert ckpt["zero_elements"].shape == (0,)
    with open_checkpoint(load_case("tf-2.21.0/dtypes").prefix) as ckpt:
        assert ckpt.info("float32/empty_0").nbytes == 0


def test_trap_13_the_checksum_of_strings_is_not_that_of_their_bytes() -> None:
    case = load_case("tf-2.21.0/strings")
    assert_reads_as_tensorflow("tf-2.21.0/strings")
    with open_checkpoint(case.prefix) as ckpt:
        assert ckpt.verify().ok


@pytest.mark.parametrize("part", ["length", "checksum of lengths", "bytes"])
def test_trap_13_every_part_of_a_string_tensor_is_checked(tmp_path: Path, part: str) -> None:
    payload, _ = string_payload([b"ab", b"cde"])
    place = {"length": 0, "checksum of lengths": 2, "bytes": len(payload) - 1}[part]

    def flip(bundle: Bundle) -> None:
        bundle.shards[0][place] ^= 1

    prefix = write_bundle(tmp_path, {NAME: [b"ab", b"cde"]}, edit=flip)
    with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError):
        ckpt[NAME]


def test_trap_14_variants_hash_their_lengths_as_64_bits() -> None:
    with open_checkpoint(load_case("tf-2.21.0/variants").prefix) as ckpt:
        assert ckpt.info("list").tensorflow_dtype == "variant"
        report = ckpt.verify()
        assert report.ok
        assert report.unchecked == ()


@pytest.mark.parametrize("crc", [0, None], ids=["zero", "absent"])
def test_trap_15_a_stored_checksum_of_0_is_a_checksum(tmp_path: Path, crc: int | None) -> None:
    def damage(bundle: Bundle) -> None:
        bundle.index[b"x"] = bundle_entry(1, (2,), size=8, crc=crc)

    prefix = write_bundle(tmp_path, {NAME: np.ones(2, "f4")}, edit=damage)
    with open_checkpoint(prefix) as ckpt, pytest.raises(ChecksumError):
        ckpt[NAME]


@pytest.mark.parametrize("mmap", [True, False])
def test_trap_16_offsets_past_4_gib(tmp_path: Path, mmap: bool) -> None:
    far = 2**32 + 16
    array = np.arange(3, dtype="f8")

    def move(bundle: Bundle) -> None:
        crc = masked_crc32c(array.tobytes())
        bundle.index[b"x"] = bundle_entry(2, (3,), offset=far, size=24, crc=crc)

    prefix = write_bundle(tmp_path, {NAME: array}, edit=move)
    with open(f"{prefix}.data-00000-of-00001", "r+b") as file:  # sparse: takes no space
        file.seek(far)
        file.write(array.tobytes())
    with open_checkpoint(prefix, mmap=mmap) as ckpt:
        assert ckpt.info(NAME).offset == far
        assert ckpt[NAME].tolist() == [0, 1, 2]


def test_trap_17_names_that_are_not_utf8() -> None:
    case = load_case("tf-2.21.0/names_not_utf8")
    with open_checkpoint(case.prefix) as ckpt:
        strange = [name for name in ckpt if any("\udc80" <= char <= "\udcff" for char in name)]
        assert strange
        for name in strange:
            assert name in ckpt
            assert ckpt.info(name).name == name
    assert_reads_as_tensorflow("tf-2.21.0/names_not_utf8")
    assert_reads_as_tensorflow("tf-2.21.0/slices_name_not_utf8")


def test_trap_18_an_index_of_nothing_but_a_header() -> None:
    with open_checkpoint(load_case("tf-2.21.0/header_only").prefix) as ckpt:
        assert list(ckpt) == []
        assert ckpt.infos() == []
        assert ckpt.verify().ok
        assert "" not in ckpt


def test_trap_19_an_index_path_does_not_open_as_empty() -> None:
    with open_checkpoint(f"{load_case('tf-1.15.5/vgg_16').prefix}.index") as ckpt:
        assert len(ckpt) == 34


def test_trap_28_data_order_is_not_key_order() -> None:
    case = load_case("tf-2.21.0/keras_checkpoint")
    with open_checkpoint(case.prefix) as ckpt:
        offsets = [info.offset for info in ckpt.infos()]
    assert offsets != sorted(offsets)
    assert_reads_as_tensorflow("tf-2.21.0/keras_checkpoint")


def test_trap_29_the_object_graph_is_a_string_tensor() -> None:
    with open_checkpoint(load_case("tf-2.21.0/keras_checkpoint").prefix) as ckpt:
        graph = ckpt["_CHECKPOINTABLE_OBJECT_GRAPH"]
    assert graph.shape == ()
    assert graph.item()[:1] == b"\n"  # field 1: the nodes


def test_trap_33_slices_of_strings() -> None:
    assert_reads_as_tensorflow("tf-2.21.0/max_shard_size", "texts/.ATTRIBUTES/VARIABLE_VALUE")


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2", "float4_e2m1fn"])
def test_trap_34_small_types_take_a_byte_each(dtype: str) -> None:
    with open_checkpoint(load_case("tf-2.21.0/dtypes").prefix) as ckpt:
        info = ckpt.info(f"{dtype}/vector")
        assert info.nbytes == info.size
        assert ckpt[f"{dtype}/vector"].dtype == np.dtype(getattr(ml_dtypes, dtype))


def test_trap_34_high_bits_of_small_types_do_not_matter(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path, {NAME: np.array([0xFE, 0x0E, 0x71], "u1").view(ml_dtypes.int4)})
    with open_checkpoint(prefix) as ckpt:
        assert ckpt[NAME].astype(int).tolist() == [-2, -2, 1]


def test_trap_35_a_dtype_of_the_future_is_listed_and_refused(tmp_path: Path) -> None:
    def from_the_future(bundle: Bundle) -> None:
        bundle.index[b"new"] = bundle_entry(34, (2,), size=2, crc=1)

    prefix = write_bundle(tmp_path, {NAME: np.ones(2, "f4")}, edit=from_the_future)
    with open_checkpoint(prefix) as ckpt:
        assert list(ckpt) == ["new", "x"]
        assert "34" in ckpt.info("new").tensorflow_dtype
        with pytest.raises(UnsupportedError, match="unknown dtype 34"):
            ckpt["new"]
        assert ckpt[NAME].tolist() == [1, 1]
        assert ckpt.verify().unchecked == ("new",)


def test_trap_35_unknown_fields_are_skipped() -> None:
    assert_reads_as_tensorflow("tf-2.21.0/unknown_fields")


def test_trap_37_a_damaged_index_block_never_just_loses_names(tmp_path: Path) -> None:
    tensors = {f"scope/v{i:03d}": np.full(2, i, "f4") for i in range(60)}
    prefix = write_bundle(tmp_path, tensors, entries_per_block=10, crc_xors={3: 1})
    with open_checkpoint(prefix) as ckpt:
        for listing in (list, len, lambda ckpt: ckpt.infos()):
            with pytest.raises(ChecksumError) as error:
                listing(ckpt)
        assert error.value.file == f"{prefix}.index"
        assert ckpt["scope/v059"].tolist() == [59, 59]  # behind another block: unharmed
        with pytest.raises(ChecksumError):
            ckpt["scope/v032"]
        with pytest.raises(ChecksumError):
            "scope/v032" in ckpt  # noqa: B015  # the question itself has no answer
        with pytest.raises(TensorNotFoundError):
            ckpt["scope/v059x"]  # what is certain is certain
        report = ckpt.verify()
        assert [damage.name for damage in report.damaged] == [None]
        assert report.num_tensors == 50


def test_trap_44_shard_numbers_have_five_digits_or_more(tmp_path: Path) -> None:
    def spread(bundle: Bundle) -> None:
        bundle.index[b""] = bundle_header(100_001)
        crc = masked_crc32c(np.ones(2, "f4").tobytes())
        bundle.index[b"x"] = bundle_entry(1, (2,), shard_id=100_000, size=8, crc=crc)

    prefix = write_bundle(tmp_path, {NAME: np.ones(2, "f4")}, edit=spread)
    with open_checkpoint(prefix) as ckpt:
        with pytest.raises(MissingShardError, match="data-100000-of-100001"):
            ckpt[NAME]
        os.rename(f"{prefix}.data-00000-of-00001", f"{prefix}.data-100000-of-100001")
        assert ckpt[NAME].tolist() == [1, 1]
    assert len(open_checkpoint(f"{prefix}.data-100000-of-100001")) == 1


class TestWhatTensorFlowGetsWrong:
    """Where TensorFlow's reader fails silently, ckptparse gives the right values or an error."""

    def test_a_slice_whose_stored_shape_is_smaller_than_its_extents(self, tmp_path: Path) -> None:
        def shrink(bundle: Bundle) -> None:
            key = slice_key(b"x", [(2, 2)])
            bundle.index[key] = bundle_entry(1, (1,), offset=8, size=4, crc=1)

        sliced = Partitioned(np.arange(4, dtype="f4"), [[(0, 2)], [(2, 2)]])
        prefix = write_bundle(tmp_path, {NAME: sliced}, edit=shrink)
        with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError) as error:
            ckpt[NAME]
        assert "float32 [2]" in str(error.value)
        assert "float32 [1]" in str(error.value)

    def test_a_slice_of_another_dtype(self, tmp_path: Path) -> None:
        def retype(bundle: Bundle) -> None:
            bundle.index[slice_key(b"x", [(2, 2)])] = bundle_entry(3, (2,), offset=8, size=8, crc=1)

        sliced = Partitioned(np.arange(4, dtype="f4"), [[(0, 2)], [(2, 2)]])
        prefix = write_bundle(tmp_path, {NAME: sliced}, edit=retype)
        with open_checkpoint(prefix) as ckpt, pytest.raises(CorruptCheckpointError, match="int32"):
            ckpt[NAME]

    @pytest.mark.parametrize(
        "entry",
        [
            pytest.param(bundle_entry(1, (-1,), size=8, crc=1), id="negative dimension"),
            pytest.param(bundle_entry(1, (2,), size=8, crc=1)[:-1], id="does not parse"),
            pytest.param(bundle_entry(1, (4,), slices=[[(1, -1)]]), id="start without length"),
        ],
    )
    def test_entries_that_abort_tensorflow_are_errors(self, tmp_path: Path, entry: bytes) -> None:
        def replace(bundle: Bundle) -> None:
            bundle.index[b"x"] = entry

        prefix = write_bundle(tmp_path, {NAME: np.ones(2, "f4")}, edit=replace)
        with open_checkpoint(prefix) as ckpt:
            for ask in (ckpt.__getitem__, ckpt.info, lambda _: ckpt.infos()):
                with pytest.raises(CorruptCheckpointError) as error:
                    ask(NAME)
            assert error.value.tensor == NAME

    @pytest.mark.parametrize("dtype", [0, 20, 101])
    def test_dtypes_that_abort_tensorflow_are_refused(self, tmp_path: Path, dtype: int) -> None:
        def replace(bundle: Bundle) -> None:
            bundle.index[b"x"] = bundle_entry(dtype, (2,), size=8, crc=1)

        prefix = write_bundle(tmp_path, {NAME: np.ones(2, "f4")}, edit=replace)
        with open_checkpoint(prefix) as ckpt:
            assert list(ckpt) == [NAME]
            with pytest.raises(UnsupportedError):
                ckpt[NAME]

    def test_partitioned_half_and_strings_are_read_whole(self) -> None:
        case = load_case("tf-2.21.0/slices_dtypes")
        refused = {error["name"] for error in case.errors if error["doing"] == "get_tensor"}
        dtypes = {tensor.dtype for tensor in case.tensors if tensor.name in refused}
        assert {"float16", "string", "uint16"} <= dtypes
        assert_reads_as_tensorflow("tf-2.21.0/slices_dtypes")

    def test_glob_characters_in_a_prefix(self, tmp_path: Path) -> None:
        prefix = write_bundle(tmp_path, {NAME: np.ones(2, "f4")}, name="br[1]ack*?")
        assert open_checkpoint(prefix)[NAME].tolist() == [1, 1]
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(tmp_path / "br*")

    def test_big_endian_types_that_it_will_not_swap(self) -> None:
        case = load_case("tf-2.21.0/big_endian")
        refused = {e["name"] for e in case.errors if "not supported" in e["text"]}
        little = {t.name: t for t in load_case("tf-2.21.0/dtypes").tensors}
        assert refused
        with open_checkpoint(case.prefix) as ckpt:
            for name in refused:
                assert ckpt.info(name).nbytes == ckpt.info(name).size  # a byte each: the same bytes
                same = [t for t in little.values() if t.dtype == ckpt.info(name).tensorflow_dtype]
                assert payload_of(ckpt[name]) in {tensor.payload for tensor in same}


class TestWhatPeopleReallyHave:
    """Damage seen in published repositories: each kind has its own message."""

    @pytest.mark.parametrize(
        ("contents", "words"),
        [
            (b"404: Not Found", "404: Not Found"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git-lfs"),
            (b"", "empty file"),
            (b"<!DOCTYPE html><html></html>", "HTML"),
            (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        ],
    )
    def test_something_else_in_place_of_the_index(
        self, tmp_path: Path, contents: bytes, words: str
    ) -> None:
        (tmp_path / "model.ckpt.index").write_bytes(contents)
        error_type = CorruptCheckpointError if not contents else NotACheckpointError
        with pytest.raises(error_type, match=words):
            open_checkpoint(tmp_path / "model.ckpt")

    def test_an_index_saved_as_text(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        index = Path(f"{prefix}.index")
        index.write_text(index.read_bytes().decode("utf-8", "replace"), "utf-8")
        with pytest.raises(NotACheckpointError, match="saved as text"):
            open_checkpoint(prefix)

    def test_an_index_without_data(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        os.unlink(f"{prefix}.data-00000-of-00001")
        with open_checkpoint(prefix) as ckpt:
            assert len(ckpt) == 34
            with pytest.raises(MissingShardError):
                ckpt["global_step"]

    def test_one_lost_shard_does_not_hurt_the_others(self, tmp_path: Path) -> None:
        tensors = {"a": np.ones(2, "f4"), "b": np.zeros(2, "f4")}
        prefix = write_bundle(tmp_path, tensors, num_shards=2)
        os.unlink(f"{prefix}.data-00000-of-00002")
        with open_checkpoint(prefix) as ckpt:
            assert ckpt["b"].tolist() == [0, 0]
            with pytest.raises(MissingShardError, match="data-00000-of-00002"):
                ckpt["a"]
