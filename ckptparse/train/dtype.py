"""The data types of `ckptparse.train`, with the attributes of `tf.DType`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ckptparse.tensors.dtypes import BOOL, STRING, lookup, numpy_dtype

_ENUM_NAMES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}
"""Name in Python -> name in the enum DataType, if it is not the same in capital letters."""


class DType:
    """A data type of TensorFlow.

    It is equal to the numpy dtype of its arrays and to its own name.  numpy accepts it as a dtype.

    Source: tensorflow/python/framework/dtypes.py, ``DType``.

    Examples:
        >>> import numpy as np
        >>> from ckptparse import train
        >>> reader = train.load_checkpoint("fixtures/tf-1.15.5/vgg_16/model.ckpt")
        >>> dtype = reader.get_variable_to_dtype_map()["vgg_16/mean_rgb"]
        >>> dtype
        tf.float32
        >>> dtype == np.float32, dtype == "float32", dtype.size, dtype.enum_name
        (True, True, 4, 'DT_FLOAT')
        >>> np.zeros(3, dtype).itemsize
        4
    """

    def __init__(self, number: int) -> None:
        """
        Args:
            number: number in TensorFlow's enum DataType.
        """
        self._number = number

    @property
    def as_datatype_enum(self) -> int:
        """The number in TensorFlow's enum DataType.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).as_datatype_enum
            1
        """
        return self._number

    @property
    def name(self) -> str:
        """TensorFlow's name, such as "float32", "string" or "qint8".

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).name
            'float32'
        """
        return lookup(self._number).name

    @property
    def enum_name(self) -> str:
        """The name in TensorFlow's enum DataType, such as "DT_FLOAT".

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).enum_name
            'DT_FLOAT'
        """
        return f"DT_{_ENUM_NAMES.get(self.name, self.name.upper())}"

    @property
    def as_numpy_dtype(self) -> Any:
        """The scalar type of numpy or ml_dtypes, such as `numpy.float32`.

        For a quantized type it is a structured dtype with one field, which has the name of the
        type.  For strings it is `object`.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).as_numpy_dtype
            <class 'numpy.float32'>
        """
        if self.is_quantized:
            return np.dtype([(self.name, numpy_dtype(self._number))])
        return numpy_dtype(self._number).type if self._number != STRING else object

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype.  numpy uses this attribute when it gets a `DType` as a dtype.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).dtype
            dtype('float32')
        """
        dtype: np.dtype[Any] = np.dtype(self.as_numpy_dtype)
        return dtype

    @property
    def base_dtype(self) -> DType:
        """The type itself, because checkpoints have no reference types.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).base_dtype
            tf.float32
        """
        return self

    @property
    def size(self) -> int:
        """Bytes per element on disk; 0 for strings and variants, 1 for resources.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).size, DType(7).size
            (4, 0)
        """
        return lookup(self._number).itemsize or int(lookup(self._number).name == "resource")

    @property
    def is_bool(self) -> bool:
        """Whether the type is bool.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(10).is_bool
            True
        """
        return self._number == BOOL

    @property
    def is_complex(self) -> bool:
        """Whether the type is complex.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(8).is_complex
            True
        """
        return lookup(self._number).kind == "complex"

    @property
    def is_floating(self) -> bool:
        """Whether the type is floating-point; False for complex types.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(1).is_floating, DType(8).is_floating
            (True, False)
        """
        return lookup(self._number).kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether the type is an integer; False for quantized types.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(3).is_integer, DType(11).is_integer
            (True, False)
        """
        return lookup(self._number).kind in ("int", "uint")

    @property
    def is_quantized(self) -> bool:
        """Whether the type is a quantized integer.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(11).is_quantized
            True
        """
        return lookup(self._number).kind == "quantized"

    @property
    def is_unsigned(self) -> bool:
        """Whether the type is an unsigned integer; False for quantized types.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(17).is_unsigned, DType(12).is_unsigned
            (True, False)
        """
        return lookup(self._number).kind == "uint"

    @property
    def is_numpy_compatible(self) -> bool:
        """Whether numpy arrays of the type exist; False for variants and resources.

        Examples:
            >>> from ckptparse.train import DType
            >>> DType(7).is_numpy_compatible, DType(20).is_numpy_compatible
            (True, False)
        """
        return lookup(self._number).itemsize is not None or self._number == STRING

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self._number == other._number
        if isinstance(other, str) and other == self.name:
            return True
        if other is None:  # np.dtype(None) is float64
            return False
        try:
            return bool(np.dtype(other) == self.dtype)  # type: ignore[call-overload]  # any object
        except (TypeError, ValueError):
            return False

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __int__(self) -> int:
        return self._number

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __repr__(self) -> str:
        return f"tf.{self.name}"
