"""Run one target under atheris, in a separate process, which libFuzzer needs."""

from __future__ import annotations

import pkgutil
import resource
import shlex
import sys
import time
from importlib import import_module
from random import Random

import atheris

from fuzz.fixtures import MOST_NBYTES
from fuzz.targets import Target, load_target
from support.counting import TooManySteps, counted_steps

MOST_STEPS = 10_000_000
"""Of Python code (`counted_steps`), for an input of at most 8 KiB: the worst takes 1.4 million."""
COUNTED_AFTER = 1.0
"""Seconds of processor time after which the steps of an input are counted."""
MOST_SECONDS = 60.0
"""Of processor time, for what is slow in a library written in C and takes few steps."""
MOST_NBYTES_GROWN = 100 << 20
"""Of memory: the contract's, for 1 MB."""

HANGS = 600
"""Seconds after which libFuzzer ends an input."""

_ADDRESS_SPACE = 1 << 30
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss

_NOT_LOADED = (
    "ckptparse.__main__",
    "ckptparse.commands",
    "ckptparse.outputs.remote",
    "ckptparse.sources.remote",
)


def fuzz(name: str, command: list[str], arguments: list[str]) -> None:
    """Run one target until libFuzzer's options say that it is enough; does not return.

    Args:
        name: of the target.
        command: how this process was called, without the arguments: to minimise a corpus, libFuzzer
            hands that and more to a shell.
        arguments: of libFuzzer.
    """
    with atheris.instrument_imports(include=["ckptparse"]):
        _import_all()
        target = load_target(name)
    for data in [next(iter(target.seeds())), b""]:  # what is imported at first need
        target.run(data)
    _limit_address_space()
    options = [f"-max_len={MOST_NBYTES}", "-rss_limit_mb=2048", f"-timeout={HANGS}"]
    atheris.Setup(
        [shlex.join(command), *options, *arguments],
        lambda data: run_limited(target, data),
        custom_mutator=lambda data, most, seed: _mutate(target, data, most, seed),
    )
    atheris.Fuzz()


def run_limited(target: Target, data: bytes) -> None:
    """Run a target on one input; a finding also if it takes too much work or memory.

    A clock only says which inputs are looked at twice: on a busy machine that is no finding.
    """
    started, peak = time.process_time(), _peak_nbytes()
    from fuzz.outcomes import Finding  # imports ckptparse, which must be instrumented first

    target.run(data)
    seconds, grown = time.process_time() - started, _peak_nbytes() - peak
    if seconds > COUNTED_AFTER:
        try:
            with counted_steps(MOST_STEPS):
                target.run(data)
        except TooManySteps as error:
            raise Finding(f"{error}, for {len(data)} bytes") from error
    if seconds > MOST_SECONDS:
        raise Finding(f"{seconds:.0f} s for {len(data)} bytes")
    if grown > MOST_NBYTES_GROWN:
        raise Finding(f"{grown >> 20} MiB for {len(data)} bytes")


def _mutate(target: Target, data: bytes, most: int, seed: int) -> bytes:
    rng = Random(seed)
    if rng.random() < 0.95:
        changed = target.mutate(data, rng, lambda part: atheris.Mutate(part, len(part) + 16))
        if len(changed) <= most:
            return changed
    mutated: bytes = atheris.Mutate(data, most)
    return mutated


def _import_all() -> None:
    import ckptparse

    for module in pkgutil.walk_packages(ckptparse.__path__, "ckptparse."):
        if not module.name.startswith(_NOT_LOADED):
            import_module(module.name)


def _limit_address_space() -> None:
    """Memory that is asked for and never touched counts as well: beyond this it is refused."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (now + _ADDRESS_SPACE, hard))


def _peak_nbytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
