"""Target: a state file, and the checkpoint that it leads to.

Its container: the state file, then the names of files in its directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ckptparse.paths.locate import find_checkpoint
from ckptparse.paths.state_file import parse_state
from fuzz.container import join, split
from fuzz.fixtures import find_files
from fuzz.memory import MemoryFiles
from fuzz.noise import Noise
from fuzz.outcomes import outcome, require
from fuzz.texts import change_text

_FOLDER = "/models/run"
_STATE = f"{_FOLDER}/checkpoint"
_ELSEWHERE = ["/etc/passwd.index", "/models/other.index", "/models/a", "/elsewhere/a.index"]


def run(data: bytes) -> None:
    """Parse a state file, and follow it."""
    text, *names = split(data)
    paths = [f"{_FOLDER}/{name.decode('utf-8', 'replace')}" for name in names]
    files = MemoryFiles({**dict.fromkeys([*paths, *_ELSEWHERE], b""), _STATE: text})
    found = outcome(lambda: find_checkpoint(files, _FOLDER))
    for format in ("v1", "v2"):
        outcome(lambda f=format: find_checkpoint(files, _FOLDER, f))
    for path in (f"{_FOLDER}/a", f"{_FOLDER}/checkpoint", *paths[:2]):
        outcome(lambda p=path: find_checkpoint(files, p))
    outside = [path for path in files.opened if not path.startswith(f"{_FOLDER}/")]
    require(not outside, "opened", outside)
    try:
        state = parse_state(text)
    except Exception as error:
        require(type(error).__name__ == "CorruptCheckpointError", f"{error!r}")
        return
    repr(state)
    recorded = state.model_checkpoint_path
    if found.value is None:
        return
    # Only what lies in the directory, or what the file names outright.
    prefix = found.value.prefix
    there = [f"{prefix}.index", prefix, *found.value.shards]
    require(any(map(files.is_file, there)), "found, and not there", prefix)
    inside = prefix.startswith(f"{_FOLDER}/") and "/../" not in prefix
    require(inside or recorded in prefix or ".." in recorded, recorded, "led to", prefix)


def mutate(data: bytes, rng: Random, noise: Noise) -> bytes:
    """A changed state file, or other files next to it."""
    text, *names = split(data)
    kind = rng.randrange(8)
    if kind == 0:
        names.append(rng.choice([b"a", b"a.index", b".index", b"a-00000-of-00001", noise(b"a")]))
    elif kind == 1 and names:
        names[rng.randrange(len(names))] = noise(rng.choice(names))
    elif kind == 2 and names:
        del names[rng.randrange(len(names))]
    else:
        for _ in range(rng.choice([1, 1, 2, 3])):
            text = change_text(text, rng, noise)
    return join([text, *names])


def seeds() -> Iterator[bytes]:
    """State files of the fixtures, with the names next to them."""
    for path in [*find_files("checkpoint"), *find_files("latest")]:
        names = sorted(other.name.encode() for other in path.parent.iterdir() if other != path)
        yield join([path.read_bytes(), *names[:8]])
