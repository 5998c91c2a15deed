"""Find and read the file that contains the graph of a checkpoint.

====================================  ============================================
path                                  file with the graph
====================================  ============================================
a ``.meta``, ``.pb`` or ``.pbtxt``    that file
the directory of a SavedModel         its ``saved_model.pb`` or ``saved_model.pbtxt``
``dir/variables/variables``           the same in ``dir``
any other prefix                      ``….meta``
====================================  ============================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptparse.errors import CheckpointNotFoundError, located
from ckptparse.formats.file_names import META_SUFFIX, SAVED_MODEL_NAMES
from ckptparse.metagraph.graph import MetaGraph
from ckptparse.metagraph.parse import (
    is_graph_def,
    parse_graph_def,
    parse_meta_graph,
    parse_saved_model,
)
from ckptparse.sources import Files

_TEXT = ".pbtxt"
_SUFFIXES = (META_SUFFIX, ".pb", _TEXT)


def find_graph_file(files: Files, path: str) -> str | None:
    """Return the path of the file with the graph of a checkpoint, or None if there is none.

    Args:
        files: the file system.
        path: a graph file, the directory of a SavedModel, or the prefix of a checkpoint.
    """
    return next(filter(files.is_file, _candidates(files, path)), None)


def _candidates(files: Files, path: str) -> Iterator[str]:
    """Yield the paths where the graph can be, the most likely first."""
    if files.split(path)[1].endswith(_SUFFIXES):
        yield path
    for name in SAVED_MODEL_NAMES:
        yield files.join(path, name)
    folder, name = files.split(path)
    model, folder_name = files.split(folder)
    if name == folder_name == "variables":
        for name in SAVED_MODEL_NAMES:
            yield files.join(model, name)
    yield files.append(path, META_SUFFIX)


def read_graph_file(files: Files, path: str, tags: Iterable[str] | None = None) -> MetaGraph:
    """Return the graph in a file; the suffix of the path determines the format.

    Args:
        files: the file system.
        path: a path that `find_graph_file` returned.
        tags: all tags of one graph of a SavedModel, in any order; None for the first graph.

    Raises:
        CheckpointNotFoundError: no graph of the SavedModel has exactly these tags, or the file
            disappeared.
        CorruptCheckpointError: the file is not a valid graph file.
        UnreadableError: the operating system reported an error.
    """
    try:
        source = files.open(path)
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(
            "this file disappeared while it was opened", file=path
        ) from error
    try:
        with located(file=path):
            buffer = source.read(0, source.nbytes)
            name = files.split(path)[1]  # a chained URL ends with the path of an archive
            if name.endswith(META_SUFFIX):
                return parse_meta_graph(buffer)
            text = name.endswith(_TEXT)
            is_model = name in SAVED_MODEL_NAMES or tags is not None
            if not is_model and is_graph_def(buffer, text=text):
                return parse_graph_def(buffer, text=text)
            return parse_saved_model(buffer, tags, text=text)
    finally:
        source.close()
