"""Protocol-buffer messages, in a descriptor pool of our own.

TensorFlow registers its own messages in the default pool; ours live apart, so both work in one
process whichever is imported first.  Message classes do not leave the format layer.

Protobuf itself is imported at the first need: the index of most checkpoints is read without it.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from itertools import islice
from typing import Any

from ckptparse.errors import CorruptCheckpointError


@lru_cache(maxsize=1)
def _pool() -> Any:
    from google.protobuf.descriptor_pool import DescriptorPool

    from ckptparse.descriptors import FILES

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


def require_sparse(text: str) -> None:
    """Check that the text of a message is no denser than writers make it.

    Protobuf's parser takes two seconds for a megabyte of ``a:1``.  TensorFlow's text has 8 bytes
    for a token, and 5 if it is written in one line.

    Raises:
        CorruptCheckpointError: it has more tokens.
    """
    most = len(text) // _MIN_TOKEN_LETTERS + _FREE_TOKENS
    found = next(islice(_TOKEN.finditer(text), most, None), None)
    if found is not None:
        raise CorruptCheckpointError(
            "invalid protocol buffer as text",
            expected=f"at most {most} tokens in {len(text)} letters",
            found="more",
        )


_MIN_TOKEN_LETTERS = 4
_FREE_TOKENS = 10_000

_ALL = "+" if sys.version_info >= (3, 11) else ""
"""Takes as much as it can and gives nothing back, for which sre would remember each escape."""

_STRING = rf"""
    "[^"\\\n]*{_ALL}(?:\\.[^"\\\n]*{_ALL})*{_ALL}"?  # closed or not
    |'[^'\\\n]*{_ALL}(?:\\.[^'\\\n]*{_ALL})*{_ALL}'?
"""
_TOKEN = re.compile(rf"{_STRING}|\#[^\n]*|[\w.+-]+|[^\s\w]", re.VERBOSE)


def ease_text(text: str) -> str:
    """The same text of a message, in a form that protobuf parses in time linear in its length."""
    return break_lines(spread_backslashes(text))


def spread_backslashes(text: str) -> str:
    r"""The same text of a message, none of whose runs of backslashes is long.

    Protobuf takes time in the square of such a run to decode a string (in `text_encoding`): 64 KiB
    of them take half a minute.  In a string ``\\`` and ``\134`` are the same.
    """
    return text.replace(r"\\", r"\134") if _LONG_RUN in text else text


_LONG_RUN = "\\" * 64


def break_lines(text: str) -> str:
    """The same text of a message, none of whose lines is long, but for comments.

    Protobuf takes time in the square of a line's tokens: 240 kB of ``a:1`` take half a minute.
    Between tokens a new line is as good as a space, or nothing.  Of a string it remembers every
    escape until it has seen the end; strings one behind the other are one.
    """
    if max(map(len, text.split("\n"))) <= _LONG_LINE:
        return text
    return _TOKEN_END.sub(_end_line, text)


def _end_line(found: re.Match[str]) -> str:
    token = found[0]
    if token[0] == "#":
        return token
    if len(token) > _LONG_LINE and token[0] in "\"'":
        quote, inside = token[0], token[1:-1]
        pieces = _PIECE.findall(inside)
        if token[-1] == quote and sum(map(len, pieces)) == len(inside):  # else it is not closed
            token = "\n".join(f"{quote}{piece}{quote}" for piece in pieces)
    return token + "\n"


_LONG_LINE = 4096
_TOKEN_END = re.compile(rf"{_STRING}|\#[^\n]*|[\ \t]+|[,;{{}}\[\]<>]", re.VERBOSE)
"""Comments are not looked into."""
_PIECE = re.compile(
    r"""(?:
    [^\\]
    |\\(?:[0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[^0-7xXuU])
    ){1,1000}""",
    re.VERBOSE,
)
"""A part of a string that does not end inside of an escape."""
