"""A checkpoint as a mapping from names to arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ckptparse.errors import CheckpointError, TensorNotFoundError
from ckptparse.formats.containers import CONTAINERS
from ckptparse.formats.reader import Entry, Reader, closed_error, prefetch_each
from ckptparse.sources import Files
from ckptparse.tensors.info import TensorForms, TensorInfo
from ckptparse.tensors.mapping import PIECE_NBYTES, Role, TensorMapping
from ckptparse.tensors.names import (
    decode_name,
    decode_names,
    encode_name,
    not_found,
    require_names,
)
from ckptparse.tensors.numpy_index import Index
from ckptparse.verification import OnPiece, Progress, VerifyReport, verify_tensors
from ckptparse.weights.selection import select

if TYPE_CHECKING:  # imported at first need
    from numpy.typing import NDArray

    from ckptparse.metagraph import MetaGraph
    from ckptparse.objectgraph import ObjectGraph
    from ckptparse.tensors.pieces import Piece

_QUICK_INDEX_NBYTES = 1 << 20
"""If a name is missing, an index of up to this size is read to suggest similar names."""

_UNNAMED = ("", "Variable")
"""The names that TensorFlow gives to variables that a program did not name."""


class Checkpoint(TensorMapping):
    """An open checkpoint: a read-only mapping from tensor names to numpy arrays.

    Names come in the order of the file; in checkpoints of TensorFlow, they are sorted by their
    UTF-8 bytes.  A partitioned tensor has one name; its slices have none.  A tensor is read when it
    is accessed, not before.

    A checkpoint may be used from several threads at once, and after a fork.  Two checkpoints are
    equal only if they are the same object.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
        ...     print(len(ckpt), ckpt["vgg_16/fc6/biases"].dtype)
        34 float32
    """

    def __init__(
        self,
        reader: Reader,
        files: Files | None = None,
        again: tuple[Callable[..., Checkpoint], tuple[Any, ...]] | None = None,
        place: str | None = None,
    ) -> None:
        """Use `open_checkpoint`.

        Args:
            reader: the reader of the checkpoint's format.
            files: the file system that may contain a graph beside the checkpoint; None for no
                graph.
            again: a function and its arguments; calling it opens the same checkpoint again.
                Copying and pickling need it.
            place: the absolute form of its path; None if it has none.
        """
        self._open_reader: Reader | None = reader
        self._again = again
        self._place = place
        self._storage = files
        self._names: tuple[str, ...] | None = None
        self.path = reader.path
        """The common prefix of the paths of its files; of a single file, its path."""
        self.format = reader.format
        """The format: "v1", "v2", "keras-h5", "keras", "frozen-graph", "npz" or "safetensors"."""

    @property
    def _reader(self) -> Reader:
        """The reader; raises ValueError if the checkpoint is closed."""
        if self._open_reader is None:
            raise closed_error(self.path)
        return self._open_reader

    @property
    def files(self) -> list[str]:
        """The paths of its files: the index, then the data files, which may be missing.

        Of a V1 checkpoint, the V1 files; of any other format, the one file.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> [path.rpartition("/")[2] for path in ckpt.files]
            ['model.ckpt.index', 'model.ckpt.data-00000-of-00001']
        """
        return self._reader.files

    def files_of(self, name: str) -> list[str]:
        """Return the paths of the files that a tensor is read from.

        Args:
            name: the name of a tensor.

        Returns:
            Of a V2 checkpoint, the index, then the data files; else the files that contain it.

        Raises:
            TensorNotFoundError: there is no such tensor.
            CorruptCheckpointError: its entry in the index is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-2.21.0/keras_h5/model.keras")
            >>> ckpt.files_of("layers/dense/vars/0")
            ['fixtures/tf-2.21.0/keras_h5/model.keras']
        """
        info = self.info(name)
        paths = [info.file] if info.file else [part.file for part in info.slices if part.file]
        if self.format == "v2":
            paths.insert(0, self.files[0])
        return list(dict.fromkeys(paths))

    def file_versions(self, paths: Iterable[str]) -> dict[str, tuple[tuple[str, object], ...]]:
        """Return properties of files that change when the files are changed or replaced.

        Args:
            paths: paths from `files_of` or `files`.

        Returns:
            Path -> pairs of a property and its value: the size and the time of modification of a
            local file, what the storage tells of a file at a URL; () for a missing file.  They are
            equal in all processes.

        Raises:
            UnreadableError: the storage fails.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> for path, version in ckpt.file_versions(ckpt.files_of("global_step")).items():
            ...     print(path.rpartition("/")[2], version[0])
            model.ckpt.index ('size', 1361)
            model.ckpt.data-00000-of-00001 ('size', 28996)
        """
        storage = self._storage
        return {path: () if storage is None else storage.version(path) for path in paths}

    def opening_arguments(self) -> tuple[str, dict[str, Any]]:
        """Return the arguments with which `open_checkpoint` opens the same checkpoint again.

        Returns:
            The absolute path or the URL of exactly this checkpoint, also if it was opened by the
            path of a directory or a state file; and the keyword arguments.  `storage_options` may
            contain secrets.

        Raises:
            TypeError: `open_checkpoint` did not return this checkpoint.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> path, options = open_checkpoint("fixtures/tf-1.15.5/vgg_16").opening_arguments()
            >>> path.endswith("/fixtures/tf-1.15.5/vgg_16/model.ckpt"), options["verify"]
            (True, True)
        """
        if self._again is None or self._place is None:
            raise TypeError("only a checkpoint that open_checkpoint returned can be opened again")
        options = dict(self._again[1][1])
        if self.format not in CONTAINERS:  # not the other one with the same prefix
            options["format"] = self.format
        return self._place, options

    # Mapping

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_names())

    def __len__(self) -> int:
        return len(self._all_names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._reader.find(encode_name(name)) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """Return a whole tensor, or a default value if there is no tensor of that name.

        Args:
            name: the name of a tensor.
            default: the value to return if there is no such tensor.

        Returns:
            The array, as `read` returns it, or `default`.

        Raises:
            CheckpointError: reading the tensor failed; see `read`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.get("global_step").shape
            ()
            >>> ckpt.get("no_such_tensor", "nothing")
            'nothing'
        """
        return self.read(name) if name in self else default

    def _all_names(self) -> tuple[str, ...]:
        """Return the names of all tensors, which are read once."""
        reader = self._reader
        if self._names is None:
            self._names = tuple(decode_names(reader.keys()))
        return self._names

    # Tensors

    def read(self, name: str, index: Index = ...) -> NDArray[Any]:
        """Return a tensor, or the part of it that a numpy index selects.

        If the tensor is partitioned, only the slices with selected elements are read.  Otherwise,
        in a V2 checkpoint with ``mmap=False``, only the bytes from the first to the last selected
        element are read.  With ``verify=True``, the first access also reads and checks all bytes of
        the tensor, or of these slices.

        Args:
            name: the name of a tensor.
            index: any numpy index, such as ``np.s_[:, :, 0]``; ``...`` selects the whole tensor.

        Returns:
            An array; for a single element an array of shape (), never a scalar.  For numbers that
            are stored whole, it is a read-only view of the mapped file, which may be unaligned; or
            a read-only copy, with ``mmap=False`` or from a big-endian checkpoint.  A new array is
            returned for a partitioned tensor, for integers and booleans of a V1 checkpoint, and for
            strings, which are `bytes` in an array of dtype `object`.

        Raises:
            TensorNotFoundError: there is no such tensor.
            MissingShardError: its data file is missing.
            TruncatedError: its data file ends before the tensor does.
            ChecksumError: its bytes are not those that were written (``verify=True``).
            CorruptCheckpointError: its slices do not cover it exactly once, or its stored sizes
                contradict each other.
            UnsupportedError: it is a variant, a resource, or of a type of a newer TensorFlow.
            IndexError: the index does not fit the shape.

        Examples:
            >>> import numpy as np
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.read("vgg_16/conv1/conv1_1/weights", np.s_[:, :, 0]).shape
            (3, 3, 4)
        """
        key = encode_name(name)
        reader = self._open_reader or self._reader
        entry = reader.find(key)
        if entry is None:
            raise self._not_found(name)
        try:
            return reader.read(key, entry, index)
        except CheckpointError as error:
            error.locate(file=self.path, tensor=name)
            raise

    __getitem__ = read
    """Return a whole tensor: ``read(name)``."""

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield (name, array) of several tensors; each is read when the loop reaches it.

        ``items()`` and ``values()`` use this method for all names.

        The size of the files bounds the work of the loop: it raises an error if the tensors in a
        data file together have more than four times its bytes.  TensorFlow never lets tensors share
        bytes, but a malicious file can.  A loop that calls `read` for each name has no such bound.

        Args:
            names: names of tensors, each once.

        Yields:
            The name and the array, as `read` returns it.

        Raises:
            CorruptCheckpointError: the tensors share bytes, beyond the bound above.
            CheckpointError: reading a tensor failed; see `read`.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
            ...     for name, array in ckpt.read_each(["global_step", "vgg_16/fc6/biases"]):
            ...         print(name, array.shape)
            global_step ()
            vgg_16/fc6/biases (12,)
        """
        reader = self._reader.for_one_loop()
        for key, entry in prefetch_each(reader, map(self._find, require_names(names))):
            name = decode_name(key)
            try:
                array = reader.read(key, entry, ...)
            except CheckpointError as error:
                error.locate(file=self.path, tensor=name)
                raise
            yield name, array

    def read_pieces(
        self, names: Iterable[str], piece_nbytes: int = PIECE_NBYTES
    ) -> Iterator[Piece]:
        """Yield several tensors piece by piece; each piece is read when the loop reaches it.

        The work of the loop has the same bound as that of `read_each`.  With ``verify=True``, the
        last piece of a tensor is yielded only after the checksum of all its bytes was compared.  So
        a loop that ends without an error has read intact tensors.

        Args:
            names: names of tensors, each once.
            piece_nbytes: the maximum number of bytes of a piece; a piece has at least one element.
                A tensor of strings, and a record of V1, is one piece.

        Yields:
            The pieces of the first tensor in order, then those of the second, and so on.

        Raises:
            CorruptCheckpointError: the tensors share bytes, beyond the bound of `read_each`.
            CheckpointError: reading a tensor failed; see `read`.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> with open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt") as ckpt:
            ...     for piece in ckpt.read_pieces(["vgg_16/fc7/weights"], 240):
            ...         print(piece.start, piece.values.size, "of", piece.shape)
            0 60 of (1, 1, 12, 12)
            60 60 of (1, 1, 12, 12)
            120 24 of (1, 1, 12, 12)
        """
        from ckptparse.tensors.pieces import Piece

        reader = self._reader.for_one_loop()
        tensors = map(self._find, require_names(names))
        for key, entry in prefetch_each(reader, tensors, piece_nbytes):
            name = decode_name(key)
            dtype, shape = reader.form(key, entry)
            try:
                for start, values in reader.read_pieces(key, entry, piece_nbytes):
                    yield Piece(name, dtype, shape, start, values)
            except CheckpointError as error:
                error.locate(file=self.path, tensor=name)
                raise

    def info(self, name: str) -> TensorInfo:
        """Return the metadata of a tensor.  Reads none of its bytes.

        Args:
            name: the name of a tensor.

        Returns:
            Its dtype, shape and sizes, and where it is stored.

        Raises:
            TensorNotFoundError: there is no such tensor.
            CorruptCheckpointError: its entry in the index is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.info("vgg_16/fc6/biases").dtype
            dtype('float32')
        """
        return self._reader.info(*self._find(name))

    def fingerprint(self, name: str) -> Hashable | None:
        """Return the stored checksums of a tensor; see `TensorMapping.fingerprint`.

        Args:
            name: the name of a tensor.

        Returns:
            A value that can only be compared with other results: the checksum and the size of the
            tensor's bytes, or those of each slice.  None for V1 and for files of other formats.

        Raises:
            TensorNotFoundError: there is no such tensor.
            CorruptCheckpointError: its entry in the index is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> again = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> ckpt.fingerprint("global_step") == again.fingerprint("global_step")
            True
        """
        return self._reader.fingerprint(*self._find(name))

    def infos(self) -> list[TensorInfo]:
        """Return the metadata of all tensors.  Reads the whole index, but no tensor.

        Returns:
            The result of `info` for each name, in the order of names.

        Raises:
            CorruptCheckpointError: any part of the index is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> sum(info.nbytes for info in ckpt.infos())
            28996
        """
        return self._reader.infos()

    def forms(self) -> TensorForms:
        """Return the names, shapes and dtypes of all tensors as three lists.

        Reads the whole index, as `infos` does.  It is faster than `infos`, because it does not make
        a `TensorInfo` for each tensor.

        Returns:
            The lists of names, of shapes and of TensorFlow's names of dtypes, in the same order.

        Raises:
            CorruptCheckpointError: any part of the index is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> names, shapes, tensorflow_dtypes = ckpt.forms()
            >>> names[1], shapes[1], tensorflow_dtypes[1]
            ('vgg_16/conv1/conv1_1/biases', (4,), 'float32')
        """
        return self._reader.forms()

    def _find(self, name: str) -> tuple[bytes, Entry]:
        """Return the key and the entry of a tensor, or raise TensorNotFoundError."""
        key = encode_name(name)
        entry = self._reader.find(key)
        if entry is None:
            raise self._not_found(name)
        return key, entry

    def _not_found(self, name: str) -> TensorNotFoundError:
        """Return the error for a missing tensor."""
        return not_found("no such tensor", name, self._names_to_offer(), file=self.path)

    def _names_to_offer(self) -> tuple[str, ...]:
        """Return names to suggest, or none if listing them would be slow."""
        if self._names is None and self._reader.index_nbytes > _QUICK_INDEX_NBYTES:
            return ()
        try:
            return self._all_names()
        except CheckpointError:  # the index is damaged elsewhere; this name is still missing
            return ()

    select = select

    # Graphs

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """What the file says of itself, besides the tensors; {} for checkpoints of TensorFlow.

        It is read at the first access.  The keys depend on the format: the ``__metadata__`` of a
        `.safetensors` file, or for a file of Keras the versions, the layers and the optimizer.

        Raises:
            CorruptCheckpointError: it is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> with open_checkpoint("fixtures/tf-2.13.1/keras_h5/model.h5") as ckpt:
            ...     metadata = ckpt.metadata
            >>> metadata["keras_version"], metadata["class_name"]
            ('2.13.1', 'Functional')
            >>> [layer["name"] for layer in metadata["layers"]]
            ['steps', 'rnn', 'encoder', 'head']
        """
        return self._reader.metadata()

    @cached_property
    def variable_names(self) -> Mapping[str, str]:
        """Name of a tensor -> name of its variable in the program, where the two differ.

        A file of Keras and the object graph of a checkpoint have such names; {} for all others.
        They are read at the first access.  If the object graph has no name of a variable, a
        SavedModel may have it.

        Raises:
            CorruptCheckpointError: the names are damaged.
            CheckpointError: reading a graph failed; see `object_graph` and `meta_graph`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> with open_checkpoint("fixtures/tf-2.21.0/keras_h5/model.keras") as ckpt:
            ...     ckpt.variable_names["layers/dense/vars/0"]
            'head/0'
            >>> with open_checkpoint("fixtures/tf-2.21.0/layers/model.ckpt") as ckpt:
            ...     ckpt.variable_names["lstm/cell/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
            'lstm/lstm_cell/kernel'
        """
        if self.format in CONTAINERS:
            return self._reader.variable_names()
        if self.object_graph is None:  # TensorFlow 1: the names are those of variables
            return {}
        variables = [node.variable for node in self.object_graph.nodes()]
        names = {each.checkpoint_key: each.full_name for each in variables if each is not None}
        if any(name in _UNNAMED for name in names.values()) and self.meta_graph is not None:
            for variable in self.meta_graph.variables:
                if names.get(variable.checkpoint_key) in _UNNAMED:
                    names[variable.checkpoint_key] = variable.name
        return {key: name for key, name in names.items() if name not in (*_UNNAMED, key)}

    @cached_property
    def object_graph(self) -> ObjectGraph | None:
        """The graph of the objects that TensorFlow 2 or Keras saved; None if there is none.

        It is stored as a tensor of the checkpoint, and read at the first access.  Checkpoints that
        ``tf.train.Saver`` of TensorFlow 1 wrote have none.

        Raises:
            CorruptCheckpointError: the graph is damaged.
            CheckpointError: reading its tensor failed; see `read`.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> open_checkpoint("fixtures/tf-2.13.1/backbone_head/model.ckpt").object_graph
            <ObjectGraph of 29 objects>
        """
        if self.format in CONTAINERS:
            return None
        from ckptparse.objectgraph import read_object_graph

        return read_object_graph(self)

    @cached_property
    def meta_graph(self) -> MetaGraph | None:
        """The graph in the `.meta` file or SavedModel beside the tensors; None if there is none.

        It is read at the first access.  If a SavedModel has several graphs, this is the first one;
        `read_meta_graph` selects a graph by its tags.

        Raises:
            CorruptCheckpointError: the file is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt").meta_graph
            <MetaGraph of 1.15.5: 47 variables>
        """
        return self.read_meta_graph()

    def read_meta_graph(self, tags: Iterable[str] | None = None) -> MetaGraph | None:
        """Return the graph of a SavedModel that has exactly these tags.

        Args:
            tags: all tags of the graph, such as ``["serve"]``; None for the first graph.

        Returns:
            The graph; None if there is no `.meta` file and no SavedModel.

        Raises:
            CheckpointNotFoundError: no graph has exactly these tags.
            CorruptCheckpointError: the file is damaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> model = open_checkpoint("fixtures/tf-1.15.5/saved_model_two_tags/saved_model")
            >>> model.meta_graph.all_tags
            (('serve',), ('train', 'gpu'))
            >>> model.read_meta_graph(["train", "gpu"]).tags
            ('train', 'gpu')
        """
        from ckptparse.metagraph import find_graph_file, read_graph_file

        path = None if self._storage is None else find_graph_file(self._storage, self.path)
        if path is None or self._storage is None:
            return None
        return read_graph_file(self._storage, path, tags)

    def roles(self) -> dict[str, Role]:
        """Return the roles of tensors, as the object graph, or else the meta graph, defines them.

        Returns:
            Name -> "weight", "average" (the moving average of a weight) or "state" (anything else).
            Tensors that the graph does not describe are left out; {} if there is no graph.

        Raises:
            CorruptCheckpointError: the graph is damaged.
            CheckpointError: reading the graph failed.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> roles = ckpt.roles()
            >>> roles["conv/kernel"], roles["conv/kernel/Adam"]
            ('weight', 'state')
        """
        if self.format in CONTAINERS:
            return dict(self._reader.roles())
        if self.object_graph is not None:
            return self.object_graph.roles_of_keys()
        return {} if self.meta_graph is None else self.meta_graph.roles_of_keys()

    # Checks

    def verify(
        self,
        names: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
        on_piece: OnPiece | None = None,
    ) -> VerifyReport:
        """Check every stored byte of the index and of tensors, and report all damage.

        Damage is reported, not raised.  The report ends after 50,000 damaged tensors.  A tensor
        whose file has no checksum of it is read, and listed in `VerifyReport.unchecked`.  Memory: a
        tensor of strings, and any tensor of a V1 checkpoint, is read as a whole; numbers of a V2
        checkpoint are read piece by piece.

        Args:
            names: the tensors to check, each once; None for all tensors and the index.
            progress: called with (bytes checked so far, total bytes) after each tensor.
            on_piece: called with each `Piece` of each tensor, as `read_pieces` yields them, while
                it is checked.  So the values are used and checked in one pass, and damage of one
                tensor does not end it.  Until the last piece of a tensor came, the tensor may be
                damaged.  Tensors that cannot be read, such as variants, are only checked.

        Returns:
            A report that lists every damaged tensor; its `ok` is True if there is none.

        Raises:
            TensorNotFoundError: there is no tensor of one of these names.
            TypeError: `names` is a string.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt").verify().ok
            True
        """
        return verify_tensors(self._reader, names, self._find, progress, on_piece)

    # Closing

    def close(self) -> None:
        """Close the files.

        Arrays stay valid: a view keeps its memory map open.  The end of a ``with`` statement closes
        the files, too.  Reading from a closed checkpoint raises a ValueError; closing it again has
        no effect.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
            >>> step = ckpt["global_step"]
            >>> ckpt.close()
            >>> int(step)
            12345
            >>> ckpt
            <closed Checkpoint 'fixtures/tf-1.15.5/vgg_16/model.ckpt' (v2)>
        """
        if self._open_reader is not None:
            self._open_reader.close()
            close_archive = getattr(self._storage, "close", None)
            if close_archive is not None:
                close_archive()
            self._open_reader = None

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _repr_html_(self) -> str | None:
        """Return a table of the first tensors, for notebooks; None (use `repr`) if closed."""
        if self._open_reader is None:
            return None
        from ckptparse.display.notebook import MOST_ROWS, render_html

        names = self._all_names()
        infos = [self.info(name) for name in names[:MOST_ROWS]]
        return render_html(f"{self.path} ({self.format})", infos, len(names))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy or unpickle the checkpoint: by opening the same path again."""
        if self._again is None:
            raise TypeError(
                "only a checkpoint that open_checkpoint returned can be copied or pickled"
            )
        return self._again

    def __repr__(self) -> str:
        state = "closed " if self._open_reader is None else ""
        return f"<{state}Checkpoint {self.path!r} ({self.format})>"
