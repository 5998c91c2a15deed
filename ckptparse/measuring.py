"""Compute statistics of checkpoints, given as mappings or by their paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ckptparse.analysis.statistics import Progress, StatsReport, compute_statistics
from ckptparse.opening import open_checkpoint


def stats(
    tensors: str | os.PathLike[str] | Mapping[str, Any], *, progress: Progress | None = None
) -> StatsReport:
    """Return statistics of each tensor, of each scope, and of all together.

    Reads all values once, piece by piece, so that the memory does not grow with the size of the
    tensors.  Large pieces are shared between the cores.

    Args:
        tensors: the path of a checkpoint, or a mapping from names to arrays: a `Checkpoint`, a
            `Selection`, a dict.
        progress: called with (bytes read so far, bytes in all) after each tensor.  The second
            number is None if it is not known.

    Returns:
        A report: a mapping from names to `Statistics` in the order of the tensors, with `scopes`,
        `total` and `remarks`.

    Raises:
        CheckpointError: opening a path, or reading a tensor, failed; see `open_checkpoint` and
            `Checkpoint.read`.

    Examples:
        >>> from ckptparse import stats
        >>> report = stats("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> biases = report["vgg_16/fc6/biases"]
        >>> biases.size, biases.nbytes, biases.nan
        (12, 48, 0)
        >>> report.total.num_tensors, report.total.size
        (34, 7248)
    """
    if isinstance(tensors, (str, os.PathLike)):
        with open_checkpoint(tensors) as ckpt:
            return compute_statistics(ckpt, progress=progress)
    return compute_statistics(tensors, progress=progress)
