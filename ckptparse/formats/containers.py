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

from ckptparse.formats.reader import Reader
from ckptparse.sources import Source


def _open_safetensors(source: Source, verify: bool) -> Reader:
    from ckptparse.formats.safetensors import open_safetensors

    return open_safetensors(source, verify=verify)


def _open_npz(source: Source, verify: bool) -> Reader:
    from ckptparse.formats.npz import open_npz

    return open_npz(source, verify=verify)


def _open_frozen_graph(source: Source, verify: bool) -> Reader:
    from ckptparse.formats.frozen_graph import open_frozen_graph

    return open_frozen_graph(source, verify=verify)


def _open_keras_h5(source: Source, verify: bool) -> Reader:
    from ckptparse.formats.keras_h5 import open_keras_h5

    return open_keras_h5(source, verify=verify)


def _open_keras(source: Source, verify: bool) -> Reader:
    from ckptparse.formats.keras import open_keras

    return open_keras(source, verify=verify)


CONTAINERS: dict[str, Callable[[Source, bool], Reader]] = {
    "safetensors": _open_safetensors,
    "npz": _open_npz,
    "frozen-graph": _open_frozen_graph,
    "keras-h5": _open_keras_h5,
    "keras": _open_keras,
}
"""Name of a format -> function that opens a file of it.  Each imports its module at first need."""
