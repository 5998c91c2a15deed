"""Changes to messages in text form."""

from __future__ import annotations

from random import Random

from fuzz.noise import Noise

_STRINGS = [
    b'""',
    b'".."',
    b'"../../etc/passwd"',
    b'"/etc/passwd"',
    b'"/elsewhere/a"',
    b'"a"',
    b'"a/"',
    b'"."',
    b'"/"',
    b'"a-?????-of-00001"',
    b'"C:\\\\a"',
    b'"gs://bucket/a"',
    b'"\\000"',
    b'"\\377\\376"',
    b'"\\ud800"',
    b'"\\U0010ffff"',
    b'"\\x"',
    b"'a'",
    b'"a" "b"',
    b'"' + b"a/" * 300 + b'"',
]
_VALUES = [b"-1", b"0", b"1e999", b"-nan", b"inf", b"0x", b"9" * 400, b"1.5f", b"true", b"FOO"]
_PIECES = [
    b"#",
    b"{",
    b"}",
    b"<",
    b">",
    b"[",
    b"]",
    b":",
    b",",
    b";",
    b"\0",
    b"\r",
    b"\xff",
    b"\xef\xbb\xbf",
    b"[type.googleapis.com/a.B] { }",
    b"unknown_field: 1",
    b"unknown { a { b: 1 } }",
    b"1: 2",
]


def change_text(text: bytes, rng: Random, noise: Noise) -> bytes:
    """Change one thing in a text: a line, a word, a value, braces."""
    lines = text.splitlines(keepends=True) or [b""]
    place = rng.randrange(len(lines))
    line = lines[place]
    kind = rng.randrange(9)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        # Lines without an end are one line the next time: 50 * 50 * 50 of them are too many.
        lines[place:place] = [line] * rng.choice([1, 1, 2, 50 if len(line) < 4096 else 1])
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[place], lines[other] = lines[other], line
    elif kind == 3:
        name = line.partition(b":")[0]
        lines[place] = name + b": " + rng.choice([*_STRINGS, *_VALUES]) + b"\n"
    elif kind == 4:
        cut = rng.randrange(len(line) + 1)
        lines[place] = line[:cut] + rng.choice(_PIECES) + line[cut:]
    elif kind == 5:
        depth = rng.choice([1, 2, 100, 1000])
        lines[place] = line.partition(b":")[0] + b"{" * depth + rng.choice([b"", b"}" * depth])
    elif kind == 6:
        names = [each.partition(b":")[0] for each in lines]
        lines[place] = rng.choice(names) + b":" + line.partition(b":")[2]
    elif kind == 7:
        lines[place] = noise(line)
    else:
        return noise(text)
    return b"".join(lines)
