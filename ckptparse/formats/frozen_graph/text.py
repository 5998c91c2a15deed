"""Parse a GraphDef or a SavedModel that is stored as text, ``.pbtxt``.

The text is parsed as a whole, into messages of `protos/frozen_graph.proto`, and serialized, so that
its constants are found in the same bytes as those of a binary file.
"""

from __future__ import annotations

import re

from ckptparse.errors import NotACheckpointError
from ckptparse.messages.pool import load
from ckptparse.messages.text_format import parse_text
from ckptparse.sources import Source

_HEAD_NBYTES = 64
_GRAPH_FIELDS = rb"node|library|versions?"
_MODEL_FIELDS = rb"saved_model_schema_version|meta_graphs"
_BEGINNING = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:%b|%b)\s*[:{]" % (_GRAPH_FIELDS, _MODEL_FIELDS))
_FIELD = re.compile(rb"^[ \t]*(?:%b|%b)\s*[:{]" % (_GRAPH_FIELDS, _MODEL_FIELDS), re.MULTILINE)
_MODEL = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:%b)\s*[:{]" % _MODEL_FIELDS)


def is_text(source: Source) -> bool:
    """Return whether a file is text, by its name or its first bytes."""
    if source.name.endswith(".pbtxt"):
        return True
    head = bytes(source.read(0, min(source.nbytes, _HEAD_NBYTES)))
    return _BEGINNING.match(head) is not None


def text_to_binary(text: bytes) -> bytes:
    """Return a GraphDef or a SavedModel in binary form, without what is not needed of it.

    Raises:
        NotACheckpointError: no line begins with a field of these messages.
        CorruptCheckpointError: the text does not parse, or is too dense.
    """
    if _FIELD.search(text) is None:
        raise NotACheckpointError(
            "this is not a graph",
            expected="a GraphDef or a SavedModel as text: node { ... }",
            found=repr(text[:_HEAD_NBYTES])[1:],
        )
    name = "FrozenSavedModel" if _MODEL.match(text) else "FrozenGraph"
    message = load("frozen_graph.proto")[name]()
    parse_text(text, message, "a GraphDef or a SavedModel")
    serialized: bytes = message.SerializeToString()
    return serialized
