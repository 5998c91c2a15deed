"""Little-endian fields of a piece of metadata."""

from __future__ import annotations

from ckptparse.errors import CorruptCheckpointError

UNDEFINED = 2**64 - 1
"""The address of something that is not in the file."""


class Fields:
    """Fields that are read one after the other.

    Attributes:
        position: position of the next field in `data`.
    """

    def __init__(self, data: bytes, offset: int) -> None:
        """
        Args:
            data: the bytes with the fields.
            offset: position of these bytes in the file, for errors.
        """
        self.data = data
        self.position = 0
        self._offset = offset

    @property
    def offset(self) -> int:
        """Position of the next field in the file."""
        return self._offset + self.position

    @property
    def left(self) -> int:
        """Number of bytes that were not read."""
        return len(self.data) - self.position

    def take(self, nbytes: int) -> bytes:
        """Return the next bytes.

        Raises:
            CorruptCheckpointError: there are fewer.
        """
        start = self.position
        if nbytes > len(self.data) - start:
            raise CorruptCheckpointError(
                "a field is longer than the structure that contains it",
                offset=self._offset + start,
                expected=f"at most {len(self.data) - start} bytes",
                found=f"{nbytes} bytes",
            )
        self.position = start + nbytes
        return self.data[start : start + nbytes]

    def take_fields(self, nbytes: int) -> Fields:
        """Return the next bytes as fields of their own."""
        offset = self.offset
        return Fields(self.take(nbytes), offset)

    def number(self, nbytes: int) -> int:
        """Return the next unsigned integer."""
        return int.from_bytes(self.take(nbytes), "little")

    def expect(self, value: bytes, what: str) -> None:
        """Compare the next bytes with those that are required.

        Raises:
            CorruptCheckpointError: they differ.
        """
        offset = self.offset
        found = self.take(len(value))
        if found != value:
            raise CorruptCheckpointError(
                f"this is not {what}", offset=offset, expected=value.hex(" "), found=found.hex(" ")
            )
