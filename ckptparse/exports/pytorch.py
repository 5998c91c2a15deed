"""Write `.pt` files, as ``torch.save`` of a dict of tensors does, without PyTorch.

A file is a zip archive whose members are stored without compression
(torch/csrc/jit/serialization/pytorch_format.md, torch/serialization.py)::

    archive/data.pkl   the pickle of the dict; in place of elements, it has the number of a member
    archive/byteorder  "little"
    archive/data/0     the elements of the first tensor, which begin at a multiple of 64 bytes
    archive/data/1     those of the second, and so on
    archive/version    "3"

The pickle calls ``torch._utils._rebuild_tensor_v2``, or ``_rebuild_tensor_v3`` for dtypes that have
no class of storage.  ``torch.load`` allows both also with ``weights_only=True``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zipfile import ZipFile, ZipInfo

from ckptparse.errors import InvalidTensorsError
from ckptparse.exports.contents import Contents, Form, is_text
from ckptparse.outputs import Output
from ckptparse.outputs.buffered import OutputStream

SUFFIXES = (".pt", ".pth")

_STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int8": "CharStorage",
    "qint8": "CharStorage",
    "int16": "ShortStorage",
    "qint16": "ShortStorage",
    "int32": "IntStorage",
    "qint32": "IntStorage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "quint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}
"""TensorFlow's name of a dtype -> PyTorch's class of storages."""

_WITHOUT_STORAGE = {
    "uint16": "uint16",
    "quint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "float8_e4m3fn": "float8_e4m3fn",
    "float8_e5m2": "float8_e5m2",
    "float8_e4m3fnuz": "float8_e4m3fnuz",
    "float8_e5m2fnuz": "float8_e5m2fnuz",
}
"""TensorFlow's name of a dtype -> PyTorch's, of those without a class of storages."""

DTYPES = frozenset(_STORAGES) | frozenset(_WITHOUT_STORAGE)

# The operations of pickles that are needed (Lib/pickletools.py).  The module `pickle` itself, which
# can execute what a file says, is not imported.
_BININT = b"J"
_BINPERSID = b"Q"
_BINUNICODE = b"X"
_EMPTY_DICT = b"}"
_EMPTY_TUPLE = b")"
_GLOBAL = b"c"
_LONG1 = b"\x8a"
_MARK = b"("
_NEWFALSE = b"\x89"
_PROTO = b"\x80"
_REDUCE = b"R"
_SETITEMS = b"u"
_STOP = b"."
_TUPLE = b"t"

_ALIGNMENT = 64
_LOCAL_HEADER_NBYTES = 30
_ZIP64_NBYTES = 20
_MAX_INT32 = 0x7FFFFFFF


def require_writable(contents: Contents) -> None:
    """Check that the format can hold all tensors.

    Raises:
        UnsupportedError: PyTorch does not have the dtype of a tensor.
        InvalidTensorsError: a name is not text in UTF-8.
    """
    contents.require_dtypes(DTYPES, "a .pt file")
    for name in contents.forms:
        if not is_text(name):
            raise InvalidTensorsError(
                "a tensor in a .pt file cannot have this name",
                tensor=name,
                expected="text in UTF-8: rename it",
            )


def write(contents: Contents, output: Output) -> None:
    """Write a file.

    Raises:
        UnwritableError: the operating system or the storage fails.
        CheckpointError: reading a tensor failed.
    """
    stream = OutputStream(output)
    with ZipFile(stream, "w") as archive:
        _write_member(archive, "data.pkl", b"".join(_pickle(contents)))
        _write_member(archive, "byteorder", b"little")
        for number, (_, octets) in enumerate(contents.read_each(contents.forms)):
            member = ZipInfo(f"archive/data/{number}")
            start = stream.tell() + _LOCAL_HEADER_NBYTES + len(member.filename) + _ZIP64_NBYTES
            padding = -(start + 4) % _ALIGNMENT
            member.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            with archive.open(member, "w", force_zip64=True) as file:
                for part in octets:
                    file.write(part)
            member.extra = b""  # the central directory does not need it
        _write_member(archive, "version", b"3\n")
    stream.pass_on()
    output.finish()


def _write_member(archive: ZipFile, name: str, contents: bytes) -> None:
    with archive.open(ZipInfo(f"archive/{name}"), "w", force_zip64=True) as file:
        file.write(contents)


def _pickle(contents: Contents) -> Iterator[bytes]:
    """Yield the parts of the pickle of the dict."""
    yield _PROTO + b"\x02" + _EMPTY_DICT + _MARK
    for number, form in enumerate(contents.forms.values()):
        yield _text(form.name) + _tensor(form, number)
    yield _SETITEMS + _STOP


def _tensor(form: Form, number: int) -> bytes:
    """Return the code that makes a tensor.

    Args:
        form: its form.
        number: the number of the member with its elements.
    """
    dtype = _WITHOUT_STORAGE.get(form.dtype)
    size = form.nbytes if dtype else form.nbytes // form.numpy_dtype.itemsize
    storage = (
        _global("torch.storage", "UntypedStorage")
        if dtype
        else (_global("torch", _STORAGES[form.dtype]))
    )
    place = [_text("storage"), storage, _text(str(number)), _text("cpu"), _integer(size)]
    arguments = [
        _tuple(place) + _BINPERSID,
        _integer(0),  # the offset in the storage
        _tuple(map(_integer, form.shape)),
        _tuple(map(_integer, _strides(form.shape))),
        _NEWFALSE,  # whether it requires gradients
        _global("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE,  # no hooks
    ]
    if dtype:
        arguments.append(_global("torch", dtype))
    function = "_rebuild_tensor_v3" if dtype else "_rebuild_tensor_v2"
    return _global("torch._utils", function) + _tuple(arguments) + _REDUCE


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Return the distance between elements along each axis, of an array in row-major order."""
    strides = []
    stride = 1
    for size in reversed(shape):
        strides.append(stride)
        stride *= max(size, 1)
    return strides[::-1]


def _global(module: str, name: str) -> bytes:
    return _GLOBAL + f"{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _BINUNICODE + len(encoded).to_bytes(4, "little") + encoded


def _integer(number: int) -> bytes:
    if number <= _MAX_INT32:
        return _BININT + number.to_bytes(4, "little")
    return _LONG1 + b"\x09" + number.to_bytes(9, "little")


def _tuple(parts: Iterable[bytes]) -> bytes:
    return _MARK + b"".join(parts) + _TUPLE
