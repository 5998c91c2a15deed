"""The graph beside a checkpoint: its variables, its signatures, and who wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int | None, ...] | None
"""Sizes, None for one that varies; None for a shape of any rank."""


@dataclass(frozen=True, slots=True)
class SliceInfo:
    """The place of a variable in the partitioned variable that it is a part of.

    Attributes:
        full_name: the name of the whole, which is its key in a checkpoint.
        full_shape: its shape.
        start: first index of the part, per dimension.
        shape: size of the part, per dimension.
    """

    full_name: str
    full_shape: tuple[int, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GraphVariable:
    """A variable of a graph.

    Attributes:
        name: without ":0".
        dtype: TensorFlow's name of its type ("float32"); None where the graph does not say.
        shape: of its initial value.
        trainable: None where the graph does not say.
        checkpoint_key: its name in a checkpoint of the usual Saver; for a part of a partitioned
            variable that of the whole; for a variable of TF2 the key of its object.
        slice: which part it is of a partitioned variable; None for a whole one.
        collections: the collections that it is in.
        role: ``average`` for a moving average; ``slot`` for what is kept beside a variable, by an
            optimizer or by a moving average; ``optimizer`` for what an optimizer keeps otherwise;
            None for all else.
        of: the variable, or tensor, that it is an average or slot of.
        node_id: its object in the checkpoint's object graph; None for TF1.
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
        name: of the tensor in the graph ("x:0"); None where it is not one tensor (sparse ...).
        dtype: TensorFlow's name of its type; None for an operation that gives nothing.
        shape: as the signature has it.
    """

    name: str | None
    dtype: str | None
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """A function that a SavedModel offers.

    Attributes:
        method_name: "tensorflow/serving/predict" ...
        inputs, outputs: by their names in the signature.
    """

    method_name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Saver:
    """The Saver of a graph.

    Attributes:
        version: 0 for one from before V2, 1 for V1, 2 for V2 checkpoints.
        sharded: whether it writes a file for each device.
        max_to_keep: how many checkpoints it leaves; 0 for all.
    """

    version: int
    sharded: bool
    max_to_keep: int


@dataclass(frozen=True, slots=True, repr=False)
class MetaGraph:
    """A graph and what was written beside it.

    Attributes:
        tags: what it was saved for ("serve"); () in a .meta file.
        all_tags: the tags of every graph of the SavedModel.
        tensorflow_version, tensorflow_git_version: who wrote it; free text, "" before 0.12.
        graph_def_producer: the version of its format, which tells the era where there is no other.
        saver: None where there is none.
        variables: in the order of collections, or of objects.
        collections: name -> number of items.
        signatures: name -> inputs and outputs.
        op_counts: operation -> number of nodes, outside functions.
        function_op_counts: operation -> number of nodes, in all functions.
        num_functions: how many functions there are.
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
        """Those that are trained."""
        return tuple(item for item in self.variables if item.trainable)

    @property
    def moving_averages(self) -> tuple[GraphVariable, ...]:
        """Those that are moving averages; `of` says of what."""
        return tuple(item for item in self.variables if item.role == "average")

    @property
    def slot_variables(self) -> tuple[GraphVariable, ...]:
        """Those that are kept beside others; `of` says beside which."""
        return tuple(item for item in self.variables if item.role == "slot")

    def variables_to_restore(self, average: str = "ExponentialMovingAverage") -> dict[str, str]:
        """Map each variable to the tensor to restore it from, an average where there is one.

        As `tf.train.ExponentialMovingAverage.variables_to_restore`, by checkpoint keys, and only
        with averages that exist: TensorFlow asks for those of every trainable variable, and of the
        parts of partitioned ones under names that no checkpoint has.

        Args:
            average: name of the moving average.

        Returns:
            Key to read -> key of the variable that it is for.
        """
        saved = [item for item in self.variables if "variables" in item.collections]
        keys = {item.name: item.checkpoint_key for item in saved}
        averages = {
            item.of: item.checkpoint_key
            for item in saved
            if item.role == "average" and item.name == f"{item.of}/{average}" and item.of in keys
        }
        replaced = set(averages.values())
        return {
            averages.get(item.name, item.checkpoint_key): item.checkpoint_key
            for item in saved
            if item.checkpoint_key not in replaced
        }

    def __repr__(self) -> str:
        version = self.tensorflow_version or f"GraphDef {self.graph_def_producer}"
        tags = f" for {', '.join(self.tags)}" if self.tags else ""
        return f"<MetaGraph{tags} of {version}: {len(self.variables)} variables>"
