"""String tensors."""

import numpy as np

from harness import ops, oracle, values

# Around the steps of the varint that holds the length, and one longer than any read-ahead.
LENGTHS = [1, 127, 128, 300, 16383, 16384, 20000]


def strings():
    """Strings of many lengths, with NULs and invalid UTF-8, in several shapes, empty ones too."""
    texts = values.strings(values.STRINGS)
    arrays = {
        "scalar": np.array(b"a scalar", dtype=object),
        "scalar_empty": np.array(b"", dtype=object),
        "vector": texts,
        "matrix": texts.reshape(2, 3),
        "cube": texts.reshape(3, 1, 2),
        "empty_strings": values.strings([b""] * 200),
        "zero_elements": np.empty((0,), dtype=object),
        "zero_elements_0_4": np.empty((0, 4), dtype=object),
        "lengths": values.strings([pattern(length) for length in LENGTHS]),
        "every_byte": values.strings([bytes(bytearray([byte])) for byte in range(256)]),
    }
    ops.save_arrays(oracle.PREFIX, {key: ("string", array) for key, array in arrays.items()})
    oracle.record()


def pattern(length):
    """Bytes of all values, in an order that depends on the length."""
    return bytes(bytearray((7 * i + length) % 251 for i in range(length)))
