"""The mean of checkpoints beside numpy's, and what happens where there is none."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterable, Iterator
from typing import ClassVar

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptparse import ConflictError, TensorNotFoundError, average, open_checkpoint
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping, find_all_roots
from ckptparse.tensors.pieces import Piece, cut_array, join
from ckptparse.tensors.rounding import round_to
from support.oracle import FC6, MATRIX, PARTITIONED, VGG, load_case, payload_of

AVERAGED = [
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2fnuz",
    "complex64",
    "complex128",
]
AGREED = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
AGREED += ["int4", "uint4", "int2", "uint2"]
V1 = load_case("tf-1.15.5/v1_vgg_16")
V1_SLICES = load_case("tf-0.12.1/v1_slices")


def dtype_of(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


@st.composite
def same_forms(draw: st.DrawFn, names: list[str]) -> list[np.ndarray]:
    """Several arrays of random bits, with one dtype and shape."""
    dtype = dtype_of(draw(st.sampled_from(names)))
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=3)))
    nbytes = int(np.prod(shape)) * dtype.itemsize
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [
        random.integers(0, 256, nbytes, np.uint8).view(dtype).reshape(shape)
        for _ in range(draw(st.integers(1, 4)))
    ]


def mean_of(arrays: list[np.ndarray], weights: list[float] | None) -> np.ndarray:
    """The mean by numpy: products added in order, divided by the sum of weights."""
    dtype = arrays[0].dtype
    if dtype.kind == "c":
        mean = np.empty(arrays[0].shape, np.complex128)
        mean.real = mean_of([array.real.astype(np.float64) for array in arrays], weights)
        mean.imag = mean_of([array.imag.astype(np.float64) for array in arrays], weights)
        return mean.astype(dtype)
    weights = weights or [1.0] * len(arrays)
    total = weights[0] * arrays[0].astype(np.float64)
    for weight, array in zip(weights[1:], arrays[1:]):
        total = total + weight * array.astype(np.float64)
    return round_to(total / sum(weights), dtype)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    wide = np.complex128 if found.dtype.kind == "c" else np.float64
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(found.astype(wide), expected.astype(wide))


small_weights = st.integers(0, 8).map(lambda n: n / 4)


class TestMean:
    @given(arrays=same_forms(AVERAGED), data=st.data())
    def test_numbers(self, arrays: list[np.ndarray], data: st.DataObject) -> None:
        """Random bits are NaN and infinite often enough."""
        n = len(arrays)
        some_weights = st.lists(small_weights, min_size=n, max_size=n).filter(any)
        weights = data.draw(st.none() | some_weights)
        with np.errstate(all="ignore"):
            expected = mean_of(arrays, weights)
        mean = average([{"a": array} for array in arrays], weights=weights)
        assert_same(mean["a"], expected)
        assert_same(mean.read("a", np.s_[..., None]), expected[..., None])
        assert mean.info("a").dtype == expected.dtype
        nbytes = data.draw(st.integers(0, 200))
        pieces = list(mean.read_pieces(["a"], nbytes))
        assert_same(join(pieces), expected)
        assert all(piece.values.nbytes <= max(nbytes, 16) for piece in pieces)

    def test_infinities_of_complex_numbers(self) -> None:
        mean = average([{"a": np.complex64([complex(np.inf, 1)])}] * 2)["a"]
        assert (mean.real, mean.imag) == (np.inf, 1)

    def test_values_that_float32_cannot_add(self) -> None:
        largest = np.finfo(np.float32).max
        assert average([{"a": np.float32([largest])}] * 3)["a"] == largest

    def test_byte_order_is_no_part_of_the_dtype(self) -> None:
        mean = average([{"a": np.array([1.0], ">f4")}, {"a": np.array([2.0], "<f4")}])["a"]
        assert mean == np.float32(1.5)
        assert mean.dtype == np.float32

    def test_anything_that_is_an_array(self) -> None:
        class Tensor:
            def __array__(self, dtype=None, copy=None) -> np.ndarray:
                return np.float32([1, 2])

        mean = average([{"a": Tensor()}, {"a": Tensor()}])
        assert mean["a"].tolist() == [1, 2]

    def test_transposed_arrays(self) -> None:
        array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
        mean = average([{"a": array.T}, {"a": np.ascontiguousarray(array.T)}])
        np.testing.assert_array_equal(join(list(mean.read_pieces(["a"], 20))), array.T)

    @pytest.mark.parametrize(
        ("weights", "text"),
        [
            ([1], "1 weights for 2 checkpoints"),
            ([1, 1, 1], "3 weights for 2 checkpoints"),
            ([1, -1], "a weight is a finite number, 0 or more, not -1.0"),
            ([1, np.nan], "a weight is a finite number, 0 or more, not nan"),
            ([1, np.inf], "a weight is a finite number, 0 or more, not inf"),
            ([0, 0], "the sum of the weights is 0.0, not a positive finite number"),
            ([1e308, 1e308], "the sum of the weights is inf, not a positive finite number"),
        ],
        ids=["few", "many", "negative", "nan", "inf", "zero", "overflow"],
    )
    def test_weights_that_are_none(self, weights: list[float], text: str) -> None:
        with pytest.raises(ValueError, match=f"^{text}$"):
            average([{}, {}], weights=weights)


class TestArguments:
    def test_no_checkpoints(self) -> None:
        with pytest.raises(ValueError, match="nothing to average"):
            average([])

    @pytest.mark.parametrize("given", ["a/model.ckpt", {"a": 1}], ids=["path", "mapping"])
    def test_one_that_is_no_list(self, given) -> None:
        with pytest.raises(TypeError, match="several paths or mappings"):
            average(given)

    def test_what_is_no_mapping(self) -> None:
        with pytest.raises(TypeError, match=r"argument 2 is not a mapping .* but int"):
            average([{}, 1])

    def test_a_string_is_no_list_of_names(self) -> None:
        mean = average([{"a": 1.0, "b": 2.0}])
        for read in (mean.read_each, mean.read_pieces):
            with pytest.raises(TypeError, match="expected a list of names"):
                list(read("ab"))

    def test_on_conflict(self) -> None:
        with pytest.raises(ValueError, match="on_conflict is one of error, last, not 'first'"):
            average([{}], on_conflict="first")


class TestAgreement:
    @given(arrays=same_forms(AGREED), nbytes=st.integers(0, 50))
    def test_equal_values(self, arrays: list[np.ndarray], nbytes: int) -> None:
        if arrays[0].dtype == bool:
            arrays = [array.view(np.uint8) > 100 for array in arrays]
        mean = average([{"a": arrays[0]}, {"a": arrays[0].copy()}])
        assert mean["a"].dtype == arrays[0].dtype
        np.testing.assert_array_equal(mean["a"], arrays[0])
        np.testing.assert_array_equal(join(list(mean.read_pieces(["a"], nbytes))), arrays[0])
        last = average([{"a": array} for array in arrays], on_conflict="last")
        np.testing.assert_array_equal(join(list(last.read_pieces(["a"], nbytes))), arrays[-1])
        np.testing.assert_array_equal(last.read("a", np.s_[..., None]), arrays[-1][..., None])

    @pytest.mark.parametrize("nbytes", [4, 8, 1000], ids=str)
    def test_different_integers(self, nbytes: int) -> None:
        mean = average([{"a": np.arange(9)}, {"a": np.arange(9)}, {"a": np.r_[:8, 7]}])
        pieces = mean.read_pieces(["a"], nbytes)
        with pytest.raises(ConflictError) as caught:
            list(pieces)
        assert str(caught.value) == (
            "tensor 'a': the checkpoints have different values, and this dtype has no mean"
            ' (on_conflict="last", --on-conflict last: takes the value of the last checkpoint)\n'
            "  expected: 8, as in mapping 1 of 3\n"
            "  found: 7 in mapping 3 of 3"
        )

    def test_a_part_has_to_agree(self) -> None:
        mean = average([{"a": np.arange(9)}, {"a": np.r_[:8, 7]}])
        assert mean.read("a", np.s_[:8]).tolist() == list(range(8))
        with pytest.raises(ConflictError, match="expected: 8, as in mapping 1 of 2"):
            mean.read("a", -1)

    def test_strings(self) -> None:
        objects = np.array([b"a", "é".encode()], object)
        texts = np.array(["a", "é"])
        mean = average([{"a": objects}, {"a": texts}])
        assert mean["a"].tolist() == objects.tolist()
        assert mean.info("a").tensorflow_dtype == "string"
        with pytest.raises(ConflictError, match=r"expected: b'a', as .*\n  found: b'b' in"):
            average([{"a": np.array([b"a"], object)}, {"a": np.array([b"b"], object)}])["a"]

    def test_the_last_one(self) -> None:
        steps = [{"step": np.int64(step), "w": np.float32(step)} for step in (1, 2, 6)]
        mean = average(steps, on_conflict="last")
        assert (mean["step"], mean["w"]) == (6, 3)


class TestForms:
    def test_names(self) -> None:
        with pytest.raises(ConflictError) as caught:
            average([{"a": 1, "b": 2}, {"b": 2, "c": 3, "d": 4}])
        assert str(caught.value) == (
            "tensor 'a': the checkpoints have different tensors: mapping 2 of 2 lacks this one,"
            " which mapping 1 of 2 has\n"
            "  expected: the same names in all checkpoints\n"
            "  found: 1 missing in mapping 2 of 2: a; 2 missing in mapping 1 of 2: c, d"
        )

    def test_names_that_only_a_later_one_has(self) -> None:
        with pytest.raises(ConflictError, match=r"tensor 'b': .* mapping 1 of 3 lacks this one"):
            average([{"a": 1}, {"a": 1}, {"a": 1, "b": 2}])

    def test_order_of_names(self) -> None:
        assert list(average([{"b": 1, "a": 2}, {"a": 2, "b": 1}])) == ["b", "a"]

    @pytest.mark.parametrize(
        ("other", "what", "found"),
        [
            (np.zeros(3, np.float32), "shapes", r"float32 \[3\]"),
            (np.zeros((2, 1), np.float32), "shapes", r"float32 \[2, 1\]"),
            (np.zeros(2), "dtypes", r"float64 \[2\]"),
            (np.zeros(2, "S1"), "dtypes", r"string \[2\]"),
        ],
        ids=["length", "rank", "dtype", "string"],
    )
    def test_shapes_and_dtypes(self, other: np.ndarray, what: str, found: str) -> None:
        mean = average([{"a": np.zeros(2, np.float32)}, {"a": other}])
        text = (
            rf"^tensor 'a': the tensors of this name have different {what}\n"
            rf"  expected: float32 \[2\], as in mapping 1 of 2\n  found: {found} in mapping 2 of 2$"
        )
        questions = [
            lambda: mean["a"],
            lambda: mean.read("a", 0),
            lambda: mean.info("a"),
            mean.infos,
            lambda: list(mean.items()),
            lambda: list(mean.read_pieces(["a"], 1)),
        ]
        for question in questions:
            with pytest.raises(ConflictError, match=text):
                question()

    def test_paths_in_errors(self) -> None:
        """Those of the checkpoints that selections take the tensor from, too."""
        with open_checkpoint(VGG.prefix) as ckpt:
            selection = ckpt.select(include=FC6, rename={FC6: "w"}).select(include="w")
            mean = average([selection, {"w": np.zeros(2, np.float32)}])
            with pytest.raises(
                ConflictError, match=f"as in {re.escape(str(VGG.prefix))}\n.* in mapping 2"
            ):
                mean["w"]

    def test_no_such_tensor(self) -> None:
        mean = average([{"weights": np.zeros(2)}])
        for question in (mean.read, mean.info, mean.origin, mean.__getitem__):
            with pytest.raises(TensorNotFoundError, match="no such tensor in the average"):
                question("weight")
        assert mean.get("weight") is None
        assert "weight" not in mean


class Counted(TensorMapping):
    """A mapping whose pieces are new arrays, that counts those that exist."""

    alive: ClassVar[set[int]] = set()
    most_alive = 0

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.num_read = 0

    def read(self, name: str, index=...) -> np.ndarray:
        self.num_read += 1
        return self.array[index]

    def info(self, name: str) -> TensorInfo:
        array = self.array
        nbytes = array.nbytes
        return TensorInfo(
            name, array.dtype, "float32", array.shape, array.size, nbytes, (), False, None, None
        )

    def __iter__(self) -> Iterator[str]:
        yield "a"

    def __len__(self) -> int:
        return 1

    def read_pieces(self, names: Iterable[str], piece_nbytes: int = 0) -> Iterator[Piece]:
        pieces = cut_array("a", self.array, piece_nbytes)
        return map(self.copied, pieces)

    def copied(self, piece: Piece) -> Piece:
        self.num_read += 1
        values = piece.values.copy()
        number = id(values)
        Counted.alive.add(number)
        weakref.finalize(values, Counted.alive.discard, number)
        Counted.most_alive = max(Counted.most_alive, len(Counted.alive))
        return piece._replace(values=values)


class TestLaziness:
    def test_nothing_is_read_before_access(self) -> None:
        sources = [Counted(np.zeros(100, np.float32)) for _ in range(3)]
        mean = average(sources)
        assert len(mean) == 1
        assert "a" in mean
        assert list(mean.select()) == ["a"]
        assert mean.infos()[0].shape == (100,)
        pieces = mean.read_pieces(["a"], 80)
        assert [source.num_read for source in sources] == [0, 0, 0]
        next(pieces)
        assert [source.num_read for source in sources] == [1, 1, 1]
        mean.read("a", 5)
        assert [source.num_read for source in sources] == [2, 2, 2]

    @pytest.mark.parametrize("num_sources", [2, 5, 20], ids=str)
    def test_one_piece_of_one_source_is_held(self, num_sources: int) -> None:
        array = np.arange(1000, dtype=np.float32)
        mean = average([Counted(array) for _ in range(num_sources)])
        gc.collect()
        Counted.most_alive = 0
        start = 0
        for piece in mean.read_pieces(["a"], 400):
            assert not Counted.alive
            assert piece.start == start
            start += piece.values.size
        assert start == 1000
        assert Counted.most_alive == 1

    def test_origin(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            assert average([ckpt, dict(ckpt)]).origin(FC6) == (ckpt, FC6)
            mean = average([dict(ckpt), ckpt])
            assert mean.origin(FC6) == (mean, FC6)

    def test_all_origins(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            mean = average([dict(ckpt), ckpt, ckpt.select()])
            assert [source for source, _ in mean.origins(FC6)][:2] == [mean, ckpt]
            assert set(find_all_roots(mean.select(include=FC6))) == {ckpt, mean}


class TestCheckpoints:
    @pytest.mark.parametrize("nbytes", [1, 100, 5000, 1 << 23], ids=str)
    @pytest.mark.parametrize("case", [VGG, V1, PARTITIONED, V1_SLICES], ids=str)
    def test_pieces_of_files_and_of_arrays(self, case, nbytes: int) -> None:
        """Pieces that different formats cut differently are cut to fit."""
        with open_checkpoint(case.prefix) as first, open_checkpoint(case.path, mmap=False) as other:
            scaled = first.select(
                transform={"*": lambda a: (a / 3).astype(a.dtype) if a.dtype.kind == "f" else a}
            )
            mean = average([first, scaled, dict(other), other], weights=[1, 1, 1, 2])
            parts: dict[str, list[Piece]] = {}
            for piece in mean.read_pieces(mean, nbytes):
                parts.setdefault(piece.name, []).append(piece)
            assert list(parts) == list(first)
            for name, array in first.items():
                expected = array
                if array.dtype.kind == "f":
                    expected = mean_of([array, scaled[name], array, array], [1, 1, 1, 2])
                found = join(parts[name])
                if array.dtype.kind == "O":
                    assert payload_of(found) == payload_of(mean[name]) == payload_of(expected)
                else:
                    assert_same(found, expected)
                    assert_same(mean[name], expected)
                info = mean.info(name)
                assert (info.shape, info.dtype) == (found.shape, found.dtype)

    def test_paths(self) -> None:
        mean = average([VGG.prefix, str(VGG.prefix)])
        with open_checkpoint(VGG.prefix) as ckpt:
            np.testing.assert_array_equal(mean[FC6], ckpt[FC6])
            assert mean.info(FC6) == ckpt.info(FC6)._replace(mapped=False, file=None, offset=None)

    def test_v1_and_v2(self) -> None:
        """Tensors of one name in both formats, of all dtypes."""
        cases = load_case("tf-1.15.5/v1_dtypes"), load_case("tf-1.15.5/dtypes")
        with open_checkpoint(cases[0].path) as first, open_checkpoint(cases[1].path) as other:
            names = [
                info.name
                for info in first.infos()
                if info.name in other
                and info.shape == other.info(info.name).shape
                and not info.tensorflow_dtype.startswith("q")
            ]
            sources = first.select(include=names), other.select(include=names)
            mean = average(sources, on_conflict="last")
            assert len(mean) > 20
            for name, array in mean.items():
                arrays = [source[name] for source in sources]
                if array.dtype.name in AVERAGED:
                    with np.errstate(all="ignore"):
                        assert_same(array, mean_of(arrays, None))
                else:
                    assert payload_of(array) == payload_of(arrays[-1])

    def test_partitioned_in_parts(self) -> None:
        with open_checkpoint(PARTITIONED.prefix) as ckpt:
            mean = average([ckpt, ckpt], on_conflict="last").read(MATRIX, np.s_[1:3])
            np.testing.assert_array_equal(mean, ckpt.read(MATRIX, np.s_[1:3]))

    def test_the_first_graph_defines_the_roles(self) -> None:
        with open_checkpoint(load_case("tf-1.15.5/training_graph").prefix) as ckpt:
            plain = dict(ckpt)
            for mappings in ([ckpt, ckpt], [ckpt, plain], [plain, ckpt]):
                mean = average(mappings, on_conflict="last")
                assert mean.roles() == ckpt.roles()
                assert [*mean.select(weights_only=True)] == [*ckpt.select(weights_only=True)]
            assert average([plain, plain], on_conflict="last").roles() == {}
