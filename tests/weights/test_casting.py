"""Casts of tensors: against tf.cast, lazily, by parts and by pieces."""

from __future__ import annotations

import importlib.util
import json
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ckptparse import open_checkpoint
from ckptparse.tensors.pieces import join
from ckptparse.weights.casting import cast_to
from ckptparse.weights.selection import select
from support.ids import short
from support.oracle import FC6, MATRIX, PARTITIONED, VGG, load_case
from support.repository import FIXTURES, ROOT

CASTS = json.loads((FIXTURES / "tf-2.21.0/casts/answers.json").read_text())["answers"]
DTYPES = load_case("tf-2.21.0/dtypes")


def load_cast_values() -> Any:
    """The module with the numbers that TensorFlow cast."""
    path = ROOT / "tools/harness/cast_values.py"
    spec = importlib.util.spec_from_file_location("cast_values", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VALUES = load_cast_values()


@pytest.mark.parametrize("answer", CASTS, ids=lambda answer: f"{answer['from']}-{answer['to']}")
def test_as_tf_cast(answer: dict[str, Any]) -> None:
    """All numbers of 8 and 16 bits; 131,072 of more bits, half of them ties or next to one."""
    source, target = answer["from"], answer["to"]
    is_float = source.startswith(("float", "bfloat"))
    values = VALUES.numbers(source) if is_float else VALUES.integers(source)
    cast = select({"x": values}, dtype={"x": target})["x"]
    assert cast.dtype == np.dtype(getattr(ml_dtypes, target, None) or target)
    digest = VALUES.digest(cast, "float64" in (source, target))
    assert digest == {key: answer[key] for key in ("nan", "inf", "sha256")}


@pytest.fixture
def ckpt():
    with open_checkpoint(VGG.prefix) as ckpt:
        yield ckpt


class TestWhatIsCast:
    def test_one_dtype_casts_only_floating_point_numbers(self) -> None:
        with open_checkpoint(DTYPES.prefix) as ckpt:
            chosen = ckpt.select(dtype="bfloat16")
            for info, old in zip(chosen.infos(), ckpt.infos(), strict=True):
                is_float = "float" in old.tensorflow_dtype
                wanted = "bfloat16" if is_float else old.tensorflow_dtype
                assert info.tensorflow_dtype == wanted
                array = chosen[info.name]
                assert array.dtype == info.dtype
                assert (info.shape, info.size) == (old.shape, old.size)
                if not is_float:
                    assert info == old
                    np.testing.assert_array_equal(array, ckpt[info.name])

    @pytest.mark.parametrize(
        "dtype",
        ["float16", "half", np.float16, np.dtype("<f2"), "<f2", "float64", ml_dtypes.float8_e5m2],
        ids=short,
    )
    def test_names_and_dtypes(self, ckpt, dtype) -> None:
        plain = {"half": "float16"}.get(dtype, dtype) if isinstance(dtype, str) else dtype
        assert ckpt.select(dtype=dtype)[FC6].dtype == np.dtype(plain)

    @pytest.mark.parametrize(
        "dtype", ["floaty", "7", "int32", "string", "complex64", "variant", "M8"]
    )
    def test_no_dtype_to_cast_to(self, ckpt, dtype: str) -> None:
        with pytest.raises(ValueError, match=r"no such dtype|cannot cast to"):
            ckpt.select(dtype=dtype)

    def test_by_patterns(self, ckpt) -> None:
        chosen = ckpt.select(dtype={"*/weights": "bfloat16", "*/fc6/biases": np.float64})
        dtypes = {name: info.tensorflow_dtype for name, info in zip(chosen, chosen.infos())}
        assert dtypes[FC6] == "bfloat16"
        assert dtypes["vgg_16/fc6/biases"] == "float64"
        assert dtypes["vgg_16/fc7/biases"] == "float32"
        assert all(chosen[name].dtype.name == dtype for name, dtype in dtypes.items())

    def test_patterns_cast_integers_too(self) -> None:
        numbers = {"i": np.arange(3), "b": np.array([True]), "s": np.array([b"x"], object)}
        chosen = select(numbers, dtype={"[ib]": "float16"})
        assert chosen["i"].dtype == chosen["b"].dtype == np.float16
        assert chosen["i"].tolist() == [0, 1, 2]
        assert chosen["s"] is numbers["s"]

    @pytest.mark.parametrize(
        "ask",
        [
            lambda chosen: chosen["s"],
            lambda chosen: chosen.info("s"),
            lambda chosen: list(chosen.read_pieces(["s"])),
        ],
        ids=["read", "info", "pieces"],
    )
    def test_what_cannot_be_cast_is_an_error_when_it_is_asked_for(self, ask) -> None:
        chosen = select({"s": np.array([b"x"], object)}, dtype={"s": "float32"})
        with pytest.raises(ValueError, match="dtype of 's': string cannot be cast to float32"):
            ask(chosen)

    def test_a_pattern_without_a_match(self, ckpt) -> None:
        with pytest.raises(KeyError, match="fc9"):
            ckpt.select(dtype={"*/fc9/*": "float16"})

    def test_two_dtypes_for_one_name(self, ckpt) -> None:
        with pytest.raises(ValueError, match=r"two dtypes for .*; '\*/fc6/\*' is the second"):
            ckpt.select(dtype={FC6: "float16", "*/fc6/*": "float64"})


INTEGERS = {"i": np.arange(4, dtype=np.int8), "u": np.arange(4, dtype=np.uint8), "f": np.ones(2)}


class TestQuantized:
    def test_marks_the_integers_of_its_size(self) -> None:
        chosen = select(INTEGERS, dtype="qint8")
        assert [info.tensorflow_dtype for info in chosen.infos()] == ["qint8", "uint8", "float64"]
        assert [piece.dtype for piece in chosen.read_pieces(chosen)] == [
            "qint8",
            "uint8",
            "float64",
        ]
        assert all(chosen[name] is array for name, array in INTEGERS.items())

    def test_by_patterns_and_back(self) -> None:
        chosen = select(INTEGERS, dtype={"u": "quint8"})
        assert chosen.info("u").tensorflow_dtype == "quint8"
        assert chosen.select(dtype={"u": "uint8"}).info("u").tensorflow_dtype == "uint8"
        with pytest.raises(ValueError, match="uint8 cannot be cast to qint8"):
            select(INTEGERS, dtype={"u": "qint8"})["u"]

    def test_keeps_its_place_in_the_file(self) -> None:
        with open_checkpoint(DTYPES.prefix) as ckpt:
            name = next(i.name for i in ckpt.infos() if i.tensorflow_dtype == "int8" and i.size)
            old = ckpt.info(name)
            new = ckpt.select(dtype="qint8").info(name)
        assert new == old._replace(tensorflow_dtype="qint8")


class TestLaziness:
    def test_only_the_part_is_read(self, ckpt) -> None:
        chosen = ckpt.select(dtype="float16")
        part = chosen.read(FC6, np.s_[:, :, 0])
        np.testing.assert_array_equal(part, ckpt[FC6][:, :, 0].astype("f2"))
        asked = []
        ckpt.read = lambda name, index=...: asked.append(index) or np.float32([1.5])
        chosen.read(FC6, np.s_[0])
        assert asked == [np.s_[0]]

    def test_info_reads_nothing(self, ckpt) -> None:
        ckpt.read = None
        info = ckpt.select(dtype="float16").info(FC6)
        assert (info.dtype, info.nbytes, info.mapped) == (np.float16, 2 * info.size, False)
        assert (info.file, info.offset, info.slices) == (None, None, ())

    def test_the_same_dtype_changes_nothing(self, ckpt) -> None:
        chosen = ckpt.select(dtype="float32")
        assert chosen.infos() == ckpt.infos()
        assert np.shares_memory(chosen[FC6], ckpt[FC6])

    def test_after_the_transform(self, ckpt) -> None:
        chosen = ckpt.select(transform={FC6: lambda w: w.astype("i4")}, dtype="float16")
        assert chosen[FC6].dtype == chosen.info(FC6).dtype == np.int32
        chosen = ckpt.select(transform={FC6: lambda w: w[0].astype("f8")}, dtype="float16")
        assert chosen[FC6].dtype == chosen.info(FC6).dtype == np.float16
        assert chosen.info(FC6).shape == (7, 6, 12)
        ((_, array),) = chosen.read_each([FC6])
        np.testing.assert_array_equal(array, ckpt[FC6][0].astype("f2"))

    def test_of_a_cast_selection(self, ckpt) -> None:
        chosen = ckpt.select(dtype="float8_e4m3fn").select(dtype="float32")
        expected = ckpt[FC6].astype(ml_dtypes.float8_e4m3fn).astype("f4")
        np.testing.assert_array_equal(chosen[FC6], expected)

    def test_no_warning_for_infinity_and_nan(self) -> None:
        values = np.array([1e30, -1e30, np.nan, np.inf, 65519.9, 65520], "f4")
        cast = select({"x": values}, dtype="float16")["x"]
        np.testing.assert_array_equal(
            cast, np.float16([np.inf, -np.inf, np.nan, np.inf, 65504, np.inf])
        )


class TestPieces:
    @pytest.mark.parametrize("case", [VGG, PARTITIONED, DTYPES], ids=str)
    @pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
    @pytest.mark.parametrize("nbytes", [16, 72, 1 << 23])
    def test_are_the_parts_of_the_whole(self, case, dtype: str, nbytes: int) -> None:
        with open_checkpoint(case.prefix) as ckpt:
            names = [
                name
                for name in ckpt
                if ckpt.info(name).tensorflow_dtype not in ("variant", "string")
            ][:8]
            chosen = ckpt.select(include=names, dtype=dtype)
            parts: dict[str, list[Any]] = {name: [] for name in names}
            for piece in chosen.read_pieces(names, nbytes):
                parts[piece.name].append(piece)
                assert piece.values.nbytes <= max(nbytes, piece.values.itemsize)
            for name, pieces in parts.items():
                info = chosen.info(name)
                assert {(p.dtype, p.shape) for p in pieces} == {(info.tensorflow_dtype, info.shape)}
                sizes = [p.values.size for p in pieces]
                assert [p.start for p in pieces] == [sum(sizes[:i]) for i in range(len(sizes))]
                assert join(pieces).tobytes() == chosen[name].tobytes()

    def test_of_a_transformed_tensor(self, ckpt) -> None:
        chosen = ckpt.select(include=FC6, transform={FC6: np.transpose}, dtype="float64")
        pieces = list(chosen.read_pieces([FC6], 1000))
        assert len(pieces) > 20
        np.testing.assert_array_equal(join(pieces), ckpt[FC6].T.astype("f8"))

    def test_no_whole_tensor_is_in_memory(self) -> None:
        values = np.ones(1 << 21, np.float32)
        chosen = select({"x": values}, dtype="float64")
        tracemalloc.start()
        for piece in chosen.read_pieces(["x"], 1 << 14):
            del piece
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20

    def test_a_partitioned_tensor(self) -> None:
        with open_checkpoint(PARTITIONED.prefix) as ckpt:
            chosen = ckpt.select(include=MATRIX, dtype="bfloat16")
            assert chosen.info(MATRIX).slices == ()
            assert chosen[MATRIX].dtype == ml_dtypes.bfloat16


def test_the_table_of_dtypes_decides() -> None:
    assert cast_to("bfloat16", leave_others=True).result("x", "float64") == "bfloat16"
    assert (
        cast_to("bfloat16", leave_others=True).result("x", "unknown dtype 77") == "unknown dtype 77"
    )
