"""Protocol-buffer messages, in a descriptor pool of our own.

TensorFlow registers its own messages in the default pool; ours live apart, so both work in one
process whichever is imported first.  Message classes do not leave the format layer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ckptparse.descriptors import FILES
from ckptparse.errors import CorruptCheckpointError

_pool = descriptor_pool.DescriptorPool()
for _serialized in FILES.values():
    _pool.AddSerializedFile(_serialized)

# Every class is kept, those of fields too: protobuf before 4.25 crashes when it reads a field whose
# class nobody holds (github.com/protocolbuffers/protobuf issue 12047).
_classes: dict[str, Any] = {}


def _keep_classes(descriptors: Iterable[Any]) -> None:
    for descriptor in descriptors:
        _classes[descriptor.full_name] = message_factory.GetMessageClass(descriptor)
        _keep_classes(descriptor.nested_types)


for _name in FILES:
    _keep_classes(_pool.FindFileByName(_name).message_types_by_name.values())

BundleHeaderProto = _classes["ckptparse.BundleHeaderProto"]
BundleEntryProto = _classes["ckptparse.BundleEntryProto"]


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
