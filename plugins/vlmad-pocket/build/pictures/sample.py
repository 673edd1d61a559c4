"""One training picture from a seed, with its mask and sentences; and many of them, in order, on several processes.

The mask marks what one can see: the picture is developed with and without its defect by the same camera, and what
differs by more than a just visible amount is set. A defect that nobody could see, in this noise and on this texture, is
made stronger and taken again.
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

from pictures import captions, defects, materials, table
from pictures.camera import Camera
from pictures.defects import Kind
from pictures.noise import Array, Rng, between, blend, grid, smooth
from pictures.scene import Scene, compose

DRAWN: Final = "drawn"  # the default of `kind`: normal half of the time
DAMAGED: Final = "damaged"  # any kind, but never a normal picture
NORMAL_SHARE = 0.5
LIKELIER = 8.0  # how much more often a kind comes that is typical of a scene
TWO_SHARE = 0.12  # of the defective pictures; some second defects cannot be seen and are left out
BRIGHTEST = 1.3  # what light a scene can send; the same for a picture with and without its defect
HIDING = 0.6  # a change below this part of the texture's own deviation is not seen
SMALLEST = 6  # pixels
LARGEST = 0.42  # a mask beyond this share of the picture says too little about where


@dataclass(frozen=True)
class Sample:
    """A picture with all that is known about it.

    `image` uint8 [S, S, 3], `mask` bool [S, S], all False when `kind` is None. `kind` is the main kind of defect,
    `second` another one that some pictures have too; both are in `mask` and `caption`. `strength` in 0..1 is how much
    the defect changed the picture over the mask: 0 for a normal picture, below 0.1 barely visible. `thing` is the
    noun phrase to use as class name, `caption` a sentence about this picture, `normal` and `abnormal` sentences about
    the thing in either state. `place` and `extent` are words, empty for a normal picture. `clean` is the same picture,
    to the grain of its noise, without the defect.
    """

    image: npt.NDArray[np.uint8]
    clean: npt.NDArray[np.uint8]
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
    second: str | None = None
    strength: float = 0.0


def make(seed: int, *, size: int = 224, kind: str | None = DRAWN, material: str | None = None) -> Sample:
    """The picture of a seed; the same arguments always give the same picture.

    Args:
        seed: any integer from 0.
        size: side S in pixels.
        kind: a name of `defects.BY_NAME` to force that kind, None to force a normal picture, `DAMAGED` any defect.
        material: a name of `materials.BY_NAME` to force that material.

    Raises:
        KeyError: `kind` or `material` is no such name.
    """
    rng = np.random.default_rng([seed, 7])
    forced = defects.BY_NAME[kind] if kind not in (None, DRAWN, DAMAGED) else None
    is_normal = kind is None or (kind == DRAWN and rng.random() < NORMAL_SHARE)
    scene, wanted = prepare(rng, size, forced, material)
    before, where = compose(scene)
    before = np.clip(before, 0, BRIGHTEST)
    camera = Camera.draw(rng, size, grey="grey" in scene.flags)
    camera.expose(before)
    clean = camera.develop(before)
    mask = np.zeros((size, size), np.bool_)
    picture, count, name, second = clean, 0, None, None
    if not is_normal:
        also = another(rng, scene, wanted) if rng.random() < TWO_SHARE else None
        picture, mask, count, wanted, also = damage(rng, scene, before, where, clean, camera, wanted, also)
        name, second = wanted.name, also.name if also else None
    strength = min(1.0, 2 * float(np.abs(picture - clean).max(-1)[mask].mean())) if name else 0.0
    place, extent = captions.place_of(mask.astype(np.float32)), captions.extent_of(mask.astype(np.float32))
    words = scene.material.words
    sentence = captions.caption(rng, scene.thing, words, name, place, extent, 0 if second else count)
    sentence = captions.with_second(rng, sentence, second) if second else sentence
    good, bad = captions.pair(rng, scene.thing, words, name)
    state = rng.bit_generator.state
    image = camera.finish(rng, picture)
    twin = image
    if name:  # the same grain and the same file, so that only the defect tells the two apart
        rng.bit_generator.state = state
        twin = camera.finish(rng, clean)
    made_of, thing, layout = scene.material.name, scene.thing, scene.layout
    return Sample(image, twin, mask, made_of, thing, layout, name, place, extent, sentence, good, bad, second, strength)


def prepare(rng: Rng, size: int, forced: Kind | None, material: str | None) -> tuple[Scene, Kind]:
    """A scene, and a kind of defect that can happen in it (the forced one, if any)."""
    for _ in range(400):
        stuff = materials.BY_NAME[material] if material else materials.draw_one(rng)
        if forced and forced.traits and not material and not forced.traits & stuff.traits:
            continue
        layout = table.draw_layout(rng, stuff)
        if forced and not possible(forced, layout):
            continue
        scene = table.LAYOUTS[layout][0](rng, size, stuff)
        fitting = [one for one in defects.KINDS if one.fits(scene)]
        if forced is not None:
            if forced not in fitting:
                continue
            return scene, forced
        weights = np.array([one.weight * (LIKELIER if one.name in scene.likely else 1) for one in fitting])
        return scene, fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
    raise ValueError(f"kind {forced.name if forced else None!r} never fits material {material!r}; try another material")


def possible(kind: Kind, layout: str) -> bool:
    """Whether a layout can have what a kind needs; saves drawing scenes only to reject them."""
    have = {
        "items": layout not in ("texture", "seam", "printed", "solar cell", "weave"),
        "cell": layout == "solar cell",
        "weave": layout == "weave",
        "bordered": layout in ("single", "array", "close-up", "assembly", "baked"),
        "many": layout in ("array", "cells", "bars", "assembly", "baked"),
        "regular": layout in ("cells", "bars"),
        "print": layout in ("single", "printed"),
    }
    return all(have.get(flag, True) for flag in kind.flags)


def another(rng: Rng, scene: Scene, first: Kind) -> Kind | None:
    """A kind of surface defect to come on top of the first one."""
    others = [one for one in defects.KINDS if one.mark is not None and one.name != first.name and one.fits(scene)]
    return others[int(rng.integers(len(others)))] if others else None


def damage(
    rng: Rng, scene: Scene, before: Array, where: Array, clean: Array, camera: Camera, kind: Kind, also: Kind | None
) -> tuple[Array, npt.NDArray[np.bool_], int, Kind, Kind | None]:
    """Make the defect visible: the developed picture, its mask, how many defects were made and of which kinds."""
    size = len(before)
    power, span = rng.uniform(0, 1) ** 1.3, between(rng, 0.03, 0.65)
    count = 1 if kind.edit else int(rng.choice([1, 2, 3, 4], p=[0.7, 0.17, 0.08, 0.05]))
    hidden = camouflage(clean)
    for _ in range(6):
        after = apply(rng, scene, before, where, kind, power, span, count)
        picture = camera.develop(np.clip(after, 0, BRIGHTEST))
        mask = visible(clean, picture, camera.threshold(), hidden)
        share = float(mask.mean())
        if share * size**2 >= SMALLEST and share <= LARGEST:
            if also is None:
                return picture, mask, count, kind, None
            both = apply(rng, scene, after, where, also, rng.uniform(0.2, 1), between(rng, 0.03, 0.3), 1)
            twice = camera.develop(np.clip(both, 0, BRIGHTEST))
            union = visible(clean, twice, camera.threshold(), hidden)
            added = int((union & ~mask).sum())
            if added >= SMALLEST and union.mean() <= LARGEST:
                return twice, union, count, kind, also
            return picture, mask, count, kind, None
        if share > LARGEST:
            span, count = span * 0.5, 1
        else:
            power, span = min(1.0, power + 0.25), min(0.6, span * 1.4)
    # Nothing of this kind can be seen by this camera here: a particle before the lens can.
    x, y = grid(size)
    at = rng.uniform(0.2, 0.8, 2)
    shown = np.hypot(x - np.float32(at[0]), y - np.float32(at[1])) < between(rng, 0.015, 0.05)
    tone = np.float32(0.1 if clean[shown].mean() > 0.5 else 0.9)
    picture = blend(clean, np.full_like(clean, tone), smooth(shown.astype(np.float32), 1.0))
    return picture, visible(clean, picture, camera.threshold(), None), 1, defects.BY_NAME["contamination"], None


def camouflage(clean: Array) -> Array:
    """How much the texture of a picture varies about each point, [S, S]: a change well below it is lost in it."""
    grey = clean.mean(-1)
    reach = 6 * len(grey) / 224
    middle = smooth(grey, reach)
    return np.sqrt(np.maximum(smooth(grey * grey, reach) - middle * middle, 0))


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


def visible(before: Array, after: Array, threshold: float, hidden: Array | None) -> npt.NDArray[np.bool_]:
    """Where two developed pictures differ by more than one can just see, without gaps; nowhere if texture hides it."""
    size = len(before)
    change = np.abs(after - before).max(-1)
    mask = (change > np.float32(threshold * 1.5)) | (smooth(change, 1.5 * size / 224) > np.float32(threshold))
    if hidden is not None and mask.any():
        plain = change[mask] > HIDING * hidden[mask] + np.float32(threshold * 0.5)
        if plain.mean() < 0.2:
            return np.zeros_like(mask)
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


__all__ = ["DAMAGED", "DRAWN", "Sample", "make", "stream"]
