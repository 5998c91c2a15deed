"""Convert arrays of other libraries to numpy arrays, and describe them as tensors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptparse.tensors.dtypes import name_of_array
from ckptparse.tensors.info import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_array(value: Any) -> NDArray[Any]:
    """Return an array, or anything that numpy can convert to one, as a numpy array.

    Tensors of PyTorch may require gradients, and may have a dtype of `ml_dtypes`; numpy can convert
    neither.  No data is copied if the library shares its memory.

    Raises:
        TypeError, ValueError, RuntimeError: the value is not an array, or not in this machine's
            memory, such as a tensor on a GPU.
    """
    if isinstance(value, np.ndarray):
        return value
    torch = sys.modules.get("torch")  # a value is of its types only if it is loaded
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(value, torch)
    array = np.asarray(value)
    if array.dtype.kind in "SU" and isinstance(value, (bytes, str, list, tuple)):
        return np.asarray(value, object)  # numpy's own strings lose NULs at their ends
    return array


def _from_torch(tensor: Any, torch: Any) -> NDArray[Any]:
    """Return a tensor of PyTorch as an array over the same memory."""
    tensor = tensor.detach()
    name = str(tensor.dtype).removeprefix("torch.")
    if not name.startswith(("bfloat16", "float8_")):
        return np.asarray(tensor)
    import ml_dtypes

    integer = torch.int16 if tensor.element_size() == 2 else torch.int8
    bits: NDArray[Any] = np.asarray(tensor.view(integer))
    return bits.view(np.dtype(getattr(ml_dtypes, name)))


def describe_array(name: str, value: Any) -> TensorInfo:
    """Return the metadata of an array in memory, or of what `to_array` converts to one."""
    array = to_array(value)
    return TensorInfo(
        name=name,
        dtype=array.dtype,
        tensorflow_dtype=name_of_array(array.dtype),
        shape=array.shape,
        size=array.size,
        nbytes=array.nbytes,
        slices=(),
        mapped=False,
        file=None,
        offset=None,
    )
