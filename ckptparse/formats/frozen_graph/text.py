"""Parse a GraphDef or a SavedModel that is stored as text, ``.pbtxt``.

The text is parsed as a whole, into messages of `protos/frozen_graph.proto`, and serialized, so that
its constants are found in the same bytes as those of a binary file.
"""

from __future__ import annotations

import re

from ckptparse.errors import CorruptCheckpointError, NotACheckpointError
from ckptparse.messages.pool import load
from ckptparse.messages.text_format import ease_text, require_sparse
from ckptparse.sources import Source

_HEAD_NBYTES = 64
_GRAPH_FIELDS = rb"node|library|versions?"
_MODEL_FIELDS = rb"saved_model_schema_version|meta_graphs"
_BEGINNING = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:%b|%b)\s*[:{]" % (_GRAPH_FIELDS, _MODEL_FIELDS))
_FIELD = re.compile(rb"^[ \t]*(?:%b|%b)\s*[:{]" % (_GRAPH_FIELDS, _MODEL_FIELDS), re.MULTILINE)
_MODEL = re.compile(rb"\s*(?:#[^\n]*\n\s*)*(?:%b)\s*[:{]" % _MODEL_FIELDS)

_MOST_LETTERS = 200
"""Number of characters of protobuf's error message that an error quotes."""


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
    from google.protobuf import text_format  # imported only for graphs as text

    if _FIELD.search(text) is None:
        raise NotACheckpointError(
            "this is not a graph",
            expected="a GraphDef or a SavedModel as text: node { ... }",
            found=repr(text[:_HEAD_NBYTES])[1:],
        )
    name = "FrozenSavedModel" if _MODEL.match(text) else "FrozenGraph"
    message = load("frozen_graph.proto")[name]()
    try:
        plain = text.decode("utf-8")
        require_sparse(plain)
        text_format.Parse(ease_text(plain), message, allow_unknown_field=True)
    except CorruptCheckpointError:
        raise
    # ValueError: not UTF-8.  RecursionError: the parser recurses at each brace.
    except (text_format.ParseError, ValueError, RecursionError) as error:
        raise CorruptCheckpointError(
            "invalid protocol buffer as text",
            expected="a GraphDef or a SavedModel",
            found=str(error)[:_MOST_LETTERS],
        ) from error
    serialized: bytes = message.SerializeToString()
    return serialized
