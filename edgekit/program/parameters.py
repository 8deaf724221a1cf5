"""The combined parameter file (`.pdiparams`): tensors one after another, in the order of their names.

Each tensor is: uint32 version 0, uint64 LoD levels 0, uint32 version 0, int32 length of a
`VarType.TensorDesc` protobuf, that protobuf, raw little-endian data (Paddle 2.6, `SerializeToStream`
of a dense tensor). Read with bounds checks: the file comes from a user or a network.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from edgekit.errors import EdgekitError
from edgekit.program.proto import pb

Array = npt.NDArray[np.generic]

_DTYPES: dict[int, type[np.generic]] = {
    pb.VarType.FP32: np.float32,
    pb.VarType.FP64: np.float64,
    pb.VarType.FP16: np.float16,
    pb.VarType.INT8: np.int8,
    pb.VarType.UINT8: np.uint8,
    pb.VarType.INT16: np.int16,
    pb.VarType.INT32: np.int32,
    pb.VarType.INT64: np.int64,
    pb.VarType.BOOL: np.bool_,
}
_CODES = {np.dtype(kind): code for code, kind in _DTYPES.items()}


def dtype_code(dtype: npt.DTypeLike) -> int:
    """The `VarType` number of a numpy dtype."""
    return _CODES[np.dtype(dtype)]


def numpy_dtype(code: int) -> np.dtype[np.generic]:
    return np.dtype(_DTYPES[code])


def read(path: Path, names: list[str]) -> dict[str, Array]:
    """Tensors of a combined file, `names` in the order in which they were saved.

    Raises EK404 when the file is truncated, damaged, or does not hold exactly these tensors.
    """
    data = memoryview(path.read_bytes())
    position = 0

    def take(count: int, what: str) -> memoryview:
        nonlocal position
        if count < 0 or position + count > len(data):
            raise EdgekitError(
                "EK404",
                f"{path} is truncated or damaged: {what} of tensor {len(tensors) + 1} of {len(names)} "
                f"({names[len(tensors)]}) needs {count} bytes at offset {position}, the file has "
                f"{len(data)}. Fetch or export it again.",
            )
        position += count
        return data[position - count : position]

    tensors: dict[str, Array] = {}
    for name in names:
        head = struct.unpack("<IQI", take(16, "the header"))
        if head != (0, 0, 0):
            raise EdgekitError(
                "EK404", f"{path} is not a Paddle parameter file, or is damaged at offset {position - 16}."
            )
        (length,) = struct.unpack("<i", take(4, "the header"))
        desc = pb.VarType.TensorDesc()
        try:
            desc.ParseFromString(bytes(take(length, "the description")))
            dtype = numpy_dtype(desc.data_type)
        except (KeyError, ValueError, DecodeError) as error:
            raise EdgekitError("EK404", f"{path}: the description of {name} is damaged ({error}).") from error
        dims = list(desc.dims)
        if any(d < 0 for d in dims):
            raise EdgekitError("EK404", f"{path}: {name} has the impossible shape {dims}.")
        count = int(np.prod(dims, dtype=object)) if dims else 1
        raw = take(count * dtype.itemsize, "the data")
        try:
            tensors[name] = np.frombuffer(raw, dtype).reshape(dims).copy()
        except ValueError as error:  # more dimensions, or a larger empty array, than numpy has
            raise EdgekitError("EK404", f"{path}: {name} has the impossible shape {dims}.") from error
    if position != len(data):
        raise EdgekitError(
            "EK404",
            f"{path} holds {len(data) - position} bytes more than the program's {len(names)} parameters: "
            "program and parameters do not belong together.",
        )
    return tensors


def write(path: Path, tensors: dict[str, Array]) -> None:
    """Write in the order of the names, which is the order Paddle loads them in."""
    with path.open("wb") as file:
        for name in sorted(tensors):
            value = np.ascontiguousarray(tensors[name])
            desc = pb.VarType.TensorDesc()
            desc.data_type = dtype_code(value.dtype)
            desc.dims.extend(tensors[name].shape)
            encoded = desc.SerializeToString()
            file.write(struct.pack("<IQIi", 0, 0, 0, len(encoded)))
            file.write(encoded)
            file.write(value.tobytes())
