"""Target: a serialized TrackableObjectGraph, over a checkpoint that has most of its keys."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptparse import TensorInfo, TensorNotFoundError
from ckptparse.objectgraph import KEY, ObjectGraph, read_object_graph
from fuzz.bundle import read_bundle
from fuzz.bundles import decode_bundle, split_strings
from fuzz.fixtures import MOST_NBYTES, find_files
from fuzz.messages import Undecodable, change_message, decode
from fuzz.noise import Noise
from fuzz.objects import use_objects
from fuzz.outcomes import outcome, require

_SCHEMA = "TrackableObjectGraph"


class MadeTensors:
    """A checkpoint that has the keys of a graph, but for every fifth, and tables for some."""

    def __init__(self, serialized: bytes) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        for key in _keys(serialized):
            number = zlib.crc32(key)
            name = key.decode("utf-8", "surrogateescape")
            if number % 5 == 1:
                self._arrays[f"{name}-keys"] = self._arrays[f"{name}-values"] = np.zeros(2)
            elif number % 5:
                self._arrays[name] = np.zeros((2,) * (number % 3), ["f4", "i8"][number % 2])
        self._arrays[KEY] = np.empty((), object)
        self._arrays[KEY][()] = serialized

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def info(self, name: str) -> TensorInfo:
        array = self.read(name)
        dtype = "string" if array.dtype == object else array.dtype.name
        size, nbytes = array.size, array.nbytes
        return TensorInfo(name, array.dtype, dtype, array.shape, size, nbytes, (), False, None, 0)

    def read(self, name: str, index: Any = ...) -> NDArray[Any]:
        if name not in self._arrays:
            raise TensorNotFoundError("no such tensor", tensor=name)
        return self._arrays[name][index]


def _keys(serialized: bytes) -> Iterator[bytes]:
    try:
        message = decode(serialized, _SCHEMA)
    except Undecodable:
        return
    for node in message.walk():
        if node.schema == "SerializedTensor":
            yield from (item.value for item in node.all(3) if isinstance(item.value, bytes))


def run(data: bytes) -> None:
    """Use an object graph in every way."""
    tensors = MadeTensors(data)
    found = outcome(lambda: read_object_graph(tensors))
    if found.value is None:
        require(found.error is not None, "no graph")
        return
    graph: ObjectGraph = found.value
    use_objects(graph, [tensors.info(name) for name in tensors])


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """Another graph."""
    try:
        message = decode(data, _SCHEMA)
    except Undecodable:
        return noise(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        change_message(message, rng, noise)
    return bytes(message)


def seeds() -> Iterator[bytes]:
    """Graphs of the fixtures."""
    found = set()
    for path in find_files("*.index"):
        try:
            bundle = decode_bundle(read_bundle(path))
        except Undecodable:  # not every file of that name is one
            continue
        value = bundle.table.values().get(KEY.encode())
        if value is not None:
            entry = decode(value, "BundleEntryProto")
            start = entry.get(4)
            payload = bytes(bundle.shards[entry.get(3)][start : start + entry.get(5)])
            _, pos = split_strings(payload, 1)
            found.add(payload[pos + 4 :])
    return (data for data in sorted(found) if len(data) <= MOST_NBYTES)
