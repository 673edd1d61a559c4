"""One condition from images to numbers: scores, decisions, and how well the maps agree with the masks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmad_core.metrics import pixel_metrics
from vlmad_robustness.corruptions import CORRUPTIONS, Corruption, Pixels, hue, rotation, saturation
from vlmad_robustness.data import Images
from vlmad_robustness.lighting import LIGHTING
from vlmad_robustness.plan import WORST, Cell
from vlmad_robustness.subject import Judged, Subject

__all__ = ["Measured", "corrupted", "measure", "worst_values", "worst_view"]

_CORRUPTIONS = {corruption.name: corruption for corruption in (*CORRUPTIONS, *LIGHTING)}
_VIEWS: dict[str, Callable[[Pixels, float, np.random.Generator], Pixels]] = {
    "rotation": rotation,
    "hue": hue,
    "saturation": saturation,
}


@dataclass(frozen=True)
class Measured:
    """A finished condition, as a line of ``cells.jsonl``.

    Args:
        cell: Its id.
        images: Which of the test images, in the order of the scores.
        scores: Of these.
        alarms: Whether the verdict on each is an alarm.
        above: Whether the score of each is above the threshold; ``not this part`` is an alarm at any score.
        seconds: That it took.
        pixel_auroc: Of the maps; None where not all defects have masks, or where pixels do not correspond.
        aupro: Likewise, up to a false-positive rate of 0.3.
        more: What only some conditions have: ``trace`` of an attack, ``values`` of the worst views.
    """

    cell: str
    images: list[int]
    scores: list[float]
    alarms: list[bool]
    above: list[bool]
    seconds: float = 0.0
    pixel_auroc: float | None = None
    aupro: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Any) -> Self | None:
        """From a line, or None."""
        try:
            made = cls(**record)
        except TypeError:
            return None
        lengths = {len(column) for column in (made.images, made.scores, made.alarms, made.above)}
        return made if len(lengths) == 1 else None


def measure(subject: Subject, cell: Cell, images: Images, indices: Sequence[int]) -> Measured:
    """Judge the images under a condition of kind ``clean``, ``corruption`` or ``worst``."""
    chosen = images.select(indices)
    if cell.kind == "worst":
        return _worst(subject, cell, chosen, indices)
    corruption = _CORRUPTIONS[cell.name] if cell.kind == "corruption" else None
    level = cell.level
    pictures = (
        picture if corruption is None else corrupted(corruption, picture, level, i)
        for i, picture in zip(indices, chosen.pictures, strict=True)
    )
    sources: Iterator[Any] = iter(chosen.paths) if cell.name == "as given" else pictures
    judged = list(subject.judge(sources))
    masks = [
        mask if mask is None or corruption is None or not corruption.moves else _moved(corruption, mask, level, i)
        for i, mask in zip(indices, chosen.masks, strict=True)
    ]
    auroc, aupro = pixel_numbers(judged, masks) if chosen.has_masks else (None, None)
    return Measured(
        cell.id,
        list(indices),
        [one.score for one in judged],
        [one.alarm for one in judged],
        [one.above for one in judged],
        pixel_auroc=auroc,
        aupro=aupro,
    )


def corrupted(corruption: Corruption, picture: NDArray[np.uint8], severity: int, index: int) -> NDArray[np.uint8]:
    """An image under a corruption, 8 bits; the same for the same index."""
    changed = corruption(_pixels(picture), severity, _generator(corruption.name, severity, index))
    return (changed * 255).round().astype(np.uint8)


def worst_view(name: str, picture: NDArray[np.uint8], value: float) -> NDArray[np.uint8]:
    """An image turned, or with another hue or saturation."""
    changed = _VIEWS[name](_pixels(picture), value, np.random.default_rng(0))
    return (changed * 255).round().astype(np.uint8)


def worst_values(name: str) -> tuple[float, ...]:
    """What is tried on each image, beside the image as it is."""
    return tuple(WORST[name])


def _worst(subject: Subject, cell: Cell, chosen: Images, indices: Sequence[int]) -> Measured:
    """For each image the view that hurts most: the highest score of a normal one, the lowest of a defective one."""
    views: list[tuple[float | None, list[Judged]]] = [(None, list(subject.judge(iter(chosen.pictures))))]
    for value in worst_values(cell.name):
        pictures = (worst_view(cell.name, picture, value) for picture in chosen.pictures)
        views.append((value, list(subject.judge(pictures))))  # the generator is used up at once
    judged: list[Judged] = []
    values: list[float | None] = []
    masks: list[NDArray[np.bool_] | None] = []
    for i, (label, mask) in enumerate(zip(chosen.labels, chosen.masks, strict=True)):
        choose = min if label else max
        found, worst = choose(((value, row[i]) for value, row in views), key=lambda pair: pair[1].score)
        judged.append(worst)
        values.append(found)
        if mask is None or found is None or cell.name != "rotation":
            masks.append(mask)
        else:
            turned = rotation(_plane(mask), found, np.random.default_rng(0))
            masks.append(turned[..., 0] > 0.5)
    auroc, aupro = pixel_numbers(judged, masks) if chosen.has_masks else (None, None)
    return Measured(
        cell.id,
        list(indices),
        [one.score for one in judged],
        [one.alarm for one in judged],
        [one.above for one in judged],
        pixel_auroc=auroc,
        aupro=aupro,
        more={"values": values},
    )


def pixel_numbers(
    judged: Sequence[Judged], masks: Sequence[NDArray[np.bool_] | None]
) -> tuple[float | None, float | None]:
    """Pixel AUROC and AUPRO (0.3) at the size of the detector's maps; None where no defective pixel is left."""
    maps, truths = [], []
    for one, mask in zip(judged, masks, strict=True):
        raw = one.prediction.raw_map
        maps.append(raw)
        truths.append(None if mask is None else _resized(mask, (raw.shape[0], raw.shape[1])))
    if not any(truth is not None and truth.any() for truth in truths):
        return None, None
    metrics = pixel_metrics(maps, truths, limits=(0.3,))
    return metrics.auroc, next(iter(metrics.aupro.values()))


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)) > 127


def _moved(corruption: Corruption, mask: NDArray[np.bool_], severity: int, index: int) -> NDArray[np.bool_]:
    moved = corruption(_plane(mask), severity, _generator(corruption.name, severity, index))
    return moved[..., 0] > 0.5


def _pixels(picture: NDArray[np.uint8]) -> Pixels:
    return np.divide(picture, 255, dtype=np.float32)


def _plane(mask: NDArray[np.bool_]) -> Pixels:
    """A mask as an image with one channel."""
    plane: Pixels = mask[..., None].astype(np.float32)
    return plane


def _generator(name: str, severity: int, index: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), severity, index])
