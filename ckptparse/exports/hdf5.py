"""Write `.h5` files: HDF5 with a dataset for each tensor, in groups for the scopes (extra `keras`).

h5py creates the groups and the datasets in memory, and says where their elements are in the file.
Then all is written without h5py, the elements piece by piece.  Metadata becomes attributes of the
file.

HDF5 has no bfloat16.  As Keras does, it is written as opaque elements of two bytes, and the dataset
gets the attribute ``dtype``.

Keras from 2.12 loads a ``.weights.h5`` file by the paths of its datasets, such as
``layers/dense/vars/0``.  It needs no attributes.  Keras 2 also needs the group ``vars`` of the
model itself, which is empty in most models.

Source: keras/saving/saving_lib.py of Keras 2.12, keras/src/saving/saving_lib.py of Keras 3.15.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ckptparse.errors import InvalidTensorsError, UnsupportedError
from ckptparse.exports.contents import Contents, is_text
from ckptparse.exports.npy import DTYPES as NUMPY_DTYPES
from ckptparse.outputs import Output
from ckptparse.outputs.base import Buffer

SUFFIXES = (".h5", ".hdf5")
DTYPES = NUMPY_DTYPES | {"bfloat16"}

_MOST_DIMENSIONS = 32
"""``H5S_MAX_RANK`` of the HDF5 library."""
_MOST_KEY_NBYTES = 65_000
"""HDF5 has 65,535 bytes for a name of an attribute and what it says of its value."""

_PAGE_NBYTES = 1 << 14


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
        output: an output that `rewrites`.
        metadata: the attributes of the file.

    Raises:
        UnwritableError: the operating system fails.
        CheckpointError: reading a tensor failed.
    """
    image, places = _create(contents, metadata)
    for position, page in image.pages():
        output.rewrite(position, page)
    for form, octets in contents.read_each(contents.forms):
        position = places.get(form.name, 0)
        for part in octets:
            if part.nbytes:
                output.rewrite(position, part)
            position += part.nbytes
    output.finish()


def _create(contents: Contents, metadata: Mapping[str, str]) -> tuple[_Image, dict[str, int]]:
    """Create a file with datasets whose elements are not written yet.

    Returns:
        The file, without the elements; and name -> position of the elements of each dataset that
        has any.
    """
    h5py = _import_h5py()
    places = {}
    image = _Image()
    with h5py.File(image, "w") as file:
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
    return image, places


class _Image(io.RawIOBase):
    """A file in memory that has only those pages that were written.

    HDF5 does not recover from a failed write, as on a full disk: it keeps the file open, and can
    crash the process later.  Writes to this file do not fail.
    """

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._position = 0
        self._nbytes = 0

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Yield the position and the bytes of each page that was written, and of the last byte."""
        for number in sorted(self._pages):
            start = number * _PAGE_NBYTES
            yield start, bytes(self._pages[number][: self._nbytes - start])
        if self._nbytes and (self._nbytes - 1) // _PAGE_NBYTES not in self._pages:
            yield self._nbytes - 1, b"\0"

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._nbytes}[whence]
        self._position = base + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the number of bytes."""
        self._nbytes = self._position if size is None else size
        for number in [number for number in self._pages if number * _PAGE_NBYTES >= self._nbytes]:
            del self._pages[number]
        return self._nbytes

    def write(self, contents: Buffer) -> int:
        """Write bytes at the position."""
        view = memoryview(contents).cast("B")
        nbytes = len(view)
        while view:
            number, start = divmod(self._position, _PAGE_NBYTES)
            part = view[: _PAGE_NBYTES - start]
            page = self._pages.setdefault(number, bytearray(_PAGE_NBYTES))
            page[start : start + len(part)] = part
            self._position += len(part)
            view = view[len(part) :]
        self._nbytes = max(self._nbytes, self._position)
        return nbytes

    def readinto(self, buffer: Buffer) -> int:
        """Read bytes from the position; those that were not written are zeros."""
        view = memoryview(buffer).cast("B")[: max(self._nbytes - self._position, 0)]
        nbytes = len(view)
        while view:
            number, start = divmod(self._position, _PAGE_NBYTES)
            part = view[: _PAGE_NBYTES - start]
            page = self._pages.get(number)
            part[:] = bytes(len(part)) if page is None else page[start : start + len(part)]
            self._position += len(part)
            view = view[len(part) :]
        return nbytes


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
