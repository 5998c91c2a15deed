"""Changes to bytes and numbers without regard to their meaning."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Noise = Callable[[bytes], bytes]
"""Changes bytes in some way: of libFuzzer, or `make_noise`'s."""

NUMBERS = [
    *range(36),
    *(2**n + d for n in (7, 8, 14, 16, 20, 21, 28, 31, 32, 35, 40, 53, 62, 63) for d in (-1, 0, 1)),
    *(2**64 - n for n in (1, 2, 3, 128, 2**31, 2**31 + 1)),
    2**64,
    2**70 - 1,
]
"""Values at which code for integers goes wrong; negative ones as 64-bit two's complement."""


def change_number(value: int, rng: Random) -> int:
    """Another number, near or far."""
    if rng.random() < 0.4:
        return max(0, value + rng.choice([-8, -4, -2, -1, 1, 1, 2, 4, 8]))
    if rng.random() < 0.1:
        return value << rng.randrange(1, 40)
    return rng.choice(NUMBERS)


def make_noise(rng: Random) -> Noise:
    """Changes as libFuzzer makes them, without libFuzzer."""

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            start = rng.randrange(len(out) + 1)
            stop = min(len(out), start + rng.choice([1, 1, 2, 4, 8, 16]))
            kind = rng.randrange(6)
            if kind == 0:
                del out[start:stop]
            elif kind == 1:
                out[start:start] = rng.randbytes(rng.choice([1, 1, 2, 4, 8]))
            elif kind == 2:
                out[start:start] = out[start:stop] * rng.choice([1, 1, 2, 8])
            elif kind == 3 and start < len(out):
                out[start] ^= 1 << rng.randrange(8)
            elif kind == 4 and start < len(out):
                out[start] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            elif start < len(out):
                value = rng.choice(NUMBERS) % 2**64
                out[start:stop] = value.to_bytes(8, "little")[: stop - start]
        return bytes(out)

    return change
