"""``.keras`` archives: zip files of tf.keras from 2.12 and of Keras 3.

::

    metadata.json       version of Keras and date
    config.json         layers and optimizer; see `keras_config`
    model.weights.h5    the weights; see `keras_h5`
    assets/             vocabularies and other files of layers

Keras stores the members without compression, so that tensors are mapped from the archive.  The
CRC-32 of ``model.weights.h5`` covers all tensors; it is compared by `Checkpoint.verify` only, since
the first access of a tensor would have to read all others.

Source: keras/src/saving/saving_lib.py of Keras 3.15.
"""

from __future__ import annotations

import zlib
from copy import copy
from typing import TYPE_CHECKING, Any

from ckptparse.errors import CheckpointError, NotACheckpointError, UnsupportedError, located
from ckptparse.formats.container import StoredArray, crc32_of_range, require_crc32
from ckptparse.formats.keras_config import KerasDescription, describe_archive
from ckptparse.formats.keras_h5 import KerasH5Reader, list_arrays
from ckptparse.formats.reader import OnPiece, Reader
from ckptparse.limits import (
    MAX_CONFIG_NBYTES,
    MAX_FREE_INFLATED_CONFIG_NBYTES,
    MAX_INFLATED_HEADER_RATIO,
)
from ckptparse.sources import Source
from ckptparse.sources.base import require_dense
from ckptparse.sources.zip import STORED, ZipMember, open_member, read_zip
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.numpy_index import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
METADATA = "metadata.json"


class KerasReader(KerasH5Reader):
    """An open archive.

    Tensors are read from the member with the weights.  If it is stored, their offsets are positions
    in the archive; if it is compressed, they have none.
    """

    def __init__(self, archive: Source, member: ZipMember, *, verify: bool) -> None:
        """
        Args:
            archive: the archive; the reader closes it.
            member: the HDF5 file in it.
            verify: whether to compare the checksums of chunks.
        """
        weights = open_member(archive, member)
        arrays, roles = list_arrays(weights)
        super().__init__("keras", weights, arrays, verify=verify, roles=roles)
        self.path = archive.name
        self._archive = archive
        self._member = member
        self._is_compared = False
        self._damage: CheckpointError | None = None

    def describe(self) -> KerasDescription:
        """Read what the archive says about its model."""
        return describe_keras(self._archive)

    def info(self, key: bytes, entry: StoredArray) -> TensorInfo:
        """Return the metadata of an array; reads nothing."""
        info = super().info(key, entry)
        if info.offset is None or self._member.method != STORED:
            return info._replace(offset=None)
        return info._replace(offset=self._member.offset + info.offset)

    def read(self, key: bytes, entry: StoredArray, index: Index) -> NDArray[Any]:
        """Return an array or a part of it; see `Checkpoint.read`."""
        with located(file=self._source.name):
            return super().read(key, entry, index)

    def verify(self, key: bytes, entry: StoredArray) -> bool:
        """Read all bytes of an array; compare the CRC-32 of the HDF5 file."""
        with located(file=self._source.name):
            self._require_intact()
            super().verify(key, entry)
        return True

    def verify_and_read(self, key: bytes, entry: StoredArray, on_piece: OnPiece) -> bool:
        """Check the HDF5 file, and read an array; see `Reader.verify_and_read`."""
        with located(file=self._source.name):
            self._require_intact()
            super().verify_and_read(key, entry, on_piece)
        return True

    def _require_intact(self) -> None:
        """Raise an error if the HDF5 file is damaged.  All arrays share one comparison.

        Raises:
            CheckpointError: its bytes are not those that were written, or cannot be read.
        """
        if not self._is_compared:
            try:
                self._compare()
            except CheckpointError as error:
                error.whole_file = True
                error.forget_frames()
                self._damage = error
            self._is_compared = True
        if self._damage is not None:
            raise copy(self._damage)  # each tensor adds its name to its own

    def _compare(self) -> None:
        """Compare the CRC-32 of the HDF5 file.

        Raises:
            ChecksumError: the bytes are not those that were written.
            CheckpointError: they cannot be read.
        """
        crc = crc32_of_range(self._source, 0, self._source.nbytes)
        require_crc32(crc, self._member.crc32, 0)

    def forget_verified(self) -> None:
        """Have every checksum compared again when it is next needed."""
        super().forget_verified()
        self._is_compared = False
        self._damage = None

    def close(self) -> None:
        """Close the archive."""
        super().close()
        self._archive.close()


def open_keras(source: Source, *, verify: bool) -> Reader:
    """Open a ``.keras`` archive.

    Args:
        source: the archive; the reader closes it.
        verify: whether to compare the checksums of chunks, which Keras does not write.

    Raises:
        NotACheckpointError: this is not an archive of Keras.
        CorruptCheckpointError: the archive, or the HDF5 file in it, is damaged.
        UnsupportedError: the archive has weights in another form.
    """
    return KerasReader(source, _find_weights(source, _members(source)), verify=verify)


def describe_keras(source: Source) -> KerasDescription:
    """Return what a ``.keras`` archive says about its model.

    Args:
        source: the archive.

    Raises:
        NotACheckpointError: this is not an archive of Keras.
        CorruptCheckpointError: the archive or a file in it is damaged, or exceeds a limit.
        UnsupportedError: the archive has weights in another form.

    Examples:
        >>> from ckptparse.formats.keras import describe_keras
        >>> from ckptparse.sources import LocalFiles
        >>> source = LocalFiles(mmap=True).open("fixtures/tf-2.21.0/keras_h5/model.keras")
        >>> description = describe_keras(source)
        >>> description.keras_version, description.date_saved
        ('3.15.1', '2017-07-14@02:40:00')
        >>> description.variable_names["layers/dense/vars/0"]
        'head/0'
    """
    members = _members(source)
    weights = open_member(source, _find_weights(source, members))
    metadata = _read_text(source, members.get(METADATA))
    config = _read_text(source, members.get(CONFIG))
    return describe_archive(metadata, config, weights)


def _members(source: Source) -> dict[str, ZipMember]:
    """Return the members of an archive by name."""
    return {member.name: member for member in read_zip(source)}


def _find_weights(source: Source, members: dict[str, ZipMember]) -> ZipMember:
    """Return the member with the weights."""
    member = members.get(WEIGHTS)
    if member is not None:
        return member
    if CONFIG in members:
        raise UnsupportedError(
            "this archive of Keras has no HDF5 file of weights",
            file=source.name,
            expected=WEIGHTS,
            found=", ".join(sorted(members)),
        )
    raise NotACheckpointError(
        "this zip archive was not written by Keras",
        file=source.name,
        expected=f"{WEIGHTS} and {CONFIG}",
        found=", ".join(sorted(members)),
    )


def _read_text(source: Source, member: ZipMember | None) -> bytes:
    """Return the content of a member; b"" if there is none."""
    if member is None:
        return b""
    if member.nbytes > MAX_CONFIG_NBYTES:
        raise UnsupportedError(
            f"{member.name} is too long",
            file=source.name,
            expected=f"at most {MAX_CONFIG_NBYTES} bytes",
            found=member.nbytes,
        )
    text = open_member(source, member)
    require_dense(
        text,
        member.nbytes,
        member.name,
        ratio=MAX_INFLATED_HEADER_RATIO,
        free_nbytes=MAX_FREE_INFLATED_CONFIG_NBYTES,
    )
    content = bytes(text.read(0, text.nbytes))
    if member.method == STORED:
        require_crc32(zlib.crc32(content), member.crc32, 0)
    return content
