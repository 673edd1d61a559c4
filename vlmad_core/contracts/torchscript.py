"""Reads the parameters of a TorchScript archive, the format that OpenAI publishes, without running anything in it.

Such a file is a zip archive with the model's code, a pickle of its modules and one entry a tensor. ``torch.jit.load``
compiles the code. This reader never looks at it as code: the pickle is read by an unpickler that knows tensors, lists
and empty stand-ins for modules, and refuses every other name.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlmad_core.errors import ConfigError

__all__ = ["has_quick_gelu", "is_torchscript", "read_torchscript"]

_LIMIT = 2**36
"""Bytes of all tensors together, uncompressed: more than any published model has."""
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LISTS = {"build_intlist", "build_tensorlist", "build_doublelist", "build_boollist"}


def is_torchscript(path: Path) -> bool:
    """Whether the file is a zip archive with the entry that only TorchScript has."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def has_quick_gelu(path: Path) -> bool:
    """Whether the archive's code, read as text, names quick GELU or holds its constant, ``x * sigmoid(1.702 * x)``."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/code/" in name and name.endswith(".py")]
        return any(mark in archive.read(name) for name in names for mark in (b"QuickGELU", b"1.702"))


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor of the module tree by its dotted name, parameters and buffers alike.

    Raises:
        ConfigError: The archive is damaged, or its pickle names something other than tensors and modules.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (root,) = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
            if sum(entry.file_size for entry in archive.infolist()) > _LIMIT:
                raise ConfigError(f"weights {path}: would need more than {_LIMIT >> 30} GiB; not a published model.")
            with archive.open(f"{root}data.pkl") as file:
                tree = _Reader(file, archive, root).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, OSError, KeyError, ValueError, TypeError, EOFError) as error:
        raise ConfigError(f"weights {path}: a TorchScript archive that cannot be read ({error}).") from error
    found: dict[str, Tensor] = {}
    _collect(tree, "", found)
    return found


class _Module:
    """Stands in for a class of the archive: holds attributes and has no code."""

    def __init__(self, *_: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state if isinstance(state, dict) else {}


class _Reader(pickle.Unpickler):
    """Knows only what a TorchScript module is made of."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch._utils" and name in {"_rebuild_tensor_v2", "_rebuild_parameter"}:
            return _rebuild_tensor if name == "_rebuild_tensor_v2" else _rebuild_parameter
        if module == "torch.jit._pickle" and name in _LISTS:
            return list
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither a tensor nor a module")

    def persistent_load(self, key: Any) -> Tensor:
        _, dtype, name, _, count = key
        name = str(name)
        if name not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}data/{name}"))
            self._storages[name] = torch.frombuffer(data, dtype=dtype, count=int(count)) if data else torch.empty(0)
        return self._storages[name]


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride), default=0) < 0 or (0 not in size and last >= storage.numel()):
        raise pickle.UnpicklingError("a tensor reaches beyond its data")
    return storage.as_strided(size, stride, offset)


def _rebuild_parameter(tensor: Tensor, *_: object) -> Tensor:
    return tensor


def _collect(node: Any, name: str, found: dict[str, Tensor]) -> None:
    if isinstance(node, Tensor):
        found[name] = node
    elif isinstance(node, _Module):
        for key, value in node.state.items():
            _collect(value, f"{name}.{key}" if name else str(key), found)
