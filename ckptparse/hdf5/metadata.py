"""The metadata of an HDF5 file: read in pages, and counted."""

from __future__ import annotations

from ckptparse.errors import CorruptCheckpointError, UnsupportedError
from ckptparse.hdf5.fields import Fields
from ckptparse.limits import (
    MAX_FREE_HDF5_NBYTES,
    MAX_FREE_INFLATED_HDF5_NBYTES,
    MAX_HDF5_RATIO,
)
from ckptparse.sources import Source
from ckptparse.sources.base import require_inside, stored_nbytes

_PAGE_NBYTES = 1 << 12
_MOST_PAGE_NBYTES = 1 << 20


class Metadata:
    """Reads the metadata of a file, and not many more bytes than the file has.

    HDF5 refers to each piece of metadata once.  In a malicious file, many references can lead to
    the same bytes; the count ends this, whatever structures they are.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._most = MAX_HDF5_RATIO * source.nbytes + MAX_FREE_HDF5_NBYTES
        inflated_most = MAX_HDF5_RATIO * stored_nbytes(source) + MAX_FREE_INFLATED_HDF5_NBYTES
        self._is_inflated_limit = (
            inflated_most < self._most and stored_nbytes(source) < source.nbytes
        )
        if self._is_inflated_limit:
            self._most = inflated_most
        self._left = self._most
        self._page_nbytes = min(max(_PAGE_NBYTES, source.request_nbytes), _MOST_PAGE_NBYTES)
        self._pages: dict[int, bytes] = {}

    def read(self, address: int, nbytes: int) -> Fields:
        """Return bytes of metadata.

        Raises:
            TruncatedError: they are not inside the file.
            CorruptCheckpointError: far more metadata was read than the file has bytes.
        """
        self.count(nbytes, address)
        require_inside(self._source.name, address, address + nbytes, self._source.nbytes)
        if self._source.mapped:
            return Fields(bytes(self._source.read(address, address + nbytes)), address)
        return Fields(self._read_pages(address, address + nbytes), address)

    def count(self, nbytes: int, address: int) -> None:
        """Count bytes that were read, or made from what was read.

        Raises:
            CorruptCheckpointError: they are far more than the file has.
            UnsupportedError: they are far more than a compressed file has.
        """
        self._left -= nbytes
        if self._left < 0 and self._is_inflated_limit:
            raise UnsupportedError(
                "this HDF5 file has too much metadata for a compressed file: unpack the archive",
                offset=address,
                expected=f"at most {self._most} bytes in all",
                found="more",
            )
        if self._left < 0:
            raise CorruptCheckpointError(
                "the file refers to the same metadata many times",
                offset=address,
                expected=f"at most {self._most} bytes in all",
                found="more",
            )

    def _read_pages(self, start: int, stop: int) -> bytes:
        """Return bytes; read the pages with them, if they were not read yet."""
        size = self._page_nbytes
        first, last = start // size, -(-stop // size)
        missing = [page for page in range(first, last) if page not in self._pages]
        if missing:
            begin = missing[0] * size
            end = min((missing[-1] + 1) * size, self._source.nbytes)
            contents = bytes(self._source.read(begin, end))
            for page in range(missing[0], missing[-1] + 1):
                self._pages[page] = contents[page * size - begin : (page + 1) * size - begin]
        joined = b"".join(self._pages[page] for page in range(first, last))
        return joined[start - first * size : stop - first * size]
