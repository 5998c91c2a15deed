"""The formats that tensors are saved in, besides checkpoints.

==================  =====================  =======================================================
format              suffix                 files
==================  =====================  =======================================================
``"safetensors"``   ``.safetensors``       a file, or several with an index
``"npz"``           ``.npz``               an archive of numpy
``"npy"``           ``.npy``               a directory with one file for each tensor
``"pt"``            ``.pt``, ``.pth``      a file of PyTorch
``"h5"``            ``.h5``, ``.hdf5``     a file of HDF5
==================  =====================  =======================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from ckptparse.exports import hdf5, npy, npz, pytorch, safetensors
from ckptparse.exports.contents import Contents
from ckptparse.outputs import Output
from ckptparse.outputs.files import Create


class ExportOptions(NamedTuple):
    """How a format is written.

    Attributes:
        shard_nbytes: the maximum number of bytes of the tensors in a file; None for one file.
        metadata: texts that are saved with the tensors.
    """

    shard_nbytes: int | None
    metadata: Mapping[str, str]


WriteExport = Callable[
    [Contents, str, Create, ExportOptions, Collection[str]], Iterable[tuple[str, Output]]
]
"""Writes tensors, which the format can hold, to files; see `WriteFiles`.  The name is that of the
file, or of the file that a set stands for."""


class ExportFormat(NamedTuple):
    """A format that tensors are saved in.

    Attributes:
        suffixes: suffixes of paths.
        require_writable: checks that the format can hold all tensors.
        write: writes the files; None if the tensors are saved in a directory of `.npy` files.
        find_set: finds the files of a set among the names of a folder; see `FindSet`.
        can_hold_metadata: whether it can hold a key and a text of metadata; None if it has no
            place for metadata.
        is_divisible: whether it can be divided into several files.
        only_on_disk: why it cannot be written at a URL; None if it can.
    """

    suffixes: tuple[str, ...]
    require_writable: Callable[[Contents], None]
    write: WriteExport | None
    find_set: Callable[[Collection[str], str], list[str]] | None = None
    can_hold_metadata: Callable[[str, str], bool] | None = None
    is_divisible: bool = False
    only_on_disk: str | None = None


def _single(write: Callable[[Contents, Output, Mapping[str, str]], None]) -> WriteExport:
    """Return the writer of a format of one file."""

    def write_single(
        contents: Contents,
        base: str,
        create: Create,
        options: ExportOptions,
        taken: Collection[str],
    ) -> Iterator[tuple[str, Output]]:
        output = create()
        write(contents, output, options.metadata)
        yield base, output

    return write_single


def _write_safetensors(
    contents: Contents, base: str, create: Create, options: ExportOptions, taken: Collection[str]
) -> Iterator[tuple[str, Output]]:
    return safetensors.write(
        contents,
        base,
        create,
        shard_nbytes=options.shard_nbytes,
        metadata=options.metadata,
        taken=taken,
    )


EXPORTS = {
    "safetensors": ExportFormat(
        (safetensors.SUFFIX,),
        safetensors.require_writable,
        _write_safetensors,
        find_set=safetensors.find_set,
        can_hold_metadata=safetensors.can_hold_metadata,
        is_divisible=True,
    ),
    "npz": ExportFormat(
        (".npz",),
        npz.require_writable,
        _single(lambda contents, output, _: npz.write(contents, output)),
    ),
    "npy": ExportFormat(
        (npy.SUFFIX,),
        npy.require_writable,
        None,
        only_on_disk="a directory of .npy files cannot be saved at a URL, where directories cannot"
        " be renamed",
    ),
    "pt": ExportFormat(
        pytorch.SUFFIXES,
        pytorch.require_writable,
        _single(lambda contents, output, _: pytorch.write(contents, output)),
    ),
    "h5": ExportFormat(
        hdf5.SUFFIXES,
        hdf5.require_writable,
        _single(hdf5.write),
        can_hold_metadata=hdf5.can_hold_metadata,
        only_on_disk="an .h5 file cannot be saved at a URL, because its bytes are not written in"
        " order",
    ),
}
"""Name of a format -> the format."""

FORMATS = ("checkpoint", *EXPORTS)
"""All names of formats."""

_BY_SUFFIX = {suffix: name for name, format in EXPORTS.items() for suffix in format.suffixes}

_OTHER_SUFFIXES = frozenset(
    [
        ".bin",
        ".csv",
        ".data",
        ".gguf",
        ".gz",
        ".hdf",
        ".index",
        ".json",
        ".keras",
        ".mat",
        ".meta",
        ".msgpack",
        ".onnx",
        ".pb",
        ".pbtxt",
        ".pickle",
        ".pkl",
        ".safetensor",
        ".tar",
        ".tflite",
        ".tgz",
        ".torch",
        ".txt",
        ".zip",
    ]
)
"""Suffixes of files that are no checkpoint; a checkpoint of such a name would mislead."""


def find_format(path: str, format: str | None) -> str:
    """Return the name of the format to save in.

    Args:
        path: the path to save to.
        format: name of a format; None for that of the suffix.

    Raises:
        ValueError: there is no such format, or the suffix is that of one that cannot be written.
    """
    if format is not None:
        if format not in FORMATS:
            raise ValueError(f"format is one of {', '.join(FORMATS)}, not {format!r}")
        return format
    lower = path.rstrip("/").lower()
    suffix = os.path.splitext(lower)[1]
    if suffix in _OTHER_SUFFIXES or suffix.startswith(".data-"):
        known = ", ".join(_BY_SUFFIX)
        hint = " (Keras loads weights from .weights.h5, too)" if suffix == ".keras" else ""
        raise ValueError(
            f"cannot save in the format of {suffix}{hint}: the suffixes are {known}, or none of"
            f' these for a checkpoint; format="checkpoint" (--to checkpoint) saves one under any'
            f" name"
        )
    return _BY_SUFFIX.get(suffix, "checkpoint")


def has_metadata(format: str) -> bool:
    """Return whether a format has a place for metadata."""
    return format in EXPORTS and EXPORTS[format].can_hold_metadata is not None


def can_hold_metadata(format: str, key: str, value: str) -> bool:
    """Return whether a format can hold a text of metadata under a key."""
    can_hold = EXPORTS[format].can_hold_metadata if format in EXPORTS else None
    return can_hold is not None and can_hold(key, value)


def require_options(
    format: str, shard_nbytes: int | None, metadata: Mapping[str, str] | None
) -> None:
    """Check that a format has the options that were given; None for those that were not.

    Raises:
        ValueError: it cannot be divided into several files, or has no place for metadata, or cannot
            hold it.
    """
    if shard_nbytes is not None and format in EXPORTS and not EXPORTS[format].is_divisible:
        raise ValueError(
            f"{format} cannot be divided into files of a size: only safetensors and checkpoints can"
        )
    if shard_nbytes is not None and shard_nbytes < 1:
        raise ValueError(f"shard_nbytes is a number of bytes from 1, not {shard_nbytes}")
    if metadata is not None and not has_metadata(format):
        raise ValueError(f"{format} has no place for metadata")
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ValueError(f"metadata maps texts to texts, not {key!r} to {value!r}")
        if not can_hold_metadata(format, key, value):
            raise ValueError(
                f"{format} cannot hold metadata with the key {key[:100]!r} and the text"
                f" {value[:100]!r}: expected UTF-8, and for h5 no NUL, and a key of 1 to 65,000"
                f" bytes"
            )
