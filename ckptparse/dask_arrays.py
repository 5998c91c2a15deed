"""Dask arrays over the tensors of checkpoints (extra `dask`).

A task of dask has no open file, but a `StoredTensor`: the path of the checkpoint, the name of the
tensor, and the versions of the files.  It opens the checkpoint where it runs, and reads its own
bytes.  Each process keeps the checkpoints of its last tasks open.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.checkpoint import Checkpoint
from ckptparse.display.text import parse_nbytes
from ckptparse.errors import UnreadableError
from ckptparse.objectgraph import ObjectVariables
from ckptparse.opening import open_checkpoint
from ckptparse.tensors.info import TensorInfo
from ckptparse.tensors.mapping import TensorMapping
from ckptparse.tensors.numpy_index import Index
from ckptparse.weights.merge import Merge
from ckptparse.weights.selection import Selection, changes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ckptparse.weights.casting import Cast

_CHECKED_AS_A_WHOLE = ("v2", "npz")
"""Formats with one checksum for all bytes of a tensor.  V1 has them for blocks, which it checks
when it reads them; others have none."""

_Versions = dict[str, tuple[tuple[str, object], ...]]
"""The result of `Checkpoint.file_versions`."""


def to_dask(
    ckpt: str | os.PathLike[str] | TensorMapping, *, chunk_nbytes: int | str = "128 MiB"
) -> dict[str, Any]:
    """Return a dict of dask arrays, whose tasks read the tensors of a checkpoint.

    Reads no tensor.  A task has the absolute path of the checkpoint and the arguments of
    `open_checkpoint`, but no open file, so it runs in any process that can read the path.

    Args:
        ckpt: the path of a checkpoint, or a `Checkpoint`.  Also a `Selection` without transforms, a
            `merge` or the variables of an object graph, if their tensors come from checkpoints.
        chunk_nbytes: the maximum size of a chunk, as a number of bytes or as a text such as
            "128 MiB" or "1GB"; a chunk has at least one element.  A chunk is a run of consecutive
            elements.  Strings, compressed arrays and other tensors of which no part can be read are
            one chunk.

    Returns:
        Name -> dask array, in the order of `ckpt`.

    Raises:
        ImportError: dask is not installed (extra `dask`).
        TypeError: a tensor does not come from a checkpoint, or is computed from several.
        ValueError: a tensor has a transform; or `chunk_nbytes` is no size.
        UnreadableError: the checkpoint was replaced after it was opened.
        CheckpointError: opening the checkpoint failed; see `open_checkpoint`.

    Examples:
        >>> from ckptparse import to_dask
        >>> arrays = to_dask("fixtures/tf-1.15.5/vgg_16/model.ckpt", chunk_nbytes="4 KiB")
        >>> weights = arrays["vgg_16/fc6/weights"]
        >>> weights.shape, weights.chunks[0]
        ((7, 7, 6, 12), (2, 2, 2, 1))
        >>> weights.sum().compute().dtype
        dtype('float32')
    """
    if isinstance(chunk_nbytes, str):
        chunk_nbytes = parse_nbytes(chunk_nbytes)
    if chunk_nbytes < 1:
        raise ValueError(f"chunk_nbytes is a number of bytes, not {chunk_nbytes}")
    if isinstance(ckpt, (str, os.PathLike)):
        with open_checkpoint(ckpt) as opened:
            return _make_arrays(opened, chunk_nbytes)
    return _make_arrays(ckpt, chunk_nbytes)


def _make_arrays(tensors: TensorMapping, chunk_nbytes: int) -> dict[str, Any]:
    """Return name -> dask array."""
    try:
        from dask.array import from_array
        from dask.base import tokenize
    except ImportError as error:
        raise ImportError("to_dask needs dask: pip install 'ckptparse[dask]'") from error
    places: dict[int, tuple[_Place, Checkpoint, _Versions]] = {}
    arrays = {}
    with ExitStack() as stack:
        for name in tensors:
            given, key, casts = _find_stored(tensors, name)
            if id(given) not in places:
                path, options = given.opening_arguments()
                place = _Place(path, options, tokenize(path, options))
                # The relative path of `given` may lead elsewhere by now.
                first = given if given.path == path else stack.enter_context(place.open())
                # Versions before the opening: tasks refuse a file that is replaced in between.
                known = first.file_versions(_files_used(first, key))
                places[id(given)] = place, stack.enter_context(place.open()), known
            place, ckpt, known = places[id(given)]
            files = _files_used(ckpt, key)
            known |= ckpt.file_versions(path for path in files if path not in known)
            stored = ckpt.info(key)
            _require_same(given, ckpt, key)
            info = stored if tensors is given else tensors.info(name)
            chunks = _divide(info, stored, ckpt.format, chunk_nbytes)
            is_divided = any(len(sizes) > 1 for sizes in chunks)
            tensor = StoredTensor(
                place,
                key,
                {path: known[path] for path in files},
                info.dtype,
                info.shape,
                casts,
                is_divided and place.options["verify"] and ckpt.format in _CHECKED_AS_A_WHOLE,
            )
            arrays[name] = from_array(
                tensor,
                chunks=chunks,
                name=f"read-tensor-{tokenize(tensor, chunks)}",
                asarray=True,
                inline_array=True,
                meta=np.empty((0,) * len(info.shape), info.dtype),
            )
    return arrays


def _find_stored(tensors: Any, name: str) -> tuple[Checkpoint, str, tuple[Cast, ...]]:
    """Return the checkpoint of a tensor, its name there, and the casts of its values, in order."""
    given, casts = name, []
    while not isinstance(tensors, Checkpoint):
        if isinstance(tensors, Selection):
            transform, cast = changes_of(tensors, name)
            if transform is not None:
                raise ValueError(
                    f"{given!r} has a transform: select without it, and apply it to the dask array"
                )
            casts += [] if cast is None else [cast]
        elif not isinstance(tensors, (Merge, ObjectVariables)):
            raise TypeError(
                f"{given!r} comes from {type(tensors).__name__}, not from a checkpoint: call"
                " to_dask with each checkpoint, and compute with the dask arrays"
            )
        source, key = tensors.origin(name)
        if source is tensors:
            raise TypeError(f"{given!r} does not come from a checkpoint: use dask.array.from_array")
        tensors, name = source, key
    return tensors, name, tuple(reversed(casts))


def _files_used(ckpt: Checkpoint, key: str) -> list[str]:
    """Return the paths of the files that the values of a tensor depend on.

    A V1 checkpoint opens all its files at once, and each of them may have slices of any tensor.
    """
    return ckpt.files if ckpt.format == "v1" else ckpt.files_of(key)


def _require_same(ckpt: Checkpoint, here: Checkpoint, key: str) -> None:
    """Raise UnreadableError if a tensor is another one since the checkpoint was opened."""
    before, after = ckpt.info(key), here.info(key)
    is_same = (before.tensorflow_dtype, before.shape) == (after.tensorflow_dtype, after.shape)
    if not is_same or ckpt.fingerprint(key) != here.fingerprint(key):
        raise UnreadableError(
            "this checkpoint was replaced after it was opened; open it again",
            file=ckpt.path,
            tensor=key,
        )


def _divide(
    info: TensorInfo, stored: TensorInfo, format: str, chunk_nbytes: int
) -> tuple[tuple[int, ...], ...]:
    """Return the sizes of chunks along each axis; a chunk is a run of consecutive elements.

    Args:
        info: the array.
        stored: the stored tensor, before casts.
        format: the format of the checkpoint.
        chunk_nbytes: the maximum size of a chunk.
    """
    in_parts = stored.mapped or stored.offset is not None or (stored.slices and format == "v2")
    itemsize = info.dtype.itemsize
    chunk_nbytes = max(chunk_nbytes, itemsize)
    shape = info.shape
    if info.dtype.hasobject or not in_parts or prod(shape) * itemsize <= chunk_nbytes:
        return tuple((size,) for size in shape)
    axis = 0  # the first axis of which one index selects at most `chunk_nbytes` bytes
    while prod(shape[axis + 1 :]) * itemsize > chunk_nbytes:
        axis += 1
    most = chunk_nbytes // (prod(shape[axis + 1 :]) * itemsize)
    whole, rest = divmod(shape[axis], most)
    sizes = (most,) * whole + ((rest,) if rest else ())
    return (
        *((1,) * size for size in shape[:axis]),
        sizes,
        *((size,) for size in shape[axis + 1 :]),
    )


@dataclass(frozen=True)
class _Place:
    """How a process opens a checkpoint.

    Attributes:
        path: absolute path or URL of the checkpoint.
        options: the keyword arguments of `open_checkpoint`.
        token: dask's token of both.
    """

    path: str
    options: dict[str, Any]
    token: str

    def open(self) -> Checkpoint:
        """Open the checkpoint."""
        return open_checkpoint(self.path, **self.options)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a checkpoint that is not open; an index reads a part of it.

    Attributes:
        place: the checkpoint.
        name: name of the tensor in it.
        versions: the versions of the files that its values depend on, when the array was made.
        dtype: dtype of the array, after the casts.
        shape: its shape.
        casts: the casts of the stored values, in order.
        checked_first: whether the checksum of the whole tensor is compared before a part is read.
    """

    place: _Place
    name: str
    versions: _Versions
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    casts: tuple[Cast, ...]
    checked_first: bool

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Index) -> NDArray[Any]:
        """Read a part of the tensor.

        Raises:
            UnreadableError: a file was changed or replaced since the array was made.
            CheckpointError: opening the checkpoint or reading the tensor failed.
        """
        opened = self._open()
        if self.checked_first:
            opened.check(self.name)
        values = opened.ckpt.read(self.name, index)
        for cast in self.casts:
            values = cast.array(self.name, values)
        return values

    def _open(self) -> _Opened:
        """Return the checkpoint, opened in this process; its files have the right versions."""
        key = os.getpid(), self.place.token  # a forked process opens files of its own
        opened = _opened.get(key)
        if opened is None or not opened.fits(self.versions):
            opened = _Opened(self.place.open(), dict(self.versions))
        # The files had these versions before they were opened: if they have them now, too, these
        # are the open ones.
        found = opened.ckpt.file_versions(self.versions)
        if found != self.versions:
            changed = [path for path in found if found[path] != self.versions[path]]
            raise UnreadableError(
                "this file was changed or replaced after the dask array was made; call to_dask"
                " again",
                file=changed[0],
                tensor=self.name,
            )
        shared = _opened.setdefault(key, opened)  # another thread may have opened it meanwhile
        if not shared.fits(self.versions):
            shared = _opened[key] = opened
        shared.versions.update(self.versions)
        for old in list(_opened)[:-_MOST_OPENED]:
            _opened.pop(old, None)  # not closed: another thread may be reading
        return shared

    def __dask_tokenize__(self) -> tuple[object, ...]:
        casts = [tuple(cast) for cast in self.casts]
        # The dtype as text: dask has no rule for those of ml_dtypes.
        form = str(self.dtype), self.shape
        return self.place.token, self.name, list(self.versions.items()), form, casts


class _Opened:
    """A checkpoint that is open in this process.

    Attributes:
        ckpt: the checkpoint.
        versions: the versions of its open files.  Those that a tensor was read from are known, and
            so are all that are opened with the checkpoint; others are opened at their first use.
    """

    def __init__(self, ckpt: Checkpoint, versions: _Versions) -> None:
        self.ckpt = ckpt
        self.versions = versions
        self._checked: set[str] = set()
        self._lock = Lock()

    def fits(self, versions: _Versions) -> bool:
        """Return whether the open files are, as far as is known, those of these versions."""
        return all(self.versions.get(path, each) == each for path, each in versions.items())

    def check(self, name: str) -> None:
        """Compare the checksum of a whole tensor, piece by piece, once in this process.

        A lock lets one thread check it while others, with other chunks of the tensor, wait.
        """
        if name in self._checked:
            return
        with self._lock:
            if name not in self._checked:
                for _ in self.ckpt.read_pieces([name]):
                    pass
                self._checked.add(name)


_MOST_OPENED = 8
"""Checkpoints that a process keeps open for further tasks: each may have 128 open files."""

_opened: dict[tuple[int, str], _Opened] = {}
"""The checkpoints that this process keeps open, the newest last."""
