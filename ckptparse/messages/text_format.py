"""The text form of protocol-buffer messages, prepared for protobuf's own parser.

That parser takes time in the square of some inputs: these are refused or rewritten first.
"""

from __future__ import annotations

import re
import sys
from itertools import islice

from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import MAX_FREE_TOKENS, MIN_TOKEN_LETTERS


def require_sparse(text: str) -> None:
    """Check that the text of a message is no denser than writers make it.

    Protobuf's parser takes two seconds for a megabyte of ``a:1``.  TensorFlow's text has 8 bytes
    for a token, and 5 if it is written in one line.

    Raises:
        CorruptCheckpointError: it has more tokens.
    """
    most = len(text) // MIN_TOKEN_LETTERS + MAX_FREE_TOKENS
    found = next(islice(_TOKEN.finditer(text), most, None), None)
    if found is not None:
        raise CorruptCheckpointError(
            "invalid protocol buffer as text",
            expected=f"at most {most} tokens in {len(text)} letters",
            found="more",
        )


_ALL = "+" if sys.version_info >= (3, 11) else ""
"""Takes as much as it can and gives nothing back, for which sre would remember each escape."""

_STRING = rf"""
    "[^"\\\n]*{_ALL}(?:\\.[^"\\\n]*{_ALL})*{_ALL}"?  # closed or not
    |'[^'\\\n]*{_ALL}(?:\\.[^'\\\n]*{_ALL})*{_ALL}'?
"""

_TOKEN = re.compile(rf"{_STRING}|\#[^\n]*|[\w.+-]+|[^\s\w]", re.VERBOSE)


def ease_text(text: str) -> str:
    """Rewrite a message's text so that protobuf parses it in linear time."""
    return break_lines(spread_backslashes(text))


def spread_backslashes(text: str) -> str:
    r"""Rewrite a message's text without long runs of backslashes.

    Protobuf takes time in the square of such a run to decode a string (in `text_encoding`): 64 KiB
    of them take half a minute.  In a string ``\\`` and ``\134`` are the same.
    """
    return text.replace(r"\\", r"\134") if _LONG_RUN in text else text


_LONG_RUN = "\\" * 64


def break_lines(text: str) -> str:
    """Rewrite a message's text without long lines, except comments.

    Protobuf takes time in the square of a line's tokens: 240 kB of ``a:1`` take half a minute.
    Between tokens a new line is as good as a space, or nothing.  Of a string it remembers every
    escape until it has seen the end; strings one after the other are one.
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
