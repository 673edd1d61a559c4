"""Is a data set whole, and as it was published? A problem is one sentence: file or folder, what is wrong, what to do.

The quick half looks at names and counts, without torch; the other opens every image and mask, and compares the
contents of the splits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.left_out import lossy_masks
from vlmad_core.datasets.masks import MaskFacts, describe_mask
from vlmad_core.datasets.tree import LOSSY
from vlmad_core.errors import ImageError

if TYPE_CHECKING:
    from vlmad_core.contracts.images import ImageLike

__all__ = ["check"]

_MUCH, _FEW = 0.5, 3


def check(
    dataset: Dataset,
    *,
    fast: bool = False,
    bits: int | str | None = None,
    workers: int = 4,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Everything that is wrong with a data set; nothing is changed.

    Args:
        dataset: As it was read.
        fast: Look at names, counts and sizes of files, and open none.
        bits: Of the values in 16-bit grey files, or a window and channels, as the detector will have it; None: what
            the file says, or 16.
        workers: Threads that open files.
        progress: Called with 1 after each image.

    Returns:
        One sentence a problem: first those of the whole, then those of images in the order of the samples, then
        images that are in several places.
    """
    lossy = (text for text in lossy_masks(dataset) if text not in dataset.problems)
    problems = [*dataset.problems, *lossy, *_counts(dataset), *_masks_missing(dataset)]
    hashes: dict[str, list[Sample]] = {}
    shares: list[float] = []
    look = _look_quickly if fast else partial(_look, bits=bits)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="vlmad-check") as pool:
        try:
            for sample, seen in zip(dataset, pool.map(look, dataset), strict=True):
                problems += seen.problems
                shares += seen.shares
                if seen.content:
                    hashes.setdefault(seen.content, []).append(sample)
                if progress is not None:
                    progress(1)
        finally:
            pool.shutdown(cancel_futures=True)
    problems += [*_negatives(dataset, shares), *_pages(dataset, problems)]
    return [*problems, *(sentence for same in hashes.values() for sentence in _twins(same))]


def _negatives(dataset: Dataset, shares: Sequence[float]) -> Iterator[str]:
    """Masks that are white where nothing is wrong."""
    large = sum(share > _MUCH for share in shares)
    if large > len(shares) / 2 and (large >= _FEW or large == len(shares)):
        yield (
            f"{dataset.root or dataset.name}: {large} of {len(shares)} masks mark more than half of their image; if "
            "they are white where nothing is wrong, save their negatives."
        )


def _pages(dataset: Dataset, problems: Sequence[str]) -> Iterator[str]:
    """How many pages are never judged, where several files hold more than one."""
    from vlmad_core.contracts.pixels import pages_left_out, pages_message

    left_out = [pages for text in problems if (pages := pages_left_out(text))]
    if len(left_out) > 1:
        yield f"{dataset.root or dataset.name}: {pages_message(len(left_out), sum(left_out))}"


def _counts(dataset: Dataset) -> Iterator[str]:
    """Categories and counts that differ from the published ones."""
    facts = dataset.facts
    if facts is None or not facts.counts:
        return
    where, found = dataset.root or dataset.name, dataset.count()
    single = dataset.root is not None and dataset.categories == (dataset.root.resolve().name,)
    for category, cells in facts.counts.items():
        if category not in found:
            if not single:
                yield f"{where}: category {category} is missing; {facts.title} has it, see {facts.home}."
            continue
        for cell, published in cells.items():
            number = sum(n for name, n in found[category].items() if cell in ("all", name, *name.split("/")))
            if number != published:
                todo = "unpack it again" if number < published else "remove what was added"
                yield f"{where}: {category} has {number} images in {cell}, published are {published}; {todo}."
    for category in found.keys() - facts.counts.keys():
        yield f"{where}: {category} is no category of {facts.title}; read it with another --layout, or move it away."


def _masks_missing(dataset: Dataset) -> Iterator[str]:
    """Defective images without a mask, where the others have one."""
    expected = dataset.facts.has_masks if dataset.facts else any(sample.masks for sample in dataset)
    if expected:
        for sample in dataset:
            if sample.label and not sample.masks:
                yield f"{_name(sample.image)}: is defective and has no mask; add one, or it counts for images alone."


@dataclass(frozen=True)
class _Seen:
    problems: tuple[str, ...]
    content: str = ""
    shares: tuple[float, ...] = ()


def _look_quickly(sample: Sample) -> _Seen:
    """Without opening a file."""
    return _Seen(tuple(text for source in (sample.image, *sample.masks) if (text := _absent(source))))


def _absent(source: ImageLike) -> str:
    if not isinstance(source, str | Path):
        return ""
    path = Path(source)
    if not path.is_file():
        return f"{path}: no such file; copy it there, or unpack the data set again."
    return f"{path}: the file is empty; copy it again." if path.stat().st_size == 0 else ""


def _look(sample: Sample, bits: int | str | None = None) -> _Seen:
    """With the image and its masks opened."""
    from vlmad_core.contracts.decode import decode

    problems: list[str] = []
    size, content, name = None, "", _name(sample.image)
    if text := _absent(sample.image):
        problems.append(text)
    else:
        try:
            decoded = decode(sample.image, smallest=(1, 1), bits=bits, digest=True)
            size, content = decoded.size, decoded.sha256
            problems += decoded.notes
        except ImageError as error:
            problems.append(f"{_after(error)} Copy it again, or leave it out.")
    seen: list[MaskFacts] = []
    for mask in sample.masks:
        if text := _absent(mask):
            problems.append(text)
            continue
        try:
            seen.append(describe_mask(mask))
        except ImageError as error:
            problems.append(f"{_after(error)} Copy it again.")
            continue
        problems += _mask_problems(mask, seen[-1], size, name)
    first, marked = _name(sample.masks[0], "mask") if sample.masks else "", any(mask.any for mask in seen)
    if sample.label and not marked and len(seen) == len(sample.masks) > 0:
        problems.append(f"{first}: is all zero, but {name} is defective; mark the defect, or move the image.")
    if sample.label is False and marked:
        problems.append(f"{first}: marks a defect, but {name} is normal; one of the two is wrong.")
    shares = tuple(mask.share for mask in seen) if sample.label else ()
    return _Seen(tuple(problems), content, shares)


def _mask_problems(mask: ImageLike, found: MaskFacts, wanted: tuple[int, int] | None, image: str) -> Iterator[str]:
    name = _name(mask, "mask")
    if wanted is not None and found.size != wanted:
        (height, width), (rows, columns) = found.size, wanted
        yield f"{name}: is {width} x {height} pixels, but {image} is {columns} x {rows}; make it the same size."
    if found.coloured:
        yield f"{name}: is a picture in colour and not a mask; save it in grey, 0 where nothing is defective."
    is_lossy = isinstance(mask, str | Path) and Path(mask).suffix.lower() in LOSSY  # counted for all at once
    if found.grey_values and not is_lossy:
        yield (
            f"{name}: has {found.grey_values} grey values, not two, so it is cut at half of the highest; save it "
            "with 0 and 255 alone."
        )
    if found.pages:
        yield f"{name}: holds several pages or frames, and the first alone is read; save each as a file."


def _twins(same: list[Sample]) -> Iterator[str]:
    """One sentence for each file that is the same as an earlier one in another split, or with another label."""
    for i, sample in enumerate(same):
        for other in same[:i]:
            if sample.split != other.split:
                yield (
                    f"{_name(sample.image)}: is the same picture as {_name(other.image)}, so {sample.split} repeats "
                    f"{other.split}; remove one of them."
                )
                break
            if sample.label != other.label:
                yield (
                    f"{_name(sample.image)}: is the same picture as {_name(other.image)}, which has another label; "
                    "remove one of them."
                )
                break


def _name(source: ImageLike, what: str = "picture") -> str:
    return str(source) if isinstance(source, str | Path) else f"a {what} in memory"


def _after(error: ImageError) -> str:
    return str(error).rstrip(".") + "."
