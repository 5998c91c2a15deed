"""Write `.h5` files: HDF5 with a dataset for each tensor, in groups for the scopes (extra `keras`).

h5py creates the groups and the datasets, whose elements lie in the file one after the other, and
says where.  Then the elements are written there piece by piece, without h5py.  Metadata becomes
attributes of the file.

HDF5 has no bfloat16.  As Keras does, it is written as opaque elements of two bytes, and the dataset
gets the attribute ``dtype``.

Keras from 2.12 loads a ``.weights.h5`` file by the paths of its datasets, such as
``layers/dense/vars/0``.  It needs no attributes.  Keras 2 also needs the group ``vars`` of the
model itself, which is empty in most models.

Source: keras/saving/saving_lib.py of Keras 2.12, keras/src/saving/saving_lib.py of Keras 3.15.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ckptparse.errors import InvalidTensorsError, UnsupportedError
from ckptparse.exports.contents import Contents, is_text
from ckptparse.exports.npy import DTYPES as NUMPY_DTYPES
from ckptparse.outputs import Output
from ckptparse.outputs.base import unwritable

SUFFIXES = (".h5", ".hdf5")
DTYPES = NUMPY_DTYPES | {"bfloat16"}

_MOST_DIMENSIONS = 32
"""``H5S_MAX_RANK`` of the HDF5 library."""
_MOST_KEY_NBYTES = 65_000
"""HDF5 has 65,535 bytes for a name of an attribute and what it says of its value."""

_ERRNO = re.compile(r"\berrno = ([0-9]{1,5})\b")


def require_writable(contents: Contents) -> None:
    """Check that the format can hold all tensors.

    Raises:
        UnsupportedError: h5py does not have the dtype of a tensor, or it has too many dimensions.
        InvalidTensorsError: a dataset cannot have the name, or a name is the scope of another.
        ImportError: h5py is not installed.
    """
    _import_h5py()
    contents.require_dtypes(DTYPES, "an .h5 file")
    for form in contents.forms.values():
        if len(form.shape) > _MOST_DIMENSIONS:
            raise UnsupportedError(
                f"an .h5 file cannot hold more than {_MOST_DIMENSIONS} dimensions",
                tensor=form.name,
                expected="another shape: reshape it, or exclude it",
                found=f"{len(form.shape)} dimensions",
            )
    scopes: dict[str, str] = {}
    for name in contents.forms:
        parts = name.split("/")
        if not is_text(name) or "\0" in name or "" in parts or "." in parts:
            raise InvalidTensorsError(
                "a dataset in an .h5 file cannot have this name",
                tensor=name,
                expected="text in UTF-8 without NUL, and no empty part or . between slashes:"
                " rename it",
            )
        for number in range(1, len(parts)):
            scopes.setdefault("/".join(parts[:number]), name)
    for name in contents.forms:
        if name in scopes:
            raise InvalidTensorsError(
                "in an .h5 file, a tensor cannot have the name of a scope",
                tensor=name,
                expected="another name for one of them: rename it",
                found=repr(scopes[name]),
            )


def can_hold_metadata(key: str, value: str) -> bool:
    """Return whether the file can have an attribute of this name with this text."""
    return (
        all(is_text(text) and "\0" not in text for text in (key, value))
        and 0 < len(key.encode()) <= _MOST_KEY_NBYTES
    )


def write(contents: Contents, output: Output, metadata: Mapping[str, str]) -> None:
    """Write a file.

    Args:
        contents: the tensors, which `require_writable` accepted.
        output: an output that `rewrites`; its path is that of a local file.
        metadata: the attributes of the file.

    Raises:
        UnwritableError: the operating system fails.
        CheckpointError: reading a tensor failed.
    """
    places = _create(output.path, contents, metadata)
    for form, octets in contents.read_each(contents.forms):
        position = places.get(form.name, 0)
        for part in octets:
            if part.nbytes:
                output.rewrite(position, part)
            position += part.nbytes
    output.finish()


def _create(path: str, contents: Contents, metadata: Mapping[str, str]) -> dict[str, int]:
    """Create a file with datasets whose elements are not written yet.

    Returns:
        Name -> position of the elements of each dataset that has any.
    """
    h5py = _import_h5py()
    places = {}
    try:
        # The output has locked the file already.
        with h5py.File(path, "w", locking=False) as file:
            for key, value in metadata.items():
                file.attrs[key] = value
            parents = {name.rpartition("/")[0].rpartition("/")[2] for name in contents.forms}
            if "vars" in parents and "vars" not in contents.forms:
                file.require_group("vars")  # that of the model itself
            for form in contents.forms.values():
                layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
                is_opaque = form.dtype == "bfloat16"
                dtype = "V2" if is_opaque else form.numpy_dtype.newbyteorder("<")
                dataset = file.create_dataset(form.name, form.shape, dtype, dcpl=layout)
                if is_opaque:
                    dataset.attrs["dtype"] = form.dtype
                if form.nbytes:
                    if not form.shape:  # h5py gives a scalar its place when it is written
                        dataset[()] = np.zeros((), dataset.dtype)
                    places[form.name] = dataset.id.get_offset()
    except (OSError, RuntimeError) as error:
        raise unwritable(_find_cause(error), path) from error
    return places


def _find_cause(error: OSError | RuntimeError) -> OSError:
    """Return the error of the operating system that made HDF5 fail.

    The texts of h5py have several lines, with times and addresses.  If a file cannot be closed,
    h5py raises a RuntimeError, which has the number in its text only.

    Raises:
        RuntimeError: it has another cause.
    """
    number = getattr(error, "errno", None)
    found = _ERRNO.search(str(error)) if number is None else None
    if found is not None:
        number = int(found[1])
    if number is not None:
        return OSError(number, os.strerror(number))
    if isinstance(error, OSError):
        return error
    raise error


def _import_h5py() -> Any:
    """Return the module h5py.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "to save .h5 files, install h5py: pip install 'ckptparse[keras]'"
        ) from error
    return h5py
