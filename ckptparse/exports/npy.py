"""Write a directory of `.npy` files, one for each tensor.

The scopes of a name become directories: ``vgg_16/fc6/weights`` is ``vgg_16/fc6/weights.npy``.
Bytes of a name that not every file system takes in a file name are quoted, as in URLs: ``%`` and
two hexadecimal digits.  So ``urllib.parse.unquote`` of the relative path, without the suffix, is
the name.  `to_path` has the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from io import BytesIO

from ckptparse.errors import InvalidTensorsError
from ckptparse.exports.contents import Contents, Form
from ckptparse.outputs import Output

SUFFIX = ".npy"

DTYPES = frozenset(
    ["bool", "complex64", "complex128", "float16", "float32", "float64"]
    + [f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)]
    + ["qint8", "quint8", "qint16", "quint16", "qint32"]
)
"""TensorFlow's names of the dtypes that numpy itself has."""

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.,=+@~{}()\[\] -]")
_MOST_PART_NBYTES = 255
"""The most that usual file systems take."""

_SEPARATOR = re.compile(rb"(?<=[^/])/(?=[^/])")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9]) *(\.|$)", re.IGNORECASE)
"""Names of devices on Windows, with any suffix."""


def require_writable(contents: Contents) -> None:
    """Check that the format can hold all tensors.

    Raises:
        UnsupportedError: numpy does not have the dtype of a tensor.
        InvalidTensorsError: a part of a name is too long for a file name.
    """
    contents.require_dtypes(DTYPES, "an .npy file")
    for name, path in to_paths(contents.forms).items():
        longest = max(map(len, path))
        if longest > _MOST_PART_NBYTES:
            raise InvalidTensorsError(
                "this name is too long for a file name",
                tensor=name,
                expected=f"at most {_MOST_PART_NBYTES} letters between two slashes: rename it",
                found=f"{longest} letters in the name of the file or directory",
            )


def write(contents: Contents, create: Callable[[tuple[str, ...]], Output]) -> None:
    """Write a file for each tensor.

    Args:
        contents: the tensors, which `require_writable` accepted.
        create: creates the file of a path, given by its parts.

    Raises:
        UnwritableError: the operating system fails.
        CheckpointError: reading a tensor failed.
    """
    paths = to_paths(contents.forms)
    for form, octets in contents.read_each(contents.forms):
        output = create(paths[form.name])
        output.write(format_header(form))
        for part in octets:
            output.write(part)
        output.finish()


def format_header(form: Form) -> bytes:
    """Return the bytes before the elements in an `.npy` file, as ``numpy.save`` writes them."""
    from numpy.lib import format as npy

    stream = BytesIO()
    npy.write_array_header_1_0(
        stream,
        {
            "descr": npy.dtype_to_descr(form.numpy_dtype.newbyteorder("<")),
            "fortran_order": False,
            "shape": form.shape,
        },
    )
    return stream.getvalue()


def to_paths(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the path of each name's file.

    The paths differ also on file systems that do not distinguish capital letters: if two names
    differ only in these, the capital letters of both are quoted.
    """
    paths = {name: to_path(name) for name in names}
    counts: dict[str, int] = {}
    for path in paths.values():
        key = "/".join(path).lower()
        counts[key] = counts.get(key, 0) + 1
    for name, path in paths.items():
        if counts["/".join(path).lower()] > 1:
            paths[name] = to_path(name, quotes_capitals=True)
    return paths


def to_path(name: str, *, quotes_capitals: bool = False) -> tuple[str, ...]:
    r"""Return the path of a name's file: safe names of directories, and of a file.

    Quoted are: bytes that are not in the list of `_UNSAFE`, among them control characters, ``\``,
    ``:`` and bytes above 127; a dot or a space at the end of a part, so also ``.`` and ``..``; a
    space at its begin; the first letter of a name that Windows has for a device; the dot of a
    directory that ends like a file, ``x.npy/``.  A slash with no name before or after it begins no
    directory and is quoted.
    """
    raw = name.encode("utf-8", "surrogateescape")
    *scopes, last = [_quote(part, quotes_capitals) for part in _SEPARATOR.split(raw)]
    scopes = [_quote_last_dot(part) if part.lower().endswith(SUFFIX) else part for part in scopes]
    return (*scopes, last + SUFFIX)


def _quote(part: bytes, quotes_capitals: bool) -> str:
    """Return a part of a name, quoted."""
    text = _UNSAFE.sub(lambda found: b"%%%02X" % ord(found[0]), part).decode()
    if text[:1] == " " or _DEVICE.match(text):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    if text[-1:] in (".", " "):
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    if quotes_capitals:
        text = re.sub("%..|[A-Z]", lambda f: f[0] if f[0][0] == "%" else f"%{ord(f[0]):02X}", text)
    return text


def _quote_last_dot(part: str) -> str:
    """Return the name of a directory with its last dot quoted."""
    before, _, after = part.rpartition(".")
    return f"{before}%2E{after}"
