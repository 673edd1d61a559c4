"""From a folder or a file to a data set: by the layout that is named, or by the one that fits. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlmad_core.datasets.base import Dataset, DatasetReader, LayoutMatch
from vlmad_core.datasets.left_out import left_out, lossy_masks
from vlmad_core.datasets.tree import folders_in
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.registry.registry import Entry, Registry, default_registry
from vlmad_core.registry.validate import validate

__all__ = ["find_layout", "read_dataset", "reader_of"]

_SHOWN = 8


def read_dataset(
    root: str | Path,
    layout: str = "auto",
    *,
    config: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Dataset:
    """Read a data set. Files are listed, hardly any is opened, nothing is downloaded.

    Args:
        root: Its folder, or a manifest.
        layout: Name of a layout, short or ``distribution:name``; ``"auto"``: the one that fits best.
        config: Options of the layout; see ``vlmad show LAYOUT``.
        registry: Where to look; the installed plugins by default.

    Raises:
        UnknownComponentError: A layout that nobody offers.
        ConfigError: No layout fits, or more than one; an option that does not exist; nothing to read, or not one image
            in it.

    >>> read_dataset("data/mvtec", "mvtec-ad").select(category="bottle", split="train")  # doctest: +SKIP
    """
    root, registry = Path(root), registry or default_registry()
    if layout == "auto":
        layout = find_layout(root, registry)
    reader = reader_of(registry.get("dataset", layout), config)
    dataset = reader.read(root)
    if reader.complete and root.is_dir():
        dataset = replace(dataset, problems=(*dataset.problems, *left_out(dataset, root)))
    dataset = replace(dataset, problems=(*dataset.problems, *lossy_masks(dataset)))
    if not dataset.samples:
        found = "".join(f"\n  {problem}" for problem in dataset.problems[:_SHOWN])
        rest = f"\n  and {len(dataset.problems) - _SHOWN} more" if len(dataset.problems) > _SHOWN else ""
        raise ConfigError(f"{root}: no image was read as {layout}; it should be {reader.tree}.{found}{rest}")
    return dataset


def reader_of(entry: Entry, config: Mapping[str, Any] | None = None) -> DatasetReader:
    """The reader of an entry, with its options checked.

    Raises:
        UnknownComponentError: It cannot be imported.
        ConfigError: An option that does not exist or does not fit, or a target that is no reader.
    """
    options = validate(entry.component.config, config or {}, "config", entry.name)
    reader = entry.load()(options)
    if not isinstance(reader, DatasetReader):
        raise ConfigError(f"dataset '{entry.full_name}': its target must make a Reader, got {type(reader).__name__}.")
    return reader


def find_layout(root: Path, registry: Registry) -> str:
    """The full name of the layout that fits best; a reader that fails is passed over, and told where nothing fits.

    Raises:
        ConfigError: None, or several equally well; the text lists what was looked for.
    """
    readers: dict[str, DatasetReader] = {}
    fits: dict[str, LayoutMatch] = {}
    failed: list[str] = []
    for entry in registry.entries("dataset"):
        try:
            reader = reader_of(entry)
            fits[entry.full_name] = reader.fits(root)
        except Exception as error:  # somebody's plugin; the others can still be asked
            known = isinstance(error, VlmadError)
            failed.append(str(error) if known else f"{entry.full_name} failed: {type(error).__name__}: {error}")
        else:
            readers[entry.full_name] = reader
    best = max(fits.values(), default=LayoutMatch.NO)
    found = [name for name, fit in fits.items() if fit == best]
    if best is LayoutMatch.NO:
        if not root.exists():
            raise ConfigError(f"{root}: no such file or folder.")
        looked = [f"{name.partition(':')[2]}: {reader.tree}" for name, reader in readers.items()]
        lines = "".join(f"\n  {line}" for line in [*looked, *failed])
        raise ConfigError(f"{root}: no layout fits.{_below(root, readers.values())} Looked for:{lines}")
    if len(found) > 1:
        raise ConfigError(f"{root}: fits more than one layout; say which with --layout: {', '.join(found)}.")
    return found[0]


def _below(root: Path, readers: Iterable[DatasetReader]) -> str:
    """People unpack one folder too high."""
    for folder in folders_in(root)[:20]:
        try:
            if any(reader.fits(folder) > LayoutMatch.NO for reader in readers):
                return f" Did you mean {folder}?"
        except OSError:  # a folder that may not be read is no hint
            continue
    return ""
