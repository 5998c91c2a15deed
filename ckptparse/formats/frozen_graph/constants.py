"""Find the constants of a GraphDef, and name them.

A constant of the graph has the name of its node.  A constant in a function has the name
``function/node``.  If that is the name of another constant, it is ``function:node``: a colon cannot
be in the name of a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ckptparse.encoding.varint import Buffer
from ckptparse.errors import CheckpointError, CorruptCheckpointError
from ckptparse.formats.container import StoredArray
from ckptparse.formats.frozen_graph.tensor import Budget, decode_tensor
from ckptparse.limits import max_path_letters
from ckptparse.messages.wire import LENGTH_DELIMITED, Field, iterate_fields
from ckptparse.tensors.names import decode_name

_NODE, _LIBRARY = 1, 2
_FUNCTION = 1
_SIGNATURE, _NODE_OF_FUNCTION = 1, 3
_NAME, _OP, _ATTR = 1, 2, 5
_KEY, _VALUE = 1, 2
_TENSOR = 8

_CONST = b"Const"
_VARIABLE_OPS = {b"Variable", b"VariableV2", b"VarHandleOp"}
_LONGEST_OP = 16
"""No more bytes of an operation's name are compared."""

_VALUE_KEY = b"value"

Range = tuple[int, int]


class Constants(NamedTuple):
    """The constants of a graph.

    Attributes:
        arrays: name -> array; those of the graph, then those of its functions, in stored order.
        num_nodes: number of nodes of any operation.
        num_variables: number of nodes that are variables, which a frozen graph does not have.
    """

    arrays: dict[bytes, StoredArray]
    num_nodes: int
    num_variables: int


def find_constants(
    buffer: Buffer, graphs: Iterable[Range], nbytes: int, *, is_text: bool
) -> Constants:
    """Find all constants of a graph and of its functions.

    Args:
        buffer: the contents of the file.
        graphs: start and stop of the GraphDef; protocol buffers allow several, which are merged.
        nbytes: size of the file, which bounds what it can declare.
        is_text: whether the bytes are not those of the file, but were made from its text.

    Raises:
        CorruptCheckpointError: the bytes are not a valid GraphDef.
    """
    scan = _Scan(buffer, nbytes, is_text=is_text)
    for start, stop in graphs:
        scan.add_graph(start, stop)
    arrays = scan.arrays
    for function, node, array in scan.in_functions:
        key = b"/".join((function, node))
        _add(arrays, key if key not in arrays else b":".join((function, node)), array)
    return Constants(arrays, scan.num_nodes, scan.num_variables)


def _add(found: dict[bytes, StoredArray], key: bytes, array: StoredArray) -> None:
    """Add a constant.

    Raises:
        CorruptCheckpointError: there is another one of that name, or the name is empty.
    """
    if not key or key in found:
        raise CorruptCheckpointError(
            "invalid name of a constant",
            tensor=decode_name(key),
            expected="a name that no other constant has",
            found="that of another one" if key else "an empty one",
        )
    found[key] = array


def _messages(buffer: Buffer, start: int, stop: int) -> Iterator[Field]:
    """Yield the length-delimited fields of a message."""
    for part in iterate_fields(buffer, start, stop):
        if part.wire_type == LENGTH_DELIMITED:
            yield part


class _Scan:
    """What was found so far.

    Attributes:
        arrays: name -> array of the constants outside of functions.
        in_functions: names of function and node, and array, of the others.
        num_nodes, num_variables: as in `Constants`.
    """

    def __init__(self, buffer: Buffer, nbytes: int, *, is_text: bool) -> None:
        self.arrays: dict[bytes, StoredArray] = {}
        self.in_functions: list[tuple[bytes, bytes, StoredArray]] = []
        self.num_nodes = self.num_variables = 0
        self._buffer = buffer
        self._is_text = is_text
        self._budget = Budget(nbytes)
        self._most_letters = self._letters_left = max_path_letters(nbytes)

    def add_graph(self, start: int, stop: int) -> None:
        """Scan a GraphDef."""
        buffer = self._buffer
        for part in _messages(buffer, start, stop):
            if part.number == _NODE:
                constant = self._find_constant(part)
                if constant is not None:
                    _add(self.arrays, *constant)
            elif part.number == _LIBRARY:
                for function in _messages(buffer, part.start, part.stop):
                    if function.number == _FUNCTION:
                        self._add_function(function)

    def _add_function(self, function: Field) -> None:
        """Scan a FunctionDef."""
        buffer = self._buffer
        name = b""
        constants = []
        for part in _messages(buffer, function.start, function.stop):
            if part.number == _SIGNATURE:
                for field in _messages(buffer, part.start, part.stop):
                    if field.number == _NAME:
                        name = bytes(buffer[field.start : field.stop])
            elif part.number == _NODE_OF_FUNCTION:
                constant = self._find_constant(part)
                if constant is not None:
                    constants.append(constant)
        self._letters_left -= len(name) * len(constants)
        if self._letters_left < 0:
            raise CorruptCheckpointError(
                "the names of the constants in functions are too long",
                offset=function.start,
                expected=f"names of at most {self._most_letters} letters in all",
                found="more",
            )
        self.in_functions += ((name, node, array) for node, array in constants)

    def _find_constant(self, node: Field) -> tuple[bytes, StoredArray] | None:
        """Return the name and the array of a node, or None if it is not a constant."""
        buffer = self._buffer
        name: Range = (node.start, node.start)
        tensor: Range | None = None
        op: bytes | None = None
        for number, _, start, stop in _messages(buffer, node.start, node.stop):
            if number == _ATTR:
                if op is None or op == _CONST:
                    tensor = _find_tensor(buffer, start, stop) or tensor
            elif number == _NAME:
                name = start, stop
            elif number == _OP:
                if op is not None:
                    raise CorruptCheckpointError(
                        "invalid node of a graph",
                        offset=start,
                        expected="one operation",
                        found="two",
                    )
                op = bytes(buffer[start : min(stop, start + _LONGEST_OP)])
        self.num_nodes += 1
        self.num_variables += op in _VARIABLE_OPS
        if op != _CONST:
            return None
        key = bytes(buffer[slice(*name)])
        start, stop = tensor or (node.stop, node.stop)
        try:
            array = decode_tensor(buffer, start, stop, self._budget, is_text=self._is_text)
        except CheckpointError as error:
            error.tensor = decode_name(key)
            raise
        return key, array


def _find_tensor(buffer: Buffer, start: int, stop: int) -> Range | None:
    """Return start and stop of the tensor in an attribute, or None if its key is not "value"."""
    is_value = False
    value: Range | None = None
    for number, _, first, last in _messages(buffer, start, stop):
        if number == _KEY:
            is_value = bytes(buffer[first:last]) == _VALUE_KEY
        elif number == _VALUE:
            value = _only(value, first, last)
    if not is_value or value is None:
        return None
    tensor: Range | None = None
    for number, _, first, last in _messages(buffer, *value):
        if number == _TENSOR:
            tensor = _only(tensor, first, last)
    return tensor


def _only(other: Range | None, start: int, stop: int) -> Range:
    """Return start and stop of a field, which must be there once.

    Protocol buffers merge several messages of one field; TensorFlow never writes several.
    """
    if other is not None:
        raise CorruptCheckpointError(
            "invalid attribute of a node", offset=start, expected="one value", found="several"
        )
    return start, stop
