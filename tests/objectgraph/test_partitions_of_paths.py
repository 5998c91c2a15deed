"""`save_checkpoint` takes the caller's names in `partitions`, also if it gives the tensors keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ckptparse import TensorNotFoundError, open_checkpoint, save_checkpoint

TENSORS = {"model/kernel": np.arange(6.0).reshape(3, 2), "model/bias": np.ones(2)}
KEY = "model/kernel/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.mark.parametrize("name", ["model/kernel", KEY], ids=["path", "key"])
def test_a_tensor_is_partitioned(tmp_path: Path, name: str) -> None:
    prefix = save_checkpoint(tmp_path / "m", TENSORS, object_graph="paths", partitions={name: 3})
    with open_checkpoint(prefix) as ckpt:
        assert len(ckpt.info(KEY).slices) == 3
        np.testing.assert_array_equal(ckpt[KEY], TENSORS["model/kernel"])


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TensorNotFoundError):
        save_checkpoint(
            tmp_path / "m", TENSORS, object_graph="paths", partitions={"model/other": 3}
        )
