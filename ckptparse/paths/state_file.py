r"""The state file of a directory of checkpoints, usually called ``checkpoint``.

It is a CheckpointState in the text format of protocol buffers::

    model_checkpoint_path: "ckpt-3"              the latest checkpoint
    all_model_checkpoint_paths: "ckpt-2"         those that are kept, oldest first
    all_model_checkpoint_paths: "ckpt-3"
    all_model_checkpoint_timestamps: 1795163889.9944375      only tf.train.CheckpointManager's
    last_preserved_timestamp: 1795163888.966639              likewise

A path is a V2 prefix, a V1 file or a V1 glob (``...-?????-of-00003``); absolute, relative to the
directory of the state file, or, in files of 2015 and 2016, relative to wherever the writer ran.
Old writers escape what is not ASCII (``\303\251``).

Source: tensorflow/python/training/checkpoint_state.proto, checkpoint_management.py.
"""

from __future__ import annotations

import re
from typing import Any

from ckptparse.errors import CheckpointNotFoundError, CorruptCheckpointError, located
from ckptparse.limits import MAX_FREE_FORM_STATE_NBYTES, MAX_STATE_NBYTES
from ckptparse.messages.pool import load
from ckptparse.sources import Files

_PLAIN_LINE = re.compile(r'(?P<field>\w+): (?:"(?P<path>[^"\\]*)"|(?P<number>[0-9][-+.0-9e]*))')

_BEGINNING = re.compile(rb"\s*(all_model_checkpoint_paths|model_checkpoint_path)\s*:")
_BEGINNING_NBYTES = 256

CheckpointState = Any
"""A CheckpointState message, its fields as above; paths are as they are written in the file."""


def is_state_file(files: Files, path: str) -> bool:
    """Return whether a file begins like a state file; reads its first bytes.

    Raises:
        UnreadableError: the operating system refuses.
    """
    try:
        source = files.open(path, mapped=False)
    except FileNotFoundError:
        return False
    try:
        head = bytes(source.read(0, min(source.nbytes, _BEGINNING_NBYTES)))
    finally:
        source.close()
    return _BEGINNING.match(head) is not None


def read_state(files: Files, path: str) -> CheckpointState:
    """A state file.

    Raises:
        CheckpointNotFoundError: no such file.
        CorruptCheckpointError: something else than a state file.
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
    """A state file's contents; `model_checkpoint_path` is "" where the file has none.

    Raises:
        CorruptCheckpointError: it is not such a text.
    """
    from google.protobuf import text_format  # only directories need it

    from ckptparse.messages.text_format import ease_text

    message = load("checkpoint_state.proto")["CheckpointState"]()
    if len(text) > MAX_FREE_FORM_STATE_NBYTES:
        return _parse_lines(text, message)
    try:
        return text_format.Merge(ease_text(text.decode("utf-8")), message)
    except (text_format.ParseError, UnicodeError) as error:
        raise CorruptCheckpointError(
            "invalid state file", expected="a CheckpointState as text", found=str(error)
        ) from error


def _parse_lines(text: bytes, message: CheckpointState) -> CheckpointState:
    """A large state file: one field in each line, and hardly anything escaped.

    Raises:
        CorruptCheckpointError: a line that is no field, or too many that are not plain.
    """
    from google.protobuf import text_format

    from ckptparse.messages.text_format import ease_text

    left = MAX_FREE_FORM_STATE_NBYTES
    for i, line in enumerate(text.split(b"\n")):
        try:
            decoded = line.decode("utf-8")
            found = _PLAIN_LINE.fullmatch(decoded)
            if found is not None:
                _add(message, found["field"], found["path"], found["number"])
            elif decoded and not decoded.lstrip().startswith("#"):
                left -= len(decoded)
                if left < 0:
                    raise ValueError(f"more, up to {decoded[:_MOST_QUOTED]!r}")
                text_format.Merge(ease_text(decoded), message)
        except (AttributeError, TypeError, ValueError, text_format.ParseError) as error:
            raise CorruptCheckpointError(
                "invalid state file",
                expected="a CheckpointState as text, all but"
                f" {MAX_FREE_FORM_STATE_NBYTES} bytes of it plain lines of text",
                found=f"line {i + 1}: {error}",
            ) from error
    return message


def _add(message: CheckpointState, field: str, path: str | None, number: str | None) -> None:
    value = path if number is None else float(number)
    if field.startswith("all_"):
        getattr(message, field).append(value)
    else:
        setattr(message, field, value)


_MOST_QUOTED = 100


def last_part(path: str) -> str:
    """Return the part after the last slash or backslash: state files travel between systems."""
    return path.replace("\\", "/").rpartition("/")[2]
