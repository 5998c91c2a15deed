"""``.npz`` archives with one wrong field in the header of an array; every checksum is right."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import (
    CheckpointError,
    ChecksumError,
    CorruptCheckpointError,
    NotACheckpointError,
    TruncatedError,
    open_checkpoint,
)
from support.hostile import READ, Refused, Right, Unsupported, each_case

RIGHT = Right({"x": [1, 2, 3]})
PAYLOAD = np.array([1, 2, 3], "<i2").tobytes()
METHODS = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}


def archive(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as opened:
        for name, contents in members.items():
            opened.writestr(zipfile.ZipInfo(name), contents, method)
    return stream.getvalue()


def write_npz(folder: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "m.npz"
    path.write_bytes(archive(members, method))
    return path


def npy(
    header: str | bytes = "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }",
    *,
    magic: bytes = b"\x93NUMPY",
    version: tuple[int, int] = (1, 0),
    length: int | None = None,
    payload: bytes = PAYLOAD,
) -> bytes:
    text = header if isinstance(header, bytes) else header.encode("latin-1")
    text += b"\n"
    form = "<H" if version < (2, 0) else "<I"
    nbytes = struct.pack(form, len(text) if length is None else length)
    return magic + bytes(version) + nbytes + text + payload


def fields(
    descr: str = "'<i2'", fortran_order: str = "False", shape: str = "(3,)", rest: str = ""
) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, {rest}}}"
    return npy(text.encode())


def refused(words: str, error_class: Any = CorruptCheckpointError) -> Refused:
    return Refused(READ, words, error_class, suffix="")


INVALID = refused("the header of this array is not valid")
NO_SIZE = refused("the size of an array contradicts its shape")
NO_DTYPE = Unsupported("numpy has no such dtype")
NO_BYTES = Unsupported("have no bytes")
OBJECTS = Unsupported("pickle")

ARRAYS: dict[str, Any] = {
    "as numpy writes it": (npy(), RIGHT),
    "version 2": (npy(version=(2, 0)), RIGHT),
    "version 3": (npy(version=(3, 0)), RIGHT),
    "version 0": (npy(version=(0, 0)), Unsupported("version of .npy")),
    "version 1.1": (npy(version=(1, 1)), Unsupported("version of .npy")),
    "version 4": (npy(version=(4, 0)), Unsupported("version of .npy")),
    "another magic": (npy(magic=b"\x93NUMPZ"), refused("not an .npy file")),
    "a pickle": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", refused("not an .npy file")),
    "nothing": (b"", refused("not an .npy file")),
    "half a magic": (b"\x93NUM", refused("not an .npy file")),
    "no version": (b"\x93NUMPY", Unsupported("version of .npy")),
    "no length": (b"\x93NUMPY\1\0", refused("ends before its header", TruncatedError)),
    "no header": (b"\x93NUMPY\1\0\x10\0", refused("ends before its header", TruncatedError)),
    "a length of 0": (npy(length=0), INVALID),
    "a length that is one less": (npy(length=57), NO_SIZE),
    "a length that is two more": (npy(length=60), INVALID),
    "a length beyond the member": (npy(length=500), refused("ends before", TruncatedError)),
    "a length beyond the limit": (npy(length=10_001), Unsupported("too long")),
    "a length of 2**32-1": (npy(version=(2, 0), length=2**32 - 1), Unsupported("too long")),
    "a header of 9,999 bytes": (npy(fields()[10:-7] + b" " * 9_939), RIGHT),
    "one byte less": (npy(payload=PAYLOAD[:-1]), NO_SIZE),
    "one byte more": (npy(payload=PAYLOAD + b"\0"), NO_SIZE),
    "no elements": (npy(payload=b""), NO_SIZE),
    # The literal
    "no spaces": (npy("{'descr':'<i2','fortran_order':False,'shape':(3,)}"), RIGHT),
    "many spaces": (
        npy("  { 'descr' :'<i2' ,'fortran_order': False,\t'shape':( 3 , ) , }  "),
        RIGHT,
    ),
    "another order": (npy("{'shape': (3,), 'fortran_order': False, 'descr': '<i2'}"), RIGHT),
    "double quotes": (fields(descr='"<i2"'), RIGHT),
    "long integers of Python 2": (fields(shape="(3L,)"), RIGHT),
    "a key twice": (fields(rest="'shape': (3,), "), RIGHT),
    "nothing in it": (npy(""), INVALID),
    "a NUL": (npy("\0"), INVALID),
    "no dict": (npy("3"), INVALID),
    "a list": (npy("['descr', 'fortran_order', 'shape']"), INVALID),
    "an empty dict": (npy("{}"), INVALID),
    "a set": (npy("{'descr', 'fortran_order', 'shape'}"), INVALID),
    "a number as key": (fields(rest="1: 2"), INVALID),
    "a key too much": (fields(rest="'x': 1"), INVALID),
    "no shape": (npy("{'descr': '<i2', 'fortran_order': False}"), INVALID),
    "no comma": (npy("{'descr': '<i2' 'fortran_order': False, 'shape': (3,)}"), INVALID),
    "two commas": (fields(rest=","), INVALID),
    "an open dict": (npy("{'descr': '<i2', 'fortran_order': False, 'shape': (3,)"), INVALID),
    "an open string": (npy("{'descr': '<i2"), INVALID),
    "more after it": (npy("{'descr': '<i2', 'fortran_order': False, 'shape': (3,)} + 1"), INVALID),
    "a call": (fields(descr="__import__('os').system('true')"), INVALID),
    "an expression": (fields(shape="(1+2,)"), INVALID),
    "a lambda": (fields(shape="(lambda: 3)()"), INVALID),
    "an escape": (fields(descr="'\\x3ci2'"), INVALID),
    "a line feed in a string": (fields(descr="'<i\n2'"), INVALID),
    "nested brackets": (npy("(" * 9_000), INVALID),
    "nested brackets of a shape": (fields(shape="(" * 4_000 + "3" + ")" * 4_000), INVALID),
    "nested fields": (fields(descr="[('a'," * 1000), INVALID),
    "not UTF-8": (npy(b"{'descr': '<i2\xff'}", version=(3, 0)), INVALID),
    # shape and fortran_order
    "a number as shape": (fields(shape="3"), INVALID),
    "a number in brackets": (fields(shape="(3)"), INVALID),
    "a list as shape": (fields(shape="[3]"), INVALID),
    "a negative size": (fields(shape="(-3,)"), INVALID),
    "two negative sizes": (fields(shape="(-3, -1)"), INVALID),
    "True as a size": (fields(shape="(3, True)"), INVALID),
    "a fraction as a size": (fields(shape="(3.0,)"), INVALID),
    "a text as a size": (fields(shape="('3',)"), INVALID),
    "one less": (fields(shape="(2,)"), NO_SIZE),
    "one more": (fields(shape="(4,)"), NO_SIZE),
    "a scalar": (fields(shape="()"), NO_SIZE),
    "2**64+3": (fields(shape="(18446744073709551619,)"), NO_SIZE),
    "a long number": (fields(shape="(" + "3" * 5000 + ",)"), INVALID),
    "65 dimensions": (
        fields(shape="(3," + "1," * 64 + ")"),
        Unsupported("dimensions"),
    ),
    "none of 2**63": (
        npy(
            "{'descr': '<i2', 'fortran_order': True, 'shape': (0, 9223372036854775808)}",
            payload=b"",
        ),
        Unsupported("too large for numpy"),
    ),
    "0 as fortran_order": (fields(fortran_order="0"), INVALID),
    "None as fortran_order": (fields(fortran_order="None"), INVALID),
    "True as fortran_order": (fields(fortran_order="True"), RIGHT),
    # descr
    "without byte order": (fields(descr="'i2'"), RIGHT),
    "the machine's byte order": (fields(descr="'=i2'"), RIGHT),
    "4 bytes": (fields(descr="'<i4'"), NO_SIZE),
    "a name": (fields(descr="'int16'"), NO_DTYPE),
    "an unknown letter": (fields(descr="'<y2'"), NO_DTYPE),
    "an unknown size": (fields(descr="'<i3'"), NO_DTYPE),
    "an empty text": (fields(descr="''"), NO_DTYPE),
    "several dtypes": (fields(descr="'i1,i1'"), NO_DTYPE),
    "a repeated dtype": (fields(descr="'(2,)i1'"), NO_DTYPE),
    "a number": (fields(descr="2"), NO_DTYPE),
    "a boolean": (fields(descr="True"), NO_DTYPE),
    "a dict": (fields(descr="{'names': ['a'], 'formats': ['<i2']}"), NO_DTYPE),
    "a tuple": (fields(descr="('<i2', (1,))"), NO_DTYPE),
    "no fields": (fields(descr="[]"), NO_BYTES),
    "fields that are none": (fields(descr="[1, 2]"), NO_DTYPE),
    "a field without a dtype": (fields(descr="[('a',)]"), NO_DTYPE),
    "a field twice": (fields(descr="[('a', 'i1'), ('a', 'i1')]"), NO_DTYPE),
    "a field of 2**40 elements": (fields(descr="[('a', '<i2', (1099511627776,))]"), NO_DTYPE),
    "a field of 2**30 elements": (fields(descr="[('a', '<i2', (1073741823,))]"), NO_SIZE),
    "texts of 2**31 bytes": (fields(descr="'S2147483647'"), NO_SIZE),
    "texts of 2**33 bytes": (fields(descr="'S8589934592'"), NO_DTYPE),
    "an unknown unit of time": (fields(descr="'<M8[xy]'"), NO_DTYPE),
    "objects": (fields(descr="'|O'"), OBJECTS),
    "objects with a size": (fields(descr="'O8'"), OBJECTS),
    "objects in a field": (fields(descr="[('a', '|O'), ('b', 'i1')]"), OBJECTS),
    "objects in a field of a field": (fields(descr="[('a', [('b', '|O')])]"), OBJECTS),
    "texts without bytes": (fields(descr="'S0'"), NO_BYTES),
    "2**60 elements without bytes": (
        fields(descr="'V0'", shape="(1152921504606846976,)"),
        NO_BYTES,
    ),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(("contents", "outcome"), ARRAYS.values(), ids=ARRAYS)
def test_arrays(contents: bytes, outcome: Any, method: int, tmp_path: Path) -> None:
    outcome.check(write_npz(tmp_path, {"x.npy": contents}, method))


test_others_are_read_beside_a_bad_array = each_case(
    write_npz,
    {
        name: ({"x.npy": contents, "y.npy": npy()}, outcome)
        for name, (contents, outcome) in ARRAYS.items()
        if name in ("another magic", "no elements", "a call", "objects")
    },
)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_bad_array_leaves_the_others_readable(method: int, tmp_path: Path) -> None:
    path = write_npz(tmp_path, {"x.npy": b"bad", "y.npy": npy(), "z.npy": fields("'|O'")}, method)
    with open_checkpoint(path) as ckpt:
        assert list(ckpt) == ["x", "y", "z"]
        assert ckpt["y"].tolist() == [1, 2, 3]
        info = ckpt.info("x")
        assert (info.dtype, info.tensorflow_dtype, info.shape) == (object, "unknown", ())
        assert [damage.name for damage in ckpt.verify().damaged] == ["x"]


@pytest.mark.parametrize("name", ["x.npy", "objects.npy", "damaged.npy"])
def test_the_checksum_of_every_member_is_compared(name: str, tmp_path: Path) -> None:
    members = {"x.npy": npy(), "objects.npy": fields("'|O'"), "damaged.npy": fields("'<i4'")}
    contents = bytearray(archive(members))
    at = contents.rindex(name.encode()) - 46 + 16  # in the directory
    contents[at] ^= 1
    path = tmp_path / "m.npz"
    path.write_bytes(contents)
    with open_checkpoint(path) as ckpt:
        damaged = {damage.name: type(damage.error) for damage in ckpt.verify().damaged}
    wanted: dict[str, type[CheckpointError]] = {"damaged": CorruptCheckpointError}
    assert damaged == {**wanted, name.removesuffix(".npy"): ChecksumError}


FOREIGN = {
    "PyTorch": ({"model/data.pkl": b"\x80\x02.", "model/data/0": b"1234"}, "PyTorch"),
    "old PyTorch": ({"archive/data.pkl": b"", "archive/version": b"3\n"}, "PyTorch"),
    "texts": ({"a.txt": b"a"}, "without arrays"),
    "an array without the suffix": ({"x": npy()}, "without arrays"),
}


@pytest.mark.parametrize(("members", "words"), FOREIGN.values(), ids=FOREIGN)
def test_other_archives_are_named(members: dict[str, bytes], words: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path, members)
    with pytest.raises(NotACheckpointError, match=words) as raised:
        open_checkpoint(path, format="npz")
    assert raised.value.file == str(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_other_compressions_are_not_supported(method: int, tmp_path: Path) -> None:
    Unsupported("not by deflate", unchecked=True).check(
        write_npz(tmp_path, {"x.npy": npy()}, method)
    )


def test_members_that_are_no_arrays_are_left_out(tmp_path: Path) -> None:
    members = {"x.npy": npy(), "notes.txt": b"text", "folder/": b"", "y": npy(), "z.NPY": npy()}
    RIGHT.check(write_npz(tmp_path, members))


def test_a_size_that_deflate_cannot_have_is_refused(tmp_path: Path) -> None:
    """Nothing is allocated for it."""
    contents = npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**40},)}}")
    stored = bytearray(archive({"x.npy": contents}, zipfile.ZIP_DEFLATED))
    with_size = stored.replace(struct.pack("<L", len(contents)), b"\xff" * 4)
    at = with_size.rindex(b"PK\x01\x02")
    struct.pack_into("<L", with_size, at + 24, 2**32 - 2)
    path = tmp_path / "m.npz"
    path.write_bytes(with_size)
    with open_checkpoint(path) as ckpt, pytest.raises(CheckpointError):
        ckpt["x"]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_byte_changed_is_an_error_or_right(method: int, tmp_path: Path) -> None:
    whole = archive({"x.npy": npy(), "y.npy": npy()}, method)
    path = tmp_path / "m.npz"
    for at in range(len(whole)):
        for contents in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :]):
            path.write_bytes(contents)
            try:
                with open_checkpoint(path, format="npz") as ckpt:
                    values = {name: ckpt[name].tolist() for name in ckpt}
            except CheckpointError:
                continue
            assert set(map(tuple, values.values())) <= {(1, 2, 3)}
