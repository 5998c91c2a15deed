"""An output that collects small writes and passes them on together."""

from __future__ import annotations

import io

from ckptparse.outputs.base import Buffer, Output

_SMALL_NBYTES = 1 << 16
"""At most this many bytes are copied into the buffer; more are written at once."""

_BUFFER_NBYTES = 1 << 20


class BufferedOutput:
    """A writer of bytes that passes small ones on together.

    Attributes:
        nbytes: number of bytes that were written to it so far.
    """

    def __init__(self, output: Output) -> None:
        self.nbytes = output.nbytes
        self._output = output
        self._buffer = bytearray()

    def write(self, contents: Buffer) -> None:
        """Append bytes.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        view = memoryview(contents).cast("B")
        self.nbytes += len(view)
        if len(view) <= _SMALL_NBYTES:
            self._buffer += view
            if len(self._buffer) >= _BUFFER_NBYTES:
                self.flush()
        else:
            self.flush()
            self._output.write(view)

    def rewrite(self, position: int, contents: Buffer) -> None:
        """Replace bytes that were written; only if the output `rewrites`.

        Raises:
            UnwritableError: the operating system fails.
        """
        view = memoryview(contents).cast("B")
        start = position - self._output.nbytes
        if start < 0:
            self.flush()
            self._output.rewrite(position, view)
        else:
            self._buffer[start : start + len(view)] = view

    def flush(self) -> None:
        """Pass all bytes on.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        if self._buffer:
            self._output.write(self._buffer)
            self._buffer = bytearray()


class OutputStream(io.RawIOBase):
    """A binary file for libraries that write to one, such as `zipfile`.

    It can be sought only if the output `rewrites`, and only to bytes that were written.
    """

    def __init__(self, output: Output) -> None:
        self._buffered = BufferedOutput(output)
        self._rewrites = output.rewrites
        self._position = output.nbytes

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the output rewrites."""
        return self._rewrites

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        if not self._rewrites or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek")
        self._position = offset
        return offset

    def write(self, contents: Buffer) -> int:
        """Write bytes at the position."""
        nbytes = memoryview(contents).nbytes
        if self._position == self._buffered.nbytes:
            self._buffered.write(contents)
        else:
            self._buffered.rewrite(self._position, contents)
        self._position += nbytes
        return nbytes

    def pass_on(self) -> None:
        """Pass all bytes to the output.

        This is not `flush`, which is also called when an object is deleted after an error.

        Raises:
            UnwritableError: the operating system or the storage fails.
        """
        self._buffered.flush()
