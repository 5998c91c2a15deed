"""Print the path of a Python interpreter: the `oldest` or `newest` supported one, or "3.12"."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

SUPPORTED = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def find(version: str) -> str | None:
    """Return the path of an interpreter of this version; None if there is none."""
    roots = [os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")]
    kept = [
        p for root in roots if root for p in Path(root).glob(f"versions/{version}.*/bin/python")
    ]
    if kept:
        return str(sorted(kept)[-1])
    on_path = shutil.which(f"python{version}")
    if on_path is None and sys.version.startswith(f"{version}."):
        return sys.executable
    return on_path


def main() -> int:
    """Run the command and return its exit status."""
    wanted = sys.argv[1]
    versions = {"oldest": SUPPORTED, "newest": SUPPORTED[::-1]}.get(wanted, [wanted])
    found = next((path for path in map(find, versions) if path), None)
    if found is None:
        print(f"no Python {' or '.join(versions)} on this machine", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
