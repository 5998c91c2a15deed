"""Find the format and the files of the checkpoint that a path refers to.

====================================================  ==========================================
path                                                  refers to
====================================================  ==========================================
``dir/model.ckpt-200``                                the V2 prefix, when ``.index`` is beside it;
                                                      else the V1 file of that name; else the V1
                                                      shards ``dir/model.ckpt-200-?????-of-?????``
``….index``, ``….data-00000-of-00001``, ``….meta``    if the file exists, the prefix that it
                                                      belongs to
``….-00001-of-00004``, ``….-?????-of-00004``          all V1 shards of that set
a state file, whatever its name                       its latest checkpoint
a directory with a state file                         its latest checkpoint
a SavedModel or TF-Hub directory, or its              its ``variables/variables``; without them,
``saved_model.pb`` or ``.pbtxt``                      the constants of its graph
a directory with ``.index`` and ``.data-…`` in it     the prefix ``dir/``
a directory with exactly one checkpoint, in it or     that checkpoint
in one of its directories
====================================================  ==========================================

Paths are literal, except the five question marks of a V1 set.  The search uses the names of files,
the contents of state files, and the first or last bytes of files that may be V1 checkpoints.

Sources, for TensorFlow's order: tensorflow/python/training/py_checkpoint_reader.py and
tensorflow/core/util/tensor_slice_reader.cc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ckptparse.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingShardError,
    UnreadableError,
)
from ckptparse.formats.containers import CONTAINERS
from ckptparse.formats.file_names import (
    INDEX_SUFFIX,
    META_SUFFIX,
    SAVED_MODEL_NAMES,
    STATE_FILE_NAME,
    V1_SHARD,
    V2_PART,
    shard_suffix,
)
from ckptparse.formats.recognize import ARCHIVE, find_container
from ckptparse.paths.candidates import describe, find_containers, find_nearest, list_candidates
from ckptparse.paths.state_file import is_state_file, last_part, read_state
from ckptparse.sources import Files

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[\\/]|\w+://")

_MAX_DATED = 1_000
"""More candidates than this are not sorted by time: at a URL, each takes a request."""
_MAX_LISTED = 10
"""Number of candidates that an error's text lists."""


class Found(NamedTuple):
    """A checkpoint that exists.

    Attributes:
        format: "v1", "v2", the format of a container, or `ARCHIVE` for a file that has to be
            searched by `ckptparse.paths.archives`.
        prefix: the common beginning of the paths of its files.
        shards: paths of all files of a V1 checkpoint, in order, or of the container; () for V2.
    """

    format: str
    prefix: str
    shards: tuple[str, ...] = ()


def confine(files: Files, path: str, format: str | None = None) -> Files:
    """Return a file system that is confined to the directory of a user's path.

    That is the directory that contains the prefix or file `path`, or else the directory `path`.
    """
    beside = files.within(files.split(path)[0])
    is_named = _find_named(beside, path, format) is not None
    return beside if is_named or not files.is_directory(path) else files.within(path)


def find_checkpoint(files: Files, path: str, format: str | None = None) -> Found:
    """Find the checkpoint that a path refers to.

    Args:
        files: the file system.
        path: the user's path; the table at the top of this module lists its forms.
        format: "v1" or "v2" to search for one format only; None for both.

    Raises:
        CheckpointNotFoundError: there is no checkpoint, or more than one; the text lists the files
            that were searched for and those that exist.
        MissingShardError: a file of a V1 set is missing.
        CorruptCheckpointError: a state file is damaged.
        UnreadableError: the operating system or the storage refuses.
    """
    if not path:
        raise CheckpointNotFoundError(
            "the path is empty", file=path, expected="a path", found="an empty one"
        )
    if format in CONTAINERS:
        return _find_container(files, path, format)
    found = _find_named(files, path, format)
    if found is not None and found.shards == (path,):
        kind = _kind_of(files, path)
        if kind == _STATE:
            return _find_latest(files, path, format)
        if kind in CONTAINERS and format is None:
            folder, name = files.split(path)
            if name in SAVED_MODEL_NAMES:
                return _find_in_saved_model(files, folder, format)
        if kind == ARCHIVE or (kind in CONTAINERS and format is None):
            return found._replace(format=kind)
    if found is None and files.is_directory(path):
        return _find_in_directory(files, path, format)
    if found is None:
        raise _not_found(files, path, format)
    return found


def _find_container(files: Files, path: str, format: str) -> Found:
    """Find the file of a container whose format the user gave."""
    if format == "frozen-graph" and files.is_directory(path):  # a SavedModel, also with variables
        paths = [files.join(path, name) for name in SAVED_MODEL_NAMES]
        path = next(filter(files.is_file, paths), path)
    if not files.is_file(path):
        raise CheckpointNotFoundError(
            "no such file", file=path, expected=path, found=describe(files, path)
        )
    is_archive = _kind_of(files, path) == ARCHIVE
    return Found(ARCHIVE if is_archive else format, path, (path,))


_STATE = "state"


def _kind_of(files: Files, path: str) -> str | None:
    """Return "state" for a state file, the format of a container, or None for any other file.

    Raises:
        UnreadableError: the operating system or the storage refuses.
    """
    try:
        source = files.open(path, mapped=False)
    except FileNotFoundError:
        return None
    try:
        return _STATE if is_state_file(source) else find_container(source)
    finally:
        source.close()


def find_archive_path(files: Files, path: str, *, confined: bool) -> str | None:
    """Return the leading part of a path that is an archive, or the path itself; None without one.

    Args:
        files: the file system, not confined.
        path: the user's path.
        confined: whether an archive must be in the directory of its path.  A link to a place
            outside is not followed, and the place not queried.

    Raises:
        UnreadableError: the operating system or the storage refuses.
    """
    while path:
        parent, _ = files.split(path)
        beside = files.within(parent) if confined else files
        try:
            if beside.is_directory(path):
                return None
            if beside.is_file(path):
                return path if _kind_of(beside, path) == ARCHIVE else None
        except UnreadableError:
            if confined:
                return None
            raise
        path = "" if parent == path else parent
    return None


def _not_found(files: Files, path: str, format: str | None) -> CheckpointNotFoundError:
    """Return the error for a path that refers to no checkpoint."""
    folder, name = files.split(path)
    part = V2_PART.fullmatch(name)
    is_there = files.is_file(path)
    if part and is_there:
        prefix = files.join(folder, part["prefix"])
        is_data = not name.endswith((META_SUFFIX, INDEX_SUFFIX))
        message = (
            "this is a data file; the index that belongs to it is missing"
            if is_data
            else "the checkpoint that belongs to this file is missing"
        )
        looked_for = [files.append(prefix, INDEX_SUFFIX)]
        if not is_data and format != "v2":
            looked_for += _v1_names(files, prefix)
    else:
        near = find_nearest(files, path)
        hint = f". Did you mean {near}?" if near else ""
        message = f"no such {'file' if part else 'checkpoint'}{hint}"
        looked_for = [] if format == "v1" or part else [files.append(path, INDEX_SUFFIX)]
        if part:
            looked_for = [path]
        elif format != "v2":
            looked_for += _v1_names(files, path)
    return CheckpointNotFoundError(
        message, file=path, expected=" or ".join(looked_for), found=describe(files, path)
    )


def _v1_names(files: Files, path: str) -> list[str]:
    """Return the names that a V1 checkpoint at a path would have, for an error's text."""
    shards = files.append(path, shard_suffix(None, "?????"))
    return [f"a V1 file {path}", f"V1 shards {shards}"]


def _find_named(files: Files, path: str, format: str | None) -> Found | None:
    """Find the checkpoint whose prefix, or one of whose files, is at a path; None without one."""
    if format != "v1" and files.is_file(files.append(path, INDEX_SUFFIX)):
        return Found("v2", path)
    folder, name = files.split(path)
    part = V2_PART.fullmatch(name)
    if part:
        if not files.is_file(path):  # the file itself must exist
            return None
        prefix = files.join(folder, part["prefix"])
        if format != "v1" and files.is_file(files.append(prefix, INDEX_SUFFIX)):
            return Found("v2", prefix)
        is_meta = name.endswith(META_SUFFIX) and format != "v2"
        return _find_named(files, prefix, "v1") if is_meta else None
    if format == "v2":
        return None
    shard = V1_SHARD.fullmatch(name)
    is_file = files.is_file(path)
    if shard and (is_file or "?" in shard["number"]):
        found = _find_shards(files, folder, shard["base"], shard["count"])
        if found is not None:
            return found
    if is_file:
        return Found("v1", path, (path,))
    return _find_shards(files, folder, name, "?????")


def _find_shards(files: Files, folder: str, name: str, count: str) -> Found | None:
    """Find the V1 set of a base name and a number of files ("?????" for any); None without one.

    Raises:
        CheckpointNotFoundError: there are several sets.
        MissingShardError: a file of the set is missing.
    """
    if not name or not files.is_directory(folder):
        return None
    sets: dict[str, set[int]] = {}
    for there in files.list_names(folder):
        shard = None if "?" in there else V1_SHARD.fullmatch(there)
        if shard is None or shard["base"] != name or int(shard["count"]) < 1:
            continue
        if count in ("?????", shard["count"]):
            sets.setdefault(shard["count"], set()).add(int(shard["number"]))
    if not sets:
        return None
    base = files.join(folder, name)
    if len(sets) > 1:
        names = [files.append(base, shard_suffix(None, count)) for count in sorted(sets)]
        raise CheckpointNotFoundError(
            f"several checkpoints of this name: {', '.join(names)}. Give one of them",
            file=base,
            expected="one set of V1 shards",
            found=f"{len(sets)} sets",
        )
    ((count, numbers),) = sets.items()
    missing = next(i for i in range(len(numbers) + 1) if i not in numbers)
    if missing < int(count):
        raise MissingShardError(
            "this file of the checkpoint is missing",
            file=files.append(base, shard_suffix(missing, count)),
            expected=f"{int(count)} files {files.append(base, shard_suffix(None, count))}",
            found=f"{len(numbers)} of them",
        )
    shards = (files.append(base, shard_suffix(i, count)) for i in range(int(count)))
    return Found("v1", base, tuple(shards))


def _find_in_directory(files: Files, directory: str, format: str | None) -> Found:
    """Find the checkpoint that a directory refers to."""
    models = [name for name in SAVED_MODEL_NAMES if files.is_file(files.join(directory, name))]
    state_path = files.join(directory, STATE_FILE_NAME)
    own_prefix = files.join(directory, "")
    claims = {
        f"a SavedModel ({', '.join(models)})": bool(models),
        f"a state file ({STATE_FILE_NAME})": files.is_file(state_path),
        f"a checkpoint without a name ({INDEX_SUFFIX})": files.is_file(
            files.append(own_prefix, INDEX_SUFFIX)
        ),
    }
    made = [claim for claim, is_made in claims.items() if is_made]
    has_own = claims[f"a checkpoint without a name ({INDEX_SUFFIX})"]
    if has_own and (len(made) == 1 or (not models and _names_nothing(files, state_path))):
        if format == "v1":
            raise _not_in_directory(files, directory)
        return Found("v2", own_prefix)
    if len(made) > 1:
        raise CheckpointNotFoundError(
            f"this directory holds more than one checkpoint: {' and '.join(made)}."
            " Give one of them by its prefix",
            file=directory,
            expected="one of them",
            found=" and ".join(made),
        )
    if models:
        return _find_in_saved_model(files, directory, format)
    if made:
        return _find_latest(files, state_path, format)
    return _find_only(files, directory, format)


def _find_only(files: Files, directory: str, format: str | None) -> Found:
    """Find the only checkpoint in a directory that has no state file."""
    for name in {STATE_FILE_NAME, *SAVED_MODEL_NAMES}.intersection(files.list_names(directory)):
        path = files.join(directory, name)
        if not files.is_directory(path):  # a FIFO or a broken link: its contents are unknown
            raise CheckpointNotFoundError(
                f"{name} in this directory is not a regular file",
                file=path,
                expected="a regular file, or none of that name",
                found="something else",
            )
    candidates = [
        path for path in list_candidates(files, directory) if _is_of_format(files, path, format)
    ]
    if not candidates:
        raise _not_in_directory(files, directory)
    if len(candidates) == 1:
        return find_checkpoint(files, candidates[0], format)
    if len(candidates) <= _MAX_DATED:
        candidates.sort(key=lambda path: (_modified(files, path), len(path), path))
    shown = [path.removeprefix(files.join(directory, "")) for path in candidates[-_MAX_LISTED:]]
    older = f"{len(candidates) - len(shown)} older ones, " if len(candidates) > len(shown) else ""
    raise CheckpointNotFoundError(
        f"this directory holds several checkpoints: {older}{', '.join(shown)}."
        f" Give one of them, for example {candidates[-1]}",
        file=directory,
        expected=f"one checkpoint, or a state file ({STATE_FILE_NAME}) that names the latest",
        found=f"{len(candidates)} checkpoints, listed above with the newest last",
    )


def _is_of_format(files: Files, path: str, format: str | None) -> bool:
    """Return whether a candidate is a directory or a checkpoint of a format."""
    try:
        return files.is_directory(path) or _find_named(files, path, format) is not None
    except CheckpointError:  # an incomplete set is a checkpoint, too
        return True


def _modified(files: Files, path: str) -> float:
    """Return the time when a candidate was saved; 0 if unknown."""
    try:
        found = _find_named(files, path, None) or find_checkpoint(files, path)
    except CheckpointError:
        return 0.0
    return files.modified(*found.shards[-1:] or (files.append(found.prefix, INDEX_SUFFIX),))


def _not_in_directory(files: Files, directory: str) -> CheckpointNotFoundError:
    """Return the error for a directory without a checkpoint."""
    containers = find_containers(files.list_names(directory))
    hint = (
        f". Give the path of a file of weights, for example {files.join(directory, containers[0])}"
        if containers
        else ""
    )
    return CheckpointNotFoundError(
        f"no checkpoint in this directory{hint}",
        file=directory,
        expected=f"a state file ({STATE_FILE_NAME}), {SAVED_MODEL_NAMES[0]}, a file that ends in"
        f" {INDEX_SUFFIX}, or a V1 checkpoint; also one directory further down",
        found=describe(files, directory),
    )


def _names_nothing(files: Files, state_path: str) -> bool:
    """Return whether the path of the latest checkpoint in a state file ends in a slash."""
    return last_part(read_state(files, state_path).model_checkpoint_path) in ("", ".")


def _find_in_saved_model(files: Files, directory: str, format: str | None) -> Found:
    """Find the variables of a SavedModel, or without any its graph, for the constants in it."""
    folder = files.join(directory, "variables")
    prefix = files.join(folder, "variables")
    found = _find_named(files, prefix, format)
    if found is None and format is None:
        for name in SAVED_MODEL_NAMES:
            path = files.join(directory, name)
            if files.is_file(path):
                return Found("frozen-graph", path, (path,))
    if found is None:
        raise CheckpointNotFoundError(
            "this SavedModel has no variables",
            file=directory,
            expected=files.append(prefix, INDEX_SUFFIX),
            found=describe(files, prefix),
        )
    return found


def _find_latest(files: Files, state_path: str, format: str | None) -> Found:
    """Find the latest checkpoint of a state file.

    If it is missing, this raises an error; it never takes an older one instead.
    """
    directory, _ = files.split(state_path)
    latest = read_state(files, state_path).model_checkpoint_path
    if not latest:
        raise CorruptCheckpointError(
            "this state file names no checkpoint",
            file=state_path,
            expected="a model_checkpoint_path",
            found="none",
        )
    places = list(_places(files, directory, latest))
    for place in places:
        found = _find_named(files, place, format)
        if found is not None:
            return found
    raise CheckpointNotFoundError(
        f"the latest checkpoint that this state file names is gone: {latest!r}"
        if _is_followed(files, directory, latest)
        else f"this state file leads out of its directory, to {latest!r}, and is not followed"
        " there. Open that path itself",
        file=state_path,
        expected=" or ".join(places),
        found=describe(files, places[0]),
    )


def _places(files: Files, directory: str, recorded: str) -> Iterator[str]:
    """Yield the paths to search for the checkpoint that a state file names, in this order.

    For an absolute path, the directory of the state file is searched first, so that a moved or
    copied directory refers to its own files.

    Args:
        files: the file system.
        directory: the directory of the state file.
        recorded: the path in the state file.
    """
    _, name = os.path.splitdrive(last_part(recorded))
    # The name is empty for a checkpoint with the prefix "folder/", whose files are in the folder.
    beside = files.join(directory, "" if name == ".." else name)
    whole = recorded if _is_absolute(recorded) else files.join(directory, recorded)
    places = [beside, whole] if _is_absolute(recorded) else [whole, beside]
    for place in dict.fromkeys(places):
        if place == beside or _is_followed(files, directory, recorded):
            yield place


def _is_followed(files: Files, directory: str, recorded: str) -> bool:
    """Return whether a recorded path is followed.

    A relative path is followed if it stays in the directory of the state file.  An absolute path is
    followed, as TensorFlow does, if it is local and the state file is, or if both are URLs with the
    same scheme.  In confined reading, both must stay in the directory.
    """
    if _is_absolute(recorded):
        return _storage(recorded) == _storage(directory) and files.allows(recorded)
    depth = 0
    if _storage(directory):  # a server may read %2e as a dot
        from urllib.parse import unquote

        recorded = unquote(recorded)
    for part in recorded.replace("\\", "/").split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return False
    return files.allows(files.join(directory, recorded))


def _is_absolute(recorded: str) -> bool:
    """Return whether a path is absolute on any system, or is a URL."""
    drive, _ = os.path.splitdrive(recorded)  # "C:x" has a drive on Windows only
    return bool(drive or _ABSOLUTE.match(recorded))


def _storage(path: str) -> str:
    """Return the scheme of a URL; "" for a local path."""
    return path.partition("://")[0] if "://" in path else ""
