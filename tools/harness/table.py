"""A small encoder of table files (`.index`), independent of ckptparse.

A table consists of data blocks, an empty metaindex block, the index block and a footer of 48 bytes.
A block consists of entries, whose keys share prefixes, and of restarts: the offsets of the entries
that share nothing.
"""

import struct

MAGIC = 0xDB4775248B80FB57


def crc32c(data, crc=0):
    """Return the CRC-32C of `data`, continued from `crc`."""
    crc ^= 0xFFFFFFFF
    for byte in bytearray(data):
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def crc_table():
    """Return the CRC of each byte (Castagnoli's polynomial, reflected)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = crc_table()


def masked(crc):
    """Mask a checksum, as every stored checksum is."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    """Encode a number in groups of 7 bits, the lowest first."""
    result = bytearray()
    while number >= 0x80:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def encode_block(entries, restart_interval):
    """Encode (key, value) entries as the contents of a block."""
    result, restarts, previous = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_interval == 0:
            restarts.append(len(result))
        else:
            while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
                shared += 1
        result += varint(shared) + varint(len(key) - shared) + varint(len(value))
        result += key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(result) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def encode_table(entries, restart_interval=16, compress=None, compress_index=None, num_blocks=1):
    """Encode sorted (key, value) entries as a table.

    compress, compress_index: functions that compress the data blocks and the index block with raw
    snappy; if a function returns None, the block is not compressed.
    """
    result, handles = bytearray(), []

    def append(contents, compressor=None):
        """Append a block with its trailer; return its handle."""
        compressed = compressor(contents) if compressor else None
        stored = contents + b"\x00" if compressed is None else compressed + b"\x01"
        handle = varint(len(result)) + varint(len(stored) - 1)
        result.extend(stored + struct.pack("<I", masked(crc32c(stored))))
        return handle

    per_block = -(-len(entries) // num_blocks)
    for start in range(0, len(entries), per_block):
        block = entries[start : start + per_block]
        # A separator may be the last key of its block, or any key below the next block's first.
        handles.append((block[-1][0], append(encode_block(block, restart_interval), compress)))
    metaindex = append(encode_block([], 16))
    index = append(encode_block(handles, 1), compress_index)
    footer = (metaindex + index).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return bytes(result) + footer


def decode_table(data):
    """Return the (key, value) entries of an uncompressed table of TensorFlow."""
    entries = []
    for start, length in decode_handles(data):
        entries.extend(decode_block(data[start : start + length]))
    return entries


def block_starts(data):
    """Return the offset of each data block of a table."""
    return [start for start, _ in decode_handles(data)]


def decode_handles(data):
    """Yield (start, length) of each data block of a table."""
    pos = len(data) - 48
    _, pos = read_varint(data, pos)
    _, pos = read_varint(data, pos)
    offset, pos = read_varint(data, pos)
    size, pos = read_varint(data, pos)
    for _, handle in decode_block(data[offset : offset + size]):
        start, pos = read_varint(handle, 0)
        length, _ = read_varint(handle, pos)
        yield start, length


def decode_block(contents):
    """Return the (key, value) entries in the contents of a block."""
    num_restarts = struct.unpack("<I", contents[-4:])[0]
    stop = len(contents) - 4 - 4 * num_restarts
    pos, key, entries = 0, b"", []
    while pos < stop:
        shared, pos = read_varint(contents, pos)
        non_shared, pos = read_varint(contents, pos)
        length, pos = read_varint(contents, pos)
        key = key[:shared] + contents[pos : pos + non_shared]
        pos += non_shared
        entries.append((key, contents[pos : pos + length]))
        pos += length
    return entries


def read_varint(data, pos):
    """Return the number at `pos`, and the position after it."""
    number = shift = 0
    while True:
        byte = data[pos]
        number |= (byte & 0x7F) << shift
        pos += 1
        shift += 7
        if byte < 0x80:
            return number, pos
