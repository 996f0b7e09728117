"""Hides the format that PyTorch saved weights in before 1.6: read as data, without torch.

Law: nothing of the file is ever run. Its pickle may name tensors, storages and ordered dicts, and
anything else is refused. Format: torch.serialization._legacy_save.
"""

import collections
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from omni.errors import AssetError

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_DTYPES: Final = {"FloatStorage": np.float32, "LongStorage": np.int64}

Tensor = NDArray[Any]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a saved state dict by name.

    Raises:
        AssetError: not such a file.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, ValueError, KeyError, TypeError, struct.error, EOFError) as e:
        raise AssetError(f"{path.name} is no saved state dict: {e}", param=path.name) from e


def _read(file: IO[bytes]) -> dict[str, Tensor]:
    if _Reader(file).load() != _MAGIC:
        raise ValueError("another magic number")
    for _ in range(2):  # version, and a description of the machine it was saved on
        _Reader(file).load()
    reader = _Reader(file)
    state: dict[str, _Pending] = reader.load()
    storages: dict[str, Tensor] = {}
    for key in _Reader(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        dtype = np.dtype(reader.dtypes[key])
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: pending.tensor(storages) for name, pending in state.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A tensor whose storage follows later in the file; strides count elements."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def tensor(self, storages: dict[str, Tensor]) -> Tensor:
        storage = storages[self.key]
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0 or last >= len(storage):
            raise ValueError("a tensor that reaches beyond its storage")
        strides_bytes = [stride * storage.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, strides_bytes)
        return np.ascontiguousarray(view).reshape(self.shape)


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.dtypes: dict[str, type[np.generic]] = {}

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "torch._utils", "_rebuild_tensor_v2":
                return _rebuild
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch", _ if name in _DTYPES:
                return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, *_ = pid
        self.dtypes[key] = dtype
        return str(key)


def _rebuild(
    key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Pending:
    return _Pending(key, offset, shape, strides)
