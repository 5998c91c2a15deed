"""Read the constants of a graph: a frozen graph, or a SavedModel without variables.

A frozen graph is a GraphDef in which the variables were replaced by ``Const`` nodes.

::

    file            GraphDef | SavedModel, binary or as text
    SavedModel      1 schema version (a varint), 2 MetaGraphDef*
    MetaGraphDef    2 GraphDef
    GraphDef        1 NodeDef*, 2 FunctionDefLibrary, 4 versions
    library         1 FunctionDef*
    FunctionDef     1 signature (1 name), 3 NodeDef*
    NodeDef         1 name, 2 operation, 3 input*, 4 device, 5 attribute*
    attribute       1 key, 2 AttrValue; a Const has its tensor under the key "value"
    AttrValue       8 TensorProto; `formats.tensor_values` has its fields

The modules: `contents` finds the GraphDef in a file, `constants` the constants in a GraphDef, and
`tensor` decodes a TensorProto.  `window` reads files that are not mapped, `text` parses text.

Sources: tensorflow/core/protobuf/{saved_model,meta_graph}.proto, tensorflow/core/framework/
{graph,function,op_def,node_def,attr_value,tensor}.proto, and tensor.cc (``Tensor::FromProto``).
"""

from ckptparse.formats.frozen_graph.reader import open_frozen_graph

__all__ = ["open_frozen_graph"]
