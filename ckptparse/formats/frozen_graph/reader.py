"""Open a frozen graph."""

from __future__ import annotations

from ckptparse.encoding.varint import Buffer
from ckptparse.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    NotACheckpointError,
    located,
)
from ckptparse.formats.container import ContainerReader, StoredArray
from ckptparse.formats.file_names import SAVED_MODEL_NAMES
from ckptparse.formats.frozen_graph.constants import Constants, find_constants
from ckptparse.formats.frozen_graph.contents import begins_with_version, describe, find_first_graph
from ckptparse.formats.frozen_graph.text import is_text, text_to_binary
from ckptparse.formats.frozen_graph.window import Window
from ckptparse.formats.recognize import name_foreign_format
from ckptparse.limits import MAX_FREE_INFLATED_TEXT_NBYTES, MAX_INFLATED_TEXT_RATIO
from ckptparse.sources import MemorySource, Source
from ckptparse.sources.base import require_dense
from ckptparse.tensors.info import TensorInfo

FORMAT = "frozen-graph"


def open_frozen_graph(
    source: Source, *, verify: bool, all_constants: bool = False, any_model: bool = False
) -> ContainerReader:
    """Open a GraphDef or a SavedModel, binary or as text, whose constants are tensors.

    Opening finds all constants: it reads the file around their values.  Text is read as a whole.

    Args:
        source: the file; the reader closes it.
        verify: has no effect: graphs have no checksums.
        all_constants: list constants of one element or none, too.
        any_model: accept a SavedModel whose graph has variables; its weights are in their files.

    Raises:
        NotACheckpointError: the file is no graph, or has no such constants.
        CheckpointNotFoundError: the graph of the SavedModel has variables, or no constants.
        CorruptCheckpointError: the graph is damaged.
        UnsupportedError: it is compressed, and large for its compressed size.
        UnreadableError: the operating system or the storage refuses.
    """
    try:
        with located(file=source.name):
            graph = _Graph(source)
            arrays = graph.list_arrays(all_constants=all_constants, any_model=any_model)
    except BaseException:
        source.close()
        raise
    if not graph.is_text:
        return ContainerReader(FORMAT, source, arrays, verify=verify)
    source.close()
    return _TextReader(FORMAT, graph.source, arrays, verify=verify)


class _TextReader(ContainerReader):
    """A graph as text.  Positions in the binary form of it have no meaning in the file."""

    def info(self, key: bytes, entry: StoredArray) -> TensorInfo:
        """Return the metadata of an array; reads nothing."""
        return super().info(key, entry)._replace(offset=None)


class _Graph:
    """The graph in a file.

    Attributes:
        source: its bytes in binary form.
        is_text: whether they were made from text.
    """

    def __init__(self, source: Source) -> None:
        self.is_text = is_text(source)
        self._nbytes = source.nbytes
        if self.is_text:
            _require_no_other(name_foreign_format(source))
            require_dense(
                source,
                source.nbytes,
                "this graph as text",
                ratio=MAX_INFLATED_TEXT_RATIO,
                free_nbytes=MAX_FREE_INFLATED_TEXT_NBYTES,
            )
            text = bytes(source.read(0, source.nbytes))
            source = MemorySource(source.name, text_to_binary(text))
        self.source = source
        is_whole = source.mapped or self.is_text
        self._buffer: Buffer = (
            memoryview(source.read(0, source.nbytes)) if is_whole else Window(source)
        )

    def list_arrays(self, *, all_constants: bool, any_model: bool) -> dict[bytes, StoredArray]:
        """Return the constants to list; see `open_frozen_graph`."""
        try:
            is_model, found = self._find()
        except CorruptCheckpointError as error:
            if self.is_text:
                error.offset = None
                raise
            self._require_graph()
            raise
        arrays = found.arrays
        listed = {key: array for key, array in arrays.items() if all_constants or array.size > 1}
        if is_model and found.num_variables and not any_model:
            raise CheckpointNotFoundError(
                "the variables of this SavedModel are missing",
                expected="the files variables/variables.* beside its graph, which has variables"
                ' (format="frozen-graph" reads only the constants)',
                found=f"{found.num_variables} variables in the graph, and no such files",
            )
        if listed:
            return listed
        if not self.is_text:
            self._require_graph()
        what = "SavedModel has no variables, and its graph" if is_model else "graph"
        error_class = CheckpointNotFoundError if is_model else NotACheckpointError
        raise error_class(
            f"this {what} has no constants that could be weights",
            expected="Const nodes with more than one element"
            + (" (all_constants=True lists the others)" if arrays else ""),
            found=f"{found.num_nodes} nodes: {found.num_variables} variables, and {len(arrays)}"
            f" constants{' of one element or none' if arrays else ''}",
        )

    def _find(self) -> tuple[bool, Constants]:
        """Return whether the file is a SavedModel, and its constants."""
        buffer, nbytes = self._buffer, self.source.nbytes
        name = self.source.name.replace("\\", "/").rpartition("/")[2]
        is_model = name in SAVED_MODEL_NAMES or begins_with_version(buffer, nbytes)
        graphs = find_first_graph(buffer, nbytes) if is_model else [(0, nbytes)]
        return is_model, find_constants(buffer, graphs, self._nbytes, is_text=self.is_text)

    def _require_graph(self) -> None:
        """Raise NotACheckpointError if the file seems to be of another format."""
        what = name_foreign_format(self.source)
        _require_no_other(what or describe(self._buffer, self.source.nbytes))


def _require_no_other(what: str | None) -> None:
    """Raise NotACheckpointError if the format of a file is known and another one."""
    if what is not None:
        raise NotACheckpointError(
            f"this is not a frozen graph but {what}",
            expected="a GraphDef, or a SavedModel without variables",
            found=what,
        ) from None
