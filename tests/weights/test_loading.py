"""Loading tensors into existing arrays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from inspect import signature

import ml_dtypes
import numpy as np
import pytest

from ckptparse import CheckpointError, ChecksumError, open_checkpoint
from ckptparse.weights.loading import LoadReport, Mismatch, MismatchError, load_into
from ckptparse.weights.selection import select
from support.damage import copy_case, flip_bit
from support.oracle import FC6, VGG


def zeros() -> dict[str, np.ndarray]:
    """An array of zeros for each tensor of vgg_16."""
    return {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in VGG.tensors}


def snapshot(target) -> dict[str, bytes]:
    return {name: np.asarray(value).tobytes() for name, value in target.items()}


class TestArrays:
    def test_all_of_a_checkpoint_in_place(self) -> None:
        target = zeros()
        arrays = dict(target)
        with open_checkpoint(VGG.prefix) as ckpt:
            report = load_into(target, ckpt)
            assert all(target[name] is arrays[name] for name in arrays)
            assert snapshot(target) == snapshot(ckpt)
        assert report == LoadReport(tuple(arrays), (), (), ())
        assert report.ok

    def test_views_of_one_array(self) -> None:
        whole = np.zeros((2, 3))
        load_into({"a": whole[0], "b": whole[1]}, {"a": np.ones(3), "b": np.full(3, 2)})
        assert whole.tolist() == [[1, 1, 1], [2, 2, 2]]

    @pytest.mark.parametrize(
        ("source", "target", "fits"),
        [
            ("float64", "float32", True),
            ("float32", "float64", True),
            ("int64", "int32", True),
            ("int32", "float32", True),
            ("bool", "int8", True),
            ("float32", ml_dtypes.bfloat16, True),
            (ml_dtypes.bfloat16, "float32", True),
            (">f4", "<f4", True),
            ("float32", "int32", False),
            ("complex64", "float32", False),
            ("int64", "bool", False),
            (object, "float32", False),
            (object, object, True),
        ],
    )
    def test_dtypes(self, source, target, fits: bool) -> None:
        given = {"a": np.array([1, 0], source)}
        into = {"a": np.array([5, 5], target)}
        if fits:
            assert load_into(into, given).ok
            assert into["a"].dtype == np.dtype(target)
            assert into["a"].tolist() == [1, 0]
        else:
            with pytest.raises(MismatchError):
                load_into(into, given)
            assert into["a"].tolist() == np.array([5, 5], target).tolist()

    def test_a_read_only_array_is_replaced(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            target = dict(ckpt)
        before = dict(target)
        load_into(target, {name: array + 1 for name, array in target.items()})
        assert target[FC6] is not before[FC6]
        assert target[FC6].flags.writeable
        np.testing.assert_array_equal(target[FC6], before[FC6] + 1)

    def test_an_immutable_array_of_another_library_is_replaced(self) -> None:
        class Immutable:
            """An array as in JAX: numpy's dtypes, but not writable."""

            shape, dtype = (2,), np.dtype("float32")

        target = {"a": Immutable()}
        load_into(target, {"a": np.ones(2)})
        assert target["a"].dtype == np.float32
        assert target["a"].tolist() == [1, 1]

    def test_something_that_is_no_array(self) -> None:
        target = {"a": np.zeros(2), "b": 1.5}
        with pytest.raises(TypeError, match="'b' in the target is no array, but float"):
            load_into(target, {"a": np.ones(2), "b": np.ones(())})
        assert target["a"].tolist() == [0, 0]

    def test_strings(self) -> None:
        target = {"a": np.array([b"", b""], object)}
        load_into(target, {"a": np.array([b"x", b"yz"], object)})
        assert target["a"].tolist() == [b"x", b"yz"]


WRONG = LoadReport(
    loaded=(),
    missing=("only in target",),
    unexpected=("only in source",),
    mismatched=(
        Mismatch("kind", (3,), "float32", (3,), "int64"),
        Mismatch("shape", (3, 1), "float32", (3,), "float32"),
    ),
)


def source_and_target() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    ones = np.ones(3, np.float32)
    source = {"fits": ones, "only in source": ones, "kind": ones, "shape": ones[:, None]}
    target = {
        "fits": np.zeros(3, np.float32),
        "only in target": np.zeros(3, np.float32),
        "kind": np.zeros(3, np.int64),
        "shape": np.zeros(3, np.float32),
    }
    return source, target


class TestStrict:
    def test_one_error_names_all_and_nothing_is_changed(self) -> None:
        source, target = source_and_target()
        before = snapshot(target)
        with pytest.raises(MismatchError) as error:
            load_into(target, source)
        assert snapshot(target) == before
        assert error.value.report == WRONG
        assert str(error.value) == (
            "source and target do not fit: 0 loaded, 1 missing, 1 unexpected, 2 mismatched\n"
            "missing: 'only in target'\n"
            "unexpected: 'only in source'\n"
            "mismatched: 'kind': float32 [3] in the source, int64 [3] in the target\n"
            "mismatched: 'shape': float32 [3, 1] in the source, float32 [3] in the target"
        )

    def test_the_error_is_of_both_trees(self) -> None:
        assert issubclass(MismatchError, CheckpointError)
        assert issubclass(MismatchError, ValueError)

    @pytest.mark.parametrize("name", ["only in source", "only in target", "kind", "shape"])
    def test_each_is_enough(self, name: str) -> None:
        source, target = source_and_target()
        with pytest.raises(MismatchError, match=re.escape(repr(name))):
            load_into(
                {key: target[key] for key in ("fits", name) if key in target},
                {key: source[key] for key in ("fits", name) if key in source},
            )
        assert target["fits"].tolist() == [0, 0, 0]

    def test_not_strict_loads_what_fits(self) -> None:
        source, target = source_and_target()
        report = load_into(target, source, strict=False)
        assert report.loaded == ("fits",)
        assert (report.missing, report.unexpected) == (WRONG.missing, WRONG.unexpected)
        assert report.mismatched == WRONG.mismatched
        assert not report.ok
        assert target.pop("fits").tolist() == [1, 1, 1]
        assert not any(array.any() for array in target.values())

    def test_a_mismatch_is_found_without_reading(self) -> None:
        with open_checkpoint(VGG.prefix) as ckpt:
            ckpt.read = None
            with pytest.raises(MismatchError) as error:
                load_into(zeros() | {FC6: np.zeros(1)}, ckpt)
        assert [mismatch.name for mismatch in error.value.report.mismatched] == [FC6]

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize("mmap", [True, False])
    def test_damage_anywhere_leaves_the_target_alone(self, tmp_path, strict, mmap) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            info = ckpt.info("vgg_16/mean_rgb")  # the last
        flip_bit(info.file, info.offset)
        target = zeros()
        with open_checkpoint(prefix, mmap=mmap) as ckpt, pytest.raises(ChecksumError):
            load_into(target, ckpt, strict=strict)
        assert not any(array.any() for array in target.values())

    def test_a_transform_that_fails_leaves_the_target_alone(self) -> None:
        target = {"a": np.zeros(2), "b": np.zeros(2)}
        source = select({"a": np.ones(2), "b": np.ones(2)}, transform={"b": lambda a: a.reshape(7)})
        with pytest.raises(ValueError, match="transform of 'b'"):
            load_into(target, source)
        assert target["a"].tolist() == [0, 0]

    def test_a_selection(self) -> None:
        target = {"fc6.weight": np.zeros((12, 294), np.float32)}
        with open_checkpoint(VGG.prefix) as ckpt:
            load_into(
                target,
                select(
                    ckpt,
                    assignment_map={FC6: "fc6.weight"},
                    transform={"fc6.weight": lambda w: w.reshape(-1, 12).T},
                ),
            )
            np.testing.assert_array_equal(target["fc6.weight"], ckpt[FC6].reshape(-1, 12).T)

    def test_nothing_into_nothing(self) -> None:
        assert load_into({}, {}).ok


class TestTorch:
    @pytest.fixture
    def torch(self):
        from support.pytorch import torch

        return torch

    def test_a_state_dict_is_the_modules_own_memory(self, torch) -> None:
        module = torch.nn.Linear(3, 2)
        source = {"weight": np.arange(6, dtype=np.float64).reshape(2, 3), "bias": np.ones(2)}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for array in source.values():
                array.flags.writeable = False
            assert load_into(module.state_dict(), source).ok
        assert module.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert module.bias.tolist() == [1, 1]

    def test_parameters(self, torch) -> None:
        module = torch.nn.Linear(3, 2)
        weight = module.weight
        load_into(dict(module.named_parameters()), {"weight": np.ones((2, 3)), "bias": np.ones(2)})
        assert module.weight is weight
        assert weight.requires_grad
        assert weight.tolist() == [[1, 1, 1], [1, 1, 1]]

    def test_a_checkpoint(self, torch) -> None:
        target = {
            name: torch.zeros(array.shape, dtype=torch.from_numpy(array).dtype)
            for name, array in zeros().items()
        }
        with open_checkpoint(VGG.prefix) as ckpt:
            assert load_into(target, ckpt).ok
            for name, array in ckpt.items():
                np.testing.assert_array_equal(target[name].numpy(), array)

    @pytest.mark.parametrize(
        ("source", "target"),
        [
            ("float32", "float32"),
            ("float32", "bfloat16"),
            ("float64", "float16"),
            (ml_dtypes.bfloat16, "bfloat16"),
            (ml_dtypes.bfloat16, "float32"),
            (ml_dtypes.float8_e4m3fn, "float8_e4m3fn"),
            (ml_dtypes.float8_e5m2, "bfloat16"),
            (ml_dtypes.int4, "int8"),
            ("uint16", "uint16"),
            ("int64", "int32"),
            ("bool", "bool"),
            ("complex64", "complex128"),
            (">i4", "int32"),
        ],
    )
    def test_dtypes(self, torch, source, target: str) -> None:
        if not hasattr(torch, target):
            pytest.skip(f"PyTorch {torch.__version__} has no {target}")
        given = np.array([[1, 0, 1], [0, 1, 1]], source)
        into = {
            "matrix": torch.zeros((3, 2), dtype=getattr(torch, target)),
            "scalar": torch.zeros((), dtype=getattr(torch, target)),
        }
        load_into(into, {"matrix": given[:, ::-1].T, "scalar": given[0, 0, ...]})
        assert into["matrix"].to(torch.complex64).tolist() == [[1, 1], [0, 1], [1, 0]]
        assert into["scalar"].to(torch.complex64).item() == 1

    def test_bfloat16_bit_for_bit(self, torch) -> None:
        bits = np.array([0x7F80, 0xFF80, 0x0001, 0x8000, 0x3F81], np.uint16)
        into = {"a": torch.zeros(5, dtype=torch.bfloat16)}
        load_into(into, {"a": bits.view(ml_dtypes.bfloat16)})
        assert into["a"].view(torch.int16).numpy().tobytes() == bits.tobytes()

    def test_mismatches(self, torch) -> None:
        module = torch.nn.BatchNorm1d(3)
        before = {name: value.tolist() for name, value in module.state_dict().items()}
        source = {
            "weight": np.full((3, 1), 5.0),
            "bias": np.full(3, 5.0),
            "running_mean": np.full(3, 5j),
            "running_var": np.full(3, 5.0),
        }
        with pytest.raises(MismatchError) as error:
            load_into(module.state_dict(), source)
        report = error.value.report
        assert report.missing == ("num_batches_tracked",)
        assert report.mismatched == (
            Mismatch("weight", (3, 1), "float64", (3,), "torch.float32"),
            Mismatch("running_mean", (3,), "complex128", (3,), "torch.float32"),
        )
        assert {name: value.tolist() for name, value in module.state_dict().items()} == before

    def test_a_dtype_that_numpy_lacks_does_not_fit(self, torch) -> None:
        if not hasattr(torch, "bits8"):
            pytest.skip(f"PyTorch {torch.__version__} has no bits8")
        report = load_into(
            {"a": torch.empty(2, dtype=torch.bits8)}, {"a": np.zeros(2)}, strict=False
        )
        assert report.mismatched == (Mismatch("a", (2,), "float64", (2,), "torch.bits8"),)

    def test_on_the_meta_device_a_tensor_is_replaced(self, torch) -> None:
        module = torch.nn.Linear(3, 2, device="meta")
        weights = module.state_dict()
        load_into(weights, {"weight": np.ones((2, 3)), "bias": np.ones(2)})
        assert weights["weight"].tolist() == [[1, 1, 1], [1, 1, 1]]
        if "assign" in signature(module.load_state_dict).parameters:  # since PyTorch 2.1
            module.load_state_dict(weights, assign=True)
            assert module.weight.tolist() == [[1, 1, 1], [1, 1, 1]]

    def test_views_of_a_tensor(self, torch) -> None:
        whole = torch.zeros(3, 2)
        load_into({"a": whole.T}, {"a": np.arange(6.0).reshape(2, 3)})
        assert whole.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_pytorch_is_never_imported() -> None:
    code = (
        "import sys, numpy as np, ckptparse.weights.loading as t\n"
        "t.load_into({'a': np.zeros(2)}, {'a': np.ones(2)})\n"
        "sys.exit('torch' in sys.modules)"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environ).returncode == 0


@pytest.mark.parametrize(
    ("value", "fits"), [(2**31 - 1, True), (2**31, False), (-(2**31) - 1, False)]
)
def test_integers_that_would_wrap_do_not_go(value: int, fits: bool) -> None:
    target = {"step": np.zeros((), np.int32), "other": np.zeros(2, np.float32)}
    source = {"step": np.array(value), "other": np.ones(2, np.float32)}
    if fits:
        assert load_into(target, source).ok
        assert target["step"] == value
        return
    with pytest.raises(MismatchError, match="too large") as error:
        load_into(target, source)
    assert [mismatch.name for mismatch in error.value.report.mismatched] == ["step"]
    assert not target["other"].any()
    assert load_into(target, source, strict=False).loaded == ("other",)
    assert target["step"] == 0
