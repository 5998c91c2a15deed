"""Write a directory of files under a temporary name, and rename it when it is complete."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress

from ckptparse.errors import CheckpointError, CheckpointExistsError
from ckptparse.outputs.base import new_token, unwritable
from ckptparse.outputs.local import LocalFolder, LocalOutput, is_left

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there is no other value for a missing module

_OLD = "old"
"""Added to the temporary name of a directory for the old one that it replaces."""

_TEMPORARY = re.compile(
    rf"ckptparse-[0-9a-f]{{8}}(?P<checksum>[0-9a-f]{{8}})\.tempdir(?P<old>{_OLD})?"
)


class LocalTree:
    """A local directory that is being written.

    The operating system can rename a directory in one step, but not over one that has files.  So
    when an old directory is replaced, it gets a temporary name first; between the two renames there
    is no directory of the final name.  A process that is killed there leaves both, complete, under
    temporary names.  The next writer of this name gives the old one its name again; it recognizes
    it by a checksum of the name in the temporary name.

    Attributes:
        path: the final path.
    """

    def __init__(self, path: str, suffix: str, *, sync: bool) -> None:
        """
        Args:
            path: the final path.
            suffix: suffix of all files.  Only a directory without any other files is replaced.
            sync: whether to wait until the bytes are on the disk.
        """
        self.path = path
        self._final = os.path.abspath(path)
        self._folder = LocalFolder(self._final, sync=sync)
        self._suffix = suffix
        self._sync = sync
        self._checksum = _checksum_of(os.path.basename(self._final))
        name = f"ckptparse-{new_token()[:8]}{self._checksum}.tempdir"
        self._temporary = os.path.join(os.path.dirname(self._final), name)
        self._made: set[tuple[str, ...]] = set()
        self._lock: int | None = None
        self._file: LocalOutput | None = None

    def prepare(self, *, overwrite: bool) -> None:
        """Create the temporary directory.  Removes those of processes that were killed.

        Raises:
            CheckpointExistsError: the place is taken; see `publish`.
            UnwritableError: the operating system refuses.
        """
        self._folder.prepare()
        with self._folder.lock():
            self._restore_old()
            self.require_place(overwrite=overwrite)
            self._remove_leftovers()
            try:
                os.mkdir(self._temporary)
                if fcntl is not None:
                    self._lock = os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC)
                    with suppress(OSError):
                        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:  # the temporary name would tell nothing
                raise unwritable(error, os.path.dirname(self._temporary)) from error
        self._made.add(())

    def create(self, parts: tuple[str, ...]) -> LocalOutput:
        """Create a file.  The one that was created before must be finished, and is closed.

        Args:
            parts: the names of the directories that lead to it, and its own name.

        Raises:
            UnwritableError: the operating system refuses.
        """
        self._close_file()
        self._make_directory(parts[:-1])
        self._file = LocalOutput(os.path.join(self._temporary, *parts), sync=self._sync)
        return self._file

    def _make_directory(self, parts: tuple[str, ...]) -> None:
        if parts in self._made:
            return
        self._make_directory(parts[:-1])
        path = os.path.join(self._temporary, *parts)
        try:
            os.mkdir(path)
        except OSError as error:
            raise unwritable(error, path) from error
        self._made.add(parts)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def publish(self, *, overwrite: bool) -> None:
        """Give the directory its final name.

        Args:
            overwrite: replace a directory of this name, which has only files of the suffix.

        Raises:
            CheckpointExistsError: `overwrite` is False, and there is something of this name; or it
                is True, and this is no directory, or has other files.
            UnwritableError: the operating system refuses.
        """
        self._close_file()
        for parts in self._made if self._sync else ():
            LocalFolder(os.path.join(self._temporary, *parts, "x"), sync=True).sync()
        old = self._temporary + _OLD
        with self._folder.lock():
            self.require_place(overwrite=overwrite)
            try:
                if os.path.lexists(self._final):
                    os.rename(self._final, old)
                os.rename(self._temporary, self._final)
            except BaseException as error:
                if not os.path.lexists(self._final):
                    with suppress(OSError):  # then the next writer does it
                        os.rename(old, self._final)
                elif not os.path.lexists(self._temporary):  # an interrupt, after the last rename
                    with suppress(CheckpointError):
                        self._remove_old(old)
                if isinstance(error, OSError):
                    raise unwritable(error, self._final) from error
                raise
            self._remove_old(old)

    def _remove_old(self, old: str) -> None:
        """Remove the old directory, once the new one has its name on the disk.

        It is renamed first, so that an old directory of a killed writer is always whole.
        """
        self._folder.sync()
        with suppress(OSError):  # there is none
            os.rename(old, self._temporary)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def discard(self) -> None:
        """Remove the temporary directory if it still has its name.  Raises nothing."""
        try:
            self._close_file()
            shutil.rmtree(self._temporary, ignore_errors=True)
        finally:
            descriptor, self._lock = self._lock, None
            if descriptor is not None:
                os.close(descriptor)

    def abandon(self) -> None:
        """Remove what `prepare` created.  Raises nothing."""
        self.discard()
        self._folder.abandon()

    def require_place(self, *, overwrite: bool) -> None:
        """Check that the final name is free, or that of a directory that is replaced.

        Raises:
            CheckpointExistsError: it is not; see `publish`.
        """
        if not os.path.lexists(self._final):
            return
        if not overwrite:
            raise CheckpointExistsError(
                "there is a file or directory of this name already", file=self.path,
                expected="none of this name, or overwrite=True (--overwrite)",
            )  # fmt: skip
        other = next(self._other_files(), None)
        if other is not None:
            raise CheckpointExistsError(
                "only a directory of which all files were saved like this is replaced",
                file=self.path,
                expected=f"a directory with {self._suffix} files only",
                found=other,
            )

    def _other_files(self) -> Iterator[str]:
        """Yield what the old directory has besides files of the suffix and directories."""
        if os.path.islink(self._final) or not os.path.isdir(self._final):
            yield self._final
            return
        for directory, names, files in os.walk(self._final):
            paths = [os.path.join(directory, name) for name in (*names, *files)]
            yield from (path for path in paths if os.path.islink(path))
            yield from (
                path
                for path in paths[len(names) :]
                if not (path.endswith(self._suffix) and os.path.isfile(path))
            )

    def _restore_old(self) -> None:
        """Rename an old directory back whose writer was killed between the two renames."""
        names = self._folder.names() if fcntl is not None else []
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            if match is None or not match["old"] or match["checksum"] != self._checksum:
                continue
            path = os.path.join(os.path.dirname(self._final), name)
            if not os.path.lexists(self._final) and is_left(path):
                with suppress(OSError):
                    os.rename(path, self._final)

    def _remove_leftovers(self) -> None:
        """Remove the temporary directories of processes that have ended.

        An old directory stays while there is none of its final name: it is the only one that ever
        had this name.  The new one that it belongs to stays as well.
        """
        names = set(self._folder.names()) if fcntl is not None else set()
        checksums = {_checksum_of(name) for name in names}
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            if match is None:
                continue
            new, old = name.removesuffix(_OLD), name.removesuffix(_OLD) + _OLD
            is_needed = {new, old} <= names or (match["old"] and match["checksum"] not in checksums)
            path = os.path.join(os.path.dirname(self._final), name)
            if not is_needed and is_left(path):
                shutil.rmtree(path, ignore_errors=True)


def _checksum_of(name: str) -> str:
    """Return eight hexadecimal digits by which a name is recognized."""
    return f"{zlib.crc32(os.fsencode(name)):08x}"
