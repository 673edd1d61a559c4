"""One training picture from a seed, with its mask and sentences; and many of them, in order, on several processes.

The mask marks what one can see: the picture is developed with and without its defect by the same camera, and what
differs by more than a just visible amount is set. A defect that nobody could see is made stronger and taken again.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pictures import captions, defects, layouts, materials
from pictures.camera import Camera
from pictures.defects import Kind
from pictures.noise import Array, Rng, between, blend, grid, smooth
from pictures.scene import Scene, compose

DRAWN: Final = "drawn"  # the default of `kind`: normal half of the time
NORMAL_SHARE = 0.5
LARGEST = 0.42  # a mask beyond this share of the picture says too little about where


@dataclass(frozen=True)
class Sample:
    """A picture with all that is known about it.

    `image` uint8 [S, S, 3], `mask` bool [S, S], all False when `kind` is None. `thing` is the noun phrase to use as
    class name, `caption` a sentence about this picture, `normal` and `abnormal` sentences about the thing in either
    state. `place` and `extent` are words, empty for a normal picture.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    material: str
    thing: str
    layout: str
    kind: str | None
    place: str
    extent: str
    caption: str
    normal: str
    abnormal: str


def make(seed: int, *, size: int = 224, kind: str | None = DRAWN, material: str | None = None) -> Sample:
    """The picture of a seed; the same arguments always give the same picture.

    Args:
        seed: any integer from 0.
        size: side S in pixels.
        kind: a name of `defects.BY_NAME` to force that kind, None to force a normal picture.
        material: a name of `materials.BY_NAME` to force that material.

    Raises:
        KeyError: `kind` or `material` is no such name.
    """
    rng = np.random.default_rng([seed, 7])
    forced = defects.BY_NAME[kind] if kind not in (None, DRAWN) else None
    is_normal = kind is None or (kind == DRAWN and rng.random() < NORMAL_SHARE)
    scene, wanted = prepare(rng, size, forced, material)
    before, where = compose(scene)
    camera = Camera.draw(rng, size)
    clean = camera.develop(before)
    mask = np.zeros((size, size), np.bool_)
    picture, count = clean, 0
    if not is_normal:
        picture, mask, count, wanted = damage(rng, scene, before, where, clean, camera, wanted)
    name = None if is_normal else wanted.name
    place, extent = captions.place_of(mask.astype(np.float32)), captions.extent_of(mask.astype(np.float32))
    words = scene.material.words
    sentence = captions.caption(rng, scene.thing, words, name, place, extent, count)
    good, bad = captions.pair(rng, scene.thing, words, name)
    image = camera.finish(rng, picture)
    return Sample(image, mask, scene.material.name, scene.thing, scene.layout, name, place, extent, sentence, good, bad)


def prepare(rng: Rng, size: int, forced: Kind | None, material: str | None) -> tuple[Scene, Kind]:
    """A scene, and a kind of defect that can happen in it (the forced one, if any)."""
    names = list(layouts.LAYOUTS)
    shares = np.array([share for _, share in layouts.LAYOUTS.values()])
    for _ in range(60):
        stuff = materials.BY_NAME[material] if material else materials.ALL[int(rng.integers(len(materials.ALL)))]
        if forced and forced.traits and not material and not forced.traits & stuff.traits:
            continue
        layout = str(rng.choice(names, p=shares / shares.sum()))
        if forced and not possible(forced, layout):
            continue
        scene = layouts.LAYOUTS[layout][0](rng, size, stuff)
        fitting = [one for one in defects.KINDS if one.fits(scene)]
        if forced is not None:
            if forced not in fitting:
                continue
            return scene, forced
        weights = np.array([one.weight for one in fitting])
        return scene, fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
    raise ValueError(f"kind {forced.name if forced else None!r} never fits material {material!r}; try another material")


def possible(kind: Kind, layout: str) -> bool:
    """Whether a layout can have what a kind needs; saves drawing scenes only to reject them."""
    have = {
        "items": layout not in ("texture", "seam", "printed"),
        "bordered": layout in ("single", "array", "close-up", "assembly"),
        "many": layout in ("array", "cells", "bars", "assembly"),
        "regular": layout in ("cells", "bars"),
        "print": layout in ("single", "printed"),
    }
    return all(have.get(flag, True) for flag in kind.flags)


def damage(
    rng: Rng, scene: Scene, before: Array, where: Array, clean: Array, camera: Camera, kind: Kind
) -> tuple[Array, npt.NDArray[np.bool_], int, Kind]:
    """Make the defect visible: the developed picture, its mask, how many defects were made and of which kind."""
    size = len(before)
    power, span = rng.uniform(0, 1) ** 1.3, between(rng, 0.05, 0.6)
    count = 1 if kind.edit else int(rng.choice([1, 2, 3, 4], p=[0.7, 0.17, 0.08, 0.05]))
    for _ in range(6):
        after = apply(rng, scene, before, where, kind, power, span, count)
        picture = camera.develop(np.clip(after, 0, 1.3))
        mask = visible(clean, picture, camera.threshold())
        share = float(mask.mean())
        if 12 / 224**2 <= share <= LARGEST:
            return picture, mask, count, kind
        if share > LARGEST:
            span, count = span * 0.5, 1
        else:
            power, span = min(1.0, power + 0.3), min(0.6, span * 1.5)
    # Nothing of this kind can be seen by this camera here: a particle before the lens can.
    x, y = grid(size)
    at = rng.uniform(0.2, 0.8, 2)
    shown = np.hypot(x - np.float32(at[0]), y - np.float32(at[1])) < between(rng, 0.015, 0.05)
    tone = np.float32(0.1 if clean[shown].mean() > 0.5 else 0.9)
    picture = blend(clean, np.full_like(clean, tone), smooth(shown.astype(np.float32), 1.0))
    return picture, visible(clean, picture, camera.threshold()), 1, defects.BY_NAME["contamination"]


def apply(
    rng: Rng, scene: Scene, before: Array, where: Array, kind: Kind, power: float, span: float, count: int
) -> Array:
    """The colours of the scene with `count` defects of a kind, [S, S, 3]."""
    if kind.edit is not None:
        changed = kind.edit(rng, scene, where, power, span)
        return compose(changed)[0]
    after = before
    assert kind.mark is not None
    for _ in range(count):
        after = kind.mark(rng, scene, after, where, power, span)
    return after


def visible(before: Array, after: Array, threshold: float) -> npt.NDArray[np.bool_]:
    """Where two developed pictures differ by more than one can just see, without gaps, one pixel wider."""
    size = len(before)
    change = np.abs(after - before).max(-1)
    peak = change > np.float32(threshold * 1.5)
    broad = smooth(change, 1.5 * size / 224) > np.float32(threshold)
    mask = peak | broad
    return ndimage.binary_closing(np.pad(mask, 3), np.ones((3, 3), bool), iterations=2)[3:-3, 3:-3] | mask


def stream(seeds: Iterable[int], *, size: int = 224, workers: int = 2) -> Iterator[Sample]:
    """The pictures of many seeds, in their order; `workers` processes make them ahead of the reader.

    With more than one worker the program that calls this needs the usual `if __name__ == "__main__"`.
    """
    if workers < 2:
        yield from (make(seed, size=size) for seed in seeds)
        return
    rest = iter(seeds)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        ahead: deque[Future[list[Sample]]] = deque()
        while True:
            while len(ahead) < 4 * workers and (block := list(islice(rest, 8))):
                ahead.append(pool.submit(several, block, size))
            if not ahead:
                return
            yield from ahead.popleft().result()


def several(seeds: list[int], size: int) -> list[Sample]:
    """The pictures of a few seeds, made in one go by a worker."""
    return [make(seed, size=size) for seed in seeds]


__all__ = ["DRAWN", "Sample", "make", "stream"]
