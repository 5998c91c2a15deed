"""Write `.safetensors` files, in one file or in shards with an index.

A file, by the README of https://github.com/huggingface/safetensors::

    LE64 size of the header | header, JSON, padded with spaces to a multiple of 8 | bytes of tensors

The header maps each name to ``{"dtype", "shape", "data_offsets": [start, stop]}``; offsets count
from the end of the header.  ``__metadata__`` maps texts to texts.  The official library sorts the
tensors by dtype, those of large elements first (see `DTYPES`), then by name, so that each of them
is aligned in a mapped file.  This module writes the same bytes.

Shards, as the libraries of Hugging Face read them: ``model-00001-of-00003.safetensors`` and so on,
and ``model.safetensors.index.json``, which has ``metadata.total_size`` and ``weight_map``: the name
of the file of each tensor.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from ckptparse.errors import InvalidTensorsError
from ckptparse.exports.contents import Contents, Form, is_text
from ckptparse.outputs import Output
from ckptparse.outputs.buffered import BufferedOutput

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"

DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "quint8": "U8",
    "int8": "I8",
    "qint8": "I8",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "int16": "I16",
    "qint16": "I16",
    "uint16": "U16",
    "quint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "qint32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}
"""TensorFlow's name of a dtype -> name in the header.  The order is that of the official library:
tensors are written from the last dtype to the first."""

_RANKS = {code: rank for rank, code in enumerate(dict.fromkeys(DTYPES.values()))}

_ALIGNMENT = 8
_MOST_HEADER_NBYTES = 100_000_000
"""The official library refuses larger headers."""


def require_writable(contents: Contents) -> None:
    """Check that the format can hold all tensors.

    Raises:
        UnsupportedError: it does not have the dtype of a tensor.
        InvalidTensorsError: a name is not text in UTF-8, or is the name of the metadata.
    """
    contents.require_dtypes(DTYPES, "a .safetensors file")
    for name in contents.forms:
        if name == "__metadata__" or not is_text(name):
            raise InvalidTensorsError(
                "a tensor in a .safetensors file cannot have this name",
                tensor=name,
                expected="text in UTF-8, and not __metadata__: rename it",
            )


def can_hold_metadata(key: str, value: str) -> bool:
    """Return whether the header can have this text under this key."""
    return is_text(key) and is_text(value)


class Shard(NamedTuple):
    """A file of a set, and the names of the tensors in it."""

    file: str
    names: list[str]


def plan(
    contents: Contents, base: str, shard_nbytes: int | None, taken: Collection[str] = ()
) -> list[Shard]:
    """Return the files in which tensors are written.

    A new file begins with the first tensor that does not fit, in the order of the mapping.  A
    tensor that is larger than a file may be gets a file of its own, and the one that was begun
    before is continued.  So divides ``huggingface_hub.split_torch_state_dict_into_shards``.

    Args:
        contents: the tensors.
        base: name of the file, if there is one.
        shard_nbytes: the maximum number of bytes of the tensors in a file; None for one file.
        taken: names of the files of an old set, which are not used: the old set stays whole until
            the new index replaces the old one.  The names of the new files then have a larger
            number of files; the index has the names, so that no reader depends on it.
    """
    most = sys.maxsize if shard_nbytes is None else shard_nbytes
    groups: list[list[str]] = []
    names: list[str] = []
    nbytes = 0
    for form in contents.forms.values():
        if form.nbytes > most:
            groups.append([form.name])
            continue
        if nbytes + form.nbytes > most:
            groups.append(names)
            names, nbytes = [], 0
        names.append(form.name)
        nbytes += form.nbytes
    if names:
        groups.append(names)
    if len(groups) == 1:
        return [Shard(base, groups[0])]
    stem = base.removesuffix(SUFFIX)
    count = len(groups)
    while any(name.endswith(f"-of-{count:05d}{SUFFIX}") for name in taken):
        count += 1
    return [
        Shard(f"{stem}-{number:05d}-of-{count:05d}{SUFFIX}", names)
        for number, names in enumerate(groups, 1)
    ]


def find_set(names: Collection[str], base: str) -> list[str]:
    """Return the names of the files of a set, the index first.

    Args:
        names: all names of a folder.
        base: name of the file that the set stands for.
    """
    stem = base.removesuffix(SUFFIX)
    shard = re.compile(re.escape(stem) + r"-\d{5,}-of-\d{5,}" + re.escape(SUFFIX))
    found = [name for name in names if shard.fullmatch(name)]
    index = stem + INDEX_SUFFIX
    return [index, *found] if index in names else found


def write(
    contents: Contents,
    base: str,
    create: Callable[[], Output],
    *,
    shard_nbytes: int | None,
    metadata: Mapping[str, str],
    taken: Collection[str] = (),
) -> Iterator[tuple[str, Output]]:
    """Yield the name and the output of each complete file; the index is the last one.

    Args:
        contents: the tensors, which `require_writable` accepted.
        base: name of the file, if there is one.
        create: creates an output.
        shard_nbytes: see `plan`.
        metadata: the metadata of each file.
        taken: see `plan`.

    Raises:
        UnwritableError: the operating system or the storage fails.
        CheckpointError: reading a tensor failed.
    """
    shards = plan(contents, base, shard_nbytes, taken)
    for shard in shards:
        output = create()
        _write_file(output, contents, shard.names, metadata)
        yield shard.file, output
    if len(shards) > 1:
        output = create()
        output.write(_format_index(contents, shards))
        output.finish()
        yield base.removesuffix(SUFFIX) + INDEX_SUFFIX, output


def _write_file(
    output: Output, contents: Contents, names: Iterable[str], metadata: Mapping[str, str]
) -> None:
    """Write one file."""
    forms = sorted((contents.forms[name] for name in names), key=_sort_key)
    buffered = BufferedOutput(output)
    buffered.write(_format_header(forms, metadata))
    for _, octets in contents.read_each(form.name for form in forms):
        for part in octets:
            buffered.write(part)
    buffered.flush()
    output.finish()


def _sort_key(form: Form) -> tuple[int, bytes]:
    return -_RANKS[DTYPES[form.dtype]], form.name.encode()


def _format_header(forms: list[Form], metadata: Mapping[str, str]) -> bytes:
    """Return the size of the header and the header.

    Raises:
        InvalidTensorsError: the official library would refuse so large a header.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for form in forms:
        start, position = position, position + form.nbytes
        header[form.name] = {
            "dtype": DTYPES[form.dtype],
            "shape": form.shape,
            "data_offsets": [start, position],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _MOST_HEADER_NBYTES:
        raise InvalidTensorsError(
            "there are too many tensors for one .safetensors file",
            expected=f"a header of at most {_MOST_HEADER_NBYTES} bytes: save it in shards",
            found=f"{len(forms)} tensors, a header of {len(text)} bytes",
        )
    return len(text).to_bytes(8, "little") + text


def _format_index(contents: Contents, shards: list[Shard]) -> bytes:
    """Return the index of a set of files."""
    weight_map = {name: shard.file for shard in shards for name in shard.names}
    total = sum(form.nbytes for form in contents.forms.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
