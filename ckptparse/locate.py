"""What a user's path means: which format, and which files.

====================================================  ==========================================
given                                                 means
====================================================  ==========================================
``dir/model.ckpt-200``                                the V2 prefix, when ``.index`` is beside it;
                                                      else the V1 file of that name; else the V1
                                                      shards ``dir/model.ckpt-200-?????-of-?????``
``….index``, ``….data-00000-of-00001``, ``….meta``    the prefix that the file belongs to
``….-00001-of-00004``, ``….-?????-of-00004``          all V1 shards of that set
a directory with a state file                         its latest checkpoint
a SavedModel or TF-Hub directory                      its ``variables/variables``
a directory with ``.index`` and ``.data-…`` in it     the prefix ``dir/``
====================================================  ==========================================

Paths are literal but for the five question marks of a V1 set.  Only names are looked at, and the
state file.  TensorFlow's order is that of tensorflow/python/training/py_checkpoint_reader.py and
core/util/tensor_slice_reader.cc.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ckptparse.errors import CheckpointNotFoundError, CorruptCheckpointError, MissingShardError
from ckptparse.sources import Files
from ckptparse.state import STATE_FILE_NAME, CheckpointState, last_part, read_state
from ckptparse.surroundings import describe_surroundings

INDEX_SUFFIX = ".index"
SAVED_MODEL_NAMES = ("saved_model.pb", "saved_model.pbtxt")

_V2_PART = re.compile(r"(?P<prefix>.*)(\.index|\.meta|\.data-\d{5,}-of-\d{5,})", re.DOTALL)
_V1_SHARD = re.compile(
    r"(?P<base>.*)-(?P<number>\d{5,}|\?{5})-of-(?P<count>\d{5,}|\?{5})", re.DOTALL
)
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[\\/]|\w+://")


class Found(NamedTuple):
    """A checkpoint that is there.

    Attributes:
        format: "v1" or "v2".
        prefix: what its files' names have in common.
        shards: V1: every file, in order; V2: ().
    """

    format: str
    prefix: str
    shards: tuple[str, ...] = ()


def confine(files: Files, path: str, format: str | None = None) -> Files:
    """The files of the directory that a user's path names: of a name its parent, else itself."""
    beside = files.within(files.split(path)[0])
    is_named = _find_named(beside, path, format) is not None
    return beside if is_named or not files.is_directory(path) else files.within(path)


def find_checkpoint(files: Files, path: str, format: str | None = None) -> Found:
    """The checkpoint that a path stands for; `format` leaves the other format out of sight.

    Raises:
        CheckpointNotFoundError: none, or more than one; the text says what was looked for and what
            is there.
        MissingShardError: a V1 set without some of its files.
        CorruptCheckpointError: a state file that is none.
    """
    found = _find_named(files, path, format)
    if found is None and files.is_directory(path):
        found = _find_in_directory(files, path, format)
    if found is None:
        part = _V2_PART.fullmatch(path)
        looked_for = [] if format == "v1" else [(part["prefix"] if part else path) + INDEX_SUFFIX]
        if format != "v2" and not part:
            looked_for += [f"a V1 file {path}", f"its shards {path}-?????-of-?????"]
        raise CheckpointNotFoundError(
            "no checkpoint here",
            file=path,
            expected=" or ".join(looked_for),
            found=describe_surroundings(files, path),
        )
    return found


def _find_named(files: Files, path: str, format: str | None) -> Found | None:
    """What a path means as a name: a prefix, or a file of a checkpoint."""
    if format != "v1" and files.is_file(path + INDEX_SUFFIX):
        return Found("v2", path)
    part = _V2_PART.fullmatch(path)
    if part and format != "v1" and files.is_file(part["prefix"] + INDEX_SUFFIX):
        return Found("v2", part["prefix"])
    if part and path.endswith(".meta") and format != "v2":
        return _find_named(files, part["prefix"], "v1")
    if format == "v2":
        return None
    shard = _V1_SHARD.fullmatch(path)
    if shard and not part:
        found = _find_shards(files, shard["base"], shard["count"])
        if found is not None:
            return found
    if files.is_file(path) and not part:
        return Found("v1", path, (path,))
    return _find_shards(files, path, "?????")


def _find_shards(files: Files, base: str, count: str) -> Found | None:
    """The V1 set of a base name and a count of files ("?????" for any)."""
    folder, name = files.split(base)
    if not name or not files.is_directory(folder):
        return None
    sets: dict[str, set[int]] = {}
    for there in files.list_names(folder):
        shard = None if "?" in there else _V1_SHARD.fullmatch(there)
        if shard is None or shard["base"] != name or int(shard["count"]) < 1:
            continue
        if count in ("?????", shard["count"]):
            sets.setdefault(shard["count"], set()).add(int(shard["number"]))
    if not sets:
        return None
    if len(sets) > 1:
        raise CheckpointNotFoundError(
            "several checkpoints of one name",
            file=base,
            expected="one set of shards",
            found=" and ".join(f"{base}-?????-of-{count}" for count in sorted(sets)),
        )
    ((count, numbers),) = sets.items()
    missing = next(i for i in range(len(numbers) + 1) if i not in numbers)
    if missing < int(count):
        raise MissingShardError(
            "a file of the checkpoint is missing",
            file=f"{base}-{missing:05d}-of-{count}",
            expected=f"{int(count)} files {base}-?????-of-{count}",
            found=f"{len(numbers)} of them",
        )
    shards = tuple(f"{base}-{i:05d}-of-{count}" for i in range(int(count)))
    return Found("v1", base, shards)


def _find_in_directory(files: Files, directory: str, format: str | None) -> Found | None:
    """What a directory means; None if it is no checkpoint's."""
    models = [name for name in SAVED_MODEL_NAMES if files.is_file(files.join(directory, name))]
    state_path = files.join(directory, STATE_FILE_NAME)
    own_prefix = files.join(directory, "")
    claims = {
        f"a SavedModel ({', '.join(models)})": bool(models),
        f"a state file ({STATE_FILE_NAME})": files.is_file(state_path),
        f"a checkpoint without a name ({INDEX_SUFFIX})": files.is_file(own_prefix + INDEX_SUFFIX),
    }
    made = [claim for claim, is_made in claims.items() if is_made]
    if not models and len(made) == 2 and _names_nothing(files, state_path):
        return Found("v2", own_prefix) if format != "v1" else None
    if len(made) > 1:
        raise CheckpointNotFoundError(
            "more than one checkpoint here", file=directory, expected="one of them, by its prefix",
            found=" and ".join(made),
        )  # fmt: skip
    if models:
        return _find_in_saved_model(files, directory, format)
    if files.is_file(own_prefix + INDEX_SUFFIX):
        return Found("v2", own_prefix) if format != "v1" else None
    if files.is_file(state_path):
        return _find_latest(files, directory, read_state(files, state_path), format)
    return None


def _names_nothing(files: Files, state_path: str) -> bool:
    """Whether a state file's latest is the checkpoint without a name: its path ends in a slash."""
    return last_part(read_state(files, state_path).model_checkpoint_path) in ("", ".")


def _find_in_saved_model(files: Files, directory: str, format: str | None) -> Found:
    folder = files.join(directory, "variables")
    prefix = files.join(folder, "variables")
    found = _find_named(files, prefix, format)
    if found is None:
        raise CheckpointNotFoundError(
            "a SavedModel without variables",
            file=directory,
            expected=prefix + INDEX_SUFFIX,
            found=describe_surroundings(files, prefix),
        )
    return found


def _find_latest(files: Files, directory: str, state: CheckpointState, format: str | None) -> Found:
    """The checkpoint that a state file names as the latest.

    Never an older one in its place, even if the latest is gone.
    """
    state_path = files.join(directory, STATE_FILE_NAME)
    latest = state.model_checkpoint_path
    if not latest:
        raise CorruptCheckpointError(
            "state file", file=state_path, expected="a model_checkpoint_path", found="none"
        )
    places = list(_places(files, directory, latest))
    for place in places:
        found = _find_named(files, place, format)
        if found is not None:
            return found
    raise CheckpointNotFoundError(
        f"the latest checkpoint of the state file is gone, {latest!r}"
        if _is_followed(files, directory, latest)
        else f"the state file leads out of its directory, to {latest!r}, and is not followed there;"
        " that path can be opened itself",
        file=state_path,
        expected=" or ".join(places),
        found=describe_surroundings(files, places[0]),
    )


def _places(files: Files, directory: str, recorded: str) -> Iterator[str]:
    """Where the checkpoint of a recorded path may be, the likeliest place first.

    Beside the state file comes before an absolute path: a directory that was moved or copied means
    its own files.
    """
    _, name = os.path.splitdrive(last_part(recorded))
    # Without a name: saved under the prefix "folder/", into the folder.
    beside = files.join(directory, "" if name == ".." else name)
    whole = recorded if _is_absolute(recorded) else files.join(directory, recorded)
    places = [beside, whole] if _is_absolute(recorded) else [whole, beside]
    for place in dict.fromkeys(places):
        if place == beside or _is_followed(files, directory, recorded):
            yield place


def _is_followed(files: Files, directory: str, recorded: str) -> bool:
    """Whether a recorded path is taken as it is.

    A relative one is if it stays below the directory of the state file.  An absolute one is, as
    TensorFlow does; but from a URL only to the same storage, and from this machine to no URL.
    """
    if _is_absolute(recorded):
        return _storage(recorded) == _storage(directory) and files.allows(recorded)
    depth = 0
    if _storage(directory):  # a server may take %2e for a dot
        from urllib.parse import unquote

        recorded = unquote(recorded)
    for part in recorded.replace("\\", "/").split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return False
    return files.allows(files.join(directory, recorded))


def _is_absolute(recorded: str) -> bool:
    drive, _ = os.path.splitdrive(recorded)  # "C:x", which only Windows takes for a place
    return bool(drive or _ABSOLUTE.match(recorded))


def _storage(path: str) -> str:
    """The scheme of a URL, "" of a path of this machine."""
    return path.partition("://")[0] if "://" in path else ""
