"""What people have in place of a checkpoint: other formats and mishaps, told by their first bytes.

Each was met in published repositories or is the usual mix-up; the answer only ever goes into the
text of an error.
"""

from __future__ import annotations

_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_MAGIC_AS_UTF8 = bytes.fromhex("57 efbfbd efbfbd efbfbd 24 75 47 efbfbd")

_BY_FIRST_BYTES = (
    (_GIT_LFS, "a git-lfs pointer (the file itself was never downloaded: git lfs pull)"),
    (b"404: Not Found", "the text of a failed download, '404: Not Found'"),
    (b"<!DOCTYPE", "an HTML page, probably of a failed download"),
    (b"<!doctype", "an HTML page, probably of a failed download"),
    (b"<html", "an HTML page, probably of a failed download"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras .h5)"),
    (b"PK\x03\x04", "a zip archive (a .keras file, a PyTorch file or an .npz)"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"\x93NUMPY", "a numpy .npy file"),
    (b"\x80\x02", "a pickle"),
    (b"model_checkpoint_path:", "a `checkpoint` state file"),
)


def name_foreign_format(head: bytes, tail: bytes) -> str | None:
    """What a file with these first and last bytes is, in words; None when unknown."""
    if tail.endswith(_MAGIC_AS_UTF8):
        return "a table that was saved as text: every byte above 7f was replaced by ef bf bd"
    for first_bytes, words in _BY_FIRST_BYTES:
        if head.startswith(first_bytes):
            return words
    if head[8:10] == b'{"':
        return "a safetensors file"
    return None
