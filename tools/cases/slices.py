"""Tensors stored in slices, written as SaveV2 takes them."""

import numpy as np

from cases.dtypes import savable
from harness import ops, oracle, values

TILINGS = {
    "rows": ["7 4 0,3:-", "7 4 3,4:-"],
    "rows_explicit": ["7 4 0,3:0,4", "7 4 3,4:0,4"],
    "rows_both_ways": ["7 4 0,3:-", "7 4 3,4:0,4"],
    "columns": ["3 6 -:0,1", "3 6 -:1,4", "3 6 -:5,1"],
    "grid": [f"6 5 {i}:{j}" for i in ("0,2", "2,4") for j in ("0,1", "1,1", "2,3")],
    "cube": [
        f"4 3 2 {i}:{j}:{k}" for i in ("0,1", "1,3") for j in ("0,2", "2,1") for k in ("0,1", "1,1")
    ],
    "cube_middle_axis": ["4 3 2 -:0,1:-", "4 3 2 -:1,2:-"],
    "ragged": ["10 4 0,5:-", "10 4 5,5:0,1", "10 4 5,5:1,3"],
    "pinwheel": ["3 3 0,1:0,2", "3 3 0,2:2,1", "3 3 2,1:1,2", "3 3 1,2:0,1", "3 3 1,1:1,1"],
    "one_element_each": ["3 0,1", "3 1,1", "3 2,1"],
    "out_of_order": ["9 2 6,3:-", "9 2 0,2:-", "9 2 4,2:-", "9 2 2,2:-"],
    # A slice of the whole tensor is stored as an ordinary one.
    "whole": ["7 4 -:-"],
    "whole_explicit": ["7 4 0,7:0,4"],
    # Starts and lengths on both sides of where their encoding in the key gets a byte longer.
    "long": ["20000 0,63", "20000 63,1", "20000 64,8127", "20000 8191,1", "20000 8192,11808"],
}


def slices():
    """Tilings: rows, columns, grids, rank 3, ragged, out of order, '-' and explicit full ranges."""
    tensors = {"scalar": ("float32", np.float32(2.5), [""])}
    for seed, (name, specs) in enumerate(TILINGS.items()):
        shape = ops.full_shape(specs[0])
        if name == "long":
            tensors[name] = ("int8", (np.arange(shape[0]) * 7 % 251).astype(np.int8), specs)
        else:
            tensors[name] = ("float32", values.random(shape, seed), specs)
    tensors["zzz/scalar"] = ("int64", np.int64(-3), [""])
    ops.save_slices(oracle.PREFIX, tensors)
    oracle.record(specs=TILINGS)


def slices_dtypes():
    """Each savable dtype in three slices, also those that TensorFlow cannot put together."""
    accepted, errors = savable()
    specs = ["6 3 0,1:-", "6 3 1,3:-", "6 3 4,2:-"]
    ops.save_slices(
        oracle.PREFIX, {dtype: (dtype, values.array(dtype, (6, 3)), specs) for dtype in accepted}
    )
    oracle.record(specs=dict.fromkeys(accepted, specs), errors=errors)


def slices_name_not_utf8():
    """A sliced tensor whose name holds the bytes 00 and ff, which the slices' keys escape."""
    specs = {
        b"nul\x00 and \xff": ["4 3 0,1:-", "4 3 1,3:-"],
        b"\x00\xff\x00\x01": ["4 3 -:0,1", "4 3 -:1,2"],
    }
    tensors = {
        key: ("float32", values.random((4, 3), seed), specs[key]) for seed, key in enumerate(specs)
    }
    ops.save_slices(oracle.PREFIX, tensors)
    oracle.record(specs=specs, written=dict.fromkeys(specs, ("float32", (4, 3))))


def slices_overlapping():
    """Slices that overlap: TensorFlow writes them and refuses to read them."""
    refused(
        {
            "same_count": ["6 2 0,3:-", "6 2 2,3:-"],  # counts add up to the whole, one row missing
            "too_many": ["6 2 0,4:-", "6 2 3,3:-"],
            "whole_and_part": ["6 2 -:-", "6 2 0,3:-"],
        }
    )


def slices_missing():
    """Slices that leave holes: TensorFlow writes them and refuses to read them."""
    refused(
        {
            "first": ["6 2 3,3:-"],
            "middle": ["6 2 0,2:-", "6 2 4,2:-"],
            "last": ["6 2 0,3:-"],
            "one_element": ["6 2 0,5:-", "6 2 5,1:0,1"],
        }
    )


def refused(specs):
    """Save such tensors beside one in good order, which must stay readable."""
    good = {"good": ["6 2 0,3:-", "6 2 3,3:-"]}
    tensors = {
        key: ("float32", values.random((6, 2), seed), key_specs)
        for seed, (key, key_specs) in enumerate(dict(specs, **good).items())
    }
    ops.save_slices(oracle.PREFIX, tensors)
    oracle.record(specs=dict(specs, **good))
