"""Write the page of a checkpoint to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptparse.outputs import folder_for
from ckptparse.outputs.files import write_file
from ckptparse.reporting.examination import Examination
from ckptparse.reporting.page import MOST_ROWS, render

_PART_NBYTES = 1 << 20


def write_page(
    path: str,
    found: Examination,
    version: str,
    *,
    most_rows: int = MOST_ROWS,
    overwrite: bool = False,
    sync: bool = True,
) -> int:
    """Write the page that shows a checkpoint; returns its number of bytes.

    The file gets its name when it is complete.  The same checkpoint gives the same bytes.

    Args:
        path: path or URL of the file.
        found: what the page shows; see `examine`.
        version: version of ckptparse, which the page names.
        most_rows: the maximum number of tensors in the table.
        overwrite: replace a file of this name.
        sync: wait until the bytes are on the disk.

    Raises:
        CheckpointExistsError: there is such a file, and `overwrite` is False; or a directory.
        UnwritableError: the operating system or the storage fails.
    """
    parts = _encode(render(found, version, most_rows))
    return write_file(folder_for(path, sync=sync), path, parts, overwrite=overwrite)


def _encode(texts: Iterable[str]) -> Iterator[bytes]:
    """Yield the bytes of texts, many short ones together."""
    waiting: list[bytes] = []
    nbytes = 0
    for text in texts:
        waiting.append(text.encode("utf-8"))
        nbytes += len(waiting[-1])
        if nbytes >= _PART_NBYTES:
            yield b"".join(waiting)
            waiting, nbytes = [], 0
    yield b"".join(waiting)
