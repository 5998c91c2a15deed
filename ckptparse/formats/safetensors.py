"""Read safetensors files.

::

    8 bytes   N, the number of bytes of the header, little-endian
    N bytes   the header: a JSON object in UTF-8, may end with spaces
    the rest  the elements of all tensors, without gaps

    header    {"__metadata__": {text: text, ...}, NAME: tensor, ...}
    tensor    {"dtype": "F32", "shape": [2, 3], "data_offsets": [START, STOP]}

Offsets count from the end of the header.  Elements are little-endian and in row-major order.  The
tensors cover the rest of the file exactly, each byte once.  There are no checksums.

Sources: the README of safetensors ("Format"), and `Metadata::validate` and `Dtype` in its
safetensors/src/tensor.rs (0.8), for the checks, their order, and the list of dtypes.  One rule is
of the README alone, the library does not check it: no name occurs twice.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain
from math import prod
from operator import itemgetter, sub
from typing import Any, NoReturn, cast

import numpy as np

from ckptparse.errors import (
    CheckpointError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    UnsupportedError,
    located,
)
from ckptparse.formats.container import ContainerReader, PlainArray, RefusedArray, StoredArray
from ckptparse.limits import (
    MAX_FREE_INFLATED_HEADER_NBYTES,
    MAX_INFLATED_HEADER_RATIO,
    MAX_SAFETENSORS_HEADER_NBYTES,
)
from ckptparse.sources import Source
from ckptparse.sources.base import require_dense
from ckptparse.tensors.dtypes import name_of_array
from ckptparse.tensors.info import TensorForms, TensorInfo

_LENGTH_NBYTES = 8

_MAX_COUNT = 2**64 - 1
"""The library counts elements, bits and bytes in unsigned integers of 64 bits."""

_NUMPY_NAMES = {
    "BOOL": ("bool_", 8),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}
"""Name of a dtype in the file -> name in numpy or ml_dtypes, and bits of an element."""

_BITS_OF_PACKED = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""The dtypes whose elements are smaller than a byte.  The library has no numpy arrays of them."""

_BITS = {**{name: bits for name, (_, bits) in _NUMPY_NAMES.items()}, **_BITS_OF_PACKED}

_Object = tuple[tuple[str, Any], ...]
"""A JSON object as the pairs of its members, so that repeated names are noticed."""


_Tensor = tuple[int, int, str, str, tuple[int, ...]]
"""Start and stop, from the end of the header; name; name of the dtype; shape.

A tuple without names, because making named ones takes a fifth of the time of a listing.
"""


def open_safetensors(source: Source, *, verify: bool) -> SafetensorsReader:
    """Open a safetensors file; reads its header.

    Raises:
        NotACheckpointError: the file has no header.
        TruncatedError: the file is shorter than the header says.
        CorruptCheckpointError: the header is not valid.
        UnsupportedError: the header has a dtype of a newer version.
    """
    with located(file=source.name):
        return SafetensorsReader(source, verify=verify)


class SafetensorsReader(ContainerReader):
    """An open safetensors file."""

    def __init__(self, source: Source, *, verify: bool) -> None:
        """Read the header; raises the errors of `open_safetensors`."""
        super().__init__("safetensors", source, {}, verify=verify)
        self._start, header = _read_header(source)
        self.index_nbytes = self._start
        tensors = _read_tensors(header, self._start)
        _require_file_nbytes(source, self._start + (tensors[-1][1] if tensors else 0))
        self._tensors = tensors
        self._by_key: dict[bytes, _Tensor] | None = None

    def _tensors_by_key(self) -> dict[bytes, _Tensor]:
        """Return the tensors by name, made at first need: `infos` and `forms` do without."""
        if self._by_key is None:
            self._by_key = {tensor[2].encode(): tensor for tensor in self._tensors}
        return self._by_key

    def metadata(self) -> dict[str, str]:
        """Return the member "__metadata__" of the header."""
        with located(file=self.path):
            _, header = _read_header(self._source)
            members = dict(_parse(header))
            return dict(members.get("__metadata__") or ())

    def keys(self) -> list[bytes]:
        """Return the names of all tensors as bytes, in the order of their elements."""
        return list(self._tensors_by_key())

    def find(self, key: bytes) -> StoredArray | None:
        """Return an array; None if there is none of that name.  Reads nothing."""
        tensor = self._tensors_by_key().get(key)
        if tensor is None:
            return None
        start, stop, _, dtype, shape = tensor
        if dtype in _BITS_OF_PACKED:
            span = self._start + start, self._start + stop
            return RefusedArray(dtype, shape, span, partial(_packed_error, dtype))
        is_big = sys.byteorder == "big"
        return PlainArray(_dtype_of(dtype), shape, self._start + start, swapped=is_big)

    def infos(self) -> list[TensorInfo]:
        """Return `info` of all tensors, in a third of the time of one after the other."""
        is_view = self._source.mapped and sys.byteorder == "little"
        dtypes: dict[str, tuple[np.dtype[Any], str, bool]] = {}
        infos = []
        for start, stop, name, dtype, shape in self._tensors:
            if dtype not in dtypes:
                is_packed = dtype in _BITS_OF_PACKED
                numpy_dtype = np.dtype(object) if is_packed else _dtype_of(dtype)
                dtypes[dtype] = numpy_dtype, _dtype_name(dtype), is_view and not is_packed
            numpy_dtype, dtype_name, is_mapped = dtypes[dtype]
            infos.append(
                TensorInfo(
                    name,
                    numpy_dtype,
                    dtype_name,
                    shape,
                    prod(shape),
                    stop - start,
                    (),
                    is_mapped and stop > start,
                    self.path,
                    self._start + start,
                )
            )
        return infos

    def forms(self) -> TensorForms:
        """Return names, shapes and dtypes of all tensors as three lists."""
        if not self._tensors:
            return TensorForms([], [], [])
        _, _, names, dtypes, shapes = zip(*self._tensors)
        dtype_names = {dtype: _dtype_name(dtype) for dtype in set(dtypes)}
        return TensorForms(list(names), list(shapes), [dtype_names[dtype] for dtype in dtypes])


def _read_header(source: Source) -> tuple[int, str]:
    """Return where the header ends, and its text."""
    if source.nbytes < _LENGTH_NBYTES:
        raise NotACheckpointError(
            "this is not a safetensors file",
            expected=f"{_LENGTH_NBYTES} bytes with the length of the header",
            found=f"a file of {source.nbytes} bytes",
        )
    nbytes = int.from_bytes(source.read(0, _LENGTH_NBYTES), "little")
    if nbytes > MAX_SAFETENSORS_HEADER_NBYTES:
        raise CorruptCheckpointError(
            "the header is too large",
            offset=0,
            expected=f"at most {MAX_SAFETENSORS_HEADER_NBYTES} bytes, as in the library",
            found=nbytes,
        )
    require_dense(
        source,
        nbytes,
        "the header",
        ratio=MAX_INFLATED_HEADER_RATIO,
        free_nbytes=MAX_FREE_INFLATED_HEADER_NBYTES,
    )
    stop = _LENGTH_NBYTES + nbytes
    if stop > source.nbytes:
        raise TruncatedError(
            "this file is cut off: it ends before its header does",
            offset=_LENGTH_NBYTES,
            expected=f"{nbytes} bytes up to byte {stop}",
            found=f"a file of {source.nbytes} bytes",
        )
    header = source.read(_LENGTH_NBYTES, stop)
    if header[:1] != b"{":
        raise NotACheckpointError(
            "this is not a safetensors file",
            offset=_LENGTH_NBYTES,
            expected="a header that begins with {",
            found=repr(bytes(header[:20])),
        )
    try:
        return stop, str(header, "utf-8")
    except UnicodeDecodeError as error:
        raise CorruptCheckpointError(
            "the header is not UTF-8",
            offset=_LENGTH_NBYTES + error.start,
            expected="text in UTF-8",
            found=f"byte {header[error.start]:02x}",
        ) from None


def _require_file_nbytes(source: Source, nbytes: int) -> None:
    """Raise an error unless the file has exactly these bytes."""
    if source.nbytes < nbytes:
        raise TruncatedError(
            "this file is cut off: it ends before its tensors do",
            expected=f"a file of {nbytes} bytes",
            found=f"a file of {source.nbytes} bytes",
        )
    if source.nbytes > nbytes:
        raise CorruptCheckpointError(
            "there are bytes after the last tensor",
            offset=nbytes,
            expected=f"a file of {nbytes} bytes",
            found=f"a file of {source.nbytes} bytes",
        )


# JSON


def _parse(header: str) -> _Object:
    """Return the members of the header.

    An object is a tuple of pairs, an array is a list, and a number that is no integer is None.
    Python's parser takes at most some 32 bytes of memory for each byte of text in this form.
    """
    from json import JSONDecoder  # imported only for files that have JSON

    decoder = JSONDecoder(
        object_pairs_hook=tuple,
        parse_int=int if _is_int_limited() else _parse_short,
        parse_float=_no_integer,
        parse_constant=_refuse_constant,
    )
    try:
        value = decoder.decode(header)
    except ValueError as error:
        position = getattr(error, "pos", None)  # counts letters
        nbytes = None if position is None else len(header[:position].encode())
        raise CorruptCheckpointError(
            "the header is not JSON",
            offset=None if nbytes is None else _LENGTH_NBYTES + nbytes,
            expected="a JSON object",
            found=str(error),
        ) from None
    except RecursionError:
        raise CorruptCheckpointError(
            "the header is nested too deeply",
            offset=_LENGTH_NBYTES,
            expected="objects with a dtype, a shape and offsets",
            found="more nested objects or arrays than Python allows",
        ) from None
    if type(value) is not tuple:
        raise _wrong("the header", "a JSON object", value)
    return value


def _is_int_limited() -> bool:
    """Return whether Python refuses long integers, for whose digits it takes quadratic time."""
    return 0 < getattr(sys, "get_int_max_str_digits", int)() <= 4300


def _parse_short(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("an integer of more than 64 bits")
    return int(digits)


def _no_integer(digits: str) -> None:
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _wrong(place: str, expected: str, found: object) -> CorruptCheckpointError:
    """Return the error for a value of the header that is not as it has to be."""
    shown = "null" if found is None else repr(found)
    if type(found) is tuple:
        shown = "an object"
    elif type(found) is list:
        plain = all(type(item) in (int, bool) for item in found)
        shown = repr(found[:40]) if plain else "an array of other values"
    return CorruptCheckpointError(
        f"{place} is not valid", offset=_LENGTH_NBYTES, expected=expected, found=shown
    )


def _unique(members: _Object, place: str) -> _Object:
    """Return the members of an object; raises an error if a name occurs twice."""
    if len({name for name, _ in members}) < len(members):
        seen: set[str] = set()
        for name, _ in members:
            if name in seen:
                raise CorruptCheckpointError(
                    f"{place} has a name twice",
                    offset=_LENGTH_NBYTES,
                    expected="each name once",
                    found=repr(name),
                )
            seen.add(name)
    return members


def _require_metadata(value: object) -> None:
    """Raise an error unless the member "__metadata__" is as it has to be."""
    if value is None:
        return
    if type(value) is not tuple or any(type(text) is not str for _, text in value):
        raise _wrong("__metadata__", "an object whose values are strings", value)


# Headers as the library writes them

_COUNT = "(?:0|[1-9][0-9]{0,19})"
_PLAIN = re.compile(
    r'"([^"\\\x00-\x1f]*)":\{"dtype":"'
    rf'([A-Z0-9_]+","shape":\[(?:{_COUNT}(?:,{_COUNT}){{0,63}})?)\],'
    rf'"data_offsets":\[({_COUNT}),({_COUNT})\]\}},'
)
"""A tensor: its name; its form, which is dtype and shape; start and stop."""

_BETWEEN = '","shape":['
"""What is between the dtype and the shape of a form."""

_PLAIN_LETTERS = len('"":{"dtype":"],"data_offsets":[,]},')
"""The letters of a tensor that are the same in all."""

_METADATA = '"__metadata__":'


def _read_plain(header: str) -> list[_Tensor] | None:
    """Return the tensors of a header that the library wrote; None for any other, also a bad one.

    This takes a quarter of the time of a JSON parser and checks of one tensor after the other.
    """
    text = header.rstrip(" ")
    start = 1
    if text.startswith(_METADATA, start):
        metadata = _METADATA_TEXT.match(text, start)
        if metadata is None:
            return None
        start = metadata.end()
    if not text.endswith("}}"):
        return None
    text = text[start:-1] + ","
    found = _PLAIN.findall(text)
    if not found:
        return None
    names, forms, *offsets = zip(*found)
    letters = sum(map(len, chain(names, forms, *offsets)))
    if letters + len(found) * _PLAIN_LETTERS != len(text):  # there is something between matches
        return None
    if len({*names, "__metadata__"}) <= len(names):
        return None
    known = {form: _read_form(form) for form in set(forms)}
    if None in known.values():
        return None
    dtypes, shapes, sizes = zip(*map(known.__getitem__, forms))
    starts, stops = (tuple(map(int, each)) for each in offsets)
    in_order = starts == (0, *stops[:-1])
    if not in_order or tuple(map(sub, stops, starts)) != sizes or stops[-1] > _MAX_COUNT:
        return None
    return list(zip(starts, stops, names, dtypes, shapes))


_TEXT = r'"[^"\\\x00-\x1f]*"'
_METADATA_TEXT = re.compile(rf"{_METADATA}\{{(?:{_TEXT}:{_TEXT}(?:,{_TEXT}:{_TEXT})*)?\}},")
"""Metadata without escapes."""


def _read_form(form: str) -> tuple[str, tuple[int, ...], int] | None:
    """Return the dtype, shape and number of bytes of a tensor; None if they are not valid."""
    dtype, _, text = form.partition(_BETWEEN)
    shape = tuple(map(int, text.split(","))) if text else ()
    if dtype not in _BITS or not _are_counts(shape):
        return None
    try:
        return dtype, shape, _count_bytes(shape, _BITS[dtype])
    except CorruptCheckpointError:
        return None


# Tensors


def _read_tensors(header: str, base: int) -> list[_Tensor]:
    """Return the tensors of a header, in the order of their elements.

    Args:
        header: the text.
        base: position of its end in the file.
    """
    plain = _read_plain(header)
    return _read_json(header, base) if plain is None else plain


def _read_json(header: str, base: int) -> list[_Tensor]:
    """Return the tensors of any header; see `_read_tensors`."""
    tensors = []
    for name, value in _unique(_parse(header), "the header"):
        if name == "__metadata__":
            _require_metadata(value)
            continue
        try:
            tensors.append(_read_tensor(name, value))
        except CheckpointError as error:
            error.locate(tensor=name)
            raise
    tensors.sort(key=itemgetter(0, 1))  # old versions of the library wrote them sorted by name
    end = 0
    for start, stop, name, _, _ in tensors:
        if start != end:
            raise CorruptCheckpointError(
                "the bytes of tensors overlap, or have gaps between them",
                offset=base + start,
                tensor=name,
                expected=f"data_offsets that begin at {end}, where the previous tensor ends",
                found=f"[{start}, {stop}]",
            )
        end = stop
    return tensors


def _read_tensor(name: str, value: object) -> _Tensor:
    """Return a tensor of the header, with all checks that concern it alone."""
    if type(value) is not tuple:
        raise _wrong("a tensor of the header", "an object", value)
    fields = dict(value)
    if len(fields) < len(value):
        _unique(value, "a tensor of the header")
    dtype, shape, offsets = map(fields.get, ("dtype", "shape", "data_offsets"))
    if type(dtype) is not str:
        raise _wrong("the dtype", "a string", dtype)
    bits = _BITS.get(dtype)
    if bits is None:
        raise UnsupportedError(
            "this version does not know the dtype of a tensor",
            offset=_LENGTH_NBYTES,
            expected=f"one of {', '.join(_BITS)}",
            found=repr(dtype),
        )
    if type(shape) is not list or not _are_counts(shape):
        raise _wrong("the shape", "an array of integers from 0 to 2**64 - 1", shape)
    if type(offsets) is not list or len(offsets) != 2 or not _are_counts(offsets):
        raise _wrong("data_offsets", "two integers from 0 to 2**64 - 1", offsets)
    start, stop = offsets
    nbytes = _count_bytes(shape, bits)
    if stop - start != nbytes:
        raise CorruptCheckpointError(
            "the size of a tensor contradicts its shape",
            offset=_LENGTH_NBYTES,
            expected=f"data_offsets with a difference of {nbytes}",
            found=f"[{start}, {stop}]",
        )
    if not name.isascii():
        _require_unicode(name)
    return start, stop, name, dtype, tuple(shape)


def _are_counts(values: Sequence[object]) -> bool:
    """Return whether all values are integers, not booleans, from 0 to 2**64 - 1."""
    if {int}.issuperset(map(type, values)):
        numbers = cast("Sequence[int]", values)
        return not numbers or (min(numbers) >= 0 and max(numbers) <= _MAX_COUNT)
    return False


def _count_bytes(shape: Sequence[int], bits: int) -> int:
    """Return the number of bytes of a tensor; products are checked as the library does."""
    count = 1
    for size in shape:
        count *= size
        if count > _MAX_COUNT:
            break
    count *= bits
    if count > _MAX_COUNT:
        raise CorruptCheckpointError(
            "a tensor has too many elements",
            offset=_LENGTH_NBYTES,
            expected="fewer than 2**64 bits",
            found=f"{list(shape[:40])}",
        )
    if count % 8:
        raise CorruptCheckpointError(
            "a tensor ends inside a byte",
            offset=_LENGTH_NBYTES,
            expected="a multiple of 8 bits",
            found=f"{count} bits",
        )
    return count // 8


def _require_unicode(name: str) -> None:
    """Raise an error if a name has lone surrogates, which JSON can write as escapes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CorruptCheckpointError(
            "the name of a tensor is not Unicode",
            offset=_LENGTH_NBYTES,
            expected="text without lone surrogates",
            found=repr(name),
        ) from None


_DTYPES: dict[str, np.dtype[Any]] = {}


def _dtype_of(name: str) -> np.dtype[Any]:
    """Return the numpy dtype of a name in the file."""
    dtype = _DTYPES.get(name)
    if dtype is None:
        numpy_name, _ = _NUMPY_NAMES[name]
        scalar_type = getattr(np, numpy_name, None)
        if scalar_type is None:
            import ml_dtypes  # imported only for tensors of these types

            scalar_type = getattr(ml_dtypes, numpy_name)
        dtype = _DTYPES[name] = np.dtype(scalar_type)
    return dtype


def _dtype_name(dtype: str) -> str:
    """Return TensorFlow's name of a dtype; the name in the file if numpy has no such dtype."""
    return dtype if dtype in _BITS_OF_PACKED else name_of_array(_dtype_of(dtype))


def _packed_error(dtype: str) -> UnsupportedError:
    """Return the error for reading a tensor whose elements are smaller than a byte."""
    return UnsupportedError(
        "the elements of this tensor are smaller than a byte",
        expected="a dtype that the numpy side of safetensors can read",
        found=dtype,
    )
