"""The graph saved with a checkpoint: variables, signatures, operations, and version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ckptparse.tensors.mapping import Role
from ckptparse.weights.moving_averages import AVERAGE, average_name

_STATES = frozenset({"global_step", "metric_variables"})
"""Collections of variables that are no weights."""

Shape = tuple[int | None, ...] | None
"""A size for each dimension, None for an unknown size; None for an unknown rank."""


@dataclass(frozen=True, slots=True)
class SliceInfo:
    """The part of a partitioned variable that a variable of the graph stores.

    Attributes:
        full_name: name of the whole variable, which is its key in a checkpoint.
        full_shape: shape of the whole variable.
        start: index of the part's first element in the whole variable, for each dimension.
        shape: shape of the part.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
        >>> part = ckpt.meta_graph.trainable_variables[3].slice
        >>> part.full_name, part.full_shape, part.start, part.shape
        ('dense/weights', (8, 3), (4, 0), (4, 3))
    """

    full_name: str
    full_shape: tuple[int, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphVariable:
    """A variable of a graph.

    Attributes:
        name: its name, without ":0".
        dtype: TensorFlow's name of its dtype ("float32"); None if the graph does not state it.
        shape: its shape, with None for an unknown size; None if the rank is unknown.
        trainable: whether it is trained; None if the graph does not state it.
        checkpoint_key: its name in a checkpoint.  For a part of a partitioned variable, the name of
            the whole variable; in TensorFlow 2, the key of its object.
        slice: the part of a partitioned variable that it stores; None for a whole variable.
        collections: names of the graph collections that contain it; () in TensorFlow 2.
        role: ``"average"`` for a moving average; ``"slot"`` for a value that an optimizer or a
            moving average keeps for a variable; ``"optimizer"`` for other state of an optimizer
            (``beta1_power``); None for all other variables.
        of: name of the variable or tensor that it is an average or slot of, or None.
        node_id: id of its object in the checkpoint's object graph; None in TensorFlow 1.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
        >>> variable = ckpt.meta_graph.variables[1]
        >>> variable.name, variable.dtype, variable.shape, variable.trainable
        ('conv/kernel', 'float32', (3, 3, 1, 2), True)
    """

    name: str
    dtype: str | None
    shape: Shape
    trainable: bool | None
    checkpoint_key: str
    slice: SliceInfo | None = None
    collections: tuple[str, ...] = ()
    role: Literal["average", "slot", "optimizer"] | None = None
    of: str | None = None
    node_id: int | None = None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a signature.

    Attributes:
        name: name of the tensor in the graph ("x:0"); None if it is not stored as one tensor (a
            sparse tensor).
        dtype: TensorFlow's name of its dtype ("float32"); None for an operation without outputs.
        shape: its shape, with None for an unknown size; None if the rank is unknown.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> model = open_checkpoint("fixtures/tf-1.15.5/saved_model_two_tags/saved_model")
        >>> model.meta_graph.signatures["serving_default"].inputs["x"]
        TensorSpec(name='x:0', dtype='float32', shape=(None, 3))
    """

    name: str | None
    dtype: str | None
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature of a SavedModel: a function with named inputs and outputs.

    Attributes:
        method_name: kind of the signature, such as "tensorflow/serving/predict"; can be "".
        inputs: input name -> its tensor, sorted by name.
        outputs: output name -> its tensor, sorted by name.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> model = open_checkpoint("fixtures/tf-1.15.5/saved_model_two_tags/saved_model")
        >>> signature = model.meta_graph.signatures["serving_default"]
        >>> signature.method_name, list(signature.inputs), list(signature.outputs)
        ('tensorflow/serving/predict', ['x'], ['y'])
    """

    method_name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Saver:
    """The ``tf.train.Saver`` of a graph.

    Attributes:
        version: checkpoint format that it writes: 1 for V1, 2 for V2; 0 for a Saver from before V2
            existed.
        sharded: whether it writes one file per device.
        max_to_keep: number of recent checkpoints that it keeps; 0 for all.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
        >>> ckpt.meta_graph.saver
        Saver(version=2, sharded=False, max_to_keep=5)
    """

    version: int
    sharded: bool
    max_to_keep: int


@dataclass(frozen=True, slots=True, repr=False)
class MetaGraph:
    """A graph with its variables, signatures and collections, from a `.meta` file or a SavedModel.

    Attributes:
        tags: tags of the graph in its SavedModel, such as ``("serve",)``; () in a `.meta` file.
        all_tags: the tags of each graph of the SavedModel.
        tensorflow_version: version of the TensorFlow that wrote the graph; free text, "" before
            0.12.
        tensorflow_git_version: git version of the same TensorFlow; free text, can be "".
        graph_def_producer: version number of the graph format; it tells the age of a graph without
            a TensorFlow version.
        saver: the Saver of the graph; None if it has none.
        variables: all variables, in the order of collections (TensorFlow 1) or of objects
            (TensorFlow 2).
        collections: name of a collection -> number of its items.
        signatures: name of a signature -> its inputs and outputs.
        op_counts: name of an operation -> number of its nodes outside functions.
        function_op_counts: name of an operation -> number of its nodes in all functions.
        num_functions: number of functions.

    Examples:
        >>> from ckptparse import open_checkpoint
        >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
        >>> graph = ckpt.meta_graph
        >>> graph
        <MetaGraph of 1.15.5: 47 variables>
        >>> graph.saver
        Saver(version=2, sharded=False, max_to_keep=5)
    """

    tags: tuple[str, ...]
    all_tags: tuple[tuple[str, ...], ...]
    tensorflow_version: str
    tensorflow_git_version: str
    graph_def_producer: int
    saver: Saver | None
    variables: tuple[GraphVariable, ...]
    collections: Mapping[str, int]
    signatures: Mapping[str, Signature]
    op_counts: Mapping[str, int]
    function_op_counts: Mapping[str, int]
    num_functions: int

    @property
    def trainable_variables(self) -> tuple[GraphVariable, ...]:
        """The variables that are trained: their `trainable` is True.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> [variable.name for variable in ckpt.meta_graph.trainable_variables][:2]
            ['conv/kernel', 'conv/bias']
        """
        return tuple(item for item in self.variables if item.trainable)

    @property
    def moving_averages(self) -> tuple[GraphVariable, ...]:
        """The variables that are moving averages.

        `GraphVariable.of` is the name of the variable or tensor that is averaged.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> average = ckpt.meta_graph.moving_averages[0]
            >>> average.name, average.of
            ('conv/kernel/ExponentialMovingAverage', 'conv/kernel')
        """
        return tuple(item for item in self.variables if item.role == "average")

    @property
    def slot_variables(self) -> tuple[GraphVariable, ...]:
        """The variables that an optimizer or a moving average keeps for others.

        `GraphVariable.of` is the name of the variable or tensor that one is kept for.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> slot = ckpt.meta_graph.slot_variables[2]
            >>> slot.name, slot.of
            ('conv/kernel/Momentum', 'conv/kernel')
        """
        return tuple(item for item in self.variables if item.role == "slot")

    def variables_to_restore(self, average: str = AVERAGE) -> dict[str, str]:
        """Return the tensor to read for each variable: its moving average, if it has one.

        This is similar to ``tf.train.ExponentialMovingAverage.variables_to_restore``, but returns
        checkpoint keys, and only averages that exist.  (TensorFlow requires an average for each
        trainable variable.  For the parts of a partitioned variable, it returns names that are not
        in any checkpoint.)

        Args:
            average: name of the moving average.

        Returns:
            A dict from the key of the tensor to read to the key of the variable that gets it.  It
            contains only variables of the collection "variables", so it is {} in TensorFlow 2.

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> keys = ckpt.meta_graph.variables_to_restore()
            >>> keys["conv/kernel/ExponentialMovingAverage"], keys["frozen"]
            ('conv/kernel', 'frozen')
        """
        saved = [item for item in self.variables if "variables" in item.collections]
        keys = {item.name: item.checkpoint_key for item in saved}
        averages = {
            item.of: item.checkpoint_key
            for item in saved
            if item.role == "average"
            and item.of in keys
            and item.name == average_name(item.of, average)
        }
        replaced = set(averages.values())
        return {
            averages.get(item.name, item.checkpoint_key): item.checkpoint_key
            for item in saved
            if item.checkpoint_key not in replaced
        }

    def roles_of_keys(self) -> dict[str, Role]:
        """Return the roles of tensors in the checkpoint, as far as the graph tells.

        A variable that is trained is a weight, whatever its name is.  About variables that are
        not trained and have no role in the graph, such as the statistics of batch normalisation
        and learning rates, the graph tells nothing.

        Returns:
            Key in the checkpoint -> "weight", "average" for the moving average of a weight under
            its default name, or "state".

        Examples:
            >>> from ckptparse import open_checkpoint
            >>> ckpt = open_checkpoint("fixtures/tf-1.15.5/training_graph/model.ckpt")
            >>> roles = ckpt.meta_graph.roles_of_keys()
            >>> roles["conv/kernel/ExponentialMovingAverage"], roles["logits/bias/generator"]
            ('average', 'state')
        """
        keys = {item.name: item.checkpoint_key for item in self.variables}
        roles: dict[str, Role] = {}
        for item in self.variables:
            if item.trainable:
                roles[item.checkpoint_key] = "weight"
            elif item.role == "average":
                of = keys.get(item.of or "")
                has_default = of is not None and item.checkpoint_key == average_name(of)
                roles[item.checkpoint_key] = "average" if has_default else "state"
            elif item.role or _STATES.intersection(item.collections):
                roles[item.checkpoint_key] = "state"
        return roles

    def __repr__(self) -> str:
        version = self.tensorflow_version or f"GraphDef {self.graph_def_producer}"
        tags = f" for {', '.join(self.tags)}" if self.tags else ""
        return f"<MetaGraph{tags} of {version}: {len(self.variables)} variables>"
