"""Load protocol-buffer message classes, and parse messages.

The messages are in a descriptor pool of their own, because TensorFlow registers its messages in the
default pool.  So both work in one process, in either order of import.  Public functions return no
protocol-buffer messages, except `ckptparse.train.get_checkpoint_state`.

Protobuf is imported at first use, because the index of most checkpoints is read without it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ckptparse.errors import CorruptCheckpointError


@lru_cache(maxsize=1)
def _pool() -> Any:
    """Return the descriptor pool with all of the compiled protos."""
    from google.protobuf.descriptor_pool import DescriptorPool

    from ckptparse.messages.compiled import FILES

    pool = DescriptorPool()
    for serialized in FILES.values():
        pool.AddSerializedFile(serialized)
    return pool


@lru_cache(maxsize=None)
def load(file_name: str) -> dict[str, Any]:
    """Return the message classes of a proto file by name; nested ones are named "Outer.Inner".

    Classes are made at the first call for their file.  They are never freed, and the result also
    has the classes of imported files: protobuf before 4.25 crashes when it reads a field whose
    class has been freed (github.com/protocolbuffers/protobuf, issue 12047).
    """
    from google.protobuf.message_factory import GetMessageClass

    file = _pool().FindFileByName(file_name)
    classes = {}
    for imported in file.dependencies:
        classes.update(load(imported.name))
    pending = list(file.message_types_by_name.values())
    while pending:
        descriptor = pending.pop()
        name = descriptor.full_name.removeprefix(f"{file.package}.")
        classes[name] = GetMessageClass(descriptor)
        pending += descriptor.nested_types
    return classes


def parse(message_class: Any, serialized: bytes | memoryview) -> Any:
    """Parse a message of a class.

    Raises:
        CorruptCheckpointError: the bytes are not such a message.
    """
    try:
        return message_class.FromString(bytes(serialized))
    except Exception as error:
        from google.protobuf.message import DecodeError  # not on the fast path

        # RecursionError: the pure-Python protobuf 4 does not limit the depth of messages.
        if not isinstance(error, (DecodeError, RecursionError)):
            raise
        raise CorruptCheckpointError(
            "invalid protocol buffer",
            expected=f"a {message_class.DESCRIPTOR.name}",
            found=f"{len(serialized)} bytes that do not parse ({error})",
        ) from error
