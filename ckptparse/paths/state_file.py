r"""Read and format the state file of a directory of checkpoints, usually called ``checkpoint``.

It is a CheckpointState in the text format of protocol buffers::

    model_checkpoint_path: "ckpt-3"              the latest checkpoint
    all_model_checkpoint_paths: "ckpt-2"         the checkpoints that are kept, oldest first
    all_model_checkpoint_paths: "ckpt-3"
    all_model_checkpoint_timestamps: 1795163889.9944375      only from tf.train.CheckpointManager
    last_preserved_timestamp: 1795163888.966639              only from tf.train.CheckpointManager

A path is a V2 prefix, a V1 file or a V1 glob (``...-?????-of-00003``).  It is absolute, or relative
to the directory of the state file; in files of 2015 and 2016, it can be relative to the working
directory of the writer.  Old writers escape letters that are not ASCII (``\303\251``).

Sources: tensorflow/python/training/checkpoint_state.proto, checkpoint_management.py.
"""

from __future__ import annotations

import re
from typing import Any

from ckptparse.errors import CheckpointNotFoundError, CorruptCheckpointError, located
from ckptparse.limits import MAX_FREE_FORM_STATE_NBYTES, MAX_STATE_NBYTES
from ckptparse.messages.pool import load
from ckptparse.sources import Files, Source

_PLAIN_LINE = r'(?P<field>\w+): (?:"(?P<path>[^"\\]*)"|(?P<number>[0-9][-+.0-9e]*))'

_BEGINNING = rb"\s*(all_model_checkpoint_paths|model_checkpoint_path)\s*:"
_BEGINNING_NBYTES = 256

CheckpointState = Any
"""A CheckpointState message with the fields listed above; paths are as in the file."""


def is_state_file(source: Source) -> bool:
    """Return whether the first bytes of a file are those of a state file.

    Raises:
        UnreadableError: the operating system or the storage refuses.
    """
    head = bytes(source.read(0, min(source.nbytes, _BEGINNING_NBYTES)))
    return re.match(_BEGINNING, head) is not None


def read_state(files: Files, path: str) -> CheckpointState:
    """Read a state file.

    Raises:
        CheckpointNotFoundError: there is no such file.
        CorruptCheckpointError: the file is not a state file, or is larger than 4 MiB.
        NotACheckpointError: the path is a directory, FIFO, device or socket.
        UnreadableError: the operating system or the storage refuses.
    """
    try:
        source = files.open(path, mapped=False)
    except FileNotFoundError as error:
        raise CheckpointNotFoundError("no such state file", file=path) from error
    with located(file=path):
        if source.nbytes > MAX_STATE_NBYTES:
            raise CorruptCheckpointError(
                "invalid state file",
                expected=f"at most {MAX_STATE_NBYTES} bytes",
                found=source.nbytes,
            )
        text = bytes(source.read(0, source.nbytes))
        source.close()
        return parse_state(text)


def parse_state(text: bytes) -> CheckpointState:
    """Parse the contents of a state file.

    Returns:
        The message; its `model_checkpoint_path` is "" if the file has none.

    Raises:
        CorruptCheckpointError: the text is not a CheckpointState.
    """
    from google.protobuf import text_format  # imported only for state files

    from ckptparse.messages.text_format import ease_text

    message = new_state()
    if len(text) > MAX_FREE_FORM_STATE_NBYTES:
        return _parse_lines(text, message)
    try:
        return text_format.Merge(ease_text(text.decode("utf-8")), message)
    # Warning: an invalid escape, where warnings are errors.
    except (text_format.ParseError, UnicodeError, Warning) as error:
        raise CorruptCheckpointError(
            "invalid state file", expected="a CheckpointState as text", found=str(error)
        ) from error


def format_state(state: CheckpointState) -> bytes:
    r"""Return the contents of a state file.

    The bytes are those that TensorFlow 2.21 writes for the same message.  Letters that are not
    ASCII are written as UTF-8; TensorFlow 1.15.5 escapes them.

    Args:
        state: the message, with the paths as they should be in the file.

    Returns:
        The whole text.

    Examples:
        >>> from ckptparse.paths.state_file import format_state, parse_state
        >>> state = parse_state(b"model_checkpoint_path: 'ckpt-3'  # the latest")
        >>> format_state(state)
        b'model_checkpoint_path: "ckpt-3"\n'
    """
    # Not by protobuf, whose versions escape different letters.
    lines = []
    for field, value in state.ListFields():
        for item in value if field.name.startswith("all_") else [value]:
            text = f'"{item.translate(_ESCAPES)}"' if isinstance(item, str) else repr(item)
            lines.append(f"{field.name}: {text}\n")
    return "".join(lines).encode("utf-8")


_ESCAPES = {
    **{code: f"\\{code:03o}" for code in (*range(32), 127)},
    **str.maketrans({"\t": r"\t", "\n": r"\n", "\r": r"\r", '"': r"\"", "'": r"\'", "\\": r"\\"}),
}


def new_state() -> CheckpointState:
    """Return an empty message."""
    return load("checkpoint_state.proto")["CheckpointState"]()


def _parse_lines(text: bytes, message: CheckpointState) -> CheckpointState:
    """Parse a large state file line by line.

    Plain lines, with one field without escapes, are parsed without protobuf, which is slow.

    Raises:
        CorruptCheckpointError: a line is not a field, or the lines that are not plain have more
            than `MAX_FREE_FORM_STATE_NBYTES` letters.
    """
    from google.protobuf import text_format

    from ckptparse.messages.text_format import ease_text

    left = MAX_FREE_FORM_STATE_NBYTES
    for i, line in enumerate(text.split(b"\n")):
        try:
            decoded = line.decode("utf-8")
            found = re.fullmatch(_PLAIN_LINE, decoded)
            if found is not None:
                _add(message, found["field"], found["path"], found["number"])
            elif decoded and not decoded.lstrip().startswith("#"):
                left -= len(decoded)
                if left < 0:
                    raise ValueError(f"more, up to {decoded[:_MOST_QUOTED]!r}")
                text_format.Merge(ease_text(decoded), message)
        except (AttributeError, TypeError, ValueError, text_format.ParseError, Warning) as error:
            raise CorruptCheckpointError(
                "invalid state file",
                expected="a CheckpointState as text, all but"
                f" {MAX_FREE_FORM_STATE_NBYTES} bytes of it plain lines of text",
                found=f"line {i + 1}: {error}",
            ) from error
    return message


def _add(message: CheckpointState, field: str, path: str | None, number: str | None) -> None:
    """Set a field of a message, or append to a repeated one."""
    value = path if number is None else float(number)
    if field.startswith("all_"):
        getattr(message, field).append(value)
    else:
        setattr(message, field, value)


_MOST_QUOTED = 100


def last_part(path: str) -> str:
    """Return the part after the last slash or backslash, whichever system wrote the path."""
    return path.replace("\\", "/").rpartition("/")[2]
