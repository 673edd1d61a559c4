"""What lies in the folder of a data set and is in no sample: nothing is left out without a word. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vlmad_core.contracts.find import search_folder
from vlmad_core.datasets.base import Dataset
from vlmad_core.datasets.tree import LOSSY

__all__ = ["left_out", "lossy_masks"]

_ANNOTATIONS = frozenset({".json", ".xml"})


def left_out(dataset: Dataset, root: Path) -> Iterator[str]:
    """One sentence for each folder whose images are in no sample, and for each kind of file that was passed over.

    Args:
        dataset: As its reader gave it; what its problems name already is not repeated.
        root: Folder that it was read from.
    """
    found = search_folder(root)
    used = {Path(path) for s in dataset for path in (s.image, *s.masks) if isinstance(path, str | Path)}
    used |= {path.resolve() for path in used}  # a sample may be reached by another way, over a link
    named = {problem.partition(": ")[0] for problem in dataset.problems}
    unused: Counter[Path] = Counter()
    for path in found.images:
        if path in used or path.resolve() in used:
            continue
        if str(path) not in named and not any(str(parent) in named for parent in path.parents):
            unused[path.parent] += 1
    for folder, count in sorted(unused.items()):
        images = "1 image that is" if count == 1 else f"{count} images that are"
        yield f"{folder}: holds {images} in no sample, so left out; see which folders the layout reads."
    for item in found.passed_over:
        if item.reason.startswith("hidden"):  # a layout says which folders it reads
            continue
        yield f"{item.path}: is a {item.reason}, so it is left out."
    yield from _annotations(root, dataset)


def _annotations(root: Path, dataset: Dataset) -> Iterator[str]:
    """Polygons and boxes of label tools, which are not read."""
    stems = {(Path(s.image).parent, Path(s.image).stem) for s in dataset if isinstance(s.image, str | Path)}
    folders = {folder for folder, _ in stems}
    beside = [p for folder in sorted(folders) for p in sorted(folder.iterdir()) if p.suffix.lower() in _ANNOTATIONS]
    found = [path for path in beside if (path.parent, path.stem) in stems or "coco" in path.name.lower()]
    found += [path for path in sorted(root.glob("*.json")) if "coco" in path.name or "annotation" in path.name]
    if found:
        count = "1 file" if len(found) == 1 else f"{len(found)} files"
        yield f"{found[0]}: {count} of annotations, as label tools write them, are not read; export masks as PNG."


def lossy_masks(dataset: Dataset) -> Iterator[str]:
    """One sentence where masks are stored with losses, by their endings."""
    masks = [Path(m) for s in dataset for m in s.masks if isinstance(m, str | Path) and Path(m).suffix.lower() in LOSSY]
    if masks:
        count = "1 mask is" if len(masks) == 1 else f"{len(masks)} masks are"
        yield f"{masks[0]}: {count} stored with losses, and cut at half of the highest value; save masks as PNG."
