"""The bytes of arrays of numbers, as files store them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.tensors.arrays import swap_bytes
from ckptparse.tensors.dtypes import BOOL, number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOW_BITS = {
    number_of(name): bits
    for names, bits in ((("int4", "uint4", "float4_e2m1fn"), 0x0F), (("int2", "uint2"), 0x03))
    for name in names
}
"""Numbers of the dtypes whose elements do not use all bits of their byte -> the used bits."""

IS_LITTLE = sys.byteorder == "little"


def to_octets(array: NDArray[Any], number: int) -> NDArray[np.uint8]:
    """Return the stored bytes of numbers: in row-major order, little-endian, unused bits 0.

    Args:
        array: an array of numbers or booleans, in any layout and byte order.
        number: number of its DataType.
    """
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not IS_LITTLE:
        array = swap_bytes(array)
    octets = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if number == BOOL and octets.size and int(octets.max()) > 1:
        return np.minimum(octets, 1)
    bits = _LOW_BITS.get(number)
    return octets if bits is None else octets & np.uint8(bits)
