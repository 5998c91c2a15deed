"""Find and read the file with the graph of a checkpoint.

====================================  ============================================
given                                 the graph is in
====================================  ============================================
a ``.meta``, ``.pb`` or ``.pbtxt``    that file
the directory of a SavedModel         its ``saved_model.pb`` or ``saved_model.pbtxt``
``dir/variables/variables``           the same of ``dir``
any other prefix                      ``….meta``
====================================  ============================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptparse.errors import CheckpointNotFoundError, located
from ckptparse.formats.file_names import META_SUFFIX, SAVED_MODEL_NAMES
from ckptparse.metagraph.graph import MetaGraph
from ckptparse.metagraph.parse import parse_meta_graph, parse_saved_model
from ckptparse.sources import Files

_TEXT = ".pbtxt"
_SUFFIXES = (META_SUFFIX, ".pb", _TEXT)


def find_graph_file(files: Files, path: str) -> str | None:
    """The file with the graph of what is at a path; None when there is none."""
    return next(filter(files.is_file, _candidates(files, path)), None)


def _candidates(files: Files, path: str) -> Iterator[str]:
    if path.endswith(_SUFFIXES):
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
    """The graph in a file, told by its name.

    Args:
        files: where it is.
        path: one that `find_graph_file` gave.
        tags: of a SavedModel, exactly the tags of the graph; None for its first.

    Raises:
        CheckpointNotFoundError: no graph of the SavedModel has those tags; or the file is gone.
        CorruptCheckpointError: not such a file.
        UnreadableError: the operating system refuses.
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
            if path.endswith(META_SUFFIX):
                return parse_meta_graph(buffer)
            return parse_saved_model(buffer, tags, text=path.endswith(_TEXT))
    finally:
        source.close()
