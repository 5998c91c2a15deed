"""Protocol-buffer messages, in a descriptor pool of our own.

TensorFlow registers its own messages in the default pool; ours live apart, so both work in one
process whichever is imported first.  Message classes do not leave the format layer.

Protobuf itself is imported at the first need: the index of most checkpoints is read without it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ckptparse.errors import CorruptCheckpointError


@lru_cache(maxsize=1)
def _pool() -> Any:
    from google.protobuf.descriptor_pool import DescriptorPool

    from ckptparse.messages.compiled import FILES

    pool = DescriptorPool()
    for serialized in FILES.values():
        pool.AddSerializedFile(serialized)
    return pool


@lru_cache(maxsize=None)
def load(file_name: str) -> dict[str, Any]:
    """The message classes of one of the protos, by name; nested ones as "Outer.Inner".

    Classes are made at the first call for their file, and kept for good, together with those of
    the files that it imports: protobuf before 4.25 crashes when it reads a field whose class nobody
    holds (github.com/protocolbuffers/protobuf, issue 12047).
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
    """A message from its bytes.

    Raises:
        CorruptCheckpointError: they are not such a message.
    """
    try:
        return message_class.FromString(bytes(serialized))
    except Exception as error:
        from google.protobuf.message import DecodeError  # every entry of an index may come by here

        # RecursionError: protobuf 4 in pure Python counts no depth.
        if not isinstance(error, (DecodeError, RecursionError)):
            raise
        raise CorruptCheckpointError(
            "invalid protocol buffer",
            expected=f"a {message_class.DESCRIPTOR.name}",
            found=f"{len(serialized)} bytes that do not parse ({error})",
        ) from error
