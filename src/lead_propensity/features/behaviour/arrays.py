"""Memory for the large arrays of the kernels."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """As `np.empty`, from Arrow's pool.

    The pool uses freed memory again, and NumPy asks the system for huge pages: to touch an array of half
    a gigabyte for the first time took as long as all the work on it.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    buffer = pa.allocate_buffer(max(size, 1))
    return np.frombuffer(buffer, dtype=np.uint8)[:size].view(dtype).reshape(shape)
