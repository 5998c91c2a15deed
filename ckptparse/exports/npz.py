"""Write `.npz` archives, as ``numpy.savez`` does.

An archive is a zip file whose members are `.npy` files, stored without compression.  For the same
arrays it has the same bytes as an archive of ``numpy.savez``, if the output can be sought; else
(at URLs) the checksums of members follow their bytes, which zip files allow.
"""

from __future__ import annotations

from zipfile import ZipFile, ZipInfo

from ckptparse.errors import InvalidTensorsError
from ckptparse.exports.contents import Contents, is_text
from ckptparse.exports.npy import DTYPES, SUFFIX, format_header
from ckptparse.outputs import Output
from ckptparse.outputs.buffered import OutputStream

_MOST_NAME_NBYTES = 0xFFFF


def require_writable(contents: Contents) -> None:
    """Check that the format can hold all tensors.

    Raises:
        UnsupportedError: numpy does not have the dtype of a tensor.
        InvalidTensorsError: a member of an archive cannot have the name.
    """
    contents.require_dtypes(DTYPES, "an .npz file")
    for name in contents.forms:
        if not _is_member_name(name):
            raise InvalidTensorsError(
                "an array in an .npz file cannot have this name",
                tensor=name,
                expected="text in UTF-8 without NUL, of at most 65,531 bytes: rename it",
            )
        if name + SUFFIX in contents.forms:  # numpy looks for a member of exactly a name first
            raise InvalidTensorsError(
                "numpy cannot tell the names of two arrays in an .npz file apart",
                tensor=name,
                expected=f"names that differ not only by {SUFFIX} at the end: rename one",
                found=repr(name + SUFFIX),
            )


def _is_member_name(name: str) -> bool:
    return is_text(name) and "\0" not in name and len((name + SUFFIX).encode()) <= _MOST_NAME_NBYTES


def write(contents: Contents, output: Output) -> None:
    """Write an archive.

    Raises:
        UnwritableError: the operating system or the storage fails.
        CheckpointError: reading a tensor failed.
    """
    stream = OutputStream(output)
    with ZipFile(stream, "w") as archive:
        for form, octets in contents.read_each(contents.forms):
            member = ZipInfo(form.name + SUFFIX)
            member.filename = form.name + SUFFIX  # ZipInfo replaces the separators of this system
            with archive.open(member, "w", force_zip64=True) as file:
                file.write(format_header(form))
                for part in octets:
                    file.write(part)
    stream.pass_on()
    output.finish()
