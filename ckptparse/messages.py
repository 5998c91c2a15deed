"""Protocol-buffer messages, in a descriptor pool of our own.

TensorFlow registers its own messages in the default pool; ours live apart, so both work in one
process whichever is imported first.  Message classes do not leave the format layer.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ckptparse.descriptors import FILES
from ckptparse.errors import CorruptCheckpointError

_pool = descriptor_pool.DescriptorPool()
for _serialized in FILES.values():
    _pool.AddSerializedFile(_serialized)


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"ckptparse.{name}"))


BundleHeaderProto = _message_class("BundleHeaderProto")
BundleEntryProto = _message_class("BundleEntryProto")


def parse(message_class: Any, serialized: bytes | memoryview) -> Any:
    """A message from its bytes.

    Raises:
        CorruptCheckpointError: they are not such a message.
    """
    try:
        return message_class.FromString(bytes(serialized))
    except DecodeError as error:
        raise CorruptCheckpointError(
            "protocol buffer",
            expected=f"a {message_class.DESCRIPTOR.name}",
            found=f"{len(serialized)} bytes that do not parse ({error})",
        ) from error
