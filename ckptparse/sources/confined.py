"""One directory, and nothing else."""

from __future__ import annotations

import errno
import os
import re

from ckptparse.errors import UnreadableError

_MOST_LINKS = 40
"""As many as Linux follows in one path."""

_SEPARATORS = re.compile(r"[\\/]" if os.name == "nt" else "/")
_VERBATIM = "\\\\?\\"
"""What Windows puts before the target of a link."""


class Confinement:
    """Says where paths really lead, and refuses those that lead out of a directory.

    A path is followed here link by link, and refused before anything outside is asked for: not even
    whether it exists.
    """

    def __init__(self, directory: str) -> None:
        """`directory` is absolute; links on the way to it are the user's own."""
        self.directory = directory
        self._given = os.path.normpath(directory)
        self._real = os.path.realpath(directory)

    def allows(self, place: str) -> bool:
        """Return whether the text of an absolute path is inside; does not follow links."""
        return self._relative(place) is not None

    def resolve(self, place: str, name: str) -> str:
        """The path, free of links, of what an absolute path means.

        Where nothing is there it is the path of the first part that is missing.

        Raises:
            UnreadableError: it leads out, by its words or through links; or the links have no end.
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
                if getattr(error, "errno", None) != errno.EINVAL:  # no link: there is nothing
                    break
                continue
            num_links += 1
            if num_links > _MOST_LINKS:
                raise UnreadableError.because(
                    OSError(errno.ELOOP, os.strerror(errno.ELOOP)), file=name
                )
            if os.path.isabs(target):
                inside = _behind(self._real, target)
                if inside is None:
                    raise outside_error(name, self.directory, target)
                here, target = self._real, inside
            pending += _SEPARATORS.split(target)[::-1]
        return here

    def _relative(self, place: str) -> str | None:
        """Return the part of a path after the directory, however the directory is written."""
        place = os.path.normpath(place)
        given = _behind(self._given, place)
        return _behind(self._real, place) if given is None else given


def outside_error(name: str, directory: str, place: str) -> UnreadableError:
    """For a path that leads out of the directory that reading is confined to."""
    error = UnreadableError(
        "this path leads out of the directory that reading is confined to",
        file=name,
        expected=f"a path inside of {directory}",
        found=place,
    )
    error.errno = errno.EACCES
    return error


def _behind(directory: str, path: str) -> str | None:
    """The rest of a path after a directory; None where that is not its beginning."""
    root, whole = os.path.normcase(directory), os.path.normcase(path)
    if whole == root:
        return ""
    root = os.path.join(root, "")
    return path[len(root) :] if whole.startswith(root) else None
