"""The public names, and the cost of importing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ckptparse
from support.children import output_of
from support.repository import ROOT

EXPORTED = [
    "Cause",
    "Checkpoint",
    "CheckpointError",
    "CheckpointNotFoundError",
    "ChecksumError",
    "ConflictError",
    "CorruptCheckpointError",
    "Damage",
    "DataLossError",
    "DiffReport",
    "MismatchError",
    "MissingShardError",
    "NotACheckpointError",
    "NotFoundError",
    "TensorInfo",
    "TensorNotFoundError",
    "TensorSlice",
    "TruncatedError",
    "UnreadableError",
    "UnsupportedError",
    "VerifyReport",
    "as_tensorflow",
    "average",
    "diff",
    "load_into",
    "match",
    "merge",
    "open_checkpoint",
    "save",
    "save_checkpoint",
    "stats",
    "to_dask",
    "convert",
    "CheckpointExistsError",
    "InvalidTensorsError",
    "UnwritableError",
    "train",
]


def test_exported_names() -> None:
    assert sorted(ckptparse.__all__) == sorted(EXPORTED)
    assert all(hasattr(ckptparse, name) for name in EXPORTED)


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


NEVER_AT_FIRST = [
    "tensorflow",
    "google",
    "ml_dtypes",
    "snappy",
    "tqdm",
    "argparse",
    "fsspec",
    "h5py",
    "torch",
    "dask",
]


@pytest.mark.parametrize(
    "statement",
    [
        "import ckptparse",
        "import ckptparse; ckptparse.open_checkpoint({vgg!r})['vgg_16/fc6/weights']",
    ],
    ids=["import", "first tensor"],
)
def test_the_first_tensor_costs_no_slow_import(statement: str) -> None:
    statement = statement.format(vgg=str(ROOT / "fixtures/tf-1.15.5/vgg_16/model.ckpt"))
    loaded = loaded_by(statement) - loaded_by("import numpy, crc32c")
    assert not loaded & set(NEVER_AT_FIRST)


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r"ckptparse\[dask\]"):
        ckptparse.to_dask(ROOT / "fixtures/tf-1.15.5/vgg_16/model.ckpt")


def test_dir_lists_every_public_name() -> None:
    """Interactive shells complete names from it before anything is loaded."""
    code = "import ckptparse; print(*set(ckptparse.__all__) - set(dir(ckptparse)))"
    assert output_of(code) == [""]


def test_average_merge_and_diff_are_loaded_at_need() -> None:
    code = """
import sys, ckptparse
lazy = {"ckptparse.combining", "ckptparse.weights.average", "ckptparse.weights.merge"}
lazy |= {"ckptparse.comparing", "ckptparse.analysis.comparison"}
print(*lazy & set(sys.modules))
"""
    assert output_of(code) == [""]
