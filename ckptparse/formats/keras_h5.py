"""HDF5 files of Keras: ``.weights.h5``, and ``.h5`` of weights or of a whole model.

The name of a tensor is the path of its dataset.  Three forms of files are in use::

    Keras 1 and 2, tf.keras, Keras 3 with ``.h5``: weights
        attributes of the root      layer_names, backend, keras_version
        LAYER                       a group with the attribute weight_names
        LAYER/WEIGHT                a dataset; WEIGHT is the name of the variable, with slashes

    the same: a whole model
        attributes of the root      model_config, training_config, backend, keras_version
        model_weights               a group with the content of a file of weights
        optimizer_weights           a group with the attribute weight_names
        optimizer_weights/WEIGHT    a dataset

    Keras 3, ``.weights.h5``, and tf.keras from 2.12
        layers/LAYER/vars           a group, whose attribute ``name`` is the name of the layer
        layers/LAYER/vars/0         a dataset: the first variable of the layer
        optimizer/vars/0            a dataset: the first variable of the optimizer

An attribute cannot have more than 64 KB.  Longer lists of names are in several attributes:
``layer_names0``, ``layer_names1`` ...

In the first two forms, tensors are in the order of ``layer_names`` and ``weight_names``.  Others
are in the order of the groups, which HDF5 sorts by name; but members whose names are all numbers
are sorted as numbers.  Opaque elements of two bytes are bfloat16: in the third form, an attribute
``dtype`` of the dataset says so.

Sources: keras/saving/hdf5_format.py of Keras 2.13; keras/src/saving/saving_lib.py and
keras/src/legacy/saving/legacy_h5_format.py of Keras 3.15.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.errors import NotACheckpointError, UnsupportedError, located
from ckptparse.formats.container import ContainerReader, PlainArray, RefusedArray, StoredArray
from ckptparse.formats.reader import Reader
from ckptparse.hdf5.datatypes import bfloat16
from ckptparse.hdf5.file import Attributes, Dataset, HDF5File, open_hdf5
from ckptparse.hdf5.filters import FLETCHER32, decode_chunk
from ckptparse.hdf5.groups import Link
from ckptparse.hdf5.layouts import Chunk, Layout
from ckptparse.hdf5.superblock import SIGNATURE
from ckptparse.sources import Source
from ckptparse.sources.base import require_inside
from ckptparse.tensors import keras_paths
from ckptparse.tensors.arrays import require_shape, swap_bytes, take
from ckptparse.tensors.mapping import Role
from ckptparse.tensors.names import decode_name
from ckptparse.tensors.numpy_index import Index
from ckptparse.tensors.pieces import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckptparse.formats.keras_config import KerasDescription

MODEL_WEIGHTS = b"model_weights"
OPTIMIZER_WEIGHTS = keras_paths.OPTIMIZER_WEIGHTS.encode()
_TOP_LEVEL = b"top_level_model_weights"


class ChunkedArray(StoredArray):
    """An array in chunks, which may be compressed."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        layout: Layout,
        filters: tuple[int, ...],
        *,
        swapped: bool,
    ) -> None:
        """
        Args:
            dtype: dtype of the array, in the byte order of this machine.
            shape: shape of the array.
            layout: its chunks, in row-major order.
            filters: the filters of the chunks.
            swapped: whether the file has the other byte order.
        """
        super().__init__(dtype, shape)
        self.has_checksum = FLETCHER32 in filters
        self._layout = layout
        self._filters = filters
        self._swapped = swapped

    def read(self, source: Source, index: Index, *, check: bool) -> NDArray[Any]:
        require_shape(self.shape, self.dtype.itemsize)
        self._require_inside(source)
        whole = np.empty(self.shape, self.dtype)
        for chunk in self._layout.chunks:
            self._copy_chunk(source, chunk, whole, 0, check=check)
        part = take(whole, index)
        part.flags.writeable = False
        return part

    def read_pieces(
        self, source: Source, piece_nbytes: int, *, check: bool
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the pieces; has the chunks of one row of chunks in memory at a time."""
        require_shape(self.shape, self.dtype.itemsize)
        self._require_inside(source)
        chunks = self._layout.chunks
        num_rows = self._layout.chunk_shape[0] if self.shape else 1
        per_row = prod(-(-n // m) for n, m in zip(self.shape[1:], self._layout.chunk_shape[1:]))
        row_size = prod(self.shape[1:])
        for i in range(0, len(chunks), per_row):
            first = chunks[i].start[0]
            shape = (min(num_rows, self.shape[0] - first), *self.shape[1:])
            rows = np.empty(shape, self.dtype)
            for chunk in chunks[i : i + per_row]:
                self._copy_chunk(source, chunk, rows, first, check=check)
            rows.flags.writeable = False
            for start, index in cut(shape, self.dtype.itemsize, piece_nbytes):
                yield first * row_size + start, rows[index]

    def _require_inside(self, source: Source) -> None:
        """Raise TruncatedError if a chunk is not in the file, before memory is allocated."""
        for chunk in self._layout.chunks:
            require_inside(source.name, chunk.offset, chunk.offset + chunk.nbytes, source.nbytes)

    def _copy_chunk(
        self, source: Source, chunk: Chunk, rows: NDArray[Any], first: int, *, check: bool
    ) -> None:
        """Copy the elements of a chunk to an array of all rows from `first` on."""
        chunk_shape = self._layout.chunk_shape
        octets = decode_chunk(
            source.read(chunk.offset, chunk.offset + chunk.nbytes),
            self._filters,
            chunk.skipped,
            itemsize=self.dtype.itemsize,
            nbytes=prod(chunk_shape) * self.dtype.itemsize,
            offset=chunk.offset,
            check=check,
        )
        elements = np.frombuffer(octets, self.dtype).reshape(chunk_shape)
        start = (chunk.start[0] - first, *chunk.start[1:])
        target = rows[tuple(slice(i, i + n) for i, n in zip(start, chunk_shape))]
        source_part = elements[tuple(slice(0, n) for n in target.shape)]
        target[...] = swap_bytes(source_part) if self._swapped else source_part


def open_keras_h5(source: Source, *, verify: bool) -> Reader:
    """Open an HDF5 file of Keras.

    Args:
        source: the file; the reader closes it.
        verify: whether to compare the checksums of chunks, which Keras does not write.

    Raises:
        NotACheckpointError: the file does not begin as HDF5 files do.
        CorruptCheckpointError: the structures of the file contradict each other.
        UnsupportedError: the file has a form of HDF5 that Keras does not write.
    """
    first = bytes(source.read(0, min(source.nbytes, len(SIGNATURE))))
    if first != SIGNATURE:
        raise NotACheckpointError(
            "this is not an HDF5 file",
            file=source.name,
            offset=0,
            expected=f"the first bytes {SIGNATURE.hex(' ')}",
            found=first.hex(" ") or "an empty file",
        )
    arrays, roles = list_arrays(source)
    return KerasH5Reader("keras-h5", source, arrays, verify=verify, roles=roles)


class KerasH5Reader(ContainerReader):
    """An open HDF5 file of Keras."""

    def describe(self) -> KerasDescription:
        """Read what the file says about its model; see `keras_config`."""
        from ckptparse.formats.keras_config import describe_h5  # imported only for descriptions

        return describe_h5(self._source)

    def metadata(self) -> dict[str, Any]:
        """Return what the file says about its model."""
        return self.describe().to_metadata()

    def variable_names(self) -> dict[str, str]:
        """Return the names of variables."""
        return self.describe().variable_names


def list_arrays(source: Source) -> tuple[dict[bytes, StoredArray], dict[str, Role]]:
    """Return the arrays of an HDF5 file by name, in order, and their roles.

    Args:
        source: the file.

    Raises:
        CorruptCheckpointError: as `open_keras_h5`.
        UnsupportedError: as `open_keras_h5`.
    """
    with located(file=source.name):
        file = open_hdf5(source, sort_links)
        paths = order_paths(file)
        arrays = {path: _make_array(file, file.datasets[path]) for path in paths}
    names = map(decode_name, paths)
    return arrays, {name: "state" if keras_paths.is_state(name) else "weight" for name in names}


def sort_links(links: list[Link]) -> list[Link]:
    """Return the members of a group sorted by name; as numbers, if all names are numbers."""
    if all(link.name.isdigit() and len(link.name) < 10 for link in links):
        return sorted(links, key=lambda link: int(link.name))
    return sorted(links)


def _make_array(file: HDF5File, dataset: Dataset) -> StoredArray:
    """Return how to read a dataset."""
    type, layout = dataset.type, dataset.layout
    if dataset.error is not None or type is None or type.dtype is None or layout is None:
        return _refuse(dataset, dataset.error)
    dtype = type.dtype
    if type.is_opaque:
        name = file.strings(dataset.attributes, b"dtype") or [b"bfloat16"]
        if name != [b"bfloat16"]:
            return _refuse(dataset, None)
        dtype = bfloat16()
    if layout.offset is not None:
        return PlainArray(dtype, dataset.shape, layout.offset, swapped=type.is_swapped)
    return ChunkedArray(dtype, dataset.shape, layout, dataset.filters, swapped=type.is_swapped)


def _refuse(dataset: Dataset, error: UnsupportedError | None) -> RefusedArray:
    """Return a dataset that is listed, but cannot be read."""
    words = "an unknown type" if dataset.type is None else dataset.type.words

    def make_error() -> UnsupportedError:
        if error is None:
            return UnsupportedError(
                "this dataset has elements of a type that HDF5 does not know",
                expected="numbers, booleans or bfloat16",
                found=words,
            )
        return UnsupportedError(
            error.message, offset=error.offset, expected=error.expected, found=error.found
        )

    refused = RefusedArray(words, dataset.shape, (0, 0), make_error)
    refused.offset = None
    return refused


# Order and roles


def order_paths(file: HDF5File) -> list[bytes]:
    """Return the paths of all datasets: in the order of the lists of names, then of the groups."""
    ordered: dict[bytes, None] = {}
    for above in (MODEL_WEIGHTS + b"/", b""):
        group = file.groups.get(above.rstrip(b"/"), {})
        layers = list_names(file, group, b"layer_names")
        for layer in dict.fromkeys([*layers, _TOP_LEVEL] if layers else []):
            _add_weights(file, above + layer, ordered)
    _add_weights(file, OPTIMIZER_WEIGHTS, ordered)
    return [*ordered, *(path for path in file.datasets if path not in ordered)]


def _add_weights(file: HDF5File, path: bytes, ordered: dict[bytes, None]) -> None:
    """Add the datasets that a group's list of names has."""
    for name in list_names(file, file.groups.get(path, {}), b"weight_names"):
        dataset = path + b"/" + name
        if dataset in file.datasets:
            ordered[dataset] = None


def list_names(file: HDF5File, attributes: Attributes, name: bytes) -> list[bytes]:
    """Return a list of names that is in one attribute, or in several with numbers."""
    if name in attributes:
        return file.strings(attributes, name)
    names: list[bytes] = []
    number = 0
    while name + b"%d" % number in attributes:
        names += file.strings(attributes, name + b"%d" % number)
        number += 1
    return names
