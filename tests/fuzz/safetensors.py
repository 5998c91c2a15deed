"""Target: a safetensors file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from ckptparse import Checkpoint
from ckptparse.formats.safetensors import _read_json, _read_plain, open_safetensors
from fuzz.checkpoints import use_checkpoint
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.memory import source
from fuzz.noise import Noise, change_number
from fuzz.outcomes import outcome, require

_LENGTH_NBYTES = 8
_ENTRY = b'"%s":{"dtype":"%s","shape":[%d],"data_offsets":[%d,%d]}'
_DTYPES = [
    *(b"BOOL", b"F4", b"F6_E2M3", b"U8", b"I8", b"F8_E4M3", b"F8_E8M0", b"U16", b"F16", b"BF16"),
    *(b"I32", b"F32", b"C64", b"F64", b"X9"),
]
_VALUES = [
    b"null",
    b"true",
    b"-1",
    b"1.5",
    b"1e9",
    b"NaN",
    b"{}",
    b"[]",
    b'""',
    b'"\\ud800"',
    b"[[0]]",
]


def run(data: bytes) -> None:
    """Use a file in every way."""

    def open_(mapped: bool, verify: bool) -> Checkpoint:
        opened = source("model.safetensors", data, mapped=mapped)
        return Checkpoint(open_safetensors(opened, verify=verify))

    use_checkpoint(open_, lambda: ())
    nbytes = int.from_bytes(data[:_LENGTH_NBYTES], "little")
    header = data[_LENGTH_NBYTES:][:nbytes].decode("utf-8", "replace")
    plain = _read_plain(header) if header.startswith("{") else None
    if plain is not None:
        read = outcome(lambda: _read_json(header, 0))
        require(read.value == plain, "read in one step, and as JSON", plain, read)


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another header, with its right length; other elements; or any other bytes."""
    nbytes = int.from_bytes(data[:_LENGTH_NBYTES], "little")
    header, payload = data[_LENGTH_NBYTES:][:nbytes], data[_LENGTH_NBYTES:][nbytes:]
    if rng.random() < 0.05 or not header:
        return noise(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        header, payload = _change(header, payload, rng, noise)
    return len(header).to_bytes(_LENGTH_NBYTES, "little") + header + payload


def _change(header: bytes, payload: bytes, rng: Random, noise: Noise) -> tuple[bytes, bytes]:
    kind = rng.randrange(8)
    numbers = list(re.finditer(rb"\d+", header))
    if kind == 0:
        header = noise(header)
    elif kind == 1:
        payload = noise(payload)
    elif kind in (2, 3) and numbers:
        number = rng.choice(numbers)
        changed = change_number(int(number[0][:30]), rng)
        header = header[: number.start()] + b"%d" % changed + header[number.end() :]
    elif kind == 4 and numbers:
        number = rng.choice(numbers)
        header = header[: number.start()] + rng.choice(_VALUES) + header[number.end() :]
    elif kind == 5:
        dtypes = list(re.finditer(rb'(?<="dtype":")\w+', header))
        if dtypes:
            dtype = rng.choice(dtypes)
            header = header[: dtype.start()] + rng.choice(_DTYPES) + header[dtype.end() :]
    elif kind == 6:  # another tensor, after all others
        size = rng.randrange(20)
        entry = _ENTRY % (noise(b"x"), b"U8", size, len(payload), len(payload) + size)
        end = header.rfind(b"}")
        separator = b"," if header[:end].strip() != b"{" else b""
        header = header[:end] + separator + entry + header[end:]
        payload += rng.randbytes(size)
    else:
        names = list(re.finditer(rb'"\w+":', header))
        if names:
            name = rng.choice(names)
            header = header[: name.start()] + rng.choice(names)[0] + header[name.end() :]
    return header, payload


def seeds() -> Iterator[bytes]:
    """Small files of the fixtures, and a few tensors of the others."""
    for path in find_files("*.safetensors"):
        data = path.read_bytes()
        if len(data) <= MOST_NBYTES:
            yield data
    for dtype, nbytes in ((b"BF16", 2), (b"F8_E4M3", 1), (b"C64", 8), (b"F4", 1), (b"BOOL", 1)):
        size = 2 if dtype == b"F4" else 1
        entries = [
            _ENTRY % (b"%d" % i, dtype, size, i * nbytes, (i + 1) * nbytes) for i in range(3)
        ]
        header = b"{" + b",".join(entries) + b"}"
        yield len(header).to_bytes(_LENGTH_NBYTES, "little") + header + bytes(3 * nbytes)
