"""The containers: files of other formats that hold named arrays, and the readers for them.

==================  ==============================================================================
format              file
==================  ==============================================================================
``"safetensors"``   a ``.safetensors`` file
``"npz"``           an ``.npz`` archive of numpy
``"frozen-graph"``  a GraphDef, ``.pb`` or ``.pbtxt``, whose constants are weights
``"keras-h5"``      an HDF5 file of Keras: ``.weights.h5`` or ``.h5``
``"keras"``         a ``.keras`` archive
==================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ckptparse.formats.reader import Reader
from ckptparse.sources import Source


class ContainerOptions(NamedTuple):
    """Arguments of `open_checkpoint` for containers.

    Attributes:
        verify: whether to compare the checksum of an array at its first access.
        all_constants: whether to list all constants of a frozen graph.
        is_chosen: whether the user gave the format; otherwise the file was recognized.
    """

    verify: bool = True
    all_constants: bool = False
    is_chosen: bool = False


def _open_safetensors(source: Source, options: ContainerOptions) -> Reader:
    from ckptparse.formats.safetensors import open_safetensors

    return open_safetensors(source, verify=options.verify)


def _open_npz(source: Source, options: ContainerOptions) -> Reader:
    from ckptparse.formats.npz import open_npz

    return open_npz(source, verify=options.verify)


def _open_frozen_graph(source: Source, options: ContainerOptions) -> Reader:
    from ckptparse.formats.frozen_graph import open_frozen_graph

    return open_frozen_graph(
        source,
        verify=options.verify,
        all_constants=options.all_constants,
        any_model=options.is_chosen,
    )


def _open_keras_h5(source: Source, options: ContainerOptions) -> Reader:
    from ckptparse.formats.keras_h5 import open_keras_h5

    return open_keras_h5(source, verify=options.verify)


def _open_keras(source: Source, options: ContainerOptions) -> Reader:
    from ckptparse.formats.keras import open_keras

    return open_keras(source, verify=options.verify)


CONTAINERS: dict[str, Callable[[Source, ContainerOptions], Reader]] = {
    "safetensors": _open_safetensors,
    "npz": _open_npz,
    "frozen-graph": _open_frozen_graph,
    "keras-h5": _open_keras_h5,
    "keras": _open_keras,
}
"""Name of a format -> function that opens a file of it.  Each imports its module at first need."""

CONTAINER_SUFFIXES = {
    ".npz": "npz",
    ".h5": "keras-h5",
    ".hdf5": "keras-h5",
    ".keras": "keras",
    ".pb": "frozen-graph",
    ".safetensors": "safetensors",
}
"""Suffix of the name of a file -> format of the container that it probably is."""
