"""Show the progress of long work on a terminal."""

from __future__ import annotations

import sys
from typing import Any


class ProgressBar:
    """A progress bar on stderr, if that is a terminal and the extra `cli` is installed.

    Attributes:
        progress: called with the number of bytes done and the total, which may be None; None if
            there is no bar.
    """

    def __init__(self) -> None:
        self.progress: Any = None
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        if sys.stderr is not None and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return self
            self._bar = tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False)
            self.progress = self._show
        return self

    def _show(self, done: int, total: int | None) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
