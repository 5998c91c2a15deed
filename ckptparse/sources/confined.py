"""Confine paths to one directory, with symbolic links resolved."""

from __future__ import annotations

import errno
import os
import re

from ckptparse.errors import UnreadableError

_MOST_LINKS = 40
"""The number of links that Linux follows in one path."""

_SEPARATORS = re.compile(r"[\\/]" if os.name == "nt" else "/")
_VERBATIM = "\\\\?\\"
"""The prefix of a link's target on Windows."""


class Confinement:
    """Resolves paths, and refuses those that lead out of a directory.

    A path is resolved link by link.  It is refused before the file system gets any query about a
    path outside of the directory, even whether it exists.
    """

    def __init__(self, directory: str) -> None:
        """Confine paths to an absolute path.  Links in that path itself are followed."""
        self.directory = directory
        self._given = os.path.normpath(directory)
        self._real = os.path.realpath(directory)

    def allows(self, place: str) -> bool:
        """Return whether an absolute path is inside, by its text; does not follow links."""
        return self._relative(place) is not None

    def resolve(self, place: str, name: str) -> str:
        """Return an absolute path with all its links resolved.

        If a part of the path does not exist, return the path that ends with that part.

        Args:
            place: the absolute path.
            name: the path for error messages.

        Raises:
            UnreadableError: the path leads out, by its text or through links, or has more than 40
                links.
        """
        relative = self._relative(place)
        if relative is None:
            raise outside_error(name, self.directory, place)
        pending = _SEPARATORS.split(relative)[::-1]
        here = self._real
        num_links = 0
        while pending:
            part = pending.pop()
            if part in ("", os.curdir):
                continue
            if os.path.splitdrive(part)[0] or (part == os.pardir and here == self._real):
                raise outside_error(name, self.directory, os.path.join(here, part))
            if part == os.pardir:
                here = os.path.dirname(here)
                continue
            below = os.path.join(here, part)
            try:
                target = os.readlink(below).removeprefix(_VERBATIM)
            except (OSError, ValueError) as error:
                here = below
                if getattr(error, "errno", None) != errno.EINVAL:  # EINVAL: not a link
                    break
                continue
            num_links += 1
            if num_links > _MOST_LINKS:
                raise UnreadableError.because(
                    OSError(errno.ELOOP, os.strerror(errno.ELOOP)), file=name
                )
            if os.path.isabs(target):
                inside = _after(self._real, target)
                if inside is None:
                    raise outside_error(name, self.directory, target)
                here, target = self._real, inside
            pending += _SEPARATORS.split(target)[::-1]
        return here

    def _relative(self, place: str) -> str | None:
        """Return a path relative to the directory; None if it is outside."""
        place = os.path.normpath(place)
        given = _after(self._given, place)
        return _after(self._real, place) if given is None else given


def outside_error(name: str, directory: str, place: str) -> UnreadableError:
    """Return the error for a path that leads out of the directory of confined reading."""
    error = UnreadableError(
        "this path leads out of the directory that reading is confined to",
        file=name,
        expected=f"a path inside of {directory}",
        found=place,
    )
    error.errno = errno.EACCES
    return error


def _after(directory: str, path: str) -> str | None:
    """Return the part of a path after a directory; None if the path is not in the directory."""
    root, whole = os.path.normcase(directory), os.path.normcase(path)
    if whole == root:
        return ""
    root = os.path.join(root, "")
    return path[len(root) :] if whole.startswith(root) else None
