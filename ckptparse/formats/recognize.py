"""Recognise files by their first bytes: containers, and for error messages other files.

Each of the other formats was found in published repositories instead of a checkpoint, or is easily
confused with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ckptparse.errors import CheckpointError, NotACheckpointError, TruncatedError
from ckptparse.sources import Source
from ckptparse.sstable.layout import MAGIC

_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_MAGIC_AS_UTF8 = bytes.fromhex("57 efbfbd efbfbd efbfbd 24 75 47 efbfbd")

_MOST_FIRST_NBYTES = 64
"""Longer than any of `_BY_FIRST_BYTES`."""

_MOST_SHOWN = 12
"""Number of first bytes in an error's text."""

ARCHIVE = "archive"
"""What `find_container` returns for a zip, tar or gzip file that may contain a checkpoint."""

_EMPTY_ZIP = b"PK\x05\x06"
_GZIP = b"\x1f\x8b"
_TAR = b"ustar"
_TAR_AT = 257

_BY_FIRST_BYTES = (
    (_GIT_LFS, "a git-lfs pointer (the file itself was never downloaded: git lfs pull)"),
    (b"404: Not Found", "the text of a failed download, '404: Not Found'"),
    (b"<!DOCTYPE", "an HTML page, probably of a failed download"),
    (b"<!doctype", "an HTML page, probably of a failed download"),
    (b"<html", "an HTML page, probably of a failed download"),
    (_HDF5, "an HDF5 file (Keras .h5)"),
    (_ZIP, "a zip archive (a .keras file, a PyTorch file or an .npz)"),
    (_GZIP, "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (b"\x93NUMPY", "a numpy .npy file"),
    (b"\x80\x02", "a pickle"),
    (b"model_checkpoint_path:", "a `checkpoint` state file"),
    (
        b'{\n  "metadata": {',
        "the index of a set of .safetensors files: open each of these files, or merge them",
    ),
)


_BEGINNINGS = {
    ".npz": f"a zip archive, which begins with {_ZIP.hex(' ')}",
    ".keras": f"a zip archive, which begins with {_ZIP.hex(' ')}",
    ".h5": f"an HDF5 file, which begins with {_HDF5.hex(' ')}",
    ".hdf5": f"an HDF5 file, which begins with {_HDF5.hex(' ')}",
    ".safetensors": "the size of the header in 8 bytes, and then the header, which begins with {",
}
"""Suffix of the name of a file -> what is expected in it, for an error's text."""

_GRAPH_SUFFIXES = (".pb", ".pbtxt")


def find_container(source: Source) -> str | None:
    """Return the format of a container by its first bytes, or its name if they say nothing.

    `ARCHIVE` for an archive: what it contains tells whether it is a container.  None for a table,
    and for any other file.

    Raises:
        UnreadableError: the operating system or the storage refuses.
    """
    head = bytes(source.read(0, min(source.nbytes, _TAR_AT + len(_TAR))))
    tail = bytes(source.read(max(source.nbytes - len(MAGIC), 0), source.nbytes))
    if tail == MAGIC:
        return None
    if head.startswith(_HDF5):
        return "keras-h5"
    if head.startswith((_ZIP, _EMPTY_ZIP)):
        suffix = source.name[source.name.rfind(".") :]
        return {".keras": "keras", ".npz": "npz"}.get(suffix, ARCHIVE)
    if head.startswith(_GZIP) or head[_TAR_AT:] == _TAR:
        return ARCHIVE
    if head[8:9] == b"{":
        is_whole = int.from_bytes(head[:8], "little") <= source.nbytes - 8
        if is_whole or source.name.endswith(".safetensors"):  # else its header is cut off
            return "safetensors"
    return "frozen-graph" if source.name.endswith(_GRAPH_SUFFIXES) else None


def _begins_as_container(head: bytes) -> bool:
    """Return whether a file begins as a container: the user asked for another format."""
    return head.startswith((_HDF5, _ZIP, _EMPTY_ZIP)) or head[8:9] == b"{"


def name_foreign_format(source: Source) -> str | None:
    """Return what a file is by its first and last bytes, in words.

    None when that is unknown, also because the file cannot be read, or no longer: the caller has a
    better error to raise.
    """
    return _name_by_ends(*_read_ends(source))


def _read_ends(source: Source) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a file; none if they cannot be read."""
    try:
        head = source.read(0, min(source.nbytes, _MOST_FIRST_NBYTES))
        tail = source.read(max(source.nbytes - len(_MAGIC_AS_UTF8), 0), source.nbytes)
    except (CheckpointError, ValueError):  # a ValueError: another thread has closed the source
        return b"", b""
    return bytes(head), bytes(tail)


def _name_by_ends(head: bytes, tail: bytes) -> str | None:
    if tail.endswith(_MAGIC_AS_UTF8):
        return "a table that was saved as text: every byte above 7f was replaced by ef bf bd"
    for first_bytes, words in _BY_FIRST_BYTES:
        if head.startswith(first_bytes):
            return words
    if head[8:10] == b'{"':
        return "a safetensors file"
    return None


@contextmanager
def recognized(source: Source) -> Iterator[None]:
    """Replace an error for a file that is not a table by one that describes the file, if possible.

    Raises:
        NotACheckpointError: the file has another known format.
    """
    try:
        yield
    except (NotACheckpointError, TruncatedError):
        head, tail = _read_ends(source)
        suffix = source.name[source.name.rfind(".") :]
        beginning = None if _begins_as_container(head) else _BEGINNINGS.get(suffix)
        foreign = _name_by_ends(head, tail)
        if tail.endswith(MAGIC) or (foreign is None and beginning is None):
            raise
        if beginning is not None:
            raise NotACheckpointError(
                f"this is not a {suffix} file" + (f" but {foreign}" if foreign else ""),
                file=source.name,
                expected=beginning,
                found=head[:_MOST_SHOWN].hex(" ") or "an empty file",
            ) from None
        raise NotACheckpointError(
            f"this is not a checkpoint but {foreign}",
            file=source.name,
            expected=f"the magic {MAGIC.hex(' ')} at the end",
            found=tail[-len(MAGIC) :].hex(" "),
        ) from None
