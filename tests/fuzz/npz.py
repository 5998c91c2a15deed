"""Target: an ``.npz`` archive."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from random import Random

from ckptparse import Checkpoint
from ckptparse.formats.npz import open_npz
from fuzz.checkpoints import use_checkpoint
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import source
from fuzz.noise import Noise, change_number

Member = tuple[str, int, bytes]
"""Name, method and contents."""

_MOST_MEMBERS = 6
_MAGIC = b"\x93NUMPY"
_DESCRS = [
    *(b"'<f4'", b"'>i2'", b"'|b1'", b"'|S3'", b"'<U2'", b"'|V2'", b"'<f1'", b"'|O'", b"'<M8[D]'"),
    *(b"[('a', 'i1'), ('b', '<f2')]", b"[('a', '|O')]", b"'S0'", b"[]", b"'x'", b"('<f4', (2,))"),
]


def run(data: bytes) -> None:
    """Use an archive in every way."""

    def open_(mapped: bool, verify: bool) -> Checkpoint:
        return Checkpoint(open_npz(source("arrays.npz", data, mapped=mapped), verify=verify))

    use_checkpoint(open_, lambda: ())


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Other members, with right checksums; or any other bytes."""
    members = _read(data)
    if members is None or rng.random() < 0.2:  # the zip archive itself
        return noise(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not members:
            members = [("x.npy", zipfile.ZIP_STORED, _MAGIC)]
        number = rng.randrange(len(members))
        members[number] = _change(members[number], rng, noise)
        if rng.random() < 0.05:
            members.append(rng.choice(members))
    return _write(members)


def _change(member: Member, rng: Random, noise: Noise) -> Member:
    name, method, contents = member
    header, payload = _split(contents)
    kind = rng.randrange(8)
    if kind == 0:
        return name, method, noise(contents)
    if kind == 1:
        return rng.choice([f"{name}.npy", "x.npy", "data.pkl", ".npy", "é.npy"]), method, contents
    if kind == 2:
        return name, rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), contents
    if kind == 3:
        header = noise(header)
    elif kind == 4:
        header = re.sub(rb"(?<='descr': )('[^']*'|\[.*?\])", lambda _: rng.choice(_DESCRS), header)
    elif kind == 5:
        header = header.replace(b"False", rng.choice([b"True", b"1", b"None"]))
    elif kind == 6:
        numbers = list(re.finditer(rb"\d+", header))
        if numbers:
            found = rng.choice(numbers)
            changed = change_number(int(found[0][:30]), rng)
            header = header[: found.start()] + b"%d" % changed + header[found.end() :]
    else:
        payload = noise(payload)
    version = rng.choice([b"\1\0", b"\1\0", b"\1\0", b"\2\0", b"\3\0"])
    length = (len(header) % 65536).to_bytes(2 if version == b"\1\0" else 4, "little")
    return name, method, _MAGIC + version + length + header + payload


def _split(contents: bytes) -> tuple[bytes, bytes]:
    """Header and elements of an ``.npy``."""
    nbytes = 2 if contents[6:7] == b"\1" else 4
    start = 8 + nbytes
    stop = start + int.from_bytes(contents[8:start], "little")
    return contents[start:stop], contents[stop:]


def _read(data: bytes) -> list[Member] | None:
    """The members of an archive; None if it cannot be read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [
                (info.filename, info.compress_type, archive.read(info))
                for info in archive.infolist()[: 4 * _MOST_MEMBERS]
                if info.file_size < 4 * MOST_NBYTES
            ]
    except Exception:  # zipfile raises many kinds
        return None


def _write(members: list[Member]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, method, contents in members:
            archive.writestr(zipfile.ZipInfo(name), contents, method)
            archive.NameToInfo.clear()  # otherwise it warns of a name that occurs twice
    return stream.getvalue()


def seeds() -> Iterator[bytes]:
    """Small archives of the fixtures, and a few members of large ones at a time."""
    for path in find_files("*.npz"):
        with zipfile.ZipFile(path) as archive:
            everything = [
                (info.filename, info.compress_type, archive.read(info))
                for info in archive.infolist()
                if info.file_size < 2000
            ]
        for start in range(0, len(everything) or 1, _MOST_MEMBERS):
            part = _write(everything[start : start + _MOST_MEMBERS])
            if len(part) <= MOST_NBYTES:
                yield part
