"""The graph saved with a checkpoint, in a `.meta` file or a SavedModel."""

from ckptparse.metagraph.files import find_graph_file, read_graph_file
from ckptparse.metagraph.graph import (
    GraphVariable,
    MetaGraph,
    Saver,
    Signature,
    SliceInfo,
    TensorSpec,
)
from ckptparse.metagraph.parse import parse_meta_graph, parse_saved_model

__all__ = [
    "GraphVariable",
    "MetaGraph",
    "Saver",
    "Signature",
    "SliceInfo",
    "TensorSpec",
    "find_graph_file",
    "parse_meta_graph",
    "parse_saved_model",
    "read_graph_file",
]
