"""Target: a zip, tar or tar.gz archive.

What Python's `zipfile` and `tarfile` read from the same bytes must be the same, if both read it.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from random import Random

from ckptparse.paths.archives import find_in_archive
from ckptparse.sources.archive import ArchiveFiles, open_archive
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import MemoryFiles
from fuzz.noise import Noise, change_number
from fuzz.outcomes import Outcome, outcome, require, require_same

_PATH = "/models/m.archive"
_MOST_READ = 1 << 20
_MOST_NAMES = 12


def run(data: bytes) -> None:
    """Open an archive, list it, and read its members."""
    opened = [_open(data, mapped) for mapped in (True, False)]
    require(type(opened[0].error) is type(opened[1].error), "opening", *opened)
    if opened[0].error is not None:
        return
    mapped, copied = (each.value for each in opened)
    require(mapped.names == copied.names, "names", mapped.names, copied.names)
    for format in (None, "v1", "v2", "npz"):
        found = [
            outcome(lambda a=each, f=format: find_in_archive(a, _PATH, f))
            for each in (mapped, copied)
        ]
        require_same(found[0], found[1], "finding", format)
    others = _read_by_python(data)
    for name in mapped.names[:_MOST_NAMES]:
        _require_listed(mapped, name)
        path = f"{_PATH}/{name}"
        contents = [outcome(lambda a=each, p=path: _read(a, p)) for each in (mapped, copied)]
        require_same(contents[0], contents[1], "reading", name)
        value = contents[0].value
        if value is not None and name in others:
            require(value == others[name], "Python reads something else", name)


def _open(data: bytes, mapped: bool) -> Outcome:
    """Open the archive; nothing else may be opened."""
    files = MemoryFiles({_PATH: data, "/models/other": b"", "/etc/passwd": b""}, maps=mapped)
    opened = outcome(lambda: open_archive(files, _PATH))
    require(set(files.opened) == {_PATH}, "opened", files.opened)
    return opened


def _read(archive: ArchiveFiles, path: str) -> bytes | None:
    """Return the contents of a member, read in parts, as a whole, and in parts again."""
    source = archive.open(path)
    if source.nbytes > _MOST_READ:
        source.read(0, 1)
        return None
    step = max(source.nbytes // 3, 1)
    firsts = range(0, source.nbytes, step)
    parts = [(first, min(first + step, source.nbytes)) for first in firsts]
    early = b"".join(bytes(source.read(*part)) for part in parts)
    whole = bytes(source.read(0, source.nbytes))
    late = b"".join(bytes(part) for part in reversed(source.read_ranges(parts[::-1])))
    require(early == whole == late, "parts differ", path)
    source.close()
    return whole


def _require_listed(archive: ArchiveFiles, name: str) -> None:
    """Require that a member is in the lists of all its directories."""
    here = _PATH
    parts = name.split("/")
    for i, part in enumerate(parts):
        is_last = i == len(parts) - 1
        require(part in archive.list_names(here), "not listed", name)
        require((part in archive.list_directories(here)) != is_last, "of another kind", name)
        here = archive.join(here, part)
        require(archive.is_file(here) == is_last, "no file", name)
        require(archive.is_directory(here) != is_last, "no directory", name)


def _read_by_python(data: bytes) -> dict[str, bytes]:
    """Return the members that Python reads, without those that share a name."""
    found: dict[str, bytes] = {}
    names: list[str] = []
    try:
        if data.startswith(b"PK"):
            with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(data)) as zip_archive:
                warnings.simplefilter("ignore")
                names = zip_archive.namelist()
                for info in zip_archive.infolist()[:_MOST_NAMES]:
                    if info.file_size <= _MOST_READ:
                        found[info.filename] = zip_archive.read(info)
        else:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar_archive:
                names = tar_archive.getnames()
                for member in tar_archive.getmembers()[:_MOST_NAMES]:
                    if member.isreg() and member.size <= _MOST_READ:
                        file = tar_archive.extractfile(member)
                        found[member.name] = b"" if file is None else file.read()
    except Exception:  # of many kinds, for what is damaged
        pass
    return {name: each for name, each in found.items() if names.count(name) == 1}


# Mutations


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """A changed archive."""
    if rng.random() < 0.05:
        return noise(data)
    if data.startswith(b"\x1f\x8b"):
        decompressor = zlib.decompressobj(wbits=31)
        try:
            inner = decompressor.decompress(data, _MOST_READ)
        except zlib.error:
            return noise(data)
        return gzip.compress(_change_tar(inner, rng, noise), mtime=0)
    if data.startswith(b"PK"):
        return _change_zip(data, rng, noise)
    return _change_tar(data, rng, noise)


_TAR_FIELDS = [(0, 100), (124, 12), (124, 12), (148, 8), (156, 1), (156, 1), (257, 6), (345, 155)]
_KINDS = b"0127LKxgS5Z\0"
_NAMES = [b"./a", b"../a", b"/a", b"a/b", b"a//b", b"a\\b", b"C:a", b"model.ckpt.index", b"a\0b"]


def _change_tar(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Change one field of one header and its checksum, or move blocks."""
    blocks = [data[i : i + 512] for i in range(0, len(data), 512)]
    headers = [i for i, block in enumerate(blocks) if block[257:262] == b"ustar"]
    if not headers:
        return noise(data)
    kind = rng.randrange(8)
    i = rng.choice(headers)
    if kind == 0:
        blocks.insert(rng.randrange(len(blocks) + 1), rng.choice(blocks))
    elif kind == 1:
        del blocks[rng.randrange(len(blocks))]
    elif kind == 2 and i + 1 < len(blocks):
        blocks[i + 1] = noise(blocks[i + 1])[:512].ljust(512, b"\0")
    else:
        block = bytearray(blocks[i].ljust(512, b"\0"))
        start, nbytes = rng.choice(_TAR_FIELDS)
        if nbytes == 1:
            new = bytes([rng.choice(_KINDS)])
        elif nbytes == 12:
            number = change_number(rng.choice([0, 5, 512, len(data)]), rng)
            new = (
                b"%011o\0" % number
                if number < 8**11
                else b"\x80" + (number % 2**88).to_bytes(11, "big")
            )
        elif rng.random() < 0.5:
            new = rng.choice(_NAMES)
        else:
            new = noise(bytes(block[start : start + nbytes]))
        block[start : start + nbytes] = new[:nbytes].ljust(nbytes, b"\0")
        if rng.random() < 0.95:
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
        blocks[i] = bytes(block)
    return b"".join(blocks)


_ZIP_FIELDS = {
    b"PK\1\2": [
        (8, 2),
        (10, 2),
        (16, 4),
        (20, 4),
        (24, 4),
        (28, 2),
        (30, 2),
        (32, 2),
        (34, 2),
        (42, 4),
    ],
    b"PK\3\4": [(0, 4), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)],
    b"PK\5\6": [(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)],
    b"PK\6\6": [(4, 8), (16, 4), (24, 8), (32, 8), (40, 8), (48, 8)],
    b"PK\6\7": [(4, 4), (8, 8), (16, 4)],
}


def _change_zip(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Change one field of one record, a name in both its places, or compressed bytes."""
    out = bytearray(data)
    places = [
        (at, magic)
        for magic in _ZIP_FIELDS
        for at in range(len(data))
        if data.startswith(magic, at)
    ]
    if not places:
        return noise(data)
    at, magic = rng.choice(places)
    if magic == b"PK\1\2" and rng.random() < 0.3:
        name = data[at + 46 : at + 46 + int.from_bytes(data[at + 28 : at + 30], "little")]
        new = (rng.choice(_NAMES) if rng.random() < 0.7 else noise(name))[: len(name)]
        return bytes(data.replace(name, new.ljust(len(name), b"x"))) if name else data
    if magic == b"PK\3\4" and rng.random() < 0.3:
        start = min(at + 30 + rng.randrange(40), len(data) - 1)
        out[start] ^= 1 << rng.randrange(8)
        return bytes(out)
    start, nbytes = rng.choice(_ZIP_FIELDS[magic])
    value = int.from_bytes(out[at + start : at + start + nbytes], "little")
    number = change_number(value, rng) % (1 << 8 * nbytes)
    out[at + start : at + start + nbytes] = number.to_bytes(nbytes, "little")
    return bytes(out)


# Seeds


def _files() -> Iterator[dict[str, bytes]]:
    """Yield files to put into archives."""
    yield {"a": b"1", "d/": b"", "d/b.txt": b"words " * 40}
    folder = {
        path.name: path.read_bytes() for path in find_files("tf-2.21.0/single_scalar/model.*")
    }
    yield {f"top/{name}": contents for name, contents in folder.items()}
    yield {"x.npy": b"\x93NUMPY", "y.npy": bytes(300)}


def seeds() -> Iterator[bytes]:
    """Archives of small files, and those of the fixtures."""
    for files in _files():
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            for is_large in (False, True):
                contents = io.BytesIO()
                with zipfile.ZipFile(contents, "w") as archive:
                    for name, each in files.items():
                        info = zipfile.ZipInfo(name)
                        info.compress_type = method
                        with archive.open(info, "w", force_zip64=is_large) as stream:
                            stream.write(each)
                yield contents.getvalue()
        for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            contents = io.BytesIO()
            with tarfile.open(fileobj=contents, mode="w", format=format) as tar_archive:
                for name, each in files.items():
                    is_long = format != tarfile.USTAR_FORMAT
                    tar_info = tarfile.TarInfo("long/" * 30 + name if is_long else name)
                    tar_info.size = len(each)
                    tar_archive.addfile(tar_info, io.BytesIO(each))
            tar = contents.getvalue()[:MOST_NBYTES]
            yield tar
            yield gzip.compress(tar, mtime=0)
    for path in find_files("archives/*"):
        if path.suffix != ".json" and path.stat().st_size <= MOST_NBYTES:
            yield path.read_bytes()
