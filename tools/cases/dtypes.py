"""One tensor of each dtype and shape."""

import os
import shutil
import tempfile

from harness import ops, oracle, values

SHAPES = {
    "scalar": (),
    "matrix": (3, 4),
    "empty_0": (0,),
    "empty_0_4": (0, 4),
    "empty_3_0_2": (3, 0, 2),
}


def dtypes():
    """Each dtype that this TensorFlow saves, as scalar, vector, matrix and with zero elements."""
    accepted, errors = savable()
    tensors = {}
    for dtype in accepted:
        tensors[dtype + "/vector"] = (dtype, values.vector(dtype))
        for name, shape in SHAPES.items():
            tensors[dtype + "/" + name] = (dtype, values.array(dtype, shape))
    ops.save_arrays(oracle.PREFIX, tensors)
    oracle.record(errors=errors)


def savable(save_arrays=ops.save_arrays):
    """The dtypes that can be saved, and TensorFlow's words about the others."""
    accepted, errors = [], []
    scratch = tempfile.mkdtemp()
    for dtype in values.DTYPES:
        try:
            save_arrays(os.path.join(scratch, dtype), {"x": (dtype, values.vector(dtype))})
            accepted.append(dtype)
        except Exception as error:
            errors.append(oracle.refusal("save", error, dtype))
    shutil.rmtree(scratch)
    return accepted, errors
