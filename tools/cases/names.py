"""Keys: odd ones, and many."""

import numpy as np

from harness import ops, oracle

ODD = [
    "\x00begins with NUL",
    "\x00",
    " ",
    " leading space",
    "trailing space ",
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a//b",
    "aa",
    "/absolute",
    "../up",
    "back\\slash",
    "braces {x} %s",
    "colon:0",
    "line\nbreak",
    "carriage\rreturn",
    "quote\"s' and `ticks`",
    "tab\tbed",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x7f",
    "\u009b31mC1 control",
    "\u202eright to left",
    "\u00e9",  # in one code point
    "e\u0301",  # in two: another key, though it looks the same
    "\u6f22\u5b57",
    "\U0001f600",
    "l" * 20000 + "/end",
]

NOT_UTF8 = [
    b"\xff\xfe",
    b"caf\xe9",
    b"\x00\xff",
    b"\x80",
    b"\xed\xa0\x80",  # a surrogate as three bytes
    b"\xc0\xaf",  # an overlong "/"
    b"plain",
]


def names():
    """Keys with spaces, quotes, controls and non-ASCII, one of 20,000 bytes, prefixes of others."""
    ops.save_arrays(oracle.PREFIX, numbered(ODD))
    oracle.record()


def names_not_utf8():
    """Keys that are not UTF-8: TensorFlow's Python reader cannot list this checkpoint."""
    tensors = numbered(NOT_UTF8)
    ops.save_arrays(oracle.PREFIX, tensors)
    oracle.record(written={key: (dtype, value.shape) for key, (dtype, value) in tensors.items()})


def many():
    """4,200 scalars in nested scopes: the index has more than one data block."""
    # The number comes early: neighbours share little, and the index grows past 262,144 bytes.
    keys = [
        f"{number:04}/tower/mixed_{number % 7}/branch/convolution/kernel_weights"
        for number in range(4200)
    ]
    ops.save_arrays(oracle.PREFIX, numbered(keys))
    oracle.record()


def numbered(keys):
    """A float32 scalar for each key, every one another value."""
    return {key: ("float32", np.float32(number + 0.5)) for number, key in enumerate(keys)}
