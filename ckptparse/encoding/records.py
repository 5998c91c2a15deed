"""Make many named tuples from columns of values."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any, TypeVar

Record = TypeVar("Record", bound=tuple[Any, ...])


def make_records(record_type: type[Record], *columns: Iterable[Any]) -> list[Record]:
    """Return a named tuple for each row of columns.

    Same as ``list(map(record_type, *columns))``, but in a third of the time, because no Python code
    runs for each row.
    """
    return list(map(tuple.__new__, repeat(record_type), zip(*columns)))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while many objects are created.

    It would scan all of them again and again, which takes a fifth of the time, and find no garbage.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
