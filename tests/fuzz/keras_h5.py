"""Target: an HDF5 file of Keras.  Files of the old form have no checksums to correct."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

from ckptparse import Checkpoint
from ckptparse.formats.keras_config import describe_h5
from ckptparse.formats.keras_h5 import open_keras_h5
from fuzz.checkpoints import use_checkpoint
from fuzz.memory import source
from fuzz.noise import Noise, change_number
from fuzz.outcomes import outcome
from support.hdf5 import (
    U8,
    VARIABLE_STRING,
    HDF5Builder,
    attribute,
    chunked,
    deflated,
    filters,
    fixed_string,
    message,
)

_FLOAT32 = bytes([0x11, 0x20, 31, 0]) + struct.pack("<IHHBBBBI", 4, 0, 32, 23, 8, 0, 23, 127)
_OPAQUE = bytes([0x15, 0, 0, 0]) + struct.pack("<I", 2)
_BOOL = (
    bytes([0x18, 2, 0, 0]) + struct.pack("<I", 1) + U8 + b"FALSE\0\0\0" + b"TRUE\0\0\0\0" + b"\0\1"
)


def run(data: bytes) -> None:
    """Use an HDF5 file in every way."""

    def open_(mapped: bool, verify: bool) -> Checkpoint:
        return Checkpoint(open_keras_h5(source("m.h5", data, mapped=mapped), verify=verify))

    use_checkpoint(open_, lambda: [])
    outcome(lambda: describe_h5(source("m.h5", data, mapped=True)))


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another HDF5 file: numbers and addresses change, which are at multiples of 2, 4 or 8."""
    if len(data) < 200 or rng.random() < 0.1:
        return noise(data)
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        nbytes = rng.choice([1, 2, 4, 8, 8])
        at = rng.randrange(len(out) // nbytes) * nbytes
        value = int.from_bytes(out[at : at + nbytes], "little")
        if nbytes == 8 and rng.random() < 0.5:  # an address that is somewhere else in the file
            other = rng.randrange(len(out) // 8) * 8
            out[at : at + 8] = out[other : other + 8]
        else:
            changed = change_number(value, rng) % (1 << 8 * nbytes)
            out[at : at + nbytes] = changed.to_bytes(nbytes, "little")
    return bytes(out)


def seeds() -> Iterator[bytes]:
    """Small files in the forms of the fixtures, whose own files are too large."""
    file = HDF5Builder()
    kernel = file.dataset(bytes(24), [2, 3], type=_FLOAT32)
    bias = file.dataset(bytes(12), type=_FLOAT32)
    names = attribute(b"weight_names", fixed_string(6), [2], b"kernel" + b"bias\0\0")
    layer = file.group([(b"bias", bias), (b"kernel", kernel)], message(0x0C, names))
    layers = attribute(b"layer_names", fixed_string(1), [1], b"d")
    yield file.file(file.group([(b"d", layer)], message(0x0C, layers)))

    file = HDF5Builder()
    text = b'{"class_name": "Sequential", "config": [{"class_name": "Dense"}]}'.ljust(72)
    heap = file.put(
        b"GCOL\1\0\0\0" + struct.pack("<QHH4xQ", 32 + len(text), 1, 1, len(text)) + text
    )
    config = attribute(
        b"model_config", VARIABLE_STRING, [1], struct.pack("<IQI", len(text), heap, 1)
    )
    half = file.dataset(bytes(6), [3], type=_OPAQUE)
    flags = file.dataset(b"\0\1", type=_BOOL)
    variables = file.group([(b"0", half), (b"1", flags)])
    yield file.file(file.group([(b"vars", variables)], message(0x0C, config)))

    for numbers in ((), (1,), (2, 1), (3,)):
        file = HDF5Builder()
        stored = {(): b"\1\2", (1,): deflated(b"\1\2"), (2, 1): deflated(b"\1\2"), (3,): b""}
        chunk = stored[numbers] or b"\1\2\2\1\3\1"
        root = file.chunks([([i, 0], chunk, None) for i in range(3)], 2)
        more = [message(0x0B, filters(*numbers))] if numbers else []
        x = file.dataset(shape=[3, 2], layout=chunked(root, [1, 2]), more=more)
        yield file.file(file.group([(b"x", x)]))
