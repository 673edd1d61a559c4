"""Features of the images of one category, computed once for all that is done with them.

Every distinct extractor looks at every image once, all of them through one pass of the tower; what they saw is kept in
memory, or on the disk where that is too small, until the category is done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path

import torch

from vlmad_core.benchmark.kept import KeptFeatures
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.contracts.data import Features, TextEmbeddings
from vlmad_core.contracts.images import ImageLike, Picture, read, stack
from vlmad_core.contracts.parts import Extractor
from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ImageError, VlmadError
from vlmad_core.pipeline.pipeline import Pipeline

__all__ = ["SharedAnchors", "SharedFeatures", "extractor_key", "tell_failure"]


def extractor_key(pipeline: Pipeline, detector: Path | None) -> str:
    """Pipelines with the same key see the same: the extractor and its options, and the detector if it learned."""
    assert pipeline.spec is not None
    learned = str(detector) if pipeline.extractor.state_dict() else ""
    return json.dumps([pipeline.spec.extractor.model_dump(mode="json"), learned], sort_keys=True)


class SharedFeatures:
    """What the extractors see of some images.

    Args:
        tower: The backbone's, remembering; it counts.
        backbone: Whose tower it is.
        judged: Images to judge, numbered from 0.
        normals: Images to remember, whose numbers go on.
        extractors: By a key of the caller's.
        folder: For what does not fit into memory; removed by :meth:`close`.
        batch_size: Images through the tower at a time.
        memory: Bytes.

    Attributes:
        unreadable: Number of an image to why it could not be read.
        sizes: Number of an image to its ``(height, width)`` as it was given.
        failed: Key of an extractor to why it could not look; the others go on.
    """

    def __init__(
        self,
        tower: RememberingTower,
        backbone: Backbone,
        judged: Sequence[ImageLike],
        normals: Sequence[ImageLike],
        extractors: Mapping[str, Extractor],
        folder: Path,
        *,
        batch_size: int = 8,
        memory: float = 2e9,
    ) -> None:
        self._tower, self._backbone, self._extractors = tower, backbone, dict(extractors)
        self._images, self._batch_size = [*judged, *normals], batch_size
        ends = [(0, len(judged)), (len(judged), len(self._images))]  # no batch has both
        self._batches = [
            list(range(start, min(start + batch_size, end)))
            for first, end in ends
            for start in range(first, end, batch_size)
        ]
        self._judged = -(-len(judged) // batch_size)
        self._place = {place: (i, row) for i, batch in enumerate(self._batches) for row, place in enumerate(batch)}
        self._kept = KeptFeatures(folder, memory)
        self.unreadable: dict[int, str] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self.failed: dict[str, str] = {}

    def look(self, progress: Callable[[int], None] | None = None) -> None:
        """Every extractor at every image; ``progress`` is called with the number of images done."""
        done, images = 0, [self._images[place] for batch in self._batches for place in batch]
        with closing(read(images, self._backbone.preprocess, batch_size=self._batch_size)) as found:
            pictures = chain.from_iterable(found)
            for number, batch in enumerate(self._batches):
                done += len(batch)
                self._look(number, list(islice(pictures, len(batch))))
                if progress is not None:
                    progress(done)

    def judged(self, key: str) -> Iterator[tuple[Sequence[int], Features]]:
        """Numbers of the images to judge, and what an extractor saw of them, a batch at a time.

        Raises:
            VlmadError: It could not look.
        """
        for number in range(self._judged):
            if self._batches[number]:
                yield self._batches[number], self._of(key, number)

    def normals(self, key: str, places: Sequence[int]) -> Iterator[Features]:
        """What it saw of some normal images, in this order, a batch at a time.

        Raises:
            ImageError: One of them cannot be read.
            VlmadError: It could not look.
        """
        for place in places:
            if place in self.unreadable:
                raise ImageError(f"a normal image cannot be read: {self.unreadable[place]}")
        for start in range(0, len(places), self._batch_size):
            found = [self._place[place] for place in places[start : start + self._batch_size]]
            batches = {number: self._of(key, number) for number in dict.fromkeys(number for number, _ in found)}
            yield Features.cat([batches[number].select(slice(row, row + 1)) for number, row in found])

    def close(self) -> None:
        """Give memory and disk back."""
        self._kept.clear()

    def _look(self, number: int, pictures: Sequence[Picture]) -> None:
        for place, picture in zip(self._batches[number], pictures, strict=True):
            if picture.error:
                self.unreadable[place] = picture.error
            elif picture.size is not None:
                self.sizes[place] = picture.size
        self._batches[number] = [place for place in self._batches[number] if place not in self.unreadable]
        self._place |= {place: (number, row) for row, place in enumerate(self._batches[number])}
        for key, features in self._see(pictures, self._extractors).items():
            self._kept.keep(f"{number} {key}", features)

    def _see(self, pictures: Sequence[Picture], keys: Iterable[str]) -> dict[str, Features]:
        """What they see of the pictures that can be read, in one pass through the tower."""
        seen: dict[str, Features] = {}
        good = [picture for picture in pictures if not picture.error]
        if not good:
            return seen
        pixels = stack(good).to(self._backbone.device, self._backbone.dtype)
        with torch.no_grad():  # not inference_mode: what is remembered may later stand in a graph
            for key in keys:
                if key not in self.failed:
                    try:
                        seen[key] = self._extractors[key](self._tower, pixels)
                    except Exception as error:  # somebody's plugin, or no memory; the other extractors go on
                        self.failed[key] = tell_failure(error)
        self._tower.forget()
        return seen

    def _of(self, key: str, number: int) -> Features:
        """From what was kept; what found no room is looked at again."""
        if key in self.failed:
            raise VlmadError(self.failed[key])
        found = self._kept.find(f"{number} {key}", self._backbone.device)
        if found is None:
            sources = [self._images[place] for place in self._batches[number]]
            with closing(read(sources, self._backbone.preprocess, batch_size=len(sources))) as batches:
                seen = self._see(next(batches), [key])
            if key not in seen:
                raise VlmadError(self.failed.get(key, "an image could be read once and not again."))
            found = seen[key]
        return found


class SharedAnchors:
    """TextEmbeddings of one backbone, once for the same prompts and the same name, whatever else differs."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], TextEmbeddings] = {}

    def of(self, pipeline: Pipeline, name: str, features: Features, count: int) -> TextEmbeddings | None:
        """For a batch of ``count`` images of one kind of object."""
        prompts = pipeline.prompts
        if prompts is None or prompts.per_image or prompts.state_dict() or pipeline.spec is None:
            return pipeline.text_embeddings([name] * count, features)
        key = str(pipeline.spec.prompts), name
        if key not in self._made:
            one = pipeline.text_embeddings([name])
            if one is None:
                return None
            self._made[key] = one
        one = self._made[key]
        return TextEmbeddings(one.vectors.expand(count, -1, -1), one.abnormal)


def tell_failure(error: BaseException) -> str:
    """One sentence for a row."""
    if isinstance(error, VlmadError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return "out of memory; take a smaller batch_size, a smaller image_size, or another device."
    told = " ".join(str(error).split())
    return f"{type(error).__name__}: {told}" if told else f"{type(error).__name__}."
