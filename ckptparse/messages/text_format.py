"""Parse protocol-buffer messages as text, with protobuf's own parser.

That parser takes quadratic time for some texts.  These are rejected, or rewritten so that it takes
linear time.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from typing import Any

from ckptparse.errors import CorruptCheckpointError
from ckptparse.limits import MAX_FREE_TOKENS, MIN_TOKEN_LETTERS

_MOST_LETTERS = 200
"""Number of characters of protobuf's error message that an error quotes."""


def parse_text(text: bytes, message: Any, what: str) -> None:
    """Parse the text of a whole file into an empty message.  Unknown fields are skipped.

    Args:
        text: the text.
        message: the message.
        what: what the text has to be, for errors, such as "a SavedModel".

    Raises:
        CorruptCheckpointError: the text does not parse, or has too many tokens.
    """
    from google.protobuf import text_format  # imported only for files that are text

    try:
        plain = text.decode("utf-8")
        require_sparse(plain)
        text_format.Parse(ease_text(plain), message, allow_unknown_field=True)
    except CorruptCheckpointError:
        raise
    # ValueError: not UTF-8.  RecursionError: the parser recurses at each brace.  Warning: an
    # invalid escape, where warnings are errors.
    except (text_format.ParseError, ValueError, RecursionError, Warning) as error:
        raise CorruptCheckpointError(
            "invalid protocol buffer as text", expected=what, found=str(error)[:_MOST_LETTERS]
        ) from error


def require_sparse(text: str) -> None:
    """Check that the text of a message has no more tokens than a writer's text of that length.

    Protobuf's parser takes two seconds for a megabyte of ``a:1``.  TensorFlow's text has 8 bytes
    per token, or 5 if it is written in one line; the limit is one token per 4 letters.

    Raises:
        CorruptCheckpointError: the text has more tokens.
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
"""Makes a quantifier possessive, so that `re` stores no position for each escape."""

_STRING = rf"""
    "[^"\\\n]*{_ALL}(?:\\.[^"\\\n]*{_ALL})*{_ALL}"?  # closed or not
    |'[^'\\\n]*{_ALL}(?:\\.[^'\\\n]*{_ALL})*{_ALL}'?
"""

_TOKEN = re.compile(rf"{_STRING}|\#[^\n]*|[\w.+-]+|[^\s\w]", re.VERBOSE)


def ease_text(text: str) -> str:
    """Return an equivalent text that protobuf parses in linear time."""
    return break_lines(spread_backslashes(text))


def spread_backslashes(text: str) -> str:
    r"""Return an equivalent text without long runs of backslashes.

    Protobuf takes quadratic time to decode a run of backslashes in a string (in `text_encoding`):
    half a minute for 64 KiB.  In a string, ``\\`` and ``\134`` mean the same.
    """
    return text.replace(r"\\", r"\134") if _LONG_RUN in text else text


_LONG_RUN = "\\" * 64


def break_lines(text: str) -> str:
    """Return an equivalent text without long lines, except comments.

    Protobuf takes quadratic time in the number of tokens of a line: half a minute for 240 kB of
    ``a:1``.  A newline may be added between any two tokens.  A long string is split into several,
    because its parser stores each escape of a string; adjacent strings are joined by it.
    """
    if max(map(len, text.split("\n"))) <= _LONG_LINE:
        return text
    return _TOKEN_END.sub(_end_line, text)


def _end_line(found: re.Match[str]) -> str:
    """Return a token, or a long string split into several, followed by a newline."""
    token = found[0]
    if token[0] == "#":
        return token
    if len(token) > _LONG_LINE and token[0] in "\"'":
        quote, inside = token[0], token[1:-1]
        pieces = _PIECE.findall(inside)
        if token[-1] == quote and sum(map(len, pieces)) == len(inside):  # else not closed
            token = "\n".join(f"{quote}{piece}{quote}" for piece in pieces)
    return token + "\n"


_LONG_LINE = 4096

_TOKEN_END = re.compile(rf"{_STRING}|\#[^\n]*|[\ \t]+|[,;{{}}\[\]<>]", re.VERBOSE)
"""Tokens after which a newline is added.  A comment is one token, so that none is added in it."""

_PIECE = re.compile(
    r"""(?:
    [^\\]
    |\\(?:[0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|[^0-7xXuU])
    ){1,1000}""",
    re.VERBOSE,
)
"""A part of a string that does not end within an escape."""
