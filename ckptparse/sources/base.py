"""What every byte source promises."""

from __future__ import annotations

from typing import Protocol

from ckptparse.errors import TruncatedError


class Source(Protocol):
    """A file's bytes, read by position.

    Attributes:
        name: path or URL, for messages.
        nbytes: size when it was opened.
        mapped: whether `read` returns views over a memory map, which cost nothing to keep.
    """

    name: str
    nbytes: int
    mapped: bool

    def read(self, start: int, stop: int) -> bytes | memoryview:
        """Exactly the bytes start..stop, immutable, from any thread.

        The result stays valid after `close`.

        Raises:
            TruncatedError: the range is not, or no longer, inside the file.
        """
        ...

    def close(self) -> None:
        """Give up the source's own hold on the file; what was read stays valid."""
        ...


def require_inside(name: str, start: int, stop: int, nbytes: int) -> None:
    """Raise TruncatedError unless 0 <= start <= stop <= nbytes."""
    if not 0 <= start <= stop <= nbytes:
        raise TruncatedError(
            "the file is too short",
            file=name,
            offset=start,
            expected=f"{stop - start} bytes up to byte {stop}",
            found=f"a file of {nbytes} bytes",
        )
