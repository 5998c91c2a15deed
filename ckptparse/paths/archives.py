"""Find the checkpoint in an archive, or the one that a path into an archive refers to.

====================================================  ==========================================
path                                                  refers to
====================================================  ==========================================
an archive: ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``  the only checkpoint in it, in any directory
a directory in an archive: ``models.zip/inner``       the only checkpoint in that directory
any other path in an archive                          what it refers to in a directory
====================================================  ==========================================

Checkpoints in an archive are those that a directory can have, and files of containers, by the
suffixes of their names.  A directory with a state file, or of a SavedModel, counts as one
checkpoint.  An archive is recognised by its first bytes, whatever its name.  Zip files of other
formats are no archives: one with nothing but ``.npy`` files is an ``.npz``, one with
``config.json`` and ``model.weights.h5`` is a ``.keras`` file, and one with a ``data.pkl`` is of
PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptparse.errors import (
    CheckpointNotFoundError,
    NotACheckpointError,
    UnsupportedError,
)
from ckptparse.formats.containers import CONTAINER_SUFFIXES, CONTAINERS
from ckptparse.formats.file_names import (
    INDEX_SUFFIX,
    SAVED_MODEL_NAMES,
    STATE_FILE_NAME,
    is_unfinished,
)
from ckptparse.formats.recognize import ARCHIVE
from ckptparse.limits import MAX_ARCHIVE_DIRECTORIES
from ckptparse.paths.candidates import find_prefixes
from ckptparse.paths.locate import Found, confine, find_checkpoint
from ckptparse.sources import Files
from ckptparse.sources.archive import ArchiveFiles, open_archive

_ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

_MOST_LISTED = 10
"""Number of paths that an error's text lists."""


def open_archive_at(files: Files, path: str, *, confined: bool) -> ArchiveFiles:
    """Open an archive that `find_archive_path` or `find_checkpoint` found.

    Args:
        files: its file system.
        path: its path.
        confined: whether it must be in the directory of its path, also if that path is a link.

    Raises:
        CheckpointNotFoundError: it is not there any more.
        CheckpointError: as `open_archive`.
    """
    try:
        return open_archive(confine(files, path) if confined else files, path)
    except FileNotFoundError as error:
        raise CheckpointNotFoundError(
            "this file disappeared while it was opened", file=path
        ) from error


def find_in_archive(archive: ArchiveFiles, path: str, format: str | None) -> Found:
    """Find the checkpoint that an archive, or a path into the archive, refers to.

    Args:
        archive: the archive.
        path: the path of the archive, or one that begins with it.
        format: the format to search for; None for all.

    Raises:
        NotACheckpointError: the archive is a file of PyTorch.
        UnsupportedError: the path refers to another archive, in this one.
        CheckpointError: as `find_checkpoint`.
    """
    found = _find(archive, path, format)
    archive.expect(found.prefix)
    return found


def _find(archive: ArchiveFiles, path: str, format: str | None) -> Found:
    """Do the work of `find_in_archive`."""
    if archive.is_root(path):
        container = _name_zip_format(archive)
        if container is not None and format in (None, container):
            return Found(container, archive.path, (archive.path,))
    is_prefix = archive.is_file(archive.append(path, INDEX_SUFFIX))
    if is_prefix or not archive.is_directory(path):
        return _find_at(archive, path, format)
    candidates = _list_candidates(archive, path, format)
    if len(candidates) == 1:
        return _find_at(archive, candidates[0], format)
    if candidates:
        shown = ", ".join(candidates[:_MOST_LISTED])
        more = len(candidates) - _MOST_LISTED
        raise CheckpointNotFoundError(
            f"this archive holds several checkpoints: {shown}"
            f"{f' and {more} more' if more > 0 else ''}. Give one of them",
            file=path,
            expected="one checkpoint",
            found=f"{len(candidates)} checkpoints",
        )
    raise _nothing_found(archive, path)


def _name_zip_format(archive: ArchiveFiles) -> str | None:
    """Return the format of a container that is a zip file, from the names of its members.

    Raises:
        NotACheckpointError: it is a file of PyTorch.
    """
    names = archive.names
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        raise NotACheckpointError(
            "this is not a checkpoint but a PyTorch file, whose tensors are described by a pickle",
            file=archive.path,
            expected="a TensorFlow checkpoint, or a file of one of the formats"
            f" {', '.join(CONTAINERS)}",
            found="a zip archive with a data.pkl",
        )
    if not archive.is_zip:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "keras" if {"config.json", "model.weights.h5"}.issubset(names) else None


def _find_at(archive: ArchiveFiles, path: str, format: str | None) -> Found:
    """Find what a path in an archive refers to by the rules for directories.

    Raises:
        UnsupportedError: it is another archive.
    """
    found = find_checkpoint(archive, path, format)
    if found.format == ARCHIVE:
        raise _nested(path)
    return found


def _list_candidates(archive: ArchiveFiles, directory: str, format: str | None) -> list[str]:
    """Return the paths of the checkpoints in a directory of an archive and below it.

    Raises:
        CheckpointNotFoundError: there are too many directories.
    """
    found: list[str] = []
    pending = [directory]
    num_directories = 0
    while pending:
        here = pending.pop(0)
        num_directories += 1
        if num_directories > MAX_ARCHIVE_DIRECTORIES:
            raise CheckpointNotFoundError(
                "this archive has too many directories to search all of them. Give the path of the"
                f" checkpoint in it, such as {archive.join(archive.path, 'model.ckpt')}",
                file=archive.path,
                expected=f"at most {MAX_ARCHIVE_DIRECTORIES} directories",
                found="more",
            )
        names = archive.list_names(here)
        if format not in CONTAINERS and _is_claimed(archive, here, names):
            found.append(here)
            continue
        if format not in CONTAINERS:
            found += [archive.join(here, name) for name in find_prefixes(archive, here, names)]
        if format in (None, *CONTAINERS):
            found += _list_containers(archive, here, names, format)
        pending += [
            archive.join(here, name)
            for name in archive.list_directories(here)
            if not is_unfinished(name) and not name.startswith(_HIDDEN)
        ]
    return found


_HIDDEN = (".", "__MACOSX")


def _is_claimed(archive: ArchiveFiles, directory: str, names: list[str]) -> bool:
    """Return whether a directory itself refers to a checkpoint."""
    marks = {STATE_FILE_NAME, INDEX_SUFFIX, *SAVED_MODEL_NAMES}.intersection(names)
    return any(archive.is_file(archive.join(directory, name)) for name in marks)


def _list_containers(
    archive: ArchiveFiles, directory: str, names: list[str], format: str | None
) -> Iterator[str]:
    """Yield the paths of the files in a directory that are containers by their suffix."""
    for name in names:
        suffix = name[name.rfind(".") :] if "." in name else ""
        container = CONTAINER_SUFFIXES.get(suffix)
        if container is not None and format in (None, container) and not name.startswith("._"):
            path = archive.join(directory, name)
            if archive.is_file(path):
                yield path


def _nothing_found(archive: ArchiveFiles, directory: str) -> Exception:
    """Return the error for a directory of an archive that holds no checkpoint."""
    prefix = archive.join(directory, "")
    root = archive.join(archive.path, "")
    paths = [archive.join(archive.path, name) for name in archive.names]
    below = [path for path in paths if path.startswith(prefix)]
    nested = next((path for path in below if path.endswith(_ARCHIVE_SUFFIXES)), None)
    if nested is not None:
        return _nested(nested)
    shown = [path.removeprefix(root) for path in below[:_MOST_LISTED]]
    found = f"only {', '.join(shown)}{' ...' if len(below) > len(shown) else ''}"
    if not below:
        found = "an empty archive"
    if archive.unreachable:
        names = ", ".join(map(repr, archive.unreachable[:_MOST_LISTED]))
        found += f"; members that are refused because of their names: {names}"
    return CheckpointNotFoundError(
        "no checkpoint in this archive",
        file=directory,
        expected="a TensorFlow checkpoint, a SavedModel, or a file that ends in"
        f" {', '.join(CONTAINER_SUFFIXES)}",
        found=found,
    )


def _nested(path: str) -> UnsupportedError:
    """Return the error for an archive in an archive."""
    return UnsupportedError(
        "this is an archive in an archive: unpack the outer one",
        file=path,
        expected="a checkpoint",
        found="an archive",
    )
