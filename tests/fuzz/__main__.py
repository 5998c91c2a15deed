"""``python -m tests.fuzz``, or ``python tests/fuzz`` for an installed ckptparse."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# tests/ is where `fuzz` and `support` are, as under pytest.  The second form has put this
# folder first, whose modules must not be importable by their plain names.
if Path(sys.path[0] or ".").resolve() == HERE:
    sys.path[0] = str(HERE.parent)
else:
    sys.path.insert(1, str(HERE.parent))

from fuzz.command import main  # noqa: E402  # found by the lines above

sys.exit(main())
